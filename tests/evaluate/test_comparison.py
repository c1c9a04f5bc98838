import json

import numpy as np
import pytest

from limrank.errors import LimrankError, Mismatch, Unknown
from limrank.evaluate import average, compare, compare_scores, evaluate, macro_average, to_ranx_report
from limrank.evaluate.precision import detectable
from limrank.evaluate.tables import to_json
from limrank.qrels import Qrels
from limrank.run import Run

QUERY_IDS = [f"q{i}" for i in range(20)]
QRELS = Qrels({query_id: {"yes": 1, "also": 1} for query_id in QUERY_IDS}, name="pets")


def ranked(name, positions, query_ids=QUERY_IDS):
    """A run with the document "yes" at the given 1-based position of each query, and "also" behind it."""
    return Run(
        {
            query_id: [("yes" if rank == position else f"no{rank}", -rank) for rank in range(1, 11)] + [("also", -11)]
            for query_id, position in zip(query_ids, positions)
        },
        name=name,
    )


FIRST = ranked("first", [1] * 20)
MIXED = ranked("mixed", [1, 2] * 10)
RANDOM = ranked("random", np.random.default_rng(0).integers(1, 11, 20).tolist())


def test_means_are_those_of_evaluate():
    comparison = compare([FIRST, MIXED], QRELS, ["ndcg@10", "mrr"])
    assert comparison.runs == (evaluate(FIRST, QRELS, ["ndcg@10", "mrr"]), evaluate(MIXED, QRELS, ["ndcg@10", "mrr"]))
    assert (comparison.measures, comparison.query_ids) == (("nDCG@10", "MRR"), tuple(QUERY_IDS))


def test_the_same_seed_gives_the_same_comparison():
    one, again = (compare([FIRST, MIXED, RANDOM], QRELS, test="randomization", seed=7) for _ in range(2))
    assert one == again
    assert one != compare([FIRST, MIXED, RANDOM], QRELS, test="randomization", seed=8)


def test_turning_a_pair_around_turns_the_signs_and_keeps_the_p():
    [there], [back] = (compare(runs, QRELS, ["mrr"]).differences for runs in ([MIXED, RANDOM], [RANDOM, MIXED]))
    assert (there.run, there.baseline, back.run, back.baseline) == ("random", "mixed", "mixed", "random")
    assert there.difference == pytest.approx(-back.difference)
    assert (there.wins, there.ties, there.losses) == (back.losses, back.ties, back.wins)
    assert there.p == pytest.approx(back.p)


def test_an_interval_holds_the_observed_value():
    comparison = compare([FIRST, MIXED, RANDOM], QRELS)
    for scores in comparison.runs:
        for measure, (low, high) in comparison.intervals[scores.name].items():
            assert low - 1e-12 <= scores.means[measure] <= high + 1e-12
    assert all(d.low - 1e-12 <= d.difference <= d.high + 1e-12 for d in comparison.differences)


@pytest.mark.parametrize("test", ["t", "randomization"])
def test_runs_with_the_same_values_have_p_1_and_no_NaN_in_JSON(test):
    comparison = compare([FIRST, FIRST.renamed("copy")], QRELS, test=test)
    assert {(d.p, d.corrected_p, d.significant, d.ties) for d in comparison.differences} == {(1.0, 1.0, False, 20)}
    json.dumps(to_json(comparison), allow_nan=False)


@pytest.mark.parametrize(
    ("test", "ending"), [("t", "t-test would be certain"), ("tukey", "times the pairs"), ("randomization", "queries")]
)
def test_two_queries_prove_nothing_and_the_table_says_why(test, ending):
    two = Qrels({query_id: QRELS[query_id] for query_id in QUERY_IDS[:2]}, name="two")
    good, bad = ranked("good", [1, 1]), ranked("bad", [2, 2])
    comparison = compare([good, bad], two, ["success@1"], test=test)
    [difference] = comparison.differences
    # Both worse, or both better: 2 of the 4 ways in which two signs fall.
    assert (difference.difference, difference.p, difference.significant) == (-1.0, 0.5, False)
    [sentence] = comparison.warnings()
    assert sentence.startswith("1 of 1 differences does not vary from query to query, e.g. Success@1 of bad against")
    assert sentence.endswith(ending)


def test_all_pairs_are_compared_and_the_correction_is_over_all_of_the_table():
    comparison = compare([FIRST, MIXED, RANDOM], QRELS, ["mrr", "P@1"], correction="bonferroni")
    assert [(one, other, len(group)) for one, other, group in comparison.pairs()] == [
        ("mixed", "first", 2),
        ("random", "first", 2),
        ("random", "mixed", 2),
    ]
    # Three pairs by two measures.
    assert all(d.corrected_p == pytest.approx(min(1, 6 * d.p)) for d in comparison.differences)


def test_with_a_baseline_every_other_run_is_compared_with_it_only():
    comparison = compare([FIRST, MIXED, RANDOM], QRELS, ["mrr"], baseline="mixed", correction="bonferroni")
    assert [(d.run, d.baseline) for d in comparison.differences] == [("first", "mixed"), ("random", "mixed")]
    assert all(d.corrected_p == pytest.approx(min(1, 2 * d.p)) for d in comparison.differences)


def test_significant_means_a_corrected_p_below_alpha():
    comparison = compare([FIRST, MIXED, RANDOM], QRELS, ["mrr"])
    [d, *_] = comparison.differences
    assert d.significant and d.corrected_p < 0.05
    [d, *_] = compare([FIRST, MIXED, RANDOM], QRELS, ["mrr"], alpha=d.corrected_p).differences
    assert not d.significant


def test_a_query_that_one_run_lacks_counts_0_for_it_and_is_told():
    short = ranked("short", [1] * 18, QUERY_IDS[:18])
    comparison = compare([FIRST, short], QRELS, ["mrr"])
    [difference] = comparison.differences
    # 1 less 18/20.
    assert difference.difference == pytest.approx(-0.1)
    assert (difference.wins, difference.ties, difference.losses) == (0, 18, 2)
    assert comparison.warnings() == ["short has no results for 2 of 20 judged queries, e.g. 'q18'; they count 0"]


def test_skip_compares_on_the_queries_that_all_runs_have():
    early, late = ranked("early", [1] * 15, QUERY_IDS[:15]), ranked("late", [2] * 15, QUERY_IDS[5:])
    comparison = compare([early, late], QRELS, ["mrr"], missing="skip")
    assert comparison.query_ids == tuple(QUERY_IDS[5:15])
    assert [scores.means for scores in comparison.runs] == [{"MRR": 1.0}, {"MRR": 0.5}]
    assert ["left out" in sentence for sentence in comparison.warnings()] == [True, True, False]


def test_skip_needs_a_query_that_all_runs_have():
    with pytest.raises(Mismatch, match="no query is in all of early, late"):
        compare([ranked("early", [1], ["q1"]), ranked("late", [1], ["q2"])], QRELS, missing="skip")


def test_one_run_gives_means_and_no_differences():
    comparison = compare([FIRST], QRELS, ["mrr"])
    assert comparison.differences == ()
    assert comparison.intervals == {"first": {"MRR": (1.0, 1.0)}}


def test_more_runs_than_the_alphabet_has_letters_can_be_compared():
    runs = [ranked(f"run{i}", [1 + i % 5] * 20) for i in range(30)]
    assert len(compare(runs, QRELS, ["mrr"], baseline="run0", samples=50).differences) == 29


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"baseline": "frist"}, Unknown, "unknown run 'frist'; did you mean first"),
        ({"alpha": 1.0}, LimrankError, "alpha is 1.0; it has to be between 0 and 1"),
        ({"confidence": 95}, LimrankError, "confidence is 95"),
        ({"samples": 0}, LimrankError, "samples is 0"),
        ({"test": "fisher"}, Unknown, "significance test 'fisher'"),
        ({"correction": "tukey"}, Unknown, "correction 'tukey'"),
        ({"interval": "wald"}, Unknown, "interval 'wald'; known: bootstrap, t"),
        ({"power": 0.0}, LimrankError, "power is 0.0"),
        ({"power": 0.04}, LimrankError, "power is 0.04; a test at alpha 0.05"),
        ({"tolerance": -0.1}, LimrankError, "tolerance is -0.1"),
        ({"tolerance": float("nan")}, LimrankError, "tolerance is nan"),
        ({"test": "tukey", "correction": "bh"}, LimrankError, "give holm, bonferroni or none"),
        ({"measures": ["ndgc"]}, Unknown, "did you mean nDCG@10"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        compare([FIRST, MIXED], QRELS, **options)


def test_two_runs_of_one_name_and_no_run_are_refused():
    with pytest.raises(LimrankError, match="2 runs are called 'first'"):
        compare([FIRST, MIXED, MIXED.renamed("first")], QRELS)
    with pytest.raises(LimrankError, match="no run to compare"):
        compare([], QRELS)


def test_a_comparison_worked_out_by_hand():
    # MRR is 1 on all 20 queries against 1 and 1/2 in turn: differences of 0 and -1/2, mean -1/4, variance 20/19 / 16.
    # t = -.25 / sqrt(20/19 / 16 / 20) = -sqrt(19) with 19 degrees of freedom: two-sided p = .00033.
    [d] = compare([FIRST, MIXED], QRELS, ["mrr"]).differences
    assert (d.run, d.baseline, d.measure) == ("mixed", "first", "MRR")
    assert d.difference == pytest.approx(-0.25)
    assert (d.wins, d.ties, d.losses) == (0, 10, 10)
    assert d.p == d.corrected_p == pytest.approx(0.00033, abs=0.00001)
    # Only all ten minus or all ten plus is as far from 0: 2 of 1024.
    [d] = compare([FIRST, MIXED], QRELS, ["mrr"], test="randomization").differences
    assert d.p == 2 / 1024


def test_a_ranx_report_holds_our_numbers():
    comparison = compare([FIRST, MIXED, RANDOM], QRELS, ["ndcg@10", "map@100", "mrr"])
    report = to_ranx_report(comparison)
    table = report.to_dict()
    assert table["model_names"] == ["first", "mixed", "random"]
    assert table["metrics"] == ["ndcg@10", "map@100", "mrr"]
    assert table["first"]["scores"]["mrr"] == 1.0
    [d] = [d for d in comparison.differences if (d.run, d.baseline, d.measure) == ("random", "mixed", "MRR")]
    assert table["random"]["comparisons"]["mixed"]["mrr"] == d.corrected_p
    assert table["random"]["win_tie_loss"]["mixed"]["mrr"] == {"W": d.wins, "T": d.ties, "L": d.losses}
    assert table["mixed"]["win_tie_loss"]["random"]["mrr"] == {"W": d.losses, "T": d.ties, "L": d.wins}
    assert "1.0000ᵇᶜ" in str(report) and "\\toprule" in report.to_latex()


@pytest.mark.parametrize(("test", "theirs"), [("t", "student"), ("randomization", "fisher"), ("tukey", "tukey")])
def test_a_ranx_report_names_the_test(test, theirs):
    assert to_ranx_report(compare([FIRST, MIXED], QRELS, ["mrr"], test=test)).to_dict()["stat_test"] == theirs


def test_what_a_ranx_report_cannot_hold_is_refused():
    with pytest.raises(LimrankError, match="no measure Bpref"):
        to_ranx_report(compare([FIRST, MIXED], QRELS, ["bpref"]))
    with pytest.raises(LimrankError, match="every pair"):
        to_ranx_report(compare([FIRST, MIXED, RANDOM], QRELS, ["mrr"], baseline="first"))
    runs = [ranked(f"run{i}", [1] * 20) for i in range(27)]
    with pytest.raises(LimrankError, match="holds 26 runs, 27 given"):
        to_ranx_report(compare(runs, QRELS, ["mrr"], test="randomization", samples=10))


@pytest.mark.parametrize("test", ["t", "randomization", "tukey"])
@pytest.mark.parametrize("interval", ["bootstrap", "t"])
def test_every_way_of_testing_finds_the_same_means_and_the_clear_winner(test, interval):
    comparison = compare([FIRST, MIXED, RANDOM], QRELS, ["mrr", "P@1"], test=test, interval=interval)
    assert [scores.means for scores in comparison.runs] == [
        evaluate(r, QRELS, ["mrr", "P@1"]).means for r in (FIRST, MIXED, RANDOM)
    ]
    assert next(d for d in comparison.differences if (d.run, d.measure) == ("random", "MRR")).significant
    assert all(d.low <= d.difference <= d.high and d.p <= d.corrected_p <= 1 for d in comparison.differences)


def test_Tukey_s_p_is_multiplied_by_the_number_of_measures_and_a_baseline_changes_nothing():
    comparison = compare([FIRST, MIXED, RANDOM], QRELS, ["mrr", "P@1"], test="tukey")
    assert all(d.corrected_p == pytest.approx(min(1, 2 * d.p)) for d in comparison.differences)
    with_baseline = compare([FIRST, MIXED, RANDOM], QRELS, ["mrr", "P@1"], test="tukey", baseline="first")
    assert {(d.run, d.measure, d.p) for d in with_baseline.differences} <= {
        (d.run, d.measure, d.p) for d in comparison.differences
    }
    raw = compare([FIRST, MIXED, RANDOM], QRELS, ["mrr", "P@1"], test="tukey", correction="none")
    assert all(d.corrected_p == d.p for d in raw.differences)


def test_t_intervals_and_t_tests_agree_on_what_is_significant():
    comparison = compare([FIRST, MIXED, RANDOM], QRELS, correction="none", interval="t")
    assert all(d.significant == (d.low > 0 or d.high < 0) for d in comparison.differences)
    assert {d.significant for d in comparison.differences} == {True, False}


def test_a_tolerance_makes_ties_and_changes_nothing_else():
    [strict], [loose] = (compare([FIRST, MIXED], QRELS, ["mrr"], tolerance=t).differences for t in (1e-9, 0.5))
    assert (loose.wins, loose.ties, loose.losses) == (0, 20, 0)
    assert (loose.p, loose.difference) == (strict.p, strict.difference)


def test_effect_size_and_detectable_difference_worked_out_by_hand():
    # Differences of 0 and -1/2 in turn: mean -1/4, deviation sqrt(20/19) / 4.
    comparison = compare([FIRST, MIXED], QRELS, ["mrr"])
    assert comparison.differences[0].effect_size == pytest.approx(-1 / np.sqrt(20 / 19))
    # Tables have 2.95 as noncentrality for 80% power at .05 with 19 degrees of freedom; the error is sqrt(1/19) / 4.
    assert comparison.detectable["MRR"].single == pytest.approx(2.95 * np.sqrt(1 / 19) / 4, rel=0.01)
    assert comparison.detectable["MRR"].corrected == comparison.detectable["MRR"].single


def test_more_comparisons_make_a_difference_harder_to_detect_and_copies_have_nothing_to_detect():
    [one], [all_pairs] = (
        compare(runs, QRELS, ["mrr"]).detectable.values() for runs in ([FIRST, MIXED], [FIRST, MIXED, RANDOM])
    )
    assert all_pairs.corrected > all_pairs.single and one.corrected == one.single
    assert compare([FIRST, FIRST.renamed("copy")], QRELS, ["mrr"]).detectable == {}


def tasks(*runs, name):
    """A system with one run per task, the second task on the first five queries only."""
    few = Qrels({query_id: QRELS[query_id] for query_id in QUERY_IDS[:5]})
    return macro_average(
        {task: evaluate(run, qrels, ["mrr"]) for task, run, qrels in zip("ab", runs, (QRELS, few))}, name=name
    )


def test_tasks_count_the_same_in_means_tests_and_intervals():
    good, poor = tasks(FIRST, FIRST, name="good"), tasks(FIRST, RANDOM, name="poor")
    comparison = compare_scores([poor, good], qrels="a, b")
    [difference] = comparison.differences
    # Only the second task differs, and counts half, though it has a fifth of the queries.
    alone = evaluate(RANDOM, Qrels({q: QRELS[q] for q in QUERY_IDS[:5]}), ["mrr"]).means["MRR"]
    assert difference.difference == pytest.approx((1 - alone) / 2)
    assert comparison.tasks == {"a": 20, "b": 5}
    assert comparison.intervals["good"]["MRR"] == (1.0, 1.0)
    for test in ("t", "randomization", "tukey"):
        [found] = compare_scores([poor, good], qrels="a, b", test=test).differences
        assert 0 < found.p < 0.5


def test_an_interval_over_tasks_is_of_the_mean_of_their_means():
    # Nothing varies within a task: 2 queries at 1 and 8 at 1/2 have mean 3/4, and no resampling of a task has another.
    scored = [
        macro_average(
            {
                task: evaluate(ranked(task, [rank] * count), Qrels({q: QRELS[q] for q in QUERY_IDS[:count]}), ["mrr"])
                for task, rank, count in (("small", small, 2), ("large", large, 8))
            },
            name=name,
        )
        for name, small, large in (("ours", 1, 2), ("theirs", 2, 2))
    ]
    comparison = compare_scores(scored, qrels="small, large")
    assert comparison.intervals["ours"]["MRR"] == pytest.approx((0.75, 0.75))
    [difference] = comparison.differences
    assert (difference.low, difference.high) == pytest.approx((-0.25, -0.25))


def test_what_is_detectable_is_that_of_the_median_pair_at_the_correction_s_strictest_step():
    runs, measures = [FIRST, MIXED, RANDOM, ranked("late", [10, 1] * 10)], ["mrr", "ndcg@10"]
    comparison = compare(runs, QRELS, measures, baseline="first", power=0.9)
    values = {scores.name: np.array(list(scores.values["MRR"].values())) for scores in comparison.runs}
    errors = sorted(float(np.std(values[name] - values["first"], ddof=1)) / 20**0.5 for name in list(values)[1:])
    assert errors[0] < errors[1] < errors[2]
    # Three pairs by two measures.
    expected = [detectable(errors[1], 19, alpha=alpha, power=0.9) for alpha in (0.05, 0.05 / 6)]
    assert list(comparison.detectable["MRR"]) == pytest.approx(expected)


def test_a_system_of_several_seeds_is_compared_as_one():
    seeds = average([evaluate(run, QRELS, ["mrr"]) for run in (MIXED, RANDOM)], name="seeds")
    [difference] = compare_scores([evaluate(FIRST, QRELS, ["mrr"]), seeds], qrels="pets").differences
    assert difference.difference == pytest.approx(seeds.means["MRR"] - 1)


def test_scores_of_other_queries_or_measures_are_not_compared():
    few = Qrels({query_id: QRELS[query_id] for query_id in QUERY_IDS[:5]})
    with pytest.raises(Mismatch, match="mixed is scored on 5 queries, first on 20"):
        compare_scores([evaluate(FIRST, QRELS, ["mrr"]), evaluate(MIXED, few, ["mrr"])], qrels="pets")
    with pytest.raises(Mismatch, match="mixed is scored by MAP, first by MRR"):
        compare_scores([evaluate(FIRST, QRELS, ["mrr"]), evaluate(MIXED, QRELS, ["map"])], qrels="pets")


def test_a_task_without_a_query_that_all_runs_have_is_refused():
    early, late = ranked("early", [1] * 3, QUERY_IDS[:3]), ranked("late", [2] * 2, QUERY_IDS[3:5])
    few = Qrels({query_id: QRELS[query_id] for query_id in QUERY_IDS[:5]})
    systems = [
        macro_average(
            {"a": evaluate(FIRST, QRELS, missing="skip"), "b": evaluate(run, few, missing="skip")}, name=run.name
        )
        for run in (early, late)
    ]
    with pytest.raises(Mismatch, match="task b: no query is in all runs"):
        compare_scores(systems, qrels="a, b")


def test_systems_of_which_none_is_better_are_rarely_called_different():
    # Twenty tables of five systems that differ by chance only; speed/family_wise_error.py counts over more and larger
    # ones. A table has 40 comparisons, of which two would be called significant without a correction.
    false = raw = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        runs = [ranked(f"run{i}", random.integers(1, 11, 20).tolist()) for i in range(5)]
        comparison = compare(runs, QRELS, samples=1)
        false += any(d.significant for d in comparison.differences)
        raw += any(d.p < 0.05 for d in comparison.differences)
    assert false <= 3 and raw >= 8
