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
