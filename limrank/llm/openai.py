"""Models behind any OpenAI-compatible server, one or many: `openai:MODEL url=http://a:8000/v1,http://b:8000/v1`.

With vLLM's additions, labels are asked for by token id and come from the full distribution. Of other servers the most
probable tokens are asked for; a label that is not among them is unknown, and its request fails. With `tokenizer=MODEL`
prompts go out as token ids: then untrusted text cannot become a control token, chat can be continued, and over-long
passages are shortened. Without it, control tokens in untrusted text are broken by a space (`< |im_end|>`), and an
over-long prompt fails.

Keys come from the environment only. All endpoints must serve the same model; an answer does not depend on which of
them gave it.

vLLM, SGLang and TGI say whether a text was ended by a stop string; others drop it and say nothing. They are asked
how they would go on, if that can be asked (not of a chat without tokenizer) and answered (at temperature 0): with a
stop string, if that was it. Where it stays unknown, `finish_reason` is "eos", and the text lacks the stop string.
"""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from limrank.errors import LimrankError
from limrank.extras import require
from limrank.llm import Delivery
from limrank.llm import _wire as wire
from limrank.llm._background import Asked, Background
from limrank.llm._calls import digest
from limrank.llm._ended import UNTOLD, spelt
from limrank.llm._endpoints import Endpoints
from limrank.llm._http import Http, Unusable, key_of, without_secrets
from limrank.llm._room import encode
from limrank.llm._served import Served, Session
from limrank.llm._tokens import Encoded, Tokens, Unencodable
from limrank.llm._weights import dequantised, find
from limrank.records import Request, Response

OPENAI = "https://api.openai.com/v1"
Dialect = Literal["auto", "vllm", "plain"]
HUB = re.compile(r"[\w.-]*\w/[\w.-]+")
# Requests pulled beyond the slots, so that an endpoint can be given another query than its neighbour.
AHEAD = 128


def load(
    model: str,
    *,
    url: tuple[str, ...] = (OPENAI,),
    key_env: str = "",
    tokenizer: str = "",
    max_length: int = 0,
    dialect: Dialect = "auto",
    top_logprobs: int = 20,
    body: str = "",
    schema: Literal["json_schema", "json_object", "none"] = "json_schema",
    served_as: str = "",
    identity: str = "",
    concurrency: int = 8,
    timeout: float = 600.0,
    retries: int = 5,
    backoff: float = 0.5,
) -> OpenAI:
    """A model of one or many servers; nothing is asked before the first question.

    Args:
        model: The name under which it is served.
        url: Base URLs; where one has no path, `/v1` is added.
        key_env: Environment variable with the key; default is OPENAI_API_KEY for OpenAI's own server, else none.
        tokenizer: The served model's tokenizer, as a model of the backend `transformers`; needed for choices of more
            than one token, and for labels in chat by id.
        max_length: With tokenizer: tokens of prompt and answer; longer prompts lose the end of the passage.
        dialect: `vllm` has logprob_token_ids and allowed_token_ids, `plain` has not; `auto` asks.
        top_logprobs: The most probable tokens to be told where labels cannot be asked for by id.
        body: A JSON object merged into every question; null takes a field out. llama-cpp-python needs
            `body='{"repeat_penalty": 1}'` to write what is most probable at temperature 0.
        schema: How the server takes the JSON schema of an answer: as OpenAI defines it, as llama-cpp-python does, or
            not at all.
        served_as: The model's name in the server's answers, where it is not `model`.
        identity: What tells the model from others of its name, such as a revision or the digest of its file. Recorded
            answers are those of name and identity: `local`, `default` or a path can be anything, so without an identity
            they are those of the same servers only, and a model that moves is asked again. OpenAI's names and those of
            the hub, ORGANISATION/MODEL, stand for themselves.
        concurrency: Questions that one server is asked at a time.
        timeout: Seconds for one question, from first byte to last.
        retries: How often a question without an answer is asked again.
        backoff: Seconds before the first of them; each further pause is twice as long, up to a minute.

    Raises:
        LimrankError: A value is out of range, or a key is missing, or part of a URL.
        MissingExtra: A package is not installed.
    """
    if not model:
        raise LimrankError("openai needs the name of a model, as in openai:MODEL url=http://localhost:8000/v1")
    for name, value, least in (
        ("concurrency", concurrency, 1),
        ("retries", retries, 0),
        ("top_logprobs", top_logprobs, 1),
        ("max_length", max_length, 0),
    ):
        if value < least:
            raise LimrankError(f"{name}={value}: expected {least} or more")
    for name, seconds in (("timeout", timeout), ("backoff", backoff)):
        if not 0 < seconds < float("inf"):
            raise LimrankError(f"{name}={seconds}: expected seconds, more than 0")
    if max_length and not tokenizer:
        raise LimrankError(f"max_length={max_length}: tokens can be counted only with tokenizer=MODEL")
    require("httpx2", needed_for="the openai backend")
    urls = tuple(dict.fromkeys(map(_base, url)))
    if not urls:
        raise LimrankError("url: expected one or more, as in url=http://localhost:8000/v1")
    official = all(urlsplit(one).hostname == urlsplit(OPENAI).hostname for one in urls)
    key_env = key_env or ("OPENAI_API_KEY" if official else "")
    tokens = _tokens(tokenizer) if tokenizer else None
    style = wire.Style(
        model,
        vllm=dialect == "vllm",
        official=official,
        top_logprobs=top_logprobs,
        extra=without_secrets(_object(body)),
        schema=schema,
    )
    options = {
        "identity": identity or ("" if official or HUB.fullmatch(model) else ",".join(sorted(urls))),
        "tokenizer": digest(tokens.backend.to_str(), tokens.tokenizer.chat_template).hex()[:12] if tokens else "",
        "max_length": max_length,
        "dialect": "" if dialect == "auto" else dialect,
        "top_logprobs": "" if top_logprobs == 20 else top_logprobs,
        "body": json.dumps(style.extra, sort_keys=True) if style.extra else "",
        "schema": "" if schema == "json_schema" else schema,
    }
    name = " ".join([f"openai:{model}", *(f"{key}={value}" for key, value in options.items() if value)])
    # The key itself is kept nowhere: a session reads it again.
    key_of(key_env)
    http = functools.partial(Http, key_env=key_env, timeout=timeout)
    endpoints = functools.partial(Endpoints, urls, concurrency=concurrency, retries=retries, backoff=backoff)
    served = Served(style, served_as or model, find_dialect=dialect == "auto" and not official)
    room = concurrency * len(urls) + (AHEAD if len(urls) > 1 else 0)
    return OpenAI(name, functools.partial(Session, served, http, endpoints), tokens, max_length or sys.maxsize, room)


class OpenAI:
    """As `LLM`; made by `load`. Answers are deliveries of their own, in the order in which they come."""

    def __init__(
        self, name: str, session: Callable[[], Session], tokens: Tokens | None, max_length: int, room: int
    ) -> None:
        """Ask up to `room` questions at a time, all in one session per `generate`."""
        self.name = name
        self._last: Session | None = None
        self._session, self._tokens, self._max_length, self._room = session, tokens, max_length, room

    @property
    def facts(self) -> dict[str, str]:
        """For the record, once something was asked: the servers, and the dialect that they turned out to speak."""
        return self._last.facts if self._last else {}

    def generate(self, feed: Iterator[Request | None]) -> Iterator[Delivery]:
        """As `LLM.generate`; stops its thread and closes its connections when it ends or is closed."""
        self._last = self._session()
        with Background(self._last) as background:
            asked = 0
            ended = False
            waiting: dict[int, Request] = {}
            untold: dict[int, Response] = {}
            while True:
                batch: list[Asked] = []
                while not ended and len(waiting) < self._room:
                    request = next(feed, self)
                    ended = request is self
                    if not isinstance(request, Request):
                        break
                    self._prepare(Asked(asked, request, None), batch, background)
                    waiting[asked] = request
                    asked += 1
                background.ask(batch)
                if not waiting:
                    return
                position, response = background.answers.get()
                if isinstance(response, BaseException):
                    raise response
                if position in untold:
                    response = _told(untold.pop(position), response, waiting[position].stop)
                elif response.finish_reason == UNTOLD:
                    if further := self._further(waiting[position], response):
                        untold[position] = response
                        batch = []
                        self._prepare(Asked(position, further, None), batch, background)
                        background.ask(batch)
                        continue
                    response = response._replace(finish_reason="eos")
                yield [(position, self._spelt(response, waiting.pop(position).stop))]

    def _prepare(self, asked: Asked, batch: list[Asked], background: Background) -> None:
        """Put a question into the batch, or its failure among the answers."""
        try:
            batch.append(asked._replace(encoded=self._encoded(asked.request)))
        except Unencodable as error:
            background.answers.put((asked.position, Response(status="failed", error=str(error))))

    def _further(self, request: Request, response: Response) -> Request | None:
        """What a model would write behind an answer that may have been ended by a stop string."""
        if request.temperature or (wire.is_chat(request) and self._tokens is None):
            return None
        begun = request.after.text + request.bridge if request.after else ""
        after = Response(truncated_tokens=response.truncated_tokens)
        # A token has a byte at least.
        room = max(len(one.encode()) for one in request.stop)
        # As it was written, control tokens included, or the model would go on in another way; nothing is judged by it.
        said = begun + response.text
        return request._replace(after=after, bridge=said, stop=(), choices=(), max_tokens=room, reserve=0, schema="")

    def _encoded(self, request: Request) -> Encoded | None:
        return None if self._tokens is None else encode(self._tokens, request, self._max_length)

    def _spelt(self, response: Response, stop: Sequence[str]) -> Response:
        """With the text that its token ids spell, where the server gives them."""
        if self._tokens is None or not response.token_ids:
            return response._replace(token_ids=())
        try:
            text, ids = spelt(response.token_ids, response.finish_reason, stop, self._tokens.tokenizer)
        except Unusable as error:
            return Response(status="failed", error=str(error))
        return response._replace(text=text, token_ids=ids, completion_tokens=len(ids))


def _told(response: Response, further: Response, stop: Sequence[str]) -> Response:
    """The answer, with the stop string that ended it where the model goes on with one."""
    ended_by = next((one for one in stop if further.text.startswith(one)), "")
    seconds = round(response.seconds + further.seconds, 6)
    return response._replace(
        text=response.text + ended_by, finish_reason="stop" if ended_by else "eos", seconds=seconds
    )


def _base(url: str) -> str:
    """The URL below which the server's paths are."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        known = False
    if not known:
        raise LimrankError("url: expected http://HOST:PORT/v1 or https://HOST/v1")
    # It would end up in manifests and messages.
    if parts.username or parts.password or parts.query or parts.fragment:
        raise LimrankError(
            f"url={parts.scheme}://{parts.hostname}...: leave user, password and anything behind ? out; "
            "a key comes from key_env=..."
        )
    return url.rstrip("/") if parts.path.strip("/") else url.rstrip("/") + "/v1"


def _object(body: str) -> dict[str, Any]:
    try:
        read = json.loads(body or "{}")
    except ValueError as error:
        raise LimrankError(f"body: not JSON ({error})") from None
    if not isinstance(read, dict):
        raise LimrankError('body: expected a JSON object, as in {"reasoning_effort": "low"}')
    return read


def _tokens(tokenizer: str) -> Tokens:
    transformers = require("transformers")
    weights = find(tokenizer)
    location = str(dequantised(weights.gguf)) if weights.gguf else weights.location
    return Tokens(transformers.AutoTokenizer.from_pretrained(location, revision=weights.revision))
