"""Setwise: which of these few passages is the most relevant? Sorts the best k with as few questions as that takes.

A question shows a few passages, in first-stage order, under labels of one token each; the answer is the label with the
largest log-probability, the first of equals. Questions that do not depend on each other are asked together. A question
without a usable answer is decided by first-stage order, and counted (`failed_comparisons`). The score is 1 / rank.

Questions for 100 documents, k=10, children=3: 69 to about 81 with heapsort, in 40 steps; with insertion 45 in 15 steps
where the first stage is perfect, but about 150 in 110 where it is worth nothing.

Source: Zhuang et al., SIGIR 2024, arXiv:2310.09497; insertion: Podolak et al., SIGIR 2025, arXiv:2504.10509. Theirs
shows the node of the heap first, then its children.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from functools import partial
from typing import Literal

from limrank.errors import BadFile, LimrankError
from limrank.llm import LLM
from limrank.prompt import Prompt
from limrank.records import Request, Response
from limrank.rerank._drive import Driven, Steps
from limrank.rerank._ranking import Job
from limrank.rerank._several import Evidence, best_label, question
from limrank.rerank._sorting import Group, decided, heapsort, insertion

PROMPT = "setwise"
MANY = True

Order = Literal["heapsort", "insertion"]


def load(
    llm: LLM, prompt: Prompt, *, order: Order = "heapsort", k: int = 10, children: int = 3, words: int = 300
) -> Driven:
    """A reranker that asks for the best of a few.

    Args:
        llm: Must know the full distribution (`choices`).
        prompt: For several documents, with a choice for each of them; each must be one token of the model.
        order: `heapsort`, or `insertion`, which asks less where the first stage is right.
        k: Documents that are sorted; the others follow in first-stage order.
        children: Documents that are compared with another one; a question shows one more.
        words: Words of a passage that are shown, which `shortened` counts; 0 shows all, as far as the model has room.

    Raises:
        BadFile: The prompt has too few choices.
        LimrankError: A number is out of range.
    """
    if k < 1 or children < 2 or words < 0:
        raise LimrankError(f"k={k} children={children} words={words}: expected at least 1, 2 and 0")
    if len(prompt.choices) < children + 1:
        raise BadFile(
            f"prompt {prompt.name}: {len(prompt.choices)} choices; children={children} asks about {children + 1} "
            "documents at a time, each of which needs one"
        )
    tally = Counter(comparisons=0, failed_comparisons=0, shortened=0)
    sort = partial(heapsort if order == "heapsort" else insertion, k=k, children=children)

    def steps(job: Job) -> Steps:
        evidence = Evidence(job, tally)

        def choose(groups: list[Group]) -> Generator[list[Request], list[Response], list[int]]:
            answers = yield [question(job, group, prompt, words=words, tally=tally) for group in groups]
            return [
                group[best_label(answer, prompt, llm.name)] if evidence.accepts(group, answer) else group[0]
                for group, answer in zip(groups, answers)
            ]

        return evidence.placed((yield from decided(sort(range(len(job.documents))), choose)))

    return Driven("setwise", llm, steps, tally)
