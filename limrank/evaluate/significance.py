"""Is a difference more than chance? Tests on paired per-query values, corrections and bootstrap intervals.

Arrays in, numbers out: rows are queries, columns whatever is compared; rows may come in strata, as `precision` has
them. Every random draw comes from a seed, and the same seed gives the same numbers. Knows nothing of runs, measures or
tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

from limrank.errors import Unknown
from limrank.evaluate.precision import TIE, means, pooled, standard_errors, strata

if TYPE_CHECKING:
    from limrank.evaluate.precision import Floats

Test: TypeAlias = Literal["t", "randomization", "tukey"]
Correction: TypeAlias = Literal["holm", "bonferroni", "bh", "none"]

# Random numbers drawn at once; bounds the memory and decides, with the seed, what is drawn.
CHUNK = 2_000_000


def paired_tests(
    ours: Floats,
    theirs: Floats,
    *,
    test: Test = "t",
    samples: int = 10_000,
    seed: int = 0,
    sizes: Sequence[int] = (),
) -> list[float]:
    """The two-sided p-value of each column: how likely is a mean difference this large if neither is better?

    Args:
        ours: One row per query, one column per measure.
        theirs: Of the same shape, the same queries.
        test: "t" is the paired t-test; "randomization" flips the sign of every query's difference at random; "tukey"
            is `tukey` for these two alone, where it equals the t-test.
        samples: Random sign assignments.
        seed: Of the sign assignments.
        sizes: Rows of each stratum; the mean is that of the strata's means.

    Returns:
        One p per column; 1 where no value differs, or where a stratum has one query only: nothing can be said then.
        Where all queries differ by the same, a t-test would be certain after two of them; p is then that of the
        randomisation test, 2 ** (1 - queries) where it is exact (with "tukey" as `tukey` has it).
    """
    import numpy as np

    if test not in get_args(Test):
        raise Unknown.among("significance test", test, get_args(Test))
    differences = ours - theirs
    if test == "randomization":
        return _sign_flips(differences, sizes, samples=samples, seed=seed)
    if test == "tukey":
        return [float(p) for p in tukey(np.stack([ours, theirs]), sizes=sizes, samples=samples, seed=seed)[0, 1]]
    if sizes:
        found = np.array(stratified_t(differences, sizes))
    else:
        from limrank.evaluate._ranx import paired_t_tests

        found = np.array(paired_t_tests(ours, theirs))
    rigid = (standard_errors(differences, sizes).error <= TIE) & (np.abs(differences).max(axis=0) > TIE)
    found[rigid] = _sign_flips(differences[:, rigid], sizes, samples=samples, seed=seed)
    return [float(p) for p in found]


def _sign_flips(differences: Floats, sizes: Sequence[int], *, samples: int, seed: int) -> list[float]:
    """`sign_flip` per column, on the mean of the strata's means."""
    import numpy as np

    rows = len(differences)
    weights = np.repeat([rows / len(sizes) / size for size in sizes], sizes) if sizes else np.ones(rows)
    return [sign_flip(column * weights, samples=samples, seed=seed) for column in differences.T]


def stratified_t(differences: Floats, sizes: Sequence[int]) -> list[float]:
    """The paired t-test's p on the mean of the strata's means, per column; with one stratum the usual paired t-test."""
    import numpy as np
    from scipy import stats

    error, degrees = standard_errors(differences, sizes)
    with np.errstate(invalid="ignore", divide="ignore"):
        p_values = 2 * stats.t.sf(np.abs(means(differences, sizes)) / error, degrees)
    return [1.0 if np.isnan(p) else float(p) for p in p_values]


def tukey(values: Floats, *, sizes: Sequence[int] = (), samples: int = 10_000, seed: int = 0) -> Floats:
    """Tukey's honestly significant difference of all pairs of systems, with the queries as second factor.

    Every value is taken as mean + system + query + noise; the noise is estimated from all systems together, and a p
    holds for all pairs of its column at once. (scipy's and ranx's tukey_hsd know one factor only: they count the
    queries' own difficulty as noise, and find next to nothing.)

    Args:
        values: Of shape (systems, queries, columns).
        sizes: Queries of each stratum; the noise is estimated in each by itself.
        samples: Random sign assignments, where they are needed (see below).
        seed: Of them.

    Returns:
        p of shape (systems, systems, columns), symmetric; 1 where no value differs, or a stratum has one query only.
        In a column without any noise, where all queries differ by the same, p is that of the randomisation test times
        the number of pairs.

    Source: Tukey 1953; for retrieval: Carterette, TOIS 2012; Sakai, "Laboratory Experiments in IR", 2018, 4.3.
    """
    import numpy as np
    from scipy import stats

    systems, _, columns = values.shape
    p_values = np.ones((systems, systems, columns))
    parts = [np.stack(part) for part in zip(*(strata(system, sizes) for system in values))]
    if systems < 2 or min(part.shape[1] for part in parts) < 2:
        return p_values
    variances, degrees = [], []
    for part in parts:
        noise = part - part.mean(axis=0) - part.mean(axis=1, keepdims=True) + part.mean(axis=(0, 1))
        degrees.append((systems - 1) * (part.shape[1] - 1))
        variances.append((noise**2).sum(axis=(0, 1)) / degrees[-1] / part.shape[1])
    error, freedom = pooled(variances, degrees)
    middle = np.stack([means(system, sizes) for system in values])
    for one in range(systems):
        for other in range(one):
            differ = np.abs(values[one] - values[other]).max(axis=0) > TIE
            varied, rigid = differ & (error > TIE), differ & (error <= TIE)
            distance = np.abs(middle[one] - middle[other])[varied] / error[varied]
            found = stats.studentized_range.sf(distance, systems, freedom[varied])
            p_values[one, other, varied] = np.clip(found, 0, 1)
            flipped = _sign_flips((values[one] - values[other])[:, rigid], sizes, samples=samples, seed=seed)
            p_values[one, other, rigid] = np.minimum(1, np.array(flipped) * systems * (systems - 1) / 2)
            p_values[other, one] = p_values[one, other]
    return p_values


def sign_flip(differences: Floats, *, samples: int = 10_000, seed: int = 0) -> float:
    """The p-value of the paired randomisation test on the mean of these differences.

    If neither of two systems is better, each query's difference could as well have the other sign. p is the share of
    sign assignments whose mean is at least as far from 0 as the observed one: of all of them where there are no more
    than `samples`, else of `samples` random ones and the observed one, (b + 1) / (samples + 1), which is never 0.

    Source: Fisher 1935; Smucker, Allan, Carterette, CIKM 2007; the + 1: Phipson, Smyth 2010, arXiv:1603.05766.
    """
    import numpy as np

    # Queries without a difference change no sum, so they need no signs.
    kept = differences[np.abs(differences) > TIE]
    observed = abs(kept.sum()) - TIE
    if 2 ** len(kept) <= samples:
        codes = np.arange(2 ** len(kept))[:, None] >> np.arange(len(kept))
        return float(np.mean(np.abs((1.0 - 2.0 * (codes & 1)) @ kept) >= observed))
    random, extreme = np.random.default_rng(seed), 0
    for size in _chunks(samples, len(kept)):
        signs = random.integers(0, 2, size=(size, len(kept)), dtype=np.int8) * 2.0 - 1.0
        extreme += int((np.abs(signs @ kept) >= observed).sum())
    return (extreme + 1) / (samples + 1)


def bootstrap_means(values: Floats, *, samples: int = 10_000, seed: int = 0, sizes: Sequence[int] = ()) -> Floats:
    """Column means of `samples` resamplings of the rows, with replacement; one row per resampling.

    All columns are resampled together, so that differences of columns are paired. Each stratum is resampled by itself,
    and the mean is that of the strata's means.

    Source: Efron 1979; for retrieval: Sakai, SIGIR 2006.
    """
    import numpy as np

    random, total = np.random.default_rng(seed), np.zeros((samples, values.shape[1]))
    parts = strata(values, sizes)
    for part in parts:
        rows, done = len(part), 0
        for size in _chunks(samples, rows):
            drawn = random.integers(0, rows, size=(size, rows)) + rows * np.arange(size)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows)
            total[done : done + size] += counts @ part / rows
            done += size
    return total / len(parts)


def interval(sampled: Floats, *, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Lower and upper end, per column, of the middle `confidence` of bootstrapped values (the percentile interval)."""
    import numpy as np

    low, high = np.quantile(sampled, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def correct(p_values: Sequence[float], *, method: Correction = "holm") -> list[float]:
    """The p-values that hold for the whole family: compare them with alpha as if there were one test only.

    Args:
        p_values: Of all tests of one table, in any order.
        method: "holm" and "bonferroni" bound the chance of any false claim, Holm being never weaker; "bh"
            (Benjamini-Hochberg) bounds the expected share of false claims; "none" returns them as they are.

    Source: Holm 1979; Benjamini, Hochberg 1995.
    """
    if method not in get_args(Correction):
        raise Unknown.among("correction", method, get_args(Correction))
    count = len(p_values)
    if method == "none":
        return list(p_values)
    if method == "bonferroni":
        return [min(1.0, count * p) for p in p_values]
    # Holm steps down from the smallest p and keeps the largest so far; Benjamini-Hochberg steps up from the largest.
    order = sorted(range(count), key=p_values.__getitem__, reverse=method == "bh")
    corrected, bound = [0.0] * count, 1.0 if method == "bh" else 0.0
    for step, i in enumerate(order):
        if method == "bh":
            bound = min(bound, p_values[i] * (count / (count - step)))
        else:
            bound = max(bound, min(1.0, p_values[i] * (count - step)))
        corrected[i] = bound
    return corrected


class Counts(NamedTuple):
    """Queries on which one is better than, equal to and worse than the other."""

    wins: int
    ties: int
    losses: int


def wins_ties_losses(ours: Floats, theirs: Floats, *, tolerance: float = TIE) -> list[Counts]:
    """Per column, on how many rows ours is better, equal within `tolerance`, and worse."""
    differences = ours - theirs
    # Half a TIE more, so that a difference of just the tolerance is a tie whatever its last digit.
    limit = tolerance + TIE / 2
    wins, losses = (differences > limit).sum(axis=0), (differences < -limit).sum(axis=0)
    return [Counts(int(won), len(differences) - int(won) - int(lost), int(lost)) for won, lost in zip(wins, losses)]


def _chunks(samples: int, columns: int) -> Iterator[int]:
    """Sizes that sum to `samples`, each of at most CHUNK numbers."""
    size = max(1, CHUNK // columns)
    while samples > 0:
        yield min(size, samples)
        samples -= size
