"""The second stage: a thought about the query, passages that are described and then written, relevant ones and others.

Every named kind of hard negative fails in its own way. Length and form are drawn for all kinds alike, so that neither
tells a label. Negatives may instead be taken from a corpus, by a first-stage run of the synthetic queries; nobody
intended anything with those. Knows nothing of who judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from limrank.datasets import Dataset
from limrank.errors import LimrankError, Unknown
from limrank.llm import LLM
from limrank.llm._drive import Asking
from limrank.records import Document, Request
from limrank.run import Run
from limrank.synthesize import reasoning
from limrank.synthesize._ask import Malformed, Trouble, asked, example_id, outcomes, texts_in
from limrank.synthesize._draw import chosen, shuffled
from limrank.synthesize._template import Template, load, texts_schema
from limrank.synthesize.examples import Dropped, Example, Outcome

POSITIVE, OF_INSTRUCTION, MINED = "positive", "ignores-instruction", "mined"
NEGATIVES = ("wrong-aspect", "same-words", "other-condition", "outdated", "contradicts", OF_INSTRUCTION)
FILLS = ("query", "instruction", "description", "kind", "register", "length")
# The first ranks of a run are too often relevant to be taken for anything else (RocketQA, arXiv:2010.08191).
FIRST_RANK, LAST_RANK = 5, 50

Mine = Callable[[str], Sequence[Document]]


class Words(NamedTuple):
    """What is said in the three questions of this stage."""

    thought: Template
    described: Template
    written: Template


@dataclass(frozen=True)
class Kinds:
    """Which passages a query gets.

    Attributes:
        positives: Written to be relevant.
        negatives: Written not to be, each of another kind; or mined.
        of: The kinds to draw from. `ignores-instruction` is for queries with an instruction, which always get it.
        seed: Another draw.
    """

    positives: int = 1
    negatives: int = 3
    of: tuple[str, ...] = NEGATIVES
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.positives, self.negatives) < 0 or self.positives + self.negatives < 1:
            raise LimrankError(f"positives={self.positives}, negatives={self.negatives}: expected 1 passage or more")
        for kind in self.of:
            if kind not in NEGATIVES:
                raise Unknown.among("kind of negative", kind, NEGATIVES)

    def drawn(self, example: Example) -> list[str]:
        """The kinds for this query, positives first."""
        free = shuffled([kind for kind in self.of if kind != OF_INSTRUCTION], seed=f"{self.seed} {example.query_id}")
        if example.instruction and OF_INSTRUCTION in self.of:
            free.insert(0, OF_INSTRUCTION)
        return [POSITIVE] * self.positives + free[: self.negatives]


def templates(folder: Path | None = None) -> Words:
    """The words of this stage."""
    described = load(
        "descriptions",
        fills=("query", "instruction", "thought", "kinds", "keys"),
        words={"kinds": (POSITIVE, *NEGATIVES)},
        folder=folder,
    )
    drawn: dict[str, tuple[str, ...]] = {"lengths": (), "registers": ()}
    written = load("passages", fills=FILLS, words=drawn, folder=folder, answers=("title", "passage"))
    return Words(reasoning.template(folder), described, written)


def mine(run: Run, dataset: Dataset, count: int, *, seed: int = 0) -> Mine:
    """Finds `count` documents for a query among ranks 5 to 50 of a run of the synthetic queries.

    Raises:
        LimrankError: When called: the run has no results for the query.
    """

    def found(query_id: str) -> Sequence[Document]:
        if query_id not in run:
            raise LimrankError(f"{run.name} has no results for query {query_id!r}; is it a run of these queries?")
        ranked = run.doc_ids(query_id)[FIRST_RANK - 1 : LAST_RANK]
        taken = chosen(ranked, count, seed=f"{seed} {query_id}")
        documents = dataset.lookup(taken)
        return [documents[doc_id] for doc_id in taken]

    return found


def passages(
    llm: LLM, examples: Iterable[Example], words: Words, kinds: Kinds, *, mined: Mine | None = None
) -> Iterator[Outcome]:
    """For every example with a query, one example for each of its passages, or a dropped one that says what failed.

    Args:
        llm: The teacher.
        examples: From `queries`.
        words: From `templates`.
        kinds: Which passages; where `mined` is given, its negatives are not written.
        mined: From `mine`.
    """
    wanted = kinds if mined is None else Kinds(kinds.positives, 0, kinds.of, kinds.seed)
    method = partial(_made, llm=llm, words=words, kinds=wanted, mined=mined)
    return outcomes(llm, examples, method, label=example_id)


def _made(example: Example, *, llm: LLM, words: Words, kinds: Kinds, mined: Mine | None) -> Asking[list[Outcome]]:
    example = example._replace(teacher=llm.name)
    values = {"query": example.query, "instruction": example.instruction}
    seed = f"{kinds.seed} {example.query_id}"
    request = words.thought.request({**values, "needs": "; ".join(example.needs)}, seed=seed)
    [thought] = yield from asked([(request, reasoning.thought)])
    if isinstance(thought, Trouble):
        return [Dropped(example, thought.reason, f"thought: {thought.detail}")]
    example = example._replace(thought=thought)
    drafts = _numbered(example, kinds.drawn(example))
    described = yield from _described(drafts, example, words.described, seed)
    if isinstance(described, Trouble):
        return [Dropped(example, described.reason, f"descriptions: {described.detail}")]
    planned = [
        draft._replace(
            description=described[key],
            length=_one_of(words.written.words["lengths"], f"length {seed} {key}"),
            register=_one_of(words.written.words["registers"], f"register {seed} {key}"),
        )
        for key, draft in drafts.items()
    ]
    texts = yield from asked([_question(draft, words) for draft in planned])
    made: list[Outcome] = []
    for draft, text in zip(planned, texts):
        if isinstance(text, Trouble):
            made.append(Dropped(draft, text.reason, f"passage: {text.detail}"))
        else:
            made.append(draft._replace(title=text["title"], passage=text["passage"]))
    return made + _mined(example, mined)


def _numbered(example: Example, drawn: Sequence[str]) -> dict[str, Example]:
    """A draft for each kind, by the key that it is described under; several of a kind are numbered."""
    drafts: dict[str, Example] = {}
    for place, kind in enumerate(drawn):
        key = f"{kind}-{drawn[: place + 1].count(kind)}" if drawn.count(kind) > 1 else kind
        intended = kind == POSITIVE
        drafts[key] = example._replace(example_id=f"{example.query_id}/{key}", kind=kind, intended=intended)
    return drafts


def _described(
    drafts: Mapping[str, Example], example: Example, words: Template, seed: str
) -> Asking[dict[str, Any] | Trouble]:
    if not drafts:
        return {}
    said = [f'"{key}": {words.words["kinds"][draft.kind]}' for key, draft in drafts.items()]
    schema = texts_schema(tuple(drafts))
    request = words.request(
        {"query": example.query, "instruction": example.instruction, "thought": example.thought},
        {"kinds": "\n".join(said), "keys": ", ".join(f'"{key}"' for key in drafts)},
        seed=seed,
        schema=schema,
    )
    [answer] = yield from asked([(request, partial(_full, schema=schema))])
    return answer


def _question(draft: Example, words: Words) -> tuple[Request, Callable[[str], dict[str, Any]]]:
    request = words.written.request(
        {"query": draft.query, "instruction": draft.instruction, "description": draft.description},
        {
            "kind": words.described.words["kinds"][draft.kind],
            "register": words.written.words["registers"][draft.register],
            "length": words.written.words["lengths"][draft.length],
        },
        seed=draft.example_id,
    )
    return request, partial(_full, schema=words.written.schema, may_be_empty=("title",))


def _full(text: str, *, schema: Mapping[str, Any], may_be_empty: Sequence[str] = ()) -> dict[str, Any]:
    record = texts_in(text, schema)
    if empty := [key for key, value in record.items() if not value and key not in may_be_empty]:
        raise Malformed(f"{empty[0]} is empty")
    return record


def _mined(example: Example, mined: Mine | None) -> list[Outcome]:
    documents = mined(example.query_id) if mined else ()
    return [
        example._replace(
            example_id=f"{example.query_id}/{MINED}-{number}",
            kind=MINED,
            doc_id=document.doc_id,
            title=document.title,
            passage=document.text,
        )
        for number, document in enumerate(documents, 1)
    ]


def _one_of(words: Mapping[str, str], seed: str) -> str:
    return chosen(sorted(words), 1, seed=seed)[0]
