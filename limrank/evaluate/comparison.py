"""Which of several runs is better, by how much, and is that more than chance?

All runs are scored on the same queries; the tests are paired by query; p-values are corrected over everything in the
table, because a table with sixty tests has three "significant" differences by chance alone. Knows nothing of terminals
or file formats.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from limrank.evaluate import _pairs, precision, significance
from limrank.evaluate._checks import check_names, check_numbers, check_ways, on_common_queries
from limrank.evaluate._pairs import Interval, Pair, Spread
from limrank.evaluate.averages import alike
from limrank.evaluate.measures import DEFAULT
from limrank.evaluate.precision import TIE, Detectable
from limrank.evaluate.scores import Missing, Scores, evaluate
from limrank.evaluate.significance import Correction, Test
from limrank.qrels import Qrels
from limrank.run import Run

if TYPE_CHECKING:
    from limrank.evaluate.precision import Floats


@dataclass(frozen=True)
class Difference:
    """What `run` has more than `baseline`, on one measure.

    Attributes:
        run: Name of the run that is judged.
        baseline: Name of the run it is compared with.
        measure: Display name.
        difference: Mean of run less mean of baseline; above 0 the run is better.
        low: Lower end of the difference's interval, not corrected for the number of comparisons.
        high: Upper end.
        effect_size: Cohen's d for paired data, difference over deviation of the differences; None where all queries
            differ by the same, so that there is no deviation.
        p: Of this test alone; Tukey's holds for all pairs of its measure.
        corrected_p: Of this test among all of the table.
        significant: Whether corrected_p is below alpha.
        wins: Queries on which the run is better.
        ties: Queries on which both are equal within the comparison's tolerance.
        losses: Queries on which the run is worse.
    """

    run: str
    baseline: str
    measure: str
    difference: float
    low: float
    high: float
    effect_size: float | None
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
        intervals: Per run and measure, the interval of the mean.
        differences: Every tested pair with every measure; pairs in order, measures inside.
        baseline: Name of the run that all others are compared with; None: all pairs.
        qrels: Name of the judgments.
        query_ids: The queries of all means and tests.
        tasks: Number of queries by task, where the means average over several.
        test: Which test.
        correction: Which correction, over all of `differences`.
        interval: How the intervals were made.
        alpha: A corrected p below it is significant.
        confidence: Of the intervals.
        power: Of `detectable`.
        tolerance: Two values that differ by no more are a tie.
        samples: Bootstrap resamplings and random sign assignments.
        seed: Of both.
        detectable: Per measure, the difference that this many queries can show, for the pair with the median standard
            error; without measures on which no pair varies.
        judgments: What identifies the judgments, for each task: `name`, `sha256`, and what else is known of them.
    """

    runs: tuple[Scores, ...]
    measures: tuple[str, ...]
    intervals: dict[str, dict[str, tuple[float, float]]]
    differences: tuple[Difference, ...]
    baseline: str | None
    qrels: str
    query_ids: tuple[str, ...]
    tasks: Mapping[str, int]
    test: Test
    correction: Correction
    interval: Interval
    alpha: float
    confidence: float
    power: float
    tolerance: float
    samples: int
    seed: int
    detectable: Mapping[str, Detectable]
    judgments: tuple[Mapping[str, Any], ...] = ()

    def pairs(self) -> Iterator[tuple[str, str, list[Difference]]]:
        """Every tested pair (run, baseline) with its differences, one per measure."""
        for (run, baseline), group in itertools.groupby(self.differences, key=lambda d: (d.run, d.baseline)):
            yield run, baseline, list(group)

    def warnings(self) -> list[str]:
        """One sentence for every reason not to take the numbers at their face."""
        sentences = [sentence for scores in self.runs for sentence in scores.warnings()]
        return list(dict.fromkeys([*sentences, *_without_width(self)]))


def compare(
    runs: Sequence[Run],
    qrels: Qrels,
    measures: Sequence[str] = DEFAULT,
    *,
    baseline: str | None = None,
    test: Test = "t",
    correction: Correction = "holm",
    interval: Interval = "bootstrap",
    alpha: float = 0.05,
    confidence: float = 0.95,
    power: float = 0.8,
    tolerance: float = TIE,
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
        test: As `compare_scores` takes it, like all that follow.
        correction: Over all pairs and measures.
        interval: How intervals are made.
        alpha: The level of significance.
        confidence: Of the intervals.
        power: For which the detectable difference is told.
        tolerance: Up to which two values are a tie.
        missing: As `evaluate` takes it; "skip" leaves out a query that any of the runs lacks.
        samples: Bootstrap resamplings, and random sign assignments.
        seed: The same seed gives the same result.

    Raises:
        LimrankError: Two runs have the same name; or a number is out of its range.
        Unknown: No run has the baseline's name; or a measure, test, correction or interval is not known.
        Mismatch: A run and the qrels have no query in common; or no query is in all runs, and missing is "skip".
    """
    return compare_scores(
        [evaluate(run, qrels, measures, missing=missing) for run in runs],
        qrels=qrels.name,
        judgments=[{"name": qrels.name, "sha256": qrels.sha256()}],
        baseline=baseline,
        test=test,
        correction=correction,
        interval=interval,
        alpha=alpha,
        confidence=confidence,
        power=power,
        tolerance=tolerance,
        samples=samples,
        seed=seed,
    )


def compare_scores(
    scored: Sequence[Scores],
    *,
    qrels: str,
    judgments: Sequence[Mapping[str, Any]] = (),
    baseline: str | None = None,
    test: Test = "t",
    correction: Correction = "holm",
    interval: Interval = "bootstrap",
    alpha: float = 0.05,
    confidence: float = 0.95,
    power: float = 0.8,
    tolerance: float = TIE,
    samples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare systems that are scored already: runs, averages of seeds, averages over tasks, pairs of instructions.

    Args:
        scored: Each with a name of its own, of the same measures and queries; where missing queries were skipped, the
            queries that all have are compared.
        qrels: Name of the judgments.
        judgments: What identifies them, for each task: `name`, `sha256` (of `Qrels.sha256`), and what else is known.
        baseline: Name of the system that all others are compared with; None: all pairs, later with earlier.
        test: "t", the paired t-test (ranx's; over several tasks `significance.stratified_t`), "randomization"
            (`significance.sign_flip`) or "tukey", which has the queries as second factor (`significance.tukey`). What
            does not vary is left to the randomisation test (`significance.paired_tests`), and told.
        correction: Of the p-values, over all pairs and measures. Tukey's hold for all pairs of a measure already:
            "holm" and "bonferroni" multiply them by the number of measures, "bh" is refused.
        interval: Of means and differences: "bootstrap", the percentile interval, each task resampled by itself, or "t".
        alpha: A corrected p below it is called significant.
        confidence: Of the intervals.
        power: For which the detectable difference is told.
        tolerance: Two values that differ by no more are a tie; changes nothing but the counts.
        samples: Bootstrap resamplings, and random sign assignments.
        seed: The same seed gives the same result.

    Raises:
        LimrankError: Two systems have the same name; a number is out of its range; or test and correction do not go
            together.
        Unknown: No system has the baseline's name; or a test, correction or interval is not known.
        Mismatch: The scores are not of the same measures and queries, or have no query in common.
    """
    names = [scores.name for scores in scored]
    check_names(names, baseline)
    check_ways(test, correction, interval)
    check_numbers(alpha=alpha, confidence=confidence, power=power, tolerance=tolerance, samples=samples)
    alike(scored)
    if scored[0].skipped:
        scored = on_common_queries(scored)
    values = {scores.name: _pairs.array_of(scores) for scores in scored}
    sizes, measures = scored[0].sizes, tuple(scored[0].means)
    spread = Spread(values, sizes, interval=interval, confidence=confidence, samples=samples, seed=seed)
    pairs = _pairs.pairs_of(names, baseline)
    p_values = _pairs.p_values_of(values, pairs, sizes, test=test, samples=samples, seed=seed)
    means = {scores.name: scores.means for scores in scored}
    found: list[Difference] = []
    for pair in pairs:
        one, other = (values[name] for name in pair)
        found += _differences(
            pair,
            {measure: means[pair[0]][measure] - means[pair[1]][measure] for measure in measures},
            ends=spread.of_difference(pair),
            effects=precision.effect_sizes(one - other, sizes),
            p_values=p_values[pair],
            counts=significance.wins_ties_losses(one, other, tolerance=tolerance),
        )
    corrected = _pairs.corrected([d.p for d in found], test=test, correction=correction, measures=len(measures))
    return Comparison(
        runs=tuple(scored),
        measures=measures,
        intervals={name: _by_measure(measures, spread.of_mean(name)) for name in names},
        differences=tuple(replace(d, corrected_p=p, significant=p < alpha) for d, p in zip(found, corrected)),
        baseline=baseline,
        qrels=qrels,
        query_ids=scored[0].query_ids,
        tasks=dict(Counter(scored[0].tasks.values())),
        test=test,
        correction=correction,
        interval=interval,
        alpha=alpha,
        confidence=confidence,
        power=power,
        tolerance=tolerance,
        samples=samples,
        seed=seed,
        detectable=_pairs.detectable_of(values, pairs, measures, sizes=sizes, alpha=alpha, power=power),
        judgments=tuple(judgments),
    )


def _without_width(comparison: Comparison) -> list[str]:
    """A sentence where queries differ all by the same, so that neither an interval nor a t-test can say anything."""
    rigid = [d for d in comparison.differences if d.effect_size is None and d.p < 1 and d.high - d.low <= TIE]
    if not rigid:
        return []
    ending = {
        "t": "; p is the sign-flip test's there, a t-test would be certain",
        "tukey": "; where no pair varies, p is the sign-flip test's times the pairs",
    }
    return [
        f"{len(rigid)} of {len(comparison.differences)} differences {'do' if len(rigid) > 1 else 'does'} not vary "
        f"from query to query, e.g. {rigid[0].measure} of {rigid[0].run} against {rigid[0].baseline}: an interval "
        f"without width says nothing of other queries{ending.get(comparison.test, '')}"
    ]


def _differences(
    pair: Pair,
    differences: Mapping[str, float],
    *,
    ends: tuple[Floats, Floats],
    effects: Sequence[float | None],
    p_values: Sequence[float],
    counts: Sequence[significance.Counts],
) -> list[Difference]:
    """One difference per measure, not corrected yet."""
    return [
        Difference(
            *pair,
            measure,
            difference=difference,
            low=float(low),
            high=float(high),
            effect_size=effect,
            p=p,
            corrected_p=p,
            significant=False,
            wins=count.wins,
            ties=count.ties,
            losses=count.losses,
        )
        for (measure, difference), low, high, effect, p, count in zip(
            differences.items(), *ends, effects, p_values, counts, strict=True
        )
    ]


def _by_measure(measures: Sequence[str], ends: tuple[Floats, Floats]) -> dict[str, tuple[float, float]]:
    return {measure: (float(low), float(high)) for measure, low, high in zip(measures, *ends, strict=True)}
