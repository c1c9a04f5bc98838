"""BM25 by Lucene, through Anserini's classes: the same numbers as Pyserini's, without its imports.

The folder is an ordinary Anserini index, which Pyserini opens as well. Text goes to Lucene's analyzer and never
through a query parser, so punctuation means nothing and any length is fine. Knows nothing of how Java is started.
"""

from __future__ import annotations

import json
from pathlib import Path

from limrank.datasets import Dataset
from limrank.errors import LimrankError, Mismatch
from limrank.manifest import Manifest
from limrank.progress import Track
from limrank.records import Document, contents
from limrank.retrieve import Contents, Retriever, cores, in_batches
from limrank.retrieve._ids import Ids, write_ids
from limrank.retrieve._jvm import alone, java_class, start
from limrank.retrieve._search import AnseriniRetriever, LuceneRetriever, open_reader, read_ids

BATCH = 2000  # documents handed to Lucene at a time; it indexes them with all cores

# What Java's String.trim takes away: Anserini does not index a document of which nothing is left.
JAVA_SPACE = "".join(map(chr, range(0x21)))
FEW = 50_000  # documents that are searched in no time
MAX_RAM_BUFFER = 1024  # MiB that Lucene gathers before it writes, where the heap allows it


def build(dataset: Dataset, folder: Path, track: Track, *, docvectors: bool = True) -> Contents:
    """Index all documents; those without any text are counted as `empty` and left out, as Anserini does.

    Args:
        docvectors: Keep every document's words, which RM3 needs: three times the room, twice the time (Vaswani).

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

        def add(batch: list[Document]) -> None:
            nonlocal wanted, taken, empty
            lines = [line for document in batch if (line := _line(document))]
            with alone("index documents"):
                taken += indexer.addRawDocuments(lines)
            wanted, empty = wanted + len(lines), empty + len(batch) - len(lines)

        in_batches(dataset.documents(), BATCH, add, track=track, label="index")
    finally:
        indexer.close()
    with alone("read the index that was made"):
        reader = open_reader(folder)
        held = write_ids(folder, read_ids(reader))
        reader.close()
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
) -> Retriever:
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
    if rm3:
        searcher = java_class("io.anserini.search.SimpleSearcher")(str(folder))
        searcher.set_bm25(k1, b)
        searcher.set_rm3(rm3_terms, rm3_docs, rm3_weight)
        return AnseriniRetriever("bm25-rm3", searcher)
    reader = open_reader(folder)
    similarity = java_class("org.apache.lucene.search.similarities.BM25Similarity")(k1, b)
    queries = "io.anserini.search.query."
    if query_side:
        generator = java_class(queries + "QuerySideBm25QueryGenerator")(k1, b, reader)
    else:
        generator = java_class(queries + "BagOfWordsQueryGenerator")()
    return LuceneRetriever("bm25-query-side" if query_side else "bm25", reader, similarity, generator, Ids(folder))


def _line(document: Document) -> str:
    text = contents(document)
    return json.dumps({"id": document.doc_id, "contents": text}) if text.strip(JAVA_SPACE) else ""
