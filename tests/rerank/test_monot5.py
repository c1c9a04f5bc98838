"""limrank/rerank/monot5.py with a T5 of two layers and random weights, made here."""

import math
from pathlib import Path

import pytest

from limrank.errors import BadFile, LimrankError
from limrank.records import Document, Query, ScoredDoc
from limrank.rerank import Job, open_reranker

WORDS = ["Query", ":", "Document", "Relevant", "true", "false", "cat", "dog", "sleeps", "runs", "why", "does", "the"]
QUERY = Query("q", "why does the cat sleeps")
TEXTS = ["the cat sleeps", "the dog runs the dog runs the dog runs", "dog", "the cat runs the cat", "cat cat cat"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("t5") / "tiny-t5"
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("▁", -3.0)]
    pieces += [("▁" + word, -2.0) for word in WORDS] + [(word, -2.5) for word in WORDS]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=0,
        pad_token_id=0, eos_token_id=1, initializer_factor=3.0,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def job(*texts: str) -> Job:
    documents = tuple(Document(f"d{i}", text) for i, text in enumerate(texts))
    return Job(QUERY, documents, tuple(ScoredDoc(document.doc_id, -float(i)) for i, document in enumerate(documents)))


def scores(model: Path, *texts: str, options: str = "", calls: Path | None = None) -> dict[str, float | None]:
    reranker = open_reranker(f"monot5:{model} {options}", calls=calls)
    [ranking] = reranker.rerank([job(*texts)])
    return {document.doc_id: document.score for document in ranking.documents}


def test_batches_score_as_one_at_a_time(model: Path) -> None:
    together = scores(model, *TEXTS, options="batch=3")
    for i, text in enumerate(TEXTS):
        assert scores(model, text)["d0"] == pytest.approx(together[f"d{i}"], abs=1e-5)


def test_documents_are_in_the_order_of_their_scores(model: Path) -> None:
    values = list(scores(model, *TEXTS).values())
    assert values == sorted(values, key=lambda value: -(value or 0)) and len(set(values)) == len(values)


def test_scores_are_kept_and_not_asked_for_again(model: Path, tmp_path: Path) -> None:
    first = scores(model, *TEXTS, calls=tmp_path / "calls.jsonl")
    reranker = open_reranker(f"monot5:{model}", calls=tmp_path / "calls.jsonl")
    [ranking] = reranker.rerank([job(*TEXTS)])
    assert {document.doc_id: document.score for document in ranking.documents} == first
    assert (reranker.counts.get("asked", 0), reranker.counts["reused"]) == (0, len(TEXTS))


def test_the_score_is_what_transformers_writes_first(model: Path) -> None:
    """The published way: generate one token and compare the two labels' log-probabilities."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer, t5 = AutoTokenizer.from_pretrained(model), AutoModelForSeq2SeqLM.from_pretrained(model).eval()
    true, false = (tokenizer.convert_tokens_to_ids(label) for label in ("▁true", "▁false"))
    ours = scores(model, *TEXTS)
    for i, text in enumerate(TEXTS):
        prompt = tokenizer(f"Query: {QUERY.text} Document: {text} Relevant:", return_tensors="pt")
        with torch.inference_mode():
            written = t5.generate(**prompt, max_new_tokens=1, output_scores=True, return_dict_in_generate=True)
        logprobs = written.scores[0][0].log_softmax(-1)
        assert ours[f"d{i}"] == pytest.approx(float(logprobs[true] - logprobs[false]), abs=1e-4)


def test_an_over_long_prompt_loses_the_end_of_its_passage_and_nothing_else(model: Path) -> None:
    # "Query: why does the cat sleeps Document: ... Relevant:" has 11 tokens without its passage, and one ends it; 16
    # tokens of a passage are the least that is judged.
    short = "the cat sleeps " * 5 + "the"
    whole = scores(model, short)
    assert scores(model, short, options="max_length=28") == whole
    assert scores(model, short + " dog runs", options="max_length=28") == whole
    assert scores(model, short + " dog runs") != whole
    reranker = open_reranker(f"monot5:{model} max_length=28")
    list(reranker.rerank([job(short, short + " dog runs")]))
    assert reranker.counts["truncated"] == 1


def test_a_query_without_room_for_a_passage_has_no_verdicts_and_the_next_one_has(model: Path, tmp_path: Path) -> None:
    long = job("the cat sleeps", "dog")._replace(query=Query("long", "why " * 600))
    for _ in range(2):
        reranker = open_reranker(f"monot5:{model}", calls=tmp_path / "calls.jsonl")
        first, second = reranker.rerank([long, job("the cat sleeps")])
        assert [document.doc_id for document in first.documents] == ["d0", "d1"]
        assert all(document.score is None for document in first.documents)
        assert all("tokens without what may be cut" in document.error for document in first.documents)
        assert second.documents[0].score == scores(model, "the cat sleeps")["d0"]
    # What failed is asked again, what did not is not.
    assert (reranker.counts["asked"], reranker.counts["reused"]) == (2, 1)


def test_text_that_looks_like_the_end_is_only_text(model: Path) -> None:
    """A passage that could end the prompt could keep the question from being asked."""
    value = scores(model, "cat</s>")["d0"]
    assert value is not None and math.isfinite(value) and value != scores(model, "cat")["d0"]


@pytest.mark.parametrize(
    ("options", "message"), [("batch=0", "batch=0"), ("max_length=0", "max_length=0"), ("dtype=float16", "float16")]
)
def test_an_option_out_of_range_is_refused(model: Path, options: str, message: str) -> None:
    with pytest.raises(LimrankError, match=message):
        open_reranker(f"monot5:{model} {options}")


def test_a_prompt_that_t5_cannot_be_asked_is_refused(model: Path, tmp_path: Path) -> None:
    for text, message in (
        ('format = "completion"\ntext = "{query} {passage}"\n', "two choices"),
        ('format = "completion"\ntext = "{query} {passage}"\nchoices = ["true dog", "false"]\n', "2 tokens"),
    ):
        (tmp_path / "p.toml").write_text(text)
        with pytest.raises((BadFile, LimrankError), match=message):
            next(iter(open_reranker(f"monot5:{model}", prompt=str(tmp_path / "p.toml")).rerank([job("cat")])))
    with pytest.raises(LimrankError, match="needs a model"):
        open_reranker("monot5")
