"""Collections: documents, queries and judgments, by id or folder.

A dataset streams; nobody holds the corpus in memory. Knows nothing of indexes, runs or models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, cast

from limrank import plugins
from limrank.qrels import Qrels
from limrank.records import Document, Query

# The corpus revision of a dataset of queries only, which any index may be searched with.
NO_DOCUMENTS = "no documents"


class Dataset(Protocol):
    """A collection.

    Attributes:
        name: As the user writes it: "bright/biology", "stdlib"; of a folder its last part.
        revision: What pins the content (a version, a commit, a hash); goes into every manifest.

    One whose queries or judgments can differ over the same documents also has `corpus_revision`, which pins the
    documents alone, or is NO_DOCUMENTS: an index is known by that, outlives a corrected judgment, and is searched with
    the queries of every dataset of the same documents.
    """

    @property
    def name(self) -> str: ...

    @property
    def revision(self) -> str: ...

    def documents(self) -> Iterator[Document]:
        """All documents in a fixed order, as a stream."""
        ...

    def lookup(self, doc_ids: Iterable[str]) -> dict[str, Document]:
        """The documents with these ids.

        Raises:
            Mismatch: The collection lacks some of them; the message counts them and names one.
        """
        ...

    def queries(self) -> Iterator[Query]:
        """All queries in a fixed order."""
        ...

    def qrels(self) -> Qrels:
        """The judgments."""
        ...

    def excluded(self) -> Mapping[str, frozenset[str]]:
        """By query id, the documents that must never be returned for it; most collections have none."""
        ...


def open_dataset(name: str) -> Dataset:
    """The dataset of this id or folder.

    The first part of an id names the module here that knows it (`bright/biology`, `followir/core17`, `litsearch`,
    `stdlib`), and what follows a question mark is that module's option (`litsearch?revision=main`); a path to a folder
    is read as BEIR, TREC or JSON lines (`FOLDER?split=dev` for other judgments than test); every other id is asked of
    ir_datasets.

    Raises:
        Unknown: Nobody knows the id.
        BadFile: The folder lacks what a dataset needs.
    """
    from limrank.datasets import folder, irds

    if Path(folder.take_apart(name)[0]).is_dir() or name.startswith((".", "/", "~")):
        return folder.load(name)
    first = re.split("[/?]", name, maxsplit=1)[0]
    if first in plugins.names("datasets") and first not in ("folder", "irds"):
        return cast(Dataset, plugins.find("datasets", first).load(name.removeprefix(first).removeprefix("/")))
    return irds.load(name)


def register_with_ir_datasets() -> list[str]:
    """Make FollowIR and LitSearch known to ir_datasets in this process, so that other tools can load them by id.

    Returns:
        The ids that were added; none at a second call.

    Raises:
        MissingExtra: ir_datasets is not installed.
    """
    from limrank.datasets import _hub_irds

    return _hub_irds.register_with_ir_datasets()
