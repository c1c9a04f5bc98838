"""What a comparison refuses before it computes anything, and the queries that are left where missing ones are skipped.

Knows nothing of tests and intervals but their names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from limrank.errors import LimrankError, Mismatch, Unknown
from limrank.evaluate._pairs import Interval
from limrank.evaluate.scores import Scores
from limrank.evaluate.significance import Correction, Test


def check_names(names: Sequence[str], baseline: str | None) -> None:
    """Refuse systems without a name of their own, and a baseline that is none of them."""
    if not names:
        raise LimrankError("no run to compare; give two or more")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise LimrankError(
            f"{names.count(twice[0])} runs are called {twice[0]!r}; rename one, a table needs different names"
        )
    if baseline is not None and baseline not in names:
        raise Unknown.among("run", baseline, names)


def check_ways(test: Test, correction: Correction, interval: Interval) -> None:
    """Refuse ways that are not known or do not go together."""
    for what, name, known in (
        ("significance test", test, get_args(Test)),
        ("correction", correction, get_args(Correction)),
        ("interval", interval, get_args(Interval)),
    ):
        if name not in known:
            raise Unknown.among(what, name, known)
    if test == "tukey" and correction == "bh":
        raise LimrankError("Tukey's test bounds the chance of any false claim; with it, give holm, bonferroni or none")


def check_numbers(*, alpha: float, confidence: float, power: float, tolerance: float, samples: int) -> None:
    """Refuse numbers out of their range."""
    for what, value in (("alpha", alpha), ("confidence", confidence), ("power", power)):
        if not 0 < value < 1:
            raise LimrankError(f"{what} is {value}; it has to be between 0 and 1")
    if power <= alpha:
        raise LimrankError(f"power is {power}; a test at alpha {alpha} has that much without any difference")
    if not 0 <= tolerance < float("inf"):
        raise LimrankError(f"tolerance is {tolerance}; it has to be 0 or more, as 0.01")
    if samples < 1:
        raise LimrankError(f"samples is {samples}; at least 1 is needed, 10,000 are usual")


def on_common_queries(scored: Sequence[Scores]) -> list[Scores]:
    """The scores over the queries that every run has: a paired test needs pairs."""
    lacking = {query_id for scores in scored for query_id in scores.missing}
    common = [query_id for query_id in scored[0].query_ids if query_id not in lacking]
    if not common:
        raise Mismatch(
            f"no query is in all of {', '.join(scores.name for scores in scored)}; compare fewer runs, or count "
            "missing queries as 0"
        )
    kept = [scores.only(common) for scores in scored]
    if gone := scored[0].by_task().keys() - kept[0].by_task().keys():
        raise Mismatch(f"task {min(gone)}: no query is in all runs; compare fewer runs, or count missing queries as 0")
    return kept
