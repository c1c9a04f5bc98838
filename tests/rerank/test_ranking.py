"""limrank/rerank/_ranking.py"""

import math

import pytest

from limrank.records import Document, Query, ScoredDoc
from limrank.rerank._ranking import Job, Verdict, mixed, ranked, sigmoid, z_scores

JOB = Job(
    Query("q", "x"),
    tuple(Document(name, name) for name in "abcd"),
    tuple(ScoredDoc(name, 4.0 - i) for i, name in enumerate("abcd")),
)


def order(*scores: float | None) -> str:
    return "".join(doc.doc_id for doc in ranked(JOB, [Verdict(score) for score in scores]).documents)


def test_documents_are_ordered_by_score_and_ties_keep_first_stage_order() -> None:
    assert order(1, 2, 3, 4) == "dcba"
    assert order(0, 1, 0, 1) == "bdac"
    assert order(-5, -5, -5, -5) == "abcd"
    assert order(0.0, -0.0, -1, 0.0) == "abdc"


def test_a_document_without_a_verdict_keeps_its_first_stage_rank() -> None:
    assert order(None, 1, 2, 3) == "adcb"
    assert order(1, None, 3, 2) == "cbda"
    assert order(1, 2, 3, None) == "cbad"
    assert order(None, None, None, None) == "abcd"


def test_a_missing_verdict_keeps_its_reason_and_gets_no_score() -> None:
    ranking = ranked(JOB, [Verdict(1), Verdict(None, "broken"), Verdict(3), Verdict(2)], shown=lambda score: score * 10)
    assert [(doc.score, doc.error) for doc in ranking.documents] == [(30, ""), (None, "broken"), (20, ""), (10, "")]


def test_scores_that_are_shown_as_equal_are_still_ordered() -> None:
    """Log-odds of 40 and 50 are both the probability 1.0."""
    assert sigmoid(40) == sigmoid(50) == 1.0
    shown = ranked(JOB, [Verdict(40), Verdict(50), Verdict(45), Verdict(0)], shown=sigmoid).documents
    assert [doc.doc_id for doc in shown] == ["b", "c", "a", "d"]


def test_z_scores_by_hand() -> None:
    """1, 2, 3: mean 2, population variance 2/3."""
    assert z_scores([1, 2, 3]) == pytest.approx([-math.sqrt(1.5), 0, math.sqrt(1.5)])
    assert z_scores([7, 7]) == [0, 0] and z_scores([5]) == [0] and z_scores([]) == []


def test_a_mixture_by_hand() -> None:
    """First stage 4 3 2 1 has z = 3 1 -1 -3 over sqrt 5; the model's 0 0 0 10 has z = -1 -1 -1 3 over sqrt 3."""
    first = [x / math.sqrt(5) for x in (3, 1, -1, -3)]
    model = [x / math.sqrt(3) for x in (-1, -1, -1, 3)]
    scores = [0.0, 0.0, 0.0, 10.0]
    for mix in (0.0, 0.3, 0.5):
        expected = [mix * m + (1 - mix) * f for m, f in zip(model, first)]
        assert [v.score for v in mixed(JOB, [Verdict(score) for score in scores], mix)] == pytest.approx(expected)
    assert [v.score for v in mixed(JOB, [Verdict(score) for score in scores], 1.0)] == scores


def test_a_mixture_is_over_the_judged_documents_only() -> None:
    """b and c have no verdict: first stage 4 and 1, model 5 and 9, both z = 1 and -1 in opposite order."""
    verdicts = mixed(JOB, [Verdict(5), Verdict(None, "x"), Verdict(None, "y"), Verdict(9)], 0.75)
    assert verdicts[1:3] == [Verdict(None, "x"), Verdict(None, "y")]
    assert [verdicts[0].score, verdicts[3].score] == pytest.approx([-0.5, 0.5])


def test_the_sigmoid_does_not_overflow() -> None:
    assert sigmoid(0) == 0.5 and sigmoid(-1000) == 0.0 and sigmoid(1000) == 1.0
    assert sigmoid(-2) == pytest.approx(1 - sigmoid(2))
