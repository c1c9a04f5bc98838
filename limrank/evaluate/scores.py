"""A run's values of trec_eval's measures, query by query.

The values are pytrec_eval's, which is trec_eval's own code, on the order that `Run` has fixed. The mean is over all
judged queries; a query without results counts 0, as `trec_eval -c` has it, and is reported. Knows nothing of other
runs, tests or tables, and imports neither ranx nor pandas, so that a run is evaluated in about a second.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

from limrank.errors import Mismatch, Unknown
from limrank.evaluate.measures import DEFAULT, Measure, parse_all
from limrank.qrels import Qrels
from limrank.run import Run

Missing: TypeAlias = Literal["zero", "skip", "error"]


@dataclass(frozen=True)
class Scores:
    """What a run is worth.

    Attributes:
        name: The run's name.
        values: Per measure, by its display name, the value of every counted query, in the order of the qrels.
        means: Per measure, the mean over the counted queries.
        judged: Number of judged queries, counted or not.
        missing: Judged queries for which the run has no document.
        extra: Queries of the run that are not judged; they never count.
        skipped: Whether the missing queries were left out of the means, rather than counted 0.
        tasks: The task of every counted query, the queries of a task one after the other; empty for a single task.
            A mean is then the plain mean of the tasks' means.
        averaged: The runs whose values were averaged per query (seeds of one system); empty for a single run.
        notes: More reasons not to take the means at their face.
    """

    name: str
    values: Mapping[str, Mapping[str, float]]
    means: Mapping[str, float]
    judged: int
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    skipped: bool
    tasks: Mapping[str, str] = field(default_factory=dict)
    averaged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def query_ids(self) -> tuple[str, ...]:
        """The counted queries, in the order of the qrels."""
        return tuple(next(iter(self.values.values())))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Counted queries of each task, in order; empty for a single task."""
        return tuple(Counter(self.tasks[query_id] for query_id in self.query_ids).values()) if self.tasks else ()

    def rows(self) -> Iterator[tuple[str, list[float]]]:
        """Every counted query with its values, in the order of the measures."""
        for query_id in self.query_ids:
            yield query_id, [by_query[query_id] for by_query in self.values.values()]

    def warnings(self) -> list[str]:
        """One sentence for every reason not to take the means at their face."""
        sentences = []
        if self.missing:
            treated = "they are left out of the means" if self.skipped else "they count 0"
            lacks = f"{self.name} has no results for"
            if self.averaged:
                lacks = f"not every run of {self.name} has results for"
                treated += "" if self.skipped else " for the runs that lack them"
            sentences.append(
                f"{lacks} {len(self.missing)} of {self.judged} judged queries, e.g. {self.missing[0]!r}; {treated}"
            )
        if self.extra:
            queries, count = (
                ("query", "it does not count") if len(self.extra) == 1 else ("queries", "they do not count")
            )
            sentences.append(
                f"{self.name} has {len(self.extra)} {queries} without judgments, e.g. {self.extra[0]!r}; {count}"
            )
        return [*sentences, *self.notes]

    def to_json(self, *, per_query: bool = True) -> dict[str, Any]:
        """The same as a value for `json.dumps`: name, means, queries, missing, extra, and the values where wanted.

        Also `averaged` (run names), and `tasks` (queries and means of each) where there is more than one.
        """
        record: dict[str, Any] = {
            "name": self.name,
            "means": dict(self.means),
            "queries": len(self.query_ids),
            "judged": self.judged,
            "missing": list(self.missing),
            "missing_counted_as_zero": not self.skipped,
            "extra": list(self.extra),
        }
        if self.averaged:
            record["averaged"] = list(self.averaged)
        if self.tasks:
            record["tasks"] = {
                task: {"queries": len(scores.query_ids), "means": dict(scores.means)}
                for task, scores in self.by_task().items()
            }
        if per_query:
            record["values"] = {name: dict(by_query) for name, by_query in self.values.items()}
        return record

    def only(self, query_ids: Sequence[str]) -> Scores:
        """The same scores over these queries alone; whoever asks has to say so."""
        values = {
            name: {query_id: by_query[query_id] for query_id in query_ids} for name, by_query in self.values.items()
        }
        tasks = {query_id: self.tasks[query_id] for query_id in query_ids} if self.tasks else {}
        return replace(self, values=values, means=means_of(values, tasks), tasks=tasks)

    def split(self, groups: Mapping[str, str]) -> dict[str, Scores]:
        """The scores of every group of queries, in the order in which the groups first occur.

        Args:
            groups: The group of each query, by query id.

        Raises:
            Mismatch: A counted query is in no group.
        """
        if lost := [query_id for query_id in self.query_ids if query_id not in groups]:
            raise Mismatch(
                f"{len(lost)} of {len(self.query_ids)} judged queries are in no group, e.g. {lost[0]!r}; name one"
            )
        members: dict[str, list[str]] = {}
        for query_id in self.query_ids:
            members.setdefault(groups[query_id], []).append(query_id)
        found = {}
        for group, query_ids in members.items():
            missing = tuple(query_id for query_id in self.missing if groups.get(query_id) == group)
            judged = len(query_ids) + (len(missing) if self.skipped else 0)
            found[group] = replace(self.only(query_ids), missing=missing, judged=judged, extra=(), notes=())
        return found

    def by_task(self) -> dict[str, Scores]:
        """The scores of every task, in order; empty for a single task."""
        return self.split(self.tasks) if self.tasks else {}


def evaluate(run: Run, qrels: Qrels, measures: Sequence[str] = DEFAULT, *, missing: Missing = "zero") -> Scores:
    """The values of a run, equal to trec_eval's, and their means over the judged queries.

    Args:
        run: Its order is taken as it is: documents whose scores tie in a file were put into trec_eval's order by
            `Run.read`.
        qrels: A query without a relevant document counts 0. A document with a grade below 0 is, as trec_eval has it,
            not judged; that makes a difference to Bpref only.
        measures: In the spelling of trec_eval, ir_measures or ranx (`measures.parse`); each counts once.
        missing: A judged query for which the run has no document counts 0 ("zero": `trec_eval -c`, ir_measures), is
            left out of the means ("skip": trec_eval without -c, BRIGHT's own code), or is refused ("error").

    Raises:
        Unknown: A measure, or a treatment of missing queries, is not known.
        LimrankError: A measure lacks its depth, or has one that it cannot have.
        Mismatch: Run and qrels have no query in common; or a query is missing, and missing is "error".

    Source: trec_eval, through pytrec_eval (arXiv:1805.01597).
    """
    wanted = parse_all(measures)
    if missing not in get_args(Missing):
        raise Unknown.among("treatment of missing queries", missing, get_args(Missing))
    judged = {query_id: None for query_id, by_doc in qrels.items() if by_doc}
    # A run in memory may hold a query without documents; a file cannot. Both have to give the same numbers.
    found = {query_id for query_id in run if len(run.doc_ids(query_id))}
    lacking = tuple(query_id for query_id in judged if query_id not in found)
    extra = tuple(query_id for query_id in run if query_id not in judged)
    _check(run, qrels, list(judged), lacking, missing)
    counted = [query_id for query_id in judged if query_id in found] if missing == "skip" else list(judged)
    values: dict[str, dict[str, float]] = {str(measure): {} for measure in wanted}
    for level in {measure.level for measure in wanted}:
        at_level = [measure for measure in wanted if measure.level == level]
        for query_id, by_measure in _trec_eval(run, qrels, at_level, [q for q in counted if q in found], level):
            for measure in at_level:
                values[str(measure)][query_id] = _value(measure, by_measure)
    values = {
        name: {query_id: by_query.get(query_id, 0.0) for query_id in counted} for name, by_query in values.items()
    }
    notes = _of_another_collection(run, qrels, [query_id for query_id in judged if query_id in found])
    return Scores(run.name, values, means_of(values), len(judged), lacking, extra, missing == "skip", notes=notes)


def _check(run: Run, qrels: Qrels, judged: list[str], lacking: tuple[str, ...], missing: Missing) -> None:
    if len(lacking) == len(judged):
        of_run, of_qrels = next(iter(run), None), next(iter(judged), None)
        raise Mismatch(
            f"run {run.name} and qrels {qrels.name} have no query in common: the run has {len(run)}, e.g. {of_run!r}, "
            f"the qrels have {len(judged)}, e.g. {of_qrels!r}; are they of the same dataset?"
        )
    if lacking and missing == "error":
        raise Mismatch(
            f"run {run.name} has no results for {len(lacking)} of {len(judged)} judged queries, e.g. {lacking[0]!r}; "
            "missing='zero' counts them as 0"
        )


def _of_another_collection(run: Run, qrels: Qrels, query_ids: list[str]) -> tuple[str, ...]:
    """A sentence where no ranking holds a judged document: a mean of 0 that no bad ranking explains."""
    if any(not qrels[query_id].keys().isdisjoint(run.doc_ids(query_id)) for query_id in query_ids):
        return ()
    first = query_ids[0]
    return (
        f"none of {run.name}'s documents is judged for any query, e.g. {run.doc_ids(first)[0]!r} is found and "
        f"{next(iter(qrels[first]))!r} judged for {first!r}: is it of the same collection?",
    )


def _trec_eval(
    run: Run, qrels: Qrels, measures: list[Measure], query_ids: list[str], level: int
) -> Iterator[tuple[str, dict[str, float]]]:
    import pytrec_eval

    # Below 0 means "in the pool, not judged" to trec_eval; pytrec_eval crashes on it. None of its measures here
    # distinguishes the two from a document that was never in the pool.
    judged = {q: {doc_id: grade for doc_id, grade in qrels[q].items() if grade >= 0} for q in query_ids}
    evaluator = pytrec_eval.RelevanceEvaluator(
        judged, {measure.trec_eval for measure in measures}, relevance_level=level
    )
    for query_id in filter(judged.get, query_ids):
        docs = run.doc_ids(query_id)
        # Ranks in place of scores: no two are equal in float32, so that trec_eval cannot order them in another way.
        ranking = dict(zip(docs, map(float, range(len(docs), 0, -1))))
        yield query_id, evaluator.evaluate({query_id: ranking})[query_id]


def _value(measure: Measure, by_measure: Mapping[str, float]) -> float:
    value = by_measure[measure.trec_eval]
    if measure.family == "MRR" and measure.depth and value and round(1 / value) > measure.depth:
        return 0.0
    return value


def means_of(values: Mapping[str, Mapping[str, float]], tasks: Mapping[str, str] | None = None) -> dict[str, float]:
    """The mean of each measure over its queries; with the queries' tasks, the plain mean of the tasks' means."""
    if not tasks:
        return {name: math.fsum(by_query.values()) / len(by_query) for name, by_query in values.items()}
    found = {}
    for name, by_query in values.items():
        parts: dict[str, list[float]] = {}
        for query_id, value in by_query.items():
            parts.setdefault(tasks[query_id], []).append(value)
        found[name] = math.fsum(math.fsum(part) / len(part) for part in parts.values()) / len(parts)
    return found
