"""limrank/llm/ray.py, _replica.py and _cluster.py"""

import importlib.util
import itertools
import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from limrank import plugins
from limrank.errors import LimrankError, Mismatch, MissingExtra, Unknown
from limrank.llm import Delivery, open_llm
from limrank.llm._cluster import Died
from limrank.llm._recorded import Recorded
from limrank.llm._replica import Replica
from limrank.llm.fake import Fake
from limrank.llm.ray import Ray
from limrank.records import Document, Message, Part, Query, Request, Response
from limrank.rerank import Job, open_reranker

installed = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")


def ask(text: str, query_id: str = "q", **fields: object) -> Request:
    choices = (Part(" a", True), Part(" b", True))
    return Request((Message("", (Part(text, True),)),), query_id, choices=choices)._replace(**fields)


def requests_of(queries: int, size: int) -> list[Request]:
    return [ask(f"{query} {i}", f"q{query}") for query in range(queries) for i in range(size)]


def answers(llm: Any, requests: list[Request]) -> dict[int, Response]:
    given = [pair for delivery in llm.generate(iter(requests)) for pair in delivery]
    assert len({position for position, _ in given}) == len(given)
    return dict(given)


class Here:
    """A cluster in this process, without Ray: calls are done one after the other, and actors die when told to."""

    def __init__(self, spec: str = "fake:hash batch=3") -> None:
        self.spec = spec
        self.started: list[Actor] = []
        self.dies: Callable[[Actor, list[tuple[int, Request]]], bool] = lambda actor, asked: False
        self.order = random.Random(0)
        self.closed = 0

    def start(self) -> "Actor":
        self.started.append(Actor(self))
        return self.started[-1]

    def stop(self, actor: "Actor") -> None:
        actor.dead = True

    def first(self, calls: list[Any]) -> Any:
        return self.order.choice(calls)

    def result(self, call: Any) -> Any:
        return call.do()

    def close(self) -> None:
        self.closed += 1


class Actor:
    """What Ray's handle offers: `open.remote()` and `step.remote(session, asked)`."""

    def __init__(self, here: Here) -> None:
        self.here, self.replica = here, Replica(here.spec)
        self.dead = False
        self.asked: list[list[tuple[int, Request]]] = []
        self.open = self.step = self

    def remote(self, *values: Any) -> "Actor.Call":
        if values:
            self.asked.append(list(values[1]))
        return Actor.Call(self, values)

    class Call:
        def __init__(self, actor: "Actor", values: tuple[Any, ...]) -> None:
            self.actor, self.values = actor, values

        def do(self) -> Any:
            asked = list(self.values[1]) if self.values else []
            if self.actor.dead or self.actor.here.dies(self.actor, asked):
                self.actor.dead = True
                raise Died("killed")
            return self.actor.replica.step(*self.values) if self.values else self.actor.replica.open()


def replicas(here: Here, count: int = 2, in_flight: int = 5, restarts: int = 3) -> Ray:
    llm = Ray(here, here.start, count, in_flight, restarts)  # type: ignore[arg-type]
    while not all(seat.ready for seat in llm.seats):
        llm.settle()
    return llm


def test_the_spec_is_written_as_one_thinks_of_it() -> None:
    name, model, options = plugins.parse_spec("ray:8x num_gpus=1 address=auto transformers:a/b dtype=float32 x='1 2'")
    assert (name, model) == ("ray", "8x")
    assert options == {"num_gpus": "1", "address": "auto", "llm": "transformers:a/b dtype=float32 'x=1 2'"}
    assert plugins.parse_spec("ray:8x llm='transformers:a/b dtype=float32'").options["llm"] == (
        "transformers:a/b dtype=float32"
    )


@pytest.mark.parametrize(("count", "in_flight"), [(1, 1), (2, 1), (3, 100), (5, 7)])
def test_answers_are_those_of_the_backend_alone(count: int, in_flight: int) -> None:
    llm = replicas(Here(), count, in_flight)
    requests = requests_of(9, 7)
    assert llm.name == open_llm("fake:hash").name
    assert answers(llm, requests) == answers(open_llm("fake:hash"), requests)


def test_the_requests_of_a_query_stay_together_in_order_and_all_replicas_work() -> None:
    here = Here()
    answers(replicas(here, 3), requests_of(12, 7))
    for actor in here.started:
        positions = [position for asked in actor.asked for position, _ in asked]
        assert len(positions) >= 14
        assert [position - position % 7 for position in positions[::7]] == positions[::7]
        assert positions == [start + i for start in positions[::7] for i in range(7)]


def test_the_feed_is_pulled_only_while_a_replica_has_room() -> None:
    """Two replicas of room for 5, queries of 7: a query each, and the request that shows where the second one ends."""
    pulled = []

    def feed() -> Iterator[Request]:
        for request in requests_of(50, 7):
            pulled.append(request)
            yield request

    next(replicas(Here(), 2, 5).generate(feed()))
    assert len(pulled) == 15


def test_a_second_question_that_depends_on_the_first_is_asked_when_its_answer_is_there() -> None:
    got: list[int] = []

    def feed() -> Iterator[Request | None]:
        yield from requests_of(3, 4)
        while len(got) < 12:
            yield None
        yield ask("second")

    for delivery in replicas(Here()).generate(feed()):
        got += [position for position, _ in delivery]
    assert sorted(got) == list(range(13)) and got[-1] == 12


def test_whoever_leaves_early_disturbs_nobody_who_comes_later() -> None:
    llm = replicas(Here())
    first = llm.generate(iter(requests_of(9, 7)))
    next(first), next(first)
    first.close()  # type: ignore[attr-defined]
    others = [ask(f"other {i}", f"o{i // 5}") for i in range(30)]
    assert answers(llm, others) == answers(open_llm("fake:hash"), others)


@pytest.mark.parametrize("seed", range(5))
def test_what_the_dead_have_not_answered_is_asked_of_the_living(seed: int) -> None:
    """Every seventh step, counted from the seed, kills."""
    here, steps = Here(), itertools.count(seed)
    here.dies = lambda actor, asked: next(steps) % 7 == 6
    llm = replicas(here)
    requests = requests_of(9, 7)
    assert answers(llm, requests) == answers(open_llm("fake:hash"), requests)
    assert len(here.started) > 3 and len(llm.seats) == 2


def test_a_request_that_kills_fails_with_its_query_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = open_llm("fake:hash batch=7")

    def deadly(request: Request) -> Response:
        if request.messages[0].parts[0].text == "4 2":
            raise Died("of 4 2")
        return answers(alone, [request])[0]

    monkeypatch.setattr("limrank.llm._replica.open_llm", lambda spec: Fake(deadly, batch=7))
    here = Here()
    given = answers(replicas(here), requests := requests_of(9, 7))
    assert {position for position, answer in given.items() if answer.status == "failed"} == set(range(28, 35))
    assert "3 replicas died" in given[30].error and len(here.started) == 5
    expected = answers(alone, requests)
    assert [given[i] for i in range(63) if not 28 <= i < 35] == [expected[i] for i in range(63) if not 28 <= i < 35]


def test_when_no_replica_is_left_the_work_stops_with_an_error() -> None:
    here = Here()
    llm = replicas(here, restarts=1)
    here.dies = lambda actor, asked: True
    with pytest.raises(LimrankError, match="all replicas of fake:hash seed=0 died, the last one of: killed"):
        answers(llm, requests_of(9, 7))
    assert len(here.started) == 4


def test_a_backend_that_breaks_is_not_tried_again() -> None:
    here = Here()
    llm = replicas(here, 1)

    def broken(feed: Iterator[Request | None]) -> Iterator[Delivery]:
        raise OSError("broken")
        yield

    here.started[0].replica._llm.generate = broken  # type: ignore[method-assign]
    with pytest.raises(OSError, match="broken"):
        answers(llm, requests_of(2, 2))
    assert len(here.started) == 1


def test_replicas_that_are_not_the_same_model_are_refused() -> None:
    here = Here()
    start = here.start

    def other() -> Actor:
        here.spec = f"fake:hash seed={len(here.started)}"
        return start()

    here.start = other  # type: ignore[method-assign]
    with pytest.raises(Mismatch, match="the replicas differ: fake:hash seed=. and fake:hash seed=."):
        replicas(here)


def test_what_is_no_replica_count_or_no_backend_is_refused() -> None:
    for spec in ("ray:x8 fake:hash", "ray:0x fake:hash", "ray:-1 fake:hash", "ray:2x"):
        with pytest.raises(LimrankError, match="as in ray:8x transformers:MODEL"):
            open_llm(spec)
    with pytest.raises(LimrankError, match="in_flight=0: expected 1 or more"):
        open_llm("ray:2x in_flight=0 fake:hash")
    with pytest.raises(LimrankError, match="num_gpus=nan: expected 0 or more"):
        open_llm("ray:2x num_gpus=nan fake:hash")


def test_without_ray_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'limrank\[ray\]'"):
        open_llm("ray:2x fake:hash")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One cluster for all tests that want a real one."""
    llm = open_llm("ray:1x num_cpus=0 fake:hash")
    yield
    llm.close()  # type: ignore[attr-defined]
    import ray

    assert not ray.is_initialized()


@installed
def test_replicas_that_fit_no_cluster_are_refused(cluster: None) -> None:
    with pytest.raises(LimrankError, match="2 replicas with num_gpus=999 each need 1998, the cluster has"):
        open_llm("ray:2x num_gpus=999 fake:hash")


SPEC = "fake:hash batch=3 delay=0.02"


def reranked(llm: Any, calls: Path, meanwhile: Callable[[int], None]) -> tuple[list[Any], dict[str, Any]]:
    """A rerank of 12 queries x 20 documents: rankings, and what is in the calls file by key."""
    jobs = [
        Job(Query(f"q{n}", f"about {n}"), tuple(Document(f"d{i}", f"text {i}") for i in range(20)), ())
        for n in range(12)
    ]
    recorded = Recorded(llm, calls)
    rankings = []
    for ranking in open_reranker("pointwise", llm=recorded).rerank(jobs):
        rankings.append(ranking)
        meanwhile(len(rankings))
    lines = [json.loads(line) for line in calls.read_text().splitlines()]
    assert len({line["key"] for line in lines}) == len(lines) == 240
    found = {line["key"]: {name: line[name] for name in line if name != "more"} for line in lines}
    return sorted(rankings), found


def stopped(actor: Any) -> None:
    import ray

    ray.kill(actor)


def killed(actor: Any) -> None:
    import ray

    os.kill(ray.get(actor.__ray_call__.remote(lambda replica: os.getpid())), signal.SIGKILL)


@installed
@pytest.mark.parametrize("end", [stopped, killed])
def test_a_killed_actor_changes_neither_rankings_nor_calls(cluster: None, tmp_path: Path, end: Any) -> None:
    whole = reranked(open_llm("fake:hash"), tmp_path / "whole", lambda count: None)
    llm = open_llm(f"ray:2x num_cpus=0 {SPEC}")
    first = llm.seats[0].actor  # type: ignore[attr-defined]
    again = reranked(llm, tmp_path / "killed", lambda count: end(first) if count == 3 else None)
    assert again == whole
    assert first not in [seat.actor for seat in llm.seats] and len(llm.seats) == 2  # type: ignore[attr-defined]
    llm.close()  # type: ignore[attr-defined]


@installed
def test_two_real_replicas_share_the_work_and_a_calls_file_with_none(cluster: None, tmp_path: Path) -> None:
    whole = reranked(open_llm("fake:hash"), tmp_path / "calls", lambda count: None)
    llm = open_llm(f"ray:2x num_cpus=0 {SPEC}")
    assert reranked(llm, tmp_path / "calls", lambda count: None) == whole
    assert reranked(llm, tmp_path / "others", lambda count: None) == whole
    llm.close()  # type: ignore[attr-defined]


@installed
def test_a_replica_that_cannot_start_says_why_at_once(cluster: None) -> None:
    with pytest.raises(Unknown, match="unknown fake model 'nope'; known: hash, oracle"):
        open_llm("ray:2x num_cpus=0 fake:nope")
    with pytest.raises(LimrankError, match="option batch=x of LLM backend fake: expected a whole number"):
        open_llm("ray:2x num_cpus=0 fake:hash batch=x")
