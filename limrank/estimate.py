"""What a rerank will cost before it is started: questions, tokens, hours, money.

The reranker that would run is run, on the real queries and documents, with a language model that counts instead of
answering; so a method is estimated by its own code, whatever it asks. The counter answers as a model that agrees with
the first stage: some methods ask more where a model does not. Nothing is written and no weights are read.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from limrank import plugins
from limrank.datasets import Dataset
from limrank.errors import LimrankError
from limrank.llm._counting import Counter, Scale, Tally
from limrank.progress import Track, silent
from limrank.records import Message, Part, Request, contents
from limrank.rerank import LLM_SPEC, Job, Reranker, jobs_of, prompt_of
from limrank.rerank._scored import query_text
from limrank.run import Run

# Rank1's chains, trained again on Qwen3, take 397.7 tokens on average (arXiv 2510.08985); Rank1 itself says 20 to 500
# words (arXiv 2502.18418).
THOUGHT_TOKENS = 400
QUERIES = 32
# Queries on which a plan is counted that is only compared with another one.
SPREAD = 200
THINK = ("none", "top:10", "top:20", "full")
WINDOWS: tuple[dict[str, str], ...] = (
    {"order": "sliding", "window": "10", "stride": "5"},
    {"order": "sliding", "window": "20", "stride": "10"},
    {"order": "topdown", "window": "20"},
    {"order": "tournament", "window": "20"},
)


class Plan(NamedTuple):
    """A rerank that could be started; fields as in `open_reranker` and `rerank`, empty for the default."""

    method: str
    llm: str = ""
    prompt: str = ""
    depth: int = 100


class Cost(NamedTuple):
    """What a plan takes.

    Attributes:
        plan: Which.
        queries: Of the run, less those without documents.
        documents: Given to the reranker.
        calls: Questions asked.
        prompt_tokens: Read, in all questions together.
        shared_tokens: Of these, tokens that a backend with a prefix cache has computed for an earlier question already:
            the query's part of a prompt, and a thought with its prompt when the answer behind it is asked for.
        output_tokens: Written; a label is one.
        counted: How tokens were counted.
    """

    plan: Plan
    queries: int
    documents: int
    calls: int
    prompt_tokens: int
    shared_tokens: int
    output_tokens: int
    counted: str

    def hours(self, prompt_speed: float, output_speed: float, *, prefix: bool = True) -> float:
        """Hours of a device that reads and writes so many tokens a second; with `prefix`, shared ones are read once."""
        read = self.prompt_tokens - (self.shared_tokens if prefix else 0)
        return (read / prompt_speed + self.output_tokens / output_speed) / 3600

    def price(self, prompt: float, output: float) -> float:
        """The price at so much for a million tokens, without a discount for shared ones."""
        return (self.prompt_tokens * prompt + self.output_tokens * output) / 1e6


def estimate(
    run: Run,
    dataset: Dataset,
    plans: Sequence[Plan],
    *,
    thought_tokens: int = THOUGHT_TOKENS,
    exact: int = 0,
    track: Track = silent,
) -> list[Cost]:
    """What each plan would take, if it were run on the same first stage.

    Args:
        run: The first stage.
        dataset: Whose queries and documents the run is about.
        plans: Which reranks; documents are looked up once for all of them.
        thought_tokens: Assumed length of a thought; one that is longer than its budget ends there.
        exact: How many plans, from the first, are counted on all queries; the others on about 200 of them, evenly
            spread, and scaled by the number of documents. 0 is all plans.
        track: Shows how many queries are done.

    Raises:
        LimrankError: A plan could not be started either, or a number is out of range.
        Mismatch: The dataset lacks a query or a document of the run.
    """
    if thought_tokens < 1 or any(plan.depth < 1 for plan in plans):
        raise LimrankError(f"thought_tokens={thought_tokens}, or a depth: expected at least 1")
    kept = run.without(dataset.excluded())
    queries = {query.query_id: query for query in dataset.queries()}
    if strange := [query_id for query_id in kept if query_id not in queries]:
        raise LimrankError(f"{dataset.name} lacks {len(strange)} queries of run {run.name!r}, e.g. {strange[0]!r}")
    meters = [_meter(plan, thought_tokens) for plan in plans]
    step = -(-len(kept) // SPREAD)
    jobs = jobs_of(kept, dataset, queries, max(plan.depth for plan in plans))
    tracked = enumerate(track(jobs, label="estimate", total=len(kept)))
    while chunk := list(itertools.islice(tracked, QUERIES)):
        for i, meter in enumerate(meters):
            spread = bool(exact) and i >= exact
            meter.read([job for number, job in chunk if not spread or number % step == 0])
    documents = {plan.depth: sum(min(len(kept.doc_ids(query_id)), plan.depth) for query_id in kept) for plan in plans}
    scales: dict[str, Scale] = {}
    return [_scaled(meter.cost(scales), len(kept), documents[meter.plan.depth]) for meter in meters]


def _scaled(cost: Cost, queries: int, documents: int) -> Cost:
    if cost.documents in (0, documents):
        return cost
    factor = documents / cost.documents
    counts = {
        name: round(getattr(cost, name) * factor)
        for name in ("calls", "prompt_tokens", "shared_tokens", "output_tokens")
    }
    return cost._replace(queries=queries, documents=documents, **counts)


def questions(plan: Plan, job: Job, *, thought_tokens: int = THOUGHT_TOKENS) -> list[Request]:
    """What a plan asks about one query, in order; the answers are those of `estimate`.

    Raises:
        LimrankError: Its method asks no language model, or it could not be started.
    """
    meter = _meter(plan, thought_tokens)
    if isinstance(meter, _Pairing):
        raise LimrankError(f"{plan.method} has weights of its own: it asks no language model, and a prompt is not sent")
    meter.read([job])
    return meter.tally.sample


def alternatives(plan: Plan) -> list[Plan]:
    """The plan, and what else its method could do: other amounts of thinking, other windows."""
    spec = plugins.parse_spec(plan.method)
    module = plugins.find("rerank", spec.name)
    settled = plugins.settle(module.load, options=spec.options, what=f"reranking method {spec.name}")
    own = dict(spec.options)
    changes: tuple[dict[str, str], ...] = ()
    if spec.name == "pointwise":
        loaded = prompt_of(spec, plan.prompt)
        if loaded.close and loaded.empty:
            own["think"] = "full" if settled["think"] == "auto" else settled["think"]
            # To think about the K best of no more than K is to think about all, and to score them besides.
            changes = tuple(
                {"think": think} for think in THINK if not think.startswith("top:") or int(think[4:]) < plan.depth
            )
    elif spec.name == "listwise" and settled["order"] == "sliding":
        own |= {"order": "sliding", "window": str(settled["window"])}
        own["stride"] = str(settled["stride"] or settled["window"] // 2)
        changes = WINDOWS
    others = [_without_idle(module, own | change) for change in changes]
    found = [own, *(other for other in others if other != own)]
    return [plan._replace(method=plugins.text_of(spec._replace(options=options))) for options in found]


def _without_idle(module: Any, options: Mapping[str, str]) -> dict[str, str]:
    """The options without those that do nothing beside the others, such as the stride where no window slides."""
    settled = plugins.settle(module.load, options=options, what="the method")
    gone = plugins.idle(getattr(module, "IDLE", {}), settled)
    return {key: value for key, value in options.items() if key not in gone}


class _Asking:
    """A plan whose method asks a language model."""

    def __init__(self, plan: Plan, thought_tokens: int) -> None:
        self.plan, self.tally = plan, Tally()
        spec = plugins.parse_spec(plan.method)
        module, what = plugins.find("rerank", spec.name), f"reranking method {spec.name}"
        if spec.model:
            raise LimrankError(f"{spec.name} has no model of its own: {spec.model!r} belongs behind --llm")
        prompt = prompt_of(spec, plan.prompt)
        self.counter = Counter(self.tally, thought_tokens, letters="letter" in prompt.placeholders)
        # Without `Recorded`, which `open_reranker` puts before a model: there is nothing to remember here.
        given = {"llm": self.counter, "prompt": prompt}
        values = [given[name] for name in plugins.wants(module.load)]
        self.reranker: Reranker = plugins.call(module.load, *values, options=spec.options, what=what)

    def read(self, jobs: Sequence[Job]) -> None:
        cut = [Job(job.query, job.documents[: self.plan.depth], job.first_stage[: self.plan.depth]) for job in jobs]
        self.counter.begin(
            {job.query.query_id: {document.doc_id: i for i, document in enumerate(job.documents)} for job in cut}
        )
        for ranking in self.reranker.rerank(cut):
            self.tally.queries += 1
            self.tally.documents += len(ranking.documents)

    def cost(self, scales: dict[str, Scale]) -> Cost:
        spec = self.plan.llm or LLM_SPEC
        scale = scales.get(spec) or scales.setdefault(spec, Scale.of(spec, self.tally))
        options = plugins.parse_spec(spec).options
        return _cost(self.plan, self.tally, scale, int(options.get("max_length", 0)))


class _Pairing:
    """A plan whose method has weights of its own, and reads every document once, with its query."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.tally = plan, Tally()
        self.spec = plugins.parse_spec(plan.method)
        load, what = plugins.find("rerank", self.spec.name).load, f"reranking method {self.spec.name}"
        self.options = plugins.settle(load, options=self.spec.options, what=what)

    def read(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            documents = job.documents[: self.plan.depth]
            self.tally.queries += 1
            self.tally.documents += len(documents)
            query = Part(query_text(job.query), trusted=False)
            for document in documents:
                message = Message("", (query, Part(contents(document), trusted=False)))
                self.tally.add(Request((message,)), known=False)

    def cost(self, scales: dict[str, Scale]) -> Cost:
        named = f"transformers:{self.spec.model}" if self.spec.model else ""
        scale = scales.get(named) or scales.setdefault(named, Scale.of(named, self.tally))
        return _cost(self.plan, self.tally, scale, int(self.options.get("max_length") or 0))


def _meter(plan: Plan, thought_tokens: int) -> _Asking | _Pairing:
    module = plugins.find("rerank", plugins.parse_spec(plan.method).name)
    return _Asking(plan, thought_tokens) if "llm" in plugins.wants(module.load) else _Pairing(plan)


def _cost(plan: Plan, tally: Tally, scale: Scale, limit: int) -> Cost:
    read, shared = tally.tokens(scale.per_character, limit or sys.maxsize)
    return Cost(plan, tally.queries, tally.documents, tally.calls, read, shared, tally.output, scale.about)
