"""The manifest beside a file."""

import hashlib
import json

import pytest

from limrank.errors import BadFile
from limrank.manifest import Manifest, path_of


def test_a_manifest_reads_back_as_it_was_written(tmp_path):
    output = tmp_path / "bm25.trec"
    output.write_text("q Q0 d 1 1 t\n")
    made = Manifest("retrieve", parameters={"k": 10}, inputs={"index": "x"}, counts={"queries": 1}, seconds=1.23456)
    assert made.write(output) == tmp_path / "bm25.trec.manifest.json"
    read = Manifest.read(output)
    assert (read.command, read.parameters, read.inputs, read.counts) == (
        "retrieve",
        {"k": 10},
        {"index": "x"},
        {"queries": 1},
    )
    assert read.seconds == 1.235
    assert read.output == {"name": "bm25.trec", "sha256": hashlib.sha256(b"q Q0 d 1 1 t\n").hexdigest()}


def test_versions_name_limrank_python_and_the_packages_that_change_numbers(tmp_path):
    output = tmp_path / "x"
    output.write_text("")
    Manifest("retrieve").write(output)
    assert {"limrank", "python", "platform", "numpy", "torch", "pyserini", "ranx"} <= Manifest.read(
        output
    ).versions.keys()


def test_the_manifest_of_a_folder_lies_in_it(tmp_path):
    Manifest("index").write(tmp_path)
    assert path_of(tmp_path) == tmp_path / "manifest.json"
    assert "sha256" not in Manifest.read(tmp_path).output


def test_numbers_that_json_lacks_are_refused_and_leave_nothing(tmp_path):
    output = tmp_path / "x"
    output.write_text("")
    with pytest.raises(ValueError):
        Manifest("retrieve", counts={"mean": float("nan")}).write(output)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("text", ["{", json.dumps({"no": "command"}), "[]", '"x"'])
def test_what_is_no_manifest_is_one_clear_error(tmp_path, text):
    (tmp_path / "x").write_text("")
    (tmp_path / "x.manifest.json").write_text(text)
    with pytest.raises(BadFile, match=r"x\.manifest\.json: not a manifest"):
        Manifest.read(tmp_path / "x")


@pytest.mark.parametrize(
    "fields", [{"parameters": None}, {"inputs": []}, {"seconds": "z"}, {"command": 1}, {"output": "x"}]
)
def test_a_field_of_another_type_is_named(tmp_path, fields):
    (tmp_path / "x").write_text("")
    (tmp_path / "x.manifest.json").write_text(json.dumps({"command": "rerank"} | fields))
    with pytest.raises(BadFile, match=rf"x\.manifest\.json: not a manifest \({next(iter(fields))} is "):
        Manifest.read(tmp_path / "x")


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(BadFile, match=r"x\.manifest\.json: no such file"):
        Manifest.read(tmp_path / "x")
