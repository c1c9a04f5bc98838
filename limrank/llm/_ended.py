"""How a text from a server ended: by itself, at a stop string, or at its limit; servers tell it in ways of their own.

Knows nothing of questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limrank.llm._http import Unusable

Json = dict[str, Any]

# A finish_reason that no server has: the text ended by itself or at a stop string, and nobody said which.
UNTOLD = "untold"
# Where vLLM and SGLang say what ended a text: a string, the id of a token, or null.
ENDED_BY = ("stop_reason", "matched_stop")


def text_of(choice: Json, *, chat: bool, stop: Sequence[str], tells: bool) -> tuple[str, str]:
    """The text with the stop string that ended it, and why it ended: `stop`, `eos` or `length`, or UNTOLD.

    Args:
        choice: What a server answers under `choices`.
        chat: Whether it is a message.
        stop: What was to end the text.
        tells: Whether this server would have said if it was one of them.

    Raises:
        Unusable: There is no text, or it ended for another reason.
    """
    holder = choice.get("message") if chat else choice
    text = holder.get("content" if chat else "text") if isinstance(holder, dict) else None
    if text is None and isinstance(holder, dict) and "content" in holder:
        text = ""  # a chat that spent all its tokens on a thought of which the server shows nothing
    if not isinstance(text, str):
        raise Unusable("the answer has no text")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Unusable("the answer is not Unicode")
    reason = choice.get("finish_reason")
    # The latter two are TGI's.
    if reason not in ("length", "stop", "stop_sequence", "eos_token"):
        raise Unusable(f"the answer was ended by {reason!r}")
    if reason == "length":
        return text, "length"
    if text.endswith(tuple(stop)):
        return text, "stop"
    ended_by = _ended_by(choice, text, stop)
    if ended_by is None:
        return text, "eos" if tells or not stop or reason == "eos_token" else UNTOLD
    return (text + ended_by, "stop") if ended_by else (text, "eos")


def spelt(ids: Sequence[int], finish_reason: str, stop: Sequence[str], tokenizer: Any) -> tuple[str, tuple[int, ...]]:
    """The text of generated ids up to the stop string that ended it, and the ids without an end-of-text token.

    vLLM's own text may hold the whole prompt where that ends within a character, and lacks an unfinished character.

    Raises:
        Unusable: It was ended by a stop string that it does not have.
    """
    kept = tuple(ids[:-1] if finish_reason == "eos" else ids)
    text: str = tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    if finish_reason != "stop":
        return text, kept
    if ends := [text.find(one) + len(one) for one in stop if one in text]:
        return text[: min(ends)], kept
    raise Unusable(f"the answer was ended by one of the strings {list(stop)}, and has none of them")


def _ended_by(choice: Json, text: str, stop: Sequence[str]) -> str | None:
    """The stop string that ended a text and is not in it; empty if it was none, None if the server does not tell."""
    for key in ENDED_BY:
        if key in choice:
            return choice[key] if choice[key] in stop else ""
    if choice.get("finish_reason") == "stop_sequence" and len(stop) == 1:
        return stop[0]
    # llama-cpp-python lists the tokens of the stop string, where tokens are listed.
    told = choice.get("logprobs")
    tokens = told.get("tokens") if isinstance(told, dict) else None
    if isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
        written = "".join(tokens)
        return next((one for one in stop if written.startswith(text + one)), None)
    return None
