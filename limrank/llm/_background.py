"""A session with servers in a thread of its own: questions go in, answers come out of a queue, in the order they come.

Knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

from limrank.llm._served import Session
from limrank.llm._tokens import Encoded
from limrank.records import Request, Response

T = TypeVar("T")


class Background:
    """A session in an event loop in a thread of its own, which ends with the block."""

    def __init__(self, session: Session) -> None:
        self.answers: queue.SimpleQueue[tuple[int, Response | BaseException]] = queue.SimpleQueue()
        self._session, self._tasks, self._loop = session, set[asyncio.Task[Response]](), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="limrank-openai", daemon=True)

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run(self._close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def ask(self, batch: list[Asked]) -> None:
        """Begin to ask; each answer, or the error that ends everything, will be in `answers`."""
        self._loop.call_soon_threadsafe(self._begin, batch)

    def _begin(self, batch: list[Asked]) -> None:
        for asked in batch:
            task = self._loop.create_task(self._session.answer(asked.request, asked.encoded))
            self._tasks.add(task)
            task.add_done_callback(functools.partial(self._done, asked.position))

    def _done(self, position: int, task: asyncio.Task[Response]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self.answers.put((position, task.exception() or task.result()))

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class Asked(NamedTuple):
    """A request under way, with its prompt as token ids where there is a tokenizer."""

    position: int
    request: Request
    encoded: Encoded | None
