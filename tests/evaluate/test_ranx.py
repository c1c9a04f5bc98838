"""limrank's nouns as ranx's objects and back. ranx compiles, so the few tests share what it compiled."""

import pytest
import ranx

from limrank.errors import BadRecord
from limrank.evaluate import evaluate, from_ranx, to_ranx
from limrank.qrels import Qrels
from limrank.run import Run

pytestmark = pytest.mark.slow

# Ids as long as those of test_scores.py, because ranx compiles for every other length; ties as float64 and as float32.
D1, D2, D3 = (f"document{i:08d}" for i in (1, 2, 3))
RUN = Run.from_scores({"q1": {D1: 1.0, D2: 1.0, D3: 0.5}, "q2": {D3: 2.0, D1: 1.0}}, name="ties")
QRELS = Qrels({"q1": {D1: 2, D3: 0}, "q2": {D1: 1, D2: -1}}, name="judged")


def test_a_run_and_judgments_go_to_ranx_and_come_back_the_same():
    run, qrels = from_ranx(to_ranx(RUN)), from_ranx(to_ranx(QRELS), name="judged")
    assert dict(run) == dict(RUN) and run.name == "ties"
    assert dict(qrels) == dict(QRELS) and qrels.name == "judged"


def test_ranx_computes_trec_eval_s_values_from_what_it_is_given():
    # Of the tie, the second document is first, as trec_eval has it: the first one is at rank 2 of both queries.
    theirs = ranx.evaluate(to_ranx(QRELS), to_ranx(RUN), ["ndcg@10", "mrr"])
    assert list(theirs.values()) == pytest.approx(list(evaluate(RUN, QRELS, ["ndcg@10", "mrr"]).means.values()))
    assert theirs["mrr"] == 0.5


def test_a_run_of_ranx_gets_trec_eval_s_order_of_ties_and_a_name():
    made = ranx.Run.from_dict({"q1": {D1: 1.0, D2: 1.0, D3: 1.0 + 1e-12}})
    assert from_ranx(made).doc_ids("q1") == [D3, D2, D1]
    assert (from_ranx(made).name, from_ranx(made, name="mine").name) == ("run", "mine")


def test_what_ranx_cannot_hold_and_what_is_not_ranx_s_is_refused():
    with pytest.raises(BadRecord, match="run none has no documents"):
        to_ranx(Run({"q1": []}, name="none"))
    with pytest.raises(BadRecord, match="qrels judged have no judgments"):
        to_ranx(Qrels({"q1": {}}, name="judged"))
    with pytest.raises(BadRecord, match=r"a ranx.Run or ranx.Qrels was expected, not dict"):
        from_ranx({"q1": {"d1": 1.0}})
