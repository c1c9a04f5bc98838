"""Runs an exported embedding graph with onnxruntime or OpenVINO: texts in, vectors out, without torch.

Knows nothing of where the graph came from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limrank.errors import LimrankError
from limrank.extras import require
from limrank.files import read_text
from limrank.retrieve import cores

if TYPE_CHECKING:
    import numpy as np

    Vectors = np.ndarray[Any, np.dtype[np.float32]]

Feed = dict[str, Any]
BATCH = 32


class GraphEncoder:
    """An encoder from a folder with `model.onnx`, `tokenizer.json` and `graph.json`."""

    def __init__(self, folder: Path, runtime: str) -> None:
        """Open the graph.

        Raises:
            MissingExtra: The runtime is not installed.
        """
        tokenizers = require("tokenizers")
        graph = json.loads(read_text(folder / "graph.json"))
        self.backend = runtime
        self._inputs: list[str] = graph["inputs"]
        self._padding: dict[str, int] = {
            "input_ids": graph["pad_id"],
            "attention_mask": 0,
            "token_type_ids": graph["pad_type_id"],
        }
        self._pads_left = graph["padding_side"] == "left"
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(graph["max_tokens"])
        self._tokenizer.no_padding()
        self._run = RUNTIMES[runtime](str(folder / "model.onnx"))

    def encode(self, texts: Sequence[str], *, prefix: str = "", batch: int = BATCH) -> Vectors:
        """Embed texts, one row each, in the given order.

        Args:
            texts: Longer ones are cut at the model's limit.
            prefix: Put in front of every text.
            batch: Texts of about the same length per forward pass; changes speed, and values by float noise only.
        """
        import numpy as np

        if not texts:
            raise LimrankError("no texts to embed")
        # A lone surrogate is no Unicode, and the tokenizer takes nothing else.
        encodings = self._tokenizer.encode_batch_fast(
            [(prefix + text).encode("utf-8", "replace").decode() for text in texts]
        )
        # Texts of one length together need next to no padding, which is what makes short texts fast.
        order = sorted(range(len(texts)), key=lambda i: len(encodings[i].ids), reverse=True)
        parts = [
            self._run(self._feed([encodings[i] for i in order[start : start + batch]]))
            for start in range(0, len(order), batch)
        ]
        vectors: Vectors = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
        vectors[order] = np.concatenate(parts)
        return vectors

    def _feed(self, encodings: Sequence[Any]) -> Feed:
        import numpy as np

        longest = max(len(encoding.ids) for encoding in encodings)
        feed = {key: np.full((len(encodings), longest), self._padding[key], dtype=np.int64) for key in self._inputs}
        for row, encoding in enumerate(encodings):
            length = len(encoding.ids)
            span = slice(longest - length, longest) if self._pads_left else slice(length)
            for key, column in (
                ("input_ids", encoding.ids),
                ("attention_mask", encoding.attention_mask),
                ("token_type_ids", encoding.type_ids),
            ):
                if key in feed:
                    feed[key][row, span] = column
        return feed


def _onnx(path: str) -> Callable[[Feed], Any]:
    runtime = require("onnxruntime", extra="onnx", needed_for="the encoder backend onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 3
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, feed)[0]


def _openvino(path: str) -> Callable[[Feed], Any]:
    openvino = require("openvino", extra="openvino", needed_for="the encoder backend openvino")
    core = openvino.Core()
    # Where the processor has bfloat16, OpenVINO would use it by itself, and the vectors would depend on the machine.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": cores()}
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    return lambda feed: compiled(feed)[0]


RUNTIMES: dict[str, Callable[[str], Callable[[Feed], Any]]] = {"onnx": _onnx, "openvino": _openvino}
