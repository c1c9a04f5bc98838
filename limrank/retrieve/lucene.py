"""BM25 by Lucene, through Anserini's classes: the same numbers as Pyserini's, without its imports.

The folder is an ordinary Anserini index, which Pyserini opens as well. Text goes to Lucene's analyzer and never
through a query parser, so punctuation means nothing and any length is fine. Knows nothing of how Java is started.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from limrank.datasets import Dataset
from limrank.errors import LimrankError, Mismatch
from limrank.manifest import Manifest
from limrank.progress import Track
from limrank.records import Document, Query, ScoredDoc, contents
from limrank.retrieve import Contents, batches, cores, search_without
from limrank.retrieve._jvm import java_class, start

BATCH = 2000  # documents handed to Lucene at a time; it indexes them with all cores

# What Java's String.trim takes away: Anserini does not index a document of which nothing is left.
JAVA_SPACE = "".join(map(chr, range(0x21)))


FEW = 50_000  # documents that are searched in no time
MAX_RAM_BUFFER = 1024  # MiB that Lucene gathers before it writes, where the heap allows it

Rows = list[dict[str, Any]]


def build(dataset: Dataset, folder: Path, track: Track, *, docvectors: bool = True) -> Contents:
    """Index all documents; those without any text are counted as `empty` and left out, as Anserini does.

    Args:
        docvectors: Keep every document's words, which RM3 needs and which doubles the index.

    Raises:
        LimrankError: Lucene did not take all documents.
    """
    vectors = ["-storeDocvectors"] if docvectors else []
    arguments = ["-collection", "JsonCollection", "-input", "", "-index", str(folder), "-threads", str(cores())]
    indexer = java_class("io.anserini.index.SimpleIndexer")([*arguments, *vectors])
    heap = java_class("java.lang.Runtime").getRuntime().maxMemory() / 2**20
    # Anserini asks for 2 GiB, whatever the heap is.
    indexer.writer.getConfig().setRAMBufferSizeMB(min(MAX_RAM_BUFFER, heap / 4))
    wanted = taken = empty = 0
    try:
        with ThreadPoolExecutor(max_workers=1) as worker:
            pending: Future[int] | None = None
            for batch in batches(track(dataset.documents(), label="index"), BATCH):
                # Lucene works on one batch while the next is read and packed.
                lines = [line for document in batch if (line := _line(document))]
                taken += pending.result() if pending else 0
                pending = worker.submit(indexer.addRawDocuments, lines)
                wanted, empty = wanted + len(lines), empty + len(batch) - len(lines)
            taken += pending.result() if pending else 0
    finally:
        indexer.close()
    held = java_class("io.anserini.search.SimpleSearcher")(str(folder)).get_total_num_docs()
    if not wanted == taken == held:
        raise LimrankError(
            f"{dataset.name}: of {wanted} documents Lucene took {taken} and holds {held}; its messages are above, "
            "the usual cause is a full disk"
        )
    return Contents({"documents": wanted, "empty": empty})


def open_index(
    folder: Path,
    manifest: Manifest,
    *,
    k1: float = 0.9,
    b: float = 0.4,
    query_side: bool = False,
    rm3: bool = False,
    rm3_terms: int = 10,
    rm3_docs: int = 10,
    rm3_weight: float = 0.5,
) -> LuceneRetriever:
    """The index, to be searched with BM25.

    Args:
        k1: How slowly a repeated word stops to count; 0 counts it once.
        b: How much longer documents are discounted, from 0 to 1.
        query_side: Weigh the words of the query by BM25 as well, with the same k1, b and average length. That is
            what BRIGHT calls BM25 (gensim's LuceneBM25Model on both sides, so idf counts twice).
        rm3: Expand the query from the words of the documents found first.
        rm3_terms: Words that are added.
        rm3_docs: Documents they are taken from; excluded ones are among them, as in Anserini.
        rm3_weight: Of the original query in the expanded one, from 0 to 1.

    Raises:
        LimrankError: A parameter is out of its range, or RM3 and query_side are both wanted.
        Mismatch: RM3 is wanted, and the index was built with docvectors=false.
    """
    if not (0 <= k1 < float("inf") and 0 <= b <= 1 and 0 <= rm3_weight <= 1 and rm3_terms > 0 and rm3_docs > 0):
        raise LimrankError(
            f"k1={k1} b={b} rm3_terms={rm3_terms} rm3_docs={rm3_docs} rm3_weight={rm3_weight}: k1 is 0 or more, b and "
            "rm3_weight are from 0 to 1, the others 1 or more"
        )
    if rm3 and query_side:
        raise LimrankError(
            "query_side and rm3 do not go together: RM3 makes a query with weights of its own; choose one"
        )
    if rm3 and not manifest.parameters["options"].get("docvectors"):
        raise Mismatch(f"{folder}: was built with docvectors=false, and RM3 needs them; build it again without that")
    start(brief=manifest.counts.get("documents", 0) < FEW)
    # Every word of a query is a clause; Lucene's own limit of 1,024 is for queries that machines write.
    java_class("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(2**31 - 1)
    searcher = java_class("io.anserini.search.SimpleSearcher")(str(folder))
    searcher.set_bm25(k1, b)
    if rm3:
        searcher.set_rm3(rm3_terms, rm3_docs, rm3_weight)
    if query_side:
        generator = java_class("io.anserini.search.query.QuerySideBm25QueryGenerator")(k1, b, searcher.reader)
    else:
        generator = java_class("io.anserini.search.query.BagOfWordsQueryGenerator")()
    return LuceneRetriever("bm25-query-side" if query_side else "bm25-rm3" if rm3 else "bm25", searcher, generator)


class LuceneRetriever:
    """An open Lucene index; ties go by ascending document id, as everywhere in Anserini."""

    def __init__(self, name: str, searcher: Any, generator: Any) -> None:
        self.name = name
        self._searcher = searcher
        self._generator = generator
        # Jackson hands over a quarter of a million results in one piece of JSON; asked for one by one through
        # pyjnius they take longer than the search.
        self._json = java_class("com.fasterxml.jackson.databind.ObjectMapper")()
        document = java_class("java.lang.Class").forName("org.apache.lucene.document.Document")
        self._json.configOverride(document).setIsIgnoredType(java_class("java.lang.Boolean")(True))

    def search(
        self, queries: Sequence[Query], k: int, excluded: Mapping[str, frozenset[str]] = {}
    ) -> dict[str, list[ScoredDoc]]:
        """See `limrank.retrieve.Retriever`; all queries are searched at once, with all cores.

        Raises:
            LimrankError: Java failed, most likely for want of memory.
        """
        return search_without(self._top, queries, k, excluded)

    def _top(self, queries: Sequence[Query], depth: int) -> dict[str, list[ScoredDoc]]:
        texts, numbers = java_class("java.util.ArrayList")(), java_class("java.util.ArrayList")()
        for number, query in enumerate(queries):
            texts.add(_paired(query.text))
            numbers.add(str(number))
        from jnius import JavaException

        try:
            found = self._searcher.batch_search(self._generator, texts, numbers, depth, cores())
            answer: dict[str, Rows] = json.loads(bytes(self._json.writeValueAsBytes(found)))
        except JavaException as error:
            raise LimrankError(f"Lucene cannot search {len(queries)} queries {depth} deep: {error}") from error
        return {query.query_id: _falling(answer[str(number)]) for number, query in enumerate(queries)}


def _line(document: Document) -> str:
    text = contents(document)
    return json.dumps({"id": document.doc_id, "contents": text}) if text.strip(JAVA_SPACE) else ""


def _paired(text: str) -> str:
    """The text with surrogates that are not part of a pair replaced: Java strings take pairs only."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _falling(rows: Rows) -> list[ScoredDoc]:
    """Results in Anserini's order. It rounds scores and lowers the 2nd, 3rd ... of a tie by 1e-6 each, so after a tie
    of more than a hundred the next score can be above the last one."""
    ranking: list[ScoredDoc] = []
    lowest = float("inf")
    for row in rows:
        lowest = min(lowest, row["score"])
        ranking.append(ScoredDoc(row["docid"], lowest))
    return ranking
