import json
import os
import subprocess
import sys

import numpy as np
import pytest

from limrank.errors import LimrankError
from limrank.retrieve._encode import TorchEncoder, open_encoder
from limrank.retrieve._export import CannotExport
from limrank.retrieve._graph import GraphEncoder
from limrank.retrieve._models import DEFAULT, find_model, own_similarity, prompts, weight_bytes

pytestmark = pytest.mark.usefixtures("cache")

TEXTS = [
    "short",
    "",
    "word " * 400,
    "  שלום 😀 日本語 ",
    "two\nlines\ta tab",
    "It's 3.14, isn't it?",
    "half \ud83d",
    "short",
]


def cosines(a, b):
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


# every backend


@pytest.fixture(scope="module")
def small(tmp_path_factory, tiny):
    return tiny(tmp_path_factory.mktemp("models") / "small")


@pytest.mark.parametrize("backend", ["torch", "onnx", "openvino"])
def test_rows_are_in_the_given_order_whatever_the_batch(small, backend):
    encoder = open_encoder(small, backend=backend)
    assert encoder.backend == backend
    whole = encoder.encode(TEXTS)
    assert whole.shape == (len(TEXTS), 32) and whole.dtype == np.float32
    assert encoder.encode(TEXTS, batch=1) == pytest.approx(whole, abs=1e-5)
    assert encoder.encode(TEXTS, batch=3) == pytest.approx(whole, abs=1e-5)
    assert np.concatenate([encoder.encode([text]) for text in TEXTS]) == pytest.approx(whole, abs=1e-5)
    assert encoder.encode(TEXTS[::-1])[::-1] == pytest.approx(whole, abs=1e-5)
    assert whole[0] == pytest.approx(whole[-1], abs=1e-6) and not np.allclose(whole[0], whole[4], atol=1e-3)


@pytest.mark.parametrize("backend", ["torch", "onnx", "openvino"])
def test_a_prefix_is_part_of_the_text(small, backend):
    encoder = open_encoder(small, backend=backend)
    assert encoder.encode(["cats"], prefix="query: ") == pytest.approx(encoder.encode(["query: cats"]), abs=1e-6)
    assert not np.allclose(encoder.encode(["cats"], prefix="query: "), encoder.encode(["cats"]), atol=1e-3)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
@pytest.mark.parametrize(("pooling", "normalize"), [("mean", True), ("mean", False), ("cls", True), ("cls", False)])
def test_a_graph_gives_the_vectors_of_torch(tmp_path, backend, pooling, normalize, tiny):
    model = tiny(tmp_path / "model", pooling=pooling, normalize=normalize)
    expected = open_encoder(model, backend="torch").encode(TEXTS)
    got = open_encoder(model, backend=backend).encode(TEXTS)
    assert got == pytest.approx(expected, abs=1e-5)
    lengths = np.linalg.norm(got, axis=1)
    assert np.allclose(lengths, 1, atol=1e-5) == normalize


# export


def test_auto_runs_the_graph_and_falls_back_to_torch_for_another_pooling(tmp_path, small, caplog, tiny):
    if not _has_gpu():
        assert isinstance(open_encoder(small), GraphEncoder)
    odd = tiny(tmp_path / "odd", pooling="max")
    assert isinstance(open_encoder(odd), TorchEncoder)
    assert _has_gpu() or "neither mean nor cls" in caplog.text
    with pytest.raises(CannotExport, match="neither mean nor cls"):
        open_encoder(odd, backend="onnx")


def _has_gpu():
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def test_a_graph_with_other_vectors_is_not_used(tmp_path, monkeypatch, tiny):
    from limrank.retrieve import _export

    model = tiny(tmp_path / "model", seed=9)
    right = GraphEncoder.encode
    monkeypatch.setattr(GraphEncoder, "encode", lambda self, texts: right(self, texts) + 0.01)
    with pytest.raises(CannotExport, match="cosine 0.9"):
        open_encoder(model, backend="onnx")
    monkeypatch.undo()
    monkeypatch.setenv("LIMRANK_CACHE", str(tmp_path / "cache"))
    open_encoder(model, backend="onnx")
    [place] = (_export.cache_folder() / "encoders").iterdir()
    assert json.loads((place / "graph.json").read_text())["least_cosine"] >= 0.9999


def test_a_model_is_exported_once_and_then_opened_without_torch(tmp_path, monkeypatch, tiny):
    model = tiny(tmp_path / "model")
    open_encoder(model, backend="onnx")
    script = (
        "import sys; from limrank.retrieve._encode import open_encoder\n"
        "from limrank.retrieve._models import find_model\n"
        f"e = open_encoder(find_model({str(model.folder)!r}), backend='onnx'); print(e.encode(['a text']).shape)\n"
        "print([m for m in ('torch', 'transformers', 'sentence_transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ))
    assert (done.stdout, done.stderr) == ("(1, 32)\n[]\n", "")


# which model


def test_other_weights_are_another_revision_and_another_graph(tmp_path, tiny):
    first, second = tiny(tmp_path / "a" / "model", seed=1), tiny(tmp_path / "b" / "model", seed=2)
    assert first.revision != second.revision and first.revision.startswith("sha256:")
    assert first.revision == find_model(str(first.folder)).revision
    vectors = [open_encoder(model, backend="onnx").encode(["text"]) for model in (first, second)]
    assert not np.allclose(*vectors, atol=1e-2)
    with pytest.raises(LimrankError, match="a folder has one revision"):
        find_model(str(first.folder), revision=second.revision)


def test_the_same_weights_pooled_in_another_way_are_another_revision(tmp_path, tiny):
    mean, cls = tiny(tmp_path / "a" / "model"), tiny(tmp_path / "b" / "model", pooling="cls")
    weights = [(model.folder / "model.safetensors").read_bytes() for model in (mean, cls)]
    assert weights[0] == weights[1] and mean.revision != cls.revision


def test_a_folder_without_weights_is_no_model(tmp_path):
    with pytest.raises(LimrankError, match=r"no \*.safetensors"):
        find_model(str(tmp_path))


def test_a_model_that_nobody_has_is_an_error_that_names_the_default(monkeypatch):
    import huggingface_hub

    def unreachable(*args, **kwargs):
        raise OSError("Cannot reach the hub\nlong trace")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(
        LimrankError, match=r"(?s)'nobody/nothing' at v1: .*\(Cannot reach the hub\).*'all-MiniLM-L6-v2'$"
    ):
        find_model("nobody/nothing", revision="v1")


def test_a_hub_model_is_pinned_to_the_commit_it_was_downloaded_at(monkeypatch, tmp_path):
    import huggingface_hub

    commit = "0123456789abcdef0123456789abcdef01234567"
    asked = []

    def download(name, *, revision, ignore_patterns):
        asked.append((name, revision))
        return str(tmp_path / "snapshots" / commit)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    model = find_model("some/model", revision="main")
    assert (model.name, model.revision, asked) == ("some/model", commit, [("some/model", "main")])


def test_prompts_and_similarity_are_the_models_own(tmp_path, small, tiny):
    assert prompts(small) == ("", "") and own_similarity(small) == "cosine"
    configuration = {"prompts": {"query": "query: ", "passage": "passage: "}, "similarity_fn_name": "dot"}
    model = tiny(tmp_path / "model", configuration=configuration)
    assert prompts(model) == ("query: ", "passage: ") and own_similarity(model) == "dot"


# golden values: the real model


def test_the_shipped_model_knows_what_is_alike():
    model = find_model(DEFAULT)
    assert weight_bytes(model) == 90_868_376
    graph, torch = (open_encoder(model, backend=backend) for backend in ("onnx", "torch"))
    assert (cosines(graph.encode(TEXTS), torch.encode(TEXTS)) >= 0.9999).all()
    cat, kitten, tax = graph.encode(["A cat sits on the mat.", "A kitten is on the rug.", "Tax law changed in May."])
    # 0.6140 and 0.0344 by sentence-transformers 6.2.
    assert cat @ kitten > 0.5 > 0.1 > abs(cat @ tax)
