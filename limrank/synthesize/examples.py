"""The noun of this package: a training example in the making, which every stage fills further, and its file.

Whoever drops an example says why: a stream of outcomes holds both kinds, so that nothing is lost unseen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from limrank.errors import BadFile
from limrank.files import json_lines


class Judgment(NamedTuple):
    """What a judge said once: its reasoning, without tags, and its verdict."""

    chain: str
    label: bool


class Example(NamedTuple):
    """A query, later a query and a passage, later a query, a passage and a label with its reasoning.

    Attributes:
        example_id: `q000012`, of a passage `q000012/positive-1`.
        query_id: Of the synthetic query.
        seed_id: Of the query that it was made from; training and validation are split by it.
        seed: The text of that query.
        query: What is asked.
        instruction: What narrows it; may be empty.
        variant: `daily-life` or `expert-domain`.
        domain: Of an expert's question.
        difficulty: `direct`, `indirect` or `multi-hop`.
        persona: Who asks.
        needs: What one has to know to answer; an indirect query does not name the first.
        thought: The teacher's reasoning about the query alone.
        kind: `positive`, a kind of hard negative, or `mined`.
        description: What the passage was to be.
        length: How long, by name.
        register: In which form.
        doc_id: Of a mined passage.
        title: Of the passage; may be empty.
        passage: Its text.
        intended: Whether it was written to be relevant; None where nobody intended anything.
        judgments: The usable samples of the judge, in order of their seeds.
        label: The verdict of most of them.
        agreement: The share of samples that say so.
        grade: The share of samples that say relevant.
        teacher: The name of the model that wrote.
        judge: The name of the model that judged.
    """

    example_id: str
    query_id: str
    seed_id: str
    seed: str
    query: str
    instruction: str = ""
    variant: str = ""
    domain: str = ""
    difficulty: str = ""
    persona: str = ""
    needs: tuple[str, ...] = ()
    thought: str = ""
    kind: str = ""
    description: str = ""
    length: str = ""
    register: str = ""
    doc_id: str = ""
    title: str = ""
    passage: str = ""
    intended: bool | None = None
    judgments: tuple[Judgment, ...] = ()
    label: bool | None = None
    agreement: float | None = None
    grade: float | None = None
    teacher: str = ""
    judge: str = ""


class Dropped(NamedTuple):
    """An example that goes no further.

    Attributes:
        example: As far as it had come.
        reason: One word that counts are kept by, such as `malformed`, `failed`, `disagreement`, `contaminated`.
        detail: What exactly was wrong.
    """

    example: Example
    reason: str
    detail: str


Outcome: TypeAlias = Example | Dropped


def kept(outcomes: Iterable[Outcome]) -> Iterator[Example]:
    """The examples among outcomes."""
    return (outcome for outcome in outcomes if isinstance(outcome, Example))


class ExampleFile:
    """Examples in JSON lines, read anew by every loop over it.

    Raises:
        BadFile: While reading: a line is not an example.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[Example]:
        for number, record in json_lines(self.path):
            yield _example(record, f"{self.path}:{number}")


def dropped_in(path: Path) -> Iterator[Dropped]:
    """What a stage dropped, as it wrote it beside its examples.

    Raises:
        BadFile: A line is not one.
    """
    for number, record in json_lines(path):
        place = f"{path}:{number}"
        reason, detail = record.pop("dropped", None), record.pop("detail", None)
        if not isinstance(reason, str) or not isinstance(detail, str):
            raise BadFile(f"{place}: a dropped example says why in dropped and detail, two texts")
        yield Dropped(_example(record, place), reason, detail)


def line_of(outcome: Outcome) -> bytes:
    """An example or a dropped one as a line of JSON; fields that are empty are left out."""
    example = outcome.example if isinstance(outcome, Dropped) else outcome
    record: dict[str, Any] = {key: value for key, value in example._asdict().items() if value not in ("", (), None)}
    if example.judgments:
        record["judgments"] = [judgment._asdict() for judgment in example.judgments]
    if isinstance(outcome, Dropped):
        record |= {"dropped": outcome.reason, "detail": outcome.detail}
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


NEEDED = tuple(name for name in Example._fields if name not in Example._field_defaults)
TEXTS = tuple(name for name in Example._fields if name in NEEDED or Example._field_defaults[name] == "")
FLAGS, NUMBERS = ("intended", "label"), ("agreement", "grade")


def _example(record: dict[str, Any], place: str) -> Example:
    if odd := sorted(record.keys() - set(Example._fields)):
        raise BadFile(f"{place}: an example has no field {odd[0]!r}; was it made by another version?")
    for name in NEEDED:
        if not record.get(name):
            raise BadFile(f"{place}: not an example, it lacks {name}; make some with: limrank synthesize queries")
    judgments, needs = record.get("judgments", []), record.get("needs", [])
    wrong = [name for name in TEXTS if not isinstance(record.get(name, ""), str)]
    wrong += [name for name in FLAGS if not isinstance(record.get(name), bool | None)]
    wrong += [name for name in NUMBERS if not isinstance(record.get(name), int | float | None)]
    if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        wrong.append("needs")
    if not isinstance(judgments, list) or not all(map(_is_judgment, judgments)):
        wrong.append("judgments")
    if wrong:
        raise BadFile(f"{place}: {wrong[0]} is {str(record[wrong[0]])[:60]!r}, which no example can have there")
    read = tuple(Judgment(one["chain"], one["label"]) for one in judgments)
    return Example(**record | {"needs": tuple(needs), "judgments": read})


def _is_judgment(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("chain"), str) and isinstance(value.get("label"), bool)
