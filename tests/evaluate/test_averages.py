import pytest

from limrank.errors import LimrankError, Mismatch
from limrank.evaluate import average, evaluate, macro_average
from limrank.qrels import Qrels
from limrank.run import Run

QRELS = Qrels({"q1": {"yes": 1}, "q2": {"yes": 1}}, name="pets")
MORE = Qrels({f"q{i}": {"yes": 1} for i in range(1, 5)}, name="more")


def placed(ranks, name="run"):
    """A run with the relevant document at these 1-based ranks; None: no result for that query."""
    return Run(
        {
            f"q{i}": [("yes" if place == rank else f"no{place}", -place) for place in range(1, 11)]
            for i, rank in enumerate(ranks, 1)
            if rank
        },
        name=name,
    )


def scored(ranks, qrels=QRELS, name="run", **options):
    return evaluate(placed(ranks, name), qrels, ["mrr", "P@1"], **options)


def test_the_average_of_one_run_has_its_values():
    one = scored([1, 4])
    assert average([one], name="system").values == one.values
    assert macro_average({"pets": one}).means == one.means


def test_the_order_of_seeds_does_not_matter():
    a, b = scored([1, 4], name="a"), scored([2, 1], name="b")
    assert average([a, b], name="x").values == average([b, a], name="x").values


def test_seeds_are_averaged_query_by_query():
    found = average([scored([1, 4], name="seed1"), scored([2, 1], name="seed2")], name="system")
    # q1: (1 + 1/2) / 2; q2: (1/4 + 1) / 2.
    assert found.values["MRR"] == {"q1": 0.75, "q2": 0.625}
    assert found.means == {"MRR": 0.6875, "P@1": 0.5}
    assert (found.name, found.averaged) == ("system", ("seed1", "seed2"))
    assert found.to_json()["averaged"] == ["seed1", "seed2"]


def test_a_query_that_one_seed_lacks_counts_0_for_that_seed_and_is_told():
    found = average([scored([1, 1], name="seed1"), scored([1, None], name="seed2")], name="system")
    assert found.values["MRR"] == {"q1": 1.0, "q2": 0.5}
    [sentence] = found.warnings()
    assert sentence.startswith("not every run of system has results for 1 of 2 judged queries, e.g. 'q2'; they count 0")


def test_skipping_leaves_out_a_query_that_any_seed_lacks():
    seeds = [scored([1, 2], missing="skip"), scored([2, None], missing="skip")]
    found = average(seeds, name="system")
    assert (found.values["MRR"], found.missing) == ({"q1": 0.75}, ("q2",))
    with pytest.raises(Mismatch, match="no query is in all of a, b"):
        average(
            [scored([1, None], name="a", missing="skip"), scored([None, 1], name="b", missing="skip")], name="system"
        )


def test_every_task_counts_the_same_however_many_queries_it_has():
    found = macro_average({"small": scored([1, 1]), "large": scored([2, 2, 2, 2], MORE)})
    # 1 and 1/2, not 4/6.
    assert found.means["MRR"] == 0.75
    assert found.query_ids == ("small/q1", "small/q2", "large/q1", "large/q2", "large/q3", "large/q4")
    assert found.sizes == (2, 4)
    assert found.to_json()["tasks"] == {
        "small": {"queries": 2, "means": {"MRR": 1.0, "P@1": 1.0}},
        "large": {"queries": 4, "means": {"MRR": 0.5, "P@1": 0.0}},
    }


def test_what_a_task_lacks_is_told_with_the_task_s_name():
    found = macro_average({"small": scored([1, None]), "large": scored([2, 2, 2, 2], MORE)}, name="system")
    assert found.warnings() == ["system has no results for 1 of 6 judged queries, e.g. 'small/q2'; they count 0"]


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(LimrankError, match="system: no run to average"):
        average([], name="system")
    with pytest.raises(LimrankError, match="no task to average over"):
        macro_average({})
    with pytest.raises(Mismatch, match="b is scored by MAP, a by MRR, P@1"):
        average([scored([1, 1], name="a"), evaluate(placed([1, 1], "b"), QRELS, ["map"])], name="system")
    with pytest.raises(Mismatch, match="b is scored on 4 queries, a on 2, and not the same ones"):
        average([scored([1, 1], name="a"), scored([1, 1, 1, 1], MORE, "b")], name="system")
    with pytest.raises(Mismatch, match="task large is scored by MAP"):
        macro_average({"small": scored([1, 1]), "large": evaluate(placed([1] * 4), MORE, ["map"])})


def test_scores_are_broken_down_by_groups_of_queries():
    scores = scored([1, 2, 4, None], MORE)
    groups = scores.split({"q1": "easy", "q2": "hard", "q3": "easy", "q4": "hard", "q9": "elsewhere"})
    assert list(groups) == ["easy", "hard"]
    assert groups["easy"].means["MRR"] == (1 + 1 / 4) / 2
    assert (groups["easy"].missing, groups["easy"].judged) == ((), 2)
    assert (groups["hard"].means["MRR"], groups["hard"].missing, groups["hard"].judged) == (0.25, ("q4",), 2)
    with pytest.raises(Mismatch, match="1 of 4 judged queries are in no group, e.g. 'q4'"):
        scores.split({"q1": "a", "q2": "a", "q3": "a"})
