"""A benchmark's result as a table or for JSON: ours in points, published numbers beneath them, their sources below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from limrank.benchmark import MEAN, Benchmark, Result, Row, beside
from limrank.evaluate.tables import Table, draw
from limrank.evaluate.tables import render as render_comparison
from limrank.evaluate.tables import to_json as comparison_to_json

# The measures of one published system: a row of the table.
Line = list[Row]


def render(result: Result, rows: Sequence[Row], style: str) -> str:
    """The table, the sources of its published numbers, what was not run, and the comparisons."""
    bench, lines = result.benchmark, _lines(rows)
    sources = {source: number for number, source in enumerate(dict.fromkeys(_source(line[0]) for line in lines), 1)}
    drawn: list[Sequence[str]] = []
    alone = lines
    for system in result.systems:
        ours = [_points(result.value(system.name, *cell)) for cell in bench.columns]
        drawn.append([system.name, str(system.depth or "-"), *ours])
        near = [line for line in alone if beside(system, line)]
        drawn += [_published(line, bench, sources) for line in near]
        alone = [line for line in alone if line not in near]
    drawn += [_published(line, bench, sources) for line in alone]
    notes = [
        f"{bench.title} ({bench.source}), in points: 100 is best. Lines with a [number] are published, the others were "
        "scored here; a mean in parentheses is not of all tasks.",
        *(f"[{number}] {source}" for source, number in sources.items()),
        *bench.notes,
        *not_run(result),
        *(text for scores in result.scores.values() for one in scores.values() for text in one.warnings()),
    ]
    table = Table(["system", "depth", *_headings(bench)], drawn, texts=1)
    parts = [draw([table], list(dict.fromkeys(notes)), style=style)]
    return "\n\n".join([*parts, *(render_comparison(one, style) for one in result.comparisons)])  # type: ignore[arg-type]


def not_run(result: Result) -> Iterator[str]:
    """One sentence for every reason why something could not be made or scored."""
    grouped: dict[str, dict[str, list[str]]] = {}
    for (system, task), reason in result.reasons.items():
        grouped.setdefault(reason, {}).setdefault(task, []).append(system)
    for reason, by_task in grouped.items():
        systems = list(dict.fromkeys(system for names in by_task.values() for system in names))
        yield f"not run: {', '.join(systems)} on {', '.join(by_task)}: {reason}"


def to_json(result: Result, rows: Sequence[Row]) -> dict[str, Any]:
    """The result as a value for `json.dumps`.

    Keys: `schema` ("limrank.benchmark/1"), `benchmark`, `title`, `source`; `systems`, each with `name`, `about`,
    `model` (or null), `depth` (or null), `runs` (path by task), `values` (task or "mean", then measure, in points;
    null where it was not made), `not_run` (reason by task); `published`, each with the fields of `Row` and `beside`,
    the system of ours that does the same; `checks`, each with `holds`; `comparisons` as `limrank compare --json`,
    without per-query values.
    """
    bench = result.benchmark
    return {
        "schema": "limrank.benchmark/1",
        "benchmark": bench.name,
        "title": bench.title,
        "source": bench.source,
        "systems": [
            {
                "name": system.name,
                "about": system.about,
                "model": system.model or None,
                "depth": system.depth or None,
                "runs": {task: str(path) for task, path in system.runs.items()},
                "values": _values(result, system.name),
                "not_run": {task: why for (name, task), why in result.reasons.items() if name == system.name},
            }
            for system in result.systems
        ],
        "published": [
            row._asdict() | {"beside": next((system.name for system in result.systems if beside(system, [row])), None)}
            for row in rows
        ],
        "checks": [
            {
                "system": check.system,
                "task": check.task,
                "measure": check.measure,
                "ours": check.ours,
                "expected": check.expected,
                "tolerance": check.row.tolerance,
                "source": check.row.source,
                "holds": check.holds,
            }
            for check in result.checks(rows)
        ],
        "comparisons": [comparison_to_json(one, per_query=False) for one in result.comparisons],
    }


def _values(result: Result, system: str) -> dict[str, dict[str, float | None]]:
    values: dict[str, dict[str, float | None]] = {}
    for task, measure in result.benchmark.columns:
        values.setdefault(task, {})[measure] = result.value(system, task, measure)
    return values


def _headings(bench: Benchmark) -> list[str]:
    short = {task.name: task.short or task.name for task in bench.tasks} | {MEAN: MEAN}
    measures = {measure for _, measure in bench.columns}
    if len(bench.tasks) == 1:
        return [measure for _, measure in bench.columns]
    return [short[task] if len(measures) == 1 else f"{short[task]} {measure}" for task, measure in bench.columns]


def _lines(rows: Sequence[Row]) -> list[Line]:
    """The measures of one system from one source together."""
    lines: dict[tuple[object, ...], Line] = {}
    for row in rows:
        key = (row.system, row.condition, row.model, row.depth, *_said(row))
        lines.setdefault(key, []).append(row)
    return list(lines.values())


def _published(line: Line, bench: Benchmark, sources: dict[str, int]) -> Sequence[str]:
    by_measure = {row.measure: row for row in line}
    cells = []
    for task, measure in bench.columns:
        row = by_measure.get(measure)
        text = _points(row.value(task) if row else None)
        partial = row and task == MEAN and row.tasks and any(one.name not in row.tasks for one in bench.tasks)
        cells.append(f"({text})" if partial and text != "-" else text)
    first = line[0]
    return [f"· {first.system} [{sources[_source(first)]}]", str(first.depth or "-"), *cells]


def _said(row: Row) -> tuple[str, ...]:
    first_stage = f"first stage: {row.first_stage}" if row.first_stage and row.depth else ""
    return (f"{row.source} ({row.status})", first_stage, row.note)


def _source(row: Row) -> str:
    return "; ".join(filter(None, _said(row)))


def _points(value: float | None) -> str:
    # Adding 0 takes the sign from a -0.0.
    return "-" if value is None else f"{round(value, 2) + 0.0:.2f}"
