"""Pointwise: is this passage relevant, true or false? One question for each document, with or without a thought first.

score = P(true) / (P(true) + P(false)), both from the model's full distribution over its vocabulary at the position
behind prompt and thought. Documents are ordered by the log-odds ln P(true) - ln P(false), which still differ where the
probabilities have long become 1.0; the calls file keeps both logarithms. With graded labels the score is the expected
grade, sum of P(label) * value over sum of P(label).

Source: monoT5 (Nogueira et al. 2020, arXiv:2003.06713), with a decoder in the place of T5; with a thought Rank1 (Weller
et al. 2025, arXiv:2502.18418) and LimRank (Song et al. 2025, arXiv:2510.23544).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

from limrank import plugins
from limrank.errors import BadFile, LimrankError
from limrank.llm import LLM
from limrank.prompt import Prompt
from limrank.records import Request, Response
from limrank.rerank._drive import Driven, Steps
from limrank.rerank._ranking import Job, Ranking, Verdict, ranked, sigmoid, z_scores
from limrank.rerank._thought import Asking, Thinking, reasoned

PROMPT = "true-false"
IDLE: plugins.Idle = {
    "think": {
        "none": ("budget", "samples", "temperature", "stop_when", "blend"),
        "full": ("blend",),
        "top": ("scale",),
    }
}

# How far, in z-scores, documents that were thought about are at least above the others.
GAP = 0.01

Scale = Literal["probability", "logit"]
Judge: TypeAlias = Callable[[Response], Verdict]


class How(NamedTuple):
    """What `load` was told, checked.

    Attributes:
        thinking: How to think; None never does.
        top: Documents that are thought about, the best without a thought; 0 is all.
        samples: Thoughts for each of them.
        blend: Weight of the score with a thought against the one without, where there are both.
        scale: What the run shows.
    """

    thinking: Thinking | None
    top: int
    samples: int
    blend: float
    scale: Scale


def prompt_for(options: Mapping[str, Any]) -> str:
    """The prompt for whoever names none: one that opens a thought, where a thought is wanted."""
    return PROMPT if options["think"] in ("auto", "none") else "rank1"


def load(
    llm: LLM,
    prompt: Prompt,
    *,
    think: str = "auto",
    budget: int = 1024,
    samples: int = 1,
    temperature: float = 0.0,
    stop_when: float = 0.0,
    blend: float = 0.5,
    scale: Scale = "probability",
) -> Driven:
    """A reranker that asks for a label.

    Args:
        llm: Must know the full distribution (`choices`).
        prompt: With two choices, the relevant one first, or with graded ones and their `values`; each must be one token
            of the model. One with `close` can think.
        think: `none`; `full`: about every document; `top:K`: all are scored without a thought, and the K best of them
            are thought about; they stay above the others. `auto` is full where the prompt opens a thought.
        budget: Tokens of a thought; one that needs more is closed where its last sentence ends, and the answer counts
            as forced.
        samples: Thoughts for each document, whose log-odds are averaged; needs a temperature above 0.
        temperature: Of the thoughts; 0 is greedy.
        stop_when: A thought ends as soon as its log-odds are this far from 0, looked at every 64 tokens; 0 never.
        blend: For `top:K`: weight of the log-odds with a thought against those without, both as z-scores of the K.
        scale: What the run shows: `probability`, or `logit`, the log-odds, which later fusion needs. `top:K` shows
            z-scores, in which the K are lifted above the others, and a prompt with grades the expected one.

    Raises:
        BadFile: The prompt has not two choices or values for them, or cannot do without a thought, or cannot think.
        LimrankError: A number is out of range, or an option does nothing beside the others.
    """
    if len(prompt.choices) != 2 and not prompt.values:
        raise BadFile(
            f"prompt {prompt.name}: {len(prompt.choices)} choices; pointwise compares two, the relevant one first, "
            'as in choices = [" true", " false"], or grades with their values'
        )
    top = _top(think)
    if think == "auto":
        think = "full" if prompt.close else "none"
    if think != "none" and not prompt.close:
        raise BadFile(
            f"prompt {prompt.name}: opens no thought (it has no close), so think={think} cannot be asked with it; "
            "rank1 does"
        )
    if (think == "none" or top) and prompt.close and not prompt.empty:
        raise BadFile(f"prompt {prompt.name}: opens a thought and says nothing (empty) that could stand for it")
    given = {"budget": budget, "samples": samples, "temperature": temperature, "stop_when": stop_when}
    plugins.refuse_idle(load, IDLE, given | {"think": think, "blend": blend, "scale": scale})
    if budget < 1 or samples < 1:
        raise LimrankError(f"budget={budget} samples={samples}: expected at least 1")
    if temperature < 0 or stop_when < 0:
        raise LimrankError(f"temperature={temperature} stop_when={stop_when}: expected 0 or more")
    if samples > 1 and not temperature:
        raise LimrankError(f"samples={samples}: at temperature=0 all thoughts are the same; say temperature=0.6")
    if stop_when and len(prompt.choices) != 2:
        raise LimrankError(f"stop_when={stop_when}: log-odds are of two choices, and there are {len(prompt.choices)}")
    if not 0 <= blend <= 1:
        raise LimrankError(f"blend={blend}: expected a weight from 0 (without a thought) to 1 (with one)")
    if prompt.values and scale != "probability":
        raise LimrankError(f"scale={scale}: prompt {prompt.name} has grades, and the run shows the expected one")
    thinking = Thinking(prompt.close, budget, temperature, stop_when=stop_when) if think != "none" else None
    how = How(thinking, top, samples, blend, scale)
    return Driven("pointwise", llm, partial(_steps, llm_name=llm.name, prompt=prompt, how=how))


def _top(think: str) -> int:
    """K of `top:K`, else 0."""
    word, colon, number = think.partition(":")
    if word == "top" and colon and number.isdecimal() and int(number) >= 1:
        return int(number)
    if think not in ("auto", "none", "full"):
        raise LimrankError(f"think={think}: expected auto, none, full, or top:K as in top:20")
    return 0


def _steps(job: Job, *, llm_name: str, prompt: Prompt, how: How) -> Steps:
    everything = range(len(job.documents))
    judge = partial(_verdict, prompt=prompt, llm_name=llm_name)
    if how.thinking is None:
        answers = yield [_request(job, i, prompt, thinks=False) for i in everything]
        return _shown(job, list(map(judge, answers)), prompt, how.scale)
    if not how.top:
        requests = [_request(job, i, prompt, thinks=True) for i in everything]
        return _shown(job, (yield from _thought_about(requests, how, judge)), prompt, how.scale)
    answers = yield [_request(job, i, prompt, thinks=False) for i in everything]
    quick = list(map(judge, answers))
    judged = [i for i in everything if quick[i].score is not None]
    best = sorted(judged, key=lambda i: -(quick[i].score or 0.0))[: how.top]
    requests = [_request(job, i, prompt, thinks=True) for i in best]
    slow = yield from _thought_about(requests, how, judge)
    return ranked(job, lifted(quick, dict(zip(best, slow)), how.blend))


def _thought_about(requests: list[Request], how: How, judge: Judge) -> Asking[list[Verdict]]:
    """The mean over the samples; a document has a verdict where every sample has."""
    assert how.thinking is not None
    of_samples: list[list[Verdict]] = []
    for seed in range(how.samples):
        answers = yield from reasoned(requests, how.thinking._replace(seed=seed))
        of_samples.append(list(map(judge, answers)))
    return [_mean(verdicts) for verdicts in zip(*of_samples, strict=True)]


def lifted(quick: Sequence[Verdict], slow: dict[int, Verdict], blend: float) -> list[Verdict]:
    """z-scores without a thought, and for those in `slow` blend * z(with) + (1 - blend) * z(without), above all others.

    z is over all judged documents for the ones, and over the documents in `slow` for the others, which are lifted by
    one constant, so that the lowest of them is still above the rest.
    """
    result = list(quick)
    judged = [i for i, verdict in enumerate(quick) if verdict.score is not None]
    for i, z in zip(judged, z_scores([quick[i].score or 0.0 for i in judged])):
        result[i] = Verdict(z)
    both = [i for i in slow if slow[i].score is not None]
    without = z_scores([quick[i].score or 0.0 for i in both])
    with_thought = z_scores([slow[i].score or 0.0 for i in both])
    mixed = {i: blend * thought + (1 - blend) * quickly for i, thought, quickly in zip(both, with_thought, without)}
    rest = [result[i].score or 0.0 for i in judged if i not in slow]
    lift = max(rest) + GAP - min(mixed.values()) if rest and mixed else 0.0
    for i, verdict in slow.items():
        result[i] = Verdict(mixed[i] + max(lift, 0.0)) if i in mixed else verdict
    return result


def _request(job: Job, i: int, prompt: Prompt, *, thinks: bool) -> Request:
    document = job.documents[i]
    filled = prompt.fill(job.query, document)
    if not thinks:
        filled = prompt.unthinking(filled)
    return Request(
        filled.messages,
        doc_ids=(document.doc_id,),
        shared=filled.shared,
        cut=filled.cut,
        choices=prompt.choice_parts,
    )


def _verdict(answer: Response, *, prompt: Prompt, llm_name: str) -> Verdict:
    if answer.status not in ("ok", "forced"):
        return Verdict(None, answer.error or answer.status)
    _check_labels(answer, prompt, llm_name)
    if not prompt.values:
        relevant, other = answer.logprobs
        return Verdict(relevant - other)
    best = max(answer.logprobs)
    weights = [math.exp(logprob - best) for logprob in answer.logprobs]
    return Verdict(math.fsum(map(operator.mul, weights, prompt.values)) / math.fsum(weights))


def _mean(verdicts: Sequence[Verdict]) -> Verdict:
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    if len(scores) < len(verdicts):
        return next(verdict for verdict in verdicts if verdict.score is None)
    return Verdict(math.fsum(scores) / len(scores))


def _shown(job: Job, verdicts: Sequence[Verdict], prompt: Prompt, scale: Scale) -> Ranking:
    return ranked(job, verdicts, shown=sigmoid if scale == "probability" and not prompt.values else None)


def _check_labels(answer: Response, prompt: Prompt, llm_name: str) -> None:
    for label, tokens in zip(prompt.choices, answer.choice_tokens):
        # Comparing P("true") with P("fal") * P("se" | "fal") would be comparing a choice with a spelling.
        if tokens != 1:
            raise LimrankError(
                f"prompt {prompt.name}: the choice {label!r} is {tokens} tokens for {llm_name}; pointwise needs "
                "choices of one token"
            )
