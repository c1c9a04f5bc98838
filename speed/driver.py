"""What the driver and the calls file cost for one request, and how much memory they take, with a model that is free.

    python speed/driver.py --queries 2000 --candidates 50

The rows: the fake model alone; the driver over it; driver and calls file; and the same again from the calls file alone.
Then what it costs to find a place for a question among many servers, which answer at once.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from limrank import prompt as prompts
from limrank.llm import LLM
from limrank.llm._endpoints import Endpoints
from limrank.llm._recorded import Recorded
from limrank.llm.fake import Fake
from limrank.records import Document, Query, Request, Response, ScoredDoc
from limrank.rerank import Job, pointwise

TEXT = "a passage of about a hundred and fifty words, as they are. " * 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--candidates", type=int, default=50)
    options = parser.parse_args()
    count = options.queries * options.candidates
    fake = Fake(lambda request: Response(logprobs=(-1.0, -2.0), choice_tokens=(1, 1)), batch=32)
    jobs = partial(make_jobs, options.queries, options.candidates)
    print(f"{count:,} requests of {len(TEXT)} characters; begins at {megabytes():.0f} MB")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.calls.jsonl"
        show("prompts and fake model", count, lambda: drain(fake, jobs()))
        show("and driver", count, lambda: rerank(fake, jobs()))
        show("and calls file", count, lambda: recorded(fake, path, jobs()))
        show("from the calls file", count, lambda: recorded(fake, path, jobs()))
        print(f"calls file: {path.stat().st_size / count:.0f} bytes a request")
    for servers, slots in ((1, 64), (8, 64), (8, 128), (16, 128)):
        show(f"{servers} servers, {slots} slots", 20_000, partial(asyncio.run, placed(servers, slots, 20_000)))


async def placed(servers: int, slots: int, count: int) -> None:
    """As the openai backend asks: as many at a time as there are slots, and some more."""
    endpoints = Endpoints([f"{n}" for n in range(servers)], concurrency=slots, retries=1, backoff=1.0)
    numbers = iter(range(count))

    async def ask(_: str) -> None:
        await asyncio.sleep(0)

    async def worker() -> None:
        for number in numbers:
            await endpoints.answer(ask, (("prompt", number), ("query", number // 50)))

    await asyncio.gather(*(worker() for _ in range(servers * slots + 128)))


def make_jobs(queries: int, candidates: int) -> Iterator[Job]:
    for n in range(queries):
        documents = tuple(Document(f"d{n}-{i}", f"{n} {i} {TEXT}") for i in range(candidates))
        yield Job(Query(f"q{n}", f"query {n}"), documents, tuple(ScoredDoc(doc.doc_id, 0.0) for doc in documents))


def drain(llm: LLM, jobs: Iterator[Job]) -> None:
    prompt = prompts.load(pointwise.PROMPT)

    def feed() -> Iterator[Request]:
        for job in jobs:
            yield from [pointwise._request(job, i, prompt, thinks=False) for i in range(len(job.documents))]

    for _ in llm.generate(feed()):
        pass


def rerank(llm: LLM, jobs: Iterator[Job]) -> None:
    for _ in pointwise.load(llm, prompts.load(pointwise.PROMPT)).rerank(jobs):
        pass


def recorded(llm: LLM, path: Path, jobs: Iterator[Job]) -> None:
    store = Recorded(llm, path)
    rerank(store, jobs)


def show(name: str, count: int, work: object) -> None:
    assert callable(work)
    start = time.perf_counter()
    work()
    print(
        f"{name:24} {(time.perf_counter() - start) / count * 1e6:6.1f} us a request, peak {megabytes():.0f} MB so far"
    )


def megabytes() -> float:
    """The most memory that the process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
