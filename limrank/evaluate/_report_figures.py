"""What runs say by themselves: depth curves, where relevant documents went, and how often a score was right.

Takes runs and judgments; every value of a measure comes from `evaluate`. Knows nothing of pages and texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from limrank.errors import Unknown
from limrank.evaluate._report_task import Task, task_query_ids
from limrank.evaluate.averages import average, macro_average
from limrank.evaluate.comparison import Comparison
from limrank.evaluate.scores import Scores, evaluate
from limrank.run import Run

DEPTHS = (10, 20, 50, 100, 200, 500, 1000)
BINS = 10
HEAD = 10


class Stage(NamedTuple):
    """The run that another one reranked, and how that is known; both empty where there is none."""

    name: str = ""
    known_from: str = ""


class Curve(NamedTuple):
    """Means if only the best `depths[i]` documents had been reranked; 0 is the first stage itself.

    `means[measure][i]` is over everything, `by_task[task][measure][i]` over one task.
    """

    depths: list[int]
    means: dict[str, list[float]]
    by_task: dict[str, dict[str, list[float]]]


class Bin(NamedTuple):
    """Documents whose score is in one tenth of 0 to 1: how many, the sum of their scores, how many are relevant."""

    documents: int
    total: float
    relevant: int


class Moves(NamedTuple):
    """Relevant documents by what happened to their rank; `entered` and `left` the first ten."""

    up: int
    unmoved: int
    down: int
    entered: int
    left: int


def is_reranking(run: Run, first_stage: Run) -> bool:
    """Whether every query's documents are just those that the first stage has highest."""
    return all(
        query_id in first_stage
        and set(docs := run.doc_ids(query_id)) == set(first_stage.doc_ids(query_id)[: len(docs)])
        for query_id in run
    )


def first_stages(comparison: Comparison, tasks: Sequence[Task], *, told: str = "") -> dict[str, Stage]:
    """The first stage of every system, among the systems.

    Args:
        comparison: Its baseline, else its first run, is what others may have reranked.
        tasks: In each of them the documents have to be the same.
        told: The name of the first stage; else the manifests say it; where a run has none, the baseline, if the
            documents are the same.

    Raises:
        Unknown: No system has the name `told`.
    """
    names = [scores.name for scores in comparison.runs]
    if told and told not in names:
        raise Unknown.among("run", told, names)
    return {name: _first_stage(name, names, comparison.baseline or names[0], tasks, told) for name in names}


def _first_stage(name: str, names: Sequence[str], baseline: str, tasks: Sequence[Task], told: str) -> Stage:
    def fits(other: str) -> bool:
        # Which of several runs was reranked, nobody knows.
        return other != name and all(
            len(task.runs_of(other)) == 1 and all(is_reranking(run, task.runs[other]) for run in task.runs_of(name))
            for task in tasks
        )

    if told:
        return Stage(told, "as told") if fits(told) else Stage()
    if all(name in task.manifests for task in tasks):
        wanted = [_reranked_input(task, name) for task in tasks]
        for other in names:
            if [task.digests.get(other) for task in tasks] == wanted and fits(other):
                return Stage(other, "by its manifest")
        return Stage()
    return Stage(baseline, "it has the same documents") if fits(baseline) else Stage()


def _reranked_input(task: Task, name: str) -> str:
    """The sha256 of the file that a run reranked; something that no file has where it is no reranked run."""
    manifest = task.manifests[name]
    given = manifest.inputs.get("run")
    return str(given.get("sha256", "-")) if manifest.command == "rerank" and isinstance(given, Mapping) else "-"


def at_depth(run: Run, first_stage: Run, depth: int) -> Run:
    """The first stage with only its best `depth` documents in the order of the run."""
    rankings: dict[str, list[str]] = {}
    for query_id in run:
        order = first_stage.doc_ids(query_id)[: len(run.doc_ids(query_id))]
        best = set(order[:depth])
        rankings[query_id] = [doc_id for doc_id in run.doc_ids(query_id) if doc_id in best] + list(order[depth:])
    return Run(
        {query_id: [(doc_id, -float(i)) for i, doc_id in enumerate(docs)] for query_id, docs in rankings.items()},
        name=run.name,
    )


def curves(comparison: Comparison, tasks: Sequence[Task], stages: Mapping[str, Stage]) -> dict[str, Curve]:
    """The depth curve of every system that reranked another one; of several runs of one system the mean.

    At the full depth the means are the comparison's own, at depth 0 those of the first stage cut at the run's length.
    """
    found = {}
    for name, stage in stages.items():
        if not stage.name:
            continue
        deepest = max(task.reranked_depth(name) for task in tasks)
        depths = [0, *(depth for depth in DEPTHS if depth < deepest), deepest]
        means: dict[str, list[float]] = {measure: [] for measure in comparison.measures}
        by_task: dict[str, dict[str, list[float]]] = {task.name: {m: [] for m in means} for task in tasks}
        for depth in depths:
            scored = {task.name: _scores_at(comparison, task, name, stage.name, depth) for task in tasks}
            whole = macro_average(scored) if len(tasks) > 1 else scored[tasks[0].name]
            for measure in means:
                means[measure].append(whole.means[measure])
                for task_name, scores in scored.items():
                    by_task[task_name][measure].append(scores.means[measure])
        found[name] = Curve(depths, means, by_task)
    return found


def _scores_at(comparison: Comparison, task: Task, name: str, first_stage: str, depth: int) -> Scores:
    runs = [at_depth(run, task.runs[first_stage], depth) for run in task.runs_of(name)]
    scored = [evaluate(run, task.qrels, comparison.measures) for run in runs]
    return average(scored, name=name).only(task_query_ids(comparison, task))


def calibration(task: Task, name: str, query_ids: Sequence[str]) -> list[Bin]:
    """Ten equal bins of the scores from 0 to 1, lowest first; a document without a judgment counts as not relevant.

    Only documents that the reranker was given count: the scores behind them are made up. The last bin has 1 in it.
    """
    run, depth = task.runs[name], task.reranked_depth(name)
    documents, totals, relevant = [0] * BINS, [0.0] * BINS, [0] * BINS
    for query_id in query_ids:
        if query_id not in run:
            continue
        wanted = task.qrels.relevant(query_id)
        for doc_id, score in zip(run.doc_ids(query_id)[:depth], run.scores(query_id).tolist()):
            place = min(BINS - 1, int(score * BINS))
            documents[place] += 1
            totals[place] += score
            relevant[place] += doc_id in wanted
    return [Bin(*row) for row in zip(documents, totals, relevant)]


def probabilities(tasks: Sequence[Task], name: str) -> str:
    """Why the scores of a run are read as probabilities; empty where they are none."""
    for task in tasks:
        run, depth = task.runs[name], task.reranked_depth(name)
        for query_id in run:
            scores = run.scores(query_id)[:depth]
            if len(scores) and not (scores[0] <= 1 and scores[-1] >= 0):
                return ""
    known = [task.manifests[name] for task in tasks if name in task.manifests]
    if len(known) < len(tasks):
        return "read as probabilities because all are between 0 and 1; no manifest says what they are"
    methods = [manifest.parameters.get("method") for manifest in known]
    if all(manifest.command == "rerank" for manifest in known) and all(map(_gives_probabilities, methods)):
        return "probabilities by the run's manifest"
    return ""


def _gives_probabilities(method: Any) -> bool:
    if not isinstance(method, Mapping) or not isinstance(options := method.get("options", {}), Mapping):
        return False
    return options.get("scale") == "probability" and not str(options.get("think", "")).startswith("top")


def ranks(run: Run, query_id: str) -> dict[str, int]:
    """Rank by document, from 1; empty for a query that the run lacks."""
    return {doc_id: rank for rank, doc_id in enumerate(run.doc_ids(query_id), 1)} if query_id in run else {}


def moves(comparison: Comparison, tasks: Sequence[Task], name: str, first_stage: str) -> Moves:
    """How many relevant documents went where from the first stage to the run; a document in neither does not count."""
    pairs = [
        (before.get(doc_id, 0), after.get(doc_id, 0))
        for task in tasks
        for query_id in task_query_ids(comparison, task)
        for before, after in [(ranks(task.runs[first_stage], query_id), ranks(task.runs[name], query_id))]
        for doc_id in task.qrels.relevant(query_id)
    ]
    found = [(before, after) for before, after in pairs if before and after]
    return Moves(
        up=sum(after < before for before, after in found),
        unmoved=sum(after == before for before, after in found),
        down=sum(after > before for before, after in found),
        entered=sum(after <= HEAD < before for before, after in found),
        left=sum(before <= HEAD < after for before, after in found),
    )
