"""limrank/llm/_weights.py: what a model is known by."""

import os
from pathlib import Path

import pytest

from limrank.errors import BadFile
from limrank.files import sha256
from limrank.llm import _weights


def test_a_large_file_is_read_once_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMRANK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_weights, "LARGE", 4)
    read: list[Path] = []
    monkeypatch.setattr(_weights, "sha256", lambda path: read.append(path) or sha256(path))
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")
    first = _weights.find(str(file)).name
    assert _weights.find(str(file)).name == first == f"model@{sha256(file)[:12]}" and read == [file]
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(1, 1))
    assert _weights.find(str(file)).name == f"model@{sha256(file)[:12]}" != first and read == [file, file]
    [kept] = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.read_text() == sha256(file)]
    kept.write_text("torn")
    assert _weights.find(str(file)).name == f"model@{sha256(file)[:12]}" and len(read) == 3


def test_a_cache_that_cannot_be_written_to_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    monkeypatch.setenv("LIMRANK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_weights, "LARGE", 0)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")
    assert _weights.find(str(file)).name == f"model@{sha256(file)[:12]}"


def test_neither_does_one_that_lost_its_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise BadFile("cannot be written")

    monkeypatch.setenv("LIMRANK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_weights, "LARGE", 0)
    monkeypatch.setattr(_weights, "write_text", refused)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")
    assert _weights.find(str(file)).name == f"model@{sha256(file)[:12]}"
