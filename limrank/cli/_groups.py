"""Queries in groups, for a table that is broken down: by what a dataset knows of its queries, or by a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limrank.cli._judged import Judged
from limrank.errors import BadFile, Unknown


def groups_by(attributes: Sequence[str], judged: Judged) -> dict[str, str]:
    """The group of every query by attributes that the dataset knows, or by a file of `query_id<tab>group` lines.

    Raises:
        Unknown: The dataset knows no such attribute.
        BadFile: A line is not two columns, or a query is in two groups.
    """
    found: dict[str, list[str]] = {}
    for attribute in attributes:
        values = _group_file(Path(attribute)) if Path(attribute).is_file() else _attribute(attribute, judged)
        for query_id, value in values.items():
            found.setdefault(query_id, []).append(value)
    return {query_id: " ".join(values) for query_id, values in found.items() if len(values) == len(attributes)}


def _attribute(name: str, judged: Judged) -> dict[str, str]:
    questions = getattr(judged.dataset, "questions", None)
    records = [question._asdict() for question in questions()] if questions else []
    known = sorted({key for record in records for key, value in record.items() if isinstance(value, str | int)})
    known = [key for key in known if key not in ("query_id", "text")]
    if name not in known:
        advice = f"{judged.label} has {', '.join(known)}" if known else "give a file of lines: query_id<tab>group"
        raise Unknown(f"unknown attribute {name!r} of queries; {advice}")
    return {record["query_id"]: str(record[name]) for record in records}


def _group_file(path: Path) -> dict[str, str]:
    from limrank.files import read_text

    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        query_id, _, group = (part.strip() for part in line.partition("\t"))
        if not query_id or not group:
            raise BadFile(f"{path}:{number}: two columns were expected: query_id<tab>group")
        if found.setdefault(query_id, group) != group:
            raise BadFile(f"{path}:{number}: query {query_id!r} is in another group before")
    return found
