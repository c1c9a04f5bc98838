"""Which of several endpoints, all serving the same model, answers a question: slots, homes, rests, failover.

A question goes to the endpoint that holds its prefix, else to the one with the fewest in flight; where all others are
busy, a free endpoint takes what waits for them. An endpoint that fails rests, longer each time, and comes back. Lives
in one event loop; knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

from limrank.errors import LimrankError
from limrank.llm._http import Unanswered, Unusable

LONGEST_REST = 60.0
HOMES = 2**16

T = TypeVar("T")


class OtherModel(Unusable):
    """The endpoint serves another model; nothing it says is of use."""


class Endpoint:
    """One server.

    Attributes:
        url: Its base.
        in_flight: Questions it is busy with.
        failures: Times in a row that it had to rest.
        rested: Since when it rests, or did last.
        back: When it may be asked again.
        dropped: Why it is never asked again; empty for a good one.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.in_flight = self.failures = 0
        self.rested = self.back = 0.0
        self.dropped = ""


class _Waiting:
    """A question that waits for a slot."""

    def __init__(self, keys: Sequence[Hashable]) -> None:
        self.keys = keys
        self.tried: set[Endpoint] = set()
        self.last: Endpoint | None = None
        self.error: Exception | None = None
        self.slot: asyncio.Future[Endpoint]


class Endpoints:
    """All endpoints of a model.

    Args:
        urls: Of at least one.
        concurrency: Questions that one endpoint is asked at a time.
        retries: How often a question that got no answer is asked again.
        backoff: Seconds of an endpoint's first rest; each further one is twice as long, up to a minute.
    """

    def __init__(self, urls: Sequence[str], *, concurrency: int, retries: int, backoff: float) -> None:
        self.endpoints = [Endpoint(url) for url in urls]
        self._concurrency, self._retries, self._backoff = concurrency, retries, backoff
        # Questions without an endpoint: asked anew, by home, and those that have failed somewhere.
        self._at_home: dict[Endpoint, deque[_Waiting]] = {endpoint: deque() for endpoint in self.endpoints}
        self._homeless: deque[_Waiting] = deque()
        self._again: list[_Waiting] = []
        self._homes: dict[Hashable, Endpoint] = {}
        self._placing = False
        self._lost = 0
        self._last_words = ""

    async def answer(self, ask: Callable[[str], Awaitable[T]], keys: Sequence[Hashable] = ()) -> T:
        """What `ask` returns for the URL of an endpoint.

        Args:
            ask: Raises Unanswered or Unusable where it has no answer.
            keys: What the question shares its prefix with, the closest first; decides only where it is asked.

        Raises:
            Unanswered: No answer in all attempts.
            Unusable: No endpoint has a usable answer.
            LimrankError: No endpoint is left, or none has answered for long.
        """
        waiting = _Waiting(keys)
        attempts = 0
        while True:
            endpoint = await self._slot(waiting)
            begun = self._now()
            try:
                result = await ask(endpoint.url)
            except Unusable as error:
                endpoint.dropped = str(error) if isinstance(error, OtherModel) else endpoint.dropped
                waiting.tried.add(endpoint)
                waiting.error = error
            except Unanswered as error:
                self._rest(endpoint, begun, error)
                waiting.last = endpoint
                attempts += 1
                if waiting.error is not None and attempts > 1:
                    # Whoever can answer had no use for it: to insist on one who cannot would only cost time.
                    raise waiting.error from None
                if attempts > self._retries:
                    self._lost += 1
                    raise
            else:
                endpoint.failures = self._lost = 0
                return result
            finally:
                endpoint.in_flight -= 1
                self._place_soon()

    async def _slot(self, waiting: _Waiting) -> Endpoint:
        """An endpoint of which a slot now belongs to the caller."""
        # More questions lost in a row than can be in flight together: it is not they that are to blame.
        if self._lost > max(self._concurrency * len(self.endpoints), 4):
            raise LimrankError(f"no endpoint answers, the last said: {self._last_words}; run again to continue")
        waiting.slot = asyncio.get_running_loop().create_future()
        if waiting.error or waiting.last:
            self._again.append(waiting)
        else:
            home = self._home(waiting)
            (self._homeless if home is None else self._at_home[home]).append(waiting)
        self._place_soon()
        return await waiting.slot

    def _rest(self, endpoint: Endpoint, begun: float, error: Unanswered) -> None:
        self._last_words = str(error)
        now = self._now()
        if begun >= endpoint.rested:  # else it was asked before the rest that this failure would be the reason for
            endpoint.failures += 1
            endpoint.rested = now
            # Jitter, so that many clients do not come back at the same moment.
            pause = self._backoff * 2 ** min(endpoint.failures - 1, 16) * random.uniform(0.5, 1.0)
            endpoint.back = max(endpoint.back, now + min(pause, LONGEST_REST))
        endpoint.back = max(endpoint.back, now + min(error.rest, LONGEST_REST))
        asyncio.get_running_loop().call_at(endpoint.back, self._place_soon)

    def _place_soon(self) -> None:
        # Once for all questions that arrive together: each should see what else there is to do.
        if not self._placing:
            self._placing = True
            asyncio.get_running_loop().call_soon(self._place)

    def _place(self) -> None:
        self._placing = False
        live = self._live()
        for endpoint in self.endpoints:
            if endpoint.dropped:
                self._homeless.extend(self._at_home[endpoint])
                self._at_home[endpoint].clear()
        if not live:
            for waiting in (*self._again, *self._homeless):
                if not waiting.slot.done():
                    waiting.slot.set_exception(LimrankError(self.endpoints[0].dropped))
            self._again.clear()
            self._homeless.clear()
        for waiting in [waiting for waiting in self._again if waiting.tried.issuperset(live)]:
            self._again.remove(waiting)
            if not waiting.slot.done() and waiting.error:
                waiting.slot.set_exception(waiting.error)
        while (found := self._match()) is not None:
            endpoint, waiting = found
            if waiting.slot.done():  # whoever asked has gone
                continue
            endpoint.in_flight += 1
            waiting.slot.set_result(endpoint)
            # The prompt's newest home is where its continuation belongs, the query's oldest that of the query.
            self._homes |= {key: endpoint for i, key in enumerate(waiting.keys) if not i or key not in self._homes}
            while len(self._homes) > HOMES:
                del self._homes[next(iter(self._homes))]

    def _match(self) -> tuple[Endpoint, _Waiting] | None:
        """The next question to be asked, no longer in a queue, and where.

        Those that failed somewhere come first, then those at home, then those without a home; last of all, a free
        endpoint takes from the longest queue of the others.
        """
        now = self._now()
        live = self._live()
        free = [one for one in live if one.in_flight < self._concurrency and one.back <= now]
        if not free:
            return None
        free.sort(key=lambda one: one.in_flight)
        for waiting in self._again:
            home = self._home(waiting)
            if may := [one for one in free if self._may(waiting, one, live, now)]:
                self._again.remove(waiting)
                return home if home in may else may[0], waiting
        for endpoint in free:
            if queue := self._at_home[endpoint]:
                return endpoint, queue.popleft()
        while self._homeless:
            waiting = self._homeless.popleft()
            if (home := self._home(waiting)) is None or home in free:
                return home or free[0], waiting
            self._at_home[home].append(waiting)  # found while it waited, by a question of the same query
        longest = max(self._at_home.values(), key=len)
        return (free[0], longest.popleft()) if longest else None

    def _may(self, waiting: _Waiting, endpoint: Endpoint, live: list[Endpoint], now: float) -> bool:
        if endpoint in waiting.tried:
            return False
        # It just failed there: it waits for another one, unless there is none or that rests longer.
        return waiting.last is not endpoint or all(
            one.back > now for one in live if one is not endpoint and one not in waiting.tried
        )

    def _home(self, waiting: _Waiting) -> Endpoint | None:
        """The endpoint that holds the question's prefix, if any does."""
        home = next((self._homes[key] for key in waiting.keys if key in self._homes), None)
        return None if home is None or home.dropped else home

    def _live(self) -> list[Endpoint]:
        return [endpoint for endpoint in self.endpoints if not endpoint.dropped]

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
