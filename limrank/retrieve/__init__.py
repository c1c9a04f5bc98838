"""The first stage: a dataset to an index, an index and queries to a run.

An index is a folder with a `manifest.json`, written last: a folder without one is not an index. A kind of index is a
module here (`lucene`, `faiss`) or an entry point of the group `limrank.retrieve`, with

    build(dataset, folder, track, *, <options>) -> Contents      fill an empty folder
    open_index(folder, manifest, *, <options>) -> Retriever      and search it

Knows nothing of Java, of vectors or of the command line.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from limrank import plugins
from limrank.datasets import Dataset
from limrank.errors import BadFile, BadRecord, LimrankError, Mismatch
from limrank.files import check_place
from limrank.manifest import Manifest, path_of
from limrank.progress import Track, silent
from limrank.records import Document, Query, ScoredDoc
from limrank.retrieve._identity import check_documents as check_documents
from limrank.retrieve._identity import difference, documents_of
from limrank.retrieve._identity import made_as as made_as
from limrank.run import Run

COMMAND = "limrank index"

T = TypeVar("T")


class Retriever(Protocol):
    """An open index.

    Attributes:
        name: What a run of it is called by default.
    """

    name: str

    def search(
        self, queries: Sequence[Query], k: int, excluded: Mapping[str, frozenset[str]] = {}
    ) -> dict[str, list[ScoredDoc]]:
        """Per query id, in the order given, the k best documents that are not excluded, best first.

        Equal scores are in a fixed order, the same for every call. Fewer than k only where no more match.
        """
        ...


class Contents(NamedTuple):
    """What a kind has put into an index: counts and whatever identifies it beyond the options."""

    counts: Mapping[str, int]
    parameters: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Built:
    """An index that is there now; `already_there` when nothing had to be done."""

    path: Path
    manifest: Manifest
    already_there: bool = False


def index(
    dataset: Dataset,
    kind: str = "lucene",
    *,
    out: Path,
    force: bool = False,
    track: Track = silent,
    options: Mapping[str, str] = {},
) -> Built:
    """Build an index of all documents of a dataset, whole or not at all.

    Args:
        dataset: Its documents are streamed; what is found is title, space, text.
        kind: "lucene" or "faiss".
        out: The index folder. An index of the same documents, kind and options is left as it is.
        force: Build again, in place of whatever index is there.
        track: Sees the documents go by.
        options: The kind's own, as text.

    Raises:
        Unknown: No such kind or option.
        Mismatch: `out` holds an index of something else.
        LimrankError: `out` is in use for something that is no index.
        BadFile: The folder that `out` is to be in cannot be made or written to.
        BadRecord: A document without an id, or two with the same.
    """
    module = plugins.find("retrieve", kind)
    settled = plugins.settle(module.build, options=options, what=f"index kind {kind!r}")
    parameters = {"kind": kind, "options": settled}
    inputs = {"dataset": dataset.name, "revision": documents_of(dataset)}
    if _occupied(out) and not force:
        manifest = Manifest.read(out)
        if different := difference(manifest, inputs, parameters):
            raise Mismatch(f"{out}: is an index of something else ({different}); choose another folder, or --force")
        return Built(out, manifest, already_there=True)

    check_place(out)
    started = time.monotonic()
    with _replacing(out) as folder:
        contents: Contents = module.build(_Checked(dataset), folder, track, **settled)
        if not contents.counts["documents"]:
            raise LimrankError(f"{dataset.name}: no document with any text in it; there is nothing to index")
        Manifest(
            command=COMMAND,
            parameters=parameters | dict(contents.parameters),
            inputs=inputs,
            counts=contents.counts,
            seconds=time.monotonic() - started,
            output={"name": out.name},
        ).write(folder)
    return Built(out, Manifest.read(out))


def open_index(path: Path, *, options: Mapping[str, str] = {}) -> Retriever:
    """The index in this folder, ready to be searched.

    Raises:
        BadFile: The folder is not there, or is not a complete index.
        Unknown: The kind has no such option.
        Mismatch: The options ask for something else than what the index was made with.
    """
    if not path.is_dir():
        raise BadFile(f"{path}: no such index; build it with: limrank index DATASET")
    if not path_of(path).exists():
        raise BadFile(
            f"{path}: is not an index, or one whose building was cut short (no manifest.json); build it again"
        )
    manifest = Manifest.read(path)
    kind = manifest.parameters.get("kind")
    if manifest.command != COMMAND or not isinstance(kind, str):
        raise BadFile(f"{path_of(path)}: is not the manifest of an index, but of {manifest.command!r}")
    retriever: Retriever = plugins.call(
        plugins.find("retrieve", kind).open_index, path, manifest, options=options, what=f"index kind {kind!r}"
    )
    return retriever


def retrieve(
    retriever: Retriever | Path,
    queries: Sequence[Query],
    *,
    k: int = 1000,
    excluded: Mapping[str, frozenset[str]] = {},
    name: str = "",
    track: Track = silent,
    options: Mapping[str, str] = {},
) -> Run:
    """Search an index with all queries.

    Args:
        retriever: An open index, or its folder.
        queries: Their `text` is searched; an instruction is for rerankers. One that matches nothing, because it is
            empty or only stop words, has an empty ranking.
        k: Documents per query.
        excluded: By query id, documents that are removed before the cut at k.
        name: The run's; default: the retriever's.
        track: Sees the queries go by.
        options: Of the kind, where a folder is given.

    Raises:
        BadRecord: Two queries have the same id.
        LimrankError: k is below 1.
    """
    if k < 1:
        raise LimrankError(f"k={k}: at least one document per query is needed")
    seen: set[str] = set()
    for query in queries:
        if query.query_id in seen:
            raise BadRecord(f"query {query.query_id!r} is there twice; ids need to be unique")
        seen.add(query.query_id)
    if isinstance(retriever, Path):
        retriever = open_index(retriever, options=options)
    opened = retriever
    rankings: dict[str, list[ScoredDoc]] = {}

    def search(batch: list[Query]) -> None:
        rankings.update(opened.search(batch, k, excluded))

    # A batch bounds what is in memory at a time: about a quarter of a million results.
    in_batches(queries, max(1, 250_000 // k), search, track=track, label="retrieve", total=len(queries))
    return Run(rankings, name=name or retriever.name)


def search_without(
    search: Callable[[Sequence[Query], int], dict[str, list[ScoredDoc]]],
    queries: Sequence[Query],
    k: int,
    excluded: Mapping[str, frozenset[str]],
) -> dict[str, list[ScoredDoc]]:
    """For kinds: k documents per query from a search that cannot exclude any.

    Queries that lose documents are searched again, deep enough for all that they exclude: BRIGHT's exclusions run to
    11,000 per query, and few of them are ever among the first k.
    """
    rankings: dict[str, list[ScoredDoc]] = {}
    short: list[Query] = []
    found = search(queries, k)
    for query in queries:
        ranking, barred = found[query.query_id], excluded.get(query.query_id, frozenset())
        rankings[query.query_id] = [scored for scored in ranking if scored.doc_id not in barred]
        if len(rankings[query.query_id]) < len(ranking) == k:
            short.append(query)
    if short:
        for query_id, ranking in search(short, k + max(len(excluded[query.query_id]) for query in short)).items():
            rankings[query_id] = [scored for scored in ranking if scored.doc_id not in excluded[query_id]][:k]
    return rankings


class _Checked:
    """A dataset whose documents have ids, each once."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.name = dataset.name

    def documents(self) -> Iterator[Document]:
        seen: set[str] = set()
        for number, document in enumerate(self._dataset.documents(), 1):
            if not document.doc_id:
                raise BadRecord(f"{self.name}: document {number} has no id")
            if document.doc_id.encode("utf-8", "replace").decode() != document.doc_id:
                raise BadRecord(f"{self.name}: document {number} has the id {document.doc_id!r}, which is not Unicode")
            if document.doc_id in seen:
                raise BadRecord(f"{self.name}: document {number} has the id {document.doc_id!r} of an earlier one")
            seen.add(document.doc_id)
            yield document


def _occupied(out: Path) -> bool:
    """Whether there is an index at `out`; whatever else is there is not ours to replace."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not out.is_dir() or not path_of(out).exists() or Manifest.read(out).command != COMMAND:
        raise LimrankError(f"{out}: is there and is not an index; choose another folder with --out, or remove it")
    return True


@contextlib.contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """An empty folder beside `out` that takes its name when the block ends without an error."""
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part"))
    old = folder.with_suffix(".old")
    try:
        yield folder
        folder.chmod(0o777 & ~_umask())
        if out.exists():
            out.replace(old)
        folder.replace(out)
    finally:
        if old.exists() and not out.exists():
            old.replace(out)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """For kinds: lists of `size` items, the last one shorter."""
    left = iter(items)
    while batch := list(itertools.islice(left, size)):
        yield batch


def cores() -> int:
    """For kinds: the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_batches(
    items: Iterable[T],
    size: int,
    work: Callable[[list[T]], None],
    *,
    track: Track,
    label: str,
    total: int | None = None,
) -> None:
    """For kinds: do the work batch by batch; the tracker sees an item when the work on it is done."""

    def done() -> Iterator[T]:
        for batch in batches(items, size):
            work(batch)
            yield from batch

    for _ in track(done(), label=label, total=total):
        pass
