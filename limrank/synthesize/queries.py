"""The first stage: a simple seed query becomes the question of somebody in particular.

Each slot of `count` draws a variant, a difficulty and whether an instruction narrows the query, in the shares that are
asked for, and a persona; seeds take turns. Knows nothing of passages.

Source: LimRank (arXiv:2510.23544) asks for diverse domains and difficulty and for instructions, without numbers; shares
are even by default.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from limrank.errors import LimrankError, Unknown
from limrank.llm import LLM
from limrank.llm._drive import Asking
from limrank.records import Query
from limrank.synthesize._ask import Malformed, Trouble, asked, outcomes, texts_in
from limrank.synthesize._draw import shares, shuffled
from limrank.synthesize._template import Template, load
from limrank.synthesize.examples import Dropped, Example, Outcome
from limrank.synthesize.personas import Persona

VARIANTS = ("daily-life", "expert-domain")
DIFFICULTIES = ("direct", "indirect", "multi-hop")
HOPS = 2
FILLS = ("seed", "persona", "domain", "variant", "difficulty", "instruction")
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Mix:
    """How the queries are to differ.

    Attributes:
        variant: Shares of VARIANTS; only their ratio counts.
        difficulty: Shares of DIFFICULTIES.
        instruction: Share of queries with an instruction, 0 to 1.
        seed: Another draw.
    """

    variant: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(VARIANTS, 1.0))
    difficulty: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(DIFFICULTIES, 1.0))
    instruction: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        for name, wanted, known in (
            ("variant", self.variant, VARIANTS),
            ("difficulty", self.difficulty, DIFFICULTIES),
        ):
            for key in wanted:
                if key not in known:
                    raise Unknown.among(name, key, known)
        if not 0 <= self.instruction <= 1:
            raise LimrankError(f"instruction={self.instruction}: expected a share from 0 to 1")


class Slot(NamedTuple):
    """A query to be made: from what, and what kind."""

    query_id: str
    seed: Query
    persona: Persona
    variant: str
    difficulty: str
    instructed: bool


def template(folder: Path | None = None) -> Template:
    """The words of this stage."""
    words = {"variants": VARIANTS, "difficulties": DIFFICULTIES, "instructions": ("wanted", "unwanted")}
    return load("queries", fills=FILLS, words=words, folder=folder, answers=("query", "needs", "instruction"))


def slots(seeds: Sequence[Query], people: Sequence[Persona], mix: Mix, count: int) -> Iterator[Slot]:
    """What is to be made, in a fixed order; an expert's question goes to somebody whose domain is known.

    Raises:
        LimrankError: There are no seeds, or nobody's domain is known and experts are wanted; or the count is no count.
    """
    if count < 1 or not seeds:
        raise LimrankError(f"count={count}, seeds={len(seeds)}: expected at least 1 of both")
    variants = shares(mix.variant, count, seed=f"variant {mix.seed}")
    difficulties = shares(mix.difficulty, count, seed=f"difficulty {mix.seed}")
    narrowed = shares({"yes": mix.instruction, "no": 1 - mix.instruction}, count, seed=f"instruction {mix.seed}")
    experts = [person for person in people if person.domain]
    if "expert-domain" in variants and not experts:
        raise LimrankError("no persona says its domain, which an expert's query needs; ask for daily-life alone")
    anybody, experienced = _turns(people, mix.seed), _turns(experts, mix.seed)
    for n, (variant, difficulty, narrow) in enumerate(zip(variants, difficulties, narrowed)):
        person = next(anybody)
        if variant == "expert-domain" and not person.domain:
            person = next(experienced)
        yield Slot(f"q{n:06d}", seeds[n % len(seeds)], person, variant, difficulty, narrow == "yes")


def _turns(people: Sequence[Persona], seed: int) -> Iterator[Persona]:
    """Everybody once, then everybody again in another order, so that nobody always meets the same seed."""
    for turn in itertools.count():
        yield from shuffled(people, seed=f"people {seed} {turn}")


def queries(llm: LLM, wanted: Iterator[Slot], words: Template, *, seed: int = 0) -> Iterator[Outcome]:
    """One example with a query, or a dropped one, for every slot, in their order.

    Args:
        llm: The teacher.
        wanted: From `slots`.
        words: From `template`.
        seed: Of the sampling.
    """
    return outcomes(llm, wanted, partial(_made, words=words, llm=llm, seed=seed), label=lambda slot: slot.query_id)


def _made(slot: Slot, *, words: Template, llm: LLM, seed: int) -> Asking[list[Outcome]]:
    expert = slot.variant == "expert-domain"
    example = Example(
        slot.query_id,
        slot.query_id,
        slot.seed.query_id,
        slot.seed.text,
        slot.seed.text,
        variant=slot.variant,
        domain=slot.persona.domain if expert else "daily life",
        difficulty=slot.difficulty,
        persona=slot.persona.text,
        teacher=llm.name,
    )
    schema = _schema(words.schema, slot)
    request = words.request(
        {"seed": slot.seed.text, "persona": slot.persona.text, "domain": example.domain},
        {
            "variant": words.words["variants"][slot.variant],
            "difficulty": words.words["difficulties"][slot.difficulty],
            "instruction": words.words["instructions"]["wanted" if slot.instructed else "unwanted"],
        },
        seed=f"{seed} {slot.query_id}",
        schema=schema,
    )
    [answer] = yield from asked([(request, partial(_query, schema=schema, slot=slot))])
    if isinstance(answer, Trouble):
        return [Dropped(example, answer.reason, answer.detail)]
    needs = tuple(answer["needs"])
    return [example._replace(query=answer["query"], instruction=answer.get("instruction", ""), needs=needs)]


def _schema(schema: Mapping[str, Any], slot: Slot) -> Mapping[str, Any]:
    """The prompt's schema for this slot: an instruction only where one is wanted, and needs to the number needed."""
    properties = {key: value for key, value in schema["properties"].items() if slot.instructed or key != "instruction"}
    properties["needs"] = {**properties["needs"], "minItems": HOPS if slot.difficulty == "multi-hop" else 1}
    return {**schema, "properties": properties, "required": list(properties)}


def _query(text: str, *, schema: Mapping[str, Any], slot: Slot) -> dict[str, Any]:
    record = texts_in(text, schema)
    if empty := [key for key, value in record.items() if not value]:
        raise Malformed(f"{empty[0]} is empty")
    if _plain(record["query"]) == _plain(slot.seed.text):
        raise Malformed("query is the given one, unchanged")
    if slot.difficulty == "multi-hop" and len(record["needs"]) < HOPS:
        raise Malformed(f"needs names fewer than {HOPS} things")
    if slot.difficulty == "indirect" and f" {_plain(record['needs'][0])} " in f" {_plain(record['query'])} ":
        raise Malformed("query names the first of needs, which it must not")
    return record


def _plain(text: str) -> str:
    return " ".join(WORD.findall(text.casefold()))
