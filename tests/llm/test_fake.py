"""limrank/llm/fake.py"""

import math
from pathlib import Path

import pytest

from limrank.errors import LimrankError, Unknown
from limrank.llm import open_llm
from limrank.records import Message, Part, Request


def ask(text: str, query_id: str = "q", doc_id: str = "d") -> Request:
    choices = (Part(" true", True), Part(" false", True))
    return Request((Message("", (Part(text, True),)),), query_id, (doc_id,), choices=choices)


def answer(spec: str, request: Request) -> tuple[float, ...]:
    [[(_, response)]] = list(open_llm(spec).generate(iter([request])))
    return response.logprobs


def test_answers_depend_on_the_request_and_the_seed_alone() -> None:
    assert answer("fake", ask("a")) == answer("fake:hash batch=1", ask("a", query_id="other"))
    assert len({answer("fake", ask("a")), answer("fake", ask("b")), answer("fake seed=1", ask("a"))}) == 3


def test_the_oracle_says_what_the_judgments_say(tmp_path: Path) -> None:
    (tmp_path / "my.qrels").write_text("q 0 d 2\nq 0 e 0\n")
    spec = f"fake:oracle qrels={tmp_path / 'my.qrels'}"
    yes, no = answer(spec, ask("x"))
    # Log-odds are the relevance, and the two probabilities sum to 1.
    assert yes - no == pytest.approx(2) and math.exp(yes) + math.exp(no) == pytest.approx(1)
    assert answer(spec, ask("x", doc_id="e")) == pytest.approx((-math.log(2), -math.log(2)))


def test_faults_hit_the_same_requests_at_the_rate_asked_for() -> None:
    requests = [ask(str(i)) for i in range(1000)]

    def failed(spec: str) -> list[int]:
        return [i for batch in open_llm(spec).generate(iter(requests)) for i, r in batch if r.status == "failed"]

    assert failed("fake failed=0.1") == failed("fake failed=0.1 batch=3")
    assert 60 < len(failed("fake failed=0.1")) < 140
    assert len(failed("fake failed=1")) == 1000 and failed("fake") == []


def test_wrong_specs_are_refused() -> None:
    with pytest.raises(Unknown, match="did you mean oracle"):
        open_llm("fake:orakle")
    with pytest.raises(LimrankError, match="needs qrels=FILE"):
        open_llm("fake:oracle")
    with pytest.raises(Unknown, match="did you mean failed"):
        open_llm("fake fail=1")
