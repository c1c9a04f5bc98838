"""Rerankers that are a function of one query and its documents: no language model, no prompt, no requests.

A query's scores are one line of the calls file, written before they are used; a killed run asks only for the queries
that are missing, each of which is scored as a whole, so that the same batches give the same bytes.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from limrank.llm._calls import Calls, Entry, digest
from limrank.records import Query, contents
from limrank.rerank._ranking import Job, Ranking, Verdict, check_mix, mixed, ranked


class Outcome(NamedTuple):
    """A document's score, larger is better; or None, and `error` says why. `truncated`: the end of its text is cut."""

    score: float | None
    error: str = ""
    truncated: bool = False


Score: TypeAlias = Callable[[str, Sequence[str]], Sequence[Outcome]]


class Scored:
    """A `Reranker` made of a function from a query's text and its documents' texts to their scores.

    Attributes:
        name: The method's.
        identity: Everything that decides a score: model, revision, limits.
        counts: `asked`: documents scored; `reused`: documents whose score was in the calls file; `truncated`: those,
            of both, whose end did not fit into the model.
    """

    def __init__(self, name: str, identity: str, score: Score, *, calls: Path | None, mix: float) -> None:
        """Remember.

        Args:
            name: The method's.
            identity: Everything that decides a score: model, revision, limits.
            score: One outcome for each document; a number that is not finite is no verdict.
            calls: Where scores are kept, or None.
            mix: Weight of the score against the first stage, as in `mixed`.
        """
        check_mix(mix)
        self.name = name
        self.counts: Counter[str] = Counter()
        self.identity = identity
        self._score, self._mix, self._path = score, mix, calls
        self._calls: Calls | None = None

    def rerank(self, jobs: Iterable[Job]) -> Iterator[Ranking]:
        """As `Reranker.rerank`, in the order of the jobs."""
        if self._path is None:
            yield from map(self._ranking, jobs)
            return
        with contextlib.closing(Calls(self._path)) as self._calls:
            yield from map(self._ranking, jobs)

    def _ranking(self, job: Job) -> Ranking:
        outcomes = self._outcomes(job)
        self.counts["truncated"] += sum(outcome.truncated for outcome in outcomes)
        verdicts = [Verdict(outcome.score, outcome.error) for outcome in outcomes]
        return ranked(job, mixed(job, verdicts, self._mix))

    def _outcomes(self, job: Job) -> list[Outcome]:
        query, texts = query_text(job.query), [contents(document) for document in job.documents]
        key = digest(self.name, self.identity, query, texts)
        if self._calls is not None and (known := self._calls.get(key)) is not None:
            self.counts["reused"] += len(texts)
            shortened = set(known.get("truncated", ()))
            return [Outcome(score, truncated=i in shortened) for i, score in enumerate(known["scores"])]
        outcomes = list(map(_checked, self._score(query, texts)))
        self.counts["asked"] += len(texts)
        if self._calls is not None:
            fields: dict[str, Any] = {
                "query_id": job.query.query_id,
                "doc_ids": [document.doc_id for document in job.documents],
                "scores": [outcome.score for outcome in outcomes],
            }
            if cut := [i for i, outcome in enumerate(outcomes) if outcome.truncated]:
                fields["truncated"] = cut
            if error := next((outcome.error for outcome in outcomes if outcome.error), ""):
                fields |= {"status": "failed", "error": error}
            self._calls.append([Entry(key, fields)])
        return outcomes


def _checked(outcome: Outcome) -> Outcome:
    if outcome.score is None or math.isfinite(outcome.score):
        return outcome
    return Outcome(None, "the model's output is not a finite number")


def query_text(query: Query) -> str:
    """The query's text, and its instruction after a space."""
    return f"{query.text} {query.instruction}" if query.instruction else query.text
