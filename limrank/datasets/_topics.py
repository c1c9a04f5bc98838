"""TREC topics: `<top>` blocks of `<num>`, `<title>`, `<desc>` and `<narr>`, with or without closing tags.

Knows nothing of what a query is for: the title is the query, the description where there is no title.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from limrank.errors import BadFile
from limrank.records import Query

TOP = re.compile(r"<top>(.*?)(?=<top>|\Z)", re.DOTALL | re.IGNORECASE)
FIELD = re.compile(r"<(num|title|desc|narr)>(.*?)(?=</?(?:num|title|desc|narr|top)>|\Z)", re.DOTALL | re.IGNORECASE)
# What TREC writes in front of a field's content.
LABELS = {"num": "Number:", "title": "Topic:", "desc": "Description:", "narr": "Narrative:"}


def is_trec(text: str) -> bool:
    """Whether the text holds TREC topics."""
    return TOP.search(text) is not None


def topics(path: Path, text: str) -> Iterator[tuple[int, Query]]:
    """Line number of each topic, and the topic as a query.

    Raises:
        BadFile: A topic has no number, or neither title nor description; the message begins with file:line.
    """
    for top in TOP.finditer(text):
        number = text.count("\n", 0, top.start()) + 1
        fields: dict[str, str] = {}
        for field in FIELD.finditer(top[1]):
            tag = field[1].lower()
            fields.setdefault(tag, without_label(" ".join(field[2].split()), LABELS[tag]))
        if not fields.get("num"):
            raise BadFile(f"{path}:{number}: a topic without <num>")
        words = fields.get("title") or fields.get("desc")
        if not words:
            raise BadFile(f"{path}:{number}: topic {fields['num']!r} has neither <title> nor <desc>")
        yield number, Query(fields["num"], words)


def without_label(content: str, label: str) -> str:
    """A field's content less its TREC label."""
    return content[len(label) :].strip() if content.lower().startswith(label.lower()) else content
