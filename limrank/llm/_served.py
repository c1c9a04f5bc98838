"""A served model: finds out what its servers understand, asks them, and checks that it is that model which answers.

Lives in one event loop. Knows nothing of who asks.
"""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Callable
from typing import NamedTuple

from limrank.errors import LimrankError
from limrank.llm import _wire as wire
from limrank.llm._endpoints import Endpoints, OtherModel
from limrank.llm._http import Http, Unanswered, Unusable
from limrank.llm._tokens import Encoded
from limrank.records import Request, Response

# Characters of text that decide how a label behind them becomes a token.
TAIL = 16
# gpt-4o answers as gpt-4o-2024-08-06, and is no gpt-4o-mini.
DATED = re.compile(r"[-@]\d{4,8}(-\d\d-\d\d)?")


class Served(NamedTuple):
    """What is known of a served model beforehand: how to talk to it, if that is known, and the name it answers with."""

    style: wire.Style
    name: str
    find_dialect: bool


class Session:
    """Open connections to all endpoints of a model."""

    def __init__(self, served: Served, http: Callable[[], Http], endpoints: Callable[[], Endpoints]) -> None:
        """Connect when asked; to be made and closed within one event loop."""
        self._served, self._http, self._endpoints = served, http(), endpoints()
        self._style = None if served.find_dialect else served.style
        self._finding = asyncio.Lock()
        self._tokens: dict[str, list[int]] = {}
        self._told = ""

    async def answer(self, request: Request, encoded: Encoded | None) -> Response:
        """The answer, or a failure.

        Raises:
            LimrankError: No server can answer such requests, or none can be asked any more.
        """
        style = await self._found_style()
        wire.check(request, style, encoded)
        try:
            labels = await self._labels(request, style, encoded)
            if labels and len(set(labels)) < len(labels):
                # An unknown word is one token, too, and so is the other: all scores would be 0.5.
                raise LimrankError(f"two of the choices {[part.text for part in request.choices]} are the same token")
            question = wire.question(request, style, encoded=encoded, labels=labels)
            keys = (hash(request.messages), *([request.query_id] if request.query_id else []))
            return await self._endpoints.answer(functools.partial(self._ask, question), keys)
        except (Unanswered, Unusable) as error:
            return Response(status="failed", error=str(error))

    @property
    def facts(self) -> dict[str, str]:
        """Where the model was asked, and whether labels came by id from the full distribution (vllm) or by text."""
        known = {"servers": ",".join(sorted(endpoint.url for endpoint in self._endpoints.endpoints))}
        return known | ({"dialect": "vllm" if self._style.vllm else "plain"} if self._style else {})

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def _ask(self, question: wire.Question, url: str) -> Response:
        begun, answers, version = time.perf_counter(), [], ""
        for body in question.bodies:
            answer = await self._http.post(url + question.path, body)
            version = self._version(url, answer.get("model"))
            answers.append(answer)
        try:
            response = question.read(answers)
        except Unusable as error:
            raise Unusable(f"{url}: {self._http.clean(str(error))}") from None
        return response._replace(seconds=round(time.perf_counter() - begun, 6), version=version)

    def _version(self, url: str, told: object) -> str:
        """The version that the server tells; another model than was asked for, or another version, is refused."""
        if not told or not isinstance(told, str):
            return ""
        name = self._served.name
        shown = self._http.clean(told)
        if told != name and not (told.startswith(name) and DATED.fullmatch(told[len(name) :])):
            raise OtherModel(
                f"{url} answers as model {shown!r}, not {name!r}; if it is the same, say served_as={shown}"
            )
        if self._told not in ("", told):
            raise LimrankError(
                f"{url} answers as model {shown!r}, and earlier answers came from {self._told!r}; "
                "ask for one version by its full name"
            )
        self._told = told
        return "" if told == self._served.style.model else told

    async def _found_style(self) -> wire.Style:
        """The style of the servers; where it has to be found out, vLLM's is tried once."""
        async with self._finding:
            if self._style is not None:
                return self._style
            style = self._served.style._replace(vllm=True)
            try:
                await self._endpoints.answer(functools.partial(self._ask, wire.probe(style)))
                self._style = style
            except Unanswered as error:
                raise LimrankError(f"no answer from the server: {error}; is it running at this url?") from None
            except (Unusable, LimrankError):
                # A server without /completions, or without the additions; one that cannot be used will say so again.
                self._style = self._served.style
            return self._style

    async def _labels(self, request: Request, style: wire.Style, encoded: Encoded | None) -> list[int] | None:
        """The token id of each choice; None where they are looked up by text, or are no single tokens."""
        if not request.choices or not style.vllm:
            return None
        if encoded is not None:
            singles = all(len(choice) == 1 for choice in encoded.choices)
            return [choice[0] for choice in encoded.choices] if singles else None
        if wire.is_chat(request):
            return None
        tail = self._tail(request)
        return [await self._label(tail, choice.text) for choice in request.choices]

    async def _label(self, tail: str, text: str) -> int:
        before, joint = await self._tokenized(tail), await self._tokenized(tail + text)
        ids = joint[len(before) :] if joint[: len(before)] == before else await self._tokenized(text)
        if len(ids) != 1:
            raise LimrankError(
                f"the choice {text!r} is {len(ids)} tokens of {self._served.name}; with tokenizer=MODEL such choices "
                "can be measured"
            )
        return ids[0]

    async def _tokenized(self, text: str) -> list[int]:
        async with self._finding:
            if text and text not in self._tokens:
                try:
                    self._tokens[text] = await self._endpoints.answer(functools.partial(self._tokenize, text))
                except LimrankError as error:
                    raise LimrankError(f"{error} (label ids; else give tokenizer=MODEL, or dialect=plain)") from None
            return self._tokens.get(text, [])

    async def _tokenize(self, text: str, url: str) -> list[int]:
        body = {"model": self._served.style.model, "prompt": text, "add_special_tokens": False}
        answer = await self._http.post(url.removesuffix("/v1") + "/tokenize", body)
        ids = answer.get("tokens")
        if not isinstance(ids, list) or not ids or not all(type(i) is int for i in ids):
            raise Unusable(f"{url}: /tokenize gave no token ids")
        return ids

    @staticmethod
    def _tail(request: Request) -> str:
        """The end of the prompt, as far as it is the same for all documents."""
        if request.after is not None:
            return (request.after.text + request.bridge)[-TAIL // 2 :]
        last = request.messages[-1].parts[-1] if request.messages[-1].parts else None
        return last.text[-TAIL:] if last and last.trusted else ""
