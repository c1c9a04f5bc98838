"""limrank/rerank/_thought.py"""

import pytest

from limrank.llm import checked
from limrank.llm._tokens import Tokens
from limrank.records import Message, Part, Request, Response
from limrank.rerank._thought import CLOSING, Thinking, closed, joined, reasoned

LABELS = (Part(" true", True), Part(" false", True))
THINKING = Thinking("</think>", 100)


def ask(text: str = "Q <think>") -> Request:
    return Request((Message("", (Part(text, True),)),), choices=LABELS)


def thought(text: str, reason: str = "length", **fields: object) -> Response:
    tokens = len(text.split())
    return Response(text, finish_reason=reason, completion_tokens=tokens, **fields)


def conversation(thinking: Thinking, scripts: list[list[Response]], looks: list[list[float]]):
    """Drive `reasoned` by scripts: each document's pieces of thought, and the log-odds of its looks."""
    steps = reasoned([ask(f"{i} <think>") for i in range(len(scripts))], thinking)
    asked: list[list[Request]] = []
    requests = next(steps)
    while True:
        asked.append(requests)
        answers = []
        for request in requests:
            i = int(request.messages[0].parts[0].text.split()[0])
            if request.max_tokens:
                answers.append(scripts[i].pop(0))
            else:
                answers.append(checked(request, Response(logprobs=(looks[i].pop(0), 0.0), choice_tokens=(1, 1))))
        try:
            requests = steps.send(answers)
        except StopIteration as stop:
            return stop.value, asked


@pytest.mark.parametrize(
    ("text", "reason", "kept", "bridge"),
    [
        # It ended by itself: the tag is said again by the bridge, with nothing between.
        ("It is about cats.\n</think>", "stop", "It is about cats.\n", "</think>"),
        ("</think>", "stop", "", "</think>"),
        # The budget ran out, or the model stopped without the tag: back to the last whole sentence.
        ("It is. So it mi", "length", "It is.", "\n</think>"),
        ("It costs 3.50 eur", "length", "It costs 3.50 eur", "\n</think>"),
        ('He said "yes." Then', "length", 'He said "yes."', "\n</think>"),
        ("It is relevant.", "eos", "It is relevant.", "\n</think>"),
        ("", "length", "", "\n</think>"),
        # A tag that is not at the end is a part of the text, whatever a passage made the model say.
        ("I quote </think> true. And", "length", "I quote </think> true.", "\n</think>"),
    ],
)
def test_a_thought_is_closed_once(text: str, reason: str, kept: str, bridge: str) -> None:
    after, said = closed(thought(text, reason), "</think>")
    assert (after.text, said) == (kept, bridge)


def test_a_thought_in_pieces_is_one_thought() -> None:
    whole = joined(thought("a b", token_ids=(1, 2), truncated_tokens=7), thought("c</think>", "stop", token_ids=(3,)))
    assert whole == Response(
        "a bc</think>", finish_reason="stop", token_ids=(1, 2, 3), truncated_tokens=7, completion_tokens=3
    )
    # Ids of a part of it would be the ids of another text.
    assert joined(thought("a b", token_ids=(1, 2)), thought("c")).token_ids == ()


def test_thought_then_labels_and_what_was_cut_short_is_forced() -> None:
    scripts = [[thought("Yes.</think>", "stop")], [thought("No. But per")], [thought("Hm.", "eos")]]
    answers, asked = conversation(THINKING, scripts, [[2.0], [-1.0], [0.5]])
    assert [answer.status for answer in answers] == ["ok", "forced", "forced"]
    assert [answer.logprobs[0] for answer in answers] == [2.0, -1.0, 0.5]
    first, second = asked
    assert {(r.max_tokens, r.stop, r.reserve, r.choices, r.after) for r in first} == {
        (100, ("</think>",), CLOSING, (), None)
    }
    assert [(r.max_tokens, r.choices, r.after.text, r.bridge) for r in second] == [
        (0, LABELS, "Yes.", "</think>"),
        (0, LABELS, "No.", "\n</think>"),
        (0, LABELS, "Hm.", "\n</think>"),
    ]


def test_a_failed_thought_is_a_failed_answer_and_its_labels_are_not_asked_for() -> None:
    scripts = [[Response(status="failed", error="no memory")], [thought("Yes.</think>", "stop")]]
    answers, asked = conversation(THINKING, scripts, [[], [2.0]])
    assert (answers[0].status, answers[0].error, answers[0].logprobs) == ("failed", "no memory", ())
    assert answers[1].status == "ok" and len(asked[1]) == 1


def test_a_thought_ends_early_where_the_labels_are_sure() -> None:
    """Budget 10, looked at every 4 tokens: the first is sure at once, the second never, the third closes itself."""
    thinking = THINKING._replace(budget=10, every=4, stop_when=3.0)
    scripts = [
        [thought("a a. a a")],
        [thought("b b b b"), thought(" b b b b"), thought(" b b")],
        [thought("c c c c"), thought("c</think>", "stop")],
    ]
    answers, asked = conversation(thinking, scripts, [[-3.0], [1.0, 1.0, 1.5], [0.0, 0.25]])
    assert [(answer.status, answer.logprobs[0]) for answer in answers] == [("ok", -3.0), ("forced", 1.5), ("ok", 0.25)]
    budgets = [[(r.max_tokens, r.reserve) for r in requests] for requests in asked[::2]]
    # What is asked for now and what is kept free for later make up what is left of the budget, and the tag.
    assert budgets == [[(4, 22)] * 3, [(4, 18)] * 2, [(2, 16)]]
    assert asked[4][0].after.text == "b b b b b b b b"


@pytest.mark.parametrize("text", ["It sleeps.\n</think>", "It sleeps. And the c", "is</think>"])
@pytest.mark.parametrize("control", [True, False])
def test_the_ids_behind_a_thought_are_those_of_its_text(tiny_model, text: str, control: bool) -> None:
    """Where the tag is one token of the vocabulary, and where it is plain characters."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokens = Tokens(tokenizer)
    if not control:
        tag = "</sleep>"
        text = text.replace("</think>", tag)
    else:
        tag = "</think>"
    prompt = "Query: why?\nPassage: the cat\n<think>"
    ids = tokenizer(text, add_special_tokens=False).input_ids
    reason = "stop" if text.endswith(tag) else "length"
    after, bridge = closed(thought(text, reason, token_ids=tuple(ids)), tag)
    request = Request((Message("", (Part(prompt, True),)),), choices=LABELS, after=after, bridge=bridge)
    encoded = tokens.encode(request, 512)
    expected = {"It sleeps. And the c": f"It sleeps.\n{tag}"}.get(text, text)
    decoded = tokenizer.decode(encoded.ids, clean_up_tokenization_spaces=False)
    assert decoded == prompt + expected
    if reason == "stop":
        assert encoded.ids == tokenizer(prompt).input_ids + ids
    assert encoded.choices == tuple(tokenizer(label.text).input_ids for label in LABELS)
