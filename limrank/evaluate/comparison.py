"""Which of several runs is better, by how much, and is that more than chance?

All runs are scored on the same queries; the tests are paired by query; p-values are corrected over everything in the
table, because a table with sixty tests has three "significant" differences by chance alone. Knows nothing of terminals
or file formats.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from limrank.errors import LimrankError, Mismatch, Unknown
from limrank.evaluate import significance
from limrank.evaluate.measures import DEFAULT
from limrank.evaluate.scores import Missing, Scores, evaluate
from limrank.evaluate.significance import Correction, Test
from limrank.qrels import Qrels
from limrank.run import Run

if TYPE_CHECKING:
    from limrank.evaluate.significance import Floats


@dataclass(frozen=True)
class Difference:
    """What `run` has more than `baseline`, on one measure.

    Attributes:
        run: Name of the run that is judged.
        baseline: Name of the run it is compared with.
        measure: Display name.
        difference: Mean of run less mean of baseline; above 0 the run is better.
        low: Lower end of the difference's bootstrap interval, not corrected for the number of comparisons.
        high: Upper end.
        p: Of this test alone.
        corrected_p: Of this test among all of the table.
        significant: Whether corrected_p is below alpha.
        wins: Queries on which the run is better.
        ties: Queries on which both are equal within 1e-9.
        losses: Queries on which the run is worse.
    """

    run: str
    baseline: str
    measure: str
    difference: float
    low: float
    high: float
    p: float
    corrected_p: float
    significant: bool
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True)
class Comparison:
    """Several runs on the same judgments.

    Attributes:
        runs: Scores of every run, in the order given.
        measures: Display names.
        intervals: Per run and measure, the bootstrap interval of the mean.
        differences: Every tested pair with every measure; pairs in order, measures inside.
        baseline: Name of the run that all others are compared with; None: all pairs.
        qrels: Name of the judgments.
        query_ids: The queries of all means and tests.
        test: Which test.
        correction: Which correction, over all of `differences`.
        alpha: A corrected p below it is significant.
        confidence: Of the intervals.
        samples: Bootstrap resamplings and random sign assignments.
        seed: Of both.
    """

    runs: tuple[Scores, ...]
    measures: tuple[str, ...]
    intervals: dict[str, dict[str, tuple[float, float]]]
    differences: tuple[Difference, ...]
    baseline: str | None
    qrels: str
    query_ids: tuple[str, ...]
    test: Test
    correction: Correction
    alpha: float
    confidence: float
    samples: int
    seed: int

    def pairs(self) -> Iterator[tuple[str, str, list[Difference]]]:
        """Every tested pair (run, baseline) with its differences, one per measure."""
        for (run, baseline), group in itertools.groupby(self.differences, key=lambda d: (d.run, d.baseline)):
            yield run, baseline, list(group)

    def warnings(self) -> list[str]:
        """One sentence for every reason not to take the numbers at their face."""
        return [sentence for scores in self.runs for sentence in scores.warnings()]


def compare(
    runs: Sequence[Run],
    qrels: Qrels,
    measures: Sequence[str] = DEFAULT,
    *,
    baseline: str | None = None,
    test: Test = "t",
    correction: Correction = "holm",
    alpha: float = 0.05,
    confidence: float = 0.95,
    missing: Missing = "zero",
    samples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare runs by their means, pair by pair and measure by measure.

    Args:
        runs: Each with a name of its own.
        qrels: Judgments; they decide the queries.
        measures: As `evaluate` takes them. Each one adds tests that the correction pays for.
        baseline: Name of the run that all others are compared with; None: all pairs, later with earlier.
        test: Paired t-test (ranx's) or the sign-flip randomisation test (`significance.sign_flip`).
        correction: Of the p-values, over all pairs and measures of this comparison.
        alpha: A corrected p below it is called significant.
        confidence: Of the percentile bootstrap intervals of means and differences.
        missing: As `evaluate` takes it; "skip" leaves out a query that any of the runs lacks.
        samples: Bootstrap resamplings, and random sign assignments.
        seed: The same seed gives the same result.

    Raises:
        LimrankError: Two runs have the same name; or alpha or confidence is not between 0 and 1, or samples below 1.
        Unknown: No run has the baseline's name; or a measure, test or correction is not known.
        Mismatch: A run and the qrels have no query in common; or no query is in all runs, and missing is "skip".
    """
    import numpy as np

    _check(runs, baseline, alpha=alpha, confidence=confidence, samples=samples)
    scored = [evaluate(run, qrels, measures, missing=missing) for run in runs]
    if missing == "skip":
        scored = _on_common_queries(scored)
    names = [scores.name for scores in scored]
    values = {scores.name: np.array([row for _, row in scores.rows()]) for scores in scored}
    means = significance.bootstrap_means(np.hstack([values[name] for name in names]), samples=samples, seed=seed)
    sampled = dict(zip(names, np.split(means, len(names), axis=1)))
    pairs = [(later, earlier) for earlier, later in itertools.combinations(scored, 2)]
    if baseline is not None:
        pairs = [(scores, scored[names.index(baseline)]) for scores in scored if scores.name != baseline]
    found: list[Difference] = []
    for one, other in pairs:
        ours, theirs = values[one.name], values[other.name]
        p_values = significance.paired_tests(ours, theirs, test=test, samples=samples, seed=seed)
        ends = significance.interval(sampled[one.name] - sampled[other.name], confidence=confidence)
        counts = significance.wins_ties_losses(ours, theirs)
        found += _differences(one, other, ends, p_values, counts)
    corrected = significance.correct([difference.p for difference in found], method=correction)
    return Comparison(
        runs=tuple(scored),
        measures=tuple(scored[0].means),
        intervals={scores.name: _intervals(scores, sampled[scores.name], confidence) for scores in scored},
        differences=tuple(replace(d, corrected_p=p, significant=p < alpha) for d, p in zip(found, corrected)),
        baseline=baseline,
        qrels=qrels.name,
        query_ids=scored[0].query_ids,
        test=test,
        correction=correction,
        alpha=alpha,
        confidence=confidence,
        samples=samples,
        seed=seed,
    )


def _check(runs: Sequence[Run], baseline: str | None, *, alpha: float, confidence: float, samples: int) -> None:
    names = [run.name for run in runs]
    if not names:
        raise LimrankError("no run to compare; give two or more")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise LimrankError(
            f"{names.count(twice[0])} runs are called {twice[0]!r}; rename one, a table needs different names"
        )
    if baseline is not None and baseline not in names:
        raise Unknown.among("run", baseline, names)
    for what, value in (("alpha", alpha), ("confidence", confidence)):
        if not 0 < value < 1:
            raise LimrankError(f"{what} is {value}; it has to be between 0 and 1")
    if samples < 1:
        raise LimrankError(f"samples is {samples}; at least 1 is needed, 10,000 are usual")


def _on_common_queries(scored: list[Scores]) -> list[Scores]:
    """The scores over the queries that every run has: a paired test needs pairs."""
    lacking = {query_id for scores in scored for query_id in scores.missing}
    common = [query_id for query_id in scored[0].query_ids if query_id not in lacking]
    if not common:
        raise Mismatch(
            f"no query is in all of {', '.join(scores.name for scores in scored)}; compare fewer runs, or count "
            "missing queries as 0"
        )
    return [scores.only(common) for scores in scored]


def _differences(
    one: Scores,
    other: Scores,
    ends: tuple[Floats, Floats],
    p_values: Sequence[float],
    counts: Sequence[significance.Counts],
) -> list[Difference]:
    """One difference per measure, not corrected yet."""
    return [
        Difference(
            one.name,
            other.name,
            measure,
            difference=one.means[measure] - other.means[measure],
            low=float(low),
            high=float(high),
            p=p,
            corrected_p=p,
            significant=False,
            wins=count.wins,
            ties=count.ties,
            losses=count.losses,
        )
        for measure, low, high, p, count in zip(one.means, *ends, p_values, counts, strict=True)
    ]


def _intervals(scores: Scores, sampled: Floats, confidence: float) -> dict[str, tuple[float, float]]:
    ends = significance.interval(sampled, confidence=confidence)
    return {measure: (float(low), float(high)) for measure, low, high in zip(scores.means, *ends, strict=True)}
