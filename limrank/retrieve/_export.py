"""An embedding model as one ONNX graph, tokens in and sentence vectors out, kept in the cache and checked first.

Exported directly, because the extras that sentence-transformers has for this pull transformers back to an old release.
Two to four times as fast as torch on a CPU. Knows nothing of who runs the graph.
"""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from limrank.errors import LimrankError
from limrank.files import cache_folder, write_json
from limrank.retrieve._graph import GraphEncoder
from limrank.retrieve._models import Model, weight_bytes

logger = logging.getLogger(__name__)

# The old exporter, which needs no further package; 17 is the first opset with LayerNormalization in one piece.
OPSET = 17
LARGEST = 1_800_000_000  # bytes; protobuf ends at 2 GiB
LEAST_COSINE = 0.9999
# Short, long beyond any limit, empty, other scripts, white space, and texts of one length (a batch without padding).
PROBES = (
    ("What is the capital of France?",),
    ("a b c", "d e f"),
    ("x", "word " * 3000, "", "  שלום 😀 日本語 ", "two\nlines\tand a tab", "It's (almost) 3.14 - isn't it?!"),
)


class CannotExport(LimrankError):
    """The model is not one that a graph can stand for; the message says why."""


def exported(model: Model, load: Callable[[], Any], *, runtime: str) -> Path:
    """The folder with `model.onnx`, `tokenizer.json` and `graph.json`, made on first use.

    Args:
        load: Gives the sentence-transformers model on the CPU; called only where there is something to make.
        runtime: What runs the graph for the check: onnx or openvino.

    Raises:
        CannotExport: The model has other modules than Transformer, mean or first-token Pooling and Normalize, is too
            large, or the graph's vectors are not the model's (cosine below 0.9999 on any probe).
    """
    name = re.sub(r"[^\w.-]+", "_", model.name.rstrip("/").rpartition("/")[2])
    place = cache_folder() / "encoders" / f"{name}-{model.revision.rpartition(':')[2][:16]}"
    if (place / "graph.json").exists():
        return place
    if (size := weight_bytes(model)) > LARGEST:
        raise CannotExport(f"model {model.name}: {size / 1e9:.1f} GB are more than one ONNX file holds")
    logger.info("exporting %s to %s", model.name, place)
    sentence_model = load()
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.", suffix=".part"))
    try:
        description = _write_graph(model, sentence_model, folder)
        write_json(folder / "graph.json", description)
        cosine = _least_cosine(sentence_model, GraphEncoder(folder, runtime))
        # Written so that NaN fails as well.
        if not cosine >= LEAST_COSINE:
            raise CannotExport(f"model {model.name}: the graph's vectors are not the model's (cosine {cosine:.5f})")
        write_json(folder / "graph.json", description | {"least_cosine": cosine, "revision": model.revision})
        try:
            folder.replace(place)
        except OSError:
            # A folder that is not empty cannot be replaced: another process was faster.
            if not (place / "graph.json").exists():
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return place


def _write_graph(model: Model, sentence_model: Any, folder: Path) -> dict[str, Any]:
    """Trace the model into `folder` and describe what the graph takes."""
    import torch

    pooling, normalize = _modules(model, sentence_model)
    tokenizer, transformer = sentence_model.tokenizer, sentence_model[0].auto_model
    if not getattr(tokenizer, "is_fast", False):
        raise CannotExport(f"model {model.name}: its tokenizer has no fast form")
    sample = tokenizer(["a first text", "a second text that is longer"], padding=True, return_tensors="pt")
    inputs = [key for key in ("input_ids", "attention_mask", "token_type_ids") if key in sample]

    class Sentences(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, *values: Any) -> Any:
            arguments = dict(zip(inputs, values))
            hidden = self.transformer(**arguments).last_hidden_state.float()
            if pooling == "cls":
                pooled = hidden[:, 0]
            else:
                mask = arguments["attention_mask"].unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(pooled, dim=1) if normalize else pooled

    try:
        with warnings.catch_warnings():
            # The tracer warns of every Python branch; what it got wrong, the probes find.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Sentences().eval(),
                tuple(sample[key] for key in inputs),
                str(folder / "model.onnx"),
                input_names=inputs,
                output_names=["vectors"],
                dynamic_axes={key: {0: "texts", 1: "tokens"} for key in inputs} | {"vectors": {0: "texts"}},
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:
        # Whatever a tracer stumbles over, the model is none the worse: it can still be run by torch.
        raise CannotExport(f"model {model.name}: {type(error).__name__}: {str(error).splitlines()[0]}") from error
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    return {
        "inputs": inputs,
        "max_tokens": min(sentence_model.max_seq_length or tokenizer.model_max_length, 1_000_000),
        "pad_id": tokenizer.pad_token_id or 0,
        "pad_type_id": getattr(tokenizer, "pad_token_type_id", 0),
        "padding_side": tokenizer.padding_side,
    }


def _modules(model: Model, sentence_model: Any) -> tuple[str, bool]:
    """Pooling mode, and whether vectors are normalised."""
    names = [type(module).__name__ for module in sentence_model]
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise CannotExport(f"model {model.name}: modules {', '.join(names)} are not Transformer, Pooling, Normalize")
    settings = sentence_model[1].get_config_dict()
    # Before release 6 there was one flag for each mode.
    mode = settings.get("pooling_mode") or [key for key, value in settings.items() if value is True and "mode" in key]
    mode = {("pooling_mode_mean_tokens",): "mean", ("pooling_mode_cls_token",): "cls"}.get(
        tuple(mode) if isinstance(mode, list) else (mode,), mode
    )
    if mode not in ("mean", "cls") or not settings.get("include_prompt", True):
        raise CannotExport(f"model {model.name}: its pooling ({mode}) is neither mean nor cls over the whole text")
    return str(mode), len(names) == 3


def _least_cosine(sentence_model: Any, encoder: GraphEncoder) -> float:
    import numpy as np

    least = 1.0
    for texts in PROBES:
        expected = np.asarray(sentence_model.encode(list(texts), prompt="", show_progress_bar=False), dtype=np.float64)
        got = encoder.encode(texts).astype(np.float64)
        lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(got, axis=1)
        least = float(np.minimum(least, ((expected * got).sum(axis=1) / lengths).min()))
    return least
