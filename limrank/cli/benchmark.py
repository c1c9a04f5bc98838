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
    from limrank.benchmark import Benchmark, Check, Command, Result, System

AsJson = Annotated[bool, Parameter(name="--json", negative=())]
Flag = Annotated[bool, Parameter(negative=())]
Several = Annotated[list[str], Parameter(consume_multiple=True)]


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
        _show_plan(chosen, systems, folder, baseline=baseline or chosen.baseline, llm=llm, as_json=as_json)
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


def _show_plan(
    chosen: Benchmark, systems: Sequence[System], folder: Path, *, baseline: str, llm: str, as_json: bool
) -> None:
    """Commands that can be typed as they stand; all else is a comment."""
    from limrank.cli._benchmark_cost import READS, WRITES, cost_of, told

    costs = [cost_of(chosen, system, llm=llm) for system in systems if system.model]
    comparisons = _comparisons(chosen, systems, folder, baseline)
    if as_json:
        emit_json(
            {
                "benchmark": chosen.name,
                "commands": [list(command) for _, commands in _in_order(systems) for command in commands]
                + [list(command) for command in comparisons],
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
    for command in comparisons:
        print(f"limrank {shlex.join(command)}")
    if costs:
        print(
            f"\n# What the reranks take; hours at {READS:,} tokens read and {WRITES:,} written a second, as vLLM"
            "\n# (--llm vllm) does about on an H100 with a model of 7 billion parameters. Depths of one model share"
            "\n# their answers: together they cost what the deepest does, where a document is asked about by itself."
        )
        if any("assumed" in cost for cost in costs):
            print(
                f"# Where lengths are assumed, a query has {chosen.query_characters:,} characters and a document "
                f"{chosen.document_characters:,}; they are counted as soon as the first stage is there."
            )
        for cost in costs:
            print("# " + told(cost))


def _in_order(systems: Sequence[System]) -> Iterator[tuple[System, list[Command]]]:
    """The commands as `make` runs them, each once."""
    seen: set[Command] = set()
    for system in systems:
        fresh = dict.fromkeys(command for commands in system.commands.values() for command in commands)
        yield system, [command for command in fresh if command not in seen]
        seen.update(fresh)


def _comparisons(chosen: Benchmark, systems: Sequence[System], folder: Path, baseline: str) -> list[Command]:
    """`limrank compare` on what has its place below the folder: all tasks at once where they have a mean."""
    own = [system.name for system in systems if all(folder in path.parents for path in system.runs.values())]
    if len(own) < 2:
        return []
    groups = [chosen.tasks] if chosen.mean else [(task,) for task in chosen.tasks]
    found = []
    for tasks in groups:
        datasets = [word for task in tasks for word in ("--dataset", task.judged)]
        measures = [word for measure in tasks[0].measures for word in ("--measures", measure)]
        # The runs of a part of a dataset are those of the whole.
        place = str(folder / (tasks[0].place if len(tasks) == 1 else "{dataset}") / "{run}.trec")
        against = ["--baseline", baseline] if baseline in own else []
        found.append(("compare", *own, *datasets, "--runs", place, *measures, *against))
    return found
