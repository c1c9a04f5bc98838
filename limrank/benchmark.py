"""Run a benchmark: its systems by limrank's own commands, their scores, and which published numbers are reproduced.

Every command runs in a process of its own, so that a plan can be read, typed and taken up again, and a task that fails
takes nothing down. Values are in points (0.2751 is 27.51), as in papers. Knows nothing of tables and terminals.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from limrank import published
from limrank._benchmark_files import load, names, parse, rows_of
from limrank._benchmarks import MEAN, Benchmark, Condition, Row, Task
from limrank.errors import BadFile, LimrankError, Unknown

if TYPE_CHECKING:
    from limrank.evaluate import Comparison, Scores
    from limrank.qrels import Qrels

__all__ = [
    "MEAN", "Benchmark", "Check", "Condition", "Result", "Row", "System", "Task", "beside", "load", "make", "names",
    "parse", "rows_of", "score", "systems_of",
]  # fmt: skip

Command: TypeAlias = tuple[str, ...]
# Runs a command line (without the leading `limrank`) and says why it failed; empty when it did not.
Call: TypeAlias = Callable[[Command], str]


@dataclass(frozen=True)
class System:
    """A row of ours: a condition, or a reranker behind one.

    Attributes:
        name: In the table.
        about: One line.
        runs: By task.
        commands: By task, all that it takes, from the index on.
        condition: Its first stage, or itself.
        model: Our name of the reranker; empty for a condition.
        depth: Documents per query that are reranked; 0 for a condition.
    """

    name: str
    about: str
    runs: Mapping[str, Path]
    commands: Mapping[str, tuple[Command, ...]]
    condition: str
    model: str = ""
    depth: int = 0


class Check(NamedTuple):
    """A number that is to be reproduced; `ours` is None where it was not made."""

    system: str
    task: str
    measure: str
    ours: float | None
    row: Row
    expected: float

    @property
    def holds(self) -> bool:
        """Whether ours is within the tolerance."""
        # A millionth of a point: the difference of two decimal numbers is not exact.
        return self.ours is not None and abs(self.ours - self.expected) <= (self.row.tolerance or 0.0) + 1e-6


@dataclass(frozen=True)
class Result:
    """What came of the systems.

    Attributes:
        benchmark: Which.
        systems: In order.
        scores: By system and task, what could be made and scored.
        reasons: By system and task, why not.
        comparisons: Of the systems that have all tasks; one per task where there is no mean.
    """

    benchmark: Benchmark
    systems: tuple[System, ...]
    scores: Mapping[str, Mapping[str, Scores]]
    reasons: Mapping[tuple[str, str], str]
    comparisons: tuple[Comparison, ...]

    def value(self, system: str, task: str, measure: str) -> float | None:
        """Points; the mean only where no task is missing."""
        by_task = self.scores.get(system, {})
        if task != MEAN:
            means = by_task[task].means if task in by_task else {}
            return 100 * means[measure] if measure in means else None
        values = [self.value(system, one.name, measure) for one in self.benchmark.tasks]
        found = [value for value in values if value is not None]
        return sum(found) / len(found) if len(found) == len(self.benchmark.tasks) else None

    def checks(self, rows: Sequence[Row]) -> list[Check]:
        """Every number that is to be reproduced by one of the systems."""
        return [
            Check(system.name, task, row.measure, self.value(system.name, task, row.measure), row, expected)
            for system in self.systems
            for row in beside(system, rows)
            for task, measure in self.benchmark.columns
            if row.tolerance is not None and measure == row.measure and (expected := row.value(task)) is not None
        ]


def beside(system: System, rows: Sequence[Row]) -> list[Row]:
    """The published values of the same thing: the same first stage, reranker and depth."""
    return [
        row
        for row in rows
        if row.condition == system.condition
        and row.model == system.model
        and (row.depth == system.depth or not system.model)
    ]


def systems_of(
    benchmark: Benchmark,
    *,
    folder: Path = Path("runs/benchmark"),
    models: Sequence[str] = (),
    depths: Sequence[int] = (),
    llm: str = "",
    max_failed: int = 0,
) -> list[System]:
    """The rows to be made: the conditions, and every model behind every first stage that is to be reranked.

    Args:
        benchmark: From `load`.
        folder: Runs go to <folder>/<dataset>/<system>.trec.
        models: Published rerankers, by name.
        depths: Documents per query that are reranked; default: the benchmark's.
        llm: For `limrank rerank`: another backend for models that ask a language model.
        max_failed: For `limrank rerank`: documents that may stay without a verdict.

    Raises:
        Unknown: There is no such model.
        LimrankError: limrank cannot run the model, or a depth is below 1.
    """
    if wrong := [depth for depth in depths if depth < 1]:
        raise LimrankError(f"depth {wrong[0]}: at least one document has to be reranked")
    by_name = {condition.name: condition for condition in benchmark.conditions}
    systems = [_system(benchmark, condition, by_name, folder) for condition in benchmark.conditions]
    first_stages = [system for system in systems if system.name in benchmark.rerank_first_stages]
    # The deepest first: with the answers kept, a lesser depth asks nothing that was asked before.
    wanted = sorted(set(depths or benchmark.rerank_depths), reverse=True)
    for model in dict.fromkeys(models):
        asks = bool(published.choose(published.load(model)).llm)
        words = ["--llm", llm] if llm and asks else []
        words += ["--max-failed", str(max_failed)] if max_failed else []
        words += ["--cache", str(folder / "answers")] if asks and len(wanted) > 1 else []
        systems += [
            _reranked(benchmark, first, model, depth, words, folder) for first in first_stages for depth in wanted
        ]
    return systems


def make(systems: Sequence[System], call: Call) -> dict[tuple[str, str], str]:
    """Run all commands, each once; a system whose command failed goes no further, the others do.

    Returns:
        By system and task, why its run could not be made.
    """
    said: dict[Command, str] = {}
    reasons: dict[tuple[str, str], str] = {}
    for system in systems:
        for task, commands in system.commands.items():
            for command in commands:
                if command not in said:
                    said[command] = call(command)
                if said[command]:
                    reasons[system.name, task] = said[command]
                    break
    return reasons


def score(
    benchmark: Benchmark, systems: Sequence[System], reasons: Mapping[tuple[str, str], str], *, baseline: str = ""
) -> Result:
    """Score every run that was made, and compare the systems that have all tasks.

    Args:
        benchmark: Which.
        systems: From `systems_of`.
        reasons: From `make`.
        baseline: The system that the others are compared with; default: the benchmark's.

    Raises:
        Unknown: There is no such system.
    """
    known = [system.name for system in systems]
    if baseline and baseline not in known:
        raise Unknown.among("system", baseline, known)
    why = dict(reasons)
    scores: dict[str, dict[str, Scores]] = {name: {} for name in known}
    judgments: dict[str, dict[str, str]] = {}
    for task in benchmark.tasks:
        qrels: Qrels | LimrankError | None = None
        for system in systems:
            if (system.name, task.name) in why:
                continue
            qrels = _judgments(task) if qrels is None else qrels
            try:
                if isinstance(qrels, LimrankError):
                    raise qrels
                scores[system.name][task.name] = _scores(system, task, qrels)
                judgments[task.name] = {"name": task.name, "dataset": task.judged, "sha256": qrels.sha256()}
            except LimrankError as error:
                why[system.name, task.name] = " ".join(str(error).split())
    comparisons = _compared(benchmark, scores, judgments, baseline or benchmark.baseline)
    return Result(benchmark, tuple(systems), scores, why, tuple(comparisons))


def _judgments(task: Task) -> Qrels | LimrankError:
    from limrank.datasets import open_dataset

    try:
        return open_dataset(task.judged).qrels()
    except LimrankError as error:
        return error


def _scores(system: System, task: Task, qrels: Qrels) -> Scores:
    from limrank.evaluate import evaluate, evaluate_pairs
    from limrank.evaluate.instruction import SCORE_OF, asked
    from limrank.run import Run

    path = system.runs[task.name]
    if not path.exists():
        raise BadFile(f"{path}: no such file; it lies in limrank's repository, and is looked for from here")
    run = Run.read(path, name=system.name)
    if asked(task.measures):
        return evaluate_pairs(run, qrels, task.measures, score=SCORE_OF.get(task.name, ""))
    if task.judged != task.dataset:
        # A part of a dataset judges a part of its queries; the others are no mistake.
        run = Run({query_id: run[query_id] for query_id in run if query_id in qrels}, name=run.name)
    return evaluate(run, qrels, task.measures)


def _compared(
    benchmark: Benchmark,
    scores: Mapping[str, Mapping[str, Scores]],
    judgments: Mapping[str, Mapping[str, str]],
    baseline: str,
) -> list[Comparison]:
    from limrank.evaluate import compare_scores, macro_average

    scored = [task.name for task in benchmark.tasks if any(task.name in by_task for by_task in scores.values())]
    whole = {name: by_task for name, by_task in scores.items() if scored and all(task in by_task for task in scored)}
    if len(whole) < 2:
        return []
    chosen = baseline if baseline in whole else None
    judged = {task.name: task.judged for task in benchmark.tasks}
    if benchmark.mean and len(scored) > 1:
        averaged = [macro_average(by_task, name=name) for name, by_task in whole.items()]
        used = [judgments[task] for task in scored]
        return [compare_scores(averaged, qrels=benchmark.title, judgments=used, baseline=chosen)]
    return [
        compare_scores(
            [by_task[task] for by_task in whole.values()],
            qrels=judged[task],
            judgments=[judgments[task]],
            baseline=chosen,
        )
        for task in scored
    ]


def _system(benchmark: Benchmark, condition: Condition, by_name: Mapping[str, Condition], folder: Path) -> System:
    runs, commands = {}, {}
    for task in benchmark.tasks:
        runs[task.name] = _place(condition, task, folder)
        commands[task.name] = tuple(
            _command(step, one, task, folder)
            for one in [*(by_name[name] for name in condition.after), condition]
            for step in one.steps
        )
    return System(condition.name, condition.about, runs, commands, condition.name)


def _reranked(
    benchmark: Benchmark, first: System, model: str, depth: int, options: Sequence[str], folder: Path
) -> System:
    name = f"{first.name}+{model}.top{depth}"
    runs, commands = {}, {}
    for task in benchmark.tasks:
        runs[task.name] = folder / task.place / f"{name}.trec"
        words = ("--model", model, "--depth", str(depth), *options, "--out", str(runs[task.name]))
        rerank = ("rerank", str(first.runs[task.name]), task.dataset, *words)
        commands[task.name] = (*first.commands[task.name], rerank)
    about = f"{published.load(model).title} on the best {depth} of {first.name}"
    return System(name, about, runs, commands, first.name, model, depth)


def _place(condition: Condition, task: Task, folder: Path) -> Path:
    return Path(condition.run) if condition.run else folder / task.place / f"{condition.name}.trec"


def _command(step: str, condition: Condition, task: Task, folder: Path) -> Command:
    values = {
        "dataset": task.dataset,
        "name": task.place,
        "out": str(_place(condition, task, folder)),
        "runs": str(folder / task.place),
    }
    return tuple(word.format(**values) for word in shlex.split(step))
