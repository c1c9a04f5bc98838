"""What ranx does for a comparison: the paired t-test and its report; and its objects. Only this module imports ranx.

For a comparison ranx gets per-query values that trec_eval computed, never runs or qrels. Its own scoring breaks ties by
file order, pairs dict inputs by position and compiles for up to a minute, and its randomisation test ignores its seed;
its t-test and its report have none of these faults and need no compiler. Its `Run` and `Qrels` are for users who go on
in ranx; making them compiles.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from limrank.errors import BadRecord, LimrankError
from limrank.evaluate.measures import parse
from limrank.extras import require
from limrank.qrels import Qrels
from limrank.run import Run

if TYPE_CHECKING:
    from limrank.evaluate.comparison import Comparison
    from limrank.evaluate.precision import Floats

# ranx marks the rows of a table with one letter each.
MOST_RUNS = 26


def paired_t_tests(ours: Floats, theirs: Floats) -> list[float]:
    """Two-sided p of Student's paired t-test per column, as ranx's `compare(stat_test="student")` computes it.

    1 where ranx says NaN: no value differs, or there is one query only.
    """
    tests = require("ranx.statistical_tests", needed_for="the t-test")
    import numpy as np

    columns = range(ours.shape[1])
    values = {"ours": {i: ours[:, i] for i in columns}, "theirs": {i: theirs[:, i] for i in columns}}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # scipy warns of differences that are all alike, or of a single query; both end in a defined p below.
        warnings.simplefilter("ignore", RuntimeWarning)
        found = tests.compute_statistical_significance(["ours", "theirs"], values, stat_test="student")
    p_values = [float(found["ours", "theirs"][i]["p_value"]) for i in columns]
    return [1.0 if np.isnan(p) else p for p in p_values]


def to_ranx_report(comparison: Comparison, *, rounding_digits: int = 4, show_percentages: bool = False) -> Any:
    """The comparison as a `ranx.data_structures.Report`, for its table, LaTeX, data frame and JSON.

    The p-values in it are the corrected ones, and "significant" is by them.

    Raises:
        LimrankError: ranx cannot hold it: more than 26 runs, a pair that was not compared, or a measure it has no
            name for.
    """
    names, measures = [scores.name for scores in comparison.runs], list(comparison.measures)
    if len(names) > MOST_RUNS:
        raise LimrankError(f"a ranx report holds {MOST_RUNS} runs, {len(names)} given; use the other formats")
    if comparison.baseline is not None and len(names) > 2:
        raise LimrankError("a ranx report needs every pair of runs; compare without a baseline")
    labels = {measure: _label(measure) for measure in measures}
    if nameless := [measure for measure, label in labels.items() if not label]:
        raise LimrankError(f"ranx has no measure {nameless[0]}; leave it out of the ranx report")
    structures = require("ranx.data_structures", needed_for="the ranx report")
    tested, counts = structures.FrozensetDict(), {}
    for one, other, differences in comparison.pairs():
        tested[frozenset((one, other))] = {
            labels[found.measure]: {"p_value": found.corrected_p, "significant": found.significant}
            for found in differences
        }
        counts[one, other] = {labels[d.measure]: {"W": d.wins, "T": d.ties, "L": d.losses} for d in differences}
        counts[other, one] = {labels[d.measure]: {"W": d.losses, "T": d.ties, "L": d.wins} for d in differences}
    return structures.Report(
        names,
        {scores.name: {labels[measure]: scores.means[measure] for measure in measures} for scores in comparison.runs},
        tested,
        list(labels.values()),
        comparison.alpha,
        counts,
        rounding_digits,
        show_percentages,
        {"t": "student", "randomization": "fisher", "tukey": "tukey"}[comparison.test],
    )


def to_ranx(thing: Run | Qrels) -> Any:
    """A run as `ranx.Run` with its name, judgments as `ranx.Qrels`.

    The scores are the run's own; because they strictly decrease, ranx sees the order that trec_eval sees. ranx compiles
    for each new length of the longest document id; queries without documents, which it cannot hold, are left out.

    Raises:
        BadRecord: There is no document in it.
    """
    ranx = require("ranx", needed_for="a ranx object")
    if isinstance(thing, Run):
        scores = {query_id: dict(thing[query_id]) for query_id in thing if len(thing.doc_ids(query_id))}
        if not scores:
            raise BadRecord(f"run {thing.name} has no documents; ranx cannot hold an empty run")
        return ranx.Run.from_dict(scores, name=thing.name)
    judged = {query_id: dict(by_doc) for query_id, by_doc in thing.items() if by_doc}
    if not judged:
        raise BadRecord(f"qrels {thing.name} have no judgments; ranx cannot hold empty qrels")
    return ranx.Qrels.from_dict(judged)


def from_ranx(thing: Any, *, name: str = "") -> Any:
    """A `ranx.Run` as `Run`, a `ranx.Qrels` as `Qrels`.

    Documents whose scores tie as float32 are put into trec_eval's order, by descending document id.

    Args:
        thing: The ranx object.
        name: Default: the run's own, else "run" or "qrels".

    Raises:
        BadRecord: It is neither of the two; or a score is not finite.
    """
    ranx = require("ranx", needed_for="a ranx object")
    if isinstance(thing, ranx.Run):
        scores = {str(q): {str(doc): float(score) for doc, score in by_doc.items()} for q, by_doc in thing.run.items()}
        return Run.from_scores(scores, name=name or thing.name or "run")
    if isinstance(thing, ranx.Qrels):
        judged = {str(q): {str(doc): int(grade) for doc, grade in by_doc.items()} for q, by_doc in thing.qrels.items()}
        return Qrels(judged, name=name or "qrels")
    raise BadRecord(f"a ranx.Run or ranx.Qrels was expected, not {type(thing).__name__}")


def _label(measure: str) -> str:
    """ranx's name of a display name; empty where it has none, as for p-MRR."""
    try:
        return parse(measure).ranx
    except LimrankError:
        return ""
