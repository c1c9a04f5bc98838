"""Documents and queries in JSON lines and tab-separated files: one record a line, ids always text.

Knows how a line is read and what is wrong with it; knows nothing of folders, judgments or memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limrank.errors import BadFile
from limrank.files import open_lines
from limrank.records import Document, Query

# The first of these keys in a line is its id; the names are those of BEIR, Anserini and ir_datasets.
DOC_ID = ("_id", "id", "doc_id", "docid", "docno")
QUERY_ID = ("_id", "id", "query_id", "qid")
TEXT = ("text", "contents")
QUERY_TEXT = ("text", "query")
# A first column that says so is a header.
HEADERS = {b"query-id", b"corpus-id", b"doc-id", *(key.encode() for key in (*DOC_ID, *QUERY_ID))}
SURROGATE = re.compile("[\ud800-\udfff]")
# An id that is the first thing in its line is read without parsing the rest, which is most of the work.
FIRST_ID = re.compile(rb'\s*\{\s*"(?:_id|id|doc_id|docid|docno)"\s*:\s*(?:"([^"\\]+)"|(0|-?[1-9]\d*))\s*[,}]')


def numbered(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """(line number from 1, byte offset, line) of every line that holds a record."""
    offset = 0
    with open_lines(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip() and not (number == 1 and is_header(path, line)):
                yield number, offset, line
            offset += len(line)


def is_table(path: Path) -> bool:
    """Whether a file is tab-separated: everything that is not called JSON lines."""
    return not path.name.removesuffix(".gz").endswith(".jsonl")


def is_header(path: Path, line: bytes) -> bool:
    """Whether the first line names columns."""
    return is_table(path) and line.removeprefix(b"\xef\xbb\xbf").split(b"\t")[0].strip().lower() in HEADERS


def document(path: Path, number: int, line: bytes) -> Document:
    """The document in a line.

    Raises:
        BadFile: It is not one; the message begins with file:line.
    """
    if is_table(path):
        return Document(*columns(path, number, line))
    record = parse(path, number, line)
    return Document(
        id_in(record, DOC_ID, path, number),
        text_in(record, TEXT, path, number),
        optional(record, "title", path, number),
    )


def query(path: Path, number: int, line: bytes) -> Query:
    """The query in a line, with its `instruction` where it has one.

    Raises:
        BadFile: It is not one; the message begins with file:line.
    """
    if is_table(path):
        return Query(*columns(path, number, line))
    record = parse(path, number, line)
    instruction = optional(record, "instruction", path, number)
    return Query(id_in(record, QUERY_ID, path, number), text_in(record, QUERY_TEXT, path, number), instruction)


def doc_id(path: Path, number: int, line: bytes) -> str:
    """The id of the document in a line, the same as `document` gives, in a fraction of the time."""
    if not is_table(path) and (match := FIRST_ID.match(line)):
        try:
            return (match[1] or match[2]).decode()
        except UnicodeDecodeError as error:
            raise BadFile(f"{path}:{number}: not UTF-8 ({error})") from error
    return document(path, number, line).doc_id


def parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """The JSON object in a line."""
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFile(f"{path}:{number}: not JSON ({error})") from error
    if not isinstance(record, dict):
        raise BadFile(f"{path}:{number}: a JSON object was expected, not {type(record).__name__}")
    return record


def columns(path: Path, number: int, line: bytes) -> tuple[str, str]:
    """Id and text of a tab-separated line."""
    try:
        fields = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n").split("\t")
    except UnicodeDecodeError as error:
        raise BadFile(f"{path}:{number}: not UTF-8 ({error})") from error
    if len(fields) != 2:
        raise BadFile(
            f"{path}:{number}: {len(fields)} tab-separated columns; expected id<tab>text (JSON lines can hold titles)"
        )
    if not fields[0].strip():
        raise BadFile(f"{path}:{number}: the id is empty")
    return fields[0].strip(), fields[1]


def id_in(record: dict[str, Any], keys: tuple[str, ...], path: Path, number: int) -> str:
    """The record's id; a whole number becomes text."""
    key = next((key for key in record if key in keys), None)
    if key is None:
        raise BadFile(f"{path}:{number}: no id; expected one of {', '.join(keys)}")
    value = record[key]
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise BadFile(f"{path}:{number}: {key} is {value!r}; an id is text or a whole number")
    if well_formed(str(value)) != str(value):
        raise BadFile(f"{path}:{number}: {key} is {value!r}, which has half of a character in it; correct the id")
    return str(value)


def text_in(record: dict[str, Any], keys: tuple[str, ...], path: Path, number: int) -> str:
    """The record's text, `well_formed`; it may be empty but not missing."""
    key = next((key for key in keys if key in record), None)
    if key is None:
        raise BadFile(f"{path}:{number}: no {' or '.join(keys)}, only {', '.join(record) or 'an empty object'}")
    if not isinstance(record[key], str):
        raise BadFile(f"{path}:{number}: {key} is {json.dumps(record[key])[:60]}; text was expected")
    return well_formed(record[key])


def well_formed(text: str) -> str:
    r"""The text with U+FFFD for every half of a surrogate pair: JSON may hold one ("\ud83d" cut from its other half).

    Nothing else can: no file, no tokenizer and no server takes such a text.
    """
    try:
        # Ten times faster than to search.
        text.encode()
    except UnicodeEncodeError:
        return SURROGATE.sub("\ufffd", text)
    return text


def optional(record: dict[str, Any], key: str, path: Path, number: int) -> str:
    """A text that may be missing, or null as many collections write it: then empty."""
    return "" if record.get(key) is None else text_in(record, (key,), path, number)
