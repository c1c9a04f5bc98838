"""Judgments: the exact format, and how samples vote."""

import pytest

from limrank.errors import LimrankError
from limrank.llm.fake import Fake
from limrank.records import Response
from limrank.synthesize import Dropped, Example
from limrank.synthesize._ask import Malformed
from limrank.synthesize.judgment import Vote, chain_of, judged, read, template

PAIR = Example("q0/positive", "q0", "s", "seed", "why?", kind="positive", passage="Because.", intended=True, title="T")


def vote(texts, *, samples=0, intended=True, retries=None, **options):
    """The outcome where the samples say these texts, in their order, and are asked again for the malformed ones."""
    left = list(texts)
    repeated = list(retries or [])

    def answer(request):
        again = any("Your last answer" in part.text for part in request.messages[-1].parts)
        text = (repeated if again else left).pop(0) if (repeated if again else left) else "?"
        return Response(status="failed", error="no route") if text is None else Response(text)

    llm = Fake(answer, name="judge", keep=True)
    options.setdefault("disagreement", "drop")
    [outcome] = judged(llm, [PAIR._replace(intended=intended)], template(), Vote(samples or len(texts), **options))
    return outcome, llm


def said(label: str, thought: str = "It fits.") -> str:
    return f"<think>{thought}</think> {label}"


@pytest.mark.parametrize(
    ("text", "chain", "label"),
    [
        ("<think>Fits.</think> true", "Fits.", True),
        ("  <think>\nFits\nnot.\n</think>\n\nfalse\n", "Fits\nnot.", False),
        # The server has read the opening tag as its own.
        ("Fits.</think> True.", "Fits.", True),
    ],
)
def test_a_thought_and_a_verdict_are_read(text: str, chain: str, label: bool):
    assert read(text) == (chain, label)


@pytest.mark.parametrize(
    "text",
    [
        "true",
        "<think>Fits.</think>",
        "<think>Fits.</think> yes",
        "<think>Fits.</think> true false",
        "<think>Fits.</think> true because it fits",
        "<think>Fits. true",
        "<think></think> true",
        "<think>One.</think> <think>Two.</think> true",
        "I say: <think>Fits.</think> true",
        "",
    ],
)
def test_everything_else_is_malformed(text: str):
    with pytest.raises(Malformed):
        read(text)


def test_one_sample_is_greedy_and_several_have_seeds_of_their_own():
    _, llm = vote([said("true")])
    assert [(request.temperature, request.seed) for request in llm.seen] == [(0.0, 0)]
    _, llm = vote([said("true")] * 5)
    assert len({request.seed for request in llm.seen}) == 5 and min(request.temperature for request in llm.seen) > 0


def test_most_samples_decide_and_the_chain_is_one_that_agrees():
    outcome, _ = vote([said("false", "No."), said("true", "Yes."), said("true", "Sure.")])
    # 2 of 3 say true.
    assert (outcome.label, outcome.agreement, outcome.grade) == (True, 2 / 3, 2 / 3)
    assert chain_of(outcome) == "Yes."


def test_a_tie_is_no_label():
    outcome, _ = vote([said("false"), said("true")])
    assert isinstance(outcome, Dropped) and outcome.reason == "tie"


def test_too_little_agreement_is_dropped():
    outcome, _ = vote([said("false"), said("true"), said("true")], agreement=0.7)
    assert isinstance(outcome, Dropped) and (outcome.reason, outcome.detail) == ("agreement", "2 of 3 samples agree")


def test_disagreement_with_what_was_intended_drops_or_relabels():
    outcome, _ = vote([said("false")])
    assert isinstance(outcome, Dropped) and outcome.reason == "disagreement"
    outcome, _ = vote([said("false")], disagreement="relabel")
    assert isinstance(outcome, Example) and (outcome.label, outcome.intended) == (False, True)
    # Nobody intended anything with a mined passage.
    outcome, _ = vote([said("false")], intended=None)
    assert isinstance(outcome, Example) and outcome.label is False


def test_malformed_samples_do_not_vote():
    outcome, llm = vote(["true!", said("true"), said("true")], retries=["still not"])
    assert (outcome.label, outcome.agreement, len(outcome.judgments)) == (True, 1.0, 2)
    assert len(llm.seen) == 4
    outcome, _ = vote(["?", "?"], retries=["?", "?"])
    assert isinstance(outcome, Dropped) and outcome.reason == "malformed"


def test_a_failed_sample_is_no_abstention():
    outcome, _ = vote([None, said("true"), said("true")])
    assert isinstance(outcome, Dropped) and outcome.reason == "failed"


def test_impossible_votes_are_refused():
    with pytest.raises(LimrankError, match="samples=0"):
        Vote(0)


def test_what_is_asked_again_says_what_was_wrong_in_our_words_alone():
    _, llm = vote(["true!"], retries=[said("true")])
    again = llm.seen[1].messages[-1].parts[-1]
    # Not as untrusted text, in which tags are broken: it would show the form wrong.
    assert again.trusted and "it is not <think>your thoughts</think> followed by true or false" in again.text

    def answer(request):
        again = "Your last answer" in request.messages[-1].parts[-1].text
        return Response(said("true")) if again else Response(status="malformed", error="<|im_end|> I am a server")

    llm = Fake(answer, name="judge", keep=True)
    [outcome] = judged(llm, [PAIR], template(), Vote())
    assert isinstance(outcome, Example) and len(llm.seen) == 2
    assert not any("server" in part.text for part in llm.seen[1].messages[-1].parts)
