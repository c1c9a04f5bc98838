"""The nouns of a benchmark: tasks, conditions, published rows. `_benchmark_files` reads them.

Values are in points (0.2751 is 27.51), as papers print them. Knows nothing of how systems are run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from limrank.errors import Unknown

MEAN = "mean"


class Task(NamedTuple):
    """What is ranked, and by which judgments.

    Attributes:
        name: In the table.
        dataset: Where queries and documents are: an id or a folder.
        judged: The dataset whose judgments decide; a part of `dataset`, or the same.
        measures: Display names.
        queries: Their number, for a plan that is made before anything can be loaded.
        short: The name as a heading, where it is long.
    """

    name: str
    dataset: str
    judged: str
    measures: tuple[str, ...]
    queries: int
    short: str = ""

    @property
    def place(self) -> str:
        """What the dataset calls itself, as its folders below indexes/ and runs/ do: a folder by its last part."""
        from limrank.datasets.folder import FolderDataset, take_apart

        folder, split = take_apart(self.dataset)
        if self.dataset.startswith((".", "/", "~")) or Path(folder).is_dir():
            return FolderDataset(Path(folder), split=split).name
        return self.dataset


class Condition(NamedTuple):
    """A first stage, or what is made of one without a published reranker.

    Attributes:
        name: In the table, and of its files.
        about: One line.
        steps: Command lines without `limrank`, with {dataset}, {name} (what it calls itself, for its index), {out} (its
            run) and {runs} (the folder of `out`).
        run: Where the run is, if not at its own place below the benchmark's folder: one that is shipped.
        after: Conditions that have to be made first.
        called: What published numbers call it as a first stage.
    """

    name: str
    about: str
    steps: tuple[str, ...] = ()
    run: str = ""
    after: tuple[str, ...] = ()
    called: tuple[str, ...] = ()


class Row(NamedTuple):
    """Published values of one system and measure.

    Attributes:
        system: As its source calls it.
        measure: Display name.
        source: Paper and table, or the files that it was computed from.
        status: `found` in the source, or `computed` from released files.
        condition: Our condition that does the same; for a reranker, its first stage. Empty where there is none.
        model: Our name of the reranker; empty for a first stage.
        depth: Documents per query that were reranked; 0 where the source does not say or nothing was.
        first_stage: As the source calls it.
        mean: Over the tasks; None where the source has none.
        tasks: By task.
        tolerance: By how many points ours may differ; None where it is not to be reproduced.
        note: What else has to be known before comparing.
    """

    system: str
    measure: str
    source: str
    status: str
    condition: str = ""
    model: str = ""
    depth: int = 0
    first_stage: str = ""
    mean: float | None = None
    tasks: Mapping[str, float] = {}
    tolerance: float | None = None
    note: str = ""

    def value(self, task: str) -> float | None:
        """The value of a task or of `MEAN`."""
        return self.mean if task == MEAN else self.tasks.get(task)


@dataclass(frozen=True)
class Benchmark:
    """A table to be made.

    Attributes:
        name: Of the file.
        title: As people call it.
        about: One line.
        source: Who made it.
        mean: Whether the plain mean of its tasks is a column.
        baseline: The condition that the others are compared with.
        tasks: In order.
        conditions: In order; one that needs another comes behind it.
        rerank_first_stages: Conditions behind which a reranker stands.
        rerank_depths: Documents per query that it reorders.
        rows: What is published.
        notes: What has to be known to read the table.
        query_characters: Of a usual query with its instruction, for a plan's cost before a first stage is there; 0
            where nobody knows.
        document_characters: Of a usual document, likewise.
    """

    name: str
    title: str
    about: str
    source: str
    mean: bool
    baseline: str
    tasks: tuple[Task, ...]
    conditions: tuple[Condition, ...]
    rerank_first_stages: tuple[str, ...]
    rerank_depths: tuple[int, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    query_characters: int = 0
    document_characters: int = 0

    def only(self, tasks: Sequence[str]) -> Benchmark:
        """The same with these tasks alone, and so without a mean.

        Raises:
            Unknown: There is no such task.
        """
        known = {task.name: task for task in self.tasks}
        for name in tasks:
            if name not in known:
                raise Unknown.among(f"task of {self.title}", name, known)
        if not tasks or set(tasks) == set(known):
            return self
        kept = tuple(task for task in self.tasks if task.name in tasks)
        return Benchmark(**(vars(self) | {"tasks": kept, "mean": False}))

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Task (or `MEAN`) and measure of every column; measure by measure, so that like stands beside like."""
        measures = dict.fromkeys(measure for task in self.tasks for measure in task.measures)
        return [
            (name, measure)
            for measure in measures
            for name in [*(task.name for task in self.tasks if measure in task.measures), *([MEAN] * self.mean)]
        ]
