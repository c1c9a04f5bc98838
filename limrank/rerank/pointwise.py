"""Pointwise: is this passage relevant, true or false? One forward pass for each document.

score = P(true) / (P(true) + P(false)), both from the model's full distribution over its vocabulary at the position
after the prompt. Documents are ordered by the log-odds ln P(true) - ln P(false), which still differ where the
probabilities have long become 1.0.

Source: monoT5 (Nogueira et al. 2020, arXiv:2003.06713), with a decoder in the place of T5.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from limrank.errors import BadFile, LimrankError
from limrank.llm import LLM
from limrank.prompt import Prompt
from limrank.records import Request, Response
from limrank.rerank._drive import Driven, Steps
from limrank.rerank._ranking import Job, Verdict, ranked, sigmoid

PROMPT = "true-false"

Scale = Literal["probability", "logit"]


def load(llm: LLM, prompt: Prompt, *, scale: Scale = "probability") -> Driven:
    """A reranker that asks for a label.

    Args:
        llm: Must know the full distribution (`choices`).
        prompt: With two choices, the relevant one first; each must be one token of the model.
        scale: What the run shows: `probability`, or `logit`, the log-odds, which later fusion needs.

    Raises:
        BadFile: The prompt has not two choices.
    """
    if len(prompt.choices) != 2:
        raise BadFile(
            f"prompt {prompt.name}: {len(prompt.choices)} choices; pointwise compares two, the relevant one first, "
            'as in choices = [" true", " false"]'
        )
    return Driven("pointwise", llm, partial(_steps, llm_name=llm.name, prompt=prompt, scale=scale))


def _steps(job: Job, *, llm_name: str, prompt: Prompt, scale: Scale) -> Steps:
    answers = yield [_request(job, i, prompt) for i in range(len(job.documents))]
    for answer in answers:
        _check_labels(answer, prompt, llm_name)
    shown = sigmoid if scale == "probability" else None
    return ranked(job, [_verdict(answer) for answer in answers], shown=shown)


def _request(job: Job, i: int, prompt: Prompt) -> Request:
    document = job.documents[i]
    filled = prompt.fill(job.query, document)
    return Request(
        filled.messages,
        doc_ids=(document.doc_id,),
        shared=filled.shared,
        cut=filled.cut,
        choices=prompt.choice_parts,
    )


def _verdict(answer: Response) -> Verdict:
    if answer.status not in ("ok", "forced"):
        return Verdict(None, answer.error or answer.status)
    relevant, other = answer.logprobs
    return Verdict(relevant - other)


def _check_labels(answer: Response, prompt: Prompt, llm_name: str) -> None:
    for label, tokens in zip(prompt.choices, answer.choice_tokens):
        # Comparing P("true") with P("fal") * P("se" | "fal") would be comparing a choice with a spelling.
        if tokens != 1:
            raise LimrankError(
                f"prompt {prompt.name}: the choice {label!r} is {tokens} tokens for {llm_name}; pointwise needs "
                "choices of one token"
            )
