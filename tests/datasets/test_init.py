"""What every dataset promises, over all kinds that open here, and how a name finds its kind.

BRIGHT's promises are checked in test_bright.py, because ir_datasets has to be imported anew for them; FollowIR's and
LitSearch's in test_followir.py and test_litsearch.py, because the hub's client has to.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import ir_datasets
import pytest

from limrank import plugins
from limrank.datasets import Dataset, bright, open_dataset
from limrank.errors import BadFile, LimrankError
from limrank.qrels import Qrels
from limrank.records import Document, Query

CORPUS = "".join(f'{{"_id": "d{i}", "title": "Title {i}", "text": "text {i}"}}\n' for i in range(40))
KINDS = ["beir", "packed", "trec", "irds", "stdlib", "stdlib/og"]


@pytest.fixture
def dataset(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dataset]:
    kind = request.param
    if kind.startswith("stdlib"):
        yield open_dataset(kind)
        return
    qrels = "q1 0 d1 1\nq1 0 d39 0\nq2 0 d0 2\n"
    if kind == "trec":
        (tmp_path / "documents.tsv").write_text("".join(f"d{i}\ttext {i}\n" for i in range(40)))
        (tmp_path / "topics.txt").write_text("<top><num>q1<title>one</top>\n<top><num>q2<title>two</top>\n")
        (tmp_path / "tiny.qrels").write_text(qrels)
    elif kind == "irds":
        monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path))
        files = {"docs.tsv": "".join(f"d{i}\ttext {i}\n" for i in range(40)), "queries.tsv": "q1\tone\nq2\ttwo\n"}
        for name, content in (files | {"qrels": qrels}).items():
            (tmp_path / name).write_text(content)
        name = f"limrank-contract-{tmp_path.name}"
        paths = [str(tmp_path / file) for file in ("docs.tsv", "queries.tsv", "qrels")]
        ir_datasets.registry.register(name, ir_datasets.create_dataset(*paths))
        yield open_dataset(name)
        del ir_datasets.registry._registered[name]
        return
    else:
        corpus = tmp_path / ("corpus.jsonl.gz" if kind == "packed" else "corpus.jsonl")
        corpus.write_bytes(gzip.compress(CORPUS.encode()) if kind == "packed" else CORPUS.encode())
        (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "one"}\n{"_id": "q2", "text": "two"}\n')
        (tmp_path / "qrels").mkdir()
        lines = [line.split() for line in qrels.splitlines()]
        table = "".join(f"{query_id}\t{doc_id}\t{relevance}\n" for query_id, _, doc_id, relevance in lines)
        (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + table)
        (tmp_path / "excluded_ids.jsonl").write_text('{"_id": "q1", "excluded_ids": ["d39", "d7"]}\n')
    yield open_dataset(str(tmp_path))


@pytest.mark.parametrize("dataset", KINDS, indirect=True)
def test_documents_are_unique_in_a_fixed_order_and_what_lookup_gives(dataset: Dataset) -> None:
    documents = list(dataset.documents())
    doc_ids = [document.doc_id for document in documents]
    assert len(set(doc_ids)) == len(doc_ids) > 1
    assert all(type(document) is Document and all(type(field) is str for field in document) for document in documents)
    assert list(dataset.documents()) == documents
    backwards = doc_ids[::-7]
    assert list(dataset.lookup(iter(backwards)).values()) == documents[::-7]
    assert dataset.lookup(doc_ids) == dict(zip(doc_ids, documents))
    assert dataset.lookup([]) == {}


@pytest.mark.parametrize("dataset", KINDS, indirect=True)
def test_documents_stream(dataset: Dataset) -> None:
    assert iter(dataset.documents()) is not iter(dataset.documents())
    assert not isinstance(dataset.documents(), list)


@pytest.mark.parametrize("dataset", KINDS, indirect=True)
def test_queries_are_unique_and_judgments_are_of_them_and_of_documents(dataset: Dataset) -> None:
    queries, qrels, excluded = list(dataset.queries()), dataset.qrels(), dataset.excluded()
    query_ids = [query.query_id for query in queries]
    assert len(set(query_ids)) == len(query_ids) > 1
    assert all(type(query) is Query and query.text.strip() for query in queries)
    assert list(dataset.queries()) == queries
    assert isinstance(qrels, Qrels)
    assert 0 < len(qrels) <= len(queries)
    assert set(qrels) <= set(query_ids)
    doc_ids = {document.doc_id for document in dataset.documents()}
    judged = {doc_id for by_doc in qrels.values() for doc_id in by_doc}
    # stdlib's documents are those of the running Python, and early releases lack a few docstrings.
    assert len(judged - doc_ids) <= (len(judged) // 200 if dataset.name.startswith("stdlib") else 0)
    assert all(excluded.get(query_id, frozenset()).isdisjoint(qrels.relevant(query_id)) for query_id in query_ids)


@pytest.mark.parametrize("dataset", KINDS, indirect=True)
def test_a_document_that_is_not_there_is_named(dataset: Dataset) -> None:
    known = next(iter(dataset.documents())).doc_id
    with pytest.raises(LimrankError, match="'no such document'"):
        dataset.lookup([known, "no such document"])


@pytest.mark.parametrize("dataset", KINDS, indirect=True)
def test_name_and_revision_are_one_line_each_and_stay(dataset: Dataset) -> None:
    assert dataset.name and "\n" not in dataset.name
    assert dataset.revision and "\n" not in dataset.revision
    assert dataset.revision == dataset.revision


def test_excluded_documents_are_told_to_the_one_who_asks(tmp_path: Path) -> None:
    (tmp_path / "excluded_ids.jsonl").write_text('{"_id": "q1", "excluded_ids": ["d7"]}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "one"}\n')
    assert open_dataset(str(tmp_path)).excluded() == {"q1": frozenset({"d7"})}


def test_the_kinds_of_datasets_are_the_modules_here() -> None:
    assert plugins.names("datasets") == ["bright", "folder", "followir", "irds", "litsearch", "stdlib"]


def test_the_first_part_of_an_id_names_the_module_and_a_folder_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_dataset("bright/theoremqa-questions/grit"), bright.BrightDataset)
    assert open_dataset("bright/theoremqa-questions/grit").name == "bright/theoremqa_questions/grit"
    assert open_dataset("vaswani").name == "vaswani"
    (tmp_path / "vaswani").mkdir()
    (tmp_path / "vaswani" / "queries.jsonl").write_text('{"_id": "q1", "text": "mine"}\n')
    assert list(open_dataset("vaswani").queries()) == [Query("q1", "mine")]
    assert list(open_dataset("./vaswani?split=").queries()) == [Query("q1", "mine")]


@pytest.mark.parametrize("path", ["./nowhere", "../nowhere", "/nowhere/at/all", "./nowhere?split=dev"])
def test_what_looks_like_a_path_is_never_asked_of_ir_datasets(path: str) -> None:
    with pytest.raises(BadFile, match="no such folder"):
        open_dataset(path)


def test_a_folder_opens_without_ir_datasets_or_numpy(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "one"}\n')
    code = (
        "import sys; from limrank.datasets import open_dataset; list(open_dataset(sys.argv[1]).queries()); "
        "print([m for m in ('ir_datasets', 'pyarrow', 'torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
