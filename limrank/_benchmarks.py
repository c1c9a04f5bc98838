"""Benchmarks as data: tasks, systems as commands, and the published numbers that stand beside them.

A file of `limrank/benchmarks/` is one benchmark; what nobody has found in a source is not in it. Values are in points
(0.2751 is 27.51), as papers print them. Knows nothing of how systems are run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from limrank import published
from limrank.errors import BadFile, LimrankError, Unknown
from limrank.files import read_text

MEAN = "mean"
STATUSES = ("found", "computed")


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


def names() -> list[str]:
    """The benchmarks that come with limrank."""
    folder = resources.files("limrank").joinpath("benchmarks")
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def load(name: str) -> Benchmark:
    """A benchmark that comes with limrank, by name, or one of your own, by its TOML file.

    Raises:
        Unknown: There is none of this name; the nearest ones are suggested.
        BadFile: Its file is missing, has a wrong key, or names a task, condition or model that does not exist.
    """
    if name.endswith(".toml"):
        return parse(Path(name).stem, read_text(Path(name)))
    file = resources.files("limrank").joinpath("benchmarks", f"{name}.toml")
    if not file.is_file():
        raise Unknown.among("benchmark", name, names())
    return parse(name, file.read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Benchmark:
    """The benchmark that a TOML file describes.

    Raises:
        BadFile: As `load`.
    """
    path = f"benchmark {name}"
    try:
        record = tomllib.loads(text)
        defaults = tuple(record.pop("measures"))
        rerank = record.pop("rerank")
        tasks = tuple(_task(task, defaults) for task in record.pop("tasks"))
        conditions = tuple(Condition(**_tuples(condition)) for condition in record.pop("conditions"))
        rows = tuple(Row(**row) for row in record.pop("published", []))
        found = Benchmark(
            name=name,
            tasks=tasks,
            conditions=conditions,
            rerank_first_stages=tuple(rerank["first_stages"]),
            rerank_depths=tuple(rerank["depths"]),
            rows=rows,
            **_tuples(record),
        )
    except tomllib.TOMLDecodeError as error:
        raise BadFile(f"{path}: not TOML ({error})") from error
    except KeyError as error:
        raise BadFile(f"{path}: {error.args[0]} is missing") from error
    except TypeError as error:
        # Python's own sentence names the key: "... got an unexpected keyword argument 'tolerence'".
        raise BadFile(f"{path}: {str(error).partition('() ')[2] or error}") from error
    _check(found, path)
    return found


def rows_of(benchmark: Benchmark, models: Sequence[str]) -> list[Row]:
    """The published values of the benchmark's columns: its own, and what the models' files have and it has not."""
    rows = list(benchmark.rows)
    for name in models:
        model = published.load(name)
        for number in model.numbers:
            if number.status not in STATUSES or not (task := _column(benchmark, number.benchmark, number.measure)):
                continue
            row = Row(
                system=model.title,
                measure=number.measure,
                source=number.source,
                status=number.status,
                condition=_called(benchmark, number.first_stage),
                model=name,
                depth=number.depth,
                first_stage=number.first_stage,
                mean=number.value if task == MEAN else None,
                tasks={} if task == MEAN else {task: number.value},
                note=number.note,
            )
            if not any(_same_numbers(row, other) for other in rows):
                rows.append(row)
    return [
        row
        for row in rows
        if any(row.value(task) is not None for task, measure in benchmark.columns if measure == row.measure)
    ]


def _task(record: Mapping[str, Any], measures: tuple[str, ...]) -> Task:
    filled = {"judged": record["dataset"], "measures": measures} | _tuples(record)
    return Task(**filled)


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}


def _check(benchmark: Benchmark, path: str) -> None:
    """Names have to fit together, so that a typing error is not found by a user on the second day of a run."""
    for task in benchmark.tasks:
        _check_measures(task, path)
    conditions = {condition.name for condition in benchmark.conditions}
    tasks, columns = {task.name for task in benchmark.tasks}, set(benchmark.columns)
    named = [benchmark.baseline, *benchmark.rerank_first_stages]
    named += [name for condition in benchmark.conditions for name in condition.after]
    if odd := [name for name in named if name not in conditions]:
        raise BadFile(f"{path}: {odd[0]!r} is no condition of it")
    for row in benchmark.rows:
        what = f"{path}: published {row.system}, {row.measure}"
        if row.status not in STATUSES:
            raise BadFile(f"{what}: status {row.status!r}; expected found or computed")
        if row.condition and row.condition not in conditions:
            raise BadFile(f"{what}: {row.condition!r} is no condition of it")
        if row.model and row.model not in published.names():
            raise BadFile(f"{what}: {row.model!r} is no published reranker of limrank")
        if odd := sorted(row.tasks.keys() - tasks):
            raise BadFile(f"{what}: {odd[0]!r} is no task of it")
        cells = [*row.tasks, *([MEAN] if row.mean is not None else [])]
        if odd := [task for task in cells if (task, row.measure) not in columns]:
            raise BadFile(f"{what}: the table has no such column for {odd[0]}")


def _column(benchmark: Benchmark, place: str, measure: str) -> str:
    """The task that a published number is about, or `MEAN`; empty where the table has no such column."""
    if benchmark.mean and place == benchmark.name:
        return MEAN if (MEAN, measure) in benchmark.columns else ""
    found = (task.name for task in benchmark.tasks if task.judged == place and measure in task.measures)
    return next(found, "")


def _check_measures(task: Task, path: str) -> None:
    from limrank.evaluate.instruction import P_MRR, SCORE, asked
    from limrank.evaluate.measures import parse as parse_measure

    if asked(task.measures):
        if odd := [measure for measure in task.measures if measure not in (P_MRR, SCORE)]:
            raise BadFile(f"{path}: task {task.name}: {odd[0]!r} beside p-MRR; only {P_MRR} and {SCORE} go together")
        return
    for measure in task.measures:
        try:
            display = str(parse_measure(measure))
        except LimrankError as error:
            raise BadFile(f"{path}: task {task.name}: {error}") from error
        if display != measure:
            raise BadFile(f"{path}: task {task.name}: write measure {measure!r} as {display}")


def _called(benchmark: Benchmark, first_stage: str) -> str:
    return next((condition.name for condition in benchmark.conditions if first_stage in condition.called), "")


def _same_numbers(one: Row, other: Row) -> bool:
    return (one.model, one.measure, one.depth, one.mean) == (other.model, other.measure, other.depth, other.mean) and (
        one.tasks.items() <= other.tasks.items()
    )
