"""The numbers of a comparison, pair by pair: which pairs there are, their intervals, p-values and what could be seen.

Takes scores that were found alike, and returns arrays and plain numbers. Knows nothing of options' ranges or tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from limrank.evaluate import precision, significance
from limrank.evaluate.precision import TIE, Detectable
from limrank.evaluate.scores import Scores
from limrank.evaluate.significance import Correction, Test

if TYPE_CHECKING:
    from limrank.evaluate.precision import Floats

Interval: TypeAlias = Literal["bootstrap", "t"]
Pair: TypeAlias = tuple[str, str]


def pairs_of(names: Sequence[str], baseline: str | None) -> list[Pair]:
    """Every later name with every earlier one; with a baseline, every other name with that one."""
    if baseline is None:
        return [(later, earlier) for earlier, later in itertools.combinations(names, 2)]
    return [(name, baseline) for name in names if name != baseline]


def array_of(scores: Scores) -> Floats:
    """One row per query, one column per measure."""
    import numpy as np

    return np.array([row for _, row in scores.rows()])


class Spread:
    """Intervals of means and differences; the bootstrap's are all from one resampling of the queries."""

    def __init__(
        self,
        values: Mapping[str, Floats],
        sizes: Sequence[int],
        *,
        interval: Interval,
        confidence: float,
        samples: int,
        seed: int,
    ) -> None:
        import numpy as np

        self._values, self._sizes, self._confidence = values, sizes, confidence
        self._sampled: dict[str, Floats] = {}
        if interval == "bootstrap":
            stacked = np.hstack(list(values.values()))
            drawn = significance.bootstrap_means(stacked, samples=samples, seed=seed, sizes=sizes)
            self._sampled = dict(zip(values, np.split(drawn, len(values), axis=1)))

    def of_mean(self, name: str) -> tuple[Floats, Floats]:
        """Lower and upper ends, one per measure."""
        if self._sampled:
            return significance.interval(self._sampled[name], confidence=self._confidence)
        return precision.t_interval(self._values[name], confidence=self._confidence, sizes=self._sizes)

    def of_difference(self, pair: Pair) -> tuple[Floats, Floats]:
        """Lower and upper ends, one per measure."""
        one, other = pair
        if self._sampled:
            return significance.interval(self._sampled[one] - self._sampled[other], confidence=self._confidence)
        differences = self._values[one] - self._values[other]
        return precision.t_interval(differences, confidence=self._confidence, sizes=self._sizes)


def p_values_of(
    values: Mapping[str, Floats], pairs: Sequence[Pair], sizes: Sequence[int], *, test: Test, samples: int, seed: int
) -> dict[Pair, list[float]]:
    """Per pair, one p per measure; Tukey's test sees all systems, also those that are in no pair with each other."""
    import numpy as np

    options = {"samples": samples, "seed": seed}
    if test == "tukey":
        places = {name: place for place, name in enumerate(values)}
        found = significance.tukey(np.stack(list(values.values())), sizes=sizes, **options)
        return {(one, other): found[places[one], places[other]].tolist() for one, other in pairs}
    return {
        (one, other): significance.paired_tests(values[one], values[other], test=test, sizes=sizes, **options)
        for one, other in pairs
    }


def corrected(p_values: Sequence[float], *, test: Test, correction: Correction, measures: int) -> list[float]:
    """The p-values of a whole table, corrected; Tukey's hold for all pairs already, but for one measure."""
    if test == "tukey" and correction != "none":
        return [min(1.0, measures * p) for p in p_values]
    return significance.correct(p_values, method=correction)


def detectable_of(
    values: Mapping[str, Floats],
    pairs: Sequence[Pair],
    measures: Sequence[str],
    *,
    sizes: Sequence[int],
    alpha: float,
    power: float,
) -> dict[str, Detectable]:
    """Per measure, for the pair with the median standard error; a measure on which no pair varies is left out."""
    errors = [precision.standard_errors(values[one] - values[other], sizes) for one, other in pairs]
    levels = (alpha, alpha / max(1, len(pairs) * len(measures)))
    found = {}
    for column, measure in enumerate(measures):
        known = sorted((float(e.error[column]), float(e.degrees[column])) for e in errors if e.error[column] > TIE)
        if known:
            middle = known[len(known) // 2]
            found[measure] = Detectable(*(precision.detectable(*middle, alpha=level, power=power) for level in levels))
    return found
