"""What vLLM is asked for one request, and what its outputs say about it; knows nothing of the engine.

Labels are asked for by token id and read off the model's own probabilities, before anything is done to them to choose
a token. Structured outputs hold a text to its schema, but labels are never read off them: their log-probabilities are
already those of what is allowed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from limrank.llm._calls import digest
from limrank.llm._ended import spelt
from limrank.llm._http import Unusable
from limrank.llm._tokens import Encoded
from limrank.records import Request, Response

# vLLM's limit for one question.
LABELS = 128


class Ask(NamedTuple):
    """One question to the engine: token ids, and the sampling parameters by name."""

    kind: Literal["labels", "text", "likelihood"]
    ids: Sequence[int]
    parameters: Mapping[str, Any]


def asks(request: Request, encoded: Encoded) -> list[Ask]:
    """The questions that answer a request; they share their prompt, which is computed once where it is cached.

    All choices of one token are asked for at once. A longer one is put behind the prompt, and read off as part of it:
    vLLM computes such a prompt as a whole, cached or not.
    """
    found = []
    once = {"max_tokens": 1, "temperature": 0.0, "detokenize": False}
    labels = iter(dict.fromkeys(choice[0] for choice in encoded.choices if len(choice) == 1))
    while ids := list(itertools.islice(labels, LABELS)):
        found.append(Ask("labels", encoded.ids, once | {"logprob_token_ids": ids}))
    for choice in encoded.choices:
        if len(choice) > 1:
            found.append(Ask("likelihood", [*encoded.ids, *choice], once | {"prompt_logprobs": 0}))
    if request.max_tokens:
        # Every text gets noise of its own, which depends on nothing else that is asked.
        seed = int.from_bytes(digest(request.seed, encoded.ids)[:7]) if request.temperature else None
        writing = {"max_tokens": request.max_tokens, "temperature": request.temperature, "seed": seed}
        # </think> is a special token in some vocabularies; without it no stop string would be found.
        stopping = {"skip_special_tokens": False, "include_stop_str_in_output": True, "detokenize": bool(request.stop)}
        held = {"structured_outputs": {"json": request.schema}} if request.schema else {}
        found.append(Ask("text", encoded.ids, writing | stopping | held | {"stop": list(request.stop)}))
    return found


def read(request: Request, encoded: Encoded, told: Sequence[tuple[Ask, Any]], tokenizer: Any) -> Response:
    """The response that the outputs (each a `vllm.RequestOutput`) of a request's questions amount to."""
    response = Response(prompt_tokens=len(encoded.ids), truncated_tokens=encoded.dropped)
    try:
        logprobs = _logprobs(encoded, told)
        for ask, output in told:
            if ask.kind == "text":
                response = _text(request, output, tokenizer, response)
    except Unusable as error:
        return response._replace(status="failed", error=str(error))
    return response._replace(logprobs=logprobs, choice_tokens=tuple(map(len, encoded.choices)))


def _logprobs(encoded: Encoded, told: Sequence[tuple[Ask, Any]]) -> tuple[float, ...]:
    """Of each choice, summed over its tokens."""
    labels: dict[int, Any] = {}
    for ask, output in told:
        if ask.kind == "labels":
            first = (_completion(output).logprobs or [None])[0] or {}
            labels |= {token: first.get(token) for token in ask.parameters["logprob_token_ids"]}
    likelihoods = iter([pair for pair in told if pair[0].kind == "likelihood"])
    sums = []
    for choice in encoded.choices:
        if len(choice) == 1:
            sums.append(_number(labels.get(choice[0]), choice[0]))
        else:
            sums.append(math.fsum(_of_prompt(*next(likelihoods), start=len(encoded.ids))))
    return tuple(sums)


def _of_prompt(ask: Ask, output: Any, *, start: int) -> Iterator[float]:
    """The log-probabilities of a prompt's tokens from `start` on."""
    entries = output.prompt_logprobs
    if entries is None or len(entries) != len(ask.ids):
        number = "no" if entries is None else len(entries)
        raise Unusable(f"vLLM told {number} log-probabilities of a prompt of {len(ask.ids)} tokens")
    for place in range(start, len(ask.ids)):
        token = ask.ids[place]
        yield _number((entries[place] or {}).get(token), token)


def _number(told: Any, token: int) -> float:
    if told is None:
        raise Unusable(f"vLLM told no log-probability of token {token}")
    if not math.isfinite(told.logprob):
        raise Unusable("the model's output is not a number (NaN or infinite)")
    return min(float(told.logprob), 0.0)


def _text(request: Request, output: Any, tokenizer: Any, response: Response) -> Response:
    told = _completion(output)
    by_itself = told.finish_reason == "stop" and not isinstance(told.stop_reason, str)
    reason = "eos" if by_itself else told.finish_reason
    text, ids = spelt(told.token_ids, reason, request.stop, tokenizer)
    return response._replace(text=text, token_ids=ids, completion_tokens=len(ids), finish_reason=reason)


def _completion(output: Any) -> Any:
    told = output.outputs[0]
    if told.finish_reason not in ("stop", "length"):
        raise Unusable(f"vLLM ended the answer by {told.finish_reason!r}")
    return told
