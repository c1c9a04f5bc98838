"""LitSearch as the hub serves it: parquet in several files, read by the real client from a local hub."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pytest

from limrank.datasets import litsearch, open_dataset
from limrank.errors import Unknown

PAPERS = [
    {"corpusid": 252715594, "title": "PHENAKI", "abstract": "Video from text.", "citations": [1], "full_paper": "LEAK"},
    {"corpusid": 2, "title": "No abstract", "abstract": None, "citations": [], "full_paper": "LEAK"},
    {"corpusid": 3, "title": None, "abstract": "Only an abstract: \U0001f41d", "citations": [2], "full_paper": "LEAK"},
    {"corpusid": 4, "title": "PHENAKI", "abstract": "Video from text.", "citations": [], "full_paper": "LEAK"},
]
QUESTIONS = [
    {"query_set": "inline_acl", "query": "Any videos?", "specificity": 0, "quality": 1, "corpusids": [252715594, 4]},
    {"query_set": "inline_nonacl", "query": "That paper?", "specificity": 1, "quality": 2, "corpusids": [2]},
    {"query_set": "manual_acl", "query": "Bees?", "specificity": 1, "quality": 2, "corpusids": [3]},
    {"query_set": "manual_iclr", "query": "Broad bees?", "specificity": 0, "quality": 1, "corpusids": [3, 2, 3]},
    {"query_set": "manual_iclr", "query": "Mine?", "specificity": 1, "quality": 1, "corpusids": [2]},
]
CARD = {"corpus_clean": "corpus_clean/full-*", "query": "query/full-*", "corpus_s2orc": "corpus_s2orc/full-*"}
QUERY_FILE = "query/full-00000-of-00001.parquet"
FILES = {
    "corpus_clean/full-00000-of-00002.parquet": PAPERS[:2],
    "corpus_clean/full-00001-of-00002.parquet": PAPERS[2:],
    QUERY_FILE: QUESTIONS,
    "corpus_s2orc/full-00000-of-00001.parquet": b"15 GB that nobody asked for",
}
NAMES = [
    "litsearch", "litsearch/specific", "litsearch/broad", "litsearch/specific/inline", "litsearch/specific/author",
    "litsearch/broad/inline", "litsearch/broad/author",
]  # fmt: skip
BROKEN: dict[str, tuple[str, list[dict] | bytes, str]] = {
    "a": (QUERY_FILE, [QUESTIONS[0] | {"specificity": 2}], "queries"),
    "b": (QUERY_FILE, [QUESTIONS[0] | {"query_set": "test"}], "queries"),
    "c": (QUERY_FILE, [*QUESTIONS, QUESTIONS[0] | {"corpusids": []}], "qrels"),
    "d": (QUERY_FILE, [{"query": "no fields"}], "queries"),
    "e": ("corpus_clean/full-00001-of-00002.parquet", b"PAR1 cut off", "documents"),
    "f": ("corpus_clean/full-00000-of-00002.parquet", [{"corpusid": 1, "title": "t"}], "documents"),
}
ASK = """
for name in NAMES:
    dataset = open_dataset(name)
    found[name] = {
        "name": dataset.name,
        "documents": answer(lambda: list(dataset.documents())),
        "lookup": answer(lambda: dataset.lookup([d.doc_id for d in dataset.documents()])),
        "queries": answer(lambda: list(dataset.queries())),
        "questions": answer(lambda: list(dataset.questions())),
        "qrels": answer(lambda: {q: dict(d) for q, d in dataset.qrels().items()}),
        "revision": answer(lambda: dataset.revision),
        "corpus_revision": dataset.corpus_revision,
    }
"""


@pytest.fixture(scope="module")
def found(hub: Any) -> dict:
    """What each split holds, and what each broken commit answers, as JSON."""
    hub.serve(*litsearch.REPOSITORY, CARD, FILES)
    code = f"NAMES = {NAMES!r}{ASK}"
    for digit, (path, content, part) in BROKEN.items():
        hub.serve(litsearch.REPOSITORY[0], digit * 40, CARD, FILES | {path: content})
        code += f"found[{digit!r}] = answer(lambda: list(open_dataset('litsearch?revision={digit * 40}').{part}()))\n"
    return hub.ask(code)


@pytest.mark.parametrize("name", NAMES)
def test_the_promises_of_a_dataset_hold(found: dict, name: str) -> None:
    dataset = found[name]
    doc_ids = [doc_id for doc_id, _, _ in dataset["documents"]]
    query_ids = [query_id for query_id, _, _ in dataset["queries"]]
    assert dataset["name"] == name
    assert len(set(doc_ids)) == len(doc_ids) == 4
    assert list(dataset["lookup"].values()) == dataset["documents"]
    assert set(dataset["qrels"]) == set(query_ids) and len(set(query_ids)) == len(query_ids) > 0
    assert {doc_id for by_doc in dataset["qrels"].values() for doc_id in by_doc} <= set(doc_ids)


def test_a_document_is_title_and_abstract_and_two_papers_with_the_same_stay_two(found: dict) -> None:
    assert found["litsearch"]["documents"] == [
        ["252715594", "Video from text.", "PHENAKI"],
        ["2", "", "No abstract"],
        ["3", "Only an abstract: \U0001f41d", ""],
        ["4", "Video from text.", "PHENAKI"],
    ]


def test_only_what_is_used_is_downloaded_and_no_full_text_is_kept(hub: Any, found: dict) -> None:
    assert not [request for request in hub.requests if "corpus_s2orc" in request]
    kept = [path for path in (hub.folder / "cache").rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if b"LEAK" in path.read_bytes()]


def test_judgments_are_binary_and_each_paper_counts_once(found: dict) -> None:
    assert found["litsearch"]["qrels"] == {
        "q1": {"252715594": 1, "4": 1},
        "q2": {"2": 1},
        "q3": {"3": 1},
        "q4": {"3": 1, "2": 1},
        "q5": {"2": 1},
    }


@pytest.mark.parametrize(
    ("name", "query_ids"),
    [
        ("litsearch/specific", ["q2", "q3", "q5"]),
        ("litsearch/broad", ["q1", "q4"]),
        ("litsearch/specific/inline", ["q2"]),
        ("litsearch/specific/author", ["q3", "q5"]),
        ("litsearch/broad/inline", ["q1"]),
        ("litsearch/broad/author", ["q4"]),
    ],
)
def test_a_split_keeps_the_ids_that_its_questions_have_in_the_whole(
    found: dict, name: str, query_ids: list[str]
) -> None:
    assert [query_id for query_id, _, _ in found[name]["queries"]] == query_ids
    whole = {query[0]: query for query in found["litsearch"]["queries"]}
    assert found[name]["queries"] == [whole[query_id] for query_id in query_ids]


def test_the_four_splits_are_the_whole_and_share_nothing(found: dict) -> None:
    parts = Counter(query[0] for name in NAMES if name.count("/") == 2 for query in found[name]["queries"])
    assert parts == Counter(query[0] for query in found["litsearch"]["queries"])


def test_a_question_says_where_it_is_from_and_how_hard_it_is(found: dict) -> None:
    assert found["litsearch/specific/author"]["questions"] == [
        ["q3", "Bees?", "manual_acl", "specific", "author", 2, ["3"]],
        ["q5", "Mine?", "manual_iclr", "specific", "author", 1, ["2"]],
    ]


def test_the_revision_is_the_commit_and_a_hash_of_the_split_s_judgments(found: dict) -> None:
    repo, commit = litsearch.REPOSITORY
    digest = hashlib.sha256(b"q3 0 3 1\nq5 0 2 1\n").hexdigest()[:12]
    assert found["litsearch/specific/author"]["revision"] == f"{repo}@{commit}, qrels sha256 {digest}"
    assert {found[name]["corpus_revision"] for name in NAMES} == {f"{repo}@{commit}"}


@pytest.mark.parametrize(
    ("digit", "message"),
    [
        ("a", f"{QUERY_FILE}:1: specificity is 2; 0 (broad) or 1 (specific) was expected"),
        ("b", f"{QUERY_FILE}:1: query_set is 'test'; it should begin with inline or manual"),
        ("c", f"{QUERY_FILE}:6: corpusids is []; at least one paper was expected"),
        ("d", f"{QUERY_FILE}: no column 'query_set', only query"),
        ("e", "corpus_clean/full-00001-of-00002.parquet: cannot be read as parquet after row 0"),
        ("f", "corpus_clean/full-00000-of-00002.parquet: no column 'abstract', only corpusid, title"),
    ],
)
def test_a_broken_file_is_one_line_with_file_and_field(found: dict, digit: str, message: str) -> None:
    assert found[digit].startswith("BadFile: ") and "\n" not in found[digit]
    assert message in found[digit]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("litsearch/specifc", "unknown split of LitSearch 'specifc'; did you mean specific?"),
        ("litsearch/inline", "unknown split of LitSearch 'inline'"),
        ("litsearch/broad/authors", "unknown split of LitSearch's broad questions 'authors'; did you mean author?"),
        ("litsearch/broad/inline/2", "unknown split of LitSearch's broad questions 'inline/2'; did you mean inline?"),
        ("litsearch?quality=2", "unknown option of litsearch 'quality'; known: revision"),
    ],
)
def test_an_unknown_split_suggests_the_nearest(name: str, message: str) -> None:
    with pytest.raises(Unknown) as caught:
        open_dataset(name)
    assert message in str(caught.value)
