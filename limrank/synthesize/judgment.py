"""The third stage: a judge reasons about every query and passage and decides, in the format that is trained.

`<think> ... </think> true`, or false, and nothing else; a sample in another form, or one that was cut off, is
no verdict. Several samples vote. Knows nothing of how the passages were made but what was intended with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from limrank.errors import LimrankError
from limrank.llm import LLM
from limrank.llm._drive import Asking
from limrank.records import Document, contents
from limrank.synthesize._ask import Malformed, Trouble, asked, example_id, outcomes
from limrank.synthesize._template import Template, load
from limrank.synthesize.examples import Dropped, Example, Judgment, Outcome

VERDICT = re.compile(r"\s*<think>(?P<chain>.*)</think>\s*(?P<label>true|false)\.?\s*", re.DOTALL | re.IGNORECASE)
TAG = re.compile(r"</?think>")
# A judge whose server has read the opening tag as its own begins with the thought.
OPENED = "<think>"


@dataclass(frozen=True)
class Vote:
    """How a label comes about.

    Attributes:
        samples: Asked for; with one, the judge is greedy.
        agreement: Drop what fewer of the usable samples agree on than this share.
        disagreement: What becomes of a pair whose label is not the intended one: it is dropped, or takes the label.
        seed: Of the sampling.
    """

    samples: int = 1
    agreement: float = 0.5
    disagreement: Literal["drop", "relabel"] = "drop"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or not 0 <= self.agreement <= 1:
            raise LimrankError(
                f"samples={self.samples}, agreement={self.agreement}: expected 1 or more, and a share from 0 to 1"
            )


def template(folder: Path | None = None) -> Template:
    """The words of this stage."""
    return load("judgment", fills=("query", "passage"), words={}, folder=folder)


def judged(llm: LLM, examples: Iterable[Example], words: Template, vote: Vote) -> Iterator[Outcome]:
    """Every example with its label and the chains that led to it, or a dropped one.

    Dropped for `tie` (as many say true as false), `agreement` (too few agree), `disagreement` (not what was intended),
    `malformed` (no usable sample), `failed` (a sample failed).

    Args:
        llm: The judge.
        examples: From `passages`.
        words: From `template`.
        vote: How many samples, and what they decide.
    """
    return outcomes(llm, examples, partial(_judged, llm=llm, words=words, vote=vote), label=example_id)


def query_text(example: Example) -> str:
    """The query as a reranker reads it, its instruction behind it."""
    return f"{example.query} {example.instruction}" if example.instruction else example.query


def passage_text(example: Example) -> str:
    """The passage as a reranker reads it, behind its title."""
    return contents(Document(example.example_id, example.passage, example.title))


def chain_of(example: Example) -> str:
    """The first chain whose verdict is the label; empty where there is none."""
    return next((judgment.chain for judgment in example.judgments if judgment.label == example.label), "")


def read(text: str) -> Judgment:
    """A chain and its verdict.

    Raises:
        Malformed: It is not exactly a thought in its tags and the verdict behind it.
    """
    said = text if text.lstrip().startswith(OPENED) else OPENED + text
    match = VERDICT.fullmatch(said)
    if not match or TAG.search(match["chain"]):
        raise Malformed("it is not <think>your thoughts</think> followed by true or false")
    if not match["chain"].strip():
        raise Malformed("there is no thought in it")
    return Judgment(match["chain"].strip(), match["label"].lower() == "true")


def _judged(example: Example, *, llm: LLM, words: Template, vote: Vote) -> Asking[list[Outcome]]:
    values = {"query": query_text(example), "passage": passage_text(example)}
    requests = [
        words.request(values, seed=f"{vote.seed} {number} {example.example_id}") for number in range(vote.samples)
    ]
    if vote.samples == 1:
        requests = [request._replace(temperature=0.0, seed=0) for request in requests]
    answers = yield from asked([(request, read) for request in requests])
    judgments = tuple(answer for answer in answers if isinstance(answer, Judgment))
    example = example._replace(judgments=judgments, judge=llm.name)
    # A sample that failed is no abstention: the next run asks for it again, and more of them vote.
    troubles = [answer for answer in answers if isinstance(answer, Trouble)]
    if grave := next((one for one in troubles if one.reason == "failed" or not judgments), None):
        return [Dropped(example, grave.reason, f"judgment: {grave.detail}")]
    return [_decided(example, vote)]


def _decided(example: Example, vote: Vote) -> Outcome:
    total = len(example.judgments)
    positive = sum(judgment.label for judgment in example.judgments)
    example = example._replace(grade=positive / total)
    if 2 * positive == total:
        return Dropped(example, "tie", f"{positive} of {total} samples say relevant")
    label, most = 2 * positive > total, max(positive, total - positive)
    example = example._replace(label=label, agreement=most / total)
    if most / total < vote.agreement:
        return Dropped(example, "agreement", f"{most} of {total} samples agree")
    if example.intended is not None and example.intended != label and vote.disagreement == "drop":
        said = {True: "relevant", False: "not relevant"}
        return Dropped(example, "disagreement", f"meant to be {said[example.intended]}, judged {said[label]}")
    return example
