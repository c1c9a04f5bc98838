"""The page: what it knows as compact JSON, and the one HTML file with style and program around it.

Everything that comes from outside is JSON in a script element that no browser runs, with `<`, `>` and `&` escaped, and
is put on the page as text, never as markup; a content security policy lets only the page's own program run and nothing
be loaded. What is read per query is a block of its own for each task, parsed when it is looked at.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from limrank._version import __version__
from limrank.evaluate import _report_figures as figures
from limrank.evaluate._report_figures import Curve, Stage
from limrank.evaluate._report_reading import query_texts, reading
from limrank.evaluate._report_task import Task, overall_id, qrels_digest, task_query_ids
from limrank.evaluate.comparison import Comparison
from limrank.evaluate.tables import CORRECTIONS, describe, test_of, to_json

PROGRAM = ("base.js", "charts.js", "comparison.js", "runs.js", "queries.js", "reading.js", "start.js")
ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def page(
    comparison: Comparison,
    tasks: Sequence[Task],
    stages: Mapping[str, Stage],
    curves: Mapping[str, Curve],
    *,
    title: str,
    top: int,
    characters: int,
) -> tuple[str, list[str]]:
    """The whole file, and why something is not in it."""
    notes = [note for task in tasks for note in task.notes()]
    blocks = [
        reading(task, task_query_ids(comparison, task), top=top, characters=characters, notes=notes) for task in tasks
    ]
    overview = _overview(comparison, tasks, stages, curves, notes) | {"title": title, "top": top, "notes": notes}
    style = _file("page.css")
    # A block, so that no name of the program is one of the window's.
    program = '"use strict";\n{\n' + "\n".join(map(_file, PROGRAM)) + "\n}"
    parts = {
        "title": html.escape(title),
        "policy": f"default-src 'none'; script-src {_allowed(program)}; style-src {_allowed(style)}",
        "style": style,
        # Before the tasks: the figures are there while the browser still reads what is most of the file.
        "overview": _block("overview", overview),
        "program": program,
        "tasks": "\n".join(_block(f"task{i}", block) for i, block in enumerate(blocks)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _file("page.html")), notes


def compact(value: object) -> str:
    """JSON that may stand in a script element; NaN is refused."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(ESCAPES)


def _block(name: str, value: object) -> str:
    return f'<script type="application/json" id="{name}">{compact(value)}</script>'


def _allowed(text: str) -> str:
    """The source of a content security policy that allows just this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return resources.files("limrank.evaluate").joinpath("report_page", name).read_text(encoding="utf-8").rstrip("\n")


def _overview(
    comparison: Comparison,
    tasks: Sequence[Task],
    stages: Mapping[str, Stage],
    curves: Mapping[str, Curve],
    notes: list[str],
) -> dict[str, Any]:
    """What the page needs at once.

    Keys: `schema`; `comparison` (`tables.to_json` without the values per query), `describe`, `test` and `correction` in
    words; `qrels`, a digest; `tasks`, each with name, digest and number of queries; `systems`, each with what is known
    of its run; `queries`, each with its task's place, id, wording and the ranks of its relevant documents in every run
    (0: not there); `values`, by measure, for every system its value of each query; `curves` and `calibration`, for
    every system, null where there is none.
    """
    queries: list[dict[str, Any]] = []
    for place, task in enumerate(tasks):
        texts = query_texts(task, notes)
        queries += [
            {"task": place, "id": query_id, "text": texts.get(query_id, ""), "relevant": _relevant(task, query_id)}
            for query_id in task_query_ids(comparison, task)
        ]
    ids = [overall_id(comparison, tasks[query["task"]], query["id"]) for query in queries]
    return {
        "schema": "limrank.report/1",
        "limrank": __version__,
        "comparison": to_json(comparison, per_query=False),
        "describe": describe(comparison),
        "test": test_of(comparison),
        "correction": CORRECTIONS[comparison.correction],
        "qrels": qrels_digest(tasks),
        "tasks": [
            {"name": task.name, "qrels": task.qrels.sha256(), "queries": len(task_query_ids(comparison, task))}
            for task in tasks
        ],
        "systems": [_system(scores.name, scores.averaged, tasks, stages[scores.name]) for scores in comparison.runs],
        "queries": queries,
        "values": {
            measure: [[scores.values[measure][query_id] for query_id in ids] for scores in comparison.runs]
            for measure in comparison.measures
        },
        "curves": [curves[scores.name]._asdict() if scores.name in curves else None for scores in comparison.runs],
        "calibration": _calibration(comparison, tasks),
    }


def _relevant(task: Task, query_id: str) -> list[list[int]]:
    by_run = [figures.ranks(run, query_id) for run in task.runs.values()]
    return [[found.get(doc_id, 0) for found in by_run] for doc_id in sorted(task.qrels.relevant(query_id))]


def _system(name: str, averaged: Sequence[str], tasks: Sequence[Task], stage: Stage) -> dict[str, Any]:
    known = next((task.manifests[name] for task in tasks if name in task.manifests), None)
    made: dict[str, Any] = {}
    if known is not None:
        counts: dict[str, Any] = {}
        for task in tasks:
            if name in task.manifests:
                for key, count in task.manifests[name].counts.items():
                    counts[key] = counts.get(key, 0) + count if isinstance(count, int | float) else count
        made = {"command": known.command, "parameters": known.parameters, "counts": counts}
        made["seconds"] = sum(task.manifests[name].seconds for task in tasks if name in task.manifests)
    return {
        "name": name,
        "first_stage": stage.name,
        "known_from": stage.known_from,
        "depth": max(task.depth(name) for task in tasks),
        "reranked": max(task.reranked_depth(name) for task in tasks) if stage.name else 0,
        "averaged": list(averaged),
        "shown": tasks[0].runs[name].name,
        "made": made,
    }


def _calibration(comparison: Comparison, tasks: Sequence[Task]) -> list[dict[str, Any] | None]:
    """For every system whose scores are probabilities: why they are, and the bins of every task; else None."""
    found: list[dict[str, Any] | None] = []
    for scores in comparison.runs:
        why = figures.probabilities(tasks, scores.name)
        bins = [figures.calibration(task, scores.name, task_query_ids(comparison, task)) for task in tasks if why]
        found.append({"why": why, "bins": bins} if why else None)
    return found
