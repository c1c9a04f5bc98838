"""What comparisons of a few documents have in common: how they are asked for, and what follows from the answers.

Knows nothing of the order in which questions are asked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from limrank.errors import LimrankError
from limrank.prompt import Prompt
from limrank.records import Document, Request, Response
from limrank.rerank._ranking import Job, Ranking, Verdict, ranked

USABLE = ("ok", "forced")


class Evidence:
    """Which documents of a query at least one answered comparison was about.

    Attributes:
        tally: Counts `comparisons`, and of these `failed_comparisons`, whose answers could not be used.
    """

    def __init__(self, job: Job, tally: Counter[str]) -> None:
        """Begin without any."""
        self.tally = tally
        self._job = job
        self._answered: set[int] = {0} if len(job.documents) == 1 else set()
        self._errors: dict[int, str] = {}

    def accepts(self, group: Sequence[int], *answers: Response) -> bool:
        """Whether all answers to a comparison of these documents can be used; counted either way."""
        self.tally["comparisons"] += 1
        if bad := next((answer for answer in answers if answer.status not in USABLE), None):
            self.tally["failed_comparisons"] += 1
            self._errors |= dict.fromkeys(group, bad.error or bad.status)
            return False
        self._answered.update(group)
        return True

    def ranking(self, scores: Sequence[float], *, shown: Callable[[float], float] | None = None) -> Ranking:
        """The documents by score; one that no answered comparison was about has no verdict.

        A document that is alone needs none. `shown` as in `ranked`.
        """
        verdicts = [
            Verdict(score) if i in self._answered else Verdict(None, self._errors.get(i, ""))
            for i, score in enumerate(scores)
        ]
        return ranked(self._job, verdicts, shown=shown)

    def placed(self, order: Sequence[int]) -> Ranking:
        """The same from an order of all documents: the score is 1 / rank among those that have one."""
        ranks = {i: rank for rank, i in enumerate((i for i in order if i in self._answered), 1)}
        return self.ranking([-float(ranks.get(i, 0)) for i in range(len(order))], shown=lambda score: -1 / score)


def question(job: Job, group: Sequence[int], prompt: Prompt, *, words: int, tally: Counter[str]) -> Request:
    """Which of these documents? They are shown in this order, and each has one of the choices.

    Documents that `words` cut are counted as `shortened`, once for each showing.
    """
    whole = [job.documents[i] for i in group]
    documents = [clipped(document, words) for document in whole]
    tally["shortened"] += sum(one != other for one, other in zip(whole, documents))
    filled = prompt.fill_list(job.query, documents)
    return Request(
        filled.messages,
        doc_ids=tuple(document.doc_id for document in documents),
        shared=filled.shared,
        cut=filled.cut,
        choices=prompt.choice_parts[: len(group)],
    )


def clipped(document: Document, words: int) -> Document:
    """The document with the first so many words of its text; 0 is all of them."""
    if not words:
        return document
    beginning = re.match(rf"(?:\s*\S+){{0,{words}}}", document.text)
    if beginning is None or not document.text[beginning.end() :].strip():
        return document
    return document._replace(text=beginning[0])


def best_label(answer: Response, prompt: Prompt, llm_name: str) -> int:
    """The place of the most probable label, the first of equals.

    Raises:
        LimrankError: A label is not one token; the probability of a spelling says nothing about a choice.
    """
    for label, tokens in zip(prompt.choices, answer.choice_tokens):
        if tokens != 1:
            raise LimrankError(
                f"prompt {prompt.name}: the label {label!r} is {tokens} tokens for {llm_name}; labels that are "
                "compared need to be one token each"
            )
    return max(range(len(answer.logprobs)), key=answer.logprobs.__getitem__)
