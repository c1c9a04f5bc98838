"""Prompts as data: a TOML file with placeholders, filled with trusted and untrusted parts.

A model's trained prompt is its interface: what the file says is sent byte for byte. Knows nothing of tokenizers.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Sequence
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
# Of a prompt for several documents: all of them, how many they are, and within one of them its place.
OF_LIST = ("passages", "count", "example")
OF_ITEM = ("number", "letter")
KEYS = {"source", "format", "text", "messages", "choices", "values", "target", "item", "titled", "close", "empty"}


class Filled(NamedTuple):
    """A prompt ready to be sent; `shared` and `cut` as in `Request`."""

    messages: tuple[Message, ...]
    shared: int
    cut: tuple[int, ...]


@dataclass(frozen=True)
class Prompt:
    """A template.

    Attributes:
        name: File name without `.toml`.
        messages: (role, text) pairs; a completion prompt is one pair with the empty role.
        values: What each choice is worth, where they are grades; or empty.
        close: The tag that ends the thought which the template opens; empty where it opens none.
        empty: What stands in the place of a thought where none is wanted, with its closing tag.
        item: Of a prompt for several documents: the template of one, of which `{passages}` is made; or empty.
        titled: What stands for the passage of a document with a title, made of `{title}` and `{passage}`; empty is the
            title, a space and the text.
        repeated: Of such a prompt as a chat: places of messages that are said once for each document.
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
    values: tuple[float, ...] = ()
    close: str = ""
    empty: str = ""
    item: str = ""
    titled: str = ""
    repeated: frozenset[int] = frozenset()

    @property
    def placeholders(self) -> frozenset[str]:
        """Names in braces that the template fills in."""
        texts = [text for _, text in self.messages] + [self.target, self.item]
        return frozenset(name for text in texts for name in PLACEHOLDER.findall(text))

    @property
    def many(self) -> bool:
        """Whether it shows several documents."""
        return bool(self.item or self.repeated)

    @property
    def choice_parts(self) -> tuple[Part, ...]:
        """The choices as parts of a request; they come from the file, so they are trusted."""
        return tuple(Part(choice, trusted=True) for choice in self.choices)

    def passage(self, document: Document) -> str:
        """What stands for a document: its text, behind its title where the template has no place for that."""
        if not document.title or "title" in self.placeholders:
            return document.text
        if not self.titled:
            return contents(document)
        values = {"title": document.title, "passage": document.text}
        return PLACEHOLDER.sub(lambda match: values[match[1]], self.titled)

    def unthinking(self, filled: Filled) -> Filled:
        """The filled prompt with `empty` at its end."""
        *messages, last = filled.messages
        said = last._replace(parts=(*last.parts, Part(self.empty, trusted=True)))
        return filled._replace(messages=(*messages, said)) if self.empty else filled

    def fill(self, query: Query, document: Document) -> Filled:
        """The prompt for one query and one document.

        Where the template has no `{instruction}`, the query's instruction follows its text after a space; where it
        has no `{title}`, the passage begins with the title, in the form of `titled`.
        """
        values = self._values(query, document)
        return _filled((role, _parts(text, values)) for role, text in self.messages)

    def fill_list(self, query: Query, documents: Sequence[Document]) -> Filled:
        """The prompt for one query and several documents, which are numbered from 1 and lettered from A in their order.

        `{passages}` is the item template for each document in a row; a repeated message is said for each document,
        together with the repeated ones next to it. `{count}` is the number of documents, `{example}` a permutation of
        their numbers, as in `[2] > [1] > [3]`. Passages may be cut.
        """
        of_query = {key: value for key, value in self._values(query, Document("", "")).items() if key in OF_QUERY}
        words = {"count": str(len(documents)), "example": _example(len(documents))}
        placed = []
        for i, document in enumerate(documents):
            letter = chr(ord("A") + i) if i < 26 else ""
            placed.append(self._values(query, document) | words | {"number": str(i + 1), "letter": letter})
        turns: list[tuple[str, Iterable[tuple[str, Part]]]] = []
        place = 0
        while place < len(self.messages):
            last = place
            while {place, last + 1} <= self.repeated:
                last += 1
            block = self.messages[place : last + 1]
            if place in self.repeated:
                turns += [(role, _parts(text, values)) for values in placed for role, text in block]
            else:
                [(role, text)] = block
                turns.append((role, self._with_items(text, of_query | words, placed)))
            place = last + 1
        return _filled(turns)

    def _with_items(
        self, text: str, values: dict[str, str], placed: list[dict[str, str]]
    ) -> Iterator[tuple[str, Part]]:
        for i, piece in enumerate(text.split("{passages}")):
            if i:
                for of_document in placed:
                    yield from _parts(self.item, of_document)
            yield from _parts(piece, values)

    def fill_target(self, query: Query, document: Document) -> Part:
        """The target as one part; it is made of untrusted text, so all of it is untrusted."""
        return Part("".join(part.text for _, part in _parts(self.target, self._values(query, document))), trusted=False)

    def _values(self, query: Query, document: Document) -> dict[str, str]:
        text = query.text
        if query.instruction and "instruction" not in self.placeholders:
            text = f"{text} {query.instruction}"
        passage, title = self.passage(document), document.title
        return {"query": text, "instruction": query.instruction, "passage": passage, "title": title}


def load(name: str, *, needs: Collection[str] = ("query", "passage"), many: bool | None = None) -> Prompt:
    """A prompt by the name of a shipped one, or by the path of a TOML file.

    Args:
        name: `rank1`, or a path that ends in `.toml`.
        needs: Placeholders that must be there.
        many: Whether it has to be one for several documents; None takes both.

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
    if bool(prompt.item) != any("{passages}" in text for _, text in prompt.messages):
        raise BadFile(f"{path}: {{passages}} in the text and an item, the template of one passage, need each other")
    if many is not None and many != prompt.many:
        number = {True: "several documents at a time", False: "one document at a time"}
        raise BadFile(f"{path}: is about {number[prompt.many]}; this method asks about {number[many]}")
    known = {*OF_QUERY, *OF_DOCUMENT}
    if prompt.many:
        known |= {*OF_LIST, *OF_ITEM}
    if odd := sorted(prompt.placeholders - known):
        raise BadFile(f"{path}: nothing fills {{{odd[0]}}}; placeholders are {', '.join(sorted(known))}")
    if prompt.titled and set(PLACEHOLDER.findall(prompt.titled)) != {"title", "passage"}:
        raise BadFile(f"{path}: titled is made of {{title}} and {{passage}}, not {prompt.titled!r}")
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
    texts = {key: record.get(key, "") for key in ("target", "item", "titled", "close", "empty", "source")}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise BadFile(f"{path}: {key} is a text in quotes, not {value!r}")
    choices, values = record.get("choices", []), record.get("values", [])
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise BadFile(f"{path}: choices is a list of texts in quotes, not {choices!r}")
    numbers = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    if not numbers or (values and len(values) != len(choices)):
        raise BadFile(f"{path}: values is a list of numbers, one for each choice, not {values!r}")
    if texts["close"] and texts["empty"] and not texts["empty"].endswith(texts["close"]):
        raise BadFile(f"{path}: empty stands for a whole thought, so it has to end with close, {texts['close']!r}")
    messages, repeated = _messages(record, path)
    of_choices: dict[str, Any] = {"choices": tuple(choices), "values": tuple(map(float, values))}
    return Prompt(name, messages, sha256=digest, repeated=repeated, **of_choices, **texts)


def _messages(record: dict[str, Any], path: str) -> tuple[tuple[tuple[str, str], ...], frozenset[int]]:
    """(role, text) pairs, and the places of those that are repeated."""
    form = record.get("format")
    if form == "completion" and isinstance(record.get("text"), str):
        return (("", record["text"]),), frozenset()
    if form == "chat" and record.get("messages"):
        try:
            messages = tuple((message["role"] + "", message["text"] + "") for message in record["messages"])
        except (KeyError, TypeError):
            raise BadFile(f"{path}: every [[messages]] needs role and text") from None
        return messages, frozenset(i for i, message in enumerate(record["messages"]) if message.get("repeat") is True)
    raise BadFile(f'{path}: needs format = "completion" and text, or format = "chat" and [[messages]]')


def _filled(turns: Iterable[tuple[str, Iterable[tuple[str, Part]]]]) -> Filled:
    """Messages of named parts, with what is shared up to the first word of a document."""
    messages, index, shared, cut = [], 0, -1, []
    for role, named in turns:
        parts = []
        for name, part in named:
            if name in OF_DOCUMENT and shared < 0:
                shared = index
            if name == "passage":
                cut.append(index)
            parts.append(part)
            index += 1
        messages.append(Message(role, tuple(parts)))
    return Filled(tuple(messages), index if shared < 0 else shared, tuple(cut))


def _example(count: int) -> str:
    """A permutation that is neither the order given nor its reverse, where there are enough numbers for one."""
    numbers = list(range(1, count + 1))
    return " > ".join(f"[{number}]" for number in numbers[1::2] + numbers[::2])


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
