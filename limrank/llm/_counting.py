"""A language model that counts instead of answering, and what characters are in tokens.

It answers as a model would that agrees with the first stage: labels by first-stage rank, rankings in first-stage order,
thoughts of a given length. Knows the form of requests, and nothing of the methods that put them.
"""

from __future__ import annotations

import random
import sys
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from limrank import plugins
from limrank.errors import LimrankError
from limrank.extras import require
from limrank.llm import Delivery
from limrank.llm._tokens import Tokens
from limrank.llm._weights import find
from limrank.records import Request, Response

# Prompts that are tokenised to learn how many tokens a character is; the others are counted by their characters.
SAMPLE = 256
CHARACTERS = 4


class Tally:
    """What was asked, in characters; a sample of the questions is kept to turn those into tokens."""

    def __init__(self) -> None:
        self.calls = self.documents = self.queries = self.output = 0
        # For each question: characters of the prompt, of its shared part, tokens behind the prompt that the backend
        # has already, and tokens that the prompt must leave free.
        self.columns = (array("q"), array("q"), array("q"), array("q"))
        self.sample: list[Request] = []
        self._random = random.Random(0)

    def add(self, request: Request, *, known: bool) -> None:
        lengths = [len(part.text) for message in request.messages for part in message.parts]
        measured = len(request.choices[0].text) if len(request.choices) == 1 else 0
        after = request.after.completion_tokens if request.after else 0
        whole = sum(lengths) + len(request.bridge) + measured
        shared = sum(lengths) if request.after else sum(lengths[: request.shared]) if known else 0
        for column, value in zip(self.columns, (whole, shared, after, request.max_tokens + request.reserve)):
            column.append(value)
        self.calls += 1
        if len(self.sample) < SAMPLE:
            self.sample.append(request)
        elif (place := self._random.randrange(self.calls)) < SAMPLE:
            self.sample[place] = request

    def tokens(self, per_character: float, limit: int) -> tuple[int, int]:
        """Tokens of all prompts, and of these the shared ones."""
        total = reused = 0.0
        for whole, shared, after, room in zip(*self.columns):
            read = min(whole * per_character, max(limit - room, 0))
            total += read + after
            reused += min(shared * per_character, read) + after
        return round(total), round(reused)


class Counter:
    """A language model that counts, and answers what a model would that agrees with the first stage."""

    name = "estimate"

    def __init__(self, tally: Tally, thought_tokens: int, *, letters: bool) -> None:
        self.tally, self.thought_tokens, self.letters = tally, thought_tokens, letters
        self.ranks: Mapping[str, Mapping[str, int]] = {}
        self._asked: set[str] = set()

    def begin(self, ranks: Mapping[str, Mapping[str, int]]) -> None:
        """The next questions are about these queries, whose documents have these first-stage ranks."""
        self._asked.clear()
        self.ranks = ranks

    def generate(self, feed: Iterator[Request | None]) -> Iterator[Delivery]:
        """As `LLM.generate`; an answer is there at once."""
        position = 0
        for request in feed:
            if request is None:
                continue
            self.tally.add(request, known=request.query_id in self._asked)
            self._asked.add(request.query_id)
            response = self._answer(request)
            self.tally.output += response.completion_tokens if request.max_tokens else bool(request.choices)
            yield [(position, response)]
            position += 1

    def _answer(self, request: Request) -> Response:
        ranks = self.ranks[request.query_id]
        logprobs = tuple(-1.0 - rank for rank in range(len(request.choices)))
        if len(request.choices) == len(request.doc_ids) > 1:
            logprobs = tuple(-1.0 - ranks[doc_id] for doc_id in request.doc_ids)
        told = Response(logprobs=logprobs, choice_tokens=(1,) * len(logprobs))
        if not request.max_tokens:
            return told
        # What is asked behind a thought that is over is the answer; a stop string without that is a thought's end.
        if request.stop and not request.bridge:
            return self._thought(request, told)
        return self._written(told, self._ranking(request, ranks), request.max_tokens)

    def _thought(self, request: Request, told: Response) -> Response:
        """The next piece of a thought, with the answer where one question asks for both."""
        spent = request.after.completion_tokens if request.after else 0
        left = max(self.thought_tokens - spent, 1)
        if left > request.max_tokens:
            return told._replace(text=".", finish_reason="length", completion_tokens=request.max_tokens)
        stop = request.stop[0]
        if stop != "</answer>":
            return told._replace(text=stop, finish_reason="stop", completion_tokens=left)
        ranking = self._ranking(request, self.ranks[request.query_id])
        said = f"<think></think><answer>{ranking}{stop}"
        return told._replace(text=said, finish_reason="stop", completion_tokens=left + _pieces(ranking))

    def _written(self, told: Response, text: str, most: int) -> Response:
        return told._replace(text=text, finish_reason="stop", completion_tokens=min(_pieces(text), most))

    def _ranking(self, request: Request, ranks: Mapping[str, int]) -> str:
        best_first = sorted(range(len(request.doc_ids)), key=lambda place: ranks[request.doc_ids[place]])
        return " > ".join(f"[{chr(ord('A') + place) if self.letters else place + 1}]" for place in best_first)


def _pieces(ranking: str) -> int:
    """Tokens of a ranking: brackets, names and signs are one each, as in RankGPT's estimates."""
    return ranking.count(">") + 3 * ranking.count("[")


class Scale(NamedTuple):
    """Tokens per character, and how they are known."""

    per_character: float
    about: str

    @classmethod
    def of(cls, llm: str, tally: Tally) -> Scale:
        """For a language model's spec, from what was asked: by its tokenizer, or CHARACTERS to a token without one."""
        tokens, about = tokens_of(llm)
        if tokens is None or not tally.sample:
            return cls(1 / CHARACTERS, f"characters / {CHARACTERS}, as {about}")
        characters = sum(
            len(part.text) for asked in tally.sample for message in asked.messages for part in message.parts
        )
        total = sum(_length(tokens, asked) for asked in tally.sample)
        return cls(total / max(characters, 1), f"{about}, from {len(tally.sample)} of {tally.calls} prompts")


def _length(tokens: Tokens, request: Request) -> int:
    try:
        return len(tokens.encode(Request(request.messages, shared=request.shared), sys.maxsize).ids)
    except LimrankError:
        # A model without a chat template, or a text that it would refuse: its words are counted all the same.
        return len(tokens.ids(part._replace(trusted=True) for message in request.messages for part in message.parts))


def tokens_of(llm: str) -> tuple[Tokens | None, str]:
    """The tokenizer of a language model's spec, where it can be had without the weights, and whose it is."""
    if not llm:
        return None, "the method names no model whose tokenizer could count them"
    spec = plugins.parse_spec(llm)
    if "llm" in spec.options:
        return tokens_of(spec.options["llm"])
    parameters = plugins.settle(plugins.find("llm", spec.name).load, options=spec.options, what=f"LLM {spec.name}")
    named = spec.options.get("tokenizer") or ("" if "tokenizer" in parameters else spec.model)
    if "revision" not in parameters and "tokenizer" not in spec.options:
        return None, f"{llm} has no tokenizer here"
    try:
        weights = find(named, revision=spec.options.get("revision"), gguf_file=spec.options.get("gguf_file"))
        place: dict[str, Any] = {"revision": weights.revision}
        location = weights.location
        if weights.gguf is not None:
            # Of a GGUF file the tokenizer can be read alone.
            require("gguf", needed_for="a GGUF file")
            location, place = str(Path(weights.gguf).parent), {"gguf_file": weights.gguf.name}
        made = require("transformers").AutoTokenizer.from_pretrained(location, **place)
        return Tokens(made), f"tokenizer of {weights.name}"
    except (LimrankError, OSError, ValueError) as error:
        return None, f"the tokenizer of {named} is not to be had ({str(error).partition(';')[0]})"
