"""limrank/rerank/_drive.py"""

from collections.abc import Iterator

import pytest

from limrank.errors import LimrankError
from limrank.llm import Delivery
from limrank.llm.fake import Fake
from limrank.records import Document, Message, Part, Query, Request, Response
from limrank.rerank._drive import Steps, drive
from limrank.rerank._ranking import Job, Verdict, ranked


def job(query_id: str, size: int = 3) -> Job:
    return Job(Query(query_id, f"about {query_id}"), tuple(Document(f"d{i}", f"text {i}") for i in range(size)), ())


def ask(text: str) -> Request:
    return Request((Message("", (Part(text, True),)),))


def steps_of(sizes: list[int]):
    """A method that asks so many questions, step by step, and judges by the last answers' lengths."""

    def method(job: Job) -> Steps:
        for number, size in enumerate(sizes):
            answers = yield [ask(f"{job.query.query_id} {number} {i}") for i in range(size)]
            assert [answer.text for answer in answers] == [f"{job.query.query_id} {number} {i}" for i in range(size)]
        return ranked(job, [Verdict(0.0)] * len(job.documents))

    return method


def echo(request: Request) -> Response:
    return Response(request.messages[0].parts[0].text)


@pytest.mark.parametrize("batch", [1, 2, 7, 1000])
@pytest.mark.parametrize("open_queries", [1, 3, 256])
def test_every_answer_goes_back_to_its_own_question(batch: int, open_queries: int) -> None:
    jobs = [job(f"q{i}") for i in range(10)]
    rankings = list(drive(Fake(echo, batch=batch), jobs, steps_of([3, 0, 1, 5]), open_queries=open_queries))
    assert sorted(ranking.query_id for ranking in rankings) == sorted(f"q{i}" for i in range(10))
    assert all([doc.doc_id for doc in ranking.documents] == ["d0", "d1", "d2"] for ranking in rankings)


def test_a_method_that_asks_nothing_needs_no_model() -> None:
    fake = Fake(echo, keep=True)
    assert len(list(drive(fake, [job("a"), job("b")], steps_of([])))) == 2
    assert len(list(drive(fake, [], steps_of([1])))) == 0
    assert fake.seen == []


def test_requests_carry_their_query_and_stay_together() -> None:
    fake = Fake(echo, keep=True, batch=4)
    list(drive(fake, [job("a"), job("b"), job("c")], steps_of([5])))
    assert [request.query_id for request in fake.seen] == ["a"] * 5 + ["b"] * 5 + ["c"] * 5


def test_jobs_are_pulled_only_when_the_model_has_room() -> None:
    begun: list[str] = []

    def jobs() -> Iterator[Job]:
        for i in range(100):
            begun.append(f"q{i}")
            yield job(f"q{i}")

    rankings = drive(Fake(echo, batch=4), jobs(), steps_of([4]))
    next(rankings)
    assert len(begun) <= 2


def test_no_more_queries_are_open_than_allowed() -> None:
    begun = 0

    def jobs() -> Iterator[Job]:
        nonlocal begun
        for i in range(50):
            begun += 1
            yield job(f"q{i}")

    done = 0
    for _ in drive(Fake(echo, batch=1000), jobs(), steps_of([1, 1]), open_queries=5):
        done += 1
        assert begun - done <= 5
    assert done == 50


def test_no_query_waits_for_a_slower_one() -> None:
    class Hesitant:
        """Answers everything at once, but the questions of query `slow` only when nothing else is left."""

        name = "hesitant"

        def generate(self, feed: Iterator[Request | None]) -> Iterator[Delivery]:
            held, position, ended = [], 0, False
            while held or not ended:
                request = next(feed, "end")
                ended = request == "end"
                if isinstance(request, Request):
                    if request.query_id == "slow":
                        held.append((position, Response(echo(request).text)))
                    else:
                        yield [(position, echo(request))]
                    position += 1
                elif held:
                    yield [held.pop(0)]

    order = [ranking.query_id for ranking in drive(Hesitant(), [job("slow"), job("a"), job("b")], steps_of([1, 2, 1]))]
    assert order == ["a", "b", "slow"]


def test_a_model_that_raises_is_one_clear_error() -> None:
    def broken(request: Request) -> Response:
        raise OSError("the card fell off")

    with pytest.raises(LimrankError, match="fake stopped: OSError: the card fell off; run again to continue"):
        list(drive(Fake(broken), [job("a")], steps_of([1])))


def test_an_error_of_the_method_is_not_blamed_on_the_model() -> None:
    def broken(job: Job) -> Steps:
        raise ZeroDivisionError
        yield []

    with pytest.raises(ZeroDivisionError):
        list(drive(Fake(echo), [job("a")], broken))


@pytest.mark.parametrize(
    ("deliveries", "message"),
    [([], "unfinished"), ([[(0, Response("a 0 0"))]], "unfinished"), ([[(7, Response())]], "not outstanding")],
)
def test_a_model_that_loses_count_is_an_error(deliveries: list[Delivery], message: str) -> None:
    class Careless:
        name = "careless"

        def generate(self, feed: Iterator[Request | None]) -> Iterator[Delivery]:
            next(feed), next(feed)
            yield from deliveries

    with pytest.raises(LimrankError, match=message):
        list(drive(Careless(), [job("a")], steps_of([2])))


@pytest.mark.parametrize("logprobs", [(), (-1.0,), (-1.0, -1.0, -1.0), (-1.0, float("nan")), (float("-inf"), -1.0)])
def test_an_answer_that_is_none_reaches_the_method_as_a_failure(logprobs: tuple[float, ...]) -> None:
    def method(job: Job) -> Steps:
        choices = (Part(" true", True), Part(" false", True))
        answers = yield [ask("a")._replace(choices=choices)]
        assert [(answer.status, answer.logprobs) for answer in answers] == [("failed", ())]
        return ranked(job, [Verdict(None, answers[0].error)] * len(job.documents))

    fake = Fake(lambda request: Response(logprobs=logprobs, choice_tokens=(1,) * len(logprobs)))
    [ranking] = drive(fake, [job("q")], method)
    assert all(document.error for document in ranking.documents)
