"""The values a reranking method works with, and the arithmetic that turns verdicts into a ranking.

Knows nothing of models: a verdict is a number, or the reason why there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from limrank.errors import LimrankError
from limrank.records import Document, Query, ScoredDoc


class Job(NamedTuple):
    """One query and the documents to be put in order, in first-stage order, each with its first-stage score."""

    query: Query
    documents: tuple[Document, ...]
    first_stage: tuple[ScoredDoc, ...]


class Judged(NamedTuple):
    """A document with its score, or with the error for which there is none; `error` is empty where there is one."""

    doc_id: str
    score: float | None
    error: str = ""


class Ranking(NamedTuple):
    """A query's documents in their new order."""

    query_id: str
    documents: tuple[Judged, ...]


class Verdict(NamedTuple):
    """What is known of one document: a larger score is better, None is no verdict and `error` says why."""

    score: float | None
    error: str = ""


class Reranker(Protocol):
    """Something that puts documents into a better order.

    Attributes:
        name: The method's.
        counts: What it did so far: calls, tokens, statuses.
    """

    name: str

    @property
    def counts(self) -> Mapping[str, int]: ...

    def rerank(self, jobs: Iterable[Job]) -> Iterator[Ranking]:
        """A ranking for every job, of exactly its documents, in the order in which they get finished."""
        ...


def ranked(job: Job, verdicts: Sequence[Verdict], *, shown: Callable[[float], float] | None = None) -> Ranking:
    """The job's documents by score; ties keep first-stage order, and who has no verdict keeps his first-stage rank.

    Args:
        job: Query and documents.
        verdicts: One for each document, in first-stage order.
        shown: A function that never falls, from the score that orders to the score that is told.
    """
    scores = [verdict.score for verdict in verdicts]
    best_first = sorted((i for i, score in enumerate(scores) if score is not None), key=lambda i: -(scores[i] or 0.0))
    takers = iter(best_first)
    documents = []
    for slot, verdict in enumerate(verdicts):
        i = slot if verdict.score is None else next(takers)
        score = scores[i]
        told = score if score is None or shown is None else shown(score)
        documents.append(Judged(job.documents[i].doc_id, told, verdicts[i].error))
    return Ranking(job.query.query_id, tuple(documents))


def check_mix(mix: float) -> None:
    """Refuse a weight outside 0 to 1."""
    if not 0 <= mix <= 1:
        raise LimrankError(f"mix={mix}: expected a weight from 0 (first stage only) to 1 (model only)")


def mixed(job: Job, verdicts: Sequence[Verdict], mix: float) -> list[Verdict]:
    """mix * z(score) + (1 - mix) * z(first-stage score), over the query's judged documents.

    z(x) is (x - mean) / standard deviation (of the population), and 0 where all are equal. With mix 1 the scores stay
    as they are, without z.
    """
    if mix == 1:
        return list(verdicts)
    judged = [i for i, verdict in enumerate(verdicts) if verdict.score is not None]
    model = z_scores([verdicts[i].score or 0.0 for i in judged])
    first = z_scores([job.first_stage[i].score for i in judged])
    result = list(verdicts)
    for i, of_model, of_first in zip(judged, model, first):
        result[i] = Verdict(mix * of_model + (1 - mix) * of_first)
    return result


def z_scores(values: Sequence[float]) -> list[float]:
    """Distances from the mean in standard deviations; all 0 where the values are equal."""
    if not values:
        return []
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    if min(values) == max(values) or deviation == 0:
        return [0.0] * len(values)
    return [(value - mean) / deviation for value in values]


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x), without overflow."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    power = math.exp(x)
    return power / (1 + power)
