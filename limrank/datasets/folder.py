"""A folder with files in BEIR's or TREC's layout, or some of both, is a dataset.

    documents   corpus.jsonl, or documents, docs, collection; .jsonl or .tsv (id<tab>text)
    queries     queries.jsonl or .tsv, or TREC topics (topics.*, *.topics), or tab-separated topics
    judgments   qrels/<split>.tsv, or qrels.trec, qrels.txt, qrels.<split>.trec, <split>.qrels
    excluded    excluded_ids.jsonl ({"_id": query, "excluded_ids": [...]})

Each may be packed as .gz. A folder may lack any of them; what needs it then says so. The judgments are those of the
split `test` (qrels.trec is `test` as well), or the only ones there are; `FOLDER?split=dev` names others. Knows nothing
of where the files came from.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from limrank.datasets import NO_DOCUMENTS, _lines, _topics
from limrank.datasets._corpus import Corpus
from limrank.errors import BadFile
from limrank.files import open_lines, read_text, sha256
from limrank.qrels import Qrels
from limrank.records import Document, Query

DEFAULT_SPLIT = "test"
DOCUMENTS = tuple(
    f"{stem}.{kind}" for stem in ("corpus", "documents", "docs", "collection") for kind in ("jsonl", "tsv")
)
QUERIES = re.compile(r"(queries|topics)\.(jsonl|tsv)|topics(\.[^/]*)?|[^/]+\.topics", re.IGNORECASE)
# The name of the split, if any, is what the brackets catch.
QRELS = re.compile(r"qrels\.(?:trec|txt|tsv|qrels)|qrels[._-]?(.+)\.(?:trec|txt|tsv|qrels)|(.+)\.qrels")
BEIR_QRELS = re.compile(r"(.+)\.(?:tsv|trec|txt|qrels)")
EXCLUDED = "excluded_ids.jsonl"


class FolderDataset:
    """The dataset in a folder."""

    def __init__(self, folder: Path, *, split: str = "") -> None:
        self.folder = folder
        self.split = split
        self.name = folder.resolve().name + (f"/{split}" if split not in ("", DEFAULT_SPLIT) else "")

    @functools.cached_property
    def revision(self) -> str:
        """Each file's name and the first digits of its sha256; of a corpus above 64 MiB samples, and it says so.

        Covers the queries, these judgments, the excluded documents and the corpus, so far as they are there.
        """
        parts = {path: sha256(path)[:12] for path in (self._queries, self._excluded) if path}
        if path := self._judgments:
            parts[path] = sha256(path)[:12]
        if self._documents:
            parts[self._documents] = Corpus(self._documents, name=self.name).fingerprint()
        return ", ".join(
            f"{path.relative_to(self.folder).as_posix()} sha256 {digest}" for path, digest in sorted(parts.items())
        )

    @functools.cached_property
    def corpus_revision(self) -> str:
        """The same of the documents alone."""
        if self._documents is None:
            return NO_DOCUMENTS
        name = self._documents.relative_to(self.folder).as_posix()
        return f"{name} sha256 {Corpus(self._documents, name=self.name).fingerprint()}"

    def documents(self) -> Iterator[Document]:
        """All documents in the order of the file.

        Raises:
            BadFile: There is no corpus, a line is no document, or an id is there twice (found behind the last one).
        """
        return self._corpus.documents()

    def lookup(self, doc_ids: Iterable[str]) -> dict[str, Document]:
        """The documents with these ids, in the order asked for.

        Raises:
            Mismatch: The corpus lacks some of them.
            BadFile: There is no corpus, or it cannot be read.
        """
        return self._corpus.lookup(doc_ids)

    def queries(self) -> Iterator[Query]:
        """All queries in the order of the file, less those that only other splits judge; of TREC topics the title.

        Raises:
            BadFile: There are none, a line is no query, or an id is there twice.
        """
        path = self._need(self._queries, "queries.jsonl or TREC topics")
        foreign = self._foreign_queries()
        first: dict[str, int] = {}
        for number, query in read_queries(path):
            if first.setdefault(query.query_id, number) != number:
                raise BadFile(
                    f"{path}:{number}: query {query.query_id!r} is already in line {first[query.query_id]}; keep one"
                )
            if query.query_id not in foreign:
                yield query
        if not first:
            raise BadFile(f"{path}: no queries in it")

    def qrels(self) -> Qrels:
        """The judgments of the split.

        Raises:
            BadFile: There are none, several without one being named, or a line is wrong; or a document is judged
                relevant and excluded at once.
        """
        path = self._need_judgments()
        qrels = Qrels.read(path, name=self.name)
        for query_id, doc_ids in self.excluded().items():
            if both := sorted(doc_ids & qrels.relevant(query_id)):
                raise BadFile(
                    f"{path}: query {query_id!r} judges document {both[0]!r} as relevant, and {self._excluded} says "
                    "that it must not be returned; correct one"
                )
        return qrels

    def excluded(self) -> Mapping[str, frozenset[str]]:
        """By query id, the documents that must never be returned for it; BRIGHT's "N/A" is none.

        Raises:
            BadFile: A line has no id or no list of excluded_ids.
        """
        if not (path := self._excluded):
            return {}
        found: dict[str, frozenset[str]] = {}
        for number, _, line in _lines.numbered(path):
            record = _lines.parse(path, number, line)
            query_id = _lines.id_in(record, _lines.QUERY_ID, path, number)
            doc_ids = record.get("excluded_ids")
            if not isinstance(doc_ids, list) or not all(type(doc_id) in (str, int) for doc_id in doc_ids):
                raise BadFile(f"{path}:{number}: excluded_ids should be a list of document ids")
            if query_id in found:
                raise BadFile(f"{path}:{number}: query {query_id!r} is there twice")
            found[query_id] = frozenset(str(doc_id) for doc_id in doc_ids if doc_id != "N/A")
        return {query_id: doc_ids for query_id, doc_ids in found.items() if doc_ids}

    @functools.cached_property
    def splits(self) -> Mapping[str, Path]:
        """The files of judgments by split, sorted."""
        found: dict[str, Path] = {}
        candidates = [(path, QRELS) for path in files_in(self.folder)]
        candidates += [(path, BEIR_QRELS) for path in files_in(self.folder / "qrels")]
        for path, pattern in candidates:
            if match := pattern.fullmatch(path.name.removesuffix(".gz")):
                split = next(filter(None, match.groups()), DEFAULT_SPLIT)
                if split in found:
                    raise BadFile(f"{path}: judges split {split!r}, and so does {found[split].name}; keep one")
                found[split] = path
        return dict(sorted(found.items()))

    @functools.cached_property
    def _corpus(self) -> Corpus:
        return Corpus(self._need(self._documents, "corpus.jsonl or corpus.tsv"), name=self.name)

    @property
    def _documents(self) -> Path | None:
        return next((path for name in DOCUMENTS if (path := self._file(name))), None)

    @property
    def _queries(self) -> Path | None:
        if path := self._file("queries.jsonl"):
            return path
        found = [path for path in files_in(self.folder) if QUERIES.fullmatch(path.name.removesuffix(".gz"))]
        if len(found) > 1:
            raise BadFile(
                f"{self.folder}: several files of queries ({', '.join(path.name for path in found)}); keep one"
            )
        return found[0] if found else None

    @property
    def _excluded(self) -> Path | None:
        return self._file(EXCLUDED)

    def _file(self, name: str) -> Path | None:
        return next((path for path in (self.folder / name, self.folder / f"{name}.gz") if path.is_file()), None)

    def _need(self, path: Path | None, expected: str) -> Path:
        if path is None:
            raise BadFile(f"{self.folder}: has no {expected}, which is needed here")
        return path

    @property
    def _judgments(self) -> Path | None:
        if self.split or DEFAULT_SPLIT in self.splits:
            return self.splits.get(self.split or DEFAULT_SPLIT)
        return next(iter(self.splits.values())) if len(self.splits) == 1 else None

    def _need_judgments(self) -> Path:
        if path := self._judgments:
            return path
        if not self.splits:
            raise BadFile(f"{self.folder}: has no judgments; expected qrels/test.tsv, qrels.trec or NAME.qrels")
        raise BadFile(
            f"{self.folder}: has no judgments of split {self.split or DEFAULT_SPLIT!r}, only of "
            f"{', '.join(self.splits)}; choose one with {self.folder}?split={next(iter(self.splits))}"
        )

    def _foreign_queries(self) -> set[str]:
        """The queries that only other splits judge: BEIR keeps those of all splits in one file."""
        own = self._judgments
        if own is None or len(self.splits) == 1:
            return set()
        others = set().union(*(judged(path) for path in self.splits.values() if path != own))
        return others - judged(own)


def load(path: str, *, split: str = "") -> FolderDataset:
    """The dataset in a folder.

    Args:
        path: The folder, with `?split=NAME` behind it where a split other than `test` is wanted.
        split: The same as a keyword.

    Raises:
        BadFile: There is no such folder or split, or nothing in it that a dataset has.
    """
    place, chosen = take_apart(path)
    dataset = FolderDataset(Path(place), split=split or chosen)
    if not Path(place).is_dir():
        raise BadFile(f"{place}: no such folder")
    if not (dataset._documents or dataset._queries or dataset.splits):
        raise BadFile(
            f"{place}: no dataset in it; expected corpus.jsonl, queries.jsonl, qrels/test.tsv, or TREC topics and qrels"
        )
    if dataset.split:
        dataset._need_judgments()
    return dataset


def take_apart(path: str) -> tuple[str, str]:
    """Folder and split of `FOLDER?split=NAME`; a folder that is called so is itself."""
    place, mark, split = path.rpartition("?split=")
    return (place, split) if mark and not Path(path).is_dir() else (path, "")


def files_in(folder: Path) -> list[Path]:
    """The files of a folder, sorted by name; none where there is no such folder."""
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def read_queries(path: Path) -> Iterator[tuple[int, Query]]:
    """Line number and query, for each query of a file in any of the formats."""
    if _lines.is_table(path) and _topics.is_trec(text := read_text(path)):
        yield from _topics.topics(path, text)
        return
    for number, _, line in _lines.numbered(path):
        yield number, _lines.query(path, number, line)


def judged(path: Path) -> set[str]:
    """The queries in a file of judgments, from its first column alone."""
    with open_lines(path) as file:
        return {line.split(b"\t" if b"\t" in line else None, 1)[0].decode().strip() for line in file if line.strip()}
