"""What every reranking method promises, whichever it is and however it is told to work."""

import json
import math
import typing
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import limrank.rerank
from limrank import plugins
from limrank.errors import LimrankError, TooManyFailed
from limrank.llm import LLM, Delivery
from limrank.llm.fake import Fake, by_digest, by_judgments, faulty
from limrank.qrels import Qrels
from limrank.records import Document, Query, Request, Response, ScoredDoc
from limrank.rerank import Job, Judged, Reranker, open_reranker, rerank, unusable
from limrank.rerank._drive import Driven
from limrank.rerank._scored import Outcome, Scored
from limrank.run import Run


class Case(NamedTuple):
    """A method that asks a language model, and how.

    Attributes:
        method: As for `open_reranker`.
        prompt: Empty is the method's own.
        sure: Ranks that a judge who knows sets right; 0 is all of them.
        labels: Whether it reads log-probabilities.
    """

    method: str
    prompt: str = ""
    sure: int = 0
    labels: bool = True


CASES = [
    Case("pointwise"),
    Case("pointwise think=none", "rank1"),
    Case("pointwise think=full", "rank1"),
    Case("pointwise think=full samples=2 temperature=1", "rank1"),
    Case("pointwise think=full stop_when=0.5", "rank1"),
    Case("pointwise think=top:3", "rank1"),
    Case("pointwise think=none", "qwen3-reranker"),
    Case("likelihood mix=1"),
    Case("setwise k=20"),
    Case("setwise k=3 children=4", sure=3),
    Case("setwise order=insertion k=3", sure=3),
    Case("pairwise order=allpairs"),
    Case("pairwise k=20"),
    Case("pairwise order=heapsort k=2", sure=2),
    Case("pairwise order=sliding k=3", sure=3),
    Case("listwise", labels=False),
    Case("listwise window=5 stride=2", sure=3, labels=False),
    Case("listwise window=5 stride=2 passes=2", sure=6, labels=False),
    Case("listwise order=topdown window=6 top=3", sure=3, labels=False),
    Case("listwise order=tournament window=6 top=3", sure=3, labels=False),
    Case("listwise logits=true window=5 stride=2", "listwise-letter", sure=3),
    Case("listwise window=5 stride=2", "listwise-think", sure=3, labels=False),
]


def shipped() -> list[str]:
    return sorted(file.stem for file in Path(limrank.rerank.__path__[0]).glob("[!_]*.py"))


# A method that scores by itself is a Scored; here one that scores by the relevance in the text stands for all of them.
SCORED = Case("scored")
HERE = [case for case in CASES if case.method.split()[0] in shipped()]
ALL = [*HERE, SCORED]
every_method = pytest.mark.parametrize("case", ALL, ids=lambda case: f"{case.method} {case.prompt}".strip())
every_asking_method = pytest.mark.parametrize("case", HERE, ids=lambda case: f"{case.method} {case.prompt}".strip())
quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
Relevances = Sequence[Sequence[int]]
relevances = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=14), min_size=1, max_size=4)


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_method_is_under_contract_here(name: str) -> None:
    made = typing.get_type_hints(plugins.find("rerank", name).load)["return"]
    assert made is Scored or (made is Driven and any(case.method.split()[0] == name for case in CASES))


def jobs_of(relevances: Relevances) -> list[Job]:
    """A query for each list, whose documents have these relevances."""
    jobs = []
    for number, values in enumerate(relevances):
        documents = tuple(Document(f"d{i}", f"{'word ' * (i % 5)}text {i} worth {r}") for i, r in enumerate(values))
        first_stage = tuple(ScoredDoc(document.doc_id, 50.0 - i) for i, document in enumerate(documents))
        jobs.append(Job(Query(f"q{number}", f"question {number}?"), documents, first_stage))
    return jobs


def qrels_of(relevances: Relevances) -> Qrels:
    return Qrels({f"q{n}": {f"d{i}": value for i, value in enumerate(values)} for n, values in enumerate(relevances)})


def worth(query: str, texts: Sequence[str]) -> list[Outcome]:
    return [Outcome(float(text.rpartition(" ")[2])) for text in texts]


def opened(case: Case, llm: LLM | str, *, calls: Path | None = None) -> Reranker:
    if case is SCORED:
        return Scored("scored", "scored", worth, calls=calls, mix=1)
    return open_reranker(case.method, llm=llm, prompt=case.prompt, calls=calls)


def noisy(relevances: Relevances, *, batch: int = 8) -> Fake:
    """A judge who errs, in the same way whenever he is asked the same."""
    return Fake(by_judgments(qrels_of(relevances), noise=1.0, fixed=0.5), name="noisy", batch=batch)


@every_method
@quick
@given(relevances=relevances)
def test_a_judge_who_knows_gives_the_ideal_order(case: Case, relevances: list[list[int]]) -> None:
    """Best first; equals stay in first-stage order, as Python's stable sort leaves them."""
    rankings = list(opened(case, Fake(by_judgments(qrels_of(relevances)), name="oracle")).rerank(jobs_of(relevances)))
    assert len(rankings) == len(relevances)
    for query_id, documents in rankings:
        values = relevances[int(query_id[1:])]
        ideal = [f"d{i}" for i in sorted(range(len(values)), key=lambda i: -values[i])]
        sure = case.sure or len(values)
        assert [document.doc_id for document in documents][:sure] == ideal[:sure]


@every_asking_method
@quick
@given(relevances=relevances, seed=st.integers(0, 99))
def test_whatever_fails_the_same_documents_come_out_and_those_without_a_verdict_keep_their_rank(
    case: Case, relevances: list[list[int]], seed: int
) -> None:
    faults = {"failed": 0.15, "malformed": 0.15, "nan": 0.15, "short": 0.15}
    answer = by_judgments(qrels_of(relevances), noise=1.0, seed=seed) if seed % 2 else by_digest(f"digest {seed}")
    jobs = {job.query.query_id: job for job in jobs_of(relevances)}
    for query_id, documents in opened(case, Fake(faulty(answer, faults, seed), name="bad")).rerank(jobs.values()):
        given = [document.doc_id for document in jobs[query_id].documents]
        assert sorted(document.doc_id for document in documents) == sorted(given)
        for rank, document in enumerate(documents):
            assert (document.score is None) == bool(document.error)
            assert document.score is not None or document.doc_id == given[rank]
        scores = [document.score for document in documents if document.score is not None]
        assert all(map(math.isfinite, scores)) and scores == sorted(scores, reverse=True)


@every_method
def test_batched_equals_one_query_at_a_time(case: Case) -> None:
    relevances = [[(n * i * 7 + i) % 4 for i in range(n + 9)] for n in range(5)]
    jobs = jobs_of(relevances)
    alone: list[tuple[str, tuple[Judged, ...]]] = []
    reranker = opened(case, noisy(relevances, batch=1))
    for job in jobs:
        alone += reranker.rerank([job])
    assert any([doc.doc_id for doc in docs] != [f"d{i}" for i in range(len(docs))] for _, docs in alone)
    for batch in (1, 7, 1000):
        assert sorted(opened(case, noisy(relevances, batch=batch)).rerank(jobs)) == sorted(alone)


class Shelf:
    """A dataset of what jobs are about, and a first stage for it; document ids are its own for each query."""

    name = "shelf"
    revision = "1"

    def __init__(self, relevances: Relevances) -> None:
        self.jobs = jobs_of(relevances)
        self.run = Run(
            {job.query.query_id: [(f"{job.query.query_id} {doc}", score) for doc, score in job.first_stage]
             for job in self.jobs}, name="first",
        )  # fmt: skip
        self._documents = {
            f"{job.query.query_id} {doc.doc_id}": doc._replace(doc_id=f"{job.query.query_id} {doc.doc_id}")
            for job in self.jobs
            for doc in job.documents
        }

    def queries(self) -> Iterator[Query]:
        return (job.query for job in self.jobs)

    def lookup(self, doc_ids: Iterable[str]) -> dict[str, Document]:
        return {doc_id: self._documents[doc_id] for doc_id in doc_ids}

    def documents(self) -> Iterator[Document]:
        yield from self._documents.values()

    def qrels(self) -> Qrels:
        judged: dict[str, dict[str, int]] = {query_id: {} for query_id in self.run}
        for doc_id, document in self._documents.items():
            judged[doc_id.split()[0]][doc_id] = int(document.text.rpartition(" ")[2])
        return Qrels(judged)

    def excluded(self) -> Mapping[str, frozenset[str]]:
        return {}


SHELF = Shelf([[(n + i * i) % 4 for i in range(10)] for n in range(7)])


@every_asking_method
@pytest.mark.parametrize("fault", ["failed", "malformed", "nan", "short"])
def test_a_failing_model_leaves_first_stage_order_and_is_counted(case: Case, fault: str) -> None:
    if fault in ("nan", "short") and not case.labels:
        pytest.skip("reads text, not numbers")
    result = rerank(SHELF.run, SHELF, opened(case, f"fake {fault}=1"), depth=7)
    assert all(result.run[query_id] == SHELF.run[query_id] for query_id in SHELF.run)
    assert result.counts["without_verdict"] == 49 and result.counts["judged"] == 0
    assert result.counts["malformed" if fault == "malformed" else "failed"] > 0
    with pytest.raises(TooManyFailed, match="49 of 49 documents have no verdict"):
        result.check(48)
    result.check(unusable(result.counts))


@every_asking_method
def test_a_run_with_any_question_that_failed_is_not_accepted(case: Case) -> None:
    """One query's questions about its first document fail; whoever else judged it, that is told."""

    good_answer = by_judgments(SHELF.qrels())

    def answer(request: Request) -> Response:
        if "q2 d0" in request.doc_ids:
            return Response(status="failed", error="broken")
        return good_answer(request)

    result = rerank(SHELF.run, SHELF, opened(case, Fake(answer)))
    assert result.counts["failed"] > 0
    with pytest.raises(TooManyFailed, match="--max-failed"):
        result.check()
    result.check(unusable(result.counts))
    assert sorted(result.run.doc_ids("q2")) == sorted(SHELF.run.doc_ids("q2"))
    good = rerank(SHELF.run, SHELF, opened(case, Fake(good_answer)))
    good.check()
    assert all(result.run[query_id] == good.run[query_id] for query_id in SHELF.run if query_id != "q2")


def test_questions_that_failed_count_even_where_others_judged_their_documents() -> None:
    """Of all pairs of one query, d0 against d1 fails in both orders: two questions, and no document lacks a verdict."""

    def answer(request: Request) -> Response:
        if set(request.doc_ids) == {"q2 d0", "q2 d1"}:
            return Response(status="failed", error="broken")
        return by_judgments(SHELF.qrels())(request)

    result = rerank(SHELF.run, SHELF, open_reranker("pairwise order=allpairs", llm=Fake(answer)))
    assert result.counts["without_verdict"] == 0 and result.counts["failed_comparisons"] == 1
    with pytest.raises(TooManyFailed, match="2 questions have no usable answer .* --max-failed 2"):
        result.check(1)
    result.check(2)


def test_a_score_that_is_not_a_number_is_no_verdict() -> None:
    reranker = Scored("scored", "scored", lambda query, texts: [Outcome(math.nan)] * len(texts), calls=None, mix=1)
    result = rerank(SHELF.run, SHELF, reranker)
    assert all(result.run[query_id] == SHELF.run[query_id] for query_id in SHELF.run)
    with pytest.raises(TooManyFailed, match="70 of 70 documents have no verdict"):
        result.check()


def test_what_was_cut_is_counted_the_same_when_it_is_read_back_and_what_failed_is_asked_again(tmp_path: Path) -> None:
    """Seven queries of ten documents each: the text of the first is cut, the second has no score."""
    asked = []

    def score(query: str, texts: Sequence[str]) -> list[Outcome]:
        asked.append(query)
        rest = [Outcome(-float(i)) for i in range(2, len(texts))]
        second = Outcome(None, "no room") if query == "question 0?" else Outcome(-1.0)
        return [Outcome(0.0, truncated=True), second, *rest]

    for _ in range(2):
        reranker = Scored("scored", "scored", score, calls=tmp_path / "calls.jsonl", mix=1)
        result = rerank(SHELF.run, SHELF, reranker)
        assert result.counts["truncated"] == len(SHELF.run) and result.counts["without_verdict"] == 1
        assert [failure.error for failure in result.failures] == ["no room"]
    assert len(asked) == len(SHELF.run) + 1 and asked[-1] == "question 0?"


class Mortal:
    """A language model, or a scorer, that dies after so many deliveries."""

    def __init__(self, llm: LLM, deliveries: int) -> None:
        self.name, self._llm, self._left = llm.name, llm, deliveries

    def generate(self, feed: Iterator[Request | None]) -> Iterator[Delivery]:
        for delivery in self._llm.generate(feed):
            self.breathe()
            yield delivery

    def breathe(self) -> None:
        if not self._left:
            raise LimrankError("dead")
        self._left -= 1


@every_method
def test_nothing_is_asked_twice_when_an_interrupted_rerank_goes_on(case: Case, tmp_path: Path) -> None:
    def attempt(name: str, deliveries: int) -> None:
        mortal = Mortal(Fake(by_judgments(SHELF.qrels(), noise=1.0), name="noisy", batch=3), deliveries)
        reranker = opened(case, mortal, calls=tmp_path / f"{name}.jsonl")
        if case is SCORED:

            def score(query: str, texts: Sequence[str]) -> list[Outcome]:
                mortal.breathe()
                return worth(query, texts)

            reranker = Scored("scored", "scored", score, calls=tmp_path / f"{name}.jsonl", mix=1)
        rerank(SHELF.run, SHELF, reranker).run.write(tmp_path / f"{name}.trec")

    attempt("whole", 10_000)
    for _ in range(2):
        with pytest.raises(LimrankError, match="dead"):
            attempt("stopped", 1)
        assert not (tmp_path / "stopped.trec").exists()
    attempt("stopped", 10_000)
    attempt("stopped", 0)
    assert (tmp_path / "stopped.trec").read_bytes() == (tmp_path / "whole.trec").read_bytes()
    keys = [
        [json.loads(line)["key"] for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in ("whole", "stopped")
    ]
    assert max(Counter(keys[1]).values()) == 1 and sorted(keys[0]) == sorted(keys[1])
