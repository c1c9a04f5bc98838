"""limrank/rerank/_parse.py"""

import random
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limrank.prompt import Prompt
from limrank.rerank._parse import LETTERS, labels, permutation, without_labels

ANSWERS = tomllib.loads(Path(__file__).with_name("permutations.toml").read_text(encoding="utf-8"))["answer"]


def names_of(answer: dict[str, Any]) -> tuple[str, ...]:
    count = answer.get("count", 5)
    return tuple(LETTERS[:count]) if answer.get("letters") else tuple(str(i + 1) for i in range(count))


@given(st.permutations(range(1, 21)), st.integers(0, 20))
def test_what_was_asked_for_is_read_as_it_stands(order: list[int], end: int) -> None:
    names = [str(i) for i in range(1, 21)]
    text = " > ".join(f"[{i}]" for i in order)
    assert permutation(text, names) == ("strict", tuple(i - 1 for i in order), "")
    # The first half or more of it is repaired, the others follow in the order given; less is malformed.
    part = permutation(" > ".join(f"[{i}]" for i in order[:end]), names)
    if end == 20:
        assert part.kind == "strict"
    elif end >= 10:
        assert part.kind == "repaired" and part.places[:end] == tuple(i - 1 for i in order[:end])
        assert list(part.places[end:]) == sorted(i - 1 for i in order[end:])
    else:
        assert part.kind == "malformed" and part.places == () and part.why


@given(st.text('[]()<>123 \n,.=-ABabx"{}:;*think/answer', max_size=200), st.integers(1, 6), st.booleans())
def test_whatever_is_said_all_documents_come_out_once_or_none(text: str, count: int, whole: bool) -> None:
    read = permutation(text, [str(i + 1) for i in range(count)], whole=whole)
    assert sorted(read.places) in ([], list(range(count)))
    assert (read.kind == "malformed") == (read.places == ()) == bool(read.why)


def test_the_corpus_has_malformed_answers_enough() -> None:
    assert sum(not answer.get("strict") for answer in ANSWERS) >= 60
    assert sum("says" not in answer for answer in ANSWERS) >= 40
    assert len({answer["what"] for answer in ANSWERS}) == len(ANSWERS)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer["what"])
def test_the_corpus(answer: dict[str, Any]) -> None:
    names = names_of(answer)
    read = permutation(answer["text"], names, whole=not answer.get("cut"))
    if "says" not in answer:
        assert read.kind == "malformed" and read.places == ()
        assert answer["why"] in read.why
        return
    said = [names.index(name) for name in answer["says"].split()]
    assert read.kind == ("strict" if answer.get("strict") else "repaired")
    assert list(read.places) == said + [place for place in range(len(names)) if place not in said]


@pytest.mark.parametrize(
    "text",
    [
        "[1] > " * 20_000,
        " " * 100_000 + "[2]",
        "[" * 50_000,
        "[1] > [2]\n" * 5_000,
        "id " * 30_000,
        "1 " * 50_000 + "x",
        "<answer>" * 10_000,
        "1. [2]\n" * 10_000,
    ],
    ids=lambda text: f"{text[:9]!r}...",
)
def test_a_loop_of_a_model_is_read_in_no_time(text: str) -> None:
    start = time.perf_counter()
    permutation(text, [str(i + 1) for i in range(20)])
    assert time.perf_counter() - start < 2


def test_labels_are_what_the_prompt_calls_its_documents() -> None:
    assert labels(Prompt("p", (("", "{query}{passages}"),), item="[{number}] {passage}"), 3) == ("1", "2", "3")
    assert labels(Prompt("p", (("", "{query}{passages}"),), item="[{letter}] {passage}"), 3) == ("A", "B", "C")


def test_a_text_that_went_through_the_prompt_holds_no_label() -> None:
    assert without_labels("see [3] > [12], [C] and a[i], [new], []") == "see (3) > (12), (C) and a[i], [new], []"
    rng = random.Random(0)
    text = "".join(rng.choices("[]12AB >", k=5000))
    # What is left cannot be read as a ranking line.
    assert permutation(f"Query: {without_labels(text)}", ["1", "2"]).kind == "malformed"
