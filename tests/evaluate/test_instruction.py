import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limrank.errors import LimrankError, Mismatch
from limrank.evaluate import compare_scores, evaluate, evaluate_pairs, p_mrr
from limrank.evaluate.instruction import asked, changed_documents, is_paired
from limrank.qrels import Qrels
from limrank.run import Run

DOCS = ["a", "b", "c", "d"]


def ranked(orders, name="run"):
    """A run from strings: the documents of each query in their order."""
    return Run(
        {query_id: [(doc, -rank) for rank, doc in enumerate(docs)] for query_id, docs in orders.items()}, name=name
    )


# Three topics under an original and a narrower instruction, as in FollowIR: a; c and b; a are no longer relevant.
ORIGINAL = ranked({"q1": "abcd", "q2": "abcd", "q3": "abcd"}, "old")
CHANGED = ranked({"q1": "bcda", "q2": "cabd", "q3": "abcd"}, "new")
DOCUMENTS = {"q1": ["a"], "q2": ["c", "b"], "q3": ["a"]}
OG = Qrels({"q1": {"a": 1, "d": 1}, "q2": {"c": 1, "b": 2, "d": 1}, "q3": {"a": 1, "d": 1}}, name="og")
NARROW = Qrels({"q1": {"a": 0, "d": 1}, "q2": {"c": 0, "b": 1, "d": 1}, "q3": {"d": 1}}, name="changed")


def both(old, new):
    return {f"{q}-og": old[q] for q in old} | {f"{q}-changed": new[q] for q in new}


orders = st.permutations(DOCS)


@given(orders, orders, st.lists(st.sampled_from(DOCS), min_size=1, unique=True))
def test_every_value_is_between_minus_1_and_1_and_turning_the_runs_around_turns_its_sign(old, new, documents):
    there, back = ranked({"q": old}), ranked({"q": new})
    value = p_mrr(there, back, {"q": documents})["q"]
    assert -1 < value < 1
    assert value == pytest.approx(-p_mrr(back, there, {"q": documents})["q"])


@given(orders, st.lists(st.sampled_from([*DOCS, "elsewhere"]), min_size=1, unique=True))
def test_rankings_that_do_not_change_have_0(order, documents):
    assert p_mrr(ranked({"q": order}), ranked({"q": order}), {"q": documents}) == {"q": 0}


def test_one_file_with_both_instructions_or_two_files_give_the_same():
    separate = evaluate_pairs([ORIGINAL, CHANGED], [OG, NARROW], ["p-mrr", "map"])
    run, qrels = Run(both(ORIGINAL, CHANGED), name="old"), Qrels(both(OG, NARROW))
    assert evaluate_pairs(run, qrels, ["p-mrr", "map"]) == separate
    assert evaluate_pairs(run, [OG, NARROW], ["p-mrr", "map"]) == separate
    marked = [
        Run({f"{q}-{side}": half[q] for q in half}, name="old")
        for side, half in (("og", ORIGINAL), ("changed", CHANGED))
    ]
    assert evaluate_pairs(marked, qrels, ["p-mrr", "map"]) == separate


def test_other_measures_are_of_the_original_instruction_and_its_judgments():
    scores = evaluate_pairs([ORIGINAL, CHANGED], [OG, NARROW], ["map@1000", "p-mrr", "ndcg_cut_5"])
    assert list(scores.means) == ["p-MRR", "MAP@1000 (og)", "nDCG@5 (og)"]
    assert scores.values["MAP@1000 (og)"] == evaluate(ORIGINAL, OG, ["map@1000"]).values["MAP@1000"]
    assert scores.means["nDCG@5 (og)"] == evaluate(ORIGINAL, OG, ["ndcg@5"]).means["nDCG@5"]


def test_the_paper_s_score_is_a_measure_of_the_original_instruction():
    scores = evaluate_pairs([ORIGINAL, CHANGED], [OG, NARROW], ["p-mrr", "score"], score="nDCG@5")
    assert scores.values["Score"] == evaluate(ORIGINAL, OG, ["ndcg@5"]).values["nDCG@5"]
    assert scores.notes == ("Score is nDCG@5 under the original instruction, by the original judgments",)
    with pytest.raises(LimrankError, match="'score' is defined for FollowIR"):
        evaluate_pairs([ORIGINAL, CHANGED], [OG, NARROW], ["score"])


def test_systems_can_be_compared_by_p_MRR():
    follows = evaluate_pairs([ORIGINAL, CHANGED], [OG, NARROW])
    [difference] = compare_scores(
        [evaluate_pairs([ORIGINAL.renamed("stubborn"), ORIGINAL], [OG, NARROW]), follows], qrels="topics"
    ).differences
    assert (difference.run, difference.baseline) == ("old", "stubborn")
    assert difference.difference == pytest.approx(0.194444, abs=1e-6)


def test_p_mrr_worked_out_by_hand():
    # q1: a goes from 1 to 4: 1 - 1/4. q2: c from 3 to 1: 1/3 - 1, b from 2 to 3: 1 - 2/3; mean -1/6. q3: a stays.
    values = p_mrr(ORIGINAL, CHANGED, DOCUMENTS)
    assert values == pytest.approx({"q1": 0.75, "q2": -1 / 6, "q3": 0.0})
    # (.75 - .166667 + 0) / 3, as mteb's own function computes it.
    assert evaluate_pairs([ORIGINAL, CHANGED], [OG, NARROW]).means == pytest.approx({"p-MRR": 0.194444}, abs=5e-7)


def test_a_document_that_is_in_no_ranking_has_the_rank_behind_the_last():
    # From 1 to 3 of 2: 1 - 1/3.
    assert p_mrr(ranked({"q": "ab"}), ranked({"q": "bc"}), {"q": ["a"]}) == pytest.approx({"q": 2 / 3})


def test_what_is_in_neither_ranking_is_told():
    qrels = Qrels({"q": {"a": 1, "z": 1}}), Qrels({"q": {"a": 0, "z": 0}})
    notes = evaluate_pairs([ranked({"q": "ab"}), ranked({"q": "ba"})], qrels).warnings()
    assert notes == ["1 of 2 changed documents are in neither ranking; they count as unmoved"]


def test_rankings_that_are_the_same_for_every_topic_are_told():
    followed = evaluate_pairs([ORIGINAL, CHANGED], [OG, NARROW]).warnings()
    assert not any("identical" in sentence for sentence in followed)  # q3's are the same, the others are not
    scores = evaluate_pairs([ORIGINAL, ORIGINAL.renamed("new")], [OG, NARROW])
    assert scores.means == {"p-MRR": 0}
    assert scores.warnings() == [
        "the two rankings are identical for all 3 topics: this run ignores the instruction; p-MRR is 0 by construction"
    ]


def test_documents_that_change_are_those_judged_otherwise_and_unjudged_is_not_relevant():
    # b goes from 2 to 1; a of q3 is not judged any more.
    assert changed_documents(OG, NARROW) == {"q1": ("a",), "q2": ("c", "b"), "q3": ("a",)}


def test_a_topic_without_a_changed_document_is_left_out_and_told():
    og, narrow = Qrels({"q1": {"a": 1}, "q2": {"a": 1}}), Qrels({"q1": {"a": 0}, "q2": {"a": 1}})
    scores = evaluate_pairs([ORIGINAL, CHANGED], [og, narrow])
    assert scores.query_ids == ("q1",)
    assert scores.warnings()[-1] == (
        "1 of 2 topics has no document whose relevance changes, e.g. 'q2': p-MRR leaves them out"
    )


@pytest.mark.parametrize("measure", ["score", "map"])
def test_no_other_measure_loses_a_topic_because_p_mrr_does(measure):
    # Of q1 the relevant document is first, of q2 second: (1 + 1/log2(3)) / 2, and 1 without q2.
    og, narrow = Qrels({"q1": {"a": 1}, "q2": {"b": 1}}), Qrels({"q1": {"a": 0}, "q2": {"b": 1}})
    assert evaluate_pairs([ORIGINAL, CHANGED], [og, narrow], ["score"], score="nDCG@5").means["Score"] == (
        pytest.approx(0.8155, abs=1e-4)
    )
    with pytest.raises(Mismatch, match=r"e.g. 'q2'; p-MRR leaves them out, \w+ does not: ask for p-mrr by itself"):
        evaluate_pairs([ORIGINAL, CHANGED], [og, narrow], ["p-mrr", measure], score="nDCG@5")


def test_a_grade_below_0_is_no_relevance_and_so_no_change_when_it_becomes_0():
    og, narrow = Qrels({"q1": {"a": 1, "b": -1, "c": -2}}), Qrels({"q1": {"a": 0, "b": 0, "c": -1}})
    assert changed_documents(og, narrow) == {"q1": ("a",)}


@pytest.mark.parametrize("measure", ["map", "score", "p-mrr"])
def test_a_topic_without_results_is_refused_whatever_is_asked(measure):
    short = ranked({"q1": "abcd", "q2": "abcd"}, "short")
    with pytest.raises(Mismatch, match="short has no results for 1 of 3"):
        evaluate_pairs([short, CHANGED], [OG, NARROW], [measure], score="nDCG@5")


def test_a_document_that_became_more_relevant_is_told():
    og, narrow = Qrels({"q1": {"a": 1, "b": 0}}), Qrels({"q1": {"a": 0, "b": 1}})
    assert (
        "1 of 2 documents are more relevant under the changed instruction, e.g. 'b' of topic 'q1'"
        in (evaluate_pairs([ORIGINAL, CHANGED], [og, narrow]).warnings()[-1])
    )


@pytest.mark.parametrize(
    ("runs", "qrels", "message"),
    [
        (
            [ORIGINAL, ranked({"q1": "bcda", "q2": "cabd"}, "short")],
            [OG, NARROW],
            "short has no results for 1 of 3 topics",
        ),
        (
            [ranked({"q1": "abcd"}, "short"), CHANGED],
            [OG, NARROW],
            "short has no results for 2 of 3 topics under the orig",
        ),
        ([ORIGINAL, CHANGED.top(3)], [OG, NARROW], "topic 'q1' has 4 documents in run old .* and 3 under the changed"),
        (
            [ORIGINAL, CHANGED],
            [OG, Qrels({"q1": {"a": 0}})],
            "2 topics are judged for one of the two instructions only",
        ),
        ([ORIGINAL, CHANGED], [NARROW, OG], "original instruction first"),
        ([ORIGINAL, CHANGED], [OG, OG], "no document is less relevant by og than by og"),
        ([ORIGINAL, CHANGED], OG, "query id 'q1' ends neither in -og nor in -changed"),
        (ORIGINAL, [OG, NARROW], "run old: query id 'q1' ends neither"),
        ([ORIGINAL, CHANGED, CHANGED], [OG, NARROW], "3 given"),
        (
            [ranked({"q1-changed": "ab"}, "new"), ORIGINAL],
            [OG, NARROW],
            "run new: query id 'q1-changed' is of the other",
        ),
    ],
)
def test_what_is_no_complete_pair_is_refused(runs, qrels, message):
    with pytest.raises(Mismatch, match=message):
        evaluate_pairs(runs, qrels)


def test_the_names_of_the_measures_and_of_paired_queries_are_known():
    assert all(asked([name]) for name in ("p-mrr", "p_mrr", "pMRR", "p-MRR", "score"))
    assert not asked(["mrr", "map"])
    assert is_paired(["1-og", "1-changed"]) and not is_paired(["1-og"]) and not is_paired(["1-og", "1-changed", "2"])


@pytest.mark.slow
def test_p_mrr_is_mteb_s_on_a_thousand_random_cases():
    metrics = pytest.importorskip("mteb._evaluators.retrieval_metrics")
    chance = random.Random(0)
    for _ in range(1000):
        depth, topics = chance.randint(1, 30), [f"t{i}" for i in range(chance.randint(1, 4))]
        docs = [f"d{i}" for i in range(depth + 5)]

        def scores(depth=depth, docs=docs):
            # Quarters, which float32 holds, and few of them, so that there are ties; mteb breaks them by docid, too.
            return {doc: chance.randint(0, 12) / 4 for doc in chance.sample(docs, depth)}

        results = {f"{topic}-{side}": scores() for topic in topics for side in ("og", "changed")}
        changed = {topic: chance.sample(docs, chance.randint(1, 5)) for topic in topics}
        og = Qrels({topic: dict.fromkeys(changed[topic], 1) for topic in topics})
        narrow = Qrels({topic: dict.fromkeys(changed[topic], 0) for topic in topics})
        expected = metrics.calculate_pmrr(results, results, changed)
        assert evaluate_pairs(Run.from_scores(results), [og, narrow]).means["p-MRR"] == pytest.approx(
            expected, abs=1e-12
        )
