"""Qrels: graded judgments, read from TREC and BEIR files.

A relevance above 0 is relevant; 0 and below are judged and not relevant. Knows nothing of runs or measures.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral
from pathlib import Path

from limrank.errors import BadFile, BadRecord
from limrank.files import atomic_write, lines, open_lines
from limrank.run import check_columns, decode_id, encode_id, name_of

# Relevance levels are integers; "1.0" is one as well, "0.5" is not and trec_eval would read it as 0.
RELEVANCE = re.compile(rb"[+-]?\d+(\.0*)?\Z")
# trec_eval's own code reads a longer number as something else.
MOST = 2**31 - 1
BEIR_HEADER = (b"query-id", b"query_id", b"qid")


class Qrels(Mapping[str, Mapping[str, int]]):
    """Relevance by document id, by query id, in the order of the file."""

    def __init__(self, judgments: Mapping[str, Mapping[str, int]], *, name: str = "qrels") -> None:
        """Judgments that are copied.

        Raises:
            BadRecord: A relevance is not an integer, or one that trec_eval cannot hold.
        """
        self.name = name
        self._judgments: dict[str, dict[str, int]] = {}
        for query_id, by_doc in judgments.items():
            for doc_id, relevance in by_doc.items():
                if not isinstance(relevance, Integral) or isinstance(relevance, bool):
                    raise BadRecord(
                        f"{name}: query {query_id!r}, document {doc_id!r}: relevance {relevance!r} is not an integer"
                    )
                if abs(relevance) > MOST:
                    raise BadRecord(
                        f"{name}: query {query_id!r}, document {doc_id!r}: relevance {relevance} is beyond what "
                        f"trec_eval can hold, {MOST}"
                    )
            self._judgments[query_id] = {doc_id: int(relevance) for doc_id, relevance in by_doc.items()}

    @classmethod
    def read(cls, path: str | Path, *, name: str = "") -> Qrels:
        """Read TREC qrels (`query_id 0 doc_id relevance`) or BEIR's (`query-id<tab>corpus-id<tab>score`, with header).

        A line that is there twice counts once.

        Raises:
            BadFile: A line has the wrong number of columns, a relevance that is not an integer, or another relevance
                for a document that was judged before; the message begins with file:line.
        """
        path = Path(path)
        judgments: dict[str, dict[str, int]] = {}
        with open_lines(path) as file:
            beir = False
            for number, line in enumerate(lines(file), 1):
                if not line.strip():
                    continue
                if number == 1 and line.split(b"\t")[0].strip() in BEIR_HEADER:
                    beir = True
                    continue
                try:
                    query_id, doc_id, level = _beir_line(line) if beir else _trec_line(line)
                except ValueError as error:
                    raise BadFile(f"{path}:{number}: {error}") from None
                if not RELEVANCE.match(level):
                    raise BadFile(f"{path}:{number}: relevance {level.decode(errors='replace')!r} is not an integer")
                by_doc = judgments.setdefault(query_id, {})
                relevance = int(level.partition(b".")[0])
                if abs(relevance) > MOST:
                    raise BadFile(f"{path}:{number}: relevance {relevance} is beyond what trec_eval can hold, {MOST}")
                if by_doc.setdefault(doc_id, relevance) != relevance:
                    raise BadFile(
                        f"{path}:{number}: query {query_id!r} judges document {doc_id!r} as {relevance}, "
                        f"and as {by_doc[doc_id]} before; keep one"
                    )
        if not judgments:
            raise BadFile(f"{path}: no judgments in it")
        return cls(judgments, name=name or re.sub(r"\.(qrels|tsv)$", "", name_of(path)))

    def write(self, path: str | Path) -> None:
        """Write TREC qrels, whole or not at all; ids with white space are percent-encoded."""
        check_columns(self._judgments, where=self.name)
        with atomic_write(Path(path)) as file:
            file.write(self._trec())

    def sha256(self) -> str:
        """Hex digest of the judgments as TREC lines in sorted order: equal for equal judgments, whatever the file."""
        return hashlib.sha256(b"".join(sorted(self._trec().splitlines(keepends=True)))).hexdigest()

    def relevant(self, query_id: str) -> frozenset[str]:
        """The documents with relevance above 0; empty for an unknown query."""
        return frozenset(doc_id for doc_id, relevance in self._judgments.get(query_id, {}).items() if relevance > 0)

    def __getitem__(self, query_id: str) -> Mapping[str, int]:
        return self._judgments[query_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._judgments)

    def __len__(self) -> int:
        return len(self._judgments)

    def __repr__(self) -> str:
        return f"Qrels({self.name!r}, {len(self)} queries, {sum(map(len, self._judgments.values()))} judgments)"

    def _trec(self) -> bytes:
        return "".join(
            f"{query_id} 0 {encode_id(doc_id)} {relevance}\n"
            for query_id, by_doc in self._judgments.items()
            for doc_id, relevance in by_doc.items()
        ).encode()


def digest_of(judgments: Iterable[tuple[str, str]]) -> str:
    """One digest for judgments given as (sha256, name): that of the one, or of the sorted lines `sha256 name`."""
    lines = sorted(f"{sha256} {name}\n" for sha256, name in judgments)
    return lines[0].partition(" ")[0] if len(lines) == 1 else hashlib.sha256("".join(lines).encode()).hexdigest()


def _trec_line(line: bytes) -> tuple[str, str, bytes]:
    # The document id is what stands between the second column and the last, so it may hold spaces.
    start = line.split(None, 2)
    if len(start) < 3 or len(rest := start[2].rsplit(None, 1)) < 2:
        raise ValueError(f"{len(line.split())} columns; a qrels line is: query_id 0 doc_id relevance")
    return start[0].decode(), decode_id(rest[0].strip().decode()), rest[1]


def _beir_line(line: bytes) -> tuple[str, str, bytes]:
    fields = [field.strip() for field in line.split(b"\t")]
    if len(fields) != 3:
        raise ValueError(f"{len(fields)} tab-separated columns; a BEIR qrels line is: query-id corpus-id score")
    return fields[0].decode(), fields[1].decode(), fields[2]
