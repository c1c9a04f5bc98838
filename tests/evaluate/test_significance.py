import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from limrank.errors import Unknown
from limrank.evaluate.significance import (
    bootstrap_means,
    correct,
    interval,
    paired_tests,
    sign_flip,
    stratified_t,
    tukey,
    wins_ties_losses,
)

p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(p_lists, st.sampled_from(["holm", "bonferroni", "bh", "none"]))
def test_a_corrected_p_is_no_smaller_than_the_raw_one_and_keeps_the_order(p_values, method):
    corrected = correct(p_values, method=method)
    assert all(p <= q <= 1 for p, q in zip(p_values, corrected))
    ascending = [corrected[i] for i in sorted(range(len(p_values)), key=p_values.__getitem__)]
    assert ascending == sorted(ascending)


@given(p_lists)
def test_Holm_is_never_weaker_than_Bonferroni_and_never_stronger_than_Benjamini_Hochberg(p_values):
    by_method = [correct(p_values, method=method) for method in ("bonferroni", "holm", "bh")]
    assert all(a >= b >= c - 1e-12 for a, b, c in zip(*by_method))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_which_of_the_two_comes_first_does_not_change_the_randomisation_test(differences):
    there = sign_flip(np.array(differences), samples=500)
    assert there == sign_flip(-np.array(differences), samples=500)
    assert 0 < there <= 1


def test_the_same_seed_gives_the_same_p_and_another_seed_another():
    differences = np.random.default_rng(1).normal(0.1, 1, 50)
    assert sign_flip(differences, seed=3) == sign_flip(differences, seed=3)
    assert sign_flip(differences, seed=3) != sign_flip(differences, seed=4)


def test_the_same_seed_gives_the_same_bootstrap_and_another_seed_another():
    values = np.random.default_rng(1).random((40, 3))
    assert np.array_equal(bootstrap_means(values, seed=3), bootstrap_means(values, seed=3))
    assert not np.array_equal(bootstrap_means(values, seed=3), bootstrap_means(values, seed=4))


def test_columns_are_resampled_together():
    # Two columns that differ by 1 on every row differ by 1 in every resampling.
    column = np.random.default_rng(1).random(30)
    sampled = bootstrap_means(np.column_stack([column, column + 1]), samples=200)
    assert sampled.shape == (200, 2)
    assert np.allclose(sampled[:, 1] - sampled[:, 0], 1)


def test_drawing_in_pieces_draws_as_many_samples(monkeypatch):
    monkeypatch.setattr("limrank.evaluate.significance.CHUNK", 70)
    values = np.random.default_rng(1).random((20, 2))
    sampled = bootstrap_means(values, samples=101)
    assert sampled.shape == (101, 2)
    assert ((values.min(axis=0) <= sampled) & (sampled <= values.max(axis=0))).all()
    # None of 100 random assignments of 40 signs has them all alike: only the observed one is as extreme.
    assert sign_flip(np.ones(40), samples=100) == 1 / 101


@pytest.mark.parametrize("test", ["t", "randomization"])
def test_identical_values_have_p_1(test):
    values = np.random.default_rng(1).random((20, 2))
    assert paired_tests(values, values, test=test) == [1.0, 1.0]


@pytest.mark.parametrize("test", ["t", "tukey", "randomization"])
@pytest.mark.parametrize("sizes", [(), (2, 4)])
def test_differences_that_are_all_alike_are_as_likely_as_heads_every_time(test, sizes):
    # Six heads or six tails: 2 of 64; two of two: 2 of 4. In the last digits of z + .1 - z there is no evidence.
    z = np.random.default_rng(1).random((6, 1))
    values = np.hstack([z, z, z])
    ours = values + np.array([0.1, -1.0, 0.0])
    assert paired_tests(ours, values, test=test, sizes=sizes) == [2 / 64, 2 / 64, 1.0]
    assert paired_tests(ours[:2], values[:2], test=test) == [0.5, 0.5, 1.0]


def test_a_column_that_varies_keeps_its_t_test_beside_one_that_does_not():
    random = np.random.default_rng(1)
    theirs = random.random((10, 2))
    ours = theirs + np.column_stack([random.normal(0.1, 0.2, 10), np.full(10, 0.5)])
    expected = float(scipy.stats.ttest_rel(ours[:, 0], theirs[:, 0]).pvalue)
    assert paired_tests(ours, theirs) == pytest.approx([expected, 2**-9])
    assert stratified_t((ours - theirs)[:, :1], (4, 6)) == paired_tests(ours, theirs, sizes=(4, 6))[:1]


def test_Tukey_without_noise_is_the_sign_flip_test_times_the_pairs():
    # Three systems, 8 queries: 2 of 256 by 3 pairs; two of the systems are the same.
    z = np.random.default_rng(1).random((8, 1))
    p_values = tukey(np.stack([z, z + 0.2, z]))[..., 0]
    assert (p_values[0, 1], p_values[1, 0], p_values[1, 2], p_values[0, 2]) == (6 / 256, 6 / 256, 6 / 256, 1)


def test_a_single_query_has_p_1():
    assert paired_tests(np.array([[0.9]]), np.array([[0.1]])) == [1.0]


def test_an_unknown_test_and_an_unknown_correction_are_refused():
    with pytest.raises(Unknown, match=r"'fisher'; known: randomization, t"):
        paired_tests(np.zeros((2, 1)), np.zeros((2, 1)), test="fisher")
    with pytest.raises(Unknown, match="did you mean holm"):
        correct([0.1], method="hol")


def test_Holm_worked_out_by_hand():
    # In order: .01 x 4 = .04, .02 x 3 = .06, .03 x 2 = .06, .04 x 1 -> no smaller than the one before: .06.
    assert correct([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_Bonferroni_and_Benjamini_Hochberg_worked_out_by_hand():
    assert correct([0.04, 0.3, 0.01], method="bonferroni") == pytest.approx([0.12, 0.9, 0.03])
    # From the largest: .3 x 3/3 = .3, .04 x 3/2 = .06, .01 x 3/1 = .03.
    assert correct([0.04, 0.3, 0.01], method="bh") == pytest.approx([0.06, 0.3, 0.03])
    assert correct([0.04, 0.3, 0.01], method="none") == [0.04, 0.3, 0.01]


def test_sign_flips_worked_out_by_hand():
    # Sums of +-1 +-2 +-3 are 6 4 2 0 0 -2 -4 -6. Observed 6: 2 of 8 are as far from 0. Observed 4 (1 turned): 4 of 8.
    assert sign_flip(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert sign_flip(np.array([-1.0, 2.0, 3.0])) == 4 / 8
    assert sign_flip(np.array([-3.0, 2.0, 1.0])) == 1.0
    # Queries without a difference change nothing.
    assert sign_flip(np.array([1.0, 0.0, 2.0, 0.0, 3.0])) == 2 / 8


def test_equal_sums_count_as_equal_whatever_their_last_digit():
    # In tenths, +-2 +-4 +-3 +-1 +-4: 16 of the 32 sums are 6 or more from 0, as the observed one is; in floating point
    # four of these fall short of it by their last digit.
    assert sign_flip(np.array([0.2, 0.4, -0.3, -0.1, 0.4])) == 16 / 32


def test_random_sign_flips_come_close_to_all_of_them():
    differences = np.random.default_rng(5).normal(0.4, 1, 13)
    exact = sign_flip(differences, samples=2**13)
    assert sign_flip(differences, samples=2**13 - 1, seed=1) == pytest.approx(exact, abs=0.02)
    assert 0.01 < exact < 0.99


def test_random_sign_flips_are_never_certain():
    assert sign_flip(np.ones(100), samples=999) == 1 / 1000


def test_an_interval_is_the_middle_of_what_was_sampled():
    # 101 values 0 to 100: 5% below 5, 5% above 95.
    low, high = interval(np.arange(101.0)[:, None], confidence=0.9)
    assert (low[0], high[0]) == pytest.approx((5, 95))


def test_a_bootstrap_interval_is_as_wide_as_the_standard_error_says():
    # 400 zeros and ones, half each: the standard error of the mean is .5 / 20 = .025, 1.96 of it to each side.
    low, high = interval(bootstrap_means(np.array([[0.0], [1.0]] * 200)))
    assert (low[0], high[0]) == pytest.approx((0.5 - 0.049, 0.5 + 0.049), abs=0.004)


def test_differences_below_a_billionth_are_ties():
    ours, theirs = np.array([[0.5], [0.3], [0.1 + 0.2], [0.0]]), np.array([[0.4], [0.4], [0.3], [1.0]])
    assert wins_ties_losses(ours, theirs) == [(1, 1, 2)]


def test_the_t_test_is_scipys():
    random = np.random.default_rng(2)
    theirs = random.random((30, 4))
    ours = theirs + random.normal(0.05, 0.2, (30, 4))
    assert paired_tests(ours, theirs) == pytest.approx(list(scipy.stats.ttest_rel(ours, theirs).pvalue))


def test_the_randomisation_test_is_scipys():
    differences = np.random.default_rng(2).normal(0.3, 1, 11)
    expected = scipy.stats.permutation_test(
        (differences,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True
    )
    assert sign_flip(differences) == pytest.approx(float(expected.pvalue))


@given(p_lists)
def test_Benjamini_Hochberg_is_scipys(p_values):
    assert correct(p_values, method="bh") == pytest.approx(list(scipy.stats.false_discovery_control(p_values)))


# Systems in rows of three queries: 1 2 3, 2 2 5, 3 5 7.
THREE = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 5.0], [3.0, 5.0, 7.0]]).reshape(3, 3, 1)


def test_Tukey_worked_out_by_hand():
    # Means of systems 2 3 5, of queries 2 3 5; the residuals are 1/3 six times and -2/3 three times: squares sum to 2,
    # over (3 - 1)(3 - 1) degrees of freedom: .5. Distances in units of sqrt(.5 / 3): 2.449, 7.348, 4.899. Tables have
    # 5.04 as the 5% point of the studentized range of 3 with 4 degrees of freedom, and 8.12 as the 1% point.
    p_values = tukey(THREE)[..., 0]
    assert p_values[0, 2] == pytest.approx(scipy.stats.studentized_range.sf(2 * np.sqrt(13.5), 3, 4))
    assert 0.01 < p_values[0, 2] < 0.05 < p_values[1, 2] < p_values[0, 1]
    assert np.array_equal(p_values, p_values.T) and (p_values.diagonal() == 1).all()


def test_Tukey_does_not_see_how_difficult_a_query_is():
    harder = THREE + np.array([0.0, -5.0, 2.0])[None, :, None]
    assert tukey(harder) == pytest.approx(tukey(THREE))


@pytest.mark.parametrize("sizes", [(), (12, 5, 13)])
def test_Tukey_of_two_systems_is_the_paired_t_test(sizes):
    random = np.random.default_rng(4)
    ours, theirs = random.random((30, 2)), random.random((30, 2)) + 0.1
    expected = paired_tests(ours, theirs, sizes=sizes)
    assert paired_tests(ours, theirs, test="tukey", sizes=sizes) == pytest.approx(expected, rel=1e-6)


def test_Tukey_is_no_weaker_than_Bonferroni_over_all_pairs_and_no_stronger_than_no_correction():
    random = np.random.default_rng(5)
    values = random.random((6, 40, 1)) + random.random((1, 40, 1)) + np.linspace(0, 0.4, 6)[:, None, None]
    p_values = tukey(values)[..., 0]
    # With the noise estimated from all systems, as Tukey's test has it.
    noise = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean(axis=(0, 1))
    error = np.sqrt(2 * (noise**2).sum() / (5 * 39) / 40)
    for one, other in [(5, 0), (3, 1), (2, 1)]:
        raw = 2 * scipy.stats.t.sf(abs(values[one].mean() - values[other].mean()) / error, 5 * 39)
        assert raw <= p_values[one, other] <= min(1, 15 * raw) + 1e-9


def test_Tukey_without_a_difference_or_with_a_single_query_says_nothing():
    assert (tukey(np.ones((3, 5, 2))) == 1).all()
    assert (tukey(THREE[:, :1]) == 1).all()
    assert (tukey(THREE, sizes=(1, 2)) == 1).all()


def test_Tukey_is_that_of_statsmodels_two_way_model():
    models = pytest.importorskip("statsmodels.formula.api")
    import pandas as pd

    random = np.random.default_rng(6)
    values = random.random((4, 25)) + random.random(25) + np.array([0.0, 0.1, 0.3, 0.35])[:, None]
    rows = [(values[s, q], f"s{s}", f"q{q}") for s in range(4) for q in range(25)]
    fitted = models.ols("x ~ C(s) + C(q)", pd.DataFrame(rows, columns=["x", "s", "q"])).fit()
    p_values = tukey(values[..., None])[..., 0]
    for one in range(4):
        for other in range(one):
            distance = abs(values[one].mean() - values[other].mean()) / np.sqrt(fitted.mse_resid / 25)
            expected = scipy.stats.studentized_range.sf(distance, 4, fitted.df_resid)
            assert p_values[one, other] == pytest.approx(expected, abs=1e-9)


def test_one_stratum_gives_the_usual_t_test_and_a_single_query_none():
    differences = np.random.default_rng(7).normal(0.1, 0.3, (20, 2))
    assert stratified_t(differences, (20,)) == pytest.approx(list(scipy.stats.ttest_1samp(differences, 0).pvalue))
    assert stratified_t(differences, (19, 1)) == [1.0, 1.0]
    assert stratified_t(np.zeros((5, 1)), (3, 2)) == [1.0]


def test_two_strata_give_Welch_s_t_test():
    # The mean of two means is 0 just where the first is minus the second.
    differences = np.random.default_rng(7).normal(0.1, 0.3, (20, 1))
    welch = scipy.stats.ttest_ind(differences[:14], -differences[14:], equal_var=False)
    assert stratified_t(differences, (14, 6)) == pytest.approx(list(welch.pvalue))


def test_strata_that_are_never_better_are_significant_in_one_of_twenty_tables():
    random, sizes = np.random.default_rng(8), (8, 30, 12)
    # Three tasks of other variances: 4,000 columns are 4,000 comparisons of equals; the standard error is .0034.
    differences = random.normal(0, 1, (50, 4000)) * np.repeat([0.1, 0.5, 0.3], sizes)[:, None]
    assert np.mean(np.array(stratified_t(differences, sizes)) < 0.05) == pytest.approx(0.05, abs=0.011)


def test_sign_flips_of_strata_worked_out_by_hand():
    # A task of one query with +1, one of two with +1 and -1. Weights 1 and 1/2: +-1 +-1/2 +-1/2 are 2 1 1 0 0 -1 -1 -2;
    # observed 1: 6 of 8 are as far from 0. Without tasks the sum is 1, and all eight are.
    ours, theirs = np.array([[1.0], [1.0], [0.0]]), np.array([[0.0], [0.0], [1.0]])
    assert paired_tests(ours, theirs, test="randomization", sizes=(1, 2)) == [6 / 8]
    assert paired_tests(ours, theirs, test="randomization") == [1.0]


def test_each_stratum_is_resampled_by_itself():
    sampled = bootstrap_means(np.array([[1.0], [1.0], [4.0]]), samples=50, sizes=(2, 1))
    assert (sampled == 2.5).all()
    values = np.random.default_rng(9).random((30, 2))
    assert np.array_equal(bootstrap_means(values, samples=50), bootstrap_means(values, samples=50, sizes=(30,)))


def test_a_stratified_bootstrap_is_as_wide_as_the_standard_error_says():
    # Tasks of 100 and 400 zeros and ones: errors of the means .05 and .025, of their mean sqrt(.05^2 + .025^2) / 2.
    low, high = interval(bootstrap_means(np.array([[0.0], [1.0]] * 250), sizes=(100, 400)))
    assert (low[0], high[0]) == pytest.approx((0.5 - 0.0548, 0.5 + 0.0548), abs=0.004)


def test_differences_within_the_tolerance_are_ties():
    ours, theirs = np.array([[0.51], [0.52], [0.3]]), np.array([[0.5], [0.5], [0.31]])
    assert wins_ties_losses(ours, theirs, tolerance=0.01) == [(1, 2, 0)]
