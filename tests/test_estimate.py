"""limrank/estimate.py"""

import json
from pathlib import Path

import pytest

from limrank import plugins
from limrank.datasets import open_dataset
from limrank.errors import LimrankError, Unknown
from limrank.estimate import Cost, Plan, alternatives, estimate
from limrank.llm.fake import Fake
from limrank.prompt import load
from limrank.records import Request, Response
from limrank.rerank import open_reranker, rerank
from limrank.run import Run

DEPTH = 30


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    (folder / "qrels").mkdir(parents=True)
    texts = [" ".join(["word"] * (5 + i)) + f" {i}" for i in range(60)]
    corpus = [json.dumps({"_id": f"d{i}", "title": "", "text": text}) for i, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(corpus) + "\n")
    queries = [json.dumps({"_id": f"q{i}", "text": f"query number {i}"}) for i in range(4)]
    (folder / "queries.jsonl").write_text("\n".join(queries) + "\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td0\t1\n")
    return folder


@pytest.fixture(scope="module")
def run() -> Run:
    return Run({f"q{i}": [(f"d{(7 * i + j) % 60}", -float(j)) for j in range(DEPTH)] for i in range(4)}, name="first")


def only(costs: list[Cost]) -> Cost:
    [cost] = costs
    return cost


METHODS = [
    ("pointwise", ""),
    ("pointwise think=full budget=500", "rank1"),
    ("pointwise think=none", "rank1"),
    ("pointwise think=top:7", "rank1"),
    ("pointwise think=full budget=50", "rank1"),
    ("likelihood", ""),
    ("listwise", ""),
    ("listwise order=topdown", ""),
    ("listwise order=tournament", ""),
    ("listwise logits=true", "listwise-letter"),
    ("listwise think=900", "listwise-think"),
    ("listwise think=100", "listwise-think"),
    ("setwise", ""),
    ("setwise order=insertion", ""),
    ("pairwise", ""),
    ("pairwise order=allpairs", ""),
]


@pytest.mark.parametrize(("method", "prompt"), METHODS)
def test_a_model_that_agrees_with_the_first_stage_is_asked_as_often_as_was_estimated(
    method: str, prompt: str, run: Run, dataset: Path
) -> None:
    """The whole reranker, with a judge written here: first-stage rank is the first number of the document's id."""
    opened = open_dataset(str(dataset))
    cost = only(estimate(run, opened, [Plan(method, llm="fake:hash", prompt=prompt, depth=DEPTH)]))
    asked: list[Request] = []
    letters = "letter" in load(prompt or plugins.find("rerank", method.split()[0]).PROMPT, needs=()).placeholders

    def answer(request: Request) -> Response:
        asked.append(request)
        rank = {doc_id: place for place, doc_id in enumerate(run.doc_ids(request.query_id))}
        several = len(request.choices) == len(request.doc_ids) > 1
        logprobs = [-1.0 - (rank[request.doc_ids[i]] if several else i) for i in range(len(request.choices))]
        told = Response(logprobs=tuple(logprobs), choice_tokens=(1,) * len(logprobs), finish_reason="stop")
        order = sorted(range(len(request.doc_ids)), key=lambda i: rank[request.doc_ids[i]])
        ranking = " > ".join(f"[{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[i] if letters else i + 1}]" for i in order)
        if request.stop and not request.bridge:
            if request.max_tokens < 400:
                return told._replace(text="So.", finish_reason="length", completion_tokens=request.max_tokens)
            end = request.stop[0]
            said = end if end != "</answer>" else f"<think>hm</think><answer>{ranking}</answer>"
            return told._replace(text=said, completion_tokens=400)
        return told._replace(text=ranking) if request.max_tokens else told

    result = rerank(run, opened, open_reranker(method, llm=Fake(answer), prompt=prompt), depth=DEPTH)
    assert cost.calls == len(asked)
    assert (cost.queries, cost.documents) == (4, result.counts["documents"])


def test_an_estimate_says_how_much_would_be_read_and_written(run: Run, dataset: Path) -> None:
    """Characters / 4 of the very prompts that a model would be sent; thoughts of 400 tokens, a label behind each."""
    opened = open_dataset(str(dataset))
    texts = opened.lookup([f"d{i}" for i in range(60)])
    queries = {query.query_id: query for query in opened.queries()}
    prompt = load("rank1")
    whole, shared = 0, 0
    for query_id in run:
        for place, doc_id in enumerate(run.doc_ids(query_id)):
            filled = prompt.fill(queries[query_id], texts[doc_id])
            lengths = [len(part.text) for message in filled.messages for part in message.parts]
            whole += sum(lengths)
            shared += sum(lengths[: filled.shared]) if place else 0
    cost = only(estimate(run, opened, [Plan("pointwise think=full", llm="fake:hash", prompt="rank1", depth=DEPTH)]))
    documents = 4 * DEPTH
    assert (cost.calls, cost.output_tokens) == (2 * documents, documents * (400 + 1))
    # The second question of a document reads its prompt, its thought and the tag that closes it.
    assert cost.prompt_tokens == round((2 * whole + documents * len("</think>")) / 4) + documents * 400
    assert cost.shared_tokens == round((shared + whole) / 4) + documents * 400
    assert cost.counted.startswith("characters / 4, as")


def test_a_tokenizer_counts_where_there_is_one(tiny_model: Path, run: Run, dataset: Path) -> None:
    """All prompts are in the sample, and no passage is cut, so the sum is that of the tokenizer itself."""
    from transformers import AutoTokenizer

    opened = open_dataset(str(dataset))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    texts = opened.lookup([f"d{i}" for i in range(60)])
    queries = {query.query_id: query for query in opened.queries()}
    total = 0
    for query_id in run:
        for doc_id in run.doc_ids(query_id):
            [message] = load("true-false").fill(queries[query_id], texts[doc_id]).messages
            total += len(tokenizer("".join(part.text for part in message.parts)).input_ids)
    llm = f"transformers:{tiny_model}"
    cost = only(estimate(run, opened, [Plan("pointwise", llm=llm, depth=DEPTH)]))
    assert cost.prompt_tokens == total and "tokenizer of tiny-qwen2" in cost.counted
    short = only(estimate(run, opened, [Plan("pointwise", llm=f"{llm} max_length=60", depth=DEPTH)]))
    assert short.prompt_tokens == 60 * 4 * DEPTH


def test_plans_that_are_only_compared_are_scaled_from_some_of_the_queries(
    run: Run, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limrank.estimate.SPREAD", 2)
    plan = Plan("pointwise", llm="fake:hash", depth=DEPTH)
    exact, scaled = estimate(run, open_dataset(str(dataset)), [plan, plan], exact=1)
    assert (scaled.queries, scaled.documents, scaled.calls) == (exact.queries, exact.documents, exact.calls)
    # Queries 0 and 2 of 4: d0 to d29 and d14 to d43, of 5 + 14.5 and 5 + 28.5 words on average, which is 26.5; all four
    # have 30. A word is 5 characters, or 1.25 tokens: 3.5 words too few in 120 documents.
    assert exact.prompt_tokens - scaled.prompt_tokens == pytest.approx(3.5 * 1.25 * 120, rel=0.02)


def test_weights_of_ones_own_read_each_pair_once(run: Run, dataset: Path) -> None:
    cost = only(estimate(run, open_dataset(str(dataset)), [Plan("bi_encoder", depth=10)]))
    assert (cost.calls, cost.documents, cost.output_tokens, cost.shared_tokens) == (40, 40, 0, 0)
    assert cost.prompt_tokens > 0


def test_hours_and_price_are_tokens_by_what_they_take() -> None:
    cost = Cost(
        Plan("pointwise"),
        1,
        1,
        1,
        prompt_tokens=7_200_000,
        shared_tokens=3_600_000,
        output_tokens=1_800_000,
        counted="",
    )
    # 3.6 million at 1,000 a second is one hour, 1.8 million at 500 another; read twice, the shared ones take one more.
    assert (cost.hours(1000, 500), cost.hours(1000, 500, prefix=False)) == (2.0, 3.0)
    assert cost.price(2.0, 10.0) == pytest.approx(7.2 * 2 + 1.8 * 10)


def test_alternatives_begin_with_the_plan_and_name_nothing_twice() -> None:
    found = [plan.method for plan in alternatives(Plan("pointwise budget=9", prompt="rank1"))]
    assert found == [
        "pointwise budget=9 think=full",
        "pointwise think=none",
        "pointwise budget=9 think=top:10",
        "pointwise budget=9 think=top:20",
    ]
    for plan in alternatives(Plan("pointwise samples=2 temperature=1 stop_when=2", prompt="rank1")):
        open_reranker(plan.method, llm="fake", prompt="rank1")
    assert [plan.method for plan in alternatives(Plan("pointwise"))] == ["pointwise"]
    windows = [plan.method for plan in alternatives(Plan("listwise"))]
    assert windows[0] == "listwise order=sliding window=20 stride=10" and len(windows) == len(set(windows)) == 4
    assert windows[2:] == ["listwise order=topdown window=20", "listwise order=tournament window=20"]


def test_what_could_not_be_started_is_not_estimated(run: Run, dataset: Path) -> None:
    opened = open_dataset(str(dataset))
    with pytest.raises(Unknown, match="did you mean pointwise"):
        estimate(run, opened, [Plan("pointwize", llm="fake:hash")])
    with pytest.raises(LimrankError, match="belongs behind --llm"):
        estimate(run, opened, [Plan("pointwise:model", llm="fake:hash")])
    with pytest.raises(LimrankError, match="at least 1"):
        estimate(run, opened, [Plan("pointwise", llm="fake:hash", depth=0)])
    with pytest.raises(LimrankError, match="lacks 1 queries"):
        estimate(Run({"q9": [("d1", 1.0)]}), opened, [Plan("pointwise", llm="fake:hash")])


def test_every_method_with_a_language_model_is_in_the_list_of_methods_above() -> None:
    asking = {name for name in plugins.names("rerank") if "llm" in plugins.wants(plugins.find("rerank", name).load)}
    assert asking == {method.split()[0] for method, _ in METHODS}
