"""Asks Lucene: many queries at once, with all cores, results in one piece.

Ties go by ascending document id, as everywhere in Anserini. Knows nothing of how an index is made or of BM25.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limrank.records import Query, ScoredDoc
from limrank.retrieve import batches, cores, search_without
from limrank.retrieve._ids import Ids
from limrank.retrieve._jvm import alone, in_threads, java_class

if TYPE_CHECKING:
    import numpy as np

    Scores = np.ndarray[Any, np.dtype[np.float32]]
    Numbers = np.ndarray[Any, np.dtype[np.int64]]

SLACK = 100  # results beyond k, to see where the ties at the cut end
HITS = 250_000  # results in memory at a time
PAGE = 200_000  # document ids read at a time


class LuceneRetriever:
    """An open Lucene index whose documents' ids are in `ids` by Lucene's numbers.

    Anserini has Lucene break ties while it searches, and fetches every result from the stored documents: that is nine
    tenths of its time. Here Lucene ranks by score alone, and the ties are ordered afterwards.
    """

    def __init__(self, name: str, reader: Any, similarity: Any, generator: Any, ids: Ids) -> None:
        self.name = name
        self._searcher = _searcher(reader)
        self._searcher.setSimilarity(similarity)
        self._analyzer = java_class("io.anserini.analysis.DefaultEnglishAnalyzer").newDefaultInstance()
        self._generator = generator
        self._ids = ids
        self._json = java_class("com.fasterxml.jackson.databind.ObjectMapper")()

    def search(
        self, queries: Sequence[Query], k: int, excluded: Mapping[str, frozenset[str]] = {}
    ) -> dict[str, list[ScoredDoc]]:
        """See `limrank.retrieve.Retriever`; scores are Lucene's own.

        Raises:
            LimrankError: Java failed, most likely for want of memory.
        """
        return search_without(self._top, queries, k, excluded)

    def _top(self, queries: Sequence[Query], depth: int) -> dict[str, list[ScoredDoc]]:
        rankings: dict[str, list[ScoredDoc]] = {query.query_id: [] for query in queries}
        left, asked = list(queries), depth + SLACK
        while left:
            cut_in_a_tie = []
            for some in batches(left, max(1, HITS // asked)):
                for query, (scores, numbers) in zip(some, self._found(some, asked)):
                    if len(scores) == asked and scores[-1] == scores[depth - 1]:
                        cut_in_a_tie.append(query)
                    else:
                        rankings[query.query_id] = self._ranked(scores, numbers, depth)
            left, asked = cut_in_a_tie, 2 * asked
        return rankings

    def _ranked(self, scores: Scores, numbers: Numbers, depth: int) -> list[ScoredDoc]:
        if len(scores) > depth:
            keep = scores >= scores[depth - 1]
            scores, numbers = scores[keep], numbers[keep]
        ordered = sorted(zip((-scores).tolist(), self._ids.of(numbers)))
        return [ScoredDoc(doc_id, -score) for score, doc_id in ordered[:depth]]

    def _found(self, queries: Sequence[Query], asked: int) -> list[tuple[Scores, Numbers]]:
        """Per query the `asked` best scores, falling, and the documents' numbers."""
        import numpy as np

        with alone(f"search {len(queries)} queries {asked} deep"):
            questions = [self._generator.buildQuery("contents", self._analyzer, paired(q.text)) for q in queries]
            found = java_class("java.util.ArrayList")()
            for top in in_threads(lambda question: self._searcher.search(question, asked), questions, threads=cores()):
                found.add(top)
            # One piece of JSON: asked for one by one through pyjnius, the results take longer than the search.
            tops = json.loads(bytes(self._json.writeValueAsBytes(found)))
        return [
            (
                np.array([hit["score"] for hit in top["scoreDocs"]], dtype=np.float32),
                np.array([hit["doc"] for hit in top["scoreDocs"]], dtype=np.int64),
            )
            for top in tops
        ]


class AnseriniRetriever:
    """Anserini's own searcher, for what only it can do (RM3)."""

    def __init__(self, name: str, searcher: Any) -> None:
        self.name = name
        self._searcher = searcher
        self._json = java_class("com.fasterxml.jackson.databind.ObjectMapper")()
        document = java_class("java.lang.Class").forName("org.apache.lucene.document.Document")
        self._json.configOverride(document).setIsIgnoredType(java_class("java.lang.Boolean")(True))

    def search(
        self, queries: Sequence[Query], k: int, excluded: Mapping[str, frozenset[str]] = {}
    ) -> dict[str, list[ScoredDoc]]:
        """See `limrank.retrieve.Retriever`; scores are Anserini's, rounded to four digits.

        Raises:
            LimrankError: Java failed, most likely for want of memory.
        """
        return search_without(self._top, queries, k, excluded)

    def _top(self, queries: Sequence[Query], depth: int) -> dict[str, list[ScoredDoc]]:
        with alone(f"search {len(queries)} queries {depth} deep"):
            texts, numbers = java_class("java.util.ArrayList")(), java_class("java.util.ArrayList")()
            for number, query in enumerate(queries):
                texts.add(paired(query.text))
                numbers.add(str(number))
            found = self._searcher.batch_search(texts, numbers, depth, cores())
            answer = json.loads(bytes(self._json.writeValueAsBytes(found)))
        return {query.query_id: _falling(answer[str(number)]) for number, query in enumerate(queries)}


def open_reader(folder: Path) -> Any:
    """Lucene's reader of the index in a folder."""
    directory = java_class("org.apache.lucene.store.FSDirectory").open(java_class("java.io.File")(str(folder)).toPath())
    return java_class("org.apache.lucene.index.DirectoryReader").open(directory)


def read_ids(reader: Any) -> Iterator[bytes]:
    """The ids of all documents in the order of Lucene's numbers."""
    searcher, everything = _searcher(reader), java_class("org.apache.lucene.search.MatchAllDocsQuery")()
    field, kind = (
        java_class("org.apache.lucene.search.SortField"),
        java_class("org.apache.lucene.search.SortField$Type"),
    )
    sort = java_class("org.apache.lucene.search.Sort")(field.FIELD_DOC, field("id", kind.STRING_VAL))
    mapper, after = java_class("com.fasterxml.jackson.databind.ObjectMapper")(), None
    while True:
        page = searcher.searchAfter(after, everything, PAGE, sort)
        rows = json.loads(bytes(mapper.writeValueAsBytes(page)))["scoreDocs"]
        doc_ids = [_bytes(row["fields"][1]) for row in rows]
        yield from doc_ids
        if len(rows) < PAGE:
            return
        last = java_class("java.lang.Integer")(rows[-1]["doc"])
        last_id = java_class("org.apache.lucene.util.BytesRef")(doc_ids[-1])
        after = java_class("org.apache.lucene.search.FieldDoc")(rows[-1]["doc"], 0.0, [last, last_id])


def _bytes(value: Mapping[str, Any]) -> bytes:
    """What Lucene's BytesRef holds, from its JSON."""
    return base64.b64decode(value["bytes"])[value["offset"] : value["offset"] + value["length"]]


def paired(text: str) -> str:
    """The text with surrogates that are not part of a pair replaced: pyjnius takes no others."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _searcher(reader: Any) -> Any:
    from jnius import cast

    return java_class("org.apache.lucene.search.IndexSearcher")(cast("org.apache.lucene.index.IndexReader", reader))


def _falling(rows: Sequence[Mapping[str, Any]]) -> list[ScoredDoc]:
    """Results in Anserini's order. It rounds scores and lowers the 2nd, 3rd ... of a tie by 1e-6 each, so after a tie
    of more than a hundred the next score can be above the last one."""
    ranking: list[ScoredDoc] = []
    lowest = float("inf")
    for row in rows:
        lowest = min(lowest, row["score"])
        ranking.append(ScoredDoc(row["docid"], lowest))
    return ranking
