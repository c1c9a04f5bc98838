"""benchmark: a whole table, from the index to the comparison, with the published numbers beside it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from limrank.cli._terminal import emit_json, note
from limrank.errors import LimrankError, Unknown

if TYPE_CHECKING:
    from limrank.benchmark import Benchmark, Check, Command, Result, System, Task

AsJson = Annotated[bool, Parameter(name="--json", negative=())]
Flag = Annotated[bool, Parameter(negative=())]
Several = Annotated[list[str], Parameter(consume_multiple=True)]
# Of limrank estimate --tokens-per-second: an H100 with a model of 7 billion parameters.
READS, WRITES = 30_000, 12_500


def benchmark(
    name: str,
    /,
    *,
    model: Several | None = None,
    task: Several | None = None,
    depth: Annotated[list[int], Parameter(consume_multiple=True)] | None = None,
    llm: str = "",
    max_failed: int = 0,
    baseline: str = "",
    check: Flag = False,
    dry_run: Flag = False,
    folder: Path = Path("runs/benchmark"),
    style: Annotated[Literal["table", "markdown", "latex"], Parameter(name="--format")] = "table",
    out: Path | None = None,
    as_json: AsJson = False,
) -> int:
    """Make a benchmark's table: indexes, first stages, reranks, scores and tests, beside what papers report.

    Every part is a command of limrank in a process of its own. What was finished before is not made again; a task that
    fails does not stop the others: the table says what was not run and why, and the exit code is 1.

    Args:
        name: bright, followir, litsearch, or stdlib, which needs no network (limrank list benchmarks); or a TOML file
            like theirs.
        model: Published rerankers behind the benchmark's first stages; see limrank list models.
        task: Only these tasks; then there is no mean.
        depth: Documents per query that are reranked; default: the benchmark's.
        llm: For limrank rerank, as vllm: the same weights by another backend.
        max_failed: For limrank rerank: documents that may stay without a verdict.
        baseline: The system that the others are compared with; default: the benchmark's.
        check: Exit with 1 when a number that is to be reproduced is not, within its tolerance.
        dry_run: Print the commands and what the reranks take, and run nothing; needs no network.
        folder: Runs go to <folder>/<dataset>/<system>.trec
        style: How the table is printed.
        out: Write it to this file as well.
        as_json: For programs; with --dry-run the plan.
    """
    from limrank import benchmark as benchmarks
    from limrank.cli._benchmark_table import render, to_json

    known = benchmarks.load(name)
    chosen, models = known.only(task or ()), model or []
    systems = benchmarks.systems_of(
        chosen, folder=folder, models=models, depths=depth or (), llm=llm, max_failed=max_failed
    )
    if baseline and baseline not in (system.name for system in systems):
        raise Unknown.among("system", baseline, [system.name for system in systems])
    rows = benchmarks.rows_of(chosen, models)
    if check and not any(
        row.tolerance is not None and benchmarks.beside(one, [row]) for one in systems for row in rows
    ):
        raise LimrankError(
            f"{chosen.title}: no number that is to be reproduced here has a tolerance; leave --check out"
        )
    if dry_run:
        _show_plan(chosen, systems, folder, llm=llm, as_json=as_json)
        return 0
    if out:
        from limrank.cli._files import check_writable

        check_writable(out)
    result = benchmarks.score(chosen, systems, benchmarks.make(systems, call), baseline=baseline)
    text = render(result, rows, style)
    if as_json:
        emit_json(to_json(result, rows))
    else:
        print(text)
    if out:
        from limrank.files import write_text

        write_text(out, text + "\n")
    return _verdict(result, result.checks(rows) if check else [])


def call(command: Command) -> str:
    """Run one command in a process of its own; what it prints goes to stderr, because stdout is for the table.

    Returns:
        Why it failed, or nothing.
    """
    note(f"$ limrank {shlex.join(command)}")
    last = ""
    with subprocess.Popen(
        [sys.executable, "-m", "limrank", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        for line in child.stdout or ():
            note(line.rstrip("\n"))
            last = line.strip() or last
    if child.returncode == 0:
        return ""
    return last.removeprefix("limrank: ") or f"limrank {command[0]} ended with exit code {child.returncode}"


def _verdict(result: Result, checks: Sequence[Check]) -> int:
    """The exit code, with one line for every number that is not as it should be."""
    wrong = [found for found in checks if not found.holds]
    for found in wrong:
        ours = "not run" if found.ours is None else f"{found.ours:.4f}"
        note(
            f"limrank: {found.system}, {found.task}, {found.measure}: {ours}, expected {found.expected:g} within "
            f"{found.row.tolerance:g} ({found.row.source})"
        )
    if checks and not wrong:
        told = "number is within its" if len(checks) == 1 else "numbers are within their"
        note(f"{len(checks)} {told} tolerance")
    return 1 if wrong or result.reasons else 0


def _show_plan(chosen: Benchmark, systems: Sequence[System], folder: Path, *, llm: str, as_json: bool) -> None:
    """Commands that can be typed as they stand; all else is a comment."""
    costs = [_cost(chosen, system, llm) for system in systems if system.model]
    if as_json:
        emit_json(
            {
                "benchmark": chosen.name,
                "commands": [list(command) for _, commands in _in_order(systems) for command in commands]
                + [list(command) for command in _comparisons(chosen, systems, folder)],
                "costs": costs,
            }
        )
        return
    print(f"# {chosen.title}: {chosen.about} ({chosen.source})")
    for system, commands in _in_order(systems):
        print(f"\n# {system.name}: {system.about}")
        for command in commands:
            print(f"limrank {shlex.join(command)}")
    print("\n# The comparison; limrank benchmark sets the published numbers beside it.")
    for command in _comparisons(chosen, systems, folder):
        print(f"limrank {shlex.join(command)}")
    if costs:
        print(
            f"\n# What the reranks take; hours of a device that reads {READS:,} and writes {WRITES:,} tokens a second,"
        )
        print("# as an H100 does about with a model of 7 billion parameters. Depths of one model share their answers:")
        print("# together they cost what the deepest does, where a document is asked about by itself.")
        for cost in costs:
            print("# " + _told(cost))


def _in_order(systems: Sequence[System]) -> Iterator[tuple[System, list[Command]]]:
    """The commands as `make` runs them, each once."""
    seen: set[Command] = set()
    for system in systems:
        fresh = dict.fromkeys(command for commands in system.commands.values() for command in commands)
        yield system, [command for command in fresh if command not in seen]
        seen.update(fresh)


def _comparisons(chosen: Benchmark, systems: Sequence[System], folder: Path) -> list[Command]:
    """`limrank compare` on what has its place below the folder: all tasks at once where they have a mean."""
    own = [system.name for system in systems if all(folder in path.parents for path in system.runs.values())]
    if len(own) < 2:
        return []
    groups = [chosen.tasks] if chosen.mean else [(task,) for task in chosen.tasks]
    found = []
    for tasks in groups:
        baseline = ["--baseline", chosen.baseline] if chosen.baseline in own else []
        datasets = [word for task in tasks for word in ("--dataset", task.judged)]
        measures = [word for measure in tasks[0].measures for word in ("--measures", measure)]
        # The runs of a part of a dataset are those of the whole.
        place = str(folder / (tasks[0].dataset if len(tasks) == 1 else "{dataset}") / "{run}.trec")
        found.append(("compare", *own, *datasets, "--runs", place, *measures, *baseline))
    return found


def _cost(chosen: Benchmark, system: System, llm: str) -> dict[str, object]:
    """What a rerank takes: counted on its first stage where that is there, else from the number of queries."""
    from limrank.cli._stages import stages_of
    from limrank.estimate import THOUGHT_TOKENS, Plan, estimate
    from limrank.run import Run

    [stage] = stages_of(model=system.model, method="", llm=llm, prompt="", mix=None, depth=system.depth, then=())
    places = {task.dataset: Path(system.commands[task.name][-1][1]) for task in chosen.tasks}
    documents = system.depth * sum({task.dataset: task.queries for task in _whole(chosen)}.values())
    found: dict[str, object] = {"system": system.name, "documents": documents}
    if all(path.exists() for path in places.values()):
        from limrank.datasets import open_dataset

        plan = Plan(stage.method, stage.llm, stage.prompt, stage.depth)
        try:
            costs = [estimate(Run.read(path), open_dataset(name), [plan])[0] for name, path in places.items()]
        except LimrankError as error:
            return found | {"calls": None, "why": " ".join(str(error).split())}
        totals = {
            key: sum(getattr(cost, key) for cost in costs)
            for key in ("documents", "calls", "prompt_tokens", "shared_tokens", "output_tokens")
        }
        return found | totals | {"hours": round(sum(cost.hours(READS, WRITES) for cost in costs), 2)}
    thinks = "think=full" in stage.method.split()
    written = {"output_tokens": documents * THOUGHT_TOKENS, "thought_tokens": THOUGHT_TOKENS} if thinks else {}
    return found | {"calls": None, "why": "its first stage is not there yet"} | written


def _whole(chosen: Benchmark) -> list[Task]:
    """One task of every dataset: that with the most queries, which is the whole of it."""
    largest: dict[str, Task] = {}
    for task in chosen.tasks:
        if task.dataset not in largest or task.queries > largest[task.dataset].queries:
            largest[task.dataset] = task
    return list(largest.values())


def _told(cost: dict[str, object]) -> str:
    text = f"{cost['system']}: {cost['documents']:,} documents"
    if cost["calls"] is not None:
        return text + (
            f", {cost['calls']:,} calls, {cost['prompt_tokens']:,} tokens read ({cost['shared_tokens']:,} of them "
            f"shared), {cost['output_tokens']:,} written: {cost['hours']:,} hours"
        )
    if "output_tokens" in cost:
        hours = float(str(cost["output_tokens"])) / WRITES / 3600
        text += (
            f", and with thoughts of {cost['thought_tokens']} tokens {cost['output_tokens']:,} tokens written: "
            f"{hours:.1f} hours and the reading"
        )
    return f"{text} (not counted: {cost['why']}; limrank estimate RUN DATASET --model ... counts)"
