"""ir_datasets: its own code on small files, every record type it has, and what happens without a network."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import ir_datasets
import pytest

from limrank.datasets import irds, open_dataset
from limrank.errors import LimrankError, Mismatch, Unknown
from limrank.records import Document, Query, contents

NPL = {
    "doc-text": "1\nfirst document\n   /\n2\nzweites\nüber zwei Zeilen\n   /\n",
    "query-text": "1\nMEASUREMENT OF X\n/\n",
    "rlv-ass": "1\n  2  1\n   /\n",
}


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A collection registered with ir_datasets, made of tab-separated files and TREC qrels; one judgment repeats."""
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "home"))
    (tmp_path / "docs.tsv").write_text("d1\tbees and light\nd ü\tzwei Wörter\nd10\tmoths\n", encoding="utf-8")
    (tmp_path / "queries.tsv").write_text("q1\twhy\nq/2\two ist das Öl\n", encoding="utf-8")
    (tmp_path / "qrels.txt").write_text("q1 0 d1 1\nq/2 0 d10 2\nq1 0 d1 1\nq1 0 d10 0\n", encoding="utf-8")
    name = f"limrank-{tmp_path.name}"
    ir_datasets.registry.register(
        name,
        ir_datasets.create_dataset(*(str(tmp_path / file) for file in ("docs.tsv", "queries.tsv", "qrels.txt"))),
    )
    yield name
    del ir_datasets.registry._registered[name]


def test_documents_queries_and_judgments_come_through_ir_datasets(tiny: str) -> None:
    dataset = open_dataset(tiny)
    documents = [Document("d1", "bees and light"), Document("d ü", "zwei Wörter"), Document("d10", "moths")]
    assert list(dataset.documents()) == documents
    assert list(dataset.lookup(iter(["d10", "d ü", "d10"])).items()) == [("d10", documents[2]), ("d ü", documents[1])]
    assert list(dataset.documents()) == documents  # from the store that lookup built
    assert dataset.lookup([]) == {}
    assert list(dataset.queries()) == [Query("q1", "why"), Query("q/2", "wo ist das Öl")]
    assert dataset.qrels() == {"q1": {"d1": 1, "d10": 0}, "q/2": {"d10": 2}}
    assert dataset.excluded() == {}
    assert dataset.name == tiny


def test_an_id_longer_than_all_others_is_missing_though_ir_datasets_cuts_it(tiny: str) -> None:
    # "d ü" has the most bytes, four, and ir_datasets cuts every id that is asked for at four: it answers with "d ü".
    with pytest.raises(Mismatch, match=r"lacks 2 of 3 documents, e\.g\. 'd üxyz'"):
        open_dataset(tiny).lookup(["d üxyz", "d1", "nope"])


def test_contradicting_judgments_are_named(tiny: str, tmp_path: Path) -> None:
    with (tmp_path / "qrels.txt").open("a") as file:
        file.write("q1 0 d1 2\n")
    with pytest.raises(Mismatch, match=f"{tiny}: query 'q1' judges document 'd1' as 1 and as 2"):
        open_dataset(tiny).qrels()


def example(record_type: type) -> tuple:
    """A record whose texts say which field they are."""
    values = [f"<{field}>" if hint is str else [] for field, hint in record_type.__annotations__.items()]
    return record_type(*values)


def record_types(kind: str) -> list[type]:
    entries = [dataset for dataset in ir_datasets.registry._registered.values() if dataset.has(kind)]
    return sorted(
        {getattr(dataset, f"{kind}_cls")() for dataset in entries}, key=lambda cls: (cls.__module__, cls.__name__)
    )


TITLED = [cls for cls in record_types("docs") if "title" in cls._fields and hasattr(cls, "default_text")]


@pytest.mark.parametrize("record_type", TITLED, ids=lambda cls: cls.__name__)
def test_every_titled_record_type_has_its_title_once(record_type: type) -> None:
    record = example(record_type)
    document = irds.document_of(record, where="x")
    assert document.title == "<title>"
    assert "<title>" not in document.text
    # Nothing is lost: title and text together are ir_datasets' text, but for the kind of white space between them.
    assert contents(document).split() == record.default_text().split()


@pytest.mark.parametrize("title", ["", None])
def test_an_empty_title_leaves_no_trace_in_the_text(title: str | None) -> None:
    beir = next(cls for cls in TITLED if cls.__name__ == "BeirTitleDoc")
    assert irds.document_of(beir("1", "text", title), where="x") == Document("1", "text", "")


def test_a_text_that_repeats_its_title_itself_is_left_alone() -> None:
    beir = next(cls for cls in TITLED if cls.__name__ == "BeirTitleDoc")
    assert irds.document_of(beir("1", "Bees see.", "Bees"), where="x") == Document("1", "Bees see.", "Bees")


def test_there_are_titled_record_types_to_test() -> None:
    assert len(TITLED) > 20


def test_every_query_type_has_a_text_or_says_that_it_has_none() -> None:
    without = []
    for record_type in record_types("queries"):
        record = example(record_type)
        try:
            assert irds.text_of(record, where="x")
        except Mismatch:
            without.append(record_type.__name__)
    # Its queries are news articles of the collection.
    assert without == ["TrecBackgroundLinkingQuery"]


def test_documents_without_text_are_refused_and_those_of_named_fields_are_joined() -> None:
    by_name = {cls.__name__: cls for cls in record_types("docs")}
    with pytest.raises(Mismatch, match="has no text in it, only doc_id, png"):
        irds.document_of(example(by_name["ToucheImageDoc"]), where="touche-image")
    trial = by_name["ClinicalTrialsDoc"]("N1", "Asthma", "Asthma", "short", "", "adults")
    assert irds.document_of(trial, where="x") == Document("N1", "Asthma\nshort\nadults", "Asthma")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vasvani", "unknown dataset 'vasvani'; did you mean vaswani?"),
        ("stdlb", "did you mean stdlib"),
        ("beir/scifct/test", "did you mean beir/scifact/test"),
    ],
)
def test_an_unknown_id_suggests_near_ones(name: str, message: str) -> None:
    with pytest.raises(Unknown) as caught:
        open_dataset(name)
    assert message in str(caught.value)


def test_an_id_like_no_other_does_not_list_eight_hundred() -> None:
    with pytest.raises(Unknown, match="neither a folder nor one of the") as caught:
        open_dataset("zzzzzzzzzzzzzzzzzzzz")
    assert len(str(caught.value)) < 200


def test_a_collection_without_judgments_names_those_that_have_them() -> None:
    with pytest.raises(
        Mismatch, match=r"no judgments for beir/scifact; beir/scifact/test, beir/scifact/train have them"
    ):
        open_dataset("beir/scifact").qrels()
    with pytest.raises(Mismatch, match=r"no queries for msmarco-passage; msmarco-passage/"):
        next(open_dataset("msmarco-passage").queries())
    with pytest.raises(Mismatch, match="no documents for beir"):
        next(open_dataset("beir").documents())
    with pytest.raises(Mismatch, match="no documents for beir"):
        open_dataset("beir").lookup(["x"])


def test_the_parts_of_a_collection_have_the_documents_of_the_whole() -> None:
    found = {name: open_dataset(name).corpus_revision for name in ("beir/scifact", "beir/scifact/test", "vaswani")}  # type: ignore[attr-defined]
    assert found["beir/scifact"] == found["beir/scifact/test"] != found["vaswani"]
    assert found["beir/scifact"].endswith("documents of beir/scifact")


def test_the_revision_says_version_counts_and_digest_without_a_download() -> None:
    revision = open_dataset("vaswani").revision
    assert revision.startswith(
        f"ir_datasets {ir_datasets.__version__}, 11429 docs, 93 queries, 2083 qrels, md5 sums of"
    )
    # Only the collection's own files count, not all of BEIR's.
    assert irds.expected_files(ir_datasets, "beir/scifact/test").keys() == {"scifact"}


CHILD = """
import json, sys
from limrank.datasets import open_dataset
from limrank.errors import LimrankError
dataset = open_dataset(sys.argv[1])
try:
    found = [list(dataset.documents()), dataset.lookup(["2"]), list(dataset.queries()),
             {q: dict(d) for q, d in dataset.qrels().items()}]
except LimrankError as error:
    found = str(error)
print(json.dumps(found))
"""


def in_home(home: Path, name: str) -> tuple[object, str]:
    """What a process with this IR_DATASETS_HOME and no network reads; ir_datasets fixes the home at import."""
    environment = os.environ | {
        "IR_DATASETS_HOME": str(home),
        "IR_DATASETS_DL_TRIES": "1",
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-c", CHILD, name]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_finished_download_is_read_without_network_or_noise(tmp_path: Path) -> None:
    (tmp_path / "vaswani").mkdir()
    with tarfile.open(tmp_path / "vaswani" / "npl.tar.gz", "w:gz") as tar:
        for name, text in NPL.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    found, _ = in_home(tmp_path, "vaswani")
    second = ["2", "zweites\nüber zwei Zeilen\n", ""]
    assert found == [
        [["1", "first document\n", ""], second],
        {"2": second},
        [["1", "MEASUREMENT OF X\n", ""]],
        {"1": {"2": 1, "1": 1}},
    ]
    again, noise = in_home(tmp_path, "vaswani")
    assert again == found
    assert noise == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vaswani", "All download sources failed: ProxyError at http://ir.dcs.gla.ac.uk/"),
        ("disks45/nocr", "disks45/corpus is not there"),
    ],
)
def test_a_file_that_cannot_be_had_is_one_line_that_says_what_to_do(tmp_path: Path, name: str, said: str) -> None:
    error, _ = in_home(tmp_path, name)
    assert isinstance(error, str)
    assert error.startswith(f"{name} cannot be loaded: ")
    assert said in error
    assert f"kept in {tmp_path} (IR_DATASETS_HOME) and reused" in error
    assert "\n" not in error


def test_reasons_are_short() -> None:
    import requests

    request = requests.Request("GET", "http://x/y").prepare()
    response = requests.Response()
    response.status_code = 404
    assert (
        irds.reason(requests.ConnectionError("a very long story", request=request)) == "ConnectionError at http://x/y"
    )
    assert (
        irds.reason(requests.HTTPError("404 for http://x/y", request=request, response=response))
        == "404 for http://x/y"
    )
    assert irds.reason(EOFError()) == "EOFError"
    assert irds.reason(OSError("two\n\nlines")) == "two lines"


def test_an_error_of_the_one_who_reads_is_not_taken_for_one_of_ir_datasets(tiny: str) -> None:
    def index() -> None:
        for _ in open_dataset(tiny).documents():
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full") as caught:
        index()
    assert not isinstance(caught.value, LimrankError)
