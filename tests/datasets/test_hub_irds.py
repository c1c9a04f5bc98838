"""FollowIR and LitSearch as ir_datasets hands them out, from a local hub; and that they are what limrank reads."""

from __future__ import annotations

from typing import Any

import pytest

from limrank.datasets import followir, litsearch

PAPERS = [{"corpusid": i, "title": f"Paper {i}", "abstract": f"abstract {i}"} for i in range(12)]
QUESTIONS = [
    {"query_set": "inline_acl", "query": "One?", "specificity": 0, "quality": 1, "corpusids": [3, 4]},
    {"query_set": "manual_acl", "query": "Two?", "specificity": 1, "quality": 2, "corpusids": [5]},
]
ARTICLES = [{"_id": f"d{i}", "title": "", "text": f"text {i}"} for i in range(5)]
TOPICS = [{"_id": "310", "text": "waves", "instruction_og": "any", "instruction_changed": "few"}]

ASK = """
import ir_datasets
from limrank.datasets import register_with_ir_datasets

found["added"] = register_with_ir_datasets()
found["again"] = register_with_ir_datasets()
found["before"] = found["added"] and REQUESTS()
for name in ("followir/core17", "followir/core17/changed", "litsearch", "litsearch/specific/author"):
    theirs, ours = ir_datasets.load(name), open_dataset(name)
    found[name] = {
        "docs": list(theirs.docs_iter()) == [(d.doc_id, d.title, d.text) for d in ours.documents()],
        "slice": [d.doc_id for d in theirs.docs_iter()[1:4]],
        "last": [d.doc_id for d in theirs.docs_iter()[-1:]],
        "count": theirs.docs_count(),
        "one": theirs.docs_store().get(theirs.docs_iter()[0].doc_id),
        "queries": list(theirs.queries_iter()),
        "fields": theirs.queries_cls()._fields,
        "qrels": theirs.qrels_dict() == {q: dict(d) for q, d in ours.qrels().items()},
        "parent": ir_datasets.docs_parent_id(name),
        "scored": [list(s) for s in theirs.scoreddocs_iter()] if theirs.has_scoreddocs() else None,
        "text": next(theirs.docs_iter()).default_text(),
    }
"""


@pytest.fixture(scope="module")
def found(hub: Any) -> dict:
    card = {part: f"{part}.jsonl" for part in ("corpus", "queries", "qrels_og", "qrels_changed", "top_ranked")}
    judged = [{"query-id": "310", "corpus-id": "d1", "score": 2.0}]
    hub.serve(
        *followir.REPOSITORIES["core17"],
        card,
        {
            "corpus.jsonl": ARTICLES,
            "queries.jsonl": TOPICS,
            "qrels_og.jsonl": judged,
            "qrels_changed.jsonl": [judged[0] | {"score": 0.0}],
            "top_ranked.jsonl": [{"qid": "310", "pid": "d4"}, {"qid": "310", "pid": "d1"}],
        },
    )
    files = {"corpus.parquet": PAPERS, "query.parquet": QUESTIONS}
    hub.serve(*litsearch.REPOSITORY, {"corpus_clean": "corpus.parquet", "query": "query.parquet"}, files)
    log = "import httpx2\nasked = []\nsend = httpx2.Client.send\n"
    log += "def watch(self, request, **kw):\n    asked.append(str(request.url))\n    return send(self, request, **kw)\n"
    log += "httpx2.Client.send = watch\nREQUESTS = lambda: list(asked)\n"
    return hub.ask(log + ASK)


def test_every_collection_and_split_is_added_once_and_nothing_is_downloaded_for_it(found: dict) -> None:
    sides = [f"followir/{task}{side}" for task in followir.REPOSITORIES for side in ("", "/og", "/changed")]
    assert found["added"][:9] == sides
    assert found["added"][9:] == [
        "litsearch", "litsearch/broad", "litsearch/broad/inline", "litsearch/broad/author", "litsearch/specific",
        "litsearch/specific/inline", "litsearch/specific/author",
    ]  # fmt: skip
    assert found["again"] == [] and found["before"] == []


@pytest.mark.parametrize("name", ["followir/core17", "followir/core17/changed", "litsearch/specific/author"])
def test_documents_and_judgments_are_those_that_limrank_reads(found: dict, name: str) -> None:
    assert found[name]["docs"] and found[name]["qrels"]


def test_slices_counts_and_look_ups_work(found: dict) -> None:
    dataset = found["litsearch"]
    assert (dataset["slice"], dataset["last"], dataset["count"]) == (["1", "2", "3"], ["11"], 12)
    assert dataset["one"] == ["0", "Paper 0", "abstract 0"]
    assert dataset["text"] == "Paper 0 abstract 0"


def test_queries_carry_what_the_benchmark_says_about_them(found: dict) -> None:
    assert found["followir/core17"]["fields"] == ["query_id", "text", "instruction"]
    assert found["followir/core17"]["queries"] == [["310-og", "waves", "any"], ["310-changed", "waves", "few"]]
    assert found["litsearch/specific/author"]["queries"] == [["q2", "Two?", "manual_acl", "specific", 2]]


def test_candidates_are_scored_documents_of_followir_only(found: dict) -> None:
    assert found["followir/core17/changed"]["scored"] == [["310-changed", "d4", 2.0], ["310-changed", "d1", 1.0]]
    assert found["litsearch"]["scored"] is None


def test_all_parts_of_a_collection_share_its_documents(found: dict) -> None:
    assert found["followir/core17/changed"]["parent"] == "followir/core17"
    assert found["litsearch/specific/author"]["parent"] == "litsearch"
