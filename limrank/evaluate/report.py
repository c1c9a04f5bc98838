"""A comparison as a document: a page that opens anywhere without a network, or tables in Markdown or LaTeX.

The page is one file. It holds the comparison's numbers as they are, and what can be read off the runs themselves: what
a reranking of fewer documents would have given, where relevant documents went, how often a score was right, and every
query with its documents. Every measure on it is limrank.evaluate's and every test the comparison's. Knows nothing of
terminals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from limrank.errors import LimrankError, Mismatch, Unknown
from limrank.evaluate import _report_figures as figures
from limrank.evaluate._report_figures import Curve
from limrank.evaluate._report_page import page
from limrank.evaluate._report_task import Task, qrels_digest, task_query_ids
from limrank.evaluate.comparison import Comparison
from limrank.evaluate.tables import Row, Table, draw, render
from limrank.files import write_text

__all__ = ["FORMATS", "Task", "check_format", "report", "write"]

FORMATS = {".html": "html", ".htm": "html", ".md": "markdown", ".tex": "latex"}


def write(
    out: Path,
    comparison: Comparison,
    tasks: Sequence[Task],
    *,
    title: str = "",
    first_stage: str = "",
    top: int = 10,
    characters: int = 600,
) -> list[str]:
    """Write the report in the format that the file's suffix says: .html, .md or .tex.

    Args:
        out: The file.
        comparison: As `compare` or `compare_scores` returns it.
        tasks: What was compared on: one, or those of the comparison, with a run for each of its systems.
        title: Of the page; default: the names of the tasks.
        first_stage: The run that others reranked; default: see `first_stages`.
        top: Documents of every run that can be read for a query.
        characters: Of a document's text that are kept; of a thought four times as many.

    Returns:
        Why something is not in the report, one sentence for each reason.

    Raises:
        LimrankError: The suffix is none of the three, or a number is out of its range.
        Mismatch: Comparison and tasks are not of the same systems and queries.
        Unknown: No run has the first stage's name.
    """
    text, notes = report(
        comparison,
        tasks,
        check_format(out),
        title=title,
        first_stage=first_stage,
        top=top,
        characters=characters,
    )
    write_text(out, text)
    return notes


def check_format(out: Path) -> str:
    """The format that a suffix says.

    Raises:
        LimrankError: None.
    """
    if out.suffix.lower() not in FORMATS:
        raise LimrankError(f"{out}: a report is written as .html, .md or .tex; give --out one of these suffixes")
    return FORMATS[out.suffix.lower()]


def report(
    comparison: Comparison,
    tasks: Sequence[Task],
    style: str = "html",
    *,
    title: str = "",
    first_stage: str = "",
    top: int = 10,
    characters: int = 600,
) -> tuple[str, list[str]]:
    """The report as text, and why something is not in it; arguments and errors are those of `write`."""
    if top < 1 or characters < 1:
        raise LimrankError(f"top={top} characters={characters}: expected at least 1")
    if style not in FORMATS.values():
        raise Unknown.among("format of a report", style, set(FORMATS.values()))
    _check(comparison, tasks)
    stages = figures.first_stages(comparison, tasks, told=first_stage)
    curves = figures.curves(comparison, tasks, stages)
    heading = " ".join(title.split()) or ", ".join(task.name for task in tasks)
    if style == "html":
        return page(comparison, tasks, stages, curves, title=heading, top=top, characters=characters)
    notes = [note for task in tasks for note in task.notes()]
    return _text(comparison, tasks, stages, curves, style=style, title=heading), notes


def _check(comparison: Comparison, tasks: Sequence[Task]) -> None:
    names = [scores.name for scores in comparison.runs]
    if len(tasks) != max(1, len(comparison.tasks)):
        raise Mismatch(f"the comparison is of {max(1, len(comparison.tasks))} tasks, and {len(tasks)} are given")
    for task in tasks:
        if lost := [name for name in names if name not in task.runs]:
            raise Mismatch(f"task {task.name} lacks a run of {lost[0]!r}")
        if not task_query_ids(comparison, task):
            raise Mismatch(f"the comparison has no query of task {task.name!r}")
        if lost := [query_id for query_id in task_query_ids(comparison, task) if query_id not in task.qrels]:
            raise Mismatch(f"query {lost[0]!r} of the comparison is not judged in task {task.name!r}")


def _text(
    comparison: Comparison,
    tasks: Sequence[Task],
    stages: Mapping[str, figures.Stage],
    curves: Mapping[str, Curve],
    *,
    style: str,
    title: str,
) -> str:
    """The comparison's tables, then what depth and movement say, as text."""
    latex = style == "latex"
    first = comparison.measures[0]
    told = [f"qrels sha256 of {task.name}: {task.qrels.sha256()}" for task in tasks]
    if len(tasks) > 1:
        told.append(f"of all tasks together: {qrels_digest(tasks)}")
    parts = [
        f"% {title}" if latex else f"# {title}",
        render(comparison, "latex" if latex else "markdown", full=True),
        draw([], told, style=style),
    ]
    depths = sorted({depth for curve in curves.values() for depth in curve.depths})
    if depths:
        rows: list[Row] = []
        for name, curve in curves.items():
            found = dict(zip(curve.depths, curve.means[first]))
            rows.append([name, stages[name].name, *(f"{found[d]:.4f}" if d in found else "" for d in depths)])
        headings = ["run", "first stage", *(str(depth) for depth in depths)]
        what = (
            f"{first} if only the first stage's best documents, this many, had been reranked, and the rest kept; "
            "0 is the first stage itself. Exact for rerankers that judge each document by itself."
        )
        parts.append(draw([Table(headings, rows, texts=2)], [what], style=style))
        parts.append(_movement(comparison, tasks, stages, style=style))
    return "\n\n".join(parts) + "\n"


def _movement(comparison: Comparison, tasks: Sequence[Task], stages: Mapping[str, figures.Stage], *, style: str) -> str:
    rows: list[Row] = []
    for name, stage in stages.items():
        if stage.name:
            found = figures.moves(comparison, tasks, name, stage.name)
            rows.append([tasks[0].shown(name), stage.name, *map(str, found)])
    headings = ["run", "first stage", "up", "unmoved", "down", "into the top 10", "out of the top 10"]
    what = (
        "Relevant documents by where they went from the first stage's ranking; one that is in neither is not counted."
    )
    return draw([Table(headings, rows, texts=2)], [what], style=style)
