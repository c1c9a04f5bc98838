"""Replicas of any other backend as actors on a Ray cluster: `ray:8x transformers:MODEL dtype=float32`.

The requests of one query that arrive together go to one replica together, so its batches, and with them its answers,
are those of the backend alone; so is its name, and the calls file is shared with it. A replica that dies is replaced,
and what it has not answered is asked again elsewhere. Plain Ray Core; knows nothing of models.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import re
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

from limrank.errors import LimrankError, Mismatch
from limrank.llm import Delivery
from limrank.llm._cluster import Cluster, Died
from limrank.llm._replica import Asked
from limrank.records import Request, Response

logger = logging.getLogger(__name__)

# Requests that belong to no query have no natural group; as many as transformers takes for one.
STRANGERS = 256
# What so many replicas did not survive is taken for the cause.
LIVES = 3
# Queries whose replica is remembered, for what it may still hold of their prompts.
HOMES = 2**16


def load(
    model: str = "",
    *,
    llm: str = "",
    num_gpus: float | None = None,
    num_cpus: float = 1.0,
    address: str = "",
    in_flight: int = 64,
    restarts: int = 3,
) -> Ray:
    """Replicas of a language model; waits until the first one is there.

    Args:
        model: How many: `8x`, or `8`; 1 by default.
        llm: The backend and its options; written last, it needs no `llm=` and no quotes.
        num_gpus: GPUs of a replica, which sees no others (with 0, all); by default the cluster's are divided among
            the replicas, and none gets more than one.
        num_cpus: CPUs of a replica; Ray makes it the number of torch's threads, too.
        address: Of a running cluster, on which limrank is installed: `auto`, `HOST:PORT` or `ray://HOST:PORT`. By
            default RAY_ADDRESS, and without it this machine.
        in_flight: A replica with fewer unanswered requests than this gets those of one more query. Changes no answer.
        restarts: How often a replica is replaced that dies again before it has answered anything.

    Raises:
        LimrankError: The replicas do not fit the cluster, or whatever the backend says of its own options.
        MissingExtra: Ray is not installed here, or something that the backend needs there.
    """
    match = re.fullmatch(r"(\d*)x?", model)
    replicas = int(match[1] or 1) if match else 0
    if replicas < 1:
        raise LimrankError(f"ray:{model}: expected how many replicas, as in ray:8x transformers:MODEL")
    if not llm:
        raise LimrankError("ray needs a backend to replicate, as in ray:8x transformers:MODEL")
    numbers = {"num_gpus": num_gpus or 0, "num_cpus": num_cpus, "restarts": restarts}
    for name, value, least in [("in_flight", in_flight, 1), *((name, value, 0) for name, value in numbers.items())]:
        if not least <= value < math.inf:
            raise LimrankError(f"{name}={value}: expected {least} or more")
    cluster = Cluster(address, cpus=math.ceil(replicas * num_cpus))
    try:
        gpus = cluster.share(replicas, num_cpus, num_gpus)
        return Ray(cluster, functools.partial(cluster.start, llm, num_cpus, gpus), replicas, in_flight, restarts)
    except BaseException:
        cluster.close()
        raise


class Ray:
    """As `LLM`; made by `load`. Its replicas live as long as it does, or until `close`."""

    def __init__(
        self, cluster: Cluster, start: Callable[[], Any], replicas: int, in_flight: int, restarts: int
    ) -> None:
        self.close = weakref.finalize(self, cluster.close)
        self.in_flight = in_flight
        self._cluster, self._start, self._restarts = cluster, start, restarts
        self._sessions = itertools.count()
        self.name = ""
        self.seats = [Seat(start()) for _ in range(replicas)]
        while not self.name:
            self.settle()

    def generate(self, feed: Iterator[Request | None]) -> Iterator[Delivery]:
        """As `LLM.generate`; a delivery is one of a replica."""
        for seat in self.seats:
            seat.forget()
        return _Exchange(self, next(self._sessions), _groups(feed)).deliveries()

    def settle(self) -> tuple[Delivery, list[Asked]]:
        """Wait for one replica: its answers, or the requests that it died with; neither where it has been opened.

        Raises:
            Exception: What the backend raised.
            LimrankError: No replica is left.
        """
        calls = {seat.call: seat for seat in self.seats if seat.call is not None}
        call = self._cluster.first(list(calls))
        seat = calls[call]
        try:
            result = self._cluster.result(call)
        except Died as error:
            asked = list(seat.asked.items())
            self._replace(seat, error)
            return [], asked
        seat.call = None
        if seat.ready:
            return seat.answered(result), []
        if self.name and result != self.name:
            raise Mismatch(f"the replicas differ: {self.name} and {result}; say which dtype=... and device=...")
        self.name, seat.ready = result, True
        return [], []

    def _replace(self, seat: Seat, error: Died) -> None:
        self._cluster.stop(seat.actor)
        if seat.deaths < self._restarts:
            logger.warning("a replica died and is replaced: %s", error)
            seat.replace(self._start())
            return
        self.seats.remove(seat)
        logger.warning("a replica died, %d are left: %s", len(self.seats), error)
        if not self.seats:
            raise LimrankError(f"all replicas of {self.name or 'the backend'} died, the last one of: {error}")


class Seat:
    """A replica as seen from here.

    Attributes:
        actor: Ray's handle of it.
        call: What it is doing, if anything: it is being opened, or takes a step.
        ready: Whether it is open.
        asked: Its unanswered requests by position.
        deaths: How many in a row had this seat and died of it without an answer.
    """

    def __init__(self, actor: Any) -> None:
        self.deaths = 0
        self.actor = actor
        self.call: Any = actor.open.remote()
        self.ready = False
        self.asked: dict[int, Request] = {}
        self._fresh: list[Asked] = []

    def replace(self, actor: Any) -> None:
        """Give the seat to another one."""
        self.deaths += 1
        self.actor, self.call, self.ready = actor, actor.open.remote(), False
        self.forget()

    def forget(self) -> None:
        """Begin anew with a replica that may still be at work for somebody who has left."""
        self.asked, self._fresh = {}, []
        if self.ready:
            self.call = None

    def take(self, group: list[Asked]) -> None:
        """Have requests ready for the next step."""
        self.asked |= group
        self._fresh += group

    def step(self, session: int) -> None:
        """Let the replica work, if it can and there is work."""
        if self.ready and self.call is None and self.asked:
            self.call = self.actor.step.remote(session, self._fresh)
            self._fresh = []

    def answered(self, delivery: Delivery) -> Delivery:
        """Note which requests need no answer any more."""
        self.deaths = 0
        for position, _ in delivery:
            del self.asked[position]
        return delivery


class _Exchange:
    """One `generate` of a Ray: who is asked what."""

    def __init__(self, ray: Ray, session: int, groups: Iterator[list[Asked] | None]) -> None:
        self.ray, self.session, self.groups = ray, session, groups
        self.ended = False
        self.lost: deque[list[Asked]] = deque()
        self.deaths: Counter[int] = Counter()
        self.homes: dict[str, Seat] = {}

    def deliveries(self) -> Iterator[Delivery]:
        while True:
            self.hand_out()
            for seat in self.ray.seats:
                seat.step(self.session)
            if self.ended and not self.lost and not any(seat.asked for seat in self.ray.seats):
                return
            delivery, orphans = self.ray.settle()
            if delivery := delivery or self.bereaved(orphans):
                yield delivery

    def hand_out(self) -> None:
        """Give the replicas work while they have room and there is some."""
        while room := [seat for seat in self.ray.seats if seat.ready and len(seat.asked) < self.ray.in_flight]:
            group = self.lost.popleft() if self.lost else self.pull()
            if group is None:
                return
            query_id = group[0][1].query_id
            home = self.homes.get(query_id)
            seat = home if home in room else min(room, key=lambda seat: len(seat.asked))
            if len(self.homes) >= HOMES:
                self.homes.clear()
            self.homes[query_id] = seat
            seat.take(group)

    def pull(self) -> list[Asked] | None:
        try:
            return next(self.groups)
        except StopIteration:
            self.ended = True
            return None

    def bereaved(self, orphans: list[Asked]) -> Delivery:
        """Have the requests of a replica that died asked again; failures for those that too many have died of."""
        groups = [list(group) for _, group in itertools.groupby(orphans, lambda asked: asked[1].query_id)]
        if not groups:
            return []
        # It worked on the oldest ones, or at least on them, too.
        self.deaths.update(position for position, _ in groups[0])
        failed = [position for position, _ in groups[0] if self.deaths[position] >= LIVES]
        groups[0] = [asked for asked in groups[0] if asked[0] not in failed]
        self.lost.extend(group for group in groups if group)
        error = f"{LIVES} replicas died, each while it worked on this request"
        return [(position, Response(status="failed", error=error)) for position in failed]


def _groups(feed: Iterator[Request | None]) -> Iterator[list[Asked] | None]:
    """Consecutive requests of the same query with their positions; None where the feed has nothing for now."""
    group: list[Asked] = []
    position = 0
    for request in feed:
        other = request is not None and group and request.query_id != group[0][1].query_id
        full = len(group) == STRANGERS and not group[0][1].query_id
        if group and (request is None or other or full):
            yield group
            group = []
        if request is None:
            yield None
        else:
            group.append((position, request))
            position += 1
    if group:
        yield group
