"""What a benchmark's reranks take: counted on their first stages, or before there are any, on texts of usual length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limrank import plugins
from limrank.errors import LimrankError
from limrank.records import Document, Query

if TYPE_CHECKING:
    from limrank.benchmark import Benchmark, System, Task
    from limrank.estimate import Cost, Plan
    from limrank.qrels import Qrels

# Tokens a second, as for limrank estimate: vLLM on an H100 with a model of 7 billion parameters.
READS, WRITES = 30_000, 12_500
COUNTED = ("documents", "calls", "prompt_tokens", "shared_tokens", "output_tokens")
FILLER = "What counts here is how long a text is, and not what it says. "


def cost_of(chosen: Benchmark, system: System, *, llm: str) -> dict[str, Any]:
    """What a rerank takes.

    Args:
        chosen: The benchmark.
        system: With a model.
        llm: As `systems_of` takes it.

    Returns:
        `system`, the sums of COUNTED and `hours`; `assumed`, characters of a query and of a document, where they were
        not counted on the first stage; where nothing is known of the texts, `documents` alone and `why`.
    """
    from limrank.cli._stages import stages_of
    from limrank.estimate import Plan

    [stage] = stages_of(model=system.model, method="", llm=llm, prompt="", mix=None, depth=system.depth, then=())
    plan = Plan(stage.method, stage.llm, stage.prompt, stage.depth)
    places = {task.dataset: Path(system.commands[task.name][-1][1]) for task in chosen.tasks}
    queries = sum(task.queries for task in _whole(chosen))
    found: dict[str, Any] = {"system": system.name, "documents": system.depth * queries}
    try:
        if all(path.exists() for path in places.values()):
            return found | _summed(_counted(plan, places), times=1)
        if chosen.query_characters and chosen.document_characters:
            lengths = {"query_characters": chosen.query_characters, "document_characters": chosen.document_characters}
            return found | _summed([_assumed(plan, **lengths)], times=queries) | {"assumed": lengths}
    except LimrankError as error:
        return found | {"why": " ".join(str(error).split())}
    return found | {"why": "its first stage is not there yet"}


def told(cost: Mapping[str, Any]) -> str:
    """The same as a sentence."""
    text = f"{cost['system']}: {cost['documents']:,} documents"
    if "why" in cost:
        return f"{text} (not counted: {cost['why']})"
    about = " (lengths are assumed)" if "assumed" in cost else ""
    return (
        f"{text}, {cost['calls']:,} calls, {cost['prompt_tokens']:,} tokens read ({cost['shared_tokens']:,} of them "
        f"shared), {cost['output_tokens']:,} written: {cost['hours']:,} hours{about}"
    )


def _counted(plan: Plan, places: Mapping[str, Path]) -> Iterator[Cost]:
    from limrank.datasets import open_dataset
    from limrank.estimate import estimate
    from limrank.run import Run

    for name, path in places.items():
        yield from estimate(Run.read(path), open_dataset(name), [plan])


def _assumed(plan: Plan, *, query_characters: int, document_characters: int) -> Cost:
    """Of one query with as many documents as are reranked; without a tokenizer, which would have to be downloaded."""
    from limrank.estimate import estimate
    from limrank.run import Run

    usual = _Usual(query_characters, document_characters)
    run = Run({"q": [(str(rank), -rank) for rank in range(plan.depth)]})
    method = plugins.text_of(plugins.parse_spec(plan.method)._replace(model=""))
    return estimate(run, usual, [plan._replace(method=method, llm="fake:hash")])[0]


def _summed(costs: Iterable[Cost], *, times: int) -> dict[str, Any]:
    costs = list(costs)
    totals = {name: times * sum(getattr(cost, name) for cost in costs) for name in COUNTED}
    return totals | {"hours": round(times * sum(cost.hours(READS, WRITES) for cost in costs), 2)}


def _whole(chosen: Benchmark) -> list[Task]:
    """One task of every dataset: that with the most queries, which is the whole of it."""
    largest: dict[str, Task] = {}
    for task in chosen.tasks:
        if task.dataset not in largest or task.queries > largest[task.dataset].queries:
            largest[task.dataset] = task
    return list(largest.values())


class _Usual:
    """A dataset of one query and any document, of which only the lengths are known."""

    name = revision = "texts of usual length"

    def __init__(self, query_characters: int, document_characters: int) -> None:
        self.query, self.text = _text(query_characters), _text(document_characters)

    def documents(self) -> Iterator[Document]:
        return iter(())

    def lookup(self, doc_ids: Iterable[str]) -> dict[str, Document]:
        return {doc_id: Document(doc_id, self.text) for doc_id in doc_ids}

    def queries(self) -> Iterator[Query]:
        yield Query("q", self.query)

    def qrels(self) -> Qrels:
        raise LimrankError(f"{self.name} have no judgments")

    def excluded(self) -> Mapping[str, frozenset[str]]:
        return {}


def _text(characters: int) -> str:
    return (FILLER * (characters // len(FILLER) + 1))[:characters]
