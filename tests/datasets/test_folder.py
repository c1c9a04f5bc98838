"""Folders: BEIR's layout, TREC's layout, what is wrong in them, and collections whose counts are published."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from limrank.datasets import _corpus, folder, open_dataset
from limrank.errors import BadFile, Mismatch
from limrank.records import Document, Query

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared collections are not here")

CORPUS = [
    {"_id": "d1", "title": "Bees", "text": "Bees see ultraviolet."},
    {"_id": 2, "title": None, "text": ""},
    {"_id": "Müller/ß d3.txt", "text": 'line\u2028separator, \U0001f41d and "quotes"\n'},
]
DOCUMENTS = [
    Document("d1", "Bees see ultraviolet.", "Bees"),
    Document("2", ""),
    Document("Müller/ß d3.txt", 'line\u2028separator, \U0001f41d and "quotes"\n'),
]
TREC = """<top>
<num> Number: 301
<title> Topic: International
 Organized Crime

<desc> Description:
Identify organizations.
<narr> Narrative:
A relevant document must name one.
</top>

<top>
<num>302</num>
<title></title>
<desc>Is the disease under control?</desc>
</top>
"""


def write(path: Path, records: list[dict] | str) -> Path:
    text = records if isinstance(records, str) else "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    write(tmp_path / "corpus.jsonl", CORPUS)
    write(
        tmp_path / "queries.jsonl",
        [{"_id": "q1", "text": "bees", "instruction": "Only insects."}, {"_id": 7, "text": "x"}],
    )
    write(tmp_path / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n7\tMüller/ß d3.txt\t2\n7\t2\t0\n")
    return tmp_path


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz", "documents.jsonl"])
def test_documents_come_in_file_order_and_lookup_finds_each(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, CORPUS)
    dataset = folder.load(str(tmp_path))
    assert list(dataset.documents()) == DOCUMENTS
    asked = [document.doc_id for document in reversed(DOCUMENTS)]
    assert list(dataset.lookup(iter([*asked, "d1"])).items()) == [(d.doc_id, d) for d in reversed(DOCUMENTS)]
    assert dataset.lookup([]) == {}


@pytest.mark.parametrize("key", ["_id", "id", "doc_id", "docid", "docno"])
@pytest.mark.parametrize("first", [True, False])
def test_lookup_reads_the_same_id_as_documents_wherever_it_stands_in_the_line(
    tmp_path: Path, key: str, first: bool
) -> None:
    values = ["a", 'quo"te', "back\\slash", "é", 0, -3, 10**30, "007", " space "]
    lines = [{key: v, "contents": f"text of {v}"} if first else {"contents": f"text of {v}", key: v} for v in values]
    write(tmp_path / "corpus.jsonl", lines)
    dataset = folder.load(str(tmp_path))
    documents = list(dataset.documents())
    assert [document.doc_id for document in documents] == [str(value) for value in values]
    assert dataset.lookup(str(value) for value in values) == {document.doc_id: document for document in documents}


def test_lookup_compares_ids_where_hashes_collide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_corpus, "hash", lambda doc_id: 1, raising=False)
    write(tmp_path / "corpus.jsonl", CORPUS)
    dataset = folder.load(str(tmp_path))
    assert list(dataset.documents()) == DOCUMENTS
    assert dataset.lookup(["2"]) == {"2": DOCUMENTS[1]}
    with pytest.raises(Mismatch, match="'other'"):
        dataset.lookup(["other"])


def test_a_tab_separated_corpus_may_have_a_header_windows_line_ends_and_no_last_line_end(tmp_path: Path) -> None:
    write(tmp_path / "docs.tsv", "\ufeffdoc_id\ttext\r\n1\tone\r\n\r\n2\t zwei \r\n3\t")
    dataset = folder.load(str(tmp_path))
    assert list(dataset.documents()) == [Document("1", "one"), Document("2", " zwei "), Document("3", "")]
    assert dataset.lookup(["3", "1"]) == {"3": Document("3", ""), "1": Document("1", "one")}


def test_queries_keep_their_instruction_and_numbers_become_text(beir: Path) -> None:
    dataset = open_dataset(str(beir))
    assert list(dataset.queries()) == [Query("q1", "bees", "Only insects."), Query("7", "x")]
    assert dataset.qrels() == {"q1": {"d1": 1}, "7": {"Müller/ß d3.txt": 2, "2": 0}}
    assert dataset.name == beir.name
    assert dataset.excluded() == {}


def test_trec_topics_may_lack_closing_tags_or_a_title(tmp_path: Path) -> None:
    write(tmp_path / "topics.txt", TREC)
    write(tmp_path / "qrels.txt", "301\t0\tFBIS3-1\t1\n302 0 a b 0\n")
    dataset = open_dataset(str(tmp_path))
    assert list(dataset.queries()) == [
        Query("301", "International Organized Crime"),
        Query("302", "Is the disease under control?"),
    ]
    assert dataset.qrels() == {"301": {"FBIS3-1": 1}, "302": {"a b": 0}}


@pytest.mark.parametrize("name", ["topics.tsv", "topics.dl19.txt", "dl19.topics", "queries.tsv.gz"])
def test_topics_may_be_tab_separated(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "19335\tanthropological definition of environment\n")
    assert list(open_dataset(str(tmp_path)).queries()) == [Query("19335", "anthropological definition of environment")]


def test_a_split_has_its_judgments_its_queries_and_its_name(beir: Path) -> None:
    write(beir / "qrels" / "dev.tsv", "query-id\tcorpus-id\tscore\n7\td1\t1\n8\td1\t1\n")
    write(beir / "queries.jsonl", [{"_id": i, "text": i} for i in ("q1", "7", "8", "unjudged")])
    test, dev = open_dataset(str(beir)), open_dataset(f"{beir}?split=dev")
    # Query 8 is judged in dev only, q1 in test only; nobody judges the last one, so it belongs to both.
    assert [query.query_id for query in test.queries()] == ["q1", "7", "unjudged"]
    assert [query.query_id for query in dev.queries()] == ["7", "8", "unjudged"]
    assert dev.qrels() == {"7": {"d1": 1}, "8": {"d1": 1}}
    assert dev.name == f"{beir.name}/dev"
    assert dev.revision != test.revision
    assert folder.load(str(beir), split="dev").name == dev.name
    with pytest.raises(BadFile, match=r"no judgments of split 'train', only of dev, test"):
        open_dataset(f"{beir}?split=train")


def test_the_only_judgments_are_taken_and_of_several_none_without_being_named(tmp_path: Path) -> None:
    write(tmp_path / "dl19.qrels", "1 0 d 1\n")
    assert open_dataset(str(tmp_path)).qrels() == {"1": {"d": 1}}
    write(tmp_path / "dl20.qrels", "2 0 d 1\n")
    with pytest.raises(BadFile, match=r"only of dl19, dl20; choose one with .*\?split=dl19"):
        open_dataset(str(tmp_path)).qrels()
    assert open_dataset(f"{tmp_path}?split=dl20").qrels() == {"2": {"d": 1}}
    write(tmp_path / "qrels.dl20.trec", "2 0 d 0\n")
    with pytest.raises(BadFile, match="keep one"):
        open_dataset(str(tmp_path))


def test_excluded_ids_are_read_without_bright_s_na(beir: Path) -> None:
    write(
        beir / "excluded_ids.jsonl.gz",
        [{"_id": "q1", "excluded_ids": ["2", "N/A", 3]}, {"_id": 7, "excluded_ids": ["N/A"]}],
    )
    assert open_dataset(str(beir)).excluded() == {"q1": {"2", "3"}}


def test_a_document_that_is_relevant_and_excluded_is_refused(beir: Path) -> None:
    write(beir / "excluded_ids.jsonl", [{"_id": "7", "excluded_ids": ["2"]}])
    assert open_dataset(str(beir)).qrels()["7"]["2"] == 0
    write(beir / "excluded_ids.jsonl", [{"_id": "7", "excluded_ids": ["Müller/ß d3.txt"]}])
    with pytest.raises(BadFile, match=r"test\.tsv: query '7' judges document 'Müller/ß d3\.txt' as relevant"):
        open_dataset(str(beir)).qrels()


def test_only_what_is_missing_raises(tmp_path: Path) -> None:
    write(tmp_path / "queries.jsonl", [{"_id": "1", "text": "x"}])
    dataset = open_dataset(str(tmp_path))
    assert list(dataset.queries()) == [Query("1", "x")]
    assert dataset.excluded() == {}
    for ask in (dataset.documents, dataset.qrels, lambda: dataset.lookup(["1"])):
        with pytest.raises(BadFile, match=tmp_path.name):
            ask()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"_id": "x", "text": ', "not JSON"),
        ('["x"]', "a JSON object was expected, not list"),
        ('{"title": "t", "text": "y"}', "no id; expected one of _id, id"),
        ('{"_id": "", "text": "y"}', "_id is ''"),
        ('{"_id": 1.5, "text": "y"}', "_id is 1.5"),
        ('{"_id": true, "text": "y"}', "_id is True"),
        ('{"_id": "x", "title": "y"}', "no text or contents, only _id, title"),
        ('{"_id": "x", "text": null}', "text is null"),
        ('{"_id": "x", "text": "y", "title": ["t"]}', "title is"),
    ],
)
def test_a_wrong_line_is_named_with_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "corpus.jsonl", '{"_id": "ok", "text": ""}\n\n' + line + "\n")
    with pytest.raises(BadFile) as caught:
        list(open_dataset(str(tmp_path)).documents())
    assert str(caught.value).startswith(f"{path}:3: ")
    assert message in str(caught.value)


def test_half_of_a_character_is_replaced_in_texts_and_refused_in_ids(beir: Path) -> None:
    lines = [
        '{"_id": "h", "title": "\\udc00", "text": "cut \\ud83d off, \\ud83d\\ude00 not"}',
        '{"_id": "\\ud800", "text": ""}',
    ]
    (beir / "corpus.jsonl").write_text(lines[0] + "\n")
    (beir / "queries.jsonl").write_text('{"_id": "1", "text": "\\ud800"}\n')
    expected = Document("h", "cut \ufffd off, \U0001f600 not", "\ufffd")
    assert list(open_dataset(str(beir)).documents()) == [expected]
    assert open_dataset(str(beir)).lookup(["h"]) == {"h": expected}
    assert [query.text for query in open_dataset(str(beir)).queries()] == ["\ufffd"]
    (beir / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(BadFile, match=r"corpus.jsonl:2: _id is '.ud800', which has half of a character in it"):
        list(open_dataset(str(beir)).documents())


def test_lookup_names_the_line_it_cannot_read(tmp_path: Path) -> None:
    path = write(tmp_path / "corpus.jsonl", '{"_id": "ok", "text": ""}\n\n{"_id": "x", "text": \n')
    with pytest.raises(BadFile, match=r"corpus\.jsonl:3: not JSON"):
        open_dataset(str(path.parent)).lookup(["x"])


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
@pytest.mark.parametrize("read", [lambda d: list(d.documents()), lambda d: d.lookup(["a"])])
def test_a_repeated_document_is_refused_by_stream_and_lookup(tmp_path: Path, name: str, read: object) -> None:
    write(tmp_path / name, [{"_id": i, "text": str(n)} for n, i in enumerate(["a", "b", "c", "b"])])
    with pytest.raises(BadFile, match=rf"{name}:4: document 'b' is already in line 2"):
        read(open_dataset(str(tmp_path)))  # type: ignore[operator]


def test_wrong_queries_topics_tables_and_exclusions_are_named(tmp_path: Path) -> None:
    def refused(name: str, content: str, message: str) -> None:
        path = write(tmp_path / name, content)
        dataset = open_dataset(str(tmp_path))
        read = dataset.excluded if "excluded" in name else dataset.queries
        with pytest.raises(BadFile, match=message):
            list(read())
        path.unlink()

    refused(
        "queries.jsonl",
        '{"_id": 1, "text": "a"}\n{"_id": "1", "text": "b"}\n',
        r"jsonl:2: query '1' is already in line 1",
    )
    refused("queries.jsonl", '{"_id": 1}\n', r"jsonl:1: no text or query, only _id")
    refused("queries.jsonl", "\n", "no queries in it")
    refused("topics.txt", "\n\n<top>\n<title> x\n</top>\n", r"topics\.txt:3: a topic without <num>")
    refused("topics.txt", "<top><num>1<narr>x</top>", r"topics\.txt:1: topic '1' has neither")
    refused("topics.tsv", "1\ta\tb\n", r"tsv:1: 3 tab-separated columns")
    refused("topics.tsv", "\ta\n", r"tsv:1: the id is empty")
    write(tmp_path / "queries.jsonl", [{"_id": 1, "text": "a"}])
    refused("excluded_ids.jsonl", '{"_id": 1, "excluded_ids": "d"}\n', r"jsonl:1: excluded_ids should be a list")
    refused(
        "excluded_ids.jsonl", '{"_id": 1, "excluded_ids": []}\n{"_id": "1", "excluded_ids": []}\n', "jsonl:2: .*twice"
    )


def test_missing_documents_are_counted_and_one_is_named(beir: Path) -> None:
    with pytest.raises(Mismatch, match=r"lacks 2 of 3 documents, e\.g\. 'nope'"):
        open_dataset(str(beir)).lookup(["nope", "d1", "D1"])


def test_a_folder_without_a_dataset_and_a_path_without_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no dataset in it; expected"):
        open_dataset(str(tmp_path))
    with pytest.raises(BadFile, match="no such folder"):
        open_dataset(str(tmp_path / "nowhere"))
    write(tmp_path / "corpus.jsonl", "\n")
    with pytest.raises(BadFile, match="no documents in it"):
        list(open_dataset(str(tmp_path)).documents())


def test_the_revision_follows_the_content_and_nothing_else(beir: Path) -> None:
    before = open_dataset(str(beir)).revision
    assert [part.split(" sha256 ")[0] for part in before.split(", ")] == [
        "corpus.jsonl",
        "qrels/test.tsv",
        "queries.jsonl",
    ]
    for path in beir.rglob("*.*"):
        path.touch()
    assert open_dataset(str(beir)).revision == before
    write(beir / "corpus.jsonl", [*CORPUS, {"_id": "new", "text": ""}])
    assert open_dataset(str(beir)).revision != before


def test_the_revision_of_a_big_corpus_samples_it_and_says_so(beir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_corpus, "BLOCK", 4)
    monkeypatch.setattr(_corpus, "BLOCKS", 3)
    monkeypatch.setattr(_corpus, "SAMPLED", 12)
    corpus = beir / "corpus.jsonl"
    content = corpus.read_bytes()
    before = open_dataset(str(beir)).revision
    assert f"(3 samples of 1 MiB of {len(content)} bytes)" in before
    for change in (content + b" ", b" " + content[1:], content[:-1] + b" "):
        corpus.write_bytes(change)
        assert open_dataset(str(beir)).revision != before


@needs_shared
@pytest.mark.parametrize(
    ("name", "counts", "documents", "queries"),
    [
        (
            "vaswani",
            (11429, 93, 2083),
            {
                0: ("1", "", "compact memories have flexible capacities a digital data storage"),
                9: ("10", "", "highspeed microwave switching of semiconductors part"),
                -1: ("11429", "", "pattern detection and recognition both processes have been carried"),
            },
            {0: ("1", "MEASUREMENT OF DIELECTRIC"), 9: ("10", "METHODS OF CALCULATING INSTANTANEOUS POWER")},
        ),
        (
            "cacm",
            (3204, 64, 796),
            {
                0: ("CACM-0001", "Preliminary Report-International Algebraic Language", "CACM December, 1958 Perlis"),
                9: (
                    "CACM-0010",
                    "Glossary of Computer Engineering and Programming Terminology",
                    "CACM September, 1958",
                ),
                -1: (
                    "CACM-3204",
                    "An On-Line Program for Non-Numerical Algebra",
                    "The goal of this program is to make",
                ),
            },
            {
                0: ("1", "What articles exist which deal with TSS"),
                9: ("10", "Parallel languages; languages for parallel"),
            },
        ),
    ],
)
def test_small_collections_have_their_published_counts(
    name: str, counts: tuple, documents: dict, queries: dict
) -> None:
    dataset = open_dataset(str(SHARED / name))
    found, asked, qrels = list(dataset.documents()), list(dataset.queries()), dataset.qrels()
    assert (len(found), len(asked), sum(map(len, qrels.values()))) == counts
    for place, (doc_id, title, text) in documents.items():
        assert found[place][::2] == (doc_id, title)
        assert found[place].text.startswith(text)
    for place, (query_id, text) in queries.items():
        assert asked[place].query_id == query_id
        assert asked[place].text.startswith(text)
    ids = [document.doc_id for document in found]
    assert dataset.lookup(ids) == dict(zip(ids, found))
    assert len(set(ids)) == len(ids)
    assert {doc_id for by_doc in qrels.values() for doc_id in by_doc} <= set(ids)
    assert set(qrels) <= {query.query_id for query in asked}


# Queries, gold pairs, fixed pairs, long pairs, excluded pairs of the data as of 2026 (castorini/anserini-tools).
@needs_shared
@pytest.mark.parametrize(
    ("task", "queries", "gold", "fixed", "long", "excluded"),
    [
        ("biology", 103, 372, 393, 134, 0),
        ("earth_science", 116, 585, 589, 187, 0),
        ("economics", 103, 800, 800, 109, 0),
        ("leetcode", 142, 262, 262, None, 33485),
        ("pony", 112, 2219, 2219, 769, 0),
        ("aops", 111, 524, 524, None, 622653),
    ],
)
def test_bright_folders_have_their_published_counts(
    task: str, queries: int, gold: int, fixed: int, long: int | None, excluded: int
) -> None:
    dataset = open_dataset(str(SHARED / "bright" / task))
    qrels, barred = dataset.qrels(), dataset.excluded()
    assert len({query.query_id for query in dataset.queries()}) == queries == len(qrels)
    assert sum(map(len, qrels.values())) == gold
    assert sum(map(len, barred.values())) == excluded
    assert not any(barred.get(query_id, frozenset()) & qrels.relevant(query_id) for query_id in qrels)
    for split, pairs in (("fixed", fixed), ("long", long)):
        if pairs is not None:
            other = open_dataset(f"{SHARED / 'bright' / task}?split={split}")
            assert sum(map(len, other.qrels().values())) == pairs
            assert len(list(other.queries())) == queries
    with pytest.raises(BadFile, match="has no corpus"):
        dataset.documents()
