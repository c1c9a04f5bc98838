"""Text to vectors, by any sentence-transformers model and by torch, onnxruntime or OpenVINO.

Knows nothing of indexes: texts go in, float32 rows come out, in the given order.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from limrank.extras import require
from limrank.retrieve._export import CannotExport, exported
from limrank.retrieve._graph import BATCH, GraphEncoder
from limrank.retrieve._models import Model

if TYPE_CHECKING:
    from limrank.retrieve._graph import Vectors

logger = logging.getLogger(__name__)

Backend = Literal["auto", "torch", "onnx", "openvino"]
# The package of each graph runtime, the faster one first.
RUNTIMES: dict[Backend, str] = {"openvino": "openvino", "onnx": "onnxruntime"}


class Encoder(Protocol):
    """What embeds.

    Attributes:
        backend: What it runs on: torch, onnx or openvino.
    """

    backend: str

    def encode(self, texts: Sequence[str], *, prefix: str = "", batch: int = BATCH) -> Vectors:
        """Embed texts (at least one), one row each, in the given order, as the model gives them.

        Args:
            texts: Longer ones are cut at the model's limit.
            prefix: Put in front of every text.
            batch: Texts per forward pass; changes speed, and values by float noise only.
        """
        ...


class TorchEncoder:
    """The model as sentence-transformers runs it, on a GPU where there is one."""

    backend = "torch"

    def __init__(self, sentence_model: Any) -> None:
        self._model = sentence_model

    def encode(self, texts: Sequence[str], *, prefix: str = "", batch: int = BATCH) -> Vectors:
        """See `Encoder`."""
        import numpy as np

        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        # The prefix goes in as a prompt: some models leave it out when they pool.
        vectors = self._model.encode(
            clean, prompt=prefix, batch_size=batch, show_progress_bar=False, convert_to_numpy=True
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)


def open_encoder(model: Model, *, backend: Backend = "auto", trust_remote_code: bool = False) -> Encoder:
    """The model, ready to embed.

    Args:
        backend: `onnx` and `openvino` run an exported graph, on the CPU. `auto` is torch where there is a GPU, else
            openvino or onnx, the first that is installed, where the model can be exported with the same vectors (cosine
            0.9999), else torch.
        trust_remote_code: Run the Python files that come with the model.

    Raises:
        CannotExport: `onnx` or `openvino` is asked for, and the model is not one for them.
        MissingExtra: The backend is not installed.
    """

    def load(device: str | None = None) -> Any:
        return _sentence_model(model, device=device, trust_remote_code=trust_remote_code)

    if backend == "auto":
        found = (name for name, package in RUNTIMES.items() if _importable(package, "onnx"))
        backend = "torch" if _has_gpu() else next(found, "torch")
        if backend != "torch":
            try:
                return _graph(model, backend, lambda: load("cpu"))
            except CannotExport as error:
                logger.warning("%s; torch runs it instead", error)
                backend = "torch"
    return TorchEncoder(load()) if backend == "torch" else _graph(model, backend, lambda: load("cpu"))


def _graph(model: Model, runtime: str, load: Callable[[], Any]) -> GraphEncoder:
    require({"onnx": "onnxruntime"}.get(runtime, runtime), extra=runtime, needed_for=f"the encoder backend {runtime}")
    return GraphEncoder(exported(model, load, runtime=runtime), runtime)


def _sentence_model(model: Model, *, device: str | None, trust_remote_code: bool) -> Any:
    with _quiet():
        package = require("sentence_transformers", install="sentence-transformers", needed_for="dense retrieval")
        return package.SentenceTransformer(str(model.folder), device=device, trust_remote_code=trust_remote_code)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the bar that transformers draws while it loads weights; the user's own setting is put back."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available() or torch.backends.mps.is_available())


def _importable(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)
