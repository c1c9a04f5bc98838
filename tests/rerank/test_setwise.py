"""limrank/rerank/setwise.py, and the sorts of limrank/rerank/_sorting.py"""

import itertools
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limrank import prompt as prompts
from limrank.errors import BadFile, LimrankError
from limrank.llm.fake import Fake
from limrank.records import Document, Query, Request, Response, ScoredDoc
from limrank.rerank import Judged, open_reranker
from limrank.rerank._drive import drive
from limrank.rerank._ranking import Job
from limrank.rerank._several import clipped
from limrank.rerank._sorting import Group, Sort, heapsort, insertion, sliding
from limrank.rerank.setwise import load

SORTS: dict[str, Callable[[Sequence[int], int], Sort]] = {
    "heapsort 2": lambda positions, k: heapsort(positions, k=k, children=2),
    "heapsort 3": lambda positions, k: heapsort(positions, k=k, children=3),
    "heapsort 5": lambda positions, k: heapsort(positions, k=k, children=5),
    "insertion 2": lambda positions, k: insertion(positions, k=k, children=2),
    "insertion 3": lambda positions, k: insertion(positions, k=k, children=3),
    "sliding": lambda positions, k: sliding(positions, k=k),
}


def play(sort: Sort, choose: Callable[[Group], int]) -> tuple[list[int], list[list[Group]]]:
    """What a sort returns, and what it asked, step by step."""
    steps: list[list[Group]] = []
    try:
        groups = next(sort)
        while True:
            steps.append(groups)
            groups = sort.send([choose(group) for group in groups])
    except StopIteration as stop:
        return stop.value, steps


@pytest.mark.parametrize("name", SORTS)
@given(values=st.lists(st.integers(0, 3), max_size=40), k=st.integers(1, 12))
def test_a_judge_who_knows_gets_the_best_k_in_order_and_the_rest_as_it_was(
    name: str, values: list[int], k: int
) -> None:
    """Equal values keep their order, as Python's stable sort leaves them."""
    positions = range(len(values))
    order, steps = play(SORTS[name](positions, k), lambda group: max(group, key=lambda i: (values[i], -i)))
    best = sorted(positions, key=lambda i: -values[i])[:k]
    assert order == best + [i for i in positions if i not in best]
    assert all(list(group) == sorted(set(group)) and len(group) > 1 for step in steps for group in step)


@pytest.mark.parametrize("name", SORTS)
@given(size=st.integers(0, 40), k=st.integers(1, 12), seed=st.integers())
def test_a_judge_without_sense_loses_no_document_and_comes_to_an_end(name: str, size: int, k: int, seed: int) -> None:
    rng = random.Random(seed)
    order, steps = play(SORTS[name](range(size), k), lambda group: rng.choice(group))
    assert sorted(order) == list(range(size))
    assert {i for step in steps for group in step for i in group} == (set(range(size)) if size > 1 else set())


@pytest.mark.parametrize("name", SORTS)
@given(size=st.integers(0, 40), k=st.integers(1, 12))
def test_a_judge_who_always_names_the_first_changes_nothing(name: str, size: int, k: int) -> None:
    assert play(SORTS[name](range(size), k), min)[0] == list(range(size))


@pytest.mark.parametrize("name", SORTS)
def test_groups_that_are_asked_about_together_have_nothing_but_the_guard_in_common(name: str) -> None:
    values = random.Random(1).sample(range(60), 60)
    _, steps = play(SORTS[name](range(60), 10), lambda group: max(group, key=values.__getitem__))
    for step in steps:
        shared = {i for one, other in itertools.combinations(step, 2) for i in set(one) & set(other)}
        assert len(shared) <= ("insertion" in name)


def test_a_small_heap_by_hand() -> None:
    """Nodes 0 1 2 3 with three children each: values 1 5 2 9, best two.

    0 has the children 1 2 3: one group, 3 rises. It is taken; the last node, now 0 in the place of 3, goes to the top:
    one group of 0 1 2, in which 1 is best, and there the heap ends.
    """
    values = [1, 5, 2, 9]
    order, steps = play(heapsort(range(4), k=2, children=3), lambda group: max(group, key=values.__getitem__))
    assert order == [3, 1, 0, 2]
    assert steps == [[(0, 1, 2, 3)], [(0, 1, 2)]]


def test_an_insertion_by_hand() -> None:
    """Values 5 4 | 1 3 6 2 with k = 2 and groups of three: the guard is 1 (value 4).

    (1 2 3) leaves the guard; in (1 4 5) wins 4 (value 6). It is better than the first of the top as well, which becomes
    4 0 with the guard 0; what is left of the group, 5, does not beat it.
    """
    values = [5, 4, 1, 3, 6, 2]
    order, steps = play(insertion(range(6), k=2, children=2), lambda group: max(group, key=values.__getitem__))
    assert order == [4, 0, 1, 2, 3, 5]
    assert steps == [[(0, 1)], [(1, 2, 3), (1, 4, 5)], [(0, 4)], [(0, 5)]]


def test_how_many_questions_100_documents_take() -> None:
    """Heapsort, the first stage perfect: 33 nodes have children, each is asked about once; then nine times a path down.

    Insertion, the first stage perfect: ten documents by heap, and one question for each 3 of the other 90.
    """
    _, steps = play(heapsort(range(100), k=10, children=3), min)
    assert [len(step) for step in steps[:4]] == [20, 9, 3, 1]
    assert sum(map(len, steps)) <= 33 + 9 * 4
    _, small = play(heapsort(range(10), k=10, children=3), min)
    _, steps = play(insertion(range(100), k=10, children=3), min)
    assert sum(map(len, steps)) == sum(map(len, small)) + 30


def job(relevances: Sequence[int], query_id: str = "q") -> Job:
    documents = tuple(Document(f"d{i}", f"text of {i}, worth {value}") for i, value in enumerate(relevances))
    return Job(Query(query_id, "what is it?"), documents, tuple(ScoredDoc(doc.doc_id, 9.0) for doc in documents))


def knowing(relevances: Sequence[int]) -> Callable[[Request], Response]:
    """P(label) grows with the relevance of the label's document."""

    def answer(request: Request) -> Response:
        logprobs = tuple(-10.0 + relevances[int(doc_id[1:])] for doc_id in request.doc_ids)
        return Response(logprobs=logprobs, choice_tokens=(1,) * len(logprobs))

    return answer


def ranking(job: Job, llm: Fake, **options: object) -> tuple[Judged, ...]:
    reranker = load(llm, prompts.load("setwise", many=True), **options)  # type: ignore[arg-type]
    [found] = drive(llm, [job], reranker.method)
    return found.documents


@pytest.mark.parametrize("order", ["heapsort", "insertion"])
def test_scores_are_1_over_rank(order: str) -> None:
    relevances = [0, 1, 0, 3, 2, 0]
    found = ranking(job(relevances), Fake(knowing(relevances)), order=order)
    assert [(doc.doc_id, doc.score) for doc in found] == [
        ("d3", 1), ("d4", 1 / 2), ("d1", 1 / 3), ("d0", 1 / 4), ("d2", 1 / 5), ("d5", 1 / 6)
    ]  # fmt: skip


def test_documents_below_k_keep_first_stage_order() -> None:
    relevances = list(range(12))
    found = ranking(job(relevances), Fake(knowing(relevances)), k=2)
    assert [doc.doc_id for doc in found] == ["d11", "d10", *(f"d{i}" for i in range(10))]


def test_the_published_words_are_sent_byte_for_byte() -> None:
    """Upstream: head, 'Passage A: "..."' with blank lines between, tail; T5's answer begins with "Passage"."""
    fake = Fake(knowing([0, 1]), keep=True)
    ranking(Job(Query("q", "why?"), (Document("d0", "one"), Document("d1", 'two "2"')), ()), fake)
    [request] = fake.seen
    [message] = request.messages
    assert message.role == "" and "".join(part.text for part in message.parts) == (
        'Given a query "why?", which of the following passages is the most relevant one to the query?\n\n'
        'Passage A: "one"\n\nPassage B: "two "2""\n\nOutput only the passage label of the most relevant passage: '
        "Passage"
    )
    assert [choice.text for choice in request.choices] == [" A", " B"]
    assert [message.parts[i].text for i in request.cut] == ["one", 'two "2"']
    assert message.parts[request.shared].text == "one" and request.doc_ids == ("d0", "d1")


def test_a_question_without_an_answer_is_decided_by_the_first_stage_and_counted() -> None:
    """d2 is the best; of the two questions, the one about d0 d1 d2 d3 fails, so that d0 stays at the top.

    Five documents, three children: 1 has the child 4, 0 the children 1 2 3. With k = 1 that is all.
    """

    def answer(request: Request) -> Response:
        if "d2" in request.doc_ids:
            return Response(status="failed", error="no")
        return knowing([0, 0, 9, 0, 1])(request)

    fake = Fake(answer)
    reranker = load(fake, prompts.load("setwise", many=True), k=1)
    [found] = drive(fake, [job([0] * 5)], reranker.method)
    # 4 beats 1 and takes its node, so 0 4 2 3 are asked about, of which only 4 has been in an answered question.
    assert [doc.doc_id for doc in found.documents] == ["d0", "d1", "d2", "d3", "d4"]
    assert [doc.error for doc in found.documents] == ["no", "", "no", "no", ""]
    assert [doc.score for doc in found.documents] == [None, 1, None, None, 1 / 2]
    assert dict(reranker.tally) == {"comparisons": 2, "failed_comparisons": 1, "shortened": 0}


def test_one_document_and_none_need_no_question() -> None:
    def never(request: Request) -> Response:
        raise AssertionError

    assert ranking(job([3]), Fake(never)) == (Judged("d0", 1.0),)
    assert ranking(job([]), Fake(never)) == ()


def test_the_most_probable_label_wins_and_the_first_of_equals() -> None:
    def answer(request: Request) -> Response:
        return Response(logprobs=(math.log(0.1), math.log(0.3), math.log(0.3)), choice_tokens=(1, 1, 1))

    assert [doc.doc_id for doc in ranking(job([0] * 3), Fake(answer), k=1)] == ["d1", "d0", "d2"]


def test_labels_of_several_tokens_are_refused() -> None:
    fake = Fake(lambda request: Response(logprobs=(-1.0, -2.0), choice_tokens=(1, 2)), name="odd")
    with pytest.raises(LimrankError, match=r"prompt setwise: the label ' B' is 2 tokens for odd; labels .* one token"):
        ranking(job([0, 1]), fake)


def test_passages_are_shown_as_far_as_wanted() -> None:
    document = Document("d", " one  two\nthree", "A title")
    assert clipped(document, 2) == Document("d", " one  two", "A title")
    assert clipped(document, 9) == clipped(document, 0) == document
    fake = Fake(knowing([0, 1]), keep=True)
    reranker = load(fake, prompts.load("setwise", many=True), words=2)
    list(drive(fake, [job([0, 1])], reranker.method))
    assert reranker.counts["shortened"] == 2
    assert [fake.seen[0].messages[0].parts[i].text for i in fake.seen[0].cut] == ["text of", "text of"]


def test_wrong_options_and_prompts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LimrankError, match="children=1"):
        open_reranker("setwise children=1", llm="fake")
    with pytest.raises(LimrankError, match="k=0"):
        open_reranker("setwise k=0", llm="fake")
    with pytest.raises(BadFile, match=r"prompt setwise: 20 choices; children=20 asks about 21 documents"):
        open_reranker("setwise children=20", llm="fake")
    with pytest.raises(BadFile, match="is about one document at a time"):
        open_reranker("setwise", llm="fake", prompt="true-false")
