"""Causal models in this process, through transformers: `transformers:MODEL dtype=float32`.

Requests of one query that arrive together are one group: what they share is computed once, and batches are formed
within the group only, by length, then position. So a resumed run, which asks for the batches that are missing, forms
the same batches again, and its scores are the same to the last bit.

Requests for text are grouped across queries, too, since writing one text at a time is many times slower. In a resumed
run a text may have other neighbours; in float32 that changes rounding in the sixth digit, and the text only where two
tokens are as close as that.
"""

from __future__ import annotations

import functools
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from limrank.errors import LimrankError
from limrank.extras import require
from limrank.llm import Delivery
from limrank.llm._forward import Row, logprobs, prefix_states
from limrank.llm._tokens import Encoded, Tokens, Unencodable
from limrank.llm._weights import Weights, dequantised, find, quiet
from limrank.llm._write import Task, Written, write
from limrank.records import Request, Response

DType = Literal["auto", "float32", "bfloat16", "float16"]
Quantization = Literal["none", "int8", "int4"]
# Below this many tokens, keeping a shared prefix costs more than it saves.
WORTHWHILE = 16
# Requests that belong to no query, or ask for text, have no natural group.
STRANGERS = 256
# Generating a token costs a row far less than reading a prompt, so more rows fit a batch.
WRITING = 4

T = TypeVar("T")


def load(
    model: str = "smollm2",
    *,
    revision: str | None = None,
    dtype: DType = "auto",
    device: str = "auto",
    quantization: Quantization = "none",
    batch_tokens: int = 0,
    max_length: int = 0,
    gguf_file: str | None = None,
    prefix: bool = True,
) -> Transformers:
    """A model of transformers; its weights are read when the first question is asked.

    Args:
        model: `smollm2`, the small default model; a hub id; a folder; or a `.gguf` file, which is dequantised.
        revision: Of a hub id: branch, tag or commit.
        dtype: `auto` is bfloat16 on CUDA and on CPUs that compute in it, and float32 on all others, where bfloat16
            would be several times slower.
        device: `auto` is `cuda` where there is one, else `cpu`.
        quantization: `int8` or `int4` (NF4) makes the weights of the linear layers smaller while they are loaded, with
            bitsandbytes; scores change. Weights that are published as AWQ, GPTQ or the like need no option.
        batch_tokens: Tokens of a forward pass, padding included; 0 is 768 on a CPU and 16384 on CUDA. Changes rounding,
            which float32 does not show before the sixth digit.
        max_length: Tokens of prompt and answer; 0 is what the model was made for.
        gguf_file: A GGUF file in the folder or repository.
        prefix: Compute what a query's prompts share once; changes rounding only.

    Raises:
        Unknown: There is no such model.
        MissingExtra: A package is not installed.
    """
    for name, value in {"batch_tokens": batch_tokens, "max_length": max_length}.items():
        if value < 0:
            raise LimrankError(f"{name}={value}: expected 0 or more")
    require("transformers")
    if quantization != "none":
        require("bitsandbytes", install="bitsandbytes", needed_for=f"quantization={quantization}")
    weights = find(model, revision=revision, gguf_file=gguf_file)
    return Transformers(weights, dtype, device, quantization, batch_tokens, max_length, prefix)


class Item(NamedTuple):
    """A request on its way through the model."""

    position: int
    request: Request
    encoded: Encoded
    shared_ids: tuple[int, ...]

    @property
    def known(self) -> int:
        """Leading ids that come from the query's shared states; a matter of this request alone."""
        shared = min(self.encoded.shared, len(self.encoded.ids) - 1)
        return shared if shared >= WORTHWHILE and not self.request.max_tokens else 0

    @property
    def kind(self) -> tuple[bool, int, tuple[int, ...]]:
        """What the items of a batch have in common."""
        return (self.request.max_tokens > 0, self.known, self.shared_ids if self.known else ())

    @property
    def order(self) -> tuple[tuple[bool, int, tuple[int, ...]], int, int]:
        return (self.kind, len(self.encoded.ids), self.position)


class Transformers:
    """As `LLM`; made by `load`."""

    def __init__(
        self,
        weights: Weights,
        dtype: DType,
        device: str,
        quantization: Quantization,
        batch_tokens: int,
        max_length: int,
        prefix: bool,
    ) -> None:
        import torch

        self.weights = weights
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.dtype = _dtype(self.device) if dtype == "auto" else dtype
        self.batch_tokens = batch_tokens or (16384 if self.device.startswith("cuda") else 768)
        self.quantization = quantization
        self.limit = max_length
        self.prefix = prefix
        self.name = f"transformers:{weights.name} {self.dtype}"
        self.name += f" {quantization}" if quantization != "none" else ""
        self.name += f" max_length={max_length}" if max_length else ""

    def generate(self, feed: Iterator[Request | None]) -> Iterator[Delivery]:
        """As `LLM.generate`; a delivery is a batch."""
        for group in _groups(feed):
            items, refused = self._encoded(group)
            if refused:
                yield refused
            states: Callable[[tuple[int, ...]], Any] = functools.cache(self._states)
            for batch in _batches(sorted(items, key=lambda item: item.order), self.batch_tokens):
                yield self._answers(batch, states)

    @functools.cached_property
    def model(self) -> Any:
        """The weights, read at first use."""
        transformers = require("transformers")
        place: dict[str, Any] = {"revision": self.weights.revision}
        location = self.weights.location if self.weights.gguf is None else str(dequantised(self.weights.gguf))
        if self.device != "cpu" or self.quantization != "none":
            place["device_map"] = {"": self.device}
        if self.quantization != "none":
            eight, four = self.quantization == "int8", self.quantization == "int4"
            place["quantization_config"] = transformers.BitsAndBytesConfig(
                load_in_8bit=eight, load_in_4bit=four, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=self.dtype
            )
        # It says so for every layer and forward pass.
        warnings.filterwarnings("ignore", message="MatMul8bitLt: inputs will be cast")
        with quiet():
            return transformers.AutoModelForCausalLM.from_pretrained(location, dtype=self.dtype, **place).eval()

    @functools.cached_property
    def tokens(self) -> Tokens:
        """The tokenizer, read at first use."""
        transformers = require("transformers")
        location = self.weights.location if self.weights.gguf is None else str(dequantised(self.weights.gguf))
        return Tokens(transformers.AutoTokenizer.from_pretrained(location, revision=self.weights.revision))

    @functools.cached_property
    def max_length(self) -> int:
        """Tokens of prompt and answer that the model takes."""
        made_for = getattr(self.model.config.get_text_config(decoder=True), "max_position_embeddings", None)
        if self.limit and made_for and self.limit > made_for:
            raise LimrankError(f"max_length={self.limit}: {self.weights.name} takes {made_for} tokens")
        return int(self.limit or made_for or 2048)

    def _encoded(self, group: list[tuple[int, Request]]) -> tuple[list[Item], Delivery]:
        """What can be asked, and the failures of what cannot."""
        items, refused = [], []
        for position, request in group:
            try:
                encoded = self.tokens.encode(request, self.max_length)
                shared_ids = self.tokens.shared_ids(self.tokens.segments(request))
                items.append(Item(position, request, encoded, tuple(shared_ids)))
            except Unencodable as error:
                refused.append((position, Response(status="failed", error=str(error))))
        return items, refused

    def _states(self, shared_ids: tuple[int, ...]) -> Any:
        """The states of a query's shared ids, or None where they cannot be kept.

        They are computed for all that is shared, though a request may use less of it: so they are the same in a
        resumed run, whichever requests are left.
        """
        return prefix_states(self.model, list(shared_ids)) if self.prefix else None

    def _answers(self, batch: list[Item], states: Callable[[tuple[int, ...]], Any]) -> Delivery:
        start = time.perf_counter()
        scored = _halving(lambda part: self._scored(part, states), batch)
        writing = [item for item in batch if item.request.max_tokens]
        written = dict(zip((item.position for item in writing), _halving(self._written, writing)))
        seconds = (time.perf_counter() - start) / len(batch)
        return [
            (item.position, _response(item, values, written.get(item.position), seconds))
            for item, values in zip(batch, scored)
        ]

    def _scored(self, batch: Sequence[Item], states: Callable[[tuple[int, ...]], Any]) -> list[list[float] | None]:
        """Log-probabilities of each item's choices; None where the device lacked memory."""
        rows, owners = [], []
        for i, item in enumerate(batch):
            for row, choices in _rows(item.encoded):
                rows.append(row)
                owners.append((i, choices))
        result: list[list[float] | None] = [[0.0] * len(item.encoded.choices) for item in batch]
        if not rows:
            return result
        kept = states(batch[0].shared_ids) if batch[0].known else None
        known = batch[0].known if kept is not None else 0
        for (i, choices), values in zip(owners, logprobs(self.model, rows, kept, known)):
            sums = result[i]
            for choice, value in zip(choices, values):
                if sums is not None:
                    sums[choice] += value
        return result

    def _written(self, batch: Sequence[Item]) -> list[Written | None]:
        tasks = [
            Task(item.encoded.ids, request.max_tokens, request.stop, request.temperature, request.seed)
            for item in batch
            for request in [item.request]
        ]
        return list(write(self.model, self.tokens.tokenizer, tasks)) if tasks else []


def _groups(feed: Iterator[Request | None]) -> Iterator[list[tuple[int, Request]]]:
    """Consecutive requests of the same query, or for text; None ends a group, too."""
    group: list[tuple[int, Request]] = []
    position = 0
    for request in feed:
        if group and (request is None or not _joins(request, group)):
            yield group
            group = []
        if request is not None:
            group.append((position, request))
            position += 1
    if group:
        yield group


def _joins(request: Request, group: list[tuple[int, Request]]) -> bool:
    last = group[-1][1]
    if request.query_id and request.query_id == last.query_id:
        return True
    alike = request.query_id == last.query_id or (request.max_tokens > 0 and last.max_tokens > 0)
    return alike and len(group) < STRANGERS


def _batches(items: list[Item], tokens: int) -> Iterator[list[Item]]:
    """Cut sorted items into batches of the same kind and known prefix, greedily, from the front.

    Taking whole batches off the front does not change the others: that is what a resumed run does.
    """
    batch: list[Item] = []
    rows = 0
    for item in items:
        writes = item.request.max_tokens > 0
        width = len(item.encoded.ids) - item.known + max(map(len, item.encoded.choices), default=1) - 1
        more = max(len(_rows(item.encoded)), 1)
        full = (rows + more) * width > tokens * (WRITING if writes else 1)
        if batch and (full or item.kind != batch[0].kind):
            yield batch
            batch, rows = [], 0
        batch.append(item)
        rows += more
    if batch:
        yield batch


def _rows(encoded: Encoded) -> list[tuple[Row, list[int]]]:
    """The rows that score the choices, each with the choice that each of its reads belongs to.

    Choices of one token are all read off one row; a longer one needs a row of its own, which it ends.
    """
    last = len(encoded.ids) - 1
    single = [i for i, choice in enumerate(encoded.choices) if len(choice) == 1]
    rows = []
    if single:
        rows.append((Row(encoded.ids, tuple((last, encoded.choices[i][0]) for i in single)), single))
    for i, choice in enumerate(encoded.choices):
        if len(choice) > 1:
            reads = tuple((last + n, token) for n, token in enumerate(choice))
            rows.append((Row([*encoded.ids, *choice[:-1]], reads), [i] * len(choice)))
    return rows


def _halving(function: Callable[[Sequence[Item]], list[T | None]], batch: Sequence[Item]) -> list[T | None]:
    """The function of the batch, or of its halves where the device lacks memory; None for what does not fit alone."""
    import torch

    if not batch:
        return []
    try:
        return function(batch)
    except torch.cuda.OutOfMemoryError:
        pass  # outside the handler, so that the failed pass's tensors are free before the next
    torch.cuda.empty_cache()
    if len(batch) == 1:
        return [None]
    middle = len(batch) // 2
    return _halving(function, batch[:middle]) + _halving(function, batch[middle:])


def _response(item: Item, values: list[float] | None, written: Written | None, seconds: float) -> Response:
    encoded, wants_text = item.encoded, item.request.max_tokens > 0
    answer = Response(prompt_tokens=len(encoded.ids), truncated_tokens=encoded.dropped, seconds=round(seconds, 6))
    if values is None or (wants_text and written is None):
        return answer._replace(status="failed", error=f"the device lacks memory for {len(encoded.ids)} tokens")
    if not all(map(math.isfinite, values)):
        return answer._replace(status="failed", error="the model's output is not a number (NaN or infinite)")
    answer = answer._replace(logprobs=tuple(values), choice_tokens=tuple(map(len, encoded.choices)))
    if written is None:
        return answer
    return answer._replace(
        text=written.text,
        token_ids=written.ids,
        completion_tokens=len(written.ids),
        finish_reason=written.finish_reason,
    )


def _dtype(device: str) -> DType:
    if device != "cpu":
        return "bfloat16"
    import torch

    native = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return "bfloat16" if any(getattr(torch.cpu, name, bool)() for name in native) else "float32"
