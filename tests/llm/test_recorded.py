"""limrank/llm/_recorded.py"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from limrank.llm import Delivery
from limrank.llm._recorded import Recorded, fields_of, response_of
from limrank.llm.fake import Fake, load
from limrank.records import Message, Part, Request, Response


def ask(text: str, **fields: object) -> Request:
    return Request((Message("", (Part(text, True),)),), choices=(Part(" a", True), Part(" b", True)))._replace(**fields)


def answers(llm: object, requests: list[Request | None]) -> dict[int, Response]:
    return dict(pair for delivery in llm.generate(iter(requests)) for pair in delivery)


def test_known_requests_are_not_asked_again_and_get_the_same_answer(tmp_path: Path) -> None:
    requests = [ask(str(i)) for i in range(20)]
    first = Recorded(load(batch=3), tmp_path / "calls")
    given = answers(first, requests[:13])
    fake = Fake(load()._answer, name=load().name, keep=True)
    again = Recorded(fake, tmp_path / "calls")
    assert {i: answer for i, answer in answers(again, requests).items() if i < 13} == given
    assert fake.seen == requests[13:]
    assert again.counts["asked"] == 7 and again.counts["reused"] == 13 and again.counts["ok"] == 20


def test_answers_equal_those_of_the_bare_model_in_any_mixture_of_known_and_new(tmp_path: Path) -> None:
    requests = [ask(str(i % 30)) for i in range(90)]
    bare = answers(load(), requests)
    for session, known in enumerate([range(0, 90, 2), range(5), range(90)]):
        recorded = Recorded(load(batch=4), tmp_path / "calls")
        assert answers(recorded, [requests[i] for i in known]) == {n: bare[i] for n, i in enumerate(known)}, session


def test_the_same_request_under_way_is_asked_once(tmp_path: Path) -> None:
    fake = Fake(load()._answer, keep=True, batch=100)
    recorded = Recorded(fake)
    given = answers(recorded, [ask("a", query_id="1"), ask("b"), ask("a", query_id="2")])
    assert len(fake.seen) == 2 and given[0] == given[2] != given[1]
    assert recorded.counts["asked"] == 2 and recorded.counts["reused"] == 1


def test_whether_an_answer_is_forced_is_the_matter_of_who_asks(tmp_path: Path) -> None:
    spent = ask("a", after=Response(text="so", finish_reason="length"), bridge="</think>")
    early = spent._replace(after=Response(text="so", finish_reason="early"))
    for order in ([spent, early], [early, spent]):
        at_once = Recorded(Fake(load()._answer, batch=2))
        one_by_one = Recorded(load(), tmp_path / str(order is None))
        for llm in (at_once, one_by_one, Recorded(load(), tmp_path / str(order is None))):
            given = answers(llm, order)
            assert [given[i].status for i in (0, 1)] == ["forced" if one is spent else "ok" for one in order]
            assert given[0].logprobs == given[1].logprobs and llm.counts["forced"] == llm.counts["ok"] == 1


def test_another_model_gets_no_answer_of_this_one(tmp_path: Path) -> None:
    for seed in (1, 2):
        recorded = Recorded(load(seed=seed), tmp_path / "calls")
        answers(recorded, [ask("a")])
        assert recorded.counts["reused"] == 0


def test_failures_are_written_down_counted_and_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    recorded = Recorded(load(failed=0.2, malformed=0.2, nan=0.2, short=0.2), path)
    given = answers(recorded, [ask(str(i)) for i in range(200)])
    statuses = Counter(answer.status for answer in given.values())
    assert recorded.counts["failed"] == statuses["failed"] > 60
    assert recorded.counts["malformed"] == statuses["malformed"] > 10
    assert all(answer.error and not answer.logprobs for answer in given.values() if answer.status == "failed")
    assert len(path.read_text().splitlines()) == 200
    again = Recorded(load(), path)
    assert {a.status for a in answers(again, [ask(str(i)) for i in range(200)]).values()} == {"ok"}
    assert again.counts["reused"] == statuses["ok"] and again.counts["asked"] == 200 - statuses["ok"]


def test_an_answer_is_in_the_file_before_anybody_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    seen = 0
    for delivery in Recorded(load(batch=3), path).generate(iter([ask(str(i)) for i in range(10)])):
        seen += len(delivery)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == seen and lines[-1]["more"] == 0


def test_what_was_answered_before_the_model_broke_is_kept(tmp_path: Path) -> None:
    def break_at_seven(request: Request) -> Response:
        if request.messages[0].parts[0].text == "7":
            raise OSError
        return load()._answer(request)

    recorded = Recorded(Fake(break_at_seven, name="f", batch=2), tmp_path / "calls")
    with pytest.raises(OSError):
        answers(recorded, [ask(str(i)) for i in range(10)])
    again = Recorded(Fake(load()._answer, name="f"), tmp_path / "calls")
    answers(again, [ask(str(i)) for i in range(10)])
    assert again.counts["reused"] == 6


def test_known_answers_flow_while_the_model_has_nothing_to_do(tmp_path: Path) -> None:
    """A method's second step depends on a known first one: the feed gives None until that has been delivered."""
    recorded = Recorded(load(), tmp_path / "calls")
    answers(recorded, [ask("first")])
    got: list[int] = []

    def feed() -> Iterator[Request | None]:
        yield ask("first")
        while not got:
            yield None
        yield ask("second")

    for delivery in recorded.generate(feed()):
        got += [position for position, _ in delivery]
    assert got == [0, 1]


def test_deliveries_are_never_empty(tmp_path: Path) -> None:
    recorded = Recorded(load(batch=2), tmp_path / "calls")
    deliveries: list[Delivery] = list(recorded.generate(iter([ask("a"), None, ask("b"), None, ask("a")])))
    assert all(deliveries)
    assert not list(recorded.generate(iter([])))


def test_a_response_survives_the_file_exactly() -> None:
    response = Response("x\ud800é", "forced", (-1 / 3, -1e-300), (1, 2), (3, 4), 5, 6, 7, "length", math.pi, "e")
    fields = json.loads(json.dumps(fields_of(ask("a"), response)))
    assert response_of(fields) == response


def test_documents_with_the_same_text_each_have_their_answer_in_the_file(tmp_path: Path) -> None:
    from limrank.llm import recorded_answers, recorded_by_query

    path = tmp_path / "calls"
    twins = [ask("a", query_id="1", doc_ids=(name,)) for name in ("d1", "d5")]
    third = ask("a", query_id="2", doc_ids=("d1",))
    for _ in range(3):  # asked at once, then recalled: nothing is written twice
        given = answers(Recorded(load(batch=2), path), [*twins, third])
    assert len(path.read_text().splitlines()) == 3
    assert [names for names, _ in recorded_answers(path, "1")] == [("d1",), ("d5",)]
    assert {answer.logprobs for _, answer in recorded_answers(path, "1")} == {given[0].logprobs}
    assert {query_id: len(listed) for query_id, listed in recorded_by_query(path).items()} == {"1": 2, "2": 1}
