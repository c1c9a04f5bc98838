"""How precisely is a mean known? Standard errors, t intervals, effect sizes, and the differences a test can see.

Arrays in, numbers out: rows are queries, columns whatever is measured. Rows may come in strata, the tasks of a
benchmark one after the other (`sizes`: rows of each; empty: one stratum); a mean is then the plain mean of the strata's
means, and each stratum has a variance of its own. Knows nothing of runs, measures or tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from limrank.errors import LimrankError

if TYPE_CHECKING:
    import numpy as np

    Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

# A difference below this is a tie: the values are sums of a few fractions, and their last digits depend on the order.
TIE = 1e-9
# Into how many parts of equal weight a distribution is cut; the result is good to four digits.
QUANTILES = 2000


class Errors(NamedTuple):
    """Standard error of each column's mean, and its degrees of freedom; NaN where a stratum has a single row."""

    error: Floats
    degrees: Floats


class Detectable(NamedTuple):
    """The smallest true difference that the t-test would find with some power.

    `single` is for one test at alpha; `corrected` for the strictest step of a table's correction: alpha divided by the
    number of comparisons.
    """

    single: float
    corrected: float


def strata(values: Floats, sizes: Sequence[int] = ()) -> list[Floats]:
    """The rows of each stratum."""
    import numpy as np

    return np.split(values, np.cumsum(sizes)[:-1]) if sizes else [values]


def means(values: Floats, sizes: Sequence[int] = ()) -> Floats:
    """Per column, the plain mean of the strata's means."""
    import numpy as np

    found: Floats = np.mean([part.mean(axis=0) for part in strata(values, sizes)], axis=0)
    return found


def standard_errors(values: Floats, sizes: Sequence[int] = ()) -> Errors:
    """The standard error of `means`, with the degrees of freedom that its t distribution has.

    One stratum: s / sqrt(n) with n - 1 degrees. Several: the strata's variances add up, with the degrees of freedom of
    Welch and Satterthwaite, because no stratum's variance is taken to be another's.

    Source: Satterthwaite 1946.
    """
    import numpy as np

    parts = strata(values, sizes)
    if min(map(len, parts)) < 2:
        unknown = np.full(values.shape[1], np.nan)
        return Errors(unknown, unknown)
    return pooled([part.var(axis=0, ddof=1) / len(part) for part in parts], [len(part) - 1 for part in parts])


def pooled(variances: Sequence[Floats], degrees: Sequence[int]) -> Errors:
    """Standard error and degrees of freedom of the mean of independent means with these variances."""
    import numpy as np

    total = np.sum(variances, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = total**2 / np.sum([v**2 / d for v, d in zip(variances, degrees)], axis=0)
    return Errors(np.sqrt(total) / len(variances), np.where(np.isfinite(found), found, float(sum(degrees))))


def t_interval(values: Floats, *, confidence: float = 0.95, sizes: Sequence[int] = ()) -> tuple[Floats, Floats]:
    """Lower and upper end, per column, of the t interval of the mean.

    Raises:
        LimrankError: A stratum has a single row, which says nothing of its variance.
    """
    from scipy import stats

    error, degrees = standard_errors(values, sizes)
    if error.size and error[0] != error[0]:
        raise LimrankError("a t interval needs at least two queries in every task; use the bootstrap interval")
    half = error * stats.t.ppf((1 + confidence) / 2, degrees)
    middle = means(values, sizes)
    return middle - half, middle + half


def effect_sizes(differences: Floats, sizes: Sequence[int] = ()) -> list[float | None]:
    """Cohen's d for paired data, per column: the mean difference over the standard deviation of the differences.

    Several strata: over the root of the mean of their variances. 0 where no value differs; None where all differ by
    the same, or a stratum has a single row: there is no deviation to compare with.

    Source: Cohen 1988 (d_z); for retrieval: Sakai, SIGIR Forum 2014.
    """
    import numpy as np

    parts, middle = strata(differences, sizes), means(differences, sizes)
    found: list[float | None] = []
    for column, mean in enumerate(middle):
        if np.abs(differences[:, column]).max() <= TIE:
            found.append(0.0)
        elif min(map(len, parts)) < 2:
            found.append(None)
        else:
            deviation = float(np.sqrt(np.mean([part[:, column].var(ddof=1) for part in parts])))
            found.append(float(mean) / deviation if deviation > TIE else None)
    return found


def detectable(error: float, degrees: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest true difference that a two-sided paired t-test at `alpha` finds with probability `power`.

    Args:
        error: Standard error of the mean difference, as `standard_errors` gives it.
        degrees: Its degrees of freedom.
        alpha: The test's level.
        power: The share of repetitions in which the difference is to be found; above alpha.

    Source: Cohen 1988; the power of the t-test, from the noncentral t distribution.
    """
    import numpy as np
    from scipy import optimize, special, stats

    critical = float(stats.t.isf(alpha / 2, degrees))
    # The noncentral t as a mixture of normals over the estimated deviation: scipy's own nct is NaN far out.
    deviations = np.sqrt(stats.chi2.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES, degrees) / degrees)
    limits = critical * deviations

    def lacking(shift: float) -> float:
        return float(np.mean(special.ndtr(shift - limits) + special.ndtr(-shift - limits))) - power

    # Without a shift the power is alpha; well beyond all limits it is 1.
    return error * float(optimize.brentq(lacking, 0.0, float(limits[-1]) + 40.0))
