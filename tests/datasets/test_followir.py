"""FollowIR as the hub serves it, read by the real client from a local hub in both layouts that the hub has."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from limrank.datasets import followir, open_dataset
from limrank.errors import LimrankError, Unknown

CORPUS = [
    {"_id": "1000484_1", "title": "Bees", "text": "Bees see ultraviolet."},
    {"_id": "d 2", "title": "", "text": "Über Wellen \U0001f41d"},
    {"_id": "d3", "title": None, "text": ""},
    {"_id": "d4", "title": "Four", "text": "four"},
]
QUERIES = [
    {
        "_id": "310", "text": "radio waves and brain cancer", "instruction_og": "Any evidence.",
        "instruction_changed": "Only evidence from phones.", "keywords": "radio", "short_query": "waves",
    },
    {
        "_id": "325", "text": "cult lifestyles", "instruction_og": "Any cult.",
        "instruction_changed": "Only after 1990.", "keywords": "cult", "short_query": "cults",
    },
]  # fmt: skip
# The instruction only narrows: 310 loses d4, 325 loses d3. News articles are graded.
OG = [
    {"query-id": "310", "corpus-id": "1000484_1", "score": 2.0},
    {"query-id": "310", "corpus-id": "d4", "score": 1.0},
    {"query-id": "325", "corpus-id": "d 2", "score": 1.0},
    {"query-id": "325", "corpus-id": "d3", "score": 1.0},
    {"query-id": "325", "corpus-id": "d3", "score": 1.0},
]
CHANGED = [
    {"query-id": "310", "corpus-id": "1000484_1", "score": 2.0},
    {"query-id": "310", "corpus-id": "d4", "score": 0.0},
    {"query-id": "325", "corpus-id": "d 2", "score": 1.0},
    {"query-id": "325", "corpus-id": "d3", "score": 0.0},
]
TOP = [
    {"qid": "325", "pid": "d3"}, {"qid": "310", "pid": "d4"}, {"qid": "310", "pid": "1000484_1"},
    {"qid": "325", "pid": "d 2"}, {"qid": "310", "pid": "d 2"}, {"qid": "325", "pid": "1000484_1"},
]  # fmt: skip
CARD = {
    "corpus": "corpus.jsonl",
    "queries": "queries.jsonl",
    "qrels_og": "qrels_og/test.jsonl",
    "qrels_changed": "qrels_changed/test.jsonl",
    "top_ranked": "top_ranked.jsonl",
}
ROWS = {"corpus": CORPUS, "queries": QUERIES, "qrels_og": OG, "qrels_changed": CHANGED, "top_ranked": TOP}
# The same rows as parquet, the corpus in two files.
SHARDS = {config: f"data/{config}-*" for config in ROWS}
# Commits with something wrong in them: what is replaced in which part, and what is asked.
BROKEN: dict[str, tuple[str, list[dict], str]] = {
    "a": ("qrels_og", [OG[0] | {"score": 0.5}], "qrels"),
    "b": ("qrels_changed", [{"query-id": "310", "corpus-id": "d4"}], "qrels"),
    "c": ("queries", [{key: value for key, value in QUERIES[0].items() if key != "instruction_changed"}], "queries"),
    "d": ("corpus", [{"_id": "x", "title": "", "text": 7}], "documents"),
    "e": ("qrels_og", [*OG, OG[0] | {"score": 1.0}], "qrels"),
    "f": ("qrels_og", OG[:2], "qrels"),
    "0": ("top_ranked", [*TOP, TOP[0]], "candidates"),
    "1": ("queries", [*QUERIES, QUERIES[0]], "queries"),
    "2": ("corpus", [*CORPUS, CORPUS[0]], "documents"),
    "3": ("top_ranked", TOP[:1], "candidates"),
}

ASK = """
def everything(name):
    dataset = open_dataset(name)
    run = answer(lambda: dataset.candidates())
    return {
        "name": dataset.name,
        "documents": answer(lambda: list(dataset.documents())),
        "lookup": answer(lambda: dataset.lookup([d.doc_id for d in dataset.documents()])),
        "queries": answer(lambda: list(dataset.queries())),
        "qrels": answer(lambda: {q: dict(d) for q, d in dataset.qrels().items()}),
        "excluded": answer(lambda: dict(dataset.excluded())),
        "revision": answer(lambda: dataset.revision),
        "corpus_revision": dataset.corpus_revision,
        "candidates": run if isinstance(run, str) else {q: run[q] for q in run},
    }
for name in NAMES:
    found[name] = everything(name)
found["missing"] = answer(lambda: open_dataset("followir/core17").lookup(["d4", "nope"]))
"""
NAMES = ["followir/core17", "followir/core17/og", "followir/core17/changed", "followir/robust04"]


@pytest.fixture(scope="module")
def found(hub: Any) -> dict:
    """What each of NAMES holds, and what each broken commit answers, as JSON."""
    hub.serve(*followir.REPOSITORIES["core17"], CARD, {path: ROWS[config] for config, path in CARD.items()})
    files = {f"data/{config}-00000-of-00001.parquet": rows for config, rows in ROWS.items() if config != "corpus"}
    # Within a parquet file a column has one type, so its null is a null, too.
    files |= {f"data/corpus-0000{i}-of-00002.parquet": CORPUS[2 * i : 2 * i + 2] for i in range(2)}
    hub.serve(*followir.REPOSITORIES["robust04"], SHARDS, files)
    for digit, (config, rows, _) in BROKEN.items():
        whole = {path: rows if config == broken else ROWS[broken] for broken, path in CARD.items()}
        hub.serve(followir.REPOSITORIES["news21"][0], digit * 40, CARD, whole)
    code = f"NAMES = {NAMES!r}{ASK}"
    for digit, (_, _, part) in BROKEN.items():
        name = f"followir/news21?revision={digit * 40}"
        code += f"found[{digit!r}] = answer(lambda: list(open_dataset({name!r}).{part}()))\n"
    return hub.ask(code)


@pytest.mark.parametrize("name", NAMES)
def test_the_promises_of_a_dataset_hold(found: dict, name: str) -> None:
    dataset = found[name]
    doc_ids = [doc_id for doc_id, _, _ in dataset["documents"]]
    query_ids = [query_id for query_id, _, _ in dataset["queries"]]
    assert dataset["name"] == name
    assert len(set(doc_ids)) == len(doc_ids) == 4
    assert list(dataset["lookup"].values()) == dataset["documents"]
    assert len(set(query_ids)) == len(query_ids) > 0
    assert set(dataset["qrels"]) == set(dataset["candidates"]) == set(query_ids)
    assert {doc_id for by_doc in dataset["qrels"].values() for doc_id in by_doc} <= set(doc_ids)
    assert {doc_id for pairs in dataset["candidates"].values() for doc_id, _ in pairs} <= set(doc_ids)
    assert dataset["excluded"] == {}


def test_documents_keep_title_and_text_apart_and_null_is_empty(found: dict) -> None:
    expected = [["1000484_1", "Bees see ultraviolet.", "Bees"], ["d 2", "Über Wellen \U0001f41d", ""], ["d3", "", ""]]
    assert found["followir/core17"]["documents"] == [*expected, ["d4", "four", "Four"]]


def test_a_topic_is_two_queries_with_the_same_text_and_the_instruction_of_their_side(found: dict) -> None:
    assert found["followir/core17"]["queries"] == [
        ["310-og", "radio waves and brain cancer", "Any evidence."],
        ["325-og", "cult lifestyles", "Any cult."],
        ["310-changed", "radio waves and brain cancer", "Only evidence from phones."],
        ["325-changed", "cult lifestyles", "Only after 1990."],
    ]


def test_each_side_has_its_own_judgments_and_what_changes_becomes_not_relevant(found: dict) -> None:
    qrels = found["followir/core17"]["qrels"]
    assert qrels == {
        "310-og": {"1000484_1": 2, "d4": 1},
        "325-og": {"d 2": 1, "d3": 1},
        "310-changed": {"1000484_1": 2, "d4": 0},
        "325-changed": {"d 2": 1, "d3": 0},
    }


@pytest.mark.parametrize("side", followir.SIDES)
def test_one_side_is_that_half_of_both(found: dict, side: str) -> None:
    both, half = found["followir/core17"], found[f"followir/core17/{side}"]
    assert half["queries"] == [query for query in both["queries"] if query[0].endswith(f"-{side}")]
    for part in ("qrels", "candidates"):
        assert half[part] == {key: value for key, value in both[part].items() if key.endswith(f"-{side}")}
    for part in ("documents", "corpus_revision"):
        assert half[part] == both[part]


def test_candidates_are_the_same_for_both_sides_in_the_order_of_the_file(found: dict) -> None:
    candidates = found["followir/core17"]["candidates"]
    assert candidates["310-og"] == [["d4", 3.0], ["1000484_1", 2.0], ["d 2", 1.0]]
    assert candidates["325-og"] == [["d3", 3.0], ["d 2", 2.0], ["1000484_1", 1.0]]
    assert candidates["310-changed"] == candidates["310-og"]
    assert candidates["325-changed"] == candidates["325-og"]


def test_json_lines_and_parquet_in_shards_are_the_same_dataset(found: dict) -> None:
    lines, shards = found["followir/core17"], found["followir/robust04"]
    for part in ("documents", "queries", "qrels", "candidates", "lookup"):
        assert lines[part] == shards[part]


def test_the_revision_is_the_commit_and_a_hash_of_the_judgments(found: dict) -> None:
    repo, commit = followir.REPOSITORIES["core17"]
    # The og half as TREC lines, sorted; a blank within an id is percent-encoded there.
    lines = "310-og 0 1000484_1 2\n310-og 0 d4 1\n325-og 0 d%202 1\n325-og 0 d3 1\n"
    digest = hashlib.sha256(lines.encode()).hexdigest()[:12]
    assert found["followir/core17/og"]["revision"] == f"{repo}@{commit}, qrels sha256 {digest}"
    assert found["followir/core17/og"]["corpus_revision"] == f"{repo}@{commit}"
    assert len({found[name]["revision"] for name in NAMES}) == 4


def test_a_missing_document_is_named(found: dict) -> None:
    assert found["missing"].startswith("Mismatch: followir/core17 lacks 1 of 2 documents, e.g. 'nope'")


@pytest.mark.parametrize(
    ("digit", "kind", "place", "message"),
    [
        ("a", "BadFile", "qrels_og/test.jsonl:1", "score is 0.5; a whole number was expected"),
        ("b", "BadFile", "qrels_changed/test.jsonl:1", "no field 'score', only query-id, corpus-id"),
        ("c", "BadFile", "queries.jsonl:1", "no field 'instruction_changed', only _id, text, instruction_og"),
        ("d", "BadFile", "corpus.jsonl:1", "text is 7; text was expected"),
        ("e", "Mismatch", "qrels_og/test.jsonl:6", "topic '310' judges document '1000484_1' as 1, and as 2 before"),
        ("f", "BadFile", "qrels_og/test.jsonl", "has nothing for 1 of 2 topics, e.g. '325'"),
        ("0", "BadFile", "top_ranked.jsonl:7", "topic '325' has document 'd3' a second time"),
        ("1", "BadFile", "queries.jsonl:3", "topic '310' is there a second time"),
        ("2", "BadFile", "corpus.jsonl:5", "document '1000484_1' is already in line 1"),
        ("3", "BadFile", "top_ranked.jsonl", "has nothing for 1 of 2 topics, e.g. '310'"),
    ],
)
def test_a_broken_file_is_one_line_with_file_and_field(
    found: dict, digit: str, kind: str, place: str, message: str
) -> None:
    error = found[digit]
    assert error.startswith(f"{kind}: ") and "\n" not in error
    assert f"{place}: {message}" in error


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("followir/core-17", "unknown collection of FollowIR 'core-17'; did you mean core17?"),
        ("followir", "unknown collection of FollowIR ''; known: core17, news21, robust04"),
        ("followir/core17/original", "unknown side of FollowIR 'original'; known: changed, og"),
        ("followir/core17/change", "did you mean changed?"),
        ("followir/core17?revison=main", "unknown option of followir 'revison'; did you mean revision?"),
        ("followir/core17?revision=", "option revision of followir has no value; write it as ?revision=VALUE"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name: str, message: str) -> None:
    with pytest.raises(LimrankError) as caught:
        open_dataset(name)
    assert message in str(caught.value)
    assert isinstance(caught.value, Unknown) or "no value" in message


def test_opening_asks_nothing_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    dataset = open_dataset("followir/News21/OG")
    assert dataset.name == "followir/news21/og"
    assert dataset.corpus_revision == "@".join(followir.REPOSITORIES["news21"])  # type: ignore[attr-defined]
