"""limrank/rerank/cross_encoder.py with a BERT of two layers and random weights, made here: which texts it is shown."""

from pathlib import Path

import pytest

from limrank.records import Document, Query, ScoredDoc
from limrank.rerank import Job, Ranking, Reranker, open_reranker

WORDS = ["cat", "dog", "sleeps", "runs", "why", "when", "does", "the", "play", "##ing"]
# [CLS] query [SEP] passage [SEP]
LIMIT = 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("bert") / "tiny-bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=LIMIT).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=15, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, num_labels=1,
        max_position_embeddings=LIMIT, initializer_range=0.5, pad_token_id=0,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def job(query: str, *texts: str) -> Job:
    documents = tuple(Document(f"d{i}", text) for i, text in enumerate(texts))
    first_stage = tuple(ScoredDoc(document.doc_id, -float(i)) for i, document in enumerate(documents))
    return Job(Query("q", query), documents, first_stage)


def asked(reranker: Reranker, query: str, *texts: str) -> Ranking:
    [ranking] = reranker.rerank([job(query, *texts)])
    return ranking


def scores(model: Path, query: str, *texts: str) -> dict[str, float | None]:
    ranking = asked(open_reranker(f"cross_encoder:{model}"), query, *texts)
    return {document.doc_id: document.score for document in ranking.documents}


def test_a_passage_loses_its_end_and_a_longer_query_nothing(model: Path) -> None:
    """64 tokens hold [CLS] + 40 of the query + [SEP] + 20 of the passage + [SEP], and one is left over."""
    query, passage = "the " * 37 + "does cat sleeps", "dog runs " * 15
    reranker = open_reranker(f"cross_encoder:{model}")
    [whole] = asked(reranker, query, passage).documents
    assert reranker.counts == {"asked": 1, "truncated": 1}
    assert whole.score == scores(model, query, "dog runs " * 10 + "dog")["d0"]
    assert whole.score != scores(model, query, "dog runs " * 10)["d0"]
    assert whole.score != scores(model, "the " * 37 + "does dog runs", passage)["d0"]


def test_what_fits_is_scored_as_sentence_transformers_does_and_not_counted(model: Path) -> None:
    from sentence_transformers import CrossEncoder

    texts = ["the cat sleeps", "dog " * 40, "play playing"]
    expected = CrossEncoder(str(model)).predict([("why does the cat", text) for text in texts]).tolist()
    reranker = open_reranker(f"cross_encoder:{model}")
    found = {document.doc_id: document.score for document in asked(reranker, "why does the cat", *texts).documents}
    assert [found[f"d{i}"] for i in range(3)] == pytest.approx(expected, abs=1e-5)
    assert reranker.counts["truncated"] == 0


def test_a_query_that_leaves_no_room_has_no_verdicts_and_a_passage_that_fits_has(model: Path) -> None:
    """Behind 50 words 11 tokens are left: fewer than 16, so that only what fits as a whole is judged."""
    ranking = asked(open_reranker(f"cross_encoder:{model}"), "the " * 50, "dog " * 12, "dog " * 11, "cat")
    errors = {document.doc_id: document.error for document in ranking.documents}
    assert errors == {"d0": "the query leaves no room for the passage", "d1": "", "d2": ""}
    alone = asked(open_reranker(f"cross_encoder:{model}"), "the " * 90, "cat", "dog")
    assert [document.score for document in alone.documents] == [None, None]


def test_max_length_is_of_query_and_passage_together(model: Path) -> None:
    reranker = open_reranker(f"cross_encoder:{model} max_length=24")
    [short] = asked(reranker, "why", "cat " * 30).documents
    assert reranker.counts["truncated"] == 1
    assert short.score == scores(model, "why", "cat " * 20)["d0"]


def test_text_that_looks_like_a_separator_is_only_text(model: Path) -> None:
    """Here its three pieces are unknown words."""
    assert scores(model, "why", "cat [SEP] dog") == scores(model, "why", "cat [ SEP ] dog")
    assert scores(model, "why [CLS]", "cat") == scores(model, "why [ CLS ]", "cat")
