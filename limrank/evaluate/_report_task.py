"""What a report is made from besides the comparison: a collection, the runs on it, and what lies beside their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from limrank.datasets import Dataset
from limrank.errors import BadFile
from limrank.evaluate.comparison import Comparison
from limrank.files import sha256
from limrank.manifest import Manifest, path_of
from limrank.qrels import Qrels, digest_of
from limrank.run import Run


@dataclass(frozen=True)
class Task:
    """One collection with the runs on it.

    Attributes:
        name: As the comparison calls it.
        qrels: Judgments.
        runs: By the systems' names in the comparison, in its order. Of a system that averages several runs, the one
            that is looked into.
        dataset: Where the texts of queries and documents are; None where there is no more than judgments.
        paths: By system, the run's file, beside which manifest and calls file are looked for.
        seeds: By system, all runs that it averages; default: the one that is looked into.
    """

    name: str
    qrels: Qrels
    runs: Mapping[str, Run]
    dataset: Dataset | None = None
    paths: Mapping[str, Path] = field(default_factory=dict)
    seeds: Mapping[str, Sequence[Run]] = field(default_factory=dict)

    @cached_property
    def manifests(self) -> dict[str, Manifest]:
        """The manifests that lie beside the runs and are theirs, by system."""
        return {name: known for name, known in self._beside.items() if isinstance(known, Manifest)}

    def notes(self) -> list[str]:
        """One sentence for every manifest that lies beside a run and says nothing of it."""
        return [f"{self.name}, {name}: {why}" for name, why in self._beside.items() if isinstance(why, str)]

    @cached_property
    def _beside(self) -> dict[str, Manifest | str]:
        """By system, the manifest beside its run, or why it is not believed."""
        found: dict[str, Manifest | str] = {}
        for name, path in self.paths.items():
            if not path_of(path).exists():
                continue
            try:
                manifest = Manifest.read(path)
            except BadFile as error:
                found[name] = f"without its manifest: {error}"
                continue
            same = manifest.output.get("sha256") == self.digests[name]
            # A run that was replaced after it was made, or a manifest that was copied.
            found[name] = manifest if same else "without its manifest, which is of another file"
        return found

    @cached_property
    def digests(self) -> dict[str, str]:
        """The sha256 of every run's file."""
        return {name: sha256(path) for name, path in self.paths.items()}

    def runs_of(self, name: str) -> Sequence[Run]:
        """All runs of a system."""
        return self.seeds.get(name) or [self.runs[name]]

    def shown(self, name: str) -> str:
        """What a figure is about that looks into one run only."""
        return f"{name} (its run {self.runs[name].name})" if len(self.runs_of(name)) > 1 else name

    def depth(self, name: str) -> int:
        """The most documents that a run of the system has for a query."""
        return max((len(run.doc_ids(query_id)) for run in self.runs_of(name) for query_id in run), default=0)

    def reranked_depth(self, name: str) -> int:
        """The documents that were given to a reranker, by the manifest; without one, all that the runs have.

        The manifest beside one of several runs says nothing of the others.
        """
        parameters = self.manifests[name].parameters if name in self.manifests else {}
        told = parameters.get("depth") if len(self.runs_of(name)) == 1 else None
        return min(self.depth(name), told) if isinstance(told, int) and told > 0 else self.depth(name)


def task_query_ids(comparison: Comparison, task: Task) -> list[str]:
    """The task's own ids of the queries that were compared."""
    tasks = comparison.runs[0].tasks
    if not tasks:
        return list(comparison.query_ids)
    return [query_id.removeprefix(f"{task.name}/") for query_id in comparison.query_ids if tasks[query_id] == task.name]


def overall_id(comparison: Comparison, task: Task, query_id: str) -> str:
    """What the comparison calls a task's query."""
    return f"{task.name}/{query_id}" if comparison.runs[0].tasks else query_id


def qrels_digest(tasks: Sequence[Task]) -> str:
    """One digest for the judgments of all tasks: that of the one, or of the sorted lines `sha256 name`."""
    return digest_of((task.qrels.sha256(), task.name) for task in tasks)
