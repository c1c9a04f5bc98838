"""Benchmarks as TOML files: read, checked as a whole, and joined with what the models' own files say is published.

A file of `limrank/benchmarks/` is one benchmark; what nobody has found in a source is not in it. A mistake is told with
the file and the key, before anything runs.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from limrank import published
from limrank._benchmarks import MEAN, Benchmark, Condition, Row, Task
from limrank.errors import BadFile, LimrankError, Unknown
from limrank.files import read_text

STATUSES = ("found", "computed")
PLACES = ("dataset", "name", "out", "runs")

T = TypeVar("T")


class Rerank(NamedTuple):
    """Behind which conditions a reranker stands, and how many documents it gets."""

    first_stages: tuple[str, ...]
    depths: tuple[int, ...]


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
        defaults = record.pop("measures")
        rerank = _record(Rerank, record.pop("rerank"), path)
        tasks = [{"judged": task["dataset"], "measures": defaults} | task for task in record.pop("tasks")]
        parts = {
            "tasks": tuple(_record(Task, task, path) for task in tasks),
            "conditions": tuple(_record(Condition, condition, path) for condition in record.pop("conditions")),
            "rows": tuple(_record(Row, row, path) for row in record.pop("published", [])),
        }
        reranks = {"rerank_first_stages": rerank.first_stages, "rerank_depths": rerank.depths}
        found = _record(Benchmark, {"name": name} | record | reranks, path, parts)
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


def _record(kind: type[T], record: Mapping[str, Any], path: str, parts: Mapping[str, Any] = {}) -> T:
    """A noun of what a table says, if every value is of the type that its key wants; `parts` are read already."""
    hints = get_type_hints(kind)
    for key, value in record.items():
        if key in hints and not _fits(value, hints[key]):
            raise BadFile(f"{path}: {key} = {value!r}; {_wanted(hints[key])} is expected there")
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
    return kind(**lists, **parts)


def _fits(value: object, hint: Any) -> bool:
    kind, inner = get_origin(hint), get_args(hint)
    if kind is tuple:
        return isinstance(value, list | tuple) and all(_fits(one, inner[0]) for one in value)
    if kind is Mapping:
        return isinstance(value, dict) and all(_fits(one, inner[1]) for one in value.values())
    if kind is UnionType:
        return any(_fits(value, one) for one in inner)
    # To Python a bool is an int, and to people 1 is as good a number as 1.0.
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    return isinstance(value, hint)


def _wanted(hint: Any) -> str:
    kind, inner = get_origin(hint), get_args(hint)
    if kind is tuple:
        return f"a list, each {_wanted(inner[0])},"
    if kind is Mapping:
        return "a table of numbers"
    return {str: "text", bool: "true or false", int: "a whole number"}.get(hint, "a number")


def _check(benchmark: Benchmark, path: str) -> None:
    """Names have to fit together, so that a typing error is not found by a user on the second day of a run."""
    for task in benchmark.tasks:
        _check_measures(task, path)
    for condition in benchmark.conditions:
        _check_steps(condition, path)
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


def _check_steps(condition: Condition, path: str) -> None:
    for step in condition.steps:
        try:
            for word in shlex.split(step):
                word.format(**dict.fromkeys(PLACES, ""))
        except (LookupError, ValueError) as error:
            known = ", ".join(f"{{{place}}}" for place in PLACES)
            raise BadFile(f"{path}: condition {condition.name}: step {step!r}: {error}; it may hold {known}") from error


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
