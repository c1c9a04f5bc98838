"""A file of documents of any size, streamed, and looked up by where each document begins.

Holds 16 bytes a document and never the documents. A packed file cannot be entered in the middle, so there a lookup
reads through it once. Knows nothing of queries or judgments.
"""

from __future__ import annotations

import functools
import hashlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from limrank.datasets import _lines
from limrank.errors import BadFile, Mismatch
from limrank.files import open_read, open_read_raw, sha256
from limrank.records import Document

if TYPE_CHECKING:
    import numpy as np

    Integers = np.ndarray[Any, np.dtype[np.int64]]

# A corpus above SAMPLED is fingerprinted by its size and BLOCKS pieces of it, first and last among them: 64 MiB take a
# tenth of a second, the 5 GB of a large corpus ten.
BLOCK = 1 << 20
BLOCKS = 64
SAMPLED = BLOCK * BLOCKS


class Places(NamedTuple):
    """Where documents begin: hash of the id, ascending, and byte offset."""

    hashes: Integers
    offsets: Integers


class Corpus:
    """The documents of one JSON lines or tab-separated file."""

    def __init__(self, path: Path, *, name: str) -> None:
        self.path = path
        self.name = name

    def documents(self) -> Iterator[Document]:
        """Every document in the order of the file.

        Raises:
            BadFile: A line is no document, or, behind the last one, two documents have the same id.
        """
        hashes = array("q")
        for number, _, line in _lines.numbered(self.path):
            document = _lines.document(self.path, number, line)
            hashes.append(hash(document.doc_id))
            yield document
        self._refuse_repeats(hashes)

    def lookup(self, doc_ids: Iterable[str]) -> dict[str, Document]:
        """The documents with these ids, in the order asked for.

        Raises:
            Mismatch: The file lacks some of them.
            BadFile: A line is no document, or two documents have the same id.
        """
        wanted = dict.fromkeys(doc_ids)
        if not wanted:
            return {}
        found = self._scan(wanted) if self.path.suffix == ".gz" else self._fetch(list(wanted))
        missing = [doc_id for doc_id in wanted if doc_id not in found]
        if missing:
            raise Mismatch(
                f"{self.name} lacks {len(missing)} of {len(wanted)} documents, e.g. {missing[0]!r} ({self.path})"
            )
        return {doc_id: found[doc_id] for doc_id in wanted}

    def fingerprint(self) -> str:
        """sha256 of the whole file, or of samples and then its size as well; says which."""
        size = self.path.stat().st_size
        if size <= SAMPLED:
            return sha256(self.path)[:12]
        digest = hashlib.sha256()
        with open_read_raw(self.path) as file:
            for block in range(BLOCKS):
                file.seek((size - BLOCK) * block // (BLOCKS - 1))
                digest.update(file.read(BLOCK))
        return f"{digest.hexdigest()[:12]} ({BLOCKS} samples of 1 MiB of {size} bytes)"

    def _scan(self, wanted: dict[str, None]) -> dict[str, Document]:
        found: dict[str, Document] = {}
        hashes = array("q")
        for number, _, line in _lines.numbered(self.path):
            doc_id = _lines.doc_id(self.path, number, line)
            hashes.append(hash(doc_id))
            if doc_id in wanted:
                found[doc_id] = _lines.document(self.path, number, line)
        self._refuse_repeats(hashes)
        return found

    def _fetch(self, wanted: list[str]) -> dict[str, Document]:
        import numpy as np

        keys = np.fromiter(map(hash, wanted), np.int64, len(wanted))
        places = self._places
        # Two ids may share a hash, so everything between left and right is read; lookup picks by id.
        left = np.searchsorted(places.hashes, keys, side="left")
        right = np.searchsorted(places.hashes, keys, side="right")
        offsets = sorted({int(places.offsets[i]) for start, end in zip(left, right) for i in range(start, end)})
        found: dict[str, Document] = {}
        with open_read(self.path) as file:
            for offset in offsets:
                file.seek(offset)
                line = file.readline()
                try:
                    document = _lines.document(self.path, 1 if offset == 0 else 2, line)
                except BadFile:
                    # Only now is the line's number worth a pass.
                    document = _lines.document(self.path, self._line_number(offset), line)
                found[document.doc_id] = document
        return found

    def _line_number(self, offset: int) -> int:
        return next((number for number, start, _ in _lines.numbered(self.path) if start == offset), 0)

    @functools.cached_property
    def _places(self) -> Places:
        import numpy as np

        hashes, offsets = array("q"), array("q")
        for number, offset, line in _lines.numbered(self.path):
            hashes.append(hash(_lines.doc_id(self.path, number, line)))
            offsets.append(offset)
        self._refuse_repeats(hashes)
        unsorted = np.frombuffer(hashes, np.int64)
        order = np.argsort(unsorted)
        return Places(unsorted[order], np.frombuffer(offsets, np.int64)[order])

    def _refuse_repeats(self, hashes: array[int]) -> None:
        """Check that no id is there twice; the file is read again only where two hashes are equal."""
        import numpy as np

        if not hashes:
            raise BadFile(f"{self.path}: no documents in it")
        ordered = np.sort(np.frombuffer(hashes, np.int64))
        repeated = {int(value) for value in ordered[1:][ordered[1:] == ordered[:-1]]}
        if not repeated:
            return
        first: dict[str, int] = {}
        for number, _, line in _lines.numbered(self.path):
            doc_id = _lines.doc_id(self.path, number, line)
            if hash(doc_id) in repeated and first.setdefault(doc_id, number) != number:
                raise BadFile(f"{self.path}:{number}: document {doc_id!r} is already in line {first[doc_id]}")
