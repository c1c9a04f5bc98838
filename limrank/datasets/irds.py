"""Every collection that ir_datasets knows, by its id: `vaswani`, `beir/scifact/test`, `msmarco-passage/trec-dl-2019`.

ir_datasets downloads, checks and stores; here its many record types become ours. Where a record type has a title it is
kept apart from the text. Knows nothing of what a single collection means; BRIGHT, which needs that, is in bright.py.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from limrank import plugins
from limrank.datasets import NO_DOCUMENTS
from limrank.datasets._lines import well_formed
from limrank.errors import LimrankError, Mismatch, Unknown
from limrank.extras import require
from limrank.qrels import Qrels
from limrank.records import Document, Query

# What ir_datasets says while it opens files that are already there; downloads and user agreements are still shown.
CHATTER = re.compile(r"Opening |\[(starting|finished)\] |If you have a local copy")
# The text of the record types without a default_text(): clinical trials, code search, processed args.me.
TEXT_FIELDS = {
    "text", "condition", "summary", "detailed_description", "eligibility", "func_name", "code", "premises_texts",
    "conclusion",
}  # fmt: skip


class IrdsDataset:
    """A collection of ir_datasets."""

    def __init__(self, name: str, source: Any) -> None:
        self.name = name
        self._source = source

    @functools.cached_property
    def revision(self) -> str:
        """The version of ir_datasets, its record counts, and a digest of the md5 sums that it expects of downloads.

        The version pins everything; the digest says whether another version means the same files. ir_datasets checks
        a file while it downloads it, and not again.
        """
        irds = library()
        counts = [
            f"{metadata['count']} {kind}"
            for kind, metadata in self._source.metadata().items()
            if isinstance(metadata, dict) and "count" in metadata
        ]
        files = expected_files(irds, self.name)
        digest = hashlib.sha256("".join(f"{key} {md5}\n" for key, md5 in sorted(files.items())).encode()).hexdigest()
        pinned = [f"md5 sums of downloads sha256 {digest[:12]}"] if files else []
        return ", ".join([f"ir_datasets {irds.__version__}", *counts, *pinned])

    @property
    def corpus_revision(self) -> str:
        """The version of ir_datasets, and the id of the documents: beir/scifact for beir/scifact/test, too."""
        if not self._source.has("docs"):
            return NO_DOCUMENTS
        irds = library()
        return f"ir_datasets {irds.__version__}, documents of {irds.docs_parent_id(self.name)}"

    def documents(self) -> Iterator[Document]:
        """All documents in the collection's order.

        Raises:
            Mismatch: The collection has no documents, or none with text.
            LimrankError: A file cannot be had; the message says what to do.
        """
        self._need("docs", "documents")
        with explained(self.name):
            for record in self._source.docs_iter():
                yield document_of(record, where=self.name)

    def lookup(self, doc_ids: Iterable[str]) -> dict[str, Document]:
        """The documents with these ids, in the order asked for; the first call builds ir_datasets' own store.

        Raises:
            Mismatch: The collection lacks some of them.
            LimrankError: A file cannot be had; the message says what to do.
        """
        self._need("docs", "documents")
        wanted = list(dict.fromkeys(doc_ids))
        with explained(self.name):
            records = self._source.docs_store().get_many(wanted) if wanted else {}
        # ir_datasets cuts a longer id to the length of its longest one, and so may return documents not asked for.
        missing = [doc_id for doc_id in wanted if doc_id not in records]
        if missing:
            raise Mismatch(f"{self.name} lacks {len(missing)} of {len(wanted)} documents, e.g. {missing[0]!r}")
        return {doc_id: document_of(records[doc_id], where=self.name) for doc_id in wanted}

    def queries(self) -> Iterator[Query]:
        """All queries in the collection's order; of TREC topics the title.

        Raises:
            Mismatch: The collection has no queries, or none with text.
            LimrankError: A file cannot be had; the message says what to do.
        """
        self._need("queries", "queries")
        with explained(self.name):
            for record in self._source.queries_iter():
                yield Query(str(record.query_id), text_of(record, where=self.name))

    def qrels(self) -> Qrels:
        """The judgments; one that is there twice counts once.

        Raises:
            Mismatch: The collection has no judgments, or two that contradict each other.
            LimrankError: A file cannot be had; the message says what to do.
        """
        self._need("qrels", "judgments")
        return Qrels(unique(self._source, where=self.name), name=self.name)

    def excluded(self) -> Mapping[str, frozenset[str]]:
        """Nothing is kept from being found."""
        return {}

    def _need(self, kind: str, called: str) -> None:
        if self._source.has(kind):
            return
        # A collection and its topic sets are ids of their own: beir/scifact has documents, beir/scifact/test judgments.
        parts = [name for name in library().registry if name.startswith(f"{self.name}/") and has(name, kind)]
        advice = f"; {', '.join(parts[:5])} {'has' if len(parts) == 1 else 'have'} them" if parts else ""
        raise Mismatch(f"ir_datasets has no {called} for {self.name}{advice}")


def load(name: str) -> IrdsDataset:
    """The collection with this id of ir_datasets.

    Raises:
        Unknown: There is none; the nearest ids are suggested.
        LimrankError: Its description cannot be downloaded.
    """
    return IrdsDataset(name, find(name))


def find(name: str) -> Any:
    """ir_datasets' own object of this id; raises as `load` does."""
    irds = library()
    try:
        with explained(name):
            return irds.load(name)
    except KeyError:
        known = [*irds.registry, *(own for own in plugins.names("datasets") if own not in ("folder", "irds"))]
        if difflib.get_close_matches(name, known, n=1, cutoff=0.6):
            raise Unknown.among("dataset", name, known) from None
        raise Unknown(
            f"unknown dataset {name!r}: neither a folder nor one of the {len(known)} known ids "
            "(https://ir-datasets.com lists them)"
        ) from None


@functools.cache
def library() -> ModuleType:
    """ir_datasets, told to be quiet about what is already on the disk."""
    irds = require("ir_datasets", needed_for="this dataset")
    irds.log.easy().logger().addFilter(keep_message)
    return irds


def keep_message(record: logging.LogRecord) -> bool:
    """Whether the user should see a message of ir_datasets."""
    return not CHATTER.match(record.getMessage())


def has(name: str, kind: str) -> bool:
    """Whether the collection has `docs`, `queries` or `qrels`."""
    return bool(library().registry[name].has(kind))


def document_of(record: Any, *, where: str) -> Document:
    """Our document of any record type; the text does not repeat the title."""
    text = text_of(record, where=where)
    if "title" not in record._fields:
        return Document(str(record.doc_id), text)
    # default_text() begins with the title and one blank or line end, even where the title is empty or None.
    if hasattr(record, "default_text") and text.startswith(title := well_formed(str(record.title))):
        text = re.sub(r"\A\s", "", text[len(title) :])
    return Document(str(record.doc_id), text, well_formed(record.title or ""))


def text_of(record: Any, *, where: str) -> str:
    """The text of a document (with its title, if any) or query: default_text(), else the fields that are text."""
    if hasattr(record, "default_text"):
        return well_formed(str(record.default_text()))
    texts = [value for field, value in zip(record._fields, record) if field in TEXT_FIELDS and value]
    if not TEXT_FIELDS & set(record._fields):
        raise Mismatch(f"{where} has no text in it, only {', '.join(record._fields)}")
    return well_formed("\n".join(map(str, texts)))


def unique(source: Any, *, where: str) -> dict[str, dict[str, int]]:
    """ir_datasets' judgments by query and document, each once, in the order of their first mention.

    Raises:
        Mismatch: The same document is judged twice, differently, for one query.
    """
    found: dict[str, dict[str, int]] = {}
    with explained(where):
        for record in source.qrels_iter():
            by_doc = found.setdefault(str(record.query_id), {})
            first = by_doc.setdefault(str(record.doc_id), int(record.relevance))
            if first != record.relevance:
                raise Mismatch(
                    f"{where}: query {record.query_id!r} judges document {record.doc_id!r} as {first} and as "
                    f"{record.relevance} (by subtopic or passage?); write the judgments that you mean to a file"
                )
    return found


def expected_files(irds: ModuleType, name: str) -> dict[str, str]:
    """The md5 sums that ir_datasets expects of a collection's downloads, by its name for them."""
    top, _, rest = name.partition("/")
    entries = irds.util.DownloadConfig.contents().get(top, {})
    if not isinstance(entries, dict):
        return {}
    sums = {
        key: entry["expected_md5"]
        for key, entry in entries.items()
        if isinstance(entry, dict) and entry.get("expected_md5")
    }
    part = rest.split("/")[0]
    own = {key: md5 for key, md5 in sums.items() if part and key.split("/")[0] == part}
    return own or sums


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what ir_datasets raises when a file cannot be had into one line that says what to do."""
    try:
        yield
    # OSError: no network, a file to be fetched by hand, a wrong md5; EOFError: a password asked of no terminal;
    # RuntimeError: all mirrors failed.
    except (OSError, EOFError, RuntimeError) as error:
        home = library().util.home_path()
        page = f"https://ir-datasets.com/{name.split('/')[0]}.html"
        raise LimrankError(
            f"{name} cannot be loaded: {reason(error)}; finished downloads are kept in {home} (IR_DATASETS_HOME) and "
            f"reused: try again with a network, or bring that folder from a machine that has one. {page} says which "
            "files have to be asked for"
        ) from error
    except ImportError as error:
        raise LimrankError(f"{name} needs {error.name}; install it with: pip install {error.name}") from error


def reason(error: BaseException) -> str:
    """What went wrong, in one short line."""
    if len(error.args) == 2 and isinstance(error.args[1], list):
        # ir_datasets: ("All download sources failed", [(source, error), ...])
        return f"{error.args[0]}: {', '.join(reason(cause) for _, cause in error.args[1])}"
    url = getattr(getattr(error, "request", None), "url", None)
    if url and getattr(error, "response", None) is None:
        return f"{type(error).__name__} at {url}"
    if isinstance(error, FileNotFoundError):
        return f"{error.filename or error} is not there"
    return " ".join(str(error).split())[:400] or type(error).__name__
