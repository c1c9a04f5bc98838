"""The far side of `ray`: another backend inside an actor, fed step by step.

A step hands over whole groups of requests and takes one delivery, so the backend inside is fed as lazily as at home.
Knows nothing of Ray.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from typing import cast

from limrank.errors import LimrankError
from limrank.llm import Delivery, open_llm
from limrank.records import Request

Asked = tuple[int, Request]


class Replica:
    """One language model, opened by `open`."""

    def __init__(self, spec: str) -> None:
        self._spec = spec
        self._session: int | None = None
        self._answers: Generator[Delivery, None, None]

    def open(self) -> str:
        """Open the language model and return its name; what is wrong with the spec is raised here."""
        self._llm = open_llm(self._spec)
        return self._llm.name

    def step(self, session: int, asked: Sequence[Asked]) -> Delivery:
        """Take requests, each with its position, and answer some of those that are here.

        Args:
            session: Another number than last time forgets all requests.
            asked: Whole groups; may be empty while older requests are unanswered.
        """
        if session != self._session:
            if self._session is not None:
                self._answers.close()
            self._session = session
            self._queue: deque[Asked] = deque()
            self._positions: dict[int, int] = {}
            self._answers = cast(Generator[Delivery, None, None], self._llm.generate(self._feed()))
        self._queue.extend(asked)
        delivery = next(self._answers, None)
        if delivery is None:
            raise LimrankError(f"{self._llm.name} stopped with {len(self._positions)} requests unanswered")
        return [(self._positions.pop(number), response) for number, response in delivery]

    def _feed(self) -> Iterator[Request | None]:
        number = 0
        while True:
            if not self._queue:
                yield None
                continue
            self._positions[number], request = self._queue.popleft()
            number += 1
            yield request
