"""Several scores in one: the seeds of one system averaged query by query, and the tasks of a benchmark side by side.

Knows nothing of runs and judgments: it takes scores as they are and says in the result what was averaged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from limrank.errors import LimrankError, Mismatch
from limrank.evaluate.scores import Scores, means_of


def average(scores: Sequence[Scores], *, name: str) -> Scores:
    """One system from several runs of it: per query and measure, the mean of the runs' values.

    A system that samples gives another run with every seed; each of its queries then counts once, with what can be
    expected of it. A query that one run lacks counts 0 for that run, or, where missing queries are skipped, is left
    out for all.

    Args:
        scores: Of the same measures and judgments.
        name: Of the system.

    Raises:
        LimrankError: No scores.
        Mismatch: The scores are of different measures or queries; or no query is in all of them.
    """
    if not scores:
        raise LimrankError(f"{name}: no run to average")
    first = scores[0]
    alike(scores)
    missing = tuple(dict.fromkeys(query_id for one in scores for query_id in one.missing))
    kept = [query_id for query_id in first.query_ids if not (first.skipped and query_id in missing)]
    if not kept:
        raise Mismatch(f"{name}: no query is in all of {', '.join(one.name for one in scores)}; average fewer runs")
    values = {
        measure: {q: math.fsum(one.values[measure][q] for one in scores) / len(scores) for q in kept}
        for measure in first.values
    }
    tasks = {query_id: first.tasks[query_id] for query_id in kept} if first.tasks else {}
    return replace(
        first,
        name=name,
        values=values,
        means=means_of(values, tasks),
        missing=missing,
        extra=tuple(dict.fromkeys(query_id for one in scores for query_id in one.extra)),
        tasks=tasks,
        averaged=tuple(one.name for one in scores),
        notes=tuple(dict.fromkeys(note for one in scores for note in one.notes)),
    )


def macro_average(by_task: Mapping[str, Scores], *, name: str = "") -> Scores:
    """One system on several tasks; a mean is the plain mean of the tasks' means, however many queries they have.

    Query ids become `task/query_id`, because two tasks may have queries of one id.

    Args:
        by_task: Scores of the same measures, by the task's name.
        name: Of the system; default: that of the first scores.

    Raises:
        LimrankError: No task.
        Mismatch: The tasks are scored by different measures.

    Source: BRIGHT (arXiv:2407.12883) and BEIR average their tasks so.
    """
    if not by_task:
        raise LimrankError(f"{name or 'macro-average'}: no task to average over")
    first = next(iter(by_task.values()))
    for task, scores in by_task.items():
        if list(scores.values) != list(first.values):
            raise Mismatch(
                f"task {task} is scored by {', '.join(scores.values)}, the first by {', '.join(first.values)}; "
                "an average needs the same measures"
            )
    values = {
        measure: {
            f"{task}/{query_id}": value
            for task, scores in by_task.items()
            for query_id, value in scores.values[measure].items()
        }
        for measure in first.values
    }
    tasks = {f"{task}/{query_id}": task for task, scores in by_task.items() for query_id in scores.query_ids}
    return Scores(
        name=name or first.name,
        values=values,
        means=means_of(values, tasks),
        judged=sum(scores.judged for scores in by_task.values()),
        missing=tuple(f"{task}/{query_id}" for task, scores in by_task.items() for query_id in scores.missing),
        extra=tuple(f"{task}/{query_id}" for task, scores in by_task.items() for query_id in scores.extra),
        skipped=first.skipped,
        tasks=tasks,
        averaged=first.averaged,
        notes=tuple(f"{task}: {note}" for task, scores in by_task.items() for note in scores.notes),
    )


def alike(scores: Sequence[Scores]) -> None:
    """Refuse scores that cannot be set side by side.

    Raises:
        Mismatch: They are of different measures, or of different queries although none was to be skipped.
    """
    first = scores[0]
    for one in scores[1:]:
        if list(one.values) != list(first.values):
            raise Mismatch(
                f"{one.name} is scored by {', '.join(one.values)}, {first.name} by {', '.join(first.values)}"
            )
        if not first.skipped and one.query_ids != first.query_ids:
            raise Mismatch(
                f"{one.name} is scored on {len(one.query_ids)} queries, {first.name} on {len(first.query_ids)}, and "
                "not the same ones; score both on the same judgments"
            )
