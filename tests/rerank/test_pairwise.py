"""limrank/rerank/pairwise.py"""

from collections.abc import Callable, Sequence

import pytest

from limrank import prompt as prompts
from limrank.errors import BadFile, LimrankError
from limrank.llm.fake import Fake
from limrank.records import Document, Query, Request, Response, ScoredDoc
from limrank.rerank import Judged, open_reranker
from limrank.rerank._drive import Driven, drive
from limrank.rerank._ranking import Job
from limrank.rerank.pairwise import load

ORDERS = ["allpairs", "heapsort", "sliding"]


def job(size: int) -> Job:
    documents = tuple(Document(f"d{i}", f"text {i}") for i in range(size))
    return Job(Query("q", "why?"), documents, tuple(ScoredDoc(doc.doc_id, -1.0) for doc in documents))


def knowing(relevances: Sequence[float], *, bias: float = 0.0) -> Callable[[Request], Response]:
    """A judge who knows, and who likes label A by so many nats."""

    def answer(request: Request) -> Response:
        first, second = (relevances[int(doc_id[1:])] for doc_id in request.doc_ids)
        return Response(logprobs=(first + bias - 20, second - 20), choice_tokens=(1, 1))

    return answer


def opened(answer: Callable[[Request], Response], **options: object) -> tuple[Driven, Fake]:
    fake = Fake(answer, keep=True)
    return load(fake, prompts.load("pairwise", many=True), **options), fake  # type: ignore[arg-type]


def documents(reranker: Driven, size: int) -> tuple[Judged, ...]:
    [found] = drive(reranker.llm, [job(size)], reranker.method)
    return found.documents


@pytest.mark.parametrize("order", ORDERS)
def test_a_judge_who_knows_gives_the_ideal_order(order: str) -> None:
    relevances = [0, 2, 1, 0, 3, 0, 1]
    reranker, _ = opened(knowing(relevances), order=order)
    assert [doc.doc_id for doc in documents(reranker, 7)] == ["d4", "d1", "d2", "d6", "d0", "d3", "d5"]
    assert reranker.counts["order_disagreements"] == 0


def test_every_pair_is_asked_about_in_both_orders_and_once() -> None:
    reranker, fake = opened(knowing([0, 1, 2]), order="allpairs")
    documents(reranker, 3)
    asked = ["".join(request.doc_ids) for request in fake.seen]
    assert asked == ["d0d1", "d1d0", "d0d2", "d2d0", "d1d2", "d2d1"]
    for order in ("heapsort", "sliding"):
        reranker, fake = opened(knowing([3, 1, 4, 1, 5, 9, 2, 6]), order=order)
        documents(reranker, 8)
        pairs = [request.doc_ids for request in fake.seen]
        assert len(set(pairs)) == len(pairs) and {pair[::-1] for pair in pairs} == set(pairs)
        assert reranker.counts["comparisons"] == len(pairs) / 2 <= 28


def test_wins_by_hand() -> None:
    """Relevances 1 3 3 0, so that d1 and d2 tie with each other (both labels equally probable).

    Of three comparisons each: d1 and d2 win 2.5, d0 wins 1, d3 none.
    """
    reranker, _ = opened(knowing([1, 3, 3, 0]), order="allpairs")
    found = documents(reranker, 4)
    assert [doc.doc_id for doc in found] == ["d1", "d2", "d0", "d3"]
    assert [doc.score for doc in found] == pytest.approx([2.5 / 3, 2.5 / 3, 1 / 3, 0])
    assert dict(reranker.tally) == {"comparisons": 6, "failed_comparisons": 0, "order_disagreements": 0, "shortened": 0}


def test_a_preference_for_the_first_place_is_seen_and_makes_ties() -> None:
    """With 1.5 nats for label A, neighbours in 0 1 2 are named in whatever order; only 2 against 0 is consistent.

    d2: a win and a tie, 1.5 of 2; d1: two ties; d0: a tie.
    """
    reranker, _ = opened(knowing([0, 1, 2], bias=1.5), order="allpairs")
    found = documents(reranker, 3)
    assert [(doc.doc_id, doc.score) for doc in found] == [("d2", 0.75), ("d1", 0.5), ("d0", 0.25)]
    assert reranker.counts["order_disagreements"] == 2


@pytest.mark.parametrize("order", ORDERS)
def test_a_judge_who_sees_nothing_but_the_place_changes_nothing(order: str) -> None:
    reranker, _ = opened(knowing([0] * 9, bias=1), order=order)
    assert [doc.doc_id for doc in documents(reranker, 9)] == [f"d{i}" for i in range(9)]
    assert reranker.counts["order_disagreements"] == reranker.counts["comparisons"] > 0


@pytest.mark.parametrize("order", ["heapsort", "sliding"])
def test_documents_below_k_keep_first_stage_order(order: str) -> None:
    reranker, _ = opened(knowing(range(12)), order=order, k=2)
    found = documents(reranker, 12)
    assert [doc.doc_id for doc in found] == ["d11", "d10", *(f"d{i}" for i in range(10))]
    assert [doc.score for doc in found] == [1 / rank for rank in range(1, 13)]


def test_in_allpairs_a_comparison_without_both_answers_counts_for_nobody() -> None:
    """The question about d0 and then d1 fails; d0 and d1 have one comparison each, d2 two, and wins one of them."""

    def answer(request: Request) -> Response:
        if request.doc_ids == ("d0", "d1"):
            return Response(status="malformed", error="odd")
        return knowing([0, 2, 1])(request)

    reranker, _ = opened(answer, order="allpairs")
    found = documents(reranker, 3)
    assert [(doc.doc_id, doc.score) for doc in found] == [("d1", 1.0), ("d2", 0.5), ("d0", 0.0)]
    assert reranker.counts["failed_comparisons"] == 1


@pytest.mark.parametrize("order", ORDERS)
def test_a_document_that_no_question_could_judge_has_no_verdict(order: str) -> None:
    def answer(request: Request) -> Response:
        if "d2" in request.doc_ids:
            return Response(status="failed", error="too long")
        return knowing([0, 1, 2, 3, 4])(request)

    reranker, _ = opened(answer, order=order)
    found = documents(reranker, 5)
    assert found[2] == Judged("d2", None, "too long")
    assert all(doc.score is not None for doc in found if doc.doc_id != "d2")
    assert 0 < reranker.counts["failed_comparisons"] < reranker.counts["comparisons"]


def test_one_document_and_none_need_no_question() -> None:
    def never(request: Request) -> Response:
        raise AssertionError

    for order in ORDERS:
        reranker, _ = opened(never, order=order)
        assert [doc.doc_id for doc in documents(reranker, 1)] == ["d0"] and documents(reranker, 0) == ()
        assert documents(reranker, 1)[0].score is not None


def test_the_published_words_are_sent_byte_for_byte() -> None:
    reranker, fake = opened(knowing([0, 1]), order="allpairs")
    documents(reranker, 2)
    texts = ["".join(part.text for part in request.messages[0].parts) for request in fake.seen]
    head = 'Given a query "why?", which of the following two passages is more relevant to the query?\n\n'
    tail = "Output Passage A or Passage B: Passage"
    assert texts == [
        head + 'Passage A: "text 0"\n\nPassage B: "text 1"\n\n' + tail,
        head + 'Passage A: "text 1"\n\nPassage B: "text 0"\n\n' + tail,
    ]
    assert [choice.text for choice in fake.seen[0].choices] == [" A", " B"]


def test_wrong_options_and_prompts_are_refused() -> None:
    with pytest.raises(LimrankError, match="k=0"):
        open_reranker("pairwise k=0", llm="fake")
    with pytest.raises(LimrankError, match="k=5 does nothing with order=allpairs"):
        open_reranker("pairwise order=allpairs k=5", llm="fake")
    with pytest.raises(LimrankError, match="order=alpairs"):
        open_reranker("pairwise order=alpairs", llm="fake")
    with pytest.raises(BadFile, match="prompt setwise: 20 choices; pairwise needs one for each of two"):
        open_reranker("pairwise", llm="fake", prompt="setwise")
