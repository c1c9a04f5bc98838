"""vLLM's engine: questions go in under names, outputs come out under the same names.

It computes in processes of its own, so questions are taken while it is at work. Knows nothing of requests or texts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from limrank.errors import LimrankError, Unknown
from limrank.extras import require
from limrank.files import sha256
from limrank.llm._vllm import Ask

RAW = "raw_logprobs"
# Processes that have not ended by then are killed.
GRACE_SECONDS = 10.0
# Requests in the engine for each one that it computes at a time: the next batch is always there.
AHEAD = 2
# Ranks that vLLM has kernels for; an adapter uses the next one.
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


class Adapter(NamedTuple):
    """A LoRA adapter; its name is another one for other weights."""

    name: str
    folder: Path
    rank: int


def adapter_in(folder: Path) -> Adapter:
    """The adapter in a folder, known by the content of its files.

    Raises:
        Unknown: There is none.
        LimrankError: vLLM cannot apply it.
    """
    files = [folder / "adapter_config.json", folder / "adapter_model.safetensors"]
    for path in files:
        if not path.is_file():
            raise Unknown(f"lora={folder}: has no {path.name}, so it is not an adapter")
    config = json.loads(files[0].read_text(encoding="utf-8"))
    if whole := config.get("modules_to_save"):
        raise LimrankError(
            f"lora={folder}: holds whole layers ({', '.join(whole)}), which vLLM does not take in an adapter; merge it "
            "into the model first"
        )
    content = hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()
    return Adapter(f"{folder.resolve().name}@{content[:12]}", folder.resolve(), int(config.get("r", 8)))


class Refused(Exception):
    """A question that vLLM does not take; it takes others."""


class Engine:
    """A running engine.

    Attributes:
        max_length: Tokens of prompt and answer that it takes.
        room: Questions that it should be given at a time.
    """

    def __init__(self, name: str, location: str, options: Mapping[str, Any], adapter: Adapter | None) -> None:
        """Start it; that takes from seconds to minutes.

        Args:
            name: For messages.
            location: A folder, or a hub id.
            options: Of `vllm.LLM`, `dtype` among them.
            adapter: Applied to everything.

        Raises:
            LimrankError: vLLM cannot run the model like this.
        """
        vllm = require("vllm", extra="vllm", needed_for="the vllm backend")
        self._name, self._lora = name, None
        if adapter:
            rank = next((rank for rank in RANKS if rank >= adapter.rank), adapter.rank)
            options = {**options, "enable_lora": True, "max_lora_rank": rank, "max_loras": 1}
            self._lora = require("vllm.lora.request").LoRARequest(adapter.name, 1, str(adapter.folder))
        # These are numbers before temperature, penalties and masks; all others would be no probabilities of the model.
        options = {**options, "logprobs_mode": RAW, "use_tqdm_on_load": False}
        self._engine = self._trying(lambda: vllm.LLM(location, **options).llm_engine, "vLLM cannot run")
        if self._lora is not None:
            try:
                self._trying(lambda: self._engine.add_lora(self._lora), "vLLM cannot use the adapter of")
            except LimrankError:
                self.close()
                raise
        model = self._engine.model_config
        if model.logprobs_mode != RAW or str(model.dtype) != f"torch.{options['dtype']}":
            self.close()
            raise LimrankError(
                f"vLLM runs {name} with {model.dtype} and {model.logprobs_mode}; asked for {options['dtype']} and {RAW}"
            )
        self.max_length = int(model.max_model_len)
        self.room = AHEAD * int(self._engine.vllm_config.scheduler_config.max_num_seqs)

    def add(self, name: str, ask: Ask) -> None:
        """Take a question.

        Raises:
            Refused: vLLM does not accept it.
            LimrankError: The engine has stopped.
        """
        sampling = require("vllm.sampling_params")
        prompt = require("vllm.inputs").tokens_input(list(ask.ids))
        options = {**ask.parameters, "output_kind": sampling.RequestOutputKind.FINAL_ONLY}
        try:
            if held := options.get("structured_outputs"):
                options["structured_outputs"] = sampling.StructuredOutputsParams(**held)
            parameters = sampling.SamplingParams(**options)
            self._engine.add_request(name, prompt, parameters, lora_request=self._lora)
        except (ValueError, require("vllm.exceptions").VLLMClientError) as error:
            raise Refused(f"vLLM refuses the request: {_words(error)}") from None
        except Exception as error:
            raise self._stopped(error) from error

    def step(self) -> dict[str, Any]:
        """Wait for the next step, and return what it has finished, as `vllm.RequestOutput`; may be nothing.

        Raises:
            LimrankError: The engine has stopped.
        """
        try:
            return {output.request_id: output for output in self._engine.step() if output.finished}
        except Exception as error:
            raise self._stopped(error) from error

    def withdraw(self, names: Iterable[str]) -> None:
        """Forget questions; no output will come."""
        self._engine.abort_request(list(names))

    def close(self) -> None:
        """Stop, and give the memory back."""
        self._engine.engine_core.shutdown(timeout=GRACE_SECONDS)

    def _stopped(self, error: Exception) -> LimrankError:
        self.close()
        return LimrankError(f"vLLM stopped while it ran {self._name}: {_words(error)}; run again to continue")

    def _trying(self, start: Callable[[], Any], what: str) -> Any:
        try:
            return start()
        except Exception as error:
            raise LimrankError(f"{what} {self._name}: {_words(error)}") from error


def _words(error: Exception) -> str:
    """What an error says, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)}"[:500].rstrip(": ")
