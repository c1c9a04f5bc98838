"""What a stage says to a model, as data: one TOML file with the turns, the limits, the answer's schema, and word lists.

Placeholders are filled with untrusted text (queries, personas, what models wrote) or with words of the file itself,
which are trusted. Knows nothing of tokenizers.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from limrank.errors import BadFile
from limrank.files import read_text
from limrank.prompt import PLACEHOLDER
from limrank.records import Message, Part, Request

KEYS = {"source", "max_tokens", "temperature", "messages", "schema", "words"}
# Seeds of requests are numbers that every server takes.
SEEDS = 2**31


@dataclass(frozen=True)
class Template:
    """The words of one question.

    Attributes:
        name: File name without `.toml`.
        messages: (role, text) pairs.
        max_tokens: Of an answer; a longer one is malformed.
        temperature: Of the sampling.
        schema: JSON schema of the answer; empty where the answer is a text.
        words: Lists of words by name, such as `kinds`: what each kind of passage is.
        sha256: Of the file's bytes.
    """

    name: str
    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    temperature: float
    schema: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sha256: str = ""

    def request(
        self,
        values: Mapping[str, str],
        said: Mapping[str, str] | None = None,
        *,
        seed: str,
        schema: Mapping[str, Any] | None = None,
    ) -> Request:
        """The question.

        Args:
            values: Untrusted texts by placeholder.
            said: Trusted ones.
            seed: A text; the same one gives the same answer again.
            schema: Of an answer whose form depends on the question.
        """
        said = said or {}
        messages = tuple(Message(role, tuple(_parts(text, values, said))) for role, text in self.messages)
        schema = self.schema if schema is None else schema
        return Request(
            messages,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=seed_of(seed),
            # In the order of the file: servers have the keys written in that of the schema, a query before its needs.
            schema=json.dumps(schema) if schema else "",
        )


def load(
    name: str,
    *,
    fills: Collection[str],
    words: Mapping[str, Collection[str]],
    folder: Path | None,
    answers: Collection[str] = (),
) -> Template:
    """A shipped template, or the one of that name in a folder of your own.

    Args:
        name: Such as `queries`.
        fills: Placeholders that the stage fills.
        words: Word lists that it needs, with the words that must be in them.
        folder: Where to look first.
        answers: Keys of the answer's schema.

    Raises:
        BadFile: The file is not a template, has a placeholder that nothing fills, or lacks words or keys.
    """
    own = folder / f"{name}.toml" if folder else None
    if folder and not folder.is_dir():
        raise BadFile(f"{folder}: no such folder of prompts")
    if own and own.is_file():
        path, text = str(own), read_text(own)
    else:
        path = f"prompt synthesize/{name}"
        text = resources.files("limrank.synthesize").joinpath("prompts", f"{name}.toml").read_text(encoding="utf-8")
    try:
        record = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadFile(f"{path}: not TOML ({error})") from error
    template = _from_record(record, name, path, hashlib.sha256(text.encode()).hexdigest())
    used = {found for _, turn in template.messages for found in PLACEHOLDER.findall(turn)}
    if odd := sorted(used - set(fills)):
        raise BadFile(f"{path}: nothing fills {{{odd[0]}}}; placeholders are {', '.join(sorted(fills))}")
    for key, needed in words.items():
        if missing := sorted(set(needed) - template.words.get(key, {}).keys()) or (
            [] if template.words.get(key) else ["any"]
        ):
            raise BadFile(f"{path}: [words.{key}] lacks {missing[0]!r}")
    if template.schema.get("properties", {}).keys() != set(answers):
        raise BadFile(
            f"{path}: expected [schema.properties] for {', '.join(answers) or 'nothing: the answer is a text'}"
        )
    return template


def texts_schema(keys: Collection[str]) -> dict[str, Any]:
    """The schema of an object with these keys, all texts."""
    properties = {key: {"type": "string"} for key in keys}
    return {"type": "object", "properties": properties, "required": list(keys), "additionalProperties": False}


def seed_of(text: str) -> int:
    """A number that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % SEEDS


def _from_record(record: dict[str, Any], name: str, path: str, digest: str) -> Template:
    if odd := sorted(record.keys() - KEYS):
        raise BadFile(f"{path}: unknown key {odd[0]!r}; keys are {', '.join(sorted(KEYS))}")
    try:
        messages = tuple((message["role"] + "", message["text"] + "") for message in record["messages"])
    except (KeyError, TypeError):
        raise BadFile(f"{path}: needs [[messages]], each with role and text") from None
    most, temperature = record.get("max_tokens"), record.get("temperature", 0.0)
    if type(most) is not int or most < 1:
        raise BadFile(f"{path}: max_tokens is a whole number from 1, not {most!r}")
    if type(temperature) not in (int, float) or temperature < 0:
        raise BadFile(f"{path}: temperature is a number from 0, not {temperature!r}")
    words = record.get("words", {})
    lists = isinstance(words, dict) and all(isinstance(table, dict) for table in words.values())
    if not lists or not all(isinstance(word, str) for table in words.values() for word in table.values()):
        raise BadFile(f"{path}: [words.NAME] holds texts in quotes by name")
    schema = record.get("schema", {})
    if schema and (not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict)):
        raise BadFile(f"{path}: [schema] is the JSON schema of an object with properties")
    return Template(name, messages, most, float(temperature), schema, words, digest)


def _parts(template: str, values: Mapping[str, str], said: Mapping[str, str]) -> list[Part]:
    """The template's own words and what is said are trusted, values are not; an empty part is none."""
    parts, end = [], 0
    for match in PLACEHOLDER.finditer(template):
        trusted = match[1] in said
        parts += [Part(template[end : match.start()], trusted=True)]
        parts += [Part(said[match[1]] if trusted else values[match[1]], trusted=trusted)]
        end = match.end()
    parts.append(Part(template[end:], trusted=True))
    return [part for part in parts if part.text]
