"""limrank/rerank/__init__.py, and what every reranking method promises."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from limrank import plugins
from limrank.errors import BadFile, LimrankError, Mismatch, TooManyFailed, Unknown
from limrank.llm import open_llm
from limrank.llm.fake import Fake, by_judgments
from limrank.qrels import Qrels
from limrank.records import Document, Query, Response
from limrank.rerank import Job, Judged, Ranking, Reranker, describe, open_reranker, rerank
from limrank.run import Run

WORDS = ["cat", "dog", "sleeps", "runs", "far", "moon", "blue", "seven"]


class Small:
    """A dataset of so many queries and documents."""

    name = "small"
    revision = "1"

    def __init__(self, queries: int = 4, documents: int = 12, barred: Mapping[str, frozenset[str]] | None = None):
        self._queries = [Query(f"q{i}", f"{WORDS[i % 8]} {WORDS[i // 8]}?") for i in range(queries)]
        texts = [" ".join(WORDS[(i * 3 + j) % 8] for j in range(1 + i)) for i in range(documents)]
        self._documents = {f"d {i}": Document(f"d {i}", text) for i, text in enumerate(texts)}
        self._barred = barred or {}
        self.looked_up = 0

    def documents(self) -> Iterator[Document]:
        yield from self._documents.values()

    def lookup(self, doc_ids: Iterable[str]) -> dict[str, Document]:
        wanted = list(doc_ids)
        self.looked_up += len(wanted)
        if missing := [doc_id for doc_id in wanted if doc_id not in self._documents]:
            raise Mismatch(f"small lacks {len(missing)} of {len(wanted)} documents, e.g. {missing[0]!r}")
        return {doc_id: self._documents[doc_id] for doc_id in wanted}

    def queries(self) -> Iterator[Query]:
        yield from self._queries

    def qrels(self) -> Qrels:
        return Qrels({query.query_id: {f"d {(n * 5) % 12}": 2, f"d {(n + 7) % 12}": 1}
                      for n, query in enumerate(self._queries)})  # fmt: skip

    def excluded(self) -> Mapping[str, frozenset[str]]:
        return self._barred


def first_stage(dataset: Small) -> Run:
    docs = [document.doc_id for document in dataset.documents()]
    return Run(
        {
            query.query_id: [(docs[(n + i) % len(docs)], 20.0 - i) for i in range(len(docs))]
            for n, query in enumerate(dataset.queries())
        },
        name="first",
    )


@pytest.fixture(scope="session")
def tiny_cross_encoder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("tiny") / "tiny-bert"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=500, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, num_labels=1,
        max_position_embeddings=128, initializer_range=0.3, pad_token_id=0,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


# Every method with every backend that is to be had: method, language model.
COMBINATIONS = [
    ("pointwise", "fake"),
    ("pointwise scale=logit", "fake"),
    ("likelihood", "fake"),
    ("likelihood mix=1", "fake"),
    ("pointwise", "transformers"),
    ("likelihood", "transformers"),
    ("cross_encoder", None),
    ("bi_encoder", None),
]


@pytest.fixture
def opened(request: pytest.FixtureRequest):
    def open_one(method: str, llm: str | None, calls: Path | None = None) -> Reranker:
        if method == "cross_encoder":
            method += f":{request.getfixturevalue('tiny_cross_encoder')}"
        if llm == "transformers":
            llm += f":{request.getfixturevalue('tiny_model')} batch_tokens=400"
        return open_reranker(method, llm=llm, calls=calls)

    return open_one


def test_every_method_is_under_contract_here() -> None:
    assert {method.split()[0] for method, _ in COMBINATIONS} >= {
        "pointwise",
        "likelihood",
        "cross_encoder",
        "bi_encoder",
    }
    assert set(plugins.names("rerank")) >= {method.split()[0] for method, _ in COMBINATIONS}


@pytest.mark.parametrize(("method", "llm"), COMBINATIONS)
def test_the_same_documents_come_out_as_went_in(opened, method: str, llm: str | None) -> None:
    dataset = Small()
    run = first_stage(dataset)
    result = rerank(run, dataset, opened(method, llm), depth=7)
    assert list(result.run) == list(run)
    for query_id in run:
        assert sorted(result.run.doc_ids(query_id)[:7]) == sorted(run.doc_ids(query_id)[:7])
        assert list(result.run.doc_ids(query_id)[7:]) == list(run.doc_ids(query_id)[7:])
    assert any(list(result.run.doc_ids(query_id)) != list(run.doc_ids(query_id)) for query_id in run)
    assert result.counts["documents"] == result.counts["judged"] == 28 and result.counts["without_verdict"] == 0
    result.check()


@pytest.mark.parametrize(("method", "llm"), COMBINATIONS)
def test_batched_equals_one_query_at_a_time(opened, method: str, llm: str | None) -> None:
    dataset = Small()
    run = first_stage(dataset)
    whole = rerank(run, dataset, opened(method, llm), depth=9).run
    reranker = opened(method, llm)
    for query_id in run:
        alone = rerank(Run({query_id: run[query_id]}), dataset, reranker, depth=9).run
        assert alone.doc_ids(query_id) == whole.doc_ids(query_id)
        assert np.array_equal(alone.scores(query_id), whole.scores(query_id))


@pytest.mark.parametrize(("method", "llm"), COMBINATIONS)
def test_known_answers_give_the_same_bytes_without_the_model(
    opened, method: str, llm: str | None, tmp_path: Path
) -> None:
    dataset = Small()
    for session in ("first", "second"):
        reranker = opened(method, llm, tmp_path / "calls")
        result = rerank(first_stage(dataset), dataset, reranker)
        result.run.write(tmp_path / f"{session}.trec")
    assert (tmp_path / "first.trec").read_bytes() == (tmp_path / "second.trec").read_bytes()
    assert result.counts.get("asked", 0) == 0 and result.counts["reused"] == 48


@pytest.mark.parametrize("method", ["pointwise", "likelihood mix=1"])
def test_a_perfect_judge_gives_the_ideal_order(method: str) -> None:
    dataset = Small()
    qrels = dataset.qrels()
    llm = Fake(by_judgments(qrels), name="oracle")
    result = rerank(first_stage(dataset), dataset, open_reranker(method, llm=llm))
    for query_id in result.run:
        relevances = [qrels[query_id].get(doc_id, 0) for doc_id in result.run.doc_ids(query_id)]
        assert relevances == sorted(relevances, reverse=True) and relevances[:2] == [2, 1]


def test_probabilities_by_hand() -> None:
    """P(true) = .3 and .1, P(false) = .1 and .3, of a model that often says neither: 3/4 and 1/4."""

    def answer(request) -> Response:
        probabilities = (0.3, 0.1) if request.doc_ids == ("d 1",) else (0.1, 0.3)
        return Response(logprobs=tuple(np.log(probabilities).tolist()), choice_tokens=(1, 1))

    dataset = Small(queries=1, documents=2)
    result = rerank(first_stage(dataset), dataset, open_reranker("pointwise", llm=Fake(answer)))
    assert result.run.doc_ids("q0") == ["d 1", "d 0"]
    assert result.run.scores("q0").tolist() == pytest.approx([0.75, 0.25])
    result = rerank(first_stage(dataset), dataset, open_reranker("pointwise scale=logit", llm=Fake(answer)))
    assert result.run.scores("q0").tolist() == pytest.approx([np.log(3), -np.log(3)])


def test_likelihood_is_per_token() -> None:
    def answer(request) -> Response:
        return Response(logprobs=(-12.0 if request.doc_ids == ("d 1",) else -18.0,), choice_tokens=(4,))

    dataset = Small(queries=1, documents=2)
    result = rerank(first_stage(dataset), dataset, open_reranker("likelihood mix=1", llm=Fake(answer)))
    assert result.run["q0"] == [("d 1", -3.0), ("d 0", -4.5)]


@pytest.mark.parametrize("fault", ["failed", "malformed", "nan", "short"])
@pytest.mark.parametrize("method", ["pointwise", "likelihood"])
def test_a_failing_model_leaves_first_stage_order_and_is_counted(method: str, fault: str) -> None:
    dataset = Small()
    run = first_stage(dataset)
    result = rerank(run, dataset, open_reranker(method, llm=f"fake {fault}=1"), depth=5)
    for query_id in run:
        assert result.run[query_id] == run[query_id]
    assert result.counts["without_verdict"] == 20 and result.counts["judged"] == 0
    assert result.counts["malformed" if fault == "malformed" else "failed"] == 20
    with pytest.raises(TooManyFailed, match=r"20 of 20 documents have no verdict .* query 'q0', document 'd 0'"):
        result.check(19)
    result.check(20)


def test_failures_here_and_there_keep_their_ranks_and_the_others_keep_their_order(caplog) -> None:
    dataset = Small(queries=8)
    run = first_stage(dataset)
    good = rerank(run, dataset, open_reranker("pointwise", llm="fake")).run
    with caplog.at_level(logging.WARNING):
        result = rerank(run, dataset, open_reranker("pointwise", llm="fake failed=0.3"))
    assert "documents have no verdict" in caplog.text
    assert len(result.failures) == min(20, result.counts["without_verdict"])
    missing = {(failure.query_id, failure.doc_id) for failure in result.failures}
    assert len(missing) > 5
    for query_id in run:
        before, after = run.doc_ids(query_id), result.run.doc_ids(query_id)
        without = [doc_id for doc_id in good.doc_ids(query_id) if doc_id in set(after)]
        for rank, doc_id in enumerate(before):
            if (query_id, doc_id) in missing:
                assert after[rank] == doc_id
        if all(query != query_id for query, _ in missing) and len(missing) < 20:
            assert list(after) == without


def test_made_up_scores_are_the_smallest_steps_between_the_models_own() -> None:
    class Given:
        name = "given"
        counts: Mapping[str, int] = {}

        def __init__(self, scores: list[float | None]) -> None:
            self.scores = scores

        def rerank(self, jobs: Iterable[Job]) -> Iterator[Ranking]:
            for job in jobs:
                judged = [Judged(doc.doc_id, score) for doc, score in zip(job.documents, self.scores)]
                yield Ranking(job.query.query_id, tuple(judged))

    dataset = Small(queries=1, documents=6)
    run = first_stage(dataset)
    up, down = np.float32(np.inf), np.float32(-np.inf)
    half = np.float32(0.5)

    def scores(*told: float | None) -> list[np.float32]:
        return list(rerank(run, dataset, Given(list(told)), depth=len(told)).run.scores("q0"))

    below = [half]
    for _ in range(5):
        below.append(np.nextafter(below[-1], down))
    # The last four are below depth, or without a verdict, or tied: it is all the same.
    assert scores(0.5, 0.5) == scores(0.5) == scores(0.5, None, 0.5, 0.5) == below
    above = np.nextafter(half, up)
    assert scores(None, None, 0.5, 0.25)[:4] == [np.nextafter(above, up), above, half, np.float32(0.25)]
    assert scores(1.0, 1.0, 1.0, 0.0)[3] == 0.0
    assert scores(None, None) == [20, 19, 18, 17, 16, 15]


def test_a_reranker_that_loses_documents_is_an_error() -> None:
    class Careless:
        name = "careless"
        counts: Mapping[str, int] = {}

        def __init__(self, size: int) -> None:
            self.size = size

        def rerank(self, jobs: Iterable[Job]) -> Iterator[Ranking]:
            for job in list(jobs)[: self.size]:
                yield Ranking(job.query.query_id, tuple(Judged(doc.doc_id, 1.0) for doc in job.documents[: self.size]))

    dataset = Small()
    with pytest.raises(LimrankError, match="other documents for query 'q0'"):
        rerank(first_stage(dataset), dataset, Careless(3))
    with pytest.raises(LimrankError, match="no ranking for 4 queries"):
        rerank(first_stage(dataset), dataset, Careless(0))


class Never:
    """A reranker that must not be asked."""

    name = "never"
    counts: Mapping[str, int] = {}

    def rerank(self, jobs: Iterable[Job]) -> Iterator[Ranking]:
        raise AssertionError("asked")


def test_a_run_of_another_dataset_is_refused_before_the_model_is_touched() -> None:
    dataset = Small()
    run = first_stage(dataset)
    with pytest.raises(Mismatch, match="small lacks 1 of the 5 queries of run 'first', e.g. 'x'"):
        rerank(Run({**run, "x": [("d 1", 1.0)]}, name="first"), dataset, Never())
    with pytest.raises(Mismatch, match="small lacks 1 of 13 documents, e.g. 'e 1'"):
        rerank(Run({**run, "q3": [("e 1", 1.0)]}, name="first"), dataset, Never())
    with pytest.raises(LimrankError, match="depth=0"):
        rerank(run, dataset, Never(), depth=0)


def test_queries_without_results_and_excluded_documents_are_counted() -> None:
    dataset = Small(barred={"q1": frozenset({"d 1", "d 5"})})
    run = first_stage(dataset)
    result = rerank(Run({key: run[key] for key in ("q2", "q1")}), dataset, open_reranker("pointwise", llm="fake"))
    assert list(result.run) == ["q2", "q1"]
    assert result.counts["queries"] == 2 and result.counts["queries_without_results"] == 2
    assert result.counts["excluded"] == 2 and not {"d 1", "d 5"} & set(result.run.doc_ids("q1"))
    assert result.counts["documents"] == 22 == result.counts["asked"]


def test_labels_of_several_tokens_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    """Of the tiny vocabulary, ' highly relevant indeed' is surely several tokens."""
    prompt = tmp_path / "odd.toml"
    prompt.write_text(
        'format = "completion"\ntext = "{query} {passage} ?"\nchoices = [" highly relevant indeed", " false"]\n'
    )
    reranker = open_reranker("pointwise", llm=f"transformers:{tiny_model}", prompt=str(prompt))
    with pytest.raises(LimrankError, match=r"prompt odd: the choice ' highly relevant indeed' is \d+ tokens for tr"):
        rerank(first_stage(dataset := Small()), dataset, reranker)


def test_what_a_method_has_no_use_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unknown, match="did you mean pointwise"):
        open_reranker("pointwize")
    with pytest.raises(Unknown, match="did you mean scale"):
        open_reranker("pointwise scal=logit", llm="fake")
    with pytest.raises(LimrankError, match="leave --llm out"):
        open_reranker("bi_encoder", llm="fake")
    with pytest.raises(LimrankError, match="leave --prompt out"):
        open_reranker("bi_encoder", prompt="rank1")
    with pytest.raises(LimrankError, match="belongs behind --llm"):
        open_reranker("pointwise:smollm2")
    with pytest.raises(LimrankError, match="cross_encoder needs a model"):
        open_reranker("cross_encoder")
    with pytest.raises(BadFile, match="0 choices"):
        open_reranker("pointwise", llm="fake", prompt="upr")
    with pytest.raises(BadFile, match="has no target"):
        open_reranker("likelihood", llm="fake", prompt="true-false")
    with pytest.raises(LimrankError, match=r"mix=1\.5"):
        open_reranker("likelihood mix=1.5", llm="fake")


def test_an_opened_llm_can_be_given(tmp_path: Path) -> None:
    result = rerank(first_stage(dataset := Small()), dataset, open_reranker("pointwise", llm=open_llm("fake")))
    assert result.run.name == "first+pointwise" and result.counts["asked"] == 48


@pytest.mark.parametrize(
    ("method", "prompt"),
    [
        ("pointwise", "true-false"),
        ("pointwise think=none", "true-false"),
        ("pointwise think=full budget=16", "rank1"),
        ("pointwise think=top:2 budget=16", "rank1"),
        ("listwise", "listwise"),
        ("listwise think=64", "listwise-think"),
        ("listwise logits=true", "listwise-letter"),
    ],
)
def test_whoever_names_no_prompt_has_one_that_fits_the_options(method: str, prompt: str) -> None:
    reranker = open_reranker(method, llm="fake:hash")
    assert describe(method, reranker)["prompt"]["name"] == prompt
    assert rerank(first_stage(Small()), Small(), reranker, depth=4).counts["documents"] == 16
    with pytest.raises(BadFile, match="rank1 does"):
        open_reranker("pointwise think=full", llm="fake:hash", prompt="true-false")
