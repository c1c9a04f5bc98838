"""Language models behind one small contract: questions in, answers with their status out.

A backend is one file with `load(model, *, ...) -> LLM`. Knows nothing of queries, rankings or relevance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TypeAlias, cast

from limrank import plugins
from limrank.llm._rounding import rounding
from limrank.llm._said import Said, put_together
from limrank.records import Request, Response

__all__ = [
    "LLM",
    "Delivery",
    "Said",
    "checked",
    "open_llm",
    "put_together",
    "recorded_answers",
    "recorded_by_query",
    "rounding",
]

Delivery: TypeAlias = list[tuple[int, Response]]


class LLM(Protocol):
    """A language model that answers requests in batches of its own choosing.

    Attributes:
        name: Backend, model and everything else that can change an answer (revision, dtype, quantisation, limits): two
            LLMs with one name give the same answers.
    """

    name: str

    def generate(self, feed: Iterator[Request | None]) -> Iterator[Delivery]:
        """Answer what the feed gives.

        The feed is lazy: it is pulled when there is room for another request. It gives None while nothing can be asked
        until an answer that is outstanding has been taken, and ends when all has been asked.

        Yields:
            Deliveries: answers that became known at the same moment (one batch), each with the position of its request
            in the feed (None not counted), in any order. A delivery is never empty. A model that fails says so in
            `Response.status`; an exception is for what no further request can survive.
        """
        ...


def open_llm(spec: str) -> LLM:
    """The language model that `backend:model key=value` describes.

    Raises:
        Unknown: No such backend or option.
        MissingExtra: The backend's package is not installed.
    """
    name, model, options = plugins.parse_spec(spec)
    module = plugins.find("llm", name)
    return cast(LLM, plugins.call(module.load, model, options=options, what=f"LLM backend {name}"))


def recorded_answers(calls: Path, query_id: str) -> list[tuple[tuple[str, ...], Response]]:
    """What language models said about a query, failures included, and which documents it is about, in order of time.

    Args:
        calls: A calls file, `<run>.calls.jsonl`.
        query_id: Whose.

    Raises:
        BadFile: There is no such file, or it holds something else than answers of language models.
    """
    from limrank.llm._calls import entries
    from limrank.llm._recorded import response_of

    latest = {(entry["key"], *entry.get("doc_ids", ())): entry for entry in entries(calls, query_id)}
    return [(tuple(entry.get("doc_ids", ())), response_of(entry)) for entry in latest.values() if "scores" not in entry]


def recorded_by_query(calls: Path) -> dict[str, list[tuple[tuple[str, ...], Response]]]:
    """The same of every query, in one reading and without token ids, of which a long thought has many."""
    from limrank.llm._calls import entries
    from limrank.llm._recorded import response_of

    latest: dict[tuple[str, ...], tuple[str, tuple[str, ...], Response]] = {}
    for entry in entries(calls):
        if "scores" not in entry:
            answer = response_of(entry)._replace(token_ids=())
            query_id, doc_ids = str(entry.get("query_id", "")), tuple(entry.get("doc_ids", ()))
            latest[(entry["key"], query_id, *doc_ids)] = (query_id, doc_ids, answer)
    found: dict[str, list[tuple[tuple[str, ...], Response]]] = {}
    for query_id, doc_ids, answer in latest.values():
        found.setdefault(query_id, []).append((doc_ids, answer))
    return found


def checked(request: Request, response: Response) -> Response:
    """The response, or a failure where it is no answer to the request: a missing, superfluous or non-finite number.

    What is said behind a bridge, after a thought that did not end by itself, is `forced`. The same answer can be forced
    for one request and not for another, which looks at a thought that goes on: the status is the request's.
    """
    if response.status not in ("ok", "forced"):
        return response
    if len(response.logprobs) != len(request.choices):
        error = f"{len(response.logprobs)} log-probabilities for {len(request.choices)} choices"
    elif not all(map(math.isfinite, response.logprobs)):
        error = f"log-probabilities {response.logprobs} are not all finite"
    else:
        unclosed = request.after is not None and request.after.finish_reason not in ("stop", "early")
        return response._replace(status="forced" if unclosed and request.bridge else "ok")
    return response._replace(status="failed", logprobs=(), choice_tokens=(), error=error)
