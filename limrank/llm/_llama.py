"""A model of llama.cpp with one sequence, which can be extended and cut back: token ids in, logits out.

Attention and its cache are computed in float32 and in blocks of a fixed size, so that what comes out depends on the
ids and on where they were cut, never on what the sequence held before. Knows nothing of text or of requests.
"""

from __future__ import annotations

import ctypes
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from limrank.errors import LimrankError
from limrank.extras import require
from limrank.files import cache_folder, sha256

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

DType = Literal["file", "float32", "bfloat16", "float16", "q8_0", "q4_0"]
# llama_ftype
FILE_TYPES = {"float32": 0, "float16": 1, "q4_0": 2, "q8_0": 7, "bfloat16": 32}
GGML_TYPE_F32 = 0
FLASH_ATTENTION_OFF = 0
LEVEL_WARNING, LEVEL_ERROR = 2, 3
# Tokens of a forward pass.
BLOCK = 512
# The cache is allocated for the whole context, which nobody needs for models that were made for a hundred thousand.
USUAL_CONTEXT = 8192


class NoRoom(Exception):
    """llama.cpp could not compute; the sequence is empty."""


class Model:
    """A GGUF file in memory.

    Attributes:
        lib: llama.cpp's functions.
        vocab: Its handle of the vocabulary.
        context: Tokens that the sequence can hold.
        rewinds: Whether a sequence can be cut back to any length; a recurrent model's cannot.
        length: Tokens that it holds.
    """

    def __init__(self, path: Path, *, context: int = 0, threads: int = 0) -> None:
        """Read the file.

        Args:
            path: Of the first part, if there are several.
            context: 0 is what the model was made for, 8192 at most.
            threads: 0 is one for each CPU that this process may use.

        Raises:
            LimrankError: llama.cpp cannot use it, or the context is too long for it.
            MissingExtra: llama-cpp-python is not installed.
        """
        self.lib = lib = _library()
        self._model: Any = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
        if not self._model:
            raise LimrankError(f"{path}: llama.cpp cannot load it ({_last_words()})")
        if lib.llama_model_has_encoder(self._model) or lib.llama_model_is_diffusion(self._model):
            raise LimrankError(f"{path}: not a model that continues texts")
        made_for = int(lib.llama_model_n_ctx_train(self._model))
        if context > made_for:
            raise LimrankError(f"context={context}: {path.name} takes {made_for} tokens")
        self.context = context or min(made_for, USUAL_CONTEXT)
        self.vocab = lib.llama_model_get_vocab(self._model)
        self.rewinds = not (lib.llama_model_is_recurrent(self._model) or lib.llama_model_is_hybrid(self._model))
        self.length = 0
        self._words = int(lib.llama_vocab_n_tokens(self.vocab))
        self._context = lib.llama_init_from_model(self._model, self._options(threads or _cpus()))
        if not self._context:
            raise LimrankError(f"{path}: llama.cpp has no memory for context={self.context} ({_last_words()})")
        self._memory = lib.llama_get_memory(self._context)
        self._batch = lib.llama_batch_init(BLOCK, 0, 1)

    def _options(self, threads: int) -> Any:
        options = self.lib.llama_context_default_params()
        # A multiple of 256 is what llama.cpp makes of it anyway.
        options.n_ctx = -(-self.context // 256) * 256
        options.n_batch = options.n_ubatch = BLOCK
        options.n_threads = options.n_threads_batch = threads
        # Keys and values are kept in float16 otherwise, and flash attention computes with them.
        options.type_k = options.type_v = GGML_TYPE_F32
        options.flash_attn_type = FLASH_ATTENTION_OFF
        return options

    def metadata(self, key: str) -> str | None:
        """What the file says under a key, if anything."""
        size = self.lib.llama_model_meta_val_str(self._model, key.encode(), None, 0)
        if size < 0:
            return None
        buffer = ctypes.create_string_buffer(size + 1)
        self.lib.llama_model_meta_val_str(self._model, key.encode(), buffer, size + 1)
        return buffer.value.decode("utf-8", "replace")

    def cut(self, length: int) -> None:
        """Shorten the sequence to so many tokens; one that cannot be is emptied."""
        if length and self.lib.llama_memory_seq_rm(self._memory, 0, length, -1):
            self.length = length
            return
        self.lib.llama_memory_clear(self._memory, True)
        self.length = 0

    def extend(self, ids: Sequence[int], rows: int = 1) -> np.ndarray:
        """Put ids behind the sequence.

        Returns:
            The logits after each of the last `rows` ids, in order: float32, (rows, vocabulary).

        Raises:
            NoRoom: llama.cpp could not compute.
        """
        import numpy as np

        logits = np.empty((rows, self._words), dtype=np.float32)
        first = len(ids) - rows
        for start in range(0, len(ids), BLOCK):
            block = ids[start : start + BLOCK]
            wanted = [start + i >= first for i in range(len(block))]
            self._decode(block, wanted)
            for i in range(len(block)):
                if wanted[i]:
                    row = self.lib.llama_get_logits_ith(self._context, i)
                    logits[start + i - first] = np.ctypeslib.as_array(row, (self._words,))
        return logits

    def _decode(self, block: Sequence[int], wanted: Sequence[bool]) -> None:
        batch = self._batch
        batch.n_tokens = len(block)
        for i, token in enumerate(block):
            batch.token[i], batch.pos[i] = token, self.length + i
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
            batch.logits[i] = wanted[i]
        if code := self.lib.llama_decode(self._context, batch):
            self.cut(0)
            raise NoRoom(f"llama.cpp could not compute {len(block)} tokens (code {code}: {_last_words()})")
        self.length += len(block)

    def __del__(self) -> None:
        if getattr(self, "_batch", None):
            self.lib.llama_batch_free(self._batch)
        if getattr(self, "_context", None):
            self.lib.llama_free(self._context)
        if getattr(self, "_model", None):
            self.lib.llama_model_free(self._model)


def requantised(gguf: Path, dtype: DType) -> Path:
    """The same weights in another number format: a file in the cache, made at the first call.

    Raises:
        LimrankError: llama.cpp cannot do it.
    """
    if dtype == "file":
        return gguf
    path = cache_folder() / "gguf" / f"{gguf.stem}-{sha256(gguf)[:16]}-{dtype}.gguf"
    if path.is_file():
        return path
    lib = _library()
    path.parent.mkdir(parents=True, exist_ok=True)
    options = lib.llama_model_quantize_default_params()
    options.ftype, options.allow_requantize = FILE_TYPES[dtype], True
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as folder:
        made = Path(folder) / path.name
        code = lib.llama_model_quantize(str(gguf).encode(), str(made).encode(), ctypes.byref(options))
        if code:
            raise LimrankError(f"{gguf}: llama.cpp cannot make {dtype} of it ({_last_words()})")
        made.replace(path)
    return path


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_said: list[str] = []
_log_callback: Any = None


def _library() -> Any:
    """llama.cpp's functions; what it has to say goes to Python's logging."""
    global _log_callback
    lib = require("llama_cpp", extra="llamacpp", needed_for="the llamacpp backend").llama_cpp
    if _log_callback is None:

        @lib.llama_log_callback  # type: ignore[untyped-decorator]
        def listen(level: int, text: bytes, _: Any) -> None:
            words = text.decode("utf-8", "replace").strip()
            if words and level in (LEVEL_WARNING, LEVEL_ERROR):
                _said[:] = [*_said[-9:], words]
            logger.debug("%s", words)

        _log_callback = listen
        lib.llama_log_set(listen, ctypes.c_void_p(0))
        lib.llama_backend_init()
    return lib


def _last_words() -> str:
    return _said[-1] if _said else "it does not say why"
