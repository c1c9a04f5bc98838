"""limrank/rerank/listwise.py and the list prompts."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limrank import prompt as prompts
from limrank.errors import BadFile, LimrankError
from limrank.llm import open_llm
from limrank.llm._recorded import Recorded
from limrank.llm.fake import Fake, by_judgments, faulty
from limrank.qrels import Qrels
from limrank.records import Document, Query, Request, Response, ScoredDoc
from limrank.rerank import Job, Ranking, open_reranker
from limrank.rerank._drive import Driven
from limrank.rerank.listwise import load

# Every way to work and to answer, each with a prompt for it; windows are small so that there are many.
WAYS: list[tuple[str, dict[str, object]]] = [
    ("listwise", {"window": 5, "stride": 2}),
    ("listwise", {"window": 4, "stride": 4, "passes": 2}),
    ("listwise", {"window": 6, "order": "topdown", "top": 3}),
    ("listwise", {"window": 6, "order": "tournament"}),
    ("listwise", {"window": 6, "order": "tournament", "top": 3}),
    ("listwise-letter", {"window": 5, "stride": 2, "logits": True}),
    ("listwise-letter", {"window": 6, "order": "topdown", "top": 3, "logits": True}),
    ("listwise-think", {"window": 5, "stride": 3, "think": 40}),
    ("listwise-think", {"window": 6, "order": "tournament", "think": 500}),
]
each_way = pytest.mark.parametrize(("prompt", "options"), WAYS, ids=lambda way: str(way).replace("'", ""))


def job_of(relevance: list[int], query_id: str = "q") -> Job:
    """A query and a document for each relevance, in first-stage order, whose texts are of different lengths."""
    documents = tuple(Document(f"d{i}", f"{i} " + "word " * (i % 7)) for i in range(len(relevance)))
    first_stage = tuple(ScoredDoc(document.doc_id, -float(i)) for i, document in enumerate(documents))
    return Job(Query(query_id, f"what about {query_id}?"), documents, first_stage)


def judgments(relevance: list[int], *query_ids: str) -> Qrels:
    return Qrels({query_id: {f"d{i}": grade for i, grade in enumerate(relevance)} for query_id in query_ids or ("q",)})


def reranker(llm: object, prompt: str = "listwise", **options: object) -> Driven:
    return load(llm, prompts.load(prompt, many=True), **options)  # type: ignore[arg-type]


def answering(text: str | Callable[[Request], str]) -> Fake:
    """A model that says this, or what a function makes of the request."""
    return Fake(
        lambda request: Response(text if isinstance(text, str) else text(request), finish_reason="eos"), keep=True
    )


def ids(ranking: Ranking) -> list[str]:
    return [document.doc_id for document in ranking.documents]


@each_way
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=30),
    st.sampled_from([0, 0.4, 1.0]),
    st.sampled_from(["failed", "malformed", "nan", "short"]),
    st.integers(0, 3),
)
def test_the_same_documents_come_out_whatever_goes_wrong(prompt, options, relevance, rate, fault, seed) -> None:
    answer = faulty(by_judgments(judgments(relevance), noise=1, seed=seed), {fault: rate}, seed)
    [ranking] = reranker(Fake(answer), prompt, **options).rerank([job_of(relevance)])
    assert sorted(ids(ranking)) == sorted(f"d{i}" for i in range(len(relevance)))
    scores = [document.score for document in ranking.documents if document.score is not None]
    assert scores == [1 / rank for rank in range(1, len(scores) + 1)]
    # A document without a verdict has its first-stage rank, and an error where a window with it was asked about.
    assert all(doc.doc_id == f"d{i}" for i, doc in enumerate(ranking.documents) if doc.score is None)
    assert all(doc.error for doc in ranking.documents if doc.score is None)


@each_way
def test_batched_equals_one_at_a_time(prompt: str, options: dict[str, object]) -> None:
    relevance = [i * 7 % 5 for i in range(23)]
    qrels = judgments(relevance, "q0", "q1", "q2", "q3")
    jobs = [job_of(relevance[: 8 + 5 * i], f"q{i}") for i in range(4)]
    together = {}
    for batch in (1, 3, 64):
        llm = Fake(faulty(by_judgments(qrels, noise=1), {"failed": 0.2}), batch=batch)
        together[batch] = sorted(reranker(llm, prompt, **options).rerank(jobs))
    llm = Fake(faulty(by_judgments(qrels, noise=1), {"failed": 0.2}))
    alone = [ranking for job in jobs for ranking in reranker(llm, prompt, **options).rerank([job])]
    assert together[1] == together[3] == together[64] == alone
    assert [ids(ranking) for ranking in alone] != [[doc.doc_id for doc in job.documents] for job in jobs]


@each_way
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
@settings(max_examples=25, deadline=None)
def test_a_judge_who_is_right_puts_the_best_in_front(prompt, options, relevance) -> None:
    driven = reranker(Fake(by_judgments(judgments(relevance))), prompt, **options)
    [ranking] = driven.rerank([job_of(relevance)])
    found = [relevance[int(doc_id[1:])] for doc_id in ids(ranking)]
    window, stride = int(options["window"]), int(options.get("stride", 0))  # type: ignore[call-overload]
    sure = window - stride if stride else int(options.get("top", 1))  # type: ignore[call-overload]
    sure *= int(options.get("passes", 1))  # type: ignore[call-overload]
    assert found[:sure] == sorted(relevance, reverse=True)[:sure]
    assert all(document.score for document in ranking.documents)
    assert not any(driven.counts[what] for what in ("failed", "malformed", "repaired", "retried"))


@each_way
def test_a_failing_llm_leaves_first_stage_order_and_is_counted(prompt: str, options: dict[str, object]) -> None:
    job = job_of([0, 1] * 10)
    driven = reranker(Fake(lambda _: Response(status="failed", error="no power")), prompt, **options)
    [ranking] = driven.rerank([job])
    assert ids(ranking) == [document.doc_id for document in job.documents]
    assert {(document.score, document.error) for document in ranking.documents} == {(None, "no power")}
    assert driven.counts["failed"] == driven.counts["windows"] > 0 and driven.counts["retried"] == 0


def test_one_document_needs_no_question() -> None:
    llm = answering("?")
    [ranking] = reranker(llm).rerank([job_of([0])])
    assert ranking.documents == (("d0", 1.0, ""),) and llm.seen == []


def test_a_window_that_fails_keeps_its_order_and_others_go_on() -> None:
    # 6 documents, relevance = index. Windows [4, 6), [2, 4), [0, 2) do not touch each other; the middle one fails.
    oracle = by_judgments(judgments([0, 1, 2, 3, 4, 5]))

    def answer(request: Request) -> Response:
        return Response(status="failed", error="dropped") if "d2" in request.doc_ids else oracle(request)

    driven = reranker(Fake(answer), window=2, stride=2)
    [ranking] = driven.rerank([job_of([0, 1, 2, 3, 4, 5])])
    assert ids(ranking) == ["d1", "d0", "d2", "d3", "d5", "d4"]
    assert [doc.score for doc in ranking.documents] == [1, 1 / 2, None, None, 1 / 3, 1 / 4]
    assert [doc.error for doc in ranking.documents] == ["", "", "dropped", "dropped", "", ""]
    assert driven.counts["failed"] == 1 and driven.counts["windows"] == 3


def test_a_document_that_another_window_has_shown_has_a_verdict() -> None:
    # [1, 3) fails, [0, 2) shows 0 and 1: only 2 was never judged.
    def answer(request: Request) -> Response:
        return Response(status="failed", error="dropped") if "d2" in request.doc_ids else Response("[2] > [1]")

    [ranking] = reranker(Fake(answer), window=2, stride=1).rerank([job_of([0, 0, 0])])
    assert ranking.documents == (("d1", 1.0, ""), ("d0", 0.5, ""), ("d2", None, "dropped"))


def test_a_malformed_answer_is_asked_for_again_in_other_words() -> None:
    def answer(request: Request) -> str:
        return "[3] > [1] > [2]" if request.temperature else "I cannot say."

    llm = answering(answer)
    driven = reranker(llm)
    [ranking] = driven.rerank([job_of([0, 0, 0])])
    assert ids(ranking) == ["d2", "d0", "d1"]
    first, again = llm.seen
    assert (first.temperature, first.seed) == (0, 0) and again.temperature > 0
    assert first == again._replace(temperature=0.0, seed=0)
    assert driven.tally == {
        "windows": 1, "retried": 1, "repaired": 0, "malformed": 0, "forced": 0, "failed": 0, "shortened": 0,
        "truncated": 0,
    }  # fmt: skip


def test_an_answer_that_stays_malformed_is_counted_and_ranks_nothing() -> None:
    llm = answering("Passages 3 and 2 are good.")
    driven = reranker(llm, retries=2)
    [ranking] = driven.rerank([job_of([0, 0, 0])])
    assert ids(ranking) == ["d0", "d1", "d2"]
    assert all(doc.score is None for doc in ranking.documents)
    assert ranking.documents[0].error == "malformed: no ranking in the answer: 'Passages 3 and 2 are good.'"
    assert (driven.counts["malformed"], driven.counts["retried"]) == (1, 2)
    # The questions differ, so that a recorded answer is not taken for the next one.
    assert len({(request.temperature, request.seed) for request in llm.seen}) == 3


def test_a_repaired_answer_is_counted() -> None:
    driven = reranker(answering("Ranking: [3] > [1]"))
    [ranking] = driven.rerank([job_of([0, 0, 0])])
    assert ids(ranking) == ["d2", "d0", "d1"] and driven.counts["repaired"] == 1


def test_labels_are_ordered_by_their_log_probability_and_ties_stay() -> None:
    def answer(request: Request) -> Response:
        assert [choice.text for choice in request.choices] == [" A", " B", " C", " D"] and request.max_tokens == 0
        return Response(logprobs=(-3.0, -1.0, -3.0, -0.5), choice_tokens=(1, 1, 1, 1))

    [ranking] = reranker(Fake(answer), "listwise-letter", logits=True).rerank([job_of([0] * 4)])
    assert ids(ranking) == ["d3", "d1", "d0", "d2"]


def test_a_label_of_two_tokens_is_refused() -> None:
    llm = Fake(lambda _: Response(logprobs=(-1.0, -2.0), choice_tokens=(1, 2)), name="odd")
    with pytest.raises(LimrankError, match="label of document 2 is 2 tokens for odd"):
        list(reranker(llm, "listwise-letter", logits=True).rerank([job_of([0, 0])]))


def test_a_thought_that_ends_within_its_budget_is_one_question() -> None:
    llm = answering("<think>[1] is better than [2]</think>\n<answer>[2] > [1]</answer>")
    driven = reranker(llm, "listwise-think", think=300)
    [ranking] = driven.rerank([job_of([0, 0])])
    [request] = llm.seen
    assert (request.max_tokens, request.stop) == (300, ("</answer>",)) and request.after is None
    assert ids(ranking) == ["d1", "d0"] and driven.counts["forced"] == 0


@pytest.mark.parametrize(
    ("written", "kept", "bridge", "forced"),
    [
        ("<think>Passage [1] and", "<think>Passage [1] and", "\n</think>\n<answer>", 1),
        ("<think>It is [2]. Passage [1] and", "<think>It is [2].", "\n</think>\n<answer>", 1),
        ("<think>ok, [1] > [2]</think>", "<think>ok, [1] > [2]</think>", "\n<answer>", 0),
        ("<think>ok</think>\n<answer>[2", "<think>ok</think>\n<answer>[2", "", 0),
    ],
)
def test_where_the_budget_ends_first_the_answer_is_asked_for_behind_it(
    written: str, kept: str, bridge: str, forced: int
) -> None:
    rest = "] > [1]</answer>" if not bridge else "[2] > [1]</answer>"

    def answer(request: Request) -> Response:
        if request.after:
            return Response(rest, finish_reason="stop")
        return Response(written, finish_reason="length", token_ids=(1, 2, 3))

    llm = Fake(answer, keep=True)
    driven = reranker(llm, "listwise-think", think=50)
    [ranking] = driven.rerank([job_of([0, 0])])
    thought, verdict = llm.seen
    assert (thought.max_tokens, thought.after) == (50, None)
    # Room is kept for what follows: 8 tokens for each of 2 names and 16, and 16 for the tags.
    assert (verdict.max_tokens, thought.reserve) == (32, 48)
    assert verdict.after == Response(kept, finish_reason="length", token_ids=(1, 2, 3))
    assert verdict.bridge == bridge and verdict.messages == thought.messages
    assert ids(ranking) == ["d1", "d0"] and driven.counts["forced"] == forced


def test_passages_are_cut_to_words_and_cannot_hold_labels() -> None:
    documents = (Document("d0", "one two\nthree  four", "A [9]"), Document("d1", "see [3] > [2]"))
    job = Job(Query("q", "what is [2]?"), documents, (ScoredDoc("d0", 2.0), ScoredDoc("d1", 1.0)))
    llm = answering("[2] > [1]")
    driven = reranker(llm, words=4)
    list(driven.rerank([job]))
    text = "".join(part.text for message in llm.seen[0].messages for part in message.parts)
    assert "[1] A (9) one two\n\n[2] see (3) > (2)\n\n" in text and "what is (2)?" in text
    assert driven.counts["shortened"] == 1
    driven = reranker(llm, words=0)
    list(driven.rerank([job]))
    text = "".join(part.text for message in llm.seen[1].messages for part in message.parts)
    assert "[1] A (9) one two\nthree  four\n\n" in text and driven.counts["shortened"] == 0
    driven = reranker(llm, characters=9)
    list(driven.rerank([job]))
    text = "".join(part.text for message in llm.seen[2].messages for part in message.parts)
    assert "[1] A (9) one\n\n[2] see (3) >\n\n" in text and driven.counts["shortened"] == 2
    # All passages may lose their ends, where the model has no room; nothing else may.
    parts = [part.text for message in llm.seen[1].messages for part in message.parts]
    assert [parts[i] for i in llm.seen[1].cut] == ["A (9) one two\nthree  four", "see (3) > (2)"]


def test_what_the_model_had_no_room_for_is_counted() -> None:
    driven = reranker(Fake(lambda _: Response("[2] > [1]", truncated_tokens=7)))
    list(driven.rerank([job_of([0, 0])]))
    assert driven.counts["truncated"] == 1


@pytest.mark.parametrize("order", ["topdown", "tournament"])
def test_independent_windows_are_asked_about_in_one_batch(order: str) -> None:
    relevance = list(range(20, 0, -1))
    batches: list[int] = []

    class Counting(Fake):
        def _deliver(self, batch):  # type: ignore[no-untyped-def]
            batches.append(len(batch))
            return super()._deliver(batch)

    list(
        reranker(Counting(by_judgments(judgments(relevance))), order=order, window=5, top=2).rerank([job_of(relevance)])
    )
    # Top-down: the first 5, then the 15 others by 4. Tournament: 3 x 5, of which 2 each go on; 2 x 3; 4; and two steps.
    assert batches == {"topdown": [1, 4], "tournament": [3, 2, 1, 1, 1]}[order]


@each_way
def test_a_second_run_asks_for_nothing_that_the_first_one_was_told(prompt, options, tmp_path: Path) -> None:
    relevance = [i * 7 % 5 for i in range(23)]
    oracle = by_judgments(judgments(relevance), noise=1)
    shaky = random.Random(3)

    def stops(request: Request) -> Response:
        if shaky.random() < 0.3:
            raise RuntimeError("killed")
        return oracle(request)

    whole = list(reranker(Recorded(Fake(oracle, batch=1), None), prompt, **options).rerank([job_of(relevance)]))
    asked: Counter[Request] = Counter()
    for _ in range(200):
        llm = Fake(stops, batch=1, keep=True)
        try:
            again = list(
                reranker(Recorded(llm, tmp_path / "calls.jsonl"), prompt, **options).rerank([job_of(relevance)])
            )
            break
        except LimrankError:
            pass
        finally:
            asked.update(llm.seen)
    assert again == whole
    # A question whose answer never came is asked again; all others once.
    lines = (tmp_path / "calls.jsonl").read_text().splitlines()
    assert len(lines) == len({line.partition(",")[0] for line in lines}) == len(asked)


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ("listwise", {"window": 1}, "window=1: expected at least 2"),
        ("listwise", {"stride": 21}, "stride=21: expected 1 to 20"),
        ("listwise", {"stride": -1}, "stride=-1: expected 1 to 20"),
        ("listwise", {"passes": 0}, "passes=0"),
        ("listwise", {"retries": -1}, "retries=-1"),
        ("listwise", {"order": "topdown", "top": 20}, "top=20: expected less than 20"),
        ("listwise", {"order": "tournament", "top": 11}, "top=11: expected at most 10, half a window"),
        ("listwise", {"top": 3}, "top=3 does nothing with order=sliding; leave it out"),
        ("listwise", {"order": "topdown", "stride": 3}, "stride=3 does nothing with order=topdown"),
        ("listwise", {"order": "tournament", "passes": 4}, "passes=4 does nothing with order=tournament"),
        ("listwise-letter", {"logits": True, "retries": 3}, "retries=3 does nothing with logits=True"),
        ("listwise", {"think": 100}, "asks for no thought"),
        ("listwise", {"logits": True}, "0 choices, and window=20"),
        ("listwise-letter", {}, "say logits=true"),
        ("listwise-letter", {"logits": True, "window": 27}, "window=27: .* Z is the 26th"),
        ("listwise-think", {"think": 0}, "asks for a thought, and think=0"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_asked(prompt, options, message) -> None:
    with pytest.raises(LimrankError, match=message):
        reranker(answering("?"), prompt, **options)


def test_a_prompt_that_names_no_document_is_refused(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('format = "completion"\ntext = "{query} {passages}"\nitem = "{passage}"\n')
    with pytest.raises(BadFile, match="needs {number} or {letter}"):
        open_reranker("listwise", llm=answering("?"), prompt=str(tmp_path / "my.toml"))
    with pytest.raises(BadFile, match="is about one document at a time"):
        open_reranker("listwise", llm=answering("?"), prompt="rank1")


def test_from_the_command_line_it_is_a_spec() -> None:
    opened = open_reranker("listwise order=topdown window=10 top=5 words=100", llm=answering("?"))
    assert opened.name == "listwise" and opened.counts["windows"] == 0


def test_with_a_real_model_a_thought_is_forced_and_labels_rank(tiny_model: Path, tmp_path: Path) -> None:
    """Random weights: they think without end, and their labels have an order that can be asked for label by label."""
    spec = f"transformers:{tiny_model} device=cpu"
    (tmp_path / "think.toml").write_text(
        'format = "chat"\nclose = "</think>"\nitem = "[{number}] {passage}; "\n'
        '[[messages]]\nrole = "user"\ntext = "{query}: {passages}"\n'
    )
    thinking = open_reranker("listwise think=6 window=3", llm=spec, prompt=str(tmp_path / "think.toml"))
    [ranking] = thinking.rerank([job_of([0] * 4)])
    assert ids(ranking) == ["d0", "d1", "d2", "d3"]
    counts = thinking.counts
    assert counts["windows"] == counts["malformed"] == counts["retried"] == 2 and counts["failed"] == 0
    # Two windows, each asked about twice: as many thoughts, none of which ended.
    assert counts["forced"] == 4 and counts["asked"] == 8
    (tmp_path / "label.toml").write_text(
        'format = "completion"\nitem = "{letter}: {passage}\\n"\ntext = "{query}\\n{passages}Best: ["\n'
        'choices = ["A", "B", "C", "D"]\n'
    )
    labelling = open_reranker("listwise logits=true window=4", llm=spec, prompt=str(tmp_path / "label.toml"))
    job = job_of([0] * 4)
    [ranking] = labelling.rerank([job])
    loaded = prompts.load(str(tmp_path / "label.toml"), many=True)
    filled = loaded.fill_list(job.query, [doc._replace(text=doc.text.strip()) for doc in job.documents])
    [[(_, answer)]] = open_llm(spec).generate(iter([Request(filled.messages, choices=loaded.choice_parts)]))
    best = sorted(range(4), key=lambda i: -answer.logprobs[i])
    assert ids(ranking) == [f"d{i}" for i in best] and labelling.counts["windows"] == 1


TWO = (Document("a", "first text"), Document("b", "second text"))


def sent(prompt: str) -> list[tuple[str, str]]:
    filled = prompts.load(prompt, many=True).fill_list(Query("q", "what is IR"), TWO)
    return [(message.role, "".join(part.text for part in message.parts)) for message in filled.messages]


def test_reasonranks_prompt_byte_for_byte() -> None:
    """8421BCD/ReasonRank e6d3ab4c: listwise_prompt_r1.toml, utils.py, create_prompt, mode rank_GPT_reasoning."""
    query, num = "what is IR", 2
    prefix = f"I will provide you with {num} passages, each indicated by a numerical identifier []. Rank the passages based on their relevance to the search query: {query}.\n"  # noqa: E501
    post = f"Search Query: {query}.\nRank the {num} passages above based on their relevance to the search query. All the passages should be included and listed using identifiers, in descending order of relevance. The format of the answer should be [] > [], e.g., [2] > [1]."  # noqa: E501
    assert sent("reasonrank") == [
        (
            "system",
            "You are RankLLM, an intelligent assistant that can rank passages based on their relevance to the query. Given a query and a passage list, you first thinks about the reasoning process in the mind and then provides the answer (i.e., the reranked passage list). The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>.",  # noqa: E501
        ),
        ("user", f"{prefix}\n[1] first text\n[2] second text\n{post}"),
    ]


def test_rankgpts_prompt_byte_for_byte() -> None:
    """sunnweiwei/RankGPT 2dfde966: get_prefix_prompt, create_permutation_instruction, get_post_prompt."""
    query, num = "what is IR", 2
    assert sent("rankgpt") == [
        (
            "system",
            "You are RankGPT, an intelligent assistant that can rank passages based on their relevancy to the query.",
        ),
        (
            "user",
            f"I will provide you with {num} passages, each indicated by number identifier []. \nRank the passages based on their relevance to query: {query}.",  # noqa: E501
        ),
        ("assistant", "Okay, please provide the passages."),
        ("user", "[1] first text"),
        ("assistant", "Received passage [1]."),
        ("user", "[2] second text"),
        ("assistant", "Received passage [2]."),
        (
            "user",
            f"Search Query: {query}. \nRank the {num} passages above based on their relevance to the search query. The passages should be listed in descending order using identifiers. The most relevant passages should be listed first. The output format should be [] > [], e.g., [1] > [2]. Only response the ranking results, do not say any word or explain.",  # noqa: E501
        ),
    ]


def test_rearanks_prompt_byte_for_byte() -> None:
    """rank_gpt.py of lezhang7/Rearank: create_permutation_instruction_rearank; its words in arXiv 2505.20046, A.1."""
    query, num = "what is IR", 2
    instruction = (
        f"I will provide you with passages, each indicated by number identifier []. Rank the passages based on their relevance to the search query."  # noqa: E501
        f"Search Query: {query}. \nRank the {num} passages above based on their relevance to the search query."
        f"The passages should be listed in descending order using identifiers. The most relevant passages should be listed first. The output format should be <answer> [] > [] </answer>, e.g., <answer> [1] > [2] </answer>."  # noqa: E501
    )
    assert sent("rearank") == [
        (
            "system",
            "You are DeepRerank, an intelligent assistant that can rank passages based on their relevancy to the search query. You first thinks about the reasoning process in the mind and then provides the user with the answer.",  # noqa: E501
        ),
        ("user", instruction),
        ("assistant", "Okay, please provide the passages."),
        ("user", "[1] first text"),
        ("assistant", "Received passage [1]."),
        ("user", "[2] second text"),
        ("assistant", "Received passage [2]."),
        (
            "user",
            f"""Please rank these passages according to their relevance to the search query: "{query}"
            Follow these steps exactly:
            1. First, within <think> tags, analyze EACH passage individually:
            - Evaluate how well it addresses the query
            - Note specific relevant information or keywords

            2. Then, within <answer> tags, provide ONLY the final ranking in descending order of relevance using the format: [X] > [Y] > [Z]""",  # noqa: E501
        ),
    ]
