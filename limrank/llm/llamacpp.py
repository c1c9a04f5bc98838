"""GGUF files in this process, through llama.cpp: `llamacpp:smollm2 dtype=bfloat16`.

Requests are answered one by one. What the requests of a query share stays in the sequence; it is always computed as a
block of its own, so that an answer depends on its request alone, to the last bit, whatever was asked before.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from limrank.errors import LimrankError
from limrank.extras import require
from limrank.llm import Delivery
from limrank.llm._calls import digest
from limrank.llm._llama import DType, Model, NoRoom, requantised
from limrank.llm._tokens import Encoded, Tokens, Unencodable
from limrank.llm._vocabulary import Vocabulary
from limrank.llm._weights import SMOLLM2, Weights, find
from limrank.llm._write import Ends, Task, Written
from limrank.records import Request, Response

if TYPE_CHECKING:
    import numpy as np

# Below this many tokens, a prefix is not worth a forward pass of its own.
WORTHWHILE = 16


def load(
    model: str = SMOLLM2,
    *,
    revision: str | None = None,
    gguf_file: str | None = None,
    dtype: DType = "file",
    context: int = 0,
    threads: int = 0,
    prefix: bool = True,
) -> LlamaCpp:
    """A model of llama.cpp; its weights are read when the first question is asked.

    Args:
        model: `smollm2`, the small default model; a `.gguf` file; or a folder or hub id that has a `gguf_file`.
        revision: Of a hub id: branch, tag or commit.
        gguf_file: A file in the folder or repository.
        dtype: `file` computes with the weights as they are; others are made of them once and kept in the cache. On
            many CPUs `bfloat16` is several times faster than the quantised original, and as good as exact.
        context: Tokens of prompt and answer, for which memory is taken; 0 is what the model was made for, 8192 at most.
        threads: 0 is one for each CPU that this process may use.
        prefix: Compute what a query's prompts share once; changes rounding only.

    Raises:
        Unknown: There is no such model.
        LimrankError: It is no GGUF file, or a number is out of range.
        MissingExtra: A package is not installed.
    """
    for name, value in {"context": context, "threads": threads}.items():
        if value < 0:
            raise LimrankError(f"{name}={value}: expected 0 or more")
    require("llama_cpp", extra="llamacpp", needed_for="the llamacpp backend")
    if not gguf_file and model not in ("", SMOLLM2) and not model.endswith(".gguf"):
        raise LimrankError(f"llamacpp:{model}: expected a .gguf file, or gguf_file=NAME in this folder or repository")
    return LlamaCpp(find(model, revision=revision, gguf_file=gguf_file), dtype, context, threads, prefix)


class LlamaCpp:
    """As `LLM`; made by `load`. Every answer is a delivery of its own, in the order of the requests."""

    def __init__(self, weights: Weights, dtype: DType, context: int, threads: int, prefix: bool) -> None:
        self.weights, self.dtype = weights, dtype
        self.name = f"llamacpp:{weights.name}"
        self.name += f" {dtype}" if dtype != "file" else ""
        self.name += f" context={context}" if context else ""
        self.prefix = prefix
        self._context, self._threads = context, threads
        self._kept: list[int] = []

    def generate(self, feed: Iterator[Request | None]) -> Iterator[Delivery]:
        """As `LLM.generate`."""
        position = 0
        for request in feed:
            if request is not None:
                yield [(position, self._answer(request))]
                position += 1

    @functools.cached_property
    def model(self) -> Model:
        """The weights, read at first use."""
        if self.weights.gguf is None:
            raise LimrankError(f"{self.weights.name}: not a GGUF file")
        return Model(requantised(self.weights.gguf, self.dtype), context=self._context, threads=self._threads)

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """The model's tokenizer, read at first use."""
        return Vocabulary(self.model)

    @functools.cached_property
    def tokens(self) -> Tokens:
        """The tokenizer that tells trusted text from untrusted."""
        return Tokens(self.vocabulary)

    def _answer(self, request: Request) -> Response:
        start = time.perf_counter()
        try:
            encoded = self.tokens.encode(request, self.model.context)
            logprobs = self._scored(request, encoded)
            written = self._written(request, encoded) if request.max_tokens else None
        except (Unencodable, NoRoom) as error:
            return Response(status="failed", error=str(error))
        answer = Response(
            prompt_tokens=len(encoded.ids),
            truncated_tokens=encoded.dropped,
            seconds=round(time.perf_counter() - start, 6),
        )
        if not all(map(math.isfinite, logprobs)):
            return answer._replace(status="failed", error="the model's output is not a number (NaN or infinite)")
        answer = answer._replace(logprobs=tuple(logprobs), choice_tokens=tuple(map(len, encoded.choices)))
        if written is None:
            return answer
        return answer._replace(
            text=written.text,
            token_ids=written.ids,
            completion_tokens=len(written.ids),
            finish_reason=written.finish_reason,
        )

    def _read(self, request: Request, encoded: Encoded) -> np.ndarray:
        """Have the model hold exactly the prompt, and return the logits behind it."""
        ids, model = encoded.ids, self.model
        # The last token of the shared text alone is often another one where the text goes on.
        prefix = self.tokens.shared_ids(self.tokens.segments(request))[:-1]
        usable = self.prefix and model.rewinds and encoded.shared >= len(prefix) < len(ids)
        if not usable or len(prefix) < WORTHWHILE:
            prefix = []
        if self._kept != prefix or model.length < len(prefix):
            self._kept = []
            model.cut(0)
            model.extend(prefix)
            self._kept = prefix
        model.cut(len(prefix))
        logits: np.ndarray = model.extend(ids[len(prefix) :])[0]
        return logits

    def _scored(self, request: Request, encoded: Encoded) -> list[float]:
        """The log-probability of each choice behind the prompt."""
        import numpy as np

        values = []
        first: np.ndarray | None = None
        for choice in encoded.choices:
            # A model that cannot go back has to read the prompt again.
            if first is None or self.model.length != len(encoded.ids):
                first = self._read(request, encoded)
            rows = first[None]
            if len(choice) > 1:
                rows = np.concatenate([rows, self.model.extend(choice[:-1], rows=len(choice) - 1)])
                self.model.cut(len(encoded.ids))
            values.append(math.fsum(_log_softmax(rows)[range(len(choice)), choice].tolist()))
        return values

    def _written(self, request: Request, encoded: Encoded) -> Written:
        task = Task(encoded.ids, request.max_tokens, request.stop, request.temperature, request.seed)
        ends = Ends(self.vocabulary, [task], 0, self.vocabulary.ends)
        logits = self._read(request, encoded)
        ids: list[int] = []
        while True:
            ids.append(_choose(logits, task, len(ids)))
            if reason := ends.reason(0, ids):
                ends.ends[0] = (len(ids), reason)
                return ends.written(0, ids)
            logits = self.model.extend(ids[-1:])[0]


def _log_softmax(rows: np.ndarray) -> np.ndarray:
    """Row by row, in float64."""
    import numpy as np

    rows = rows.astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return rows


def _choose(logits: np.ndarray, task: Task, step: int) -> int:
    """The most probable token, or a sample: the largest logit / temperature with Gumbel noise, seeded by the task."""
    import numpy as np

    if not task.temperature:
        return int(logits.argmax())
    seed = int.from_bytes(digest(task.seed, list(task.ids), step)[:8])
    noise = np.random.Generator(np.random.PCG64(seed)).gumbel(size=len(logits))
    return int((logits.astype(np.float64) / task.temperature + noise).argmax())
