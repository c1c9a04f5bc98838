"""Requests as the bodies that OpenAI-compatible servers read, and their answers as responses; pure, without a network.

Token ids go out where a tokenizer is at hand. As text, what might be read as a control token inside an untrusted part,
or inside what the model wrote before, is broken by a space: `<|im_end|>` becomes `< |im_end|>`. A number that is not
there is an error, never a guess.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from limrank.errors import LimrankError
from limrank.llm._ended import text_of
from limrank.llm._http import Unusable
from limrank.llm._tokens import Encoded, continued
from limrank.records import Message, Part, Request, Response

Json = dict[str, Any]

# What tokenizers of models in use read as one token, wherever it comes from.
CONTROL = re.compile(
    r"<[|｜]|[|｜]>"
    r"|</?(?:think|thinking|reasoning|s|bos|eos|pad|unk|mask|sep|cls|tool_call|tool_response|tools|answer|image|video|audio)>"
    r"|</?(?:start|end)_of_[a-z]+>|<(?:unused|extra_id_|reserved_|SPECIAL_)\d+>|<</?SYS>>|<[a-z]+:[a-z]+>|<(?:sop|eop)>"
    r"|<fim_[a-z]+>|\[\||\|\]|\[e~\[|\]~!?b[\[\]]"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|THINK|gMASK|sMASK|MASK|CLS|SEP|PAD"
    r"|UNK|BOS|EOS|PREFIX|SUFFIX|MIDDLE)\]",
    re.IGNORECASE,
)
# What servers write for minus infinity, which JSON lacks.
NEVER = -9999.0
ROUNDING = 1e-3
# What vLLM's server would else take from the model's generation_config.json: with Qwen2.5's repetition penalty, the
# most probable token is not what comes out at temperature 0.
PLAIN = {"repetition_penalty": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}


class Style(NamedTuple):
    """What a server understands.

    Attributes:
        model: The name it serves the model under.
        vllm: It knows vLLM's additions.
        official: It is OpenAI's own, where chat has `max_completion_tokens`.
        top_logprobs: How many of the most probable tokens to ask for, where labels cannot be asked for by id.
        extra: Merged into every body; None takes a field out.
        schema: How it is told the JSON schema of an answer: as OpenAI defines it, as llama-cpp-python does, or not.
    """

    model: str
    vllm: bool = False
    official: bool = False
    top_logprobs: int = 20
    extra: Mapping[str, Any] = {}
    schema: Literal["json_schema", "json_object", "none"] = "json_schema"


class Question(NamedTuple):
    """Bodies to be posted, one after the other, to a path below the base URL, and what their answers mean."""

    path: str
    bodies: tuple[Json, ...]
    read: Callable[[list[Json]], Response]


def check(request: Request, style: Style, encoded: Encoded | None) -> None:
    """Refuse what no server of this style can answer.

    Raises:
        LimrankError: The message says what it would take.
    """
    needs = f"needs tokenizer=MODEL and a server like vLLM (model {style.model})"
    lengths = [len(choice) for choice in encoded.choices] if encoded else []
    texts = any(length > 1 for length in lengths) or not all(choice.trusted for choice in request.choices)
    if texts and not (encoded and style.vllm):
        raise LimrankError(f"the probability of more than one token, which is what likelihood measures, {needs}")
    if texts and request.max_tokens:
        raise LimrankError("choices of several tokens and new text cannot be asked for at once")
    if not (request.max_tokens or request.choices):
        raise LimrankError("a request that asks for neither text nor choices")
    if is_chat(request) and not encoded and not style.vllm and _continues(request):
        raise LimrankError(f"this server cannot continue a chat answer: a completion prompt can, or chat {needs}")


def is_chat(request: Request) -> bool:
    """Whether the prompt is a chat, which a server or a tokenizer has yet to render."""
    return [message.role for message in request.messages] != [""]


def question(request: Request, style: Style, *, encoded: Encoded | None, labels: Sequence[int] | None) -> Question:
    """What to post.

    Args:
        request: Which `check` has passed.
        style: Of the server.
        encoded: The prompt as token ids, if there is a tokenizer.
        labels: The token id of each choice; None to look for their texts among the most probable tokens.
    """
    if encoded and any(len(choice) > 1 for choice in encoded.choices):
        return _likelihood(style, encoded)
    chat = is_chat(request) and encoded is None
    body: Json = {"model": style.model, "temperature": request.temperature}
    body["max_completion_tokens" if chat and style.official else "max_tokens"] = max(request.max_tokens, 1)
    if chat:
        body["messages"] = messages(request)
        if _continues(request):
            body |= {"add_generation_prompt": False, "continue_final_message": True}
    else:
        body["prompt"] = encoded.ids if encoded else prompt_text(request)
    if request.temperature:
        body["seed"] = request.seed
    if request.max_tokens:
        body |= {"stop": list(request.stop)} if request.stop else {}
        # </think> is a special token in some vocabularies; without it no stop string would be found.
        body |= {"skip_special_tokens": False, **PLAIN} if style.vllm else {}
        body |= {"return_token_ids": True} if style.vllm and encoded else {}
    if request.schema and style.schema != "none":
        body["response_format"] = _format(json.loads(request.schema), style.schema)
    if labels is not None:
        body |= {"logprobs": len(labels), "logprob_token_ids": list(labels), "return_tokens_as_token_ids": True}
        body |= {} if request.max_tokens else {"allowed_token_ids": list(labels)}
    elif request.choices:
        body |= {"logprobs": True, "top_logprobs": style.top_logprobs} if chat else {"logprobs": style.top_logprobs}
    names = [f"token_id:{i}" for i in labels or ()] or [choice.text for choice in request.choices]
    dropped = encoded.dropped if encoded else 0
    read = partial(_answer, request=request, chat=chat, names=names, dropped=dropped, vllm=style.vllm)
    return Question("/chat/completions" if chat else "/completions", (_merged(body, style.extra),), read)


def _format(schema: Json, form: str) -> Json:
    if form == "json_object":
        return {"type": "json_object", "schema": schema}
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def prompt_text(request: Request) -> str:
    """A completion prompt as text, with the earlier answer that it continues."""
    return defanged([*request.messages[0].parts, *continued(request)])


def messages(request: Request) -> list[dict[str, str]]:
    """A chat as text; the answer that it continues is the last message."""
    asked = list(request.messages)
    if request.after is not None:
        begun = asked.pop().parts if asked[-1].role == "assistant" else ()
        asked.append(Message("assistant", (*begun, *continued(request))))
    return [{"role": message.role, "content": defanged(message.parts)} for message in asked]


def defanged(parts: Sequence[Part]) -> str:
    """The joined text, with a space in whatever reads like a control token and is, even in part, untrusted."""
    texts = [part.text for part in parts]
    while True:
        joined, bounds = "".join(texts), [0]
        for text in texts:
            bounds.append(bounds[-1] + len(text))
        cuts = [
            (i, max(match.start() + 1, bounds[i]) - bounds[i])
            for match in CONTROL.finditer(joined)
            for i in [_untrusted(parts, bounds, match.start(), match.end())]
            if i >= 0
        ]
        if not cuts:
            return joined
        for i, place in reversed(cuts):  # from the end, so that the places before stay what they were
            texts[i] = texts[i][:place] + " " + texts[i][place:]


def probe(style: Style) -> Question:
    """A question that only a server with vLLM's additions answers: the log-probability of token 0."""
    request = Request((Message("", (Part("a", True),)),), choices=(Part("0", True),))
    return question(request, style, encoded=None, labels=[0])


def _untrusted(parts: Sequence[Part], bounds: Sequence[int], start: int, end: int) -> int:
    """The first untrusted part with something in [start, end), or -1."""
    inside = (i for i, part in enumerate(parts) if not part.trusted and bounds[i] < end and start < bounds[i + 1])
    return next(inside, -1)


def _continues(request: Request) -> bool:
    return request.after is not None or request.messages[-1].role == "assistant"


def _merged(body: Json, extra: Mapping[str, Any]) -> Json:
    return {key: value for key, value in (body | dict(extra)).items() if value is not None}


def _answer(
    answers: list[Json], *, request: Request, chat: bool, names: list[str], dropped: int, vllm: bool
) -> Response:
    choice = _choice(answers[0])
    prompt_tokens, completion_tokens = _usage(answers[0])
    response = Response(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, truncated_tokens=dropped)
    if request.choices:
        # llama-cpp-python generates on until a character is whole; a prompt that is listed, too, is not counted there.
        positions = None if request.max_tokens else max(completion_tokens, 1)
        logprobs = label_logprobs(choice, names, positions=positions)
        response = response._replace(logprobs=logprobs, choice_tokens=(1,) * len(names))
    if not request.max_tokens:
        return response
    text, finish_reason = text_of(choice, chat=chat, stop=request.stop, tells=vllm)
    if finish_reason == "length" and 0 < completion_tokens < request.max_tokens:
        raise Unusable(
            f"the answer was cut after {completion_tokens} of {request.max_tokens} tokens; "
            "does the server take prompts this long?"
        )
    ids = choice.get("token_ids")
    token_ids = tuple(ids) if isinstance(ids, list) and all(type(i) is int for i in ids) else ()
    return response._replace(text=text, finish_reason=finish_reason, token_ids=token_ids)


def label_logprobs(choice: Json, names: Sequence[str], *, positions: int | None) -> tuple[float, ...]:
    """The log-probability of each name at the first generated token.

    Both shapes are read: `top_logprobs: [{token: number}]` of completions, and `content: [{top_logprobs: [{token,
    logprob}]}]` of chat, which llama.cpp has in completions, too.

    Raises:
        Unusable: A name is not among them, or not once, or its number is none; or there are not so many `positions`.
    """
    told = choice.get("logprobs")
    told = told if isinstance(told, dict) else {}
    listed = told.get("content") if isinstance(told.get("content"), list) else told.get("top_logprobs")
    if not isinstance(listed, list) or not listed:
        raise Unusable("the answer has no log-probabilities")
    if positions is not None and len(listed) != positions:
        raise Unusable(f"log-probabilities of {len(listed)} tokens where {positions} was asked for")
    first = listed[0]
    if isinstance(first, dict) and isinstance(first.get("top_logprobs"), list):
        entries = [entry for entry in first["top_logprobs"] if isinstance(entry, dict)]
        pairs = [(entry.get("token"), entry.get("logprob")) for entry in entries]
    else:
        pairs = list(first.items()) if isinstance(first, dict) else []
    numbers = []
    for name in names:
        found = [number for token, number in pairs if token == name]
        if len(found) != 1:
            times = f"{len(found)} times" if found else "not"
            raise Unusable(f"{name!r} is {times} among the {len(pairs)} tokens told, so its probability is unknown")
        numbers.append(_number(found[0], name))
    return tuple(numbers)


def _likelihood(style: Style, encoded: Encoded) -> Question:
    """The log-probability of whole texts: each is sent behind the prompt, and read off the prompt's tokens."""
    common = {"model": style.model, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 1}
    prompts = [[*encoded.ids, *choice] for choice in encoded.choices]
    bodies = tuple(_merged(common | {"prompt": prompt}, style.extra) for prompt in prompts)
    return Question("/completions", bodies, partial(_likelihoods, encoded=encoded))


def _likelihoods(answers: list[Json], *, encoded: Encoded) -> Response:
    usages = [_usage(answer) for answer in answers]
    sums = []
    for choice, answer in zip(encoded.choices, answers):
        told = _choice(answer).get("prompt_logprobs")
        length = len(encoded.ids) + len(choice)
        if not isinstance(told, list) or len(told) != length:
            number = len(told) if isinstance(told, list) else "no"
            raise Unusable(f"{number} log-probabilities for a prompt of {length} tokens")
        sums.append(math.fsum(_of_prompt(entry, i) for entry, i in zip(told[len(encoded.ids) :], choice)))
    return Response(
        logprobs=tuple(sums),
        choice_tokens=tuple(map(len, encoded.choices)),
        prompt_tokens=sum(prompt_tokens for prompt_tokens, _ in usages),
        completion_tokens=sum(completion_tokens for _, completion_tokens in usages),
        truncated_tokens=encoded.dropped,
    )


def _of_prompt(entry: object, token: int) -> float:
    told = entry.get(str(token)) if isinstance(entry, dict) else None
    return _number(told.get("logprob") if isinstance(told, dict) else None, f"token {token}")


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not NEVER < value <= ROUNDING:
        raise Unusable(f"the log-probability of {name!r} is {value!r}")
    return min(float(value), 0.0)


def _choice(answer: Json) -> Json:
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Unusable("the answer has no choices")
    chosen: Json = choices[0]
    return chosen


def _usage(answer: Json) -> tuple[int, int]:
    """Tokens of the prompt and of the answer, 0 where the server does not say."""
    usage = answer.get("usage")
    told = usage if isinstance(usage, dict) else {}
    counts = [told.get(name) for name in ("prompt_tokens", "completion_tokens")]
    prompt_tokens, completion_tokens = (count if isinstance(count, int) and count > 0 else 0 for count in counts)
    return prompt_tokens, completion_tokens
