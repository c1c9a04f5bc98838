import gzip
import json
import math
import subprocess
import sys
from pathlib import Path

import ir_measures
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank.errors import LimrankError, Mismatch, Unknown
from limrank.evaluate.measures import parse
from limrank.evaluate.scores import evaluate
from limrank.qrels import Qrels
from limrank.run import Run

BRIGHT = Path(__file__).parents[2].parent / "shared" / "data" / "bright"

ALL = ["nDCG", "nDCG@3", "MAP", "MAP@3", "MRR", "R@3", "P@3", "Success@2", "Rprec", "Bpref", "SetR", "SetP"]

# Few ids and few scores, so that there are many ties; two of the scores are one number in float32 only.
DOC_IDS = ["d1", "d2", "d10", "é", "日本", "𝔸", "a b", "Z", "~"]
QUERY_IDS = ["q1", "q2", "10", "L'Hôpital"]
SCORES = [0.0, -1.0, 1.0, 1.0 + 1e-9, 2.5, 1e-40, 1e30]
judgments = st.dictionaries(
    st.sampled_from(QUERY_IDS),
    st.dictionaries(st.sampled_from(DOC_IDS), st.sampled_from([-100, -1, 0, 1, 2, 3]), min_size=1),
    min_size=1,
)
results = st.dictionaries(
    st.sampled_from(QUERY_IDS), st.dictionaries(st.sampled_from(DOC_IDS), st.sampled_from(SCORES), min_size=1)
)


def not_negative(judged):
    return {query_id: {d: grade for d, grade in docs.items() if grade >= 0} for query_id, docs in judged.items()}


def in_common(judged, found):
    return any(query_id in found for query_id in judged)


@given(judgments, results)
def test_every_value_is_trec_evals_on_the_raw_scores(judged, found):
    # pytrec_eval gets the scores with all their ties, and orders them itself, as trec_eval does. It does not get
    # grades below 0: it writes outside of its memory then. To trec_eval they are not judged.
    if not in_common(judged, found):
        return
    scores = evaluate(Run.from_scores(found), Qrels(judged), ALL)
    graded = not_negative(judged)
    expected = pytrec_eval.RelevanceEvaluator(graded, {parse(name).trec_eval for name in ALL}).evaluate(found)
    for name in ALL:
        assert scores.values[name] == {
            query_id: expected[query_id][parse(name).trec_eval] if query_id in expected else 0.0 for query_id in judged
        }


@given(judgments, results)
@settings(max_examples=30, deadline=None)
def test_every_mean_is_that_of_ir_measures(judged, found):
    if not in_common(judged, found):
        return
    # With a depth ir_measures computes RR elsewhere, in file order; MRR@2 has a test of its own.
    names = ["nDCG@3", "AP", "AP(rel=2)", "AP(rel=2)@3", "R@3", "P(rel=2)@3", "RR", "RR(rel=3)", "Rprec", "Success@2"]
    scores = evaluate(Run.from_scores(found), Qrels(judged), names)
    expected = ir_measures.calc_aggregate(
        [ir_measures.parse_measure(name) for name in names], not_negative(judged), found
    )
    for name, mean in expected.items():
        assert scores.means[str(parse(str(name)))] == pytest.approx(mean, abs=1e-12)


@given(judgments, results, st.integers(1, 5))
def test_MRR_at_k_is_MRR_of_the_run_cut_at_k(judged, found, k):
    if not in_common(judged, found):
        return
    run = Run.from_scores(found)
    at_k, cut = evaluate(run, Qrels(judged), [f"MRR@{k}"]), evaluate(run.top(k), Qrels(judged), ["MRR"])
    assert at_k.values[f"MRR@{k}"] == cut.values["MRR"]


@given(judgments, results)
def test_every_judged_query_is_counted_once_and_every_other_reported(judged, found):
    if not in_common(judged, found):
        return
    scores = evaluate(Run.from_scores(found), Qrels(judged), ["MAP"])
    assert list(scores.values["MAP"]) == list(judged)
    assert scores.means["MAP"] == pytest.approx(sum(scores.values["MAP"].values()) / len(judged), abs=1e-15)
    assert set(scores.missing) == judged.keys() - found.keys()
    assert set(scores.extra) == found.keys() - judged.keys()


def test_the_first_rank_where_MRR_at_k_is_0_is_k_plus_1():
    # 1/49 * 49 is below 1 in floating point: the rank has to be rounded.
    run = Run({"q": [(f"d{rank}", -rank) for rank in range(1, 101)]})
    for rank in range(1, 101):
        scores = evaluate(run, Qrels({"q": {f"d{rank}": 1}}), [f"MRR@{rank}", f"MRR@{rank - 1 or 1000}"])
        assert scores.means[f"MRR@{rank}"] == 1 / rank
        assert scores.means[f"MRR@{rank - 1 or 1000}"] == (0 if rank > 1 else 1)


def test_a_query_that_the_run_lacks_counts_0_and_is_named():
    scores = evaluate(Run({"q1": [("d", 1)]}, name="bm25"), Qrels({"q1": {"d": 1}, "q2": {"d": 1}}), ["MRR"])
    assert (scores.means, scores.missing) == ({"MRR": 0.5}, ("q2",))
    assert scores.warnings() == ["bm25 has no results for 1 of 2 judged queries, e.g. 'q2'; they count 0"]


def test_skip_leaves_missing_queries_out_of_the_mean_and_says_so():
    run = Run({"q1": [("d", 1)]}, name="bm25")
    scores = evaluate(run, Qrels({"q1": {"d": 1}, "q2": {"d": 1}}), ["MRR"], missing="skip")
    assert (scores.means, scores.missing, scores.query_ids) == ({"MRR": 1.0}, ("q2",), ("q1",))
    assert "left out of the means" in scores.warnings()[0]


def test_error_refuses_a_run_that_lacks_a_query():
    with pytest.raises(Mismatch, match="no results for 1 of 2 judged queries, e.g. 'q2'"):
        evaluate(Run({"q1": [("d", 1)]}), Qrels({"q1": {"d": 1}, "q2": {"d": 1}}), missing="error")


def test_a_query_without_documents_is_missing_as_it_would_be_after_writing_and_reading(tmp_path):
    run, qrels = Run({"q1": [("d", 1)], "q2": []}), Qrels({"q1": {"d": 1}, "q2": {"d": 1}})
    run.write(tmp_path / "run.trec")
    for missing in ("zero", "skip"):
        before, after = (
            evaluate(run, qrels, missing=missing),
            evaluate(Run.read(tmp_path / "run.trec"), qrels, missing=missing),
        )
        assert (before.means, before.missing) == (after.means, after.missing)
        assert before.missing == ("q2",)


def test_a_query_with_nothing_relevant_counts_0():
    scores = evaluate(
        Run({"q1": [("d", 1)], "q2": [("d", 1)]}), Qrels({"q1": {"d": 1}, "q2": {"d": 0}}), ["MAP", "nDCG"]
    )
    assert scores.means == {"MAP": 0.5, "nDCG": 0.5}


def test_a_query_without_judgments_does_not_count_and_is_named():
    scores = evaluate(Run({"q1": [("d", 1)], "q3": [("d", 1)]}, name="bm25"), Qrels({"q1": {"d": 1}}), ["MAP"])
    assert (scores.means, scores.extra) == ({"MAP": 1.0}, ("q3",))
    assert scores.warnings() == ["bm25 has 1 query without judgments, e.g. 'q3'; it does not count"]


def test_a_run_without_any_judged_document_is_doubted():
    qrels = Qrels({"q1": {"d1": 1}, "q2": {"d2": 0}})
    scores = evaluate(Run({"q1": [("x", 1)], "q2": [("d1", 1)]}, name="bm25"), qrels, ["MRR"])
    assert scores.means == {"MRR": 0}
    assert scores.warnings() == [
        "none of bm25's documents is judged for any query, e.g. 'x' is found and 'd1' judged for 'q1': is it of the "
        "same collection?"
    ]
    # One document that is judged, relevant or not, is enough.
    assert evaluate(Run({"q1": [("x", 1)], "q2": [("d2", 1)]}), qrels, ["MRR"]).warnings() == []


def test_run_and_qrels_of_other_queries_are_refused_with_an_example_of_both():
    with pytest.raises(Mismatch, match="no query in common: the run has 1, e.g. '101', the qrels have 1, e.g. 'q101'"):
        evaluate(Run({"101": [("d", 1)]}), Qrels({"q101": {"d": 1}}))


def test_an_empty_run_is_refused():
    with pytest.raises(Mismatch, match="no query in common"):
        evaluate(Run({}), Qrels({"q": {"d": 1}}))


@pytest.mark.parametrize(("name", "error"), [("ndgc@10", Unknown), ("P", LimrankError)])
def test_a_measure_that_is_none_is_refused(name, error):
    with pytest.raises(error):
        evaluate(Run({"q": [("d", 1)]}), Qrels({"q": {"d": 1}}), [name])


def test_scores_as_json_hold_every_value_and_no_NaN():
    scores = evaluate(
        Run({"q1": [("d", 1)], "x": [("d", 1)]}, name="bm25"), Qrels({"q1": {"d": 1}, "q2": {"d": 1}}), ["map"]
    )
    assert json.loads(json.dumps(scores.to_json(), allow_nan=False)) == {
        "name": "bm25",
        "means": {"MAP": 0.5},
        "queries": 2,
        "judged": 2,
        "missing": ["q2"],
        "missing_counted_as_zero": True,
        "extra": ["x"],
        "values": {"MAP": {"q1": 1.0, "q2": 0.0}},
    }
    assert "values" not in scores.to_json(per_query=False)
    assert list(scores.rows()) == [("q1", [1.0]), ("q2", [0.0])]


# Relevant are d1 (grade 2), d3 and d4; found are d2, d3, d1 in this order, so the relevant ones at ranks 2 and 3.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # The best order has the gains 2, 1, 1.
        ("nDCG", (1 / math.log2(3) + 2 / math.log2(4)) / (2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4))),
        ("nDCG@2", (1 / math.log2(3)) / (2 / math.log2(2) + 1 / math.log2(3))),
        ("MAP", (1 / 2 + 2 / 3) / 3),
        ("MAP@2", (1 / 2) / 3),
        # Only d1 has grade 2, at rank 3.
        ("MAP(rel=2)", 1 / 3),
        ("MRR", 1 / 2),
        ("MRR@1", 0),
        ("MRR@2", 1 / 2),
        ("MRR(rel=2)", 1 / 3),
        ("R@2", 1 / 3),
        ("R@100", 2 / 3),
        # 2 of 10, although there are 3 documents only.
        ("P@10", 2 / 10),
        ("Rprec", 2 / 3),
        ("Success@1", 0),
        ("Success@2", 1),
        # The only judged non-relevant document is above both.
        ("Bpref", 0),
        ("SetP", 2 / 3),
        ("SetR", 2 / 3),
        ("SetF", 2 / 3),
        ("SetAP", 4 / 9),
    ],
)
def test_values_worked_out_by_hand(name, expected):
    run = Run({"q": [("d2", 3), ("d3", 2), ("d1", 1)]})
    qrels = Qrels({"q": {"d1": 2, "d2": 0, "d3": 1, "d4": 1}})
    assert evaluate(run, qrels, [name]).means[name] == pytest.approx(expected, abs=1e-12)


def test_a_grade_below_0_is_not_judged_as_trec_eval_has_it():
    # One relevant, one judged non-relevant document: Bpref is 1 with d1 above d3, and d2 does not matter to it. To the
    # other measures d2 is one more document that is not relevant.
    run = Run({"q": [("d2", 3), ("d1", 2), ("d3", 1)], "only": [("d2", 1)]})
    scores = evaluate(
        run, Qrels({"q": {"d1": 1, "d2": -100, "d3": 0}, "only": {"d2": -1}}), ["bpref", "map", "ndcg@10"]
    )
    assert scores.values["Bpref"] == {"q": 1.0, "only": 0.0}
    assert scores.values["MAP"] == {"q": 0.5, "only": 0.0}
    assert scores.values["nDCG@10"] == {"q": pytest.approx(1 / math.log2(3)), "only": 0.0}


def test_measures_of_several_relevance_levels_can_be_asked_for_at_once():
    run, qrels = Run({"q": [("d2", 3), ("d1", 1)]}), Qrels({"q": {"d1": 2, "d2": 1}})
    assert evaluate(run, qrels, ["map-l2", "mrr", "RR(rel=2)"]).means == {
        "MAP(rel=2)": 0.5,
        "MRR": 1.0,
        "MRR(rel=2)": 0.5,
    }


def test_evaluating_loads_neither_ranx_nor_pandas_nor_torch():
    program = (
        "import sys; from limrank.evaluate import evaluate; from limrank.qrels import Qrels\n"
        "from limrank.run import Run\n"
        "evaluate(Run({'q': [('d', 1)]}), Qrels({'q': {'d': 1}}))\n"
        "print([name for name in ('numba', 'pandas', 'ranx', 'rich', 'scipy', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_ranx_computes_the_same_on_the_order_that_Run_fixed():
    import ranx

    names = ["nDCG@3", "MAP", "MRR@2", "R@3"]
    found = {
        "q1": {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.5},
        "q2": {"é": 2.0, "日本": 2.0, "a": 1.0 + 1e-9, "b": 1.0},
        "q3": {"z": 0.1},
    }
    judged = {"q1": {"c": 2, "d": 1, "x": 1}, "q2": {"é": 1, "a": 3, "b": -1}, "q3": {"y": 1}}
    run = Run.from_scores(found)
    # ranx compiles for every new length of ids; these all have one.
    doc_ids = sorted({doc_id for docs in (*found.values(), *judged.values()) for doc_id in docs})
    keys = {doc_id: f"{i:016x}" for i, doc_id in enumerate(doc_ids)}
    theirs = ranx.evaluate(
        ranx.Qrels.from_dict({q: {keys[d]: max(0, r) for d, r in docs.items()} for q, docs in judged.items()}),
        ranx.Run.from_dict({q: {keys[d]: len(run[q]) - i for i, d in enumerate(run.doc_ids(q))} for q in found}),
        [parse(name).ranx for name in names],
    )
    ours = evaluate(run, Qrels(judged), names)
    assert list(ours.means.values()) == pytest.approx([theirs[parse(name).ranx] for name in names], abs=1e-6)


# trec_eval's own output for these files, times 100.
GOLDEN = {
    "biology": (43.4931, 37.4399, 54.8771, 83.8273),
    "earth_science": (42.9977, 37.2686, 57.7076, 73.7917),
    "economics": (32.6543, 27.5844, 37.1144, 62.1367),
    "leetcode": (31.6850, 26.5888, 37.9184, 69.0845),
    "pony": (19.5519, 11.3103, 43.1275, 48.4775),
    "aops": (7.3685, 5.6504, 15.0182, 22.0667),
}


@pytest.mark.skipif(not BRIGHT.is_dir(), reason="needs the shared BRIGHT files")
@pytest.mark.parametrize("task", GOLDEN)
def test_ReasonIR_on_BRIGHT_has_the_values_that_trec_eval_prints(task):
    run = Run.read(BRIGHT / task / "runs" / "reasonir_gpt4cot_top100.trec")
    scores = evaluate(run, Qrels.read(BRIGHT / task / "qrels.trec"), ["ndcg_cut_10", "map", "recip_rank", "recall_100"])
    assert [round(100 * mean, 4) for mean in scores.means.values()] == list(GOLDEN[task])
    assert (scores.missing, scores.extra) == ((), ())


def parsed(path):
    """A run file as pytrec_eval takes it: the raw scores, document ids with their spaces, the rank column ignored."""
    found = {}
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="\n") as file:
        for line in file:
            query_id, _, rest = line.split(" ", 2)
            doc_id, _, score, _ = rest.rsplit(" ", 3)
            found.setdefault(query_id, {})[doc_id] = float(score)
    return found


RUNS = sorted(BRIGHT.glob("*/runs/*")) if BRIGHT.is_dir() else []


@pytest.mark.skipif(not RUNS, reason="needs the shared BRIGHT files")
@pytest.mark.parametrize("path", RUNS, ids=lambda path: f"{path.parts[-3]}-{path.name.split('.')[0]}")
def test_every_released_BRIGHT_run_has_trec_eval_s_values_to_the_last_digit(path):
    judged = {}
    for line in (path.parents[1] / "qrels.trec").read_text(encoding="utf-8").splitlines():
        query_id, _, doc_id, relevance = line.split()
        judged.setdefault(query_id, {})[doc_id] = int(relevance)
    names = ["ndcg_cut_10", "map", "recip_rank", "recall_100", "ndcg_cut_5", "P_5", "success_1", "Rprec"]
    expected = pytrec_eval.RelevanceEvaluator(judged, set(names)).evaluate(parsed(path))
    scores = evaluate(Run.read(path), Qrels.read(path.parents[1] / "qrels.trec"), names)
    for name in names:
        assert scores.values[str(parse(name))] == {q: expected[q][name] if q in expected else 0.0 for q in judged}
