"""A language model that remembers: known requests are answered from the calls file, the rest is asked and recorded.

An answer is in the file before anybody sees it. Only usable answers are remembered; a failure is asked for again.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from limrank.errors import LimrankError
from limrank.llm import LLM, Delivery, checked
from limrank.llm._calls import USABLE, Calls, Entry, key_of
from limrank.records import Request, Response


class Recorded:
    """An LLM in front of another one.

    Attributes:
        name: The other one's.
        version: What a server calls the model that answered, where that is more exact than the name; of recorded
            answers, too.
        own_counts: `asked` of the one behind, `reused` (from the file, or because the same request was under way), the
            statuses of all answers given out, and tokens of the distinct ones among them, whichever session paid.
    """

    def __init__(self, llm: LLM, path: Path | None = None) -> None:
        """Record the answers of `llm` at `path`; without a path they are counted only."""
        self.name = llm.name
        self.version = ""
        self.own_counts: Counter[str] = Counter()
        self._llm = llm
        self._path = path
        self._calls: Calls | None = None

    @property
    def counts(self) -> Mapping[str, int]:
        """The same, but what a cache (a second Recorded behind this one) knew counts as reused, not as asked."""
        if not isinstance(self._llm, Recorded):
            return self.own_counts
        behind = self._llm.counts
        reused = self.own_counts["reused"] + behind.get("reused", 0)
        return {**self.own_counts, "asked": behind.get("asked", 0), "reused": reused}

    @property
    def facts(self) -> dict[str, str]:
        """What is worth keeping beside the answers: who gave them, as far as that was found out."""
        told: dict[str, str] = dict(getattr(self._llm, "facts", {}))
        return told | ({"model_version": self.version} if self.version else {})

    def generate(self, feed: Iterator[Request | None]) -> Iterator[Delivery]:
        """As `LLM.generate`; a recorded answer is a delivery of its own. The file is open meanwhile, for nobody else.

        Raises:
            BadFile: The file holds something else than answers.
            LimrankError: Somebody else is writing to it.
        """
        if self._path is None:
            yield from _Exchange(self, feed).deliveries()
            return
        exchange = _Exchange(self, feed)
        with contextlib.closing(Calls(self._path)) as self._calls, contextlib.closing(exchange.deliveries()) as answers:
            yield from answers

    def recall(self, key: bytes, request: Request) -> Response | None:
        """The recorded answer, if there is a usable one; who else has use for it is written down, too."""
        fields = None if self._calls is None else self._calls.get(key)
        if fields is None:
            return None
        response = response_of(fields)
        if (fields.get("query_id"), fields.get("doc_ids")) != (request.query_id, list(request.doc_ids)):
            self.note(key, request, response)
        return response

    def check_version(self, response: Response) -> None:
        """Refuse answers of two versions in one run: one of them would be a change that nobody made.

        Raises:
            LimrankError: The server serves another version than the one whose answers are recorded.
        """
        if response.version and self.version not in ("", response.version):
            where = f"{self._path}: " if self._path else ""
            raise LimrankError(
                f"{where}holds answers of {self.version!r}, and {response.version!r} answers now; ask for one version "
                "by its full name"
            )
        self.version = self.version or response.version

    def note(self, key: bytes, request: Request, response: Response) -> None:
        """Write an answer down for documents that ask the same as others did, having the same text."""
        if self._calls is not None and response.status in USABLE:
            self._calls.also(Entry(key, fields_of(request, response)))

    def record(self, answers: list[tuple[bytes, Request, Response]]) -> None:
        """Put a delivery into the calls file."""
        if self._calls is not None:
            self._calls.append(Entry(key, fields_of(request, response)) for key, request, response in answers)


class _Exchange:
    """One `generate` of a Recorded: who waits for which key."""

    def __init__(self, recorded: Recorded, feed: Iterator[Request | None]) -> None:
        self.recorded, self.feed = recorded, feed
        self.positions = itertools.count()
        self.waiting: dict[bytes, list[tuple[int, Request]]] = {}
        self.asked: dict[int, tuple[bytes, Request]] = {}
        self.fresh: deque[tuple[bytes, Request]] = deque()
        self.ready: Delivery = []
        self.ended = False

    def deliveries(self) -> Generator[Delivery, None, None]:
        answers = cast(Generator[Delivery, None, None], self.recorded._llm.generate(self.questions()))
        with contextlib.closing(answers):
            while True:
                # The model is entered only with a question for it in hand: until then, known answers flow past it.
                while not (self.asked or self.fresh or self.ended):
                    if self.pull() is None and not (self.ready or self.fresh or self.ended):
                        raise RuntimeError("the feed gave None while no answer was outstanding")
                    if self.ready:
                        yield self.take_ready()
                if not (self.asked or self.fresh):
                    return
                if (delivery := next(answers, None)) is None:
                    return
                yield self.recorded_delivery(delivery) + self.take_ready()

    def questions(self) -> Iterator[Request | None]:
        """What the model is fed: requests that are neither known nor under way."""
        for position in itertools.count():
            while not self.fresh:
                if self.ended:
                    return
                if self.pull() is None and not self.ended:
                    yield None
            self.asked[position] = self.fresh.popleft()
            yield self.asked[position][1]

    def pull(self) -> Request | None:
        """Take the feed's next request and sort it: to `ready`, `waiting` or `fresh`."""
        try:
            request = next(self.feed)
        except StopIteration:
            self.ended = True
            return None
        if request is None:
            return None
        position, key = next(self.positions), key_of(self.recorded.name, request)
        if key in self.waiting:
            self.waiting[key].append((position, request))
            self.recorded.own_counts["reused"] += 1
        elif (known := self.recorded.recall(key, request)) is not None:
            self.recorded.own_counts["reused"] += 1
            # Whether it is forced depends on the thought that this request knows of, not on who asked first.
            known = checked(request, known)
            self.recorded.check_version(known)
            self.count(known, first=True)
            self.ready.append((position, known))
        else:
            self.waiting[key] = [(position, request)]
            self.fresh.append((key, request))
            self.recorded.own_counts["asked"] += 1
        return request

    def recorded_delivery(self, delivery: Delivery) -> Delivery:
        """Write the model's answers down, and address them to all who wait for them."""
        answers = []
        for position, response in delivery:
            key, request = self.asked.pop(position)
            self.recorded.check_version(response)
            answers.append((key, request, checked(request, response)))
        self.recorded.record(answers)
        addressed: Delivery = []
        for key, asked, response in answers:
            for position, request in self.waiting.pop(key):
                addressed.append((position, checked(request, response)))
                self.count(addressed[-1][1], first=request is asked)
                if request is not asked:
                    self.recorded.note(key, request, response)
        return addressed

    def take_ready(self) -> Delivery:
        ready, self.ready = self.ready, []
        return ready

    def count(self, response: Response, *, first: bool) -> None:
        """Count an answer given out; its tokens only where it is the first with this answer."""
        counts = self.recorded.own_counts
        counts[response.status] += 1
        counts["truncated"] += response.truncated_tokens > 0
        if first:
            counts["prompt_tokens"] += response.prompt_tokens
            counts["completion_tokens"] += response.completion_tokens


def fields_of(request: Request, response: Response) -> dict[str, Any]:
    """What of a response is written: whom it is about, and the fields that are not their defaults."""
    fields: dict[str, Any] = {"query_id": request.query_id, "doc_ids": request.doc_ids}
    defaults = Response._field_defaults
    return fields | {name: value for name, value in response._asdict().items() if value != defaults[name]}


def response_of(fields: dict[str, Any]) -> Response:
    """The inverse of `fields_of`, less the request's labels."""
    known: dict[str, Any] = {name: fields[name] for name in Response._fields if name in fields}
    for name, value in known.items():
        if isinstance(value, list):
            known[name] = tuple(value)
    return Response(**known)
