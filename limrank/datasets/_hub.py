"""A dataset repository on the Hugging Face hub: its files at one commit, and the rows in them.

The hub's own client downloads, resumes and keeps the files; what is in its cache is never asked for again, and with
HF_HUB_OFFLINE=1 nothing is. The dataset card (`configs:` in README.md) says which files make up a part. Knows nothing
of what a part or a row means.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from limrank.datasets import _lines
from limrank.errors import BadFile, LimrankError, Unknown
from limrank.extras import require
from limrank.files import json_lines, open_read_raw, sha256

COMMIT = re.compile(r"[0-9a-f]{40}")
JSON_LINES = (".jsonl", ".jsonl.gz", ".json", ".json.gz")
# Rows that are Python objects at one time; a row of LitSearch's titles and abstracts is about 2 kB.
BATCH = 1000


class Row(NamedTuple):
    """A row and where it stands, counted from 1; a value of the wrong type is a BadFile that names file and field."""

    path: Path
    number: int
    record: dict[str, Any]

    def id(self, field: str) -> str:
        """An id: text, or a whole number as text."""
        return _lines.id_in(self.record, (field,), self.path, self.number)

    def text(self, field: str) -> str:
        """A text, possibly empty."""
        return _lines.text_in(self.record, (field,), self.path, self.number)

    def optional(self, field: str) -> str:
        """A text; null is the empty one."""
        return _lines.optional(self.record, field, self.path, self.number)

    def integer(self, field: str) -> int:
        """A whole number; 1.0 is one, because the hub's tables keep relevance as float64."""
        value = self.record[field]
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise self.wrong(field, "a whole number was expected")
        return int(value)

    def ids(self, field: str) -> list[str]:
        """A list of ids."""
        value = self.record[field]
        if not isinstance(value, list) or not all(type(item) in (str, int) for item in value):
            raise self.wrong(field, "a list of ids was expected")
        return [str(item) for item in value]

    def wrong(self, field: str, expected: str) -> BadFile:
        """The error for a field that does not hold what it should."""
        value = repr(self.record[field])
        return BadFile(f"{self.path}:{self.number}: {field} is {value[:60]}; {expected}")


class Repository:
    """The files of `repo` as they were at one commit, which is looked up at most once."""

    def __init__(self, repo: str, revision: str, *, name: str) -> None:
        """A repository from which nothing is fetched yet.

        Args:
            repo: `owner/name` on the hub.
            revision: A commit, or a branch or tag that is resolved at the first use.
            name: Of the dataset, for messages.
        """
        self.repo = repo
        self.name = name
        self._commit = revision if COMMIT.fullmatch(revision) else ""
        self._wanted = revision
        self._card: Path | None = None
        self._files: dict[str, list[Path]] = {}

    @property
    def commit(self) -> str:
        """All 40 digits of the commit.

        Raises:
            LimrankError: The hub is needed to find it and cannot be reached.
        """
        return self._commit or self._read_card().parent.name

    def rows(self, config: str, fields: Sequence[str]) -> Iterator[Row]:
        """The rows of a part, file by file in order of their names; of parquet no other columns are read.

        Raises:
            BadFile: A file cannot be read, or a row lacks one of the fields; the message names both.
            LimrankError: A file cannot be had; the message says what to do.
        """
        for path in self.files(config):
            read = parquet_rows if path.suffix == ".parquet" else json_rows
            for number, record in read(path, fields):
                yield Row(path, number, record)

    def files(self, config: str) -> list[Path]:
        """The files of a part, all of them here now and checked against the hub's digests.

        Raises:
            BadFile: The card names no files for it, or ones that are not there, or a file was damaged.
            LimrankError: A file cannot be had; the message says what to do.
        """
        if config not in self._files:
            patterns = self._patterns(config)
            folder = self._fetch(patterns, self.commit)
            choose = require("huggingface_hub.utils").filter_repo_objects
            # By the hub's list, not by what lies in the folder: that may be half of it.
            found = [folder / name for name in sorted(choose(self._listed(), allow_patterns=patterns))]
            if not found:
                raise BadFile(
                    f"{self._read_card()}: says that {config!r} is in {', '.join(patterns)}, and {self.repo} has no "
                    "such file"
                )
            for path in found:
                refuse_damage(path)
            self._files[config] = found
        return self._files[config]

    def _patterns(self, config: str) -> list[str]:
        """The file names and globs that the card gives for a part."""
        card = self._read_card()
        try:
            data = require("huggingface_hub").metadata_load(card) or {}
        except Exception as error:  # yaml has errors of its own, and the client one for what is no mapping
            raise BadFile(f"{card}: its first lines are not a card in YAML ({' '.join(str(error).split())})") from error
        configs = data.get("configs")
        listed = [part for part in configs if isinstance(part, dict)] if isinstance(configs, list) else []
        parts = {str(part.get("config_name")): part.get("data_files") for part in listed}
        if config not in parts:
            raise BadFile(f"{card}: configs names no {config!r}, only {', '.join(parts) or 'nothing'}")
        patterns = paths_in(parts[config])
        if not patterns:
            raise BadFile(f"{card}: data_files of {config!r} are {parts[config]!r}; paths were expected")
        return patterns

    def _read_card(self) -> Path:
        if self._card is None:
            card = self._fetch(["README.md"], self._wanted) / "README.md"
            if not card.is_file():
                raise BadFile(f"{self.name}: {self.repo} has no README.md, which should say where its parts are")
            self._card = card
        return self._card

    def _listed(self) -> list[str]:
        """The paths of all files at the commit, as the hub listed them when they were fetched."""
        hub, errors = require("huggingface_hub"), require("huggingface_hub.errors")
        try:
            listed = hub.get_cached_repo_tree(self.repo, repo_type="dataset", revision=self.commit)
        except errors.CachedRepoTreeNotFoundError as error:
            raise LimrankError(
                f"{self.name}: files of {self.repo} at {self.commit} are in the cache, and no list of them: nobody can "
                "tell whether all are there; run the same once with a network"
            ) from error
        return [file.path for file in listed]

    def _fetch(self, patterns: list[str], revision: str) -> Path:
        """The folder in which these files are now; what is there and listed is neither asked for nor drawn."""
        hub, errors = require("huggingface_hub", needed_for=self.name), require("huggingface_hub.errors")
        wanted = {"repo_type": "dataset", "revision": revision, "allow_patterns": patterns, "library_name": "limrank"}
        if COMMIT.fullmatch(revision):
            with contextlib.suppress(errors.LocalEntryNotFoundError, errors.CachedRepoTreeNotFoundError):
                hub.get_cached_repo_tree(self.repo, repo_type="dataset", revision=revision)
                return Path(hub.snapshot_download(self.repo, local_files_only=True, **wanted))
        with explained(self.name, f"{self.repo} at {revision}"):
            return Path(hub.snapshot_download(self.repo, tqdm_class=_bars(), **wanted))


def _bars() -> type:
    """The client's progress bar, which draws on a terminal only."""
    tqdm = require("huggingface_hub.utils").tqdm
    return type("Bars", (tqdm,), {"__init__": functools.partialmethod(tqdm.__init__, disable=None)})


def paths_in(data_files: Any) -> list[str]:
    """The paths of a card's data_files: one, a list, `{split: path}`, or a list of `{split:, path:}`."""
    if isinstance(data_files, str):
        return [data_files]
    if isinstance(data_files, list):
        return [path for item in data_files for path in paths_in(item)]
    if isinstance(data_files, dict):
        inner = [data_files["path"]] if "path" in data_files else list(data_files.values())
        return [path for item in inner for path in paths_in(item)]
    return []


def json_rows(path: Path, fields: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and object of each line that is not blank.

    Raises:
        BadFile: A line is not a JSON object, or lacks a field.
    """
    if not path.name.endswith(JSON_LINES):
        raise BadFile(f"{path}: neither parquet nor JSON lines, which are what can be read here")
    for number, record in json_lines(path):
        if missing := [field for field in fields if field not in record]:
            raise BadFile(f"{path}:{number}: no field {missing[0]!r}, only {', '.join(record) or 'an empty object'}")
        yield number, record


def parquet_rows(path: Path, fields: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and values of each row, a batch in memory at a time.

    Raises:
        BadFile: Not parquet, cut off, or without one of the columns.
    """
    parquet = require("pyarrow.parquet", needed_for="a parquet file")
    broken = require("pyarrow").ArrowException
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            if missing := [field for field in fields if field not in columns]:
                raise BadFile(f"{path}: no column {missing[0]!r}, only {', '.join(columns)}")
            for batch in file.iter_batches(batch_size=BATCH, columns=list(fields)):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
    except (broken, OSError) as error:
        raise BadFile(f"{path}: cannot be read as parquet after row {number} ({one_line(error)})") from error


def refuse_damage(path: Path) -> None:
    """Check a file in the client's cache against the digest that it is kept under.

    The client checks the size of what it downloads, and never looks at a file again. It keeps a file under the hub's
    own digest: sha256 of large files, git's sha1 of others.

    Raises:
        BadFile: The content is another one.
    """
    blob = path.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):
        actual = sha256(blob)
    elif COMMIT.fullmatch(blob.name):
        with open_read_raw(blob) as file:
            content = file.read()
        actual = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    else:
        return  # a file system without links keeps no digests
    if actual != blob.name:
        raise BadFile(
            f"{path}: was damaged after its download (digest {actual[:12]}, the hub has {blob.name[:12]}); delete "
            f"{blob} and run the same again"
        )


@contextlib.contextmanager
def explained(name: str, wanted: str) -> Iterator[None]:
    """Turn what the hub's client raises when a file cannot be had into one line that says what to do."""
    errors = require("huggingface_hub.errors")
    cache = require("huggingface_hub.constants").HF_HUB_CACHE
    try:
        yield
    except errors.RevisionNotFoundError as error:
        raise Unknown(
            f"{name}: the hub has no {wanted}; choose another commit, branch or tag with ?revision=main"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise LimrankError(
            f"{name}: the hub has no {wanted}, or does not show it to you ({one_line(error)})"
        ) from error
    # errors.HTTPError is that of the HTTP library that this version of the client uses; ValueError: a malformed name.
    except (OSError, ValueError, errors.HTTPError) as error:
        raise LimrankError(
            f"{name}: {wanted} cannot be downloaded ({one_line(error)}); finished files are kept in {cache} (HF_HOME) "
            "and reused: try again with a network, or bring that folder from a machine that has one"
        ) from error


def one_line(error: BaseException) -> str:
    """What went wrong, in one short line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
