"""What the datasets from the Hugging Face hub have in common: a pinned commit, and documents packed into a local file.

The first use of the documents writes id, title and text of each as JSON lines into the cache folder; they stream from
there, and a lookup reads only what it asks for. Knows nothing of queries and judgments.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from limrank.datasets._corpus import Corpus
from limrank.datasets._hub import Repository
from limrank.files import atomic_write, cache_folder
from limrank.qrels import Qrels
from limrank.records import Document


class HubDataset:
    """Documents of a repository; a subclass says how they are read there, and has queries and judgments."""

    def __init__(self, name: str, repository: Repository) -> None:
        self.name = name
        self.repository = repository

    @functools.cached_property
    def revision(self) -> str:
        """Repository, commit, and the first digits of the judgments' sha256.

        Raises:
            LimrankError: A file cannot be had; the message says what to do.
        """
        return f"{self.corpus_revision}, qrels sha256 {self.qrels().sha256()[:12]}"

    @property
    def corpus_revision(self) -> str:
        """Repository and commit, which pin the documents."""
        return f"{self.repository.repo}@{self.repository.commit}"

    def documents(self) -> Iterator[Document]:
        """All documents in the repository's order.

        Raises:
            BadFile: A row is no document, or, behind the last one, two documents have the same id.
            LimrankError: A file cannot be had; the message says what to do.
        """
        return self._corpus.documents()

    def lookup(self, doc_ids: Iterable[str]) -> dict[str, Document]:
        """The documents with these ids, in the order asked for.

        Raises:
            Mismatch: The collection lacks some of them.
            BadFile: A row is no document, or two documents have the same id.
            LimrankError: A file cannot be had; the message says what to do.
        """
        return self._corpus.lookup(doc_ids)

    def excluded(self) -> Mapping[str, frozenset[str]]:
        """Nothing is kept from being found."""
        return {}

    def qrels(self) -> Qrels:
        """The judgments."""
        raise NotImplementedError

    def read_documents(self) -> Iterator[Document]:
        """The documents as the repository's files have them."""
        raise NotImplementedError

    @functools.cached_property
    def _corpus(self) -> Corpus:
        folder = cache_folder() / "hub" / self.repository.repo.replace("/", "--") / self.repository.commit
        path = folder / "corpus.jsonl"
        if not path.exists():
            pack(self.read_documents(), path)
        return Corpus(path, name=self.name)


def pack(documents: Iterable[Document], path: Path) -> None:
    """Write documents as JSON lines, all of them or no file at all; the id goes first, where it is found fastest."""
    with atomic_write(path) as file:
        for doc_id, text, title in documents:
            file.write(json.dumps({"_id": doc_id, "title": title, "text": text}).encode() + b"\n")
