"""Prompts as data: a TOML file with placeholders, filled with trusted and untrusted parts.

A model's trained prompt is its interface: what the file says is sent byte for byte. Knows nothing of tokenizers.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from limrank.errors import BadFile, Unknown
from limrank.files import read_text
from limrank.records import Document, Message, Part, Query, contents

PLACEHOLDER = re.compile(r"\{(\w+)\}")
OF_QUERY = ("query", "instruction")
OF_DOCUMENT = ("passage", "title")
KEYS = {"source", "format", "text", "messages", "choices", "target"}


class Filled(NamedTuple):
    """A prompt ready to be sent; `shared` and `cut` as in `Request`."""

    messages: tuple[Message, ...]
    shared: int
    cut: int


@dataclass(frozen=True)
class Prompt:
    """A template.

    Attributes:
        name: File name without `.toml`.
        messages: (role, text) pairs; a completion prompt is one pair with the empty role.
        choices: The answers whose log-probabilities are compared, the relevant one first; may be empty.
        target: A template whose likelihood after the prompt is measured; may be empty.
        source: Where the words come from.
        sha256: Of the file's bytes.
    """

    name: str
    messages: tuple[tuple[str, str], ...]
    choices: tuple[str, ...] = ()
    target: str = ""
    source: str = ""
    sha256: str = ""

    @property
    def placeholders(self) -> frozenset[str]:
        """Names in braces that the template fills in."""
        texts = [text for _, text in self.messages] + [self.target]
        return frozenset(name for text in texts for name in PLACEHOLDER.findall(text))

    @property
    def choice_parts(self) -> tuple[Part, ...]:
        """The choices as parts of a request; they come from the file, so they are trusted."""
        return tuple(Part(choice, trusted=True) for choice in self.choices)

    def fill(self, query: Query, document: Document) -> Filled:
        """The prompt for one query and one document.

        Where the template has no `{instruction}`, the query's instruction follows its text after a space; where it
        has no `{title}`, the passage begins with the title.
        """
        values = self._values(query, document)
        messages, index, shared, cut = [], 0, -1, -1
        for role, text in self.messages:
            parts = []
            for name, part in _parts(text, values):
                if name in OF_DOCUMENT and shared < 0:
                    shared = index
                if name == "passage":
                    cut = index
                parts.append(part)
                index += 1
            messages.append(Message(role, tuple(parts)))
        return Filled(tuple(messages), index if shared < 0 else shared, cut)

    def fill_target(self, query: Query, document: Document) -> Part:
        """The target as one part; it is made of untrusted text, so all of it is untrusted."""
        return Part("".join(part.text for _, part in _parts(self.target, self._values(query, document))), trusted=False)

    def _values(self, query: Query, document: Document) -> dict[str, str]:
        text = query.text
        if query.instruction and "instruction" not in self.placeholders:
            text = f"{text} {query.instruction}"
        passage = document.text if "title" in self.placeholders else contents(document)
        return {"query": text, "instruction": query.instruction, "passage": passage, "title": document.title}


def load(name: str, *, needs: Collection[str] = ("query", "passage")) -> Prompt:
    """A prompt by the name of a shipped one, or by the path of a TOML file.

    Args:
        name: `rank1`, or a path that ends in `.toml`.
        needs: Placeholders that must be there.

    Raises:
        Unknown: No shipped prompt has this name.
        BadFile: The file is not a prompt, or lacks a placeholder, or has one that nothing fills.
    """
    if name.endswith(".toml"):
        path, text = name, read_text(Path(name))
    else:
        file = resources.files("limrank").joinpath("prompts", f"{name}.toml")
        if not file.is_file():
            raise Unknown.among("prompt", name, names())
        path, text = f"prompt {name}", file.read_text(encoding="utf-8")
    try:
        record = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadFile(f"{path}: not TOML ({error})") from error
    prompt = _from_record(record, path=path, name=Path(name).stem, digest=hashlib.sha256(text.encode()).hexdigest())
    known = {*OF_QUERY, *OF_DOCUMENT}
    if odd := sorted(prompt.placeholders - known):
        raise BadFile(f"{path}: nothing fills {{{odd[0]}}}; placeholders are {', '.join(sorted(known))}")
    if missing := sorted(set(needs) - prompt.placeholders):
        raise BadFile(f"{path}: {{{missing[0]}}} is missing; the model would not see the {missing[0]}")
    return prompt


def names() -> list[str]:
    """The shipped prompts."""
    folder = resources.files("limrank").joinpath("prompts")
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def _from_record(record: dict[str, Any], *, path: str, name: str, digest: str) -> Prompt:
    if odd := sorted(record.keys() - KEYS):
        raise BadFile(f"{path}: unknown key {odd[0]!r}; keys are {', '.join(sorted(KEYS))}")
    form = record.get("format")
    choices, target = record.get("choices", []), record.get("target", "")
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise BadFile(f"{path}: choices is a list of texts in quotes, not {choices!r}")
    if not isinstance(target, str):
        raise BadFile(f"{path}: target is a text in quotes, not {target!r}")
    if form == "completion" and isinstance(record.get("text"), str):
        messages: tuple[tuple[str, str], ...] = (("", record["text"]),)
    elif form == "chat" and record.get("messages"):
        try:
            messages = tuple((message["role"] + "", message["text"] + "") for message in record["messages"])
        except (KeyError, TypeError):
            raise BadFile(f"{path}: every [[messages]] needs role and text") from None
    else:
        raise BadFile(f'{path}: needs format = "completion" and text, or format = "chat" and [[messages]]')
    return Prompt(name, messages, tuple(choices), target, str(record.get("source", "")), digest)


def _parts(template: str, values: dict[str, str]) -> Iterator[tuple[str, Part]]:
    """Placeholder name (empty for the template's own words) and part, in order."""
    end = 0
    for match in PLACEHOLDER.finditer(template):
        if match.start() > end:
            yield "", Part(template[end : match.start()], trusted=True)
        if match[1] in values:
            yield match[1], Part(values[match[1]], trusted=False)
        end = match.end()
    if end < len(template):
        yield "", Part(template[end:], trusted=True)
