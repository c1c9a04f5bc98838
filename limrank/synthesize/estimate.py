"""What a synthesis will ask before it is started: questions and tokens, stage by stage.

The stages themselves are run, all of them on a few slots or one on its whole file, with a model that answers at once in
the form that is asked for. How long answers get is not known: each is taken to be a third of its limit. That nothing is
dropped is taken for granted, too, so that later stages are estimated for more than will reach them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from limrank.llm import LLM
from limrank.llm.fake import Fake
from limrank.progress import silent
from limrank.records import Request, Response
from limrank.synthesize import judgment, passages, personas, queries, stages
from limrank.synthesize.examples import Example, Outcome, kept
from limrank.synthesize.judgment import Vote
from limrank.synthesize.passages import Kinds
from limrank.synthesize.queries import Mix
from limrank.synthesize.stage import Stage

SLOTS = 60
CHARACTERS = 4
FILLED = 1 / 3
WORD = "lorem "
JUDGES = "synthesize reason"


class Cost(NamedTuple):
    """Of one stage; tokens are characters / 4."""

    stage: str
    examples: int
    questions: int
    prompt_tokens: int
    output_tokens: int


def estimate(
    seeds: str,
    *,
    count: int,
    mix: Mix | None = None,
    kinds: Kinds | None = None,
    vote: Vote | None = None,
    people: Path | None = None,
    domains: Sequence[str] = (),
    prompts: Path | None = None,
) -> list[Cost]:
    """The cost of `queries`, `passages` and `reason`, and their sum; nothing is asked and nothing is written.

    Args:
        seeds: As for `stages.of_queries`; so are the others for their stages.
    """
    mix, kinds, vote = mix or Mix(), kinds or Kinds(), vote or Vote()
    found, _ = stages.read_seeds(seeds)
    every = list(queries.slots(found, personas.read(people, domains=domains), mix, count))
    slots = every[:: max(len(every) // SLOTS, 1)]
    scale = len(every) / len(slots)
    asked, told, ruled = queries.template(prompts), passages.templates(prompts), judgment.template(prompts)
    # A judge that always says true agrees with nobody who wrote a negative.
    agreed = Vote(vote.samples, 0, "relabel", vote.seed)
    made, first = _counted("queries", lambda llm: queries.queries(llm, iter(slots), asked), _text, scale)
    written, second = _counted("passages", lambda llm: passages.passages(llm, made, told, kinds), _text, scale)
    _, third = _counted("reason", lambda llm: judgment.judged(llm, written, ruled, agreed), _verdict, scale)
    whole = [sum(numbers) for numbers in zip(first[2:], second[2:], third[2:])]
    return [first, second, third, Cost("all", third.examples, *whole)]


def of_stage(stage: Stage) -> Cost:
    """The cost of one stage, of which everything but the model's answers is there; nothing is asked or written."""
    text = _verdict if stage.command == JUDGES else _text
    return _counted(stage.command.removeprefix("synthesize "), lambda llm: stage.outcomes(llm, silent), text, 1.0)[1]


def _counted(
    name: str, run: Callable[[LLM], Iterable[Outcome]], text: Callable[[Request], str], scale: float
) -> tuple[list[Example], Cost]:
    """What a stage makes of answers in the right form, and what it asks, times `scale`."""
    questions = characters = 0
    filled = 0.0

    def answer(request: Request) -> Response:
        nonlocal questions, characters, filled
        questions += 1
        characters += sum(len(part.text) for message in request.messages for part in message.parts)
        filled += request.max_tokens * FILLED
        return Response(_of_schema(request) if request.schema else text(request), finish_reason="eos")

    made = list(run(Fake(answer)))
    numbers = (len(made), questions, characters / CHARACTERS, filled)
    return list(kept(made)), Cost(name, *(round(number * scale) for number in numbers))


def _of_schema(request: Request) -> str:
    """An object of that form, which is as long as an answer; no text in it names another one."""
    properties = json.loads(request.schema)["properties"]
    said = WORD * (_words(request) // len(properties))
    return json.dumps({key: ["ipsum", "dolor"] if of["type"] == "array" else said for key, of in properties.items()})


def _text(request: Request) -> str:
    return WORD * _words(request)


def _verdict(request: Request) -> str:
    return f"<think>{_text(request)}</think> true"


def _words(request: Request) -> int:
    """As many as a third of the limit holds, and as a thought needs."""
    return max(round(request.max_tokens * FILLED * CHARACTERS / len(WORD)), 30)
