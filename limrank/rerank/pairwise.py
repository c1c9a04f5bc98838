"""Pairwise: which of these two passages is more relevant? Every pair is asked about in both orders.

A document wins a comparison when both orders name it. Where the orders disagree, which tells how much a model likes the
first place, or where a model finds both labels equally probable, the comparison is a tie: half a win for each, and
first-stage order where one has to go first. Disagreements are counted (`order_disagreements`).

    allpairs    every document with every other one; the score is the share of comparisons won
    heapsort    a heap of pairs, as far as the best k
    sliding     k passes from the end to the front

Requests for 100 documents and k=10: 9,900, about 500, up to 1,890. With the last two the score is 1 / rank. A
comparison without usable answers is counted (`failed_comparisons`); in allpairs it is nobody's, in the others
first-stage order decides it.

Source: PRP (Qin et al., NAACL 2024 Findings, arXiv:2306.17563), in scoring mode.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Generator, Sequence
from typing import Literal, TypeAlias, TypeVar

from limrank import plugins
from limrank.errors import BadFile, LimrankError
from limrank.llm import LLM
from limrank.prompt import Prompt
from limrank.records import Request, Response
from limrank.rerank._drive import Driven, Steps
from limrank.rerank._ranking import Job
from limrank.rerank._several import Evidence, best_label, question
from limrank.rerank._sorting import Group, decided, heapsort, sliding

PROMPT = "pairwise"
MANY = True
IDLE: plugins.Idle = {"order": {"allpairs": ("k",)}}

T = TypeVar("T")
Asking: TypeAlias = Generator[list[Request], list[Response], T]
Order = Literal["allpairs", "heapsort", "sliding"]


def load(llm: LLM, prompt: Prompt, *, order: Order = "heapsort", k: int = 10, words: int = 300) -> Driven:
    """A reranker that asks for the better of two.

    Args:
        llm: Must know the full distribution (`choices`).
        prompt: For several documents, with two choices; each must be one token of the model.
        order: Which pairs are asked about: `allpairs`, `heapsort` or `sliding`.
        k: Documents that are sorted by the last two; the others follow in first-stage order.
        words: Words of a passage that are shown, which `shortened` counts; 0 shows all, as far as the model has room.

    Raises:
        BadFile: The prompt has not two choices.
        LimrankError: A number is out of range, or an option does nothing beside the others.
    """
    plugins.refuse_idle(load, IDLE, {"order": order, "k": k})
    if k < 1 or words < 0:
        raise LimrankError(f"k={k} words={words}: expected at least 1 and 0")
    if len(prompt.choices) != 2:
        raise BadFile(f"prompt {prompt.name}: {len(prompt.choices)} choices; pairwise needs one for each of two")
    tally = Counter(comparisons=0, failed_comparisons=0, order_disagreements=0, shortened=0)

    def steps(job: Job) -> Steps:
        pairs = _Pairs(job, prompt, llm.name, words, tally)
        positions = range(len(job.documents))
        if order == "allpairs":
            return pairs.evidence.ranking((yield from pairs.shares(positions)))
        sort = heapsort(positions, k=k, children=2) if order == "heapsort" else sliding(positions, k=k)
        return pairs.evidence.placed((yield from decided(sort, pairs.best)))

    return Driven("pairwise", llm, steps, tally)


class _Pairs:
    """The comparisons of one query; a pair is asked about once."""

    def __init__(self, job: Job, prompt: Prompt, llm_name: str, words: int, tally: Counter[str]) -> None:
        self.evidence = Evidence(job, tally)
        self.job, self.prompt, self.llm_name, self.words, self.tally = job, prompt, llm_name, words, tally
        self.known: dict[Group, float | None] = {}

    def shares(self, positions: Sequence[int]) -> Asking[list[float]]:
        """The share of its answered comparisons that each document won against all the others; 0 where none was."""
        shares: list[list[float]] = [[] for _ in positions]
        pairs = list(itertools.combinations(positions, 2))
        for (first, second), win in zip(pairs, (yield from self.compare(pairs))):
            if win is not None:
                shares[first].append(win)
                shares[second].append(1 - win)
        return [math.fsum(of_one) / max(len(of_one), 1) for of_one in shares]

    def best(self, groups: list[Group]) -> Asking[list[int]]:
        """The best of each group, by comparing its first with its second, the winner with the third, and so on."""
        leaders = [group[0] for group in groups]
        for place in range(1, max(map(len, groups), default=0)):
            going = [i for i, group in enumerate(groups) if place < len(group)]
            pairs = [(leaders[i], groups[i][place]) for i in going]
            for i, win in zip(going, (yield from self.compare(pairs))):
                if win == 0:
                    leaders[i] = groups[i][place]
        return leaders

    def compare(self, pairs: Sequence[Group]) -> Asking[list[float | None]]:
        """What the first of each pair won: 1, 0, or 0.5 in a tie; None where there is no answer."""
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self.known]
        answers = yield [self.ask(shown) for pair in new for shown in (pair, pair[::-1])]
        for pair, forward, backward in zip(new, answers[::2], answers[1::2]):
            usable = self.evidence.accepts(pair, forward, backward)
            self.known[pair] = self.won(forward, backward) if usable else None
        return [self.known[pair] for pair in pairs]

    def ask(self, pair: Group) -> Request:
        return question(self.job, pair, self.prompt, words=self.words, tally=self.tally)

    def won(self, forward: Response, backward: Response) -> float:
        """What the first one won: the first label means it in the forward answer, the second in the backward one."""
        labels = [best_label(answer, self.prompt, self.llm_name) for answer in (forward, backward)]
        if any(answer.logprobs[0] == answer.logprobs[1] for answer in (forward, backward)):
            return 0.5
        if labels[0] == labels[1]:
            self.tally["order_disagreements"] += 1
            return 0.5
        return 1.0 if labels == [0, 1] else 0.0
