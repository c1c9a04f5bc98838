"""limrank/llm/fake.py"""

import math
from pathlib import Path

import pytest

from limrank.errors import LimrankError, Unknown
from limrank.llm import open_llm
from limrank.llm.fake import Answer, by_judgments
from limrank.qrels import Qrels
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


def many(doc_ids: str, texts: str = "[1] [2] [3]", **fields: object) -> Request:
    """A question about several documents, each named in the prompt by a part of its own."""
    parts = tuple(Part(text, True) for text in texts.replace("[", "[ ").replace("]", " ]").split())
    return Request((Message("", parts),), "q", tuple(doc_ids), **fields)  # type: ignore[arg-type]


def written(answer: Answer, request: Request) -> tuple[str, str]:
    response = answer(request)
    return response.text, response.finish_reason


JUDGED = Qrels({"q": {"a": 1, "b": 3, "c": 0, "d": 1}})


def test_the_oracle_puts_several_documents_in_order_and_equals_stay() -> None:
    oracle = by_judgments(JUDGED)
    assert written(oracle, many("dcab", max_tokens=99)) == ("[4] > [1] > [3] > [2]", "eos")
    assert written(oracle, many("dcab", "[A] [B]", max_tokens=99)) == ("[D] > [A] > [C] > [B]", "eos")
    assert written(oracle, many("dcab", max_tokens=6)) == ("[4] > ", "length")


def test_the_oracle_compares_documents_by_their_labels() -> None:
    """With a choice for each document, log-probabilities are softmax(relevance): the basis of setwise and pairwise."""
    labels = tuple(Part(label, True) for label in "ABC")
    found = by_judgments(JUDGED)(many("abc", choices=labels))
    total = math.exp(1) + math.exp(3) + math.exp(0)
    assert found.logprobs == pytest.approx([1 - math.log(total), 3 - math.log(total), -math.log(total)])
    assert found.choice_tokens == (1, 1, 1)
    assert by_judgments(JUDGED)(many("ca", choices=labels[:2])).logprobs[1] > math.log(0.5)


def test_the_oracle_thinks_where_an_answer_is_wanted_in_tags() -> None:
    oracle, stop = by_judgments(JUDGED), ("</answer>",)
    text, reason = written(oracle, many("cb", max_tokens=999, stop=stop))
    assert text.startswith("<think>[1] may") and text.endswith("</think>\n<answer>[2] > [1]</answer>")
    assert reason == "stop"
    # Cut off anywhere, it goes on where it was, or answers at once behind what closes its thought.
    for cut in (5, len(text) - 12):
        first = oracle(many("cb", max_tokens=cut, stop=stop))
        assert (first.text, first.finish_reason) == (text[:cut], "length")
        assert first.text + oracle(many("cb", max_tokens=999, stop=stop, after=first)).text == text
    bridged = many("cb", max_tokens=99, stop=stop, after=first, bridge="</think><answer>")
    assert written(oracle, bridged) == ("[2] > [1]</answer>", "stop")


def test_a_thought_that_was_cut_off_ends_in_the_opinion_it_began_with() -> None:
    oracle, stop = by_judgments(JUDGED, noise=3), ("</answer>",)
    for seed in range(20):
        request = many("abcd", max_tokens=999, stop=stop, seed=seed)
        whole = oracle(request).text
        first = oracle(request._replace(max_tokens=30, reserve=9))
        rest = oracle(request._replace(after=first, bridge="\n</think>\n<answer>"))
        assert whole.endswith(rest.text)


def test_noise_is_drawn_for_each_question_and_the_fixed_error_for_each_document() -> None:
    labels = (Part("A", True), Part("B", True))

    def differences(**errors: float) -> list[float]:
        oracle = by_judgments(JUDGED, **errors)
        found = [oracle(many("ad", str(i), choices=labels)).logprobs for i in range(2000)]
        return [first - second for first, second in found]

    noisy = differences(noise=0.5)
    # Two errors of .5 make a difference of .5 * sqrt(2) = .707; a and d are equally relevant.
    mean = sum(noisy) / 2000
    assert mean == pytest.approx(0, abs=0.05)
    assert math.sqrt(sum((value - mean) ** 2 for value in noisy) / 2000) == pytest.approx(0.707, abs=0.03)
    assert len({round(value, 9) for value in differences(fixed=0.5)}) == 1
    assert abs(differences(fixed=0.5)[0]) > 1e-3


def test_bias_prefers_what_is_shown_first() -> None:
    # The second of two loses 1; of four, they lose 0, 1/3, 2/3 and 1.
    labels = tuple(Part(label, True) for label in "ABCD")
    first, second = by_judgments(JUDGED, bias=1)(many("ad", choices=labels[:2])).logprobs
    assert first - second == pytest.approx(1)
    found = by_judgments(Qrels({"q": {}}), bias=1)(many("abcd", choices=labels)).logprobs
    assert [found[0] - value for value in found] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_errors_are_part_of_the_oracles_name(tmp_path: Path) -> None:
    (tmp_path / "my.qrels").write_text("q 0 d 2\n")
    spec = f"fake:oracle qrels={tmp_path / 'my.qrels'}"
    names = {open_llm(spec + more).name for more in ("", " noise=1", " fixed=1", " bias=1", " noise=2", " seed=1")}
    assert len(names) == 6


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
    with pytest.raises(LimrankError, match="noise=1.0 .* oracle errs"):
        open_llm("fake noise=1")
    with pytest.raises(Unknown, match="did you mean failed"):
        open_llm("fake fail=1")
