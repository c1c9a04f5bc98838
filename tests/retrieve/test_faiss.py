import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from limrank.errors import BadFile, LimrankError, Mismatch, Unknown
from limrank.records import Document, Query, contents
from limrank.retrieve import faiss as dense
from limrank.retrieve import index, open_index, retrieve
from limrank.retrieve._encode import open_encoder
from limrank.retrieve._ids import write_ids
from limrank.retrieve._models import DEFAULT, find_model
from limrank.run import Run

pytestmark = pytest.mark.usefixtures("cache")

# Sentences whose vectors differ, more than a few, made by rule; every tenth has a title.
THINGS = ["apple", "bridge", "castle", "doctor", "engine", "forest", "guitar", "hammer", "island", "jacket"]
ACTS = ["breaks", "burns", "costs", "falls", "grows", "helps", "sings", "sleeps", "travels", "wins"]
DOCUMENTS = [
    Document(f"doc {i:03}", f"The {thing} {act} in the year {1900 + i}.", title=thing.title() if i % 10 == 0 else "")
    for i, (thing, act) in enumerate((thing, act) for thing in THINGS for act in ACTS)
]
QUERIES = [Query(f"q{i}", f"Which {thing} {act}?") for i, (thing, act) in enumerate(zip(THINGS, ACTS[::-1]))]


class Collection:
    name, revision = "things", "1"

    def __init__(self, documents=DOCUMENTS):
        self._documents = documents

    def documents(self):
        yield from self._documents


def built(folder, documents=DOCUMENTS, **options):
    return index(Collection(documents), "faiss", out=folder, options={"backend": "onnx"} | options).path


@pytest.fixture(scope="module")
def things(tmp_path_factory, cache):
    return built(tmp_path_factory.mktemp("flat") / "index")


@pytest.fixture(scope="module")
def vectors(cache):
    encoder = open_encoder(find_model(DEFAULT), backend="onnx")
    return encoder.encode([contents(document) for document in DOCUMENTS]), encoder.encode([q.text for q in QUERIES])


# invariants


def test_flat_is_the_exact_order_of_cosines(things, vectors):
    documents, queries = vectors
    cosines = queries @ documents.T
    run = retrieve(things, QUERIES, k=100)
    for row, query in enumerate(QUERIES):
        expected = [DOCUMENTS[i].doc_id for i in np.argsort(-cosines[row], kind="stable")]
        assert list(run.doc_ids(query.query_id)) == expected
        assert run.scores(query.query_id) == pytest.approx(np.sort(cosines[row])[::-1], abs=1e-5)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf", "sq8"])
def test_every_type_returns_k_documents_near_those_of_flat(tmp_path, things, kind):
    path = built(tmp_path / "index", type=kind)
    run, exact = retrieve(path, QUERIES, k=10), retrieve(things, QUERIES, k=10)
    shared = [len(set(run.doc_ids(q)) & set(exact.doc_ids(q))) for q in exact]
    assert {len(run[q]) for q in run} == {10} and sum(shared) / len(shared) >= 8
    whole = retrieve(path, QUERIES, k=1000)
    assert all(set(whole.doc_ids(q)) == {document.doc_id for document in DOCUMENTS} for q in whole)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf", "sq8"])
def test_excluded_documents_are_removed_before_the_cut(tmp_path, kind):
    path = built(tmp_path / "index", type=kind)
    first = retrieve(path, QUERIES, k=30)
    excluded = {q: frozenset(first.doc_ids(q)[:25]) for q in list(first)[::2]}
    run = retrieve(path, QUERIES, k=20, excluded=excluded)
    for q in run:
        assert len(run[q]) == 20 and not excluded.get(q, frozenset()) & set(run.doc_ids(q))
        assert list(run.doc_ids(q))[:5] == list(first.doc_ids(q))[25:30] or q not in excluded


def test_equal_documents_are_in_the_order_in_which_they_were_indexed(tmp_path):
    documents = [Document(name, "the very same text") for name in ("z", "a", "m")] + [Document("b", "something else")]
    run = retrieve(built(tmp_path / "index", documents), [Query("q", "same text")])
    assert list(run.doc_ids("q")) == ["z", "a", "m", "b"]
    assert (np.diff(run.scores("q")) < 0).all()


def test_one_query_at_a_time_gives_what_a_batch_gives(things):
    retriever = open_index(things)
    batch = retriever.search(QUERIES, 10)
    for query in QUERIES:
        [alone] = retriever.search([query], 10).values()
        assert [doc.doc_id for doc in alone] == [doc.doc_id for doc in batch[query.query_id]]


def test_a_query_without_text_has_an_empty_ranking_and_keeps_its_place(things):
    run = retrieve(things, [Query("a", "castle"), Query("b", " \n"), Query("c", "!?"), Query("d", "word " * 3000)], k=5)
    assert {q: len(run[q]) for q in run} == {"a": 5, "b": 0, "c": 5, "d": 5} and list(run) == ["a", "b", "c", "d"]


def test_any_unicode_in_text_and_ids_and_empty_documents(tmp_path):
    documents = [Document("with space", "emoji 😀 שלום"), Document("empty", " "), Document("日本", "half \ud83d pair")]
    made = index(Collection(documents), "faiss", out=tmp_path / "index", options={"backend": "onnx"})
    assert made.manifest.counts == {"documents": 2, "empty": 1}
    assert set(retrieve(made.path, [Query("q", "\ud83d 😀")]).doc_ids("q")) == {"with space", "日本"}


def test_a_corpus_of_several_chunks_is_indexed_in_order(tmp_path, monkeypatch, things):
    monkeypatch.setattr(dense, "CHUNK", 7)
    run, whole = retrieve(built(tmp_path / "index"), QUERIES), retrieve(things, QUERIES)
    assert all(list(run.doc_ids(q)) == list(whole.doc_ids(q)) for q in whole)


# prefixes and similarity


def test_prefixes_are_those_of_the_model_unless_given(tmp_path, tiny):
    folder = tmp_path / "model"
    configuration = {"prompts": {"query": "query: ", "passage": "passage: "}, "similarity_fn_name": "dot"}
    tiny(folder, configuration=configuration)
    own = built(tmp_path / "own", model=str(folder))
    ours, said = retrieve(own, QUERIES), open_index(own)
    parameters = json.loads((own / "manifest.json").read_text())["parameters"]
    assert (parameters["query_prefix"], parameters["document_prefix"]) == ("query: ", "passage: ")
    assert (parameters["similarity"], parameters["dimension"], said.name) == ("dot", 32, "model")
    (folder / "config_sentence_transformers.json").unlink()
    given = built(tmp_path / "given", model=str(folder), query_prefix="query: ", document_prefix="passage: ")
    # The model makes unit vectors, so dot and cosine are one; only the prefixes could differ.
    theirs, plain = retrieve(given, QUERIES), retrieve(given, QUERIES, options={"query_prefix": ""})
    assert all(list(ours.doc_ids(q)) == list(theirs.doc_ids(q)) for q in ours)
    assert any(list(ours.doc_ids(q)) != list(plain.doc_ids(q)) for q in ours)


def test_a_model_that_compares_by_distance_needs_to_be_told(tmp_path, tiny):
    folder = tmp_path / "model"
    tiny(folder, configuration={"similarity_fn_name": "euclidean"}, normalize=False)
    with pytest.raises(LimrankError, match="euclidean"):
        built(tmp_path / "index", model=str(folder))
    cosine = retrieve(built(tmp_path / "cosine", model=str(folder), similarity="cosine"), QUERIES)
    dot = retrieve(built(tmp_path / "dot", model=str(folder), similarity="dot"), QUERIES)
    assert cosine.scores("q1")[0] <= 1.00001 < dot.scores("q1")[0]


# what belongs together


def test_an_index_is_not_searched_with_another_model(tmp_path, tiny):
    folder = tmp_path / "model"
    tiny(folder)
    path = built(tmp_path / "index", model=str(folder))
    moved = tmp_path / "moved"
    folder.rename(moved)
    assert retrieve(path, QUERIES, k=3, options={"model": str(moved)})
    (moved / "sentence_bert_config.json").write_text('{"max_seq_length": 8}')
    with pytest.raises(Mismatch, match="cannot be compared"):
        retrieve(path, QUERIES, options={"model": str(moved)})
    with pytest.raises(Mismatch, match="not v2"):
        retrieve(path, QUERIES, options={"revision": "v2"})


def test_an_index_of_changed_documents_is_not_taken_for_the_same(tmp_path):
    # faiss' own option `revision`, of the model, is not the revision of the documents.
    changed = Collection([*DOCUMENTS[:2], DOCUMENTS[9]])
    changed.revision = "2"
    out = built(tmp_path / "index", DOCUMENTS[:2])
    with pytest.raises(Mismatch, match="documents: '1' there, '2' wanted"):
        index(changed, "faiss", out=out, options={"backend": "onnx"})
    with pytest.raises(Mismatch, match=r"\(option revision: '' there, 'v2' wanted\)"):
        built(out, DOCUMENTS[:2], revision="v2")
    assert index(Collection(DOCUMENTS[:2]), "faiss", out=out, options={"backend": "onnx"}).already_there


def test_broken_files_are_errors_that_say_what_to_do(tmp_path, things):
    path = tmp_path / "index"
    shutil.copytree(things, path)
    write_ids(path, (document.doc_id.encode() for document in DOCUMENTS[:-1]))
    with pytest.raises(Mismatch, match="100 vectors and 99 document ids"):
        open_index(path)
    (path / "vectors.faiss").write_bytes(b"half")
    with pytest.raises(BadFile, match="build the index again"):
        open_index(path)


def test_vectors_that_are_not_finite_are_an_error(tmp_path, monkeypatch):
    class Broken:
        backend = "torch"

        def encode(self, texts, *, prefix="", batch=32):
            return np.full((len(texts), 4), np.nan, dtype=np.float32)

    monkeypatch.setattr(dense, "open_encoder", lambda *args, **kwargs: Broken())
    with pytest.raises(LimrankError, match="not finite for the text 'Apple The apple breaks"):
        built(tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "error"),
    [({"type": "pq"}, "flat, hnsw, ivf, sq8"), ({"links": "1"}, "links 2 or more"), ({"typ": "flat"}, "mean type")],
)
def test_wrong_options_are_errors(tmp_path, options, error):
    with pytest.raises((LimrankError, Unknown), match=error):
        built(tmp_path / "index", **options)


def test_the_manifest_records_model_and_parameters(tmp_path):
    made = index(
        Collection(), "faiss", out=tmp_path / "index", options={"type": "ivf", "lists": "5", "backend": "onnx"}
    )
    recorded = made.manifest.parameters
    assert recorded["index"] == {"type": "ivf", "lists": 5} and recorded["backend"] == "onnx"
    assert (recorded["model"], recorded["revision"]) == (DEFAULT, find_model(DEFAULT).revision)
    assert not (made.path / "vectors.f32").exists()
    again = index(
        Collection(), "faiss", out=tmp_path / "index", options={"type": "ivf", "lists": "5", "backend": "onnx"}
    )
    assert again.already_there


# one process


def test_torch_faiss_and_java_search_in_one_process_in_any_order(tmp_path, things):
    """Each brings threads of its own (PyTorch and FAISS an OpenMP each): no crash, no warning, the same run."""
    script = f"""
from pathlib import Path
from limrank.records import Document, Query
from limrank.retrieve import index, retrieve
class Collection:
    name, revision = "few", "1"
    def documents(self):
        return (Document(f"d{{i}}", f"castle number {{i}}") for i in range(50))
queries = [Query("q", "Which castle sleeps?")]
lucene = index(Collection(), out=Path({str(tmp_path)!r}) / "lucene").path
first = retrieve(Path({str(things)!r}), queries, k=9, options={{"backend": "torch"}})
assert len(retrieve(lucene, [Query("q", "castle")])["q"]) == 50
for backend in ("onnx", "openvino"):
    run = retrieve(Path({str(things)!r}), queries, k=9, options={{"backend": backend}})
    assert list(run.doc_ids("q")) == list(first.doc_ids("q"))
first.write(Path({str(tmp_path)!r}) / "first.trec")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    here = retrieve(things, [Query("q", "Which castle sleeps?")], k=9)
    assert list(Run.read(tmp_path / "first.trec").doc_ids("q")) == list(here.doc_ids("q"))
