"""Run many generators over one language model; the only place that knows about concurrency.

A generator is written for one job (a query, an example): it yields the requests it wants answered and is sent their
answers, until it returns its result. No job waits for a slower one: answers go back the moment they arrive, and what a
generator asks next is asked before any new job is begun. Knows nothing of prompts, results or files.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeAlias, TypeVar, cast

from limrank.errors import LimrankError
from limrank.llm import LLM, Delivery, checked
from limrank.records import Request, Response

J = TypeVar("J")
R = TypeVar("R")
Asking: TypeAlias = Generator[list[Request], list[Response], R]


def drive(
    llm: LLM,
    jobs: Iterable[J],
    method: Callable[[J], Asking[R]],
    *,
    label: Callable[[J], str],
    noun: str = "queries",
    open_jobs: int = 256,
) -> Iterator[R]:
    """Results in the order in which they get finished.

    Args:
        llm: Who answers.
        jobs: Pulled one by one, when the model has room and no begun job has anything to ask.
        method: Makes the generator of a job.
        label: What a job's requests carry as their `query_id`.
        noun: What jobs are called in messages.
        open_jobs: Begun and unfinished ones at a time; bounds the memory.

    Raises:
        LimrankError: The model stopped; answers that were recorded stay recorded.
    """
    return _Drive(llm, iter(jobs), method, label, noun, open_jobs).results()


class _Begun(Generic[R]):
    """A begun job: its generator, and the answers of its current step."""

    __slots__ = ("answers", "label", "missing", "steps")

    def __init__(self, label: str, steps: Asking[R]) -> None:
        self.label, self.steps = label, steps
        self.answers: list[Response | None] = []
        self.missing = 0


class _Drive(Generic[J, R]):
    def __init__(
        self,
        llm: LLM,
        jobs: Iterator[J],
        method: Callable[[J], Asking[R]],
        label: Callable[[J], str],
        noun: str,
        open_jobs: int,
    ) -> None:
        self.llm, self.jobs, self.method, self.label, self.noun, self.limit = llm, jobs, method, label, noun, open_jobs
        self.queue: deque[tuple[_Begun[R], int, Request]] = deque()
        self.outstanding: dict[int, tuple[_Begun[R], int, Request]] = {}
        self.finished: deque[R] = deque()
        self.open = 0
        self.exhausted = False
        self.own_error: Exception | None = None

    def results(self) -> Iterator[R]:
        answers = cast(Generator[Delivery, None, None], self.llm.generate(self.feed()))
        with contextlib.closing(answers):
            while (delivery := self.next_delivery(answers)) is not None:
                for position, response in delivery:
                    self.hand_back(position, response)
                while self.finished:
                    yield self.finished.popleft()
        yield from self.finished
        if self.open or self.queue:
            raise LimrankError(
                f"{self.llm.name} stopped with {self.open} {self.noun} unfinished; run again to continue"
            )

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
        # A job may be None; the end of the jobs is not.
        for job in itertools.islice(self.jobs, 1):
            self.open += 1
            self.advance(_Begun(self.label(job), self.method(job)), None)
            return
        self.exhausted = True

    def hand_back(self, position: int, response: Response) -> None:
        try:
            begun, index, request = self.outstanding.pop(position)
        except KeyError:
            raise LimrankError(f"{self.llm.name} answered request {position}, which is not outstanding") from None
        begun.answers[index] = checked(request, response)
        begun.missing -= 1
        if not begun.missing:
            self.advance(begun, cast(list[Response], begun.answers))

    def advance(self, begun: _Begun[R], answers: list[Response] | None) -> None:
        """Send a job its answers, and queue what it asks next; a step that asks nothing is answered at once."""
        try:
            requests = next(begun.steps) if answers is None else begun.steps.send(answers)
            while not requests:
                requests = begun.steps.send([])
        except StopIteration as stop:
            self.open -= 1
            self.finished.append(stop.value)
            return
        begun.answers, begun.missing = [None] * len(requests), len(requests)
        for index, request in enumerate(requests):
            self.queue.append((begun, index, request._replace(query_id=begun.label)))
