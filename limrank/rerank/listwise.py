"""Listwise: show the model many passages at a time and let it put them in order.

Which passages it sees together is the order of work: a sliding window, a top-down partition or a tournament
(`_windows`); how it says what it thinks is a permutation in text (`_parse`), after a thought or at once, or the
probabilities of the passages' labels as the first token. A window whose answer failed or was malformed keeps the order
it had. The score of a document is 1 / rank; a document that no answered window has shown has no verdict.

Sources: RankGPT (Sun et al. 2023, arXiv:2304.09542), FIRST (Reddy et al. 2024, arXiv:2406.15657), TDPart (Parry et al.
2024, arXiv:2405.14589), ReasonRank (Liu et al. 2025, arXiv:2508.07050).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from limrank import plugins
from limrank.errors import BadFile, LimrankError
from limrank.llm import LLM
from limrank.prompt import Prompt
from limrank.records import Document, Request, Response
from limrank.rerank._drive import Driven, Steps
from limrank.rerank._parse import LETTERS, labels, permutation, without_labels
from limrank.rerank._ranking import Job, Verdict, ranked
from limrank.rerank._thought import closed
from limrank.rerank._windows import TOP, Plan, Planner, Window, sliding, together, topdown, tournament

PROMPT = "listwise"
NEEDS = ("query", "passage")
MANY = True
IDLE: plugins.Idle = {
    "order": {"sliding": ("top",), "topdown": ("stride", "passes"), "tournament": ("stride", "passes")},
    "logits": {"true": ("retries",)},
}

Order = Literal["sliding", "topdown", "tournament"]
T = TypeVar("T")
# One window's questions, one after the other.
Asking: TypeAlias = Generator[Request, Response, T]

# Tokens that the name of a document takes in an answer, `[100] > `, at most; and what an answer may have around them.
TOKENS_A_NAME = 8
TOKENS_AROUND = 16
# Of an answer that is asked for again: greedy would only repeat itself.
TEMPERATURE = 0.7
BUDGET = 2048
COUNTS = ("windows", "repaired", "malformed", "retried", "forced", "failed", "shortened", "truncated")


class How(NamedTuple):
    """What `load` was told, checked, and where the method counts."""

    prompt: Prompt
    llm_name: str
    logits: bool
    think: int
    retries: int
    words: int
    characters: int
    tally: Counter[str]


class Outcome(NamedTuple):
    """A window in its new order, or None and why there is none."""

    window: Window | None
    error: str = ""


def prompt_for(options: Mapping[str, Any]) -> str:
    """The prompt for whoever names none: letters for `logits`, a thought for `think`."""
    return "listwise-letter" if options["logits"] else "listwise-think" if options["think"] else PROMPT


def load(
    llm: LLM,
    prompt: Prompt,
    *,
    order: Order = "sliding",
    window: int = 20,
    stride: int = 0,
    passes: int = 1,
    top: int = 0,
    logits: bool = False,
    think: int | None = None,
    retries: int = 1,
    words: int = 300,
    characters: int = 0,
) -> Driven:
    """A reranker that asks for the order of many passages at once.

    Counted are `windows` (asked about), `repaired` and `malformed` answers, `retried` questions, `forced` (thoughts
    that ran out of budget), `failed` windows, `shortened` passages (cut to `words` or `characters`, once for
    each showing) and `truncated` questions (the model had no room for all of a passage).

    Args:
        llm: For `logits`: must know the full distribution.
        prompt: For several documents. Its documents have numbers or letters; default `listwise`, `listwise-letter` for
            `logits`, `listwise-think` for `think`.
        order: `sliding` is bottom-up, a window after the other; the other two ask about several windows at a time.
            `topdown` compares with the document at rank `top` of the first window, which pays where few documents are
            above it. `tournament` lets those below the first window play for a place in it, at two thirds of the cost
            of sliding and a third of its steps.
        window: Passages seen at a time.
        stride: Passages by which a sliding window moves; so many fewer than the window are handed on. 0 is half of it.
        passes: Times a sliding window goes all the way. After p passes of right answers, the best
            p * (window - stride) documents are in their places.
        top: Documents that right answers put into their places, for `topdown` (0 is 10) and `tournament` (0 is 3 in a
            window of 20); more cost more.
        logits: Order by the probability of each label as the answer's first token; one token is computed.
        think: Tokens of a thought before the answer, for a prompt that asks for one (None: 2,048 for such a prompt); a
            thought that is longer is closed, and the answer counts as forced.
        retries: Times that a malformed answer is asked for again, at a temperature.
        words: Words shown of a passage, in which white space becomes a blank; 0 shows all, and white space as it is.
            `[1]` in a passage or query becomes `(1)`: brackets are for labels.
        characters: Characters shown of a passage, of those that `words` leaves; 0 is all.

    Raises:
        BadFile: The prompt does not say which document is which, or does not go with `logits` or `think`.
        LimrankError: A number is out of range, or an option does nothing beside the others.
    """
    given = {"order": order, "stride": stride, "passes": passes, "top": top, "logits": logits, "retries": retries}
    plugins.refuse_idle(load, IDLE, given)
    if think is None:
        think = BUDGET if prompt.close else 0
    _check_prompt(prompt, window=window, logits=logits, think=think)
    for name, value, least in (
        ("passes", passes, 1),
        ("think", think, 0),
        ("retries", retries, 0),
        ("words", words, 0),
        ("characters", characters, 0),
    ):
        if value < least:
            raise LimrankError(f"{name}={value}: expected at least {least}")
    plan = _planner(order, window=window, stride=stride, passes=passes, top=top)
    tally = Counter(dict.fromkeys(COUNTS, 0))
    how = How(prompt, llm.name, logits, think, retries, words, characters, tally)
    return Driven("listwise", llm, partial(_steps, plan=plan, how=how), tally)


def _check_prompt(prompt: Prompt, *, window: int, logits: bool, think: int) -> None:
    if not {"number", "letter"} & prompt.placeholders:
        raise BadFile(f"prompt {prompt.name}: names no document; an item needs {{number}} or {{letter}}")
    if "letter" in prompt.placeholders and window > len(LETTERS):
        raise LimrankError(f"window={window}: prompt {prompt.name} has a letter for each document, and Z is the 26th")
    if logits and len(prompt.choices) < window:
        raise BadFile(
            f"prompt {prompt.name}: {len(prompt.choices)} choices, and window={window} documents need one each; "
            "listwise-letter has 26"
        )
    if prompt.choices and not logits:
        raise BadFile(f"prompt {prompt.name}: asks for one of its choices, not for an order; say logits=true")
    if logits and think:
        raise LimrankError(f"logits=true think={think}: one token leaves no room for a thought; choose one of them")
    if prompt.close and not think:
        raise LimrankError(f"prompt {prompt.name}: asks for a thought, and think=0 has no token for it")
    if think and not prompt.close:
        raise BadFile(f"prompt {prompt.name}: asks for no thought (it has no close), and think={think} was given")


def _planner(order: Order, *, window: int, stride: int, passes: int, top: int) -> Planner:
    if window < 2:
        raise LimrankError(f"window={window}: expected at least 2 passages to be put in order")
    if not 0 <= stride <= window:
        raise LimrankError(f"stride={stride}: expected 1 to {window}; beyond the window passages are skipped")
    if order == "sliding":
        return partial(sliding, window=window, stride=stride or window // 2, passes=passes)
    if not 0 <= top < window:
        raise LimrankError(f"top={top}: expected less than {window}, the window, as a pivot needs a place in it")
    if order == "tournament":
        if top > window // 2:
            raise LimrankError(f"top={top}: expected at most {window // 2}, half a window, or nobody would ever be out")
        return partial(tournament, window=window, top=top)
    return partial(topdown, window=window, top=top or min(TOP, window - 1))


def _steps(job: Job, *, plan: Planner, how: How) -> Steps:
    """Drive a plan: ask about the windows of a round together, and tell it what came out."""
    working = plan(len(job.documents))
    seen = {0} if len(job.documents) == 1 else set[int]()
    errors: dict[int, str] = {}
    told: list[Window] | None = None
    while isinstance(windows := _advance(working, told), list):
        outcomes = yield from together([_ask(job, window, how) for window in windows])
        told = []
        for window, outcome in zip(windows, outcomes):
            told.append(outcome.window or window)
            if outcome.window:
                seen.update(window)
            else:
                errors.update(dict.fromkeys(window, outcome.error))
    places = {i: place for place, i in enumerate((i for i in windows.order if i in seen), 1)}
    verdicts = [
        Verdict(-float(places[i])) if i in places else Verdict(None, errors.get(i, ""))
        for i in range(len(job.documents))
    ]
    return ranked(job, verdicts, shown=lambda score: -1 / score)


class _Done(NamedTuple):
    order: list[int]


def _advance(working: Plan, told: list[Window] | None) -> list[Window] | _Done:
    """The windows of the next round, or the final order."""
    try:
        return next(working) if told is None else working.send(told)
    except StopIteration as stop:
        return _Done(stop.value)


def _ask(job: Job, window: Window, how: How) -> Asking[Outcome]:
    """Ask about one window until there is an answer that can be read."""
    how.tally["windows"] += 1
    request = _request(job, window, how)
    names, why = labels(how.prompt, len(window)), ""
    for attempt in range(1 if how.logits else 1 + how.retries):
        if attempt:
            how.tally["retried"] += 1
            request = request._replace(temperature=TEMPERATURE, seed=attempt)
        answer = yield from _answered(request, how)
        if answer.status == "failed":
            how.tally["failed"] += 1
            return Outcome(None, answer.error or "failed")
        places, why = _by_logits(answer, how) if how.logits else _by_text(answer, names, how)
        if places:
            return Outcome(tuple(window[place] for place in places))
    how.tally["malformed"] += 1
    return Outcome(None, f"malformed: {why}")


def _by_text(answer: Response, names: tuple[str, ...], how: How) -> tuple[tuple[int, ...], str]:
    if answer.status == "malformed":
        return (), answer.error or answer.status
    read = permutation(answer.text, names, whole=answer.finish_reason != "length", close=how.prompt.close or "</think>")
    how.tally["repaired"] += read.kind == "repaired"
    return read.places, f"{read.why}: {answer.text[-200:]!r}" if read.why else ""


def _by_logits(answer: Response, how: How) -> tuple[tuple[int, ...], str]:
    if answer.status == "malformed":
        return (), answer.error or answer.status
    for place, tokens in enumerate(answer.choice_tokens):
        # A label of two tokens would be compared by how it is spelt: "10" begins as "1" does.
        if tokens != 1:
            raise LimrankError(
                f"prompt {how.prompt.name}: the label of document {place + 1} is {tokens} tokens for {how.llm_name}; "
                "logits=true needs labels of one token: letters, or fewer documents in a window"
            )
    return tuple(sorted(range(len(answer.logprobs)), key=lambda place: -answer.logprobs[place])), ""


def _answered(request: Request, how: How) -> Asking[Response]:
    """The answer, the thought before it included.

    A thought and its answer are one question, which ends with the answer. Where the budget ends first, a second one
    continues from there with the few tokens that an answer takes, behind the tags that are still missing; a thought is
    then closed behind its last whole sentence.
    """
    if not how.think:
        answer = yield request
        how.tally["truncated"] += answer.truncated_tokens > 0
        return answer
    reserve = request.max_tokens + TOKENS_AROUND
    first = yield request._replace(max_tokens=how.think, stop=("</answer>",), reserve=reserve)
    how.tally["truncated"] += first.truncated_tokens > 0
    if first.status != "ok" or first.finish_reason != "length":
        return first
    _, ended, said = first.text.rpartition(how.prompt.close)
    bridge = "" if "<answer>" in said else "\n<answer>"
    if not ended:
        how.tally["forced"] += 1
        first, close = closed(first, how.prompt.close)
        bridge = f"{close}\n<answer>"
    rest = yield request._replace(stop=("</answer>",), after=first, bridge=bridge)
    return rest._replace(text=f"{first.text}{bridge}{rest.text}")


def _request(job: Job, window: Window, how: How) -> Request:
    documents = [_shown(job.documents[i], how) for i in window]
    query = job.query._replace(text=without_labels(job.query.text), instruction=without_labels(job.query.instruction))
    filled = how.prompt.fill_list(query, documents)
    return Request(
        filled.messages,
        doc_ids=tuple(document.doc_id for document in documents),
        shared=filled.shared,
        cut=filled.cut,
        choices=how.prompt.choice_parts[: len(window)] if how.logits else (),
        max_tokens=0 if how.logits else TOKENS_A_NAME * len(window) + TOKENS_AROUND,
    )


def _shown(document: Document, how: How) -> Document:
    """The document as the prompt shows it: no more of it than allowed, no brackets that could be labels."""
    if "title" not in how.prompt.placeholders:
        document = Document(document.doc_id, how.prompt.passage(document))
    text = whole = document.text.strip()
    if how.words:
        words = text.split()
        text, whole = " ".join(words[: how.words]), " ".join(words)
    if how.characters:
        text = text[: how.characters]
    how.tally["shortened"] += text != whole
    return document._replace(text=without_labels(text), title=without_labels(document.title))
