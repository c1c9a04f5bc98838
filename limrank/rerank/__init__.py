"""The second stage: put a run's best documents into a better order.

A method is one file with a `load` that says by its parameters what it wants: `llm` and `prompt` for one that asks a
language model, `model` for one that loads its own, `calls` where it keeps its answers itself. `_drive` runs many
queries at once. Knows nothing of files but the calls file, nor of judgments.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

from limrank import plugins
from limrank import prompt as prompts
from limrank.datasets import Dataset
from limrank.errors import LimrankError, Mismatch, TooManyFailed
from limrank.llm import LLM, open_llm
from limrank.llm._recorded import Recorded
from limrank.progress import Track, silent
from limrank.prompt import Prompt
from limrank.records import Query, ScoredDoc
from limrank.rerank._ranking import Job, Judged, Ranking, Reranker
from limrank.run import Run

__all__ = [
    "Failure", "Job", "Judged", "Ranking", "Reranked", "Reranker", "check", "jobs_of", "open_reranker", "rerank",
    "unusable",
]  # fmt: skip

logger = logging.getLogger(__name__)

LLM_SPEC = "transformers:smollm2"
EXAMPLES = 20
LOOKUP = 5000


class Failure(NamedTuple):
    """A document without a verdict, and why."""

    query_id: str
    doc_id: str
    error: str


@dataclass(frozen=True)
class Reranked:
    """A complete run, and what was behind it.

    Attributes:
        run: All queries and documents of the first stage, in the new order.
        counts: `queries`, `documents` (given to the reranker), `judged`, `without_verdict`, `excluded` (removed, as the
            dataset demands), `queries_without_results` (in the dataset, not in the run), and the reranker's own.
        failures: The first documents without a verdict.
    """

    run: Run
    counts: Mapping[str, int]
    failures: tuple[Failure, ...] = field(default=())

    def check(self, max_failed: int = 0) -> None:
        """Accept the run, or raise where more than `max_failed` documents or questions are `unusable`.

        Raises:
            TooManyFailed: The message counts them; of documents it names the first.
            LimrankError: `max_failed` is below 0.
        """
        if max_failed < 0:
            raise LimrankError(f"max_failed={max_failed}: expected 0 or more")
        missing, lost = self.counts["without_verdict"], unusable(self.counts)
        if missing > max_failed:
            query_id, doc_id, error = self.failures[0]
            raise TooManyFailed(
                f"{missing} of {self.counts['documents']} documents have no verdict and kept their first-stage rank, "
                f"e.g. query {query_id!r}, document {doc_id!r}: {error}; {self._advice()}"
            )
        if lost > max_failed:
            raise TooManyFailed(
                f"{lost} questions have no usable answer and left documents in the order they had; {self._advice()}"
            )

    def _advice(self) -> str:
        # A malformed answer is an answer: it is on record, and the model would give it again.
        again = "run again to ask again what failed" if self.counts.get("failed", 1) else "ask another model or prompt"
        return f"{again}, or allow them with --max-failed {unusable(self.counts)}"


def unusable(counts: Mapping[str, int]) -> int:
    """Documents without a verdict, or questions without a usable answer where these are more.

    A question about several documents can fail and leave every one of them with a verdict from other questions.
    """
    return max(counts["without_verdict"], counts.get("failed", 0) + counts.get("malformed", 0))


def open_reranker(
    method: str,
    *,
    llm: str | LLM | None = None,
    prompt: str = "",
    calls: Path | None = None,
    cache: Path | None = None,
) -> Reranker:
    """The reranker that `method key=value` (or `method:model key=value`) describes.

    Args:
        method: `pointwise`, `likelihood mix=0.7`, `cross_encoder:MODEL`, ...
        llm: For methods that ask one: an LLM or its spec; default `transformers:smollm2`.
        prompt: For methods that ask an LLM: a shipped prompt's name or a TOML file; default is the method's own.
        calls: The file in which answers survive a kill; None keeps none.
        cache: A folder in which a language model's answers are shared by all runs: what any of them asked is known to
            the next, whatever its method or depth. An answer depends on the batch it came from by rounding only.

    Raises:
        Unknown: No such method, backend, prompt or option.
        LimrankError: The method has no use for what was given.
        BadFile: The prompt or the calls file cannot be used.
    """
    spec = plugins.parse_spec(method)
    module = plugins.find("rerank", spec.name)
    wants = plugins.wants(module.load)
    _refuse_surplus(spec, wants, llm=llm, prompt=prompt, cache=cache)
    values: dict[str, object] = {"model": spec.model, "calls": calls}
    if "prompt" in wants:
        values["prompt"] = prompt_of(spec, prompt)
    if "llm" in wants:
        opened = open_llm(llm or LLM_SPEC) if isinstance(llm, str | None) else llm
        if cache is not None:
            opened = Recorded(opened, cache / f"{hashlib.sha256(opened.name.encode()).hexdigest()[:16]}.calls.jsonl")
        values["llm"] = Recorded(opened, calls)
    if odd := [name for name in wants if name not in values]:
        raise LimrankError(
            f"reranking method {spec.name}: load wants {odd[0]!r}; it can have llm, prompt, model, calls"
        )
    what = f"reranking method {spec.name}"
    return cast(Reranker, plugins.call(module.load, *(values[name] for name in wants), options=spec.options, what=what))


def prompt_of(spec: plugins.Spec, name: str = "") -> Prompt:
    """The prompt of this name or file as a method needs it; without a name, the method's own for its options.

    A method whose options ask for different prompts has `prompt_for(options)` beside `PROMPT`.

    Raises:
        Unknown: No shipped prompt has this name.
        BadFile: The file is no prompt, or none for this method.
    """
    module = plugins.find("rerank", spec.name)
    own = module.PROMPT
    if hasattr(module, "prompt_for"):
        own = module.prompt_for(plugins.settle(module.load, options=spec.options, what=f"reranking method {spec.name}"))
    needs, many = getattr(module, "NEEDS", ("query", "passage")), getattr(module, "MANY", False)
    return prompts.load(name or own, needs=needs, many=many)


def describe(method: str, reranker: Reranker, *, prompt: str = "") -> dict[str, Any]:
    """Everything about an open reranker that decides its scores, for manifests: a changed file is a changed value.

    Args:
        method: As given to `open_reranker`.
        reranker: What that returned.
        prompt: As given to `open_reranker`.
    """
    spec = plugins.parse_spec(method)
    module = plugins.find("rerank", spec.name)
    llm = getattr(reranker, "llm", None)
    told: dict[str, Any] = {
        "name": spec.name,
        "options": plugins.settle(module.load, options=spec.options, what=f"reranking method {spec.name}"),
        "model": getattr(reranker, "identity", spec.model) if llm is None else llm.name,
    }
    if "prompt" in plugins.wants(module.load):
        loaded = prompt_of(spec, prompt)
        told["prompt"] = {"name": loaded.name, "sha256": loaded.sha256}
    return told


def rerank(run: Run, dataset: Dataset, reranker: Reranker, *, depth: int = 100, track: Track = silent) -> Reranked:
    """The run with each query's first `depth` documents in a better order.

    Documents below depth follow in first-stage order. A document without a verdict keeps its first-stage rank. Scores
    are the reranker's own where there is one; the others are filled in by the smallest steps that float32 knows, and a
    query without any verdict keeps its first-stage scores. Ties keep first-stage order, by the same steps; behind a
    probability that float32 rounds to 0 they lead a hair below 0. Documents that the dataset excludes for a query are
    removed first.

    Args:
        run: The first stage.
        dataset: Whose queries and documents the run is about.
        reranker: From `open_reranker`, or your own.
        depth: Documents per query that are given to the reranker.
        track: Shows how many queries are done.

    Raises:
        Mismatch: The dataset lacks a query or a document of the run; nothing was asked yet.
        LimrankError: The model stopped; what it answered is in the calls file.
    """
    if depth < 1:
        raise LimrankError(f"depth={depth}: expected at least 1 document per query")
    kept = run.without(dataset.excluded())
    queries = {query.query_id: query for query in dataset.queries()}
    check(kept, dataset, queries, depth=depth)
    rankings: dict[str, list[tuple[str, float]]] = {query_id: [] for query_id in kept}
    counts = {
        "queries": len(kept),
        "documents": 0,
        "judged": 0,
        "without_verdict": 0,
        "excluded": sum(len(run.doc_ids(query_id)) - len(kept.doc_ids(query_id)) for query_id in run),
        "queries_without_results": len(queries.keys() - kept.keys()),
    }
    failures: list[Failure] = []
    jobs = jobs_of(kept, dataset, queries, depth)
    for query_id, documents in track(reranker.rerank(jobs), label="rerank", total=len(kept)):
        first_stage = kept[query_id]
        _check_documents(reranker, query_id, documents, first_stage[:depth])
        rankings[query_id] = _with_scores(documents, first_stage)
        missing = [Failure(query_id, doc.doc_id, doc.error or "no verdict") for doc in documents if doc.score is None]
        failures += missing[: EXAMPLES - len(failures)]
        counts["documents"] += len(documents)
        counts["judged"] += len(documents) - len(missing)
        counts["without_verdict"] += len(missing)
    if lost := [query_id for query_id in kept if len(rankings[query_id]) != len(kept.doc_ids(query_id))]:
        raise LimrankError(f"{reranker.name} returned no ranking for {len(lost)} queries, e.g. {lost[0]!r}")
    if counts["without_verdict"]:
        logger.warning("%d of %d documents have no verdict", counts["without_verdict"], counts["documents"])
    result = Run(rankings, name=f"{run.name}+{reranker.name}")
    return Reranked(result, counts | dict(reranker.counts), tuple(failures))


def check(run: Run, dataset: Dataset, queries: Mapping[str, Query], *, depth: int) -> None:
    """Make sure that the dataset has every query and document that is about to be asked for.

    Raises:
        Mismatch: It has not; the message counts what is missing and names one.
    """
    if strange := [query_id for query_id in run if query_id not in queries]:
        raise Mismatch(
            f"{dataset.name} lacks {len(strange)} of the {len(run)} queries of run {run.name!r}, e.g. {strange[0]!r}; "
            "is it the dataset that the run was made from?"
        )
    wanted = list(dict.fromkeys(doc_id for query_id in run for doc_id in run.doc_ids(query_id)[:depth]))
    for start in range(0, len(wanted), LOOKUP):
        dataset.lookup(wanted[start : start + LOOKUP])


def _refuse_surplus(spec: plugins.Spec, wants: list[str], *, llm: object, prompt: str, cache: Path | None) -> None:
    if llm is not None and "llm" not in wants:
        raise LimrankError(f"{spec.name} asks no language model; leave --llm out")
    if cache is not None and "llm" not in wants:
        raise LimrankError(f"{spec.name} asks no language model; leave --cache out")
    if prompt and "prompt" not in wants:
        raise LimrankError(f"{spec.name} has no prompt; leave --prompt out")
    if spec.model and "model" not in wants:
        raise LimrankError(
            f"{spec.name} has no model of its own: {spec.model!r} belongs behind --llm, as BACKEND:MODEL"
        )


def jobs_of(run: Run, dataset: Dataset, queries: Mapping[str, Query], depth: int) -> Iterator[Job]:
    """Jobs in the order of the run; documents are looked up for many queries at once, which packed corpora need."""
    waiting: list[tuple[str, tuple[ScoredDoc, ...]]] = []
    for number, query_id in enumerate(run, 1):
        if first_stage := tuple(run[query_id][:depth]):
            waiting.append((query_id, first_stage))
        if sum(len(docs) for _, docs in waiting) < LOOKUP and number < len(run):
            continue
        documents = dataset.lookup({doc.doc_id: None for _, docs in waiting for doc in docs})
        for waiting_id, docs in waiting:
            yield Job(queries[waiting_id], tuple(documents[doc.doc_id] for doc in docs), docs)
        waiting = []


def _check_documents(reranker: Reranker, query_id: str, documents: tuple[Judged, ...], given: list[ScoredDoc]) -> None:
    if sorted(doc.doc_id for doc in documents) != sorted(doc.doc_id for doc in given):
        raise LimrankError(
            f"{reranker.name} returned other documents for query {query_id!r} than it was given; a reranker only orders"
        )


def _with_scores(documents: tuple[Judged, ...], first_stage: list[ScoredDoc]) -> list[tuple[str, float]]:
    """All documents of the query with strictly decreasing float32 scores, made up only where nobody gave one."""
    import numpy as np

    told = [doc.score for doc in documents] + [None] * (len(first_stage) - len(documents))
    doc_ids = [doc.doc_id for doc in documents] + [doc.doc_id for doc in first_stage[len(documents) :]]
    leading = next((i for i, score in enumerate(told) if score is not None), None)
    if leading is None:
        return [(doc.doc_id, doc.score) for doc in first_stage]
    up, down = np.float32("inf"), np.float32("-inf")
    scores = np.empty(len(told), dtype=np.float32)
    for i in range(leading, len(told)):
        below = np.nextafter(scores[i - 1], down) if i > leading else up
        scores[i] = below if (score := told[i]) is None else min(np.float32(score), below)
    for i in reversed(range(leading)):
        scores[i] = np.nextafter(scores[i + 1], up)
    return list(zip(doc_ids, scores.tolist()))
