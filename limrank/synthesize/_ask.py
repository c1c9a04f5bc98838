"""Ask a model and read its answers strictly: what cannot be read is asked for once more, then it is malformed.

An answer that failed, that was cut off, or that is not what was asked for never becomes a value. Knows nothing of what
the answers are about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from limrank.llm import LLM
from limrank.llm._drive import Asking, drive
from limrank.records import Part, Request, Response
from limrank.synthesize.examples import Example, Outcome

T = TypeVar("T")
J = TypeVar("J")
AGAIN = "\n\nYour last answer to this could not be used: {why}. Answer again, exactly in the form that was asked for."
CUT_OFF = "it was too long and was cut off"
THOUGHT = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)
FENCE = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)


class Malformed(ValueError):
    """An answer that cannot be read; the message says why in words that are safe to be repeated to the model."""


class Trouble(NamedTuple):
    """Why there is no value.

    Attributes:
        reason: Whose fault it is: the server's, or the model's.
        detail: What was wrong.
        told: The same for the model, where it can be told: words of ours, never a backend's, which may hold anything.
    """

    reason: Literal["failed", "malformed"]
    detail: str
    told: str = "it could not be read"


def asked(questions: Sequence[tuple[Request, Callable[[str], T]]], *, retries: int = 1) -> Asking[list[T | Trouble]]:
    """Each question's answer as its reader returns it, or why there is none; those malformed are asked again."""
    found: dict[int, T | Trouble] = {}
    requests = {place: request for place, (request, _) in enumerate(questions)}
    for attempt in range(retries + 1):
        responses = yield list(requests.values())
        again: dict[int, Request] = {}
        for place, response in zip(requests, responses):
            request, reader = questions[place]
            found[place] = value = _read(response, reader)
            if isinstance(value, Trouble) and value.reason == "malformed":
                again[place] = _repeated(request, value.told, attempt + 1)
        requests = again
        if not again:
            break
    return [found[place] for place in range(len(questions))]


def outcomes(
    llm: LLM, jobs: Iterable[J], method: Callable[[J], Asking[list[Outcome]]], *, label: Callable[[J], str]
) -> Iterator[Outcome]:
    """What comes of every job, in the order of the jobs, whichever is finished first."""

    def steps(job: tuple[int, J]) -> Asking[tuple[int, list[Outcome]]]:
        made = yield from method(job[1])
        return job[0], made

    waiting: dict[int, list[Outcome]] = {}
    turn = 0
    for place, made in drive(llm, enumerate(jobs), steps, label=lambda job: label(job[1]), noun="examples"):
        waiting[place] = made
        while turn in waiting:
            yield from waiting.pop(turn)
            turn += 1


def without_thought(text: str) -> str:
    """The answer without the thought that a reasoning model wrote before it."""
    return text[match.end() :] if (match := THOUGHT.match(text)) else text


def texts_in(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object that an answer is, with exactly the keys of the schema; alone, or in one code fence.

    Values are texts, or lists of texts where the schema says array.

    Raises:
        Malformed: It is something else.
    """
    said = without_thought(text).strip()
    if fenced := FENCE.fullmatch(said):
        said = fenced[1]
    try:
        record = json.loads(said, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, Malformed) else Malformed("it is not one JSON object") from None
    if not isinstance(record, dict):
        raise Malformed("it is not one JSON object")
    wanted = schema["properties"]
    if record.keys() != wanted.keys():
        raise Malformed(f"its keys are not exactly {', '.join(wanted)}")
    for key, kind in wanted.items():
        value = record[key]
        if kind["type"] == "array":
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise Malformed(f"{key} is not a list of texts")
            record[key] = [item.strip() for item in value if item.strip()]
        elif not isinstance(value, str):
            raise Malformed(f"{key} is not a text")
        else:
            record[key] = value.strip()
    return record


def example_id(example: Example) -> str:
    """Under which an example's calls are recorded."""
    return example.example_id


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise Malformed("a key is there twice")
    return dict(pairs)


def _read(response: Response, reader: Callable[[str], T]) -> T | Trouble:
    if response.status not in ("ok", "forced"):
        # A backend that calls an answer malformed has read it; asking again is this module's business.
        reason: Literal["failed", "malformed"] = "failed" if response.status == "failed" else "malformed"
        return Trouble(reason, response.error or response.status)
    if response.finish_reason == "length":
        return Trouble("malformed", CUT_OFF, CUT_OFF)
    try:
        return reader(response.text)
    except Malformed as error:
        return Trouble("malformed", str(error), str(error))


def _repeated(request: Request, why: str, attempt: int) -> Request:
    """The same question with a word about the first answer, and another seed."""
    *messages, last = request.messages
    messages = [*messages, last._replace(parts=(*last.parts, Part(AGAIN.format(why=why), trusted=True)))]
    return request._replace(messages=tuple(messages), seed=request.seed + attempt)
