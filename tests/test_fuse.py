import itertools
import logging
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limrank.errors import LimrankError, Mismatch, Unknown
from limrank.fuse import fuse, missing
from limrank.run import Run

DOC_IDS = ["d1", "d2", "d10", "é", "日本", "a b", "Z"]
rankings = st.dictionaries(
    st.sampled_from(DOC_IDS), st.sampled_from([0.0, 1e-40, 0.2, 0.5, 0.5 + 1e-12, 1.0]), min_size=1
)
several = st.lists(rankings, min_size=2, max_size=4)
methods = st.sampled_from(
    [{"method": "rrf"}, *({"method": "wsum", "norm": norm} for norm in ("minmax", "z", "rank", "logit", "none"))]
)


def runs_of(lists):
    return [Run.from_scores({"q": scores}, name=f"run{i}") for i, scores in enumerate(lists)]


@given(several, methods)
def test_the_documents_of_all_runs_are_there_once_with_finite_scores(lists, how):
    fused = fuse(runs_of(lists), **how)
    assert sorted(fused.doc_ids("q")) == sorted({doc_id for scores in lists for doc_id in scores})
    assert np.isfinite(fused.scores("q")).all()


@given(rankings, methods)
def test_a_run_fused_with_itself_keeps_its_order(scores, how):
    [run] = runs_of([scores])
    assert fuse([run, run.renamed("again")], **how).doc_ids("q") == run.doc_ids("q")


@given(several, methods)
def test_a_run_of_weight_0_adds_documents_behind_and_changes_no_order(lists, how):
    first, *others = runs_of(lists)
    order = fuse([first, *others], weights=[1] + [0] * len(others), **how).doc_ids("q")
    assert order[: len(first.doc_ids("q"))] == first.doc_ids("q")


@given(several, methods, st.sampled_from([0.25, 2.0, 1024.0]))
def test_weights_count_by_their_ratio(lists, how, factor):
    weights = [1.0, 2.0, 0.5, 4.0][: len(lists)]
    once = fuse(runs_of(lists), weights=weights, **how)
    again = fuse(runs_of(lists), weights=[factor * weight for weight in weights], **how)
    assert once.doc_ids("q") == again.doc_ids("q")


@given(several, methods)
def test_the_order_of_the_runs_changes_ties_only(lists, how):
    runs = runs_of(lists)
    there, back = fuse(runs, **how), fuse(runs[::-1], **how)
    scores = dict(zip(back.doc_ids("q"), back.scores("q")))
    ours = [scores[doc_id] for doc_id in there.doc_ids("q")]
    # A tie that Run has opened lies within a few steps of float32.
    assert all(a >= b or math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-5) for a, b in itertools.pairwise(ours))


def test_rrf_worked_out_by_hand():
    # b: 1/62 + 1/61, a: 1/61 + 1/63, c: 1/62, d: 1/63.
    fused = fuse([Run({"q": [("a", 9), ("b", 8), ("d", 7)]}), Run({"q": [("b", 0.3), ("c", 0.2), ("a", 0.1)]})])
    assert fused.doc_ids("q") == ["b", "a", "c", "d"]
    assert fused.scores("q") == pytest.approx([1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 62, 1 / 63])


def test_weights_and_k_of_rrf():
    fused = fuse([Run({"q": [("a", 2), ("b", 1)]}), Run({"q": [("b", 1)]})], weights=[1, 3], rrf_k=0)
    # a: 1/1; b: 1/2 + 3/1.
    assert [tuple(scored) for scored in fused["q"]] == [("b", 3.5), ("a", 1.0)]


def test_minmax_worked_out_by_hand():
    # a 1, b .5, c 0; and d 1, c .25, a 0. With weights 1 and 2: d 0 + 2, a 1 + 0, c 0 + .5, b .5 + 0. The last two tie,
    # and b is higher in the first run.
    first, second = Run({"q": [("a", 9), ("b", 7), ("c", 5)]}), Run({"q": [("d", 8), ("c", 2), ("a", 0)]})
    fused = fuse([first, second], method="wsum", weights=[1, 2])
    assert fused.doc_ids("q") == ["d", "a", "b", "c"]
    assert fused.scores("q") == pytest.approx([2, 1, 0.5, 0.5])


def test_z_worked_out_by_hand():
    # 9, 7, 5 have mean 7 and deviation sqrt(8/3): z of 1.2247, 0, -1.2247; d, which is not there, gets the lowest.
    first, second = Run({"q": [("a", 9), ("b", 7), ("c", 5)]}), Run({"q": [("d", 3), ("b", 1)]})
    fused = fuse([first, second], method="wsum", norm="z")
    # Of the second run: d 1, b -1, and -1 for a and c.
    z = 2 / math.sqrt(8 / 3)
    assert fused.doc_ids("q") == ["a", "d", "b", "c"]
    assert fused.scores("q") == pytest.approx([z - 1, 1 - z, -1, -z - 1])


def test_rank_and_none_worked_out_by_hand():
    first, second = Run({"q": [("a", 9), ("b", 8), ("c", -5)]}), Run({"q": [("c", 3), ("d", 1)]})
    # Ranks: a 1, b .5, c 0; c 1, d 0. c and a tie, a is higher in the first run.
    fused = fuse([first, second], method="wsum", norm="rank")
    assert (fused.doc_ids("q"), list(fused.scores("q"))) == (["a", "c", "b", "d"], pytest.approx([1, 1, 0.5, 0]))
    # As they are, and each run's lowest for what it lacks: a 9 + 1, b 8 + 1, c -5 + 3, d -5 + 1.
    fused = fuse([first, second], method="wsum", norm="none")
    assert [tuple(scored) for scored in fused["q"]] == [("a", 10), ("b", 9), ("c", -2), ("d", -4)]


def test_logit_keeps_apart_what_is_close_to_1():
    # Odds of 999, 99 and 1/99 are logits of 6.9, 4.6 and -4.6: the second is nearer to the first than to the third.
    # As probabilities, .999 and .99 are nearly one.
    probabilities = [0.999, 0.99, 0.01]
    run = Run({"q": [("a", 0.999), ("b", 0.99), ("c", 0.01)]})
    logits = np.array([math.log(p / (1 - p)) for p in probabilities])
    z = (logits - logits.mean()) / logits.std()
    fused = fuse([run, run.renamed("again")], method="wsum", norm="logit", weights=[0.5, 0.5])
    assert fused.scores("q") == pytest.approx(z, rel=1e-3)


def test_every_run_can_have_its_own_normalisation():
    reranker, bm25 = Run({"q": [("a", 0.9), ("b", 0.1)]}), Run({"q": [("b", 30.0), ("a", 10.0)]})
    fused = fuse([reranker, bm25], method="wsum", norm=("logit", "z"), weights=[1, 0.2])
    assert [tuple(scored) for scored in fused["q"]] == [("a", pytest.approx(0.8)), ("b", pytest.approx(-0.8))]


def test_tied_probabilities_of_0_and_1_are_probabilities():
    # Run opens ties downwards: the second of two zeros is a little below 0.
    run = Run({"q": [("a", 1.0), ("b", 1.0), ("c", 0.0), ("d", 0.0)]})
    assert run.scores("q")[-1] < 0
    fused = fuse([run, run.renamed("again")], method="wsum", norm="logit")
    assert fused.doc_ids("q") == ["a", "b", "c", "d"]


@pytest.mark.parametrize("norm", ["minmax", "z", "logit"])
def test_a_list_without_spread_decides_nothing_among_its_documents(norm):
    # Run opens the ties of the second run, by a few steps of float32; scaled up, they would put a far before c.
    first, flat = Run({"q": [("c", 0.3), ("b", 0.29), ("a", 0)]}), Run({"q": [("a", 0.7), ("b", 0.7), ("c", 0.7)]})
    assert fuse([first, flat], method="wsum", norm=norm, weights=[1, 9]).doc_ids("q") == ["c", "b", "a"]


def test_the_only_document_of_a_list_gets_the_middle_of_the_scale_and_the_others_the_bottom():
    runs = [Run({"q": [("a", 3), ("b", 2)]}), Run({"q": [("c", 5)]})]
    # a 1 + 0, c 0 + .5, b 0 + 0.
    fused = fuse(runs, method="wsum", norm="minmax")
    assert [tuple(scored) for scored in fused["q"]] == [("a", 1.0), ("c", 0.5), ("b", 0.0)]
    # a 1 + 0, b -1 + 0, c -1 + 0: z says nothing of a single document, and b is in the first run.
    assert fuse(runs, method="wsum", norm="z").doc_ids("q") == ["a", "b", "c"]


def test_ties_go_to_the_first_run_then_to_the_second_and_never_by_id():
    # Each document is first once and second once, so all sums are equal.
    runs = [Run({"q": [("a", 2), ("z", 1)]}), Run({"q": [("z", 2), ("a", 1)]})]
    assert fuse(runs).doc_ids("q") == ["a", "z"]
    assert fuse(runs[::-1]).doc_ids("q") == ["z", "a"]
    # Neither is in the first run.
    runs = [Run({"q": [("m", 1)]}), Run({"q": [("z", 2)]}), Run({"q": [("a", 1)]})]
    assert fuse(runs).doc_ids("q") == ["m", "z", "a"]


def test_sums_of_the_same_shares_are_equal_whichever_runs_they_are_from():
    # 1/61 + 1/62 + 1/63 depends in its last digit on the order of the summands.
    orders = ["abc", "cab", "bca"]
    runs = [Run({"q": [(doc_id, -rank) for rank, doc_id in enumerate(order)]}) for order in orders]
    for k in range(0, 200, 7):
        assert fuse(runs, rrf_k=k).doc_ids("q") == ["a", "b", "c"]


def test_a_query_that_one_run_lacks_is_fused_from_the_others_and_told(caplog):
    runs = [Run({"q1": [("a", 2)], "q2": [("b", 1), ("a", 0)]}), Run({"q1": [("a", 1)], "q2": []}, name="short")]
    with caplog.at_level(logging.WARNING):
        fused = fuse(runs)
    assert fused.doc_ids("q2") == ["b", "a"]
    assert caplog.messages == ["short has no results for 1 of 2 queries, e.g. 'q2'; they are fused from the other runs"]
    assert missing(runs) == [[], ["q2"]]


def test_depth_keeps_the_best_documents_and_the_name_can_be_chosen():
    runs = [Run({"q": [("a", 2), ("b", 1)]}, name="bm25"), Run({"q": [("c", 2), ("b", 1)]}, name="dense")]
    assert fuse(runs, depth=2).doc_ids("q") == fuse(runs).doc_ids("q")[:2]
    assert (fuse(runs).name, fuse(runs, name="both").name) == ("bm25+dense.rrf", "both")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "rff"}, Unknown, "did you mean rrf"),
        ({"method": "wsum", "norm": "minmx"}, Unknown, "did you mean minmax"),
        ({"norm": ["z"]}, LimrankError, "1 normalisations for 2 runs"),
        ({"weights": [1]}, LimrankError, "1 weights for 2 runs"),
        ({"weights": [1, -1]}, LimrankError, "weight -1"),
        ({"weights": [1, math.nan]}, LimrankError, "weight nan"),
        ({"weights": [0, 0]}, LimrankError, "all weights are 0"),
        ({"rrf_k": -1}, LimrankError, "rrf_k is -1"),
        ({"rrf_k": math.nan}, LimrankError, "rrf_k is nan"),
        ({"depth": 0}, LimrankError, "depth is 0"),
        ({"method": "wsum", "norm": "logit"}, LimrankError, "bm25: query 'q' has score 2; logit takes probabilities"),
    ],
)
def test_a_fusion_that_cannot_be_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        fuse([Run({"q": [("a", 2), ("b", 1)]}, name="bm25"), Run({"q": [("b", 0.5)]})], **options)


def test_runs_of_other_queries_and_a_single_run_are_refused():
    with pytest.raises(Mismatch, match="no query is in two of the runs, e.g. '1' of bm25 and 'q1' of dense"):
        fuse([Run({"1": [("a", 2)]}, name="bm25"), Run({"q1": [("a", 2)]}, name="dense")])
    with pytest.raises(LimrankError, match="two runs or more, 1 given"):
        fuse([Run({"q": [("a", 1)]})])


@pytest.mark.slow
def test_rrf_is_that_of_ranx():
    import ranx

    random = np.random.default_rng(0)
    # Ids of one length: ranx compiles for every other. Scores without ties: ranx breaks them by insertion.
    found = [
        {
            f"q{q}": dict(zip((f"{d:016x}" for d in random.permutation(30)[:20]), random.random(20).tolist()))
            for q in range(5)
        }
        for _ in range(3)
    ]
    ours = fuse([Run.from_scores(scores) for scores in found])
    theirs = ranx.fuse([ranx.Run.from_dict(scores) for scores in found], method="rrf", params={"k": 60}).to_dict()
    for query_id in ours:
        assert dict(ours[query_id]) == pytest.approx(theirs[query_id], abs=1e-6)
