import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from limrank.errors import LimrankError
from limrank.evaluate.precision import detectable, effect_sizes, means, standard_errors, t_interval

RANDOM = np.random.default_rng(3)
VALUES = RANDOM.normal(0.3, 0.2, (30, 2))
# Three tasks of 6, 4 and 20 queries.
SIZES = (6, 4, 20)


def test_strata_are_averaged_with_the_same_weight():
    # Means 1 and 4 of two rows and of one: 2.5, not 2.
    assert means(np.array([[0.0], [2.0], [4.0]]), (2, 1)) == pytest.approx([2.5])
    assert means(VALUES) == pytest.approx(VALUES.mean(axis=0))


@given(st.floats(-5, 5), st.floats(0.1, 10))
def test_shifting_moves_the_interval_and_scaling_stretches_it(shift, scale):
    low, high = t_interval(VALUES, sizes=SIZES)
    moved_low, moved_high = t_interval(VALUES * scale + shift, sizes=SIZES)
    assert moved_low == pytest.approx(low * scale + shift) and moved_high == pytest.approx(high * scale + shift)


def test_the_effect_size_does_not_depend_on_the_scale_and_changes_sign_with_the_order():
    assert effect_sizes(VALUES * 7) == pytest.approx(effect_sizes(VALUES))
    assert effect_sizes(-VALUES, SIZES) == pytest.approx([-d for d in effect_sizes(VALUES, SIZES)])


def test_one_stratum_is_the_same_as_none():
    assert standard_errors(VALUES, (30,)).error == pytest.approx(standard_errors(VALUES).error)
    assert standard_errors(VALUES, (30,)).degrees == pytest.approx([29, 29])
    assert effect_sizes(VALUES, (30,)) == pytest.approx(effect_sizes(VALUES))


def test_a_standard_error_worked_out_by_hand():
    # 1 2 3: variance 1, 1 / 3 of the mean. 0 2: variance 2, 1 of the mean. Of the mean of both means: sqrt(4/3) / 2.
    error, degrees = standard_errors(np.array([[1.0], [2.0], [3.0], [0.0], [2.0]]), (3, 2))
    assert error == pytest.approx([np.sqrt(4 / 3) / 2])
    # Satterthwaite: (4/3)^2 / ((1/3)^2 / 2 + 1^2 / 1) = 32/19.
    assert degrees == pytest.approx([32 / 19])


def test_Cohen_s_d_worked_out_by_hand():
    # Differences 1 2 3: mean 2, deviation 1.
    assert effect_sizes(np.array([[1.0], [2.0], [3.0]])) == pytest.approx([2.0])
    # With 0 2 as second task: mean (2 + 1) / 2, deviation sqrt((1 + 2) / 2).
    assert effect_sizes(np.array([[1.0], [2.0], [3.0], [0.0], [2.0]]), (3, 2)) == pytest.approx([1.5 / np.sqrt(1.5)])


def test_without_a_deviation_there_is_no_effect_size_and_without_a_difference_it_is_0():
    assert effect_sizes(np.full((4, 1), 0.5)) == [None]
    assert effect_sizes(np.zeros((4, 1))) == [0.0]
    assert effect_sizes(np.array([[0.5]])) == [None]
    assert effect_sizes(np.array([[0.5], [0.1], [0.2]]), (1, 2)) == [None]


def test_a_single_query_has_no_t_interval():
    with pytest.raises(LimrankError, match="at least two queries in every task"):
        t_interval(np.array([[0.5], [0.2], [0.3]]), sizes=(2, 1))


def test_what_is_detectable_grows_with_the_error_and_with_what_is_asked():
    assert detectable(0.02, 100) == pytest.approx(2 * detectable(0.01, 100))
    assert detectable(0.01, 100) < detectable(0.01, 100, power=0.9) < detectable(0.01, 100, power=0.9, alpha=0.01)
    assert detectable(0.01, 100) < detectable(0.01, 10)


def test_with_many_queries_the_detectable_difference_is_the_textbook_s():
    # (1.95996 + .84162) standard errors.
    assert detectable(1.0, 1e6) == pytest.approx(2.80158, abs=0.0005)


@pytest.mark.parametrize("degrees", [15, 22.7, 102])
@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.8), (0.05 / 60, 0.8), (0.05, 0.95)])
def test_the_detectable_difference_has_the_power_that_scipy_s_noncentral_t_gives(degrees, alpha, power):
    shift = detectable(1.0, degrees, alpha=alpha, power=power)
    critical = scipy.stats.t.isf(alpha / 2, degrees)
    found = scipy.stats.nct.sf(critical, degrees, shift) + scipy.stats.nct.cdf(-critical, degrees, shift)
    assert found == pytest.approx(power, abs=0.0005)


def test_a_difference_of_the_detectable_size_is_found_as_often_as_told():
    random, queries = np.random.default_rng(0), 40
    shift = detectable(0.3 / np.sqrt(queries), queries - 1)
    drawn = random.normal(shift, 0.3, (queries, 4000))
    found = (scipy.stats.ttest_1samp(drawn, 0).pvalue < 0.05).mean()
    # The standard error of a share of .8 in 4,000 is .006.
    assert found == pytest.approx(0.8, abs=0.02)


def test_the_t_interval_is_scipys():
    low, high = t_interval(VALUES, confidence=0.9)
    expected = scipy.stats.ttest_1samp(VALUES, 0).confidence_interval(0.9)
    assert low == pytest.approx(expected.low) and high == pytest.approx(expected.high)


def test_degrees_of_freedom_of_two_strata_are_those_of_Welch_s_test():
    one, other = VALUES[:8, 0], VALUES[8:, 0]
    welch = scipy.stats.ttest_ind(one, -other, equal_var=False)
    error, degrees = standard_errors(VALUES[:, :1], (8, 22))
    # Half the difference of one and minus the other is the mean of both.
    assert means(VALUES[:, :1], (8, 22)) / error == pytest.approx([welch.statistic])
    assert degrees == pytest.approx([welch.df])
