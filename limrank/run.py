"""Run: for each query, documents in strictly decreasing score. The noun at which all stages meet.

Whoever holds a Run need not think of ties, NaN, duplicates or order again. Knows nothing of documents' texts, of
judgments or of how the scores came about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limrank.errors import BadFile, BadRecord
from limrank.files import atomic_write, lines, open_lines
from limrank.records import ScoredDoc

if TYPE_CHECKING:
    import numpy as np

    Scores = np.ndarray[Any, np.dtype[np.float32]]

# Six columns of a TREC run, read from both ends, so that a document id may hold spaces. Bytes, because str.split and
# str's \s also split at Unicode spaces, and trec_eval does not.
LINE = re.compile(rb"\s*(\S+)\s+(\S+)\s+(\S.*?)\s+(\S+)\s+(\S+)\s+(\S+)\s*\Z", re.DOTALL)
# What would end a column, and the percent sign of what already looks like its code (or the code of that, ...). Other
# codes, as in the ids of DBpedia, stay as they are, so that all tools know a document by one name.
SPACE = "(?:20|09|0A|0B|0C|0D)"
ENCODE = re.compile(rf"[ \t\n\r\v\f]|%(?=(?:25)*{SPACE})")
DECODE = re.compile(rf"%({SPACE}|25(?=(?:25)*{SPACE}))")
FLOAT32_MAX = 3.4028235e38
# What the column of a rank may be made of.
NUMBER = b"0123456789.+-"


def encode_id(doc_id: str) -> str:
    """The id as one column of a TREC file: ASCII white space percent-encoded, everything else as it is."""
    return ENCODE.sub(lambda match: f"%{ord(match[0]):02X}", doc_id)


def decode_id(column: str) -> str:
    """The inverse of `encode_id`."""
    return DECODE.sub(lambda match: chr(int(match[1], 16)), column) if "%" in column else column


class Run(Mapping[str, Sequence[ScoredDoc]]):
    """Rankings by query id, best document first.

    Iteration is in the order in which queries were given. Scores are finite, and strictly decreasing when compared as
    float32, which is what trec_eval does; so every tool that reads a written run sees the same order.
    """

    def __init__(self, rankings: Mapping[str, Iterable[tuple[str, float]]], *, name: str = "run") -> None:
        """Rankings whose order is already decided.

        Args:
            rankings: Per query, documents best first. A score that is not below the one before it (a tie, or a gap
                too small for float32) is lowered to the next smaller float32.
            name: What tables and the sixth column of a TREC file call this run.

        Raises:
            BadRecord: A score is not finite, scores rise, or a document is there twice.
        """
        self.name = name
        self._docs: dict[str, list[str]] = {}
        self._scores: dict[str, Scores] = {}
        for query_id, ranking in rankings.items():
            pairs = list(ranking)
            self._add(query_id, [doc_id for doc_id, _ in pairs], _scores([score for _, score in pairs]), where=name)

    @classmethod
    def from_scores(cls, scores: Mapping[str, Mapping[str, float]], *, name: str = "run") -> Run:
        """Rankings from scores in any order; float32 ties are broken as trec_eval breaks them, by descending doc id."""
        run = cls({}, name=name)
        for query_id, by_doc in scores.items():
            run._add_unordered(query_id, list(by_doc), _scores(list(by_doc.values())), where=name)
        return run

    @classmethod
    def read(cls, path: str | Path, *, name: str = "") -> Run:
        """Read a TREC run file, `.gz` or not; the rank column is ignored, ties go by descending doc id.

        Args:
            path: Lines of `query_id Q0 doc_id rank score tag`. Document ids may hold spaces, bare or as %20.
            name: Default: the file name without `.gz` and `.trec`.

        Raises:
            BadFile: A line has fewer than six columns, a score that is not a finite number, or a document that its
                query already has, and the message begins with file:line; or there is no line at all.
        """
        path = Path(path)
        run = cls({}, name=name or name_of(path))
        columns: dict[str, tuple[list[str], list[float]]] = {}
        try:
            for query, docs, ranks, scores in _blocks(path):
                # Ranks are not used; but a word there is a document id with a bare space in a line without a tag.
                if b"".join(ranks).translate(None, NUMBER) or b"_" in b"".join(scores):
                    raise ValueError
                known_docs, known_scores = columns.setdefault(query.decode(), ([], []))
                known_docs += map(decode_id, b"\n".join(docs).decode().split("\n"))
                known_scores += map(float, scores)
            for query_id in list(columns):
                run._add_unordered(query_id, columns[query_id][0], _scores(columns.pop(query_id)[1]), where=str(path))
        except (ValueError, BadRecord) as error:
            raise BadFile(_first_bad_line(path) or str(error)) from None
        if not run:
            raise BadFile(f"{path}: no results in it; make the run again, or give another file")
        return run

    def write(self, path: str | Path) -> None:
        """Write a TREC run file, whole or not at all; ids with white space are percent-encoded.

        Scores are written with the digits that give back the same float32, ranks start at 1.
        """
        tag = re.sub(r"\s+", "_", self.name) or "run"
        check_columns(self._docs, where=self.name)
        with atomic_write(Path(path)) as file:
            for query_id, docs in self._docs.items():
                columns = map(encode_id, docs) if ENCODE.search("".join(docs)) else docs
                scores = self._scores[query_id].astype(str)
                written = [
                    f"{query_id} Q0 {doc} {rank} {score} {tag}\n"
                    for rank, (doc, score) in enumerate(zip(columns, scores), 1)
                ]
                file.write("".join(written).encode())

    def top(self, k: int) -> Run:
        """The same run cut at the first k documents of every query."""
        cut = Run({}, name=self.name)
        for query_id in self._docs:
            cut._docs[query_id] = self._docs[query_id][:k]
            cut._scores[query_id] = self._scores[query_id][:k]
        return cut

    def without(self, excluded: Mapping[str, frozenset[str]]) -> Run:
        """The same run less each query's excluded documents."""
        kept = Run({}, name=self.name)
        for query_id, docs in self._docs.items():
            barred = excluded.get(query_id, frozenset())
            keep = [i for i, doc_id in enumerate(docs) if doc_id not in barred]
            kept._docs[query_id] = [docs[i] for i in keep]
            kept._scores[query_id] = self._scores[query_id][keep]
        return kept

    def renamed(self, name: str) -> Run:
        """The same run under another name."""
        other = Run({}, name=name)
        other._docs, other._scores = self._docs, self._scores
        return other

    def doc_ids(self, query_id: str) -> Sequence[str]:
        """The query's documents, best first."""
        return self._docs[query_id]

    def scores(self, query_id: str) -> Scores:
        """The query's scores as float32, in the order of `doc_ids`."""
        return self._scores[query_id]

    def __getitem__(self, query_id: str) -> list[ScoredDoc]:
        return [ScoredDoc(*pair) for pair in zip(self._docs[query_id], self._scores[query_id].tolist())]

    def __iter__(self) -> Iterator[str]:
        return iter(self._docs)

    def __len__(self) -> int:
        return len(self._docs)

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {len(self)} queries, {sum(map(len, self._docs.values()))} documents)"

    def _add_unordered(self, query_id: str, docs: list[str], scores: Scores, *, where: str) -> None:
        import numpy as np

        falling = scores[:-1] > scores[1:]
        if not falling.all() and not np.isnan(scores).any():
            order = np.argsort(-scores, kind="stable")
            ordered = scores[order]
            if (ordered[:-1] == ordered[1:]).any():
                # UTF-8 bytes sort like code points, so comparing str is comparing bytes, as trec_eval's strcmp does.
                order = np.array(sorted(range(len(docs)), key=lambda i: (scores[i], docs[i]), reverse=True))
                ordered = scores[order]
            docs, scores = [docs[i] for i in order], ordered
        self._add(query_id, docs, scores, where=where)

    def _add(self, query_id: str, docs: list[str], scores: Scores, *, where: str) -> None:
        import numpy as np

        if not np.isfinite(scores).all():
            i = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise BadRecord(f"{where}: query {query_id!r}, document {docs[i]!r}: score {scores[i]} is not finite")
        if len(set(docs)) != len(docs):
            twice = next(doc_id for i, doc_id in enumerate(docs) if doc_id in docs[:i])
            raise BadRecord(f"{where}: query {query_id!r} has document {twice!r} twice")
        if (scores[:-1] < scores[1:]).any():
            i = int(np.flatnonzero(scores[:-1] < scores[1:])[0])
            raise BadRecord(
                f"{where}: query {query_id!r}: score rises from {scores[i]} to {scores[i + 1]} at rank {i + 2}"
            )
        strict = _strict(scores)
        if not np.isfinite(strict).all():
            raise BadRecord(
                f"{where}: query {query_id!r}: scores tie at {scores[-1]}, below which float32 has no number"
            )
        self._docs[query_id] = docs
        self._scores[query_id] = strict


def check_columns(doc_ids: Mapping[str, Iterable[str]], *, where: str) -> None:
    """Refuse what would end up in the wrong column of a TREC file.

    Raises:
        BadRecord: A query id has white space (readers do not decode query ids), or an id is empty.
    """
    for query_id, docs in doc_ids.items():
        if not query_id or ENCODE.search(query_id):
            raise BadRecord(
                f"{where}: query id {query_id!r} cannot be written to a TREC file; ids need to be without white space"
            )
        if "" in docs:
            raise BadRecord(f"{where}: query {query_id!r} has a document with an empty id; give it one")


def name_of(path: Path) -> str:
    """The file name less `.gz` and `.trec`, `.run`, `.txt` or `.res`."""
    return re.sub(r"(\.(trec|run|txt|res))?(\.gz)?$", "", path.name)


def _blocks(path: Path) -> Iterator[tuple[bytes, list[bytes], list[bytes], list[bytes]]]:
    """Query id, document ids, ranks and scores of every stretch of lines with the same query.

    Columns are converted by the stretch, not by the line: that makes reading a third faster.
    """
    query: bytes | None = None
    docs: list[bytes] = []
    ranks: list[bytes] = []
    scores: list[bytes] = []
    with open_lines(path) as file:
        for number, line in enumerate(lines(file), 1):
            fields = line.split()
            if len(fields) != 6:
                if not fields:
                    continue
                fields = _columns(line, path, number)
            if fields[0] != query:
                if query is not None:
                    yield query, docs, ranks, scores
                query, docs, ranks, scores = fields[0], [], [], []
            docs.append(fields[2])
            ranks.append(fields[3])
            scores.append(fields[4])
    if query is not None:
        yield query, docs, ranks, scores


def _columns(line: bytes, path: Path, number: int) -> list[bytes]:
    """The six columns of a line whose document id may hold spaces."""
    if match := LINE.match(line):
        return list(match.groups())
    raise BadFile(f"{path}:{number}: {len(line.split())} columns; a run line is: query_id Q0 doc_id rank score tag")


def _first_bad_line(path: Path) -> str:
    """What is wrong with the first line that cannot be part of a run, found by reading the file again, slowly."""
    seen: set[tuple[str, str]] = set()
    with open_lines(path) as file:
        for number, line in enumerate(lines(file), 1):
            if not line.strip():
                continue
            try:
                query_id, _, doc_id, rank, score, _ = (column.decode() for column in _columns(line, path, number))
            except UnicodeDecodeError:
                return f"{path}:{number}: not UTF-8; convert the file first"
            if rank.encode().translate(None, NUMBER):
                return (
                    f"{path}:{number}: rank {rank!r} is not a number; a run line is: query_id Q0 doc_id rank score "
                    "tag, and none of them may be left out"
                )
            try:
                value = float(score.replace("_", "x"))
            except ValueError:
                return f"{path}:{number}: score {score!r} is not a number"
            if not abs(value) <= FLOAT32_MAX:
                return f"{path}:{number}: score {score} is not a finite float32; a ranking needs finite scores"
            if (query_id, decode_id(doc_id)) in seen:
                return f"{path}:{number}: query {query_id!r} has document {decode_id(doc_id)!r} a second time; keep one"
            seen.add((query_id, decode_id(doc_id)))
    return ""


def _scores(values: Sequence[float]) -> Scores:
    import numpy as np

    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float64).astype(np.float32)


def _strict(scores: Scores) -> Scores:
    """The scores with every tie opened downwards by the smallest step that float32 knows."""
    import numpy as np

    if (scores[:-1] > scores[1:]).all():
        return scores
    scores, below = scores.copy(), np.float32("-inf")
    with np.errstate(over="ignore"):
        for i in range(1, len(scores)):
            if scores[i] >= scores[i - 1]:
                scores[i] = np.nextafter(scores[i - 1], below)
    return scores
