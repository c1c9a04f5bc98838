"""What a synthesis will ask before it is started: questions and tokens, stage by stage.

The stages themselves are run, on a few slots, with a model that answers at once in the right form. How long answers get
is not known: each is taken to be a third of its limit. That nothing is dropped is taken for granted, too, so that later
stages are estimated for more than will reach them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from limrank.llm.fake import Fake
from limrank.records import Request, Response
from limrank.synthesize import judgment, passages, personas, queries, stages
from limrank.synthesize.examples import Example, Outcome, kept
from limrank.synthesize.judgment import Vote
from limrank.synthesize.passages import Kinds
from limrank.synthesize.queries import Mix

SLOTS = 60
CHARACTERS = 4
FILLED = 1 / 3
WORD = "lorem "


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
    """The cost of `queries`, `passages` and `reason`; nothing is asked and nothing is written.

    Args:
        seeds: As for `stages.of_queries`; so are the others for their stages.
    """
    mix, kinds, vote = mix or Mix(), kinds or Kinds(), vote or Vote()
    found, _ = stages.read_seeds(seeds)
    every = list(queries.slots(found, personas.read(people, domains=domains), mix, count))
    step = max(len(every) // SLOTS, 1)
    slots = {slot.query_id: slot for slot in every[::step]}
    scale = len(every) / len(slots)

    def of_query(request: Request) -> str:
        slot = slots[request.query_id]
        said = WORD * (_words(request) // 3)
        return json.dumps({"query": said, "needs": ["ipsum", "dolor"], "instruction": said if slot.instructed else ""})

    def of_passage(request: Request) -> str:
        if not request.schema:
            return WORD * _words(request)
        keys = json.loads(request.schema)["properties"]
        return json.dumps({key: WORD * (_words(request) // len(keys)) for key in keys})

    def of_judgment(request: Request) -> str:
        return f"<think>{WORD * _words(request)}</think> true"

    asked, told, ruled = queries.template(prompts), passages.templates(prompts), judgment.template(prompts)
    agreed = Vote(vote.samples, 0, "relabel", vote.seed)
    made, first = _counted("queries", of_query, lambda llm: queries.queries(llm, iter(slots.values()), asked), scale)
    written, second = _counted("passages", of_passage, lambda llm: passages.passages(llm, made, told, kinds), scale)
    _, third = _counted("reason", of_judgment, lambda llm: judgment.judged(llm, written, ruled, agreed), scale)
    return [first, second, third]


def _counted(
    name: str, answer: Callable[[Request], str], run: Callable[[Fake], Iterator[Outcome]], scale: float
) -> tuple[list[Example], Cost]:
    llm = Fake(lambda request: Response(answer(request), finish_reason="eos"), keep=True)
    made = list(kept(run(llm)))
    read = sum(len(part.text) for request in llm.seen for message in request.messages for part in message.parts)
    written = sum(request.max_tokens for request in llm.seen) * FILLED
    numbers = (len(made), len(llm.seen), read / CHARACTERS, written)
    return made, Cost(name, *(round(number * scale) for number in numbers))


def _words(request: Request) -> int:
    """As many as a third of the limit holds, and as a thought needs."""
    return max(round(request.max_tokens * FILLED * CHARACTERS / len(WORD)), 30)
