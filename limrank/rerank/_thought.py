"""A thought before the answer: ask for it, close it where it does not end by itself, then ask for the labels.

A reasoning judge is two questions: the thought, up to its closing tag or its budget, and the labels behind the same
tokens. Knows nothing of queries, documents or scores.

Source of budget forcing: s1 (Muennighoff et al., arXiv:2501.19393); a thought that ran out of budget is cut back to its
last whole sentence and closed, as Rank1 does (Weller et al., arXiv:2502.18418).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from limrank.records import Request, Response

T = TypeVar("T")
Asking: TypeAlias = Generator[list[Request], list[Response], T]

# The end of a sentence: punctuation, what closes a quotation, then a blank or the end.
SENTENCE = re.compile(r"[.!?。！？][\"'”’)\]]*(?=\s|$)")
# Tokens kept free behind a thought for its closing tag.
CLOSING = 16


class Thinking(NamedTuple):
    """How to think.

    Attributes:
        close: The tag that ends a thought.
        budget: Tokens of a thought.
        temperature: 0 is greedy.
        seed: Another thought, where temperature is above 0.
        stop_when: End a thought as soon as the best label behind it is this many nats ahead of the second; 0 never.
        every: Tokens between two looks at the labels, where `stop_when` is not 0.
    """

    close: str
    budget: int
    temperature: float = 0.0
    seed: int = 0
    stop_when: float = 0.0
    every: int = 64


def reasoned(requests: Sequence[Request], thinking: Thinking) -> Asking[list[Response]]:
    """Each request's choices, asked for behind a thought of its own.

    A thought that does not close itself is closed, and the answer's status is `forced`; where the thought failed, so
    has the answer. One that `stop_when` ended is closed in the same way and is `ok`.
    """
    answers: dict[int, Response] = {}
    thoughts: dict[int, Response] = {}
    open_ones = list(range(len(requests)))
    while open_ones:
        pieces = yield [_thought(requests[i], thoughts.get(i), thinking) for i in open_ones]
        for i, piece in zip(open_ones, pieces):
            thoughts[i] = joined(thoughts[i], piece) if i in thoughts else piece
        failed = [i for i in open_ones if thoughts[i].status != "ok"]
        answers |= {i: thoughts[i]._replace(logprobs=(), choice_tokens=()) for i in failed}
        asked = [i for i in open_ones if i not in answers]
        goes_on = {i: _goes_on(thoughts[i], thinking) for i in asked}
        looks = yield [_labels(requests[i], thoughts[i], thinking, early=goes_on[i]) for i in asked]
        open_ones = []
        for i, look in zip(asked, looks):
            if goes_on[i] and look.status == "ok" and not _sure(look, thinking):
                open_ones.append(i)
            else:
                answers[i] = look
    return [answers[i] for i in range(len(requests))]


def joined(before: Response, piece: Response) -> Response:
    """A thought and what was written behind it, as one answer."""
    if piece.status != "ok":
        return piece
    whole = before.token_ids + piece.token_ids if before.token_ids and piece.token_ids else ()
    return piece._replace(
        text=before.text + piece.text,
        token_ids=whole,
        truncated_tokens=before.truncated_tokens,
        completion_tokens=before.completion_tokens + piece.completion_tokens,
    )


def closed(thought: Response, close: str) -> tuple[Response, str]:
    """The thought without its closing tag, and the text that closes it.

    One that has no end is cut back to its last whole sentence, if it has one, and closed on a line of its own.
    """
    if thought.finish_reason == "stop" and thought.text.endswith(close):
        return thought._replace(text=thought.text[: -len(close)]), close
    ends = [match.end() for match in SENTENCE.finditer(thought.text)]
    text = thought.text[: ends[-1]] if ends else thought.text
    return thought._replace(text=text), f"\n{close}"


def _thought(request: Request, before: Response | None, thinking: Thinking) -> Request:
    left = thinking.budget if before is None else _left(before, thinking)
    now = min(left, thinking.every) if thinking.stop_when else left
    return request._replace(
        choices=(),
        max_tokens=now,
        reserve=left - now + CLOSING,
        stop=(thinking.close,),
        temperature=thinking.temperature,
        seed=thinking.seed if thinking.temperature else 0,
        after=before,
    )


def _labels(request: Request, thought: Response, thinking: Thinking, *, early: bool) -> Request:
    after, bridge = closed(thought, thinking.close)
    # A look before the budget is spent is no forced answer.
    return request._replace(after=after._replace(finish_reason="early") if early else after, bridge=bridge)


def _goes_on(thought: Response, thinking: Thinking) -> bool:
    return thinking.stop_when > 0 and thought.finish_reason == "length" and _left(thought, thinking) > 0


def _left(thought: Response, thinking: Thinking) -> int:
    """Tokens of the budget that are not spent; of a server that counts none, none are left."""
    spent = thought.completion_tokens or len(thought.token_ids) or thinking.budget
    return max(thinking.budget - spent, 0)


def _sure(look: Response, thinking: Thinking) -> bool:
    best, second = sorted(look.logprobs, reverse=True)[:2]
    return best - second >= thinking.stop_when
