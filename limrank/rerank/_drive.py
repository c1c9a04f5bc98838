"""Run many one-query generators over one language model; the only place that knows about concurrency.

A method yields the requests it wants answered and is sent their answers, until it returns its ranking. No query waits
for a slower one: answers go back the moment they arrive, and what a method asks next is asked before any new query is
begun. Knows nothing of prompts, scores or files.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from limrank.errors import LimrankError
from limrank.llm import LLM, Delivery, checked
from limrank.records import Request, Response
from limrank.rerank._ranking import Job, Ranking

Steps: TypeAlias = Generator[list[Request], list[Response], Ranking]
Method: TypeAlias = Callable[[Job], Steps]


@dataclass(frozen=True)
class Driven:
    """A reranker made of a language model and a method written for one query.

    Attributes:
        name: The method's.
        llm: Who answers.
        method: Makes the generator of a job.
        tally: What the method counts itself, such as answers that were malformed; the method's to write.
    """

    name: str
    llm: LLM
    method: Method
    tally: Counter[str] = field(default_factory=Counter)

    @property
    def counts(self) -> Mapping[str, int]:
        """The language model's counts, if it keeps any, and the method's own, which win where both count the same."""
        return {**getattr(self.llm, "counts", {}), **self.tally}

    def rerank(self, jobs: Iterable[Job]) -> Iterator[Ranking]:
        """As `Reranker.rerank`."""
        return drive(self.llm, jobs, self.method)


def drive(llm: LLM, jobs: Iterable[Job], method: Method, *, open_queries: int = 256) -> Iterator[Ranking]:
    """Rankings in the order in which they get finished.

    Args:
        llm: Who answers.
        jobs: Pulled one by one, when the model has room and no begun query has anything to ask.
        method: Makes the generator of a job.
        open_queries: Begun and unfinished ones at a time; bounds the memory.

    Raises:
        LimrankError: The model stopped; answers that were recorded stay recorded.
    """
    return _Drive(llm, iter(jobs), method, open_queries).rankings()


class _Query:
    """A begun query: its generator, and the answers of its current step."""

    __slots__ = ("answers", "missing", "query_id", "steps")

    def __init__(self, query_id: str, steps: Steps) -> None:
        self.query_id, self.steps = query_id, steps
        self.answers: list[Response | None] = []
        self.missing = 0


class _Drive:
    def __init__(self, llm: LLM, jobs: Iterator[Job], method: Method, open_queries: int) -> None:
        self.llm, self.jobs, self.method, self.limit = llm, jobs, method, open_queries
        self.queue: deque[tuple[_Query, int, Request]] = deque()
        self.outstanding: dict[int, tuple[_Query, int, Request]] = {}
        self.finished: deque[Ranking] = deque()
        self.open = 0
        self.exhausted = False
        self.own_error: Exception | None = None

    def rankings(self) -> Iterator[Ranking]:
        answers = cast(Generator[Delivery, None, None], self.llm.generate(self.feed()))
        with contextlib.closing(answers):
            while (delivery := self.next_delivery(answers)) is not None:
                for position, response in delivery:
                    self.hand_back(position, response)
                while self.finished:
                    yield self.finished.popleft()
        yield from self.finished
        if self.open or self.queue:
            raise LimrankError(f"{self.llm.name} stopped with {self.open} queries unfinished; run again to continue")

    def next_delivery(self, answers: Iterator[Delivery]) -> Delivery | None:
        try:
            return next(answers, None)
        except LimrankError:
            raise
        except Exception as error:
            if error is self.own_error:
                raise
            raise LimrankError(
                f"{self.llm.name} stopped: {type(error).__name__}: {error}; run again to continue"
            ) from error

    def feed(self) -> Iterator[Request | None]:
        """What the model is asked, lazily; None while an answer must come first."""
        try:
            for position in itertools.count():
                while not self.queue:
                    if self.open < self.limit and not self.exhausted:
                        self.begin()
                    elif self.outstanding:
                        yield None
                    else:
                        return
                self.outstanding[position] = asked = self.queue.popleft()
                yield asked[2]
        except Exception as error:
            self.own_error = error
            raise

    def begin(self) -> None:
        job = next(self.jobs, None)
        if job is None:
            self.exhausted = True
            return
        self.open += 1
        self.advance(_Query(job.query.query_id, self.method(job)), None)

    def hand_back(self, position: int, response: Response) -> None:
        try:
            query, index, request = self.outstanding.pop(position)
        except KeyError:
            raise LimrankError(f"{self.llm.name} answered request {position}, which is not outstanding") from None
        query.answers[index] = checked(request, response)
        query.missing -= 1
        if not query.missing:
            self.advance(query, cast(list[Response], query.answers))

    def advance(self, query: _Query, answers: list[Response] | None) -> None:
        """Send a query its answers, and queue what it asks next; a step that asks nothing is answered at once."""
        try:
            requests = next(query.steps) if answers is None else query.steps.send(answers)
            while not requests:
                requests = query.steps.send([])
        except StopIteration as stop:
            self.open -= 1
            self.finished.append(stop.value)
            return
        query.answers, query.missing = [None] * len(requests), len(requests)
        for index, request in enumerate(requests):
            self.queue.append((query, index, request._replace(query_id=query.query_id)))
