"""Dense retrieval by FAISS: vectors of any sentence-transformers model, in a flat, HNSW, IVF or SQ8 index.

The folder holds `vectors.faiss`, the document ids in the order of the vectors, and the manifest, which pins the model
and its revision: an index is never searched with vectors of other weights. Knows nothing of how texts become vectors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from limrank.datasets import Dataset
from limrank.errors import BadFile, LimrankError, Mismatch
from limrank.extras import require
from limrank.manifest import Manifest
from limrank.progress import Track
from limrank.records import Document, Query, ScoredDoc, contents
from limrank.retrieve import Contents, in_batches, search_without
from limrank.retrieve._encode import Backend, Encoder, open_encoder
from limrank.retrieve._ids import Ids, write_ids
from limrank.retrieve._models import DEFAULT, Model, find_model, own_similarity, prompts

if TYPE_CHECKING:
    import numpy as np

    Vectors = np.ndarray[Any, np.dtype[np.float32]]

CHUNK = 4096  # documents whose texts are in memory at a time

Type = Literal["flat", "hnsw", "ivf", "sq8"]
Similarity = Literal["cosine", "dot"]


def build(
    dataset: Dataset,
    folder: Path,
    track: Track,
    *,
    model: str = DEFAULT,
    revision: str = "",
    type: Type = "flat",  # noqa: A002
    backend: Backend = "auto",
    query_prefix: str | None = None,
    document_prefix: str | None = None,
    similarity: Similarity | None = None,
    links: int = 32,
    construction: int = 200,
    lists: int = 0,
    trust_remote_code: bool = False,
) -> Contents:
    """Embed and index all documents; those without any text are counted as `empty` and left out.

    Args:
        model: all-MiniLM-L6-v2 (comes with limrank), a folder, or a hub id.
        revision: Of the hub: a commit, tag or branch; the manifest pins the commit.
        type: flat is exact and fast enough below 100,000 documents; sq8 takes a quarter of the room and is almost
            exact; hnsw and ivf are faster and approximate.
        backend: torch, onnx, openvino, or the fastest of torch and onnx.
        query_prefix: In front of every query; default: what the model's configuration says.
        document_prefix: In front of every document; likewise.
        similarity: cosine or dot; default: likewise, cosine where it does not say.
        links: hnsw: neighbours of each vector.
        construction: hnsw: neighbours looked at while building.
        lists: ivf: clusters; 0 for the square root of the number of documents.
        trust_remote_code: Run the Python files that come with the model.

    Raises:
        LimrankError: The model is not to be had, compares in another way, or gives vectors that are not finite.
    """
    import numpy as np

    if links < 2 or construction < 1 or lists < 0:
        raise LimrankError(f"links={links} construction={construction} lists={lists}: links 2 or more, lists 0 or more")
    found = find_model(model, revision=revision)
    compared = similarity or _supported(found)
    default_query_prefix, default_document_prefix = prompts(found)
    prefix = default_document_prefix if document_prefix is None else document_prefix
    encoder = open_encoder(found, backend=backend, trust_remote_code=trust_remote_code)
    doc_ids: list[str] = []
    documents = empty = dimension = 0
    raw = folder / "vectors.f32"
    with open(raw, "wb") as file:

        def embed(chunk: list[Document]) -> None:
            nonlocal documents, empty, dimension
            texts = {document.doc_id: contents(document) for document in chunk if contents(document).strip()}
            documents, empty = documents + len(texts), empty + len(chunk) - len(texts)
            if texts:
                vectors = _embed(encoder, list(texts.values()), prefix, compared, what=dataset.name)
                dimension = vectors.shape[1]
                doc_ids.extend(texts)
                file.write(vectors.tobytes())

        in_batches(dataset.documents(), CHUNK, embed, track=track, label="index")
    if documents:
        lists = min(lists or round(math.sqrt(documents)), documents)
        _write_index(
            np.memmap(raw, dtype=np.float32, mode="r", shape=(documents, dimension)),
            folder / "vectors.faiss",
            type=type,
            links=links,
            construction=construction,
            lists=lists,
        )
    raw.unlink()
    write_ids(folder, (doc_id.encode() for doc_id in doc_ids))
    used = {"hnsw": {"links": links, "construction": construction}, "ivf": {"lists": lists}}.get(type, {})
    return Contents(
        {"documents": documents, "empty": empty},
        {
            "model": found.name,
            "revision": found.revision,
            "dimension": dimension,
            "similarity": compared,
            "query_prefix": default_query_prefix if query_prefix is None else query_prefix,
            "document_prefix": prefix,
            "backend": encoder.backend,
            "index": {"type": type} | used,
        },
    )


def open_index(
    folder: Path,
    manifest: Manifest,
    *,
    model: str = "",
    revision: str = "",
    backend: Backend | None = None,
    query_prefix: str | None = None,
    depth: int = 0,
    probes: int = 0,
) -> FaissRetriever:
    """The index, to be searched with the model that it was made with.

    Args:
        model: Where that model is now, if it has been moved; it has to be the same weights.
        revision: What the index has to have been made with.
        backend: What embeds the queries; default: what embedded the documents.
        query_prefix: In place of the manifest's; instructions of benchmarks differ from task to task.
        depth: hnsw: candidates looked at, k at least; default 128.
        probes: ivf: clusters looked into; default an eighth of them.

    Raises:
        Mismatch: The model or revision is another one than the index was made with, or the files do not belong
            together.
        BadFile: A file of the index is missing or broken.
    """
    made = manifest.parameters
    if revision and revision != made["revision"]:
        raise Mismatch(f"{folder}: was made with {made['model']} at {made['revision']}, not {revision}; build it again")
    pinned = "" if made["revision"].startswith("sha256:") else made["revision"]
    found = find_model(model or made["model"], revision=pinned)
    if found.revision != made["revision"]:
        raise Mismatch(
            f"{folder}: was made with {made['model']} at {made['revision']}, and {found.name} is {found.revision} now; "
            "vectors of different weights cannot be compared: build the index again, or give model= as it was"
        )
    faiss = require("faiss", install="faiss-cpu", needed_for="dense retrieval")
    try:
        index = faiss.read_index(str(folder / "vectors.faiss"))
    except RuntimeError as error:
        raise BadFile(f"{folder / 'vectors.faiss'}: cannot be read; build the index again") from error
    ids = Ids(folder)
    if index.ntotal != len(ids):
        raise Mismatch(f"{folder}: {index.ntotal} vectors and {len(ids)} document ids; build the index again")
    encoder = open_encoder(
        found, backend=backend or made["backend"], trust_remote_code=manifest.parameters["options"]["trust_remote_code"]
    )
    if made["index"]["type"] == "hnsw":
        index.hnsw.efSearch = depth or 128
    elif made["index"]["type"] == "ivf":
        index.nprobe = min(index.nlist, probes or max(1, index.nlist // 8))
    prefix = made["query_prefix"] if query_prefix is None else query_prefix
    name = found.name.rstrip("/").rpartition("/")[2]
    return FaissRetriever(name, index, ids, encoder, prefix=prefix, similarity=made["similarity"])


class FaissRetriever:
    """An open FAISS index; equal scores are in the order in which the documents were indexed."""

    def __init__(self, name: str, index: Any, ids: Ids, encoder: Encoder, *, prefix: str, similarity: str) -> None:
        self.name = name
        self._index = index
        self._ids = ids
        self._encoder = encoder
        self._prefix = prefix
        self._similarity = similarity

    def search(
        self, queries: Sequence[Query], k: int, excluded: Mapping[str, frozenset[str]] = {}
    ) -> dict[str, list[ScoredDoc]]:
        """See `limrank.retrieve.Retriever`. Every document has a score, so k are found where there are k; a query
        without any text finds none.

        Raises:
            LimrankError: The model gives a vector that is not finite.
        """
        asked = [query for query in queries if query.text.strip()]
        rankings: dict[str, list[ScoredDoc]] = {query.query_id: [] for query in queries}
        if asked:
            texts = [query.text for query in asked]
            vectors = _embed(self._encoder, texts, self._prefix, self._similarity, what=self.name)
            rows = {query.query_id: row for row, query in enumerate(asked)}

            def top(some: Sequence[Query], depth: int) -> dict[str, list[ScoredDoc]]:
                return self._top(some, vectors[[rows[query.query_id] for query in some]], depth)

            rankings |= search_without(top, asked, k, excluded)
        return rankings

    def _top(self, queries: Sequence[Query], vectors: Vectors, depth: int) -> dict[str, list[ScoredDoc]]:
        import numpy as np

        depth = min(depth, self._index.ntotal)
        scores, positions = _nearest(self._index, vectors, depth)
        rankings = {}
        for query, row_scores, row in zip(queries, scores, positions):
            order = np.lexsort((row, -row_scores))
            pairs = zip(self._ids.of(row[order]), row_scores[order].tolist())
            rankings[query.query_id] = [ScoredDoc(doc_id, score) for doc_id, score in pairs]
        return rankings


def _nearest(index: Any, vectors: Vectors, depth: int) -> tuple[Any, Any]:
    """Scores and positions of the `depth` nearest, for every row.

    An approximate index may find fewer (FAISS fills up with -1): those rows are searched again exactly.
    """
    faiss = require("faiss", install="faiss-cpu", needed_for="dense retrieval")
    hnsw = isinstance(index, faiss.IndexHNSW)
    if hnsw and index.hnsw.efSearch < depth:
        scores, positions = index.search(vectors, depth, params=faiss.SearchParametersHNSW(efSearch=depth))
    else:
        scores, positions = index.search(vectors, depth)
    if len(short := (positions < 0).any(axis=1).nonzero()[0]):
        if hnsw:
            scores[short], positions[short] = index.storage.search(vectors[short], depth)
        else:
            exact = faiss.SearchParametersIVF(nprobe=index.nlist)
            scores[short], positions[short] = index.search(vectors[short], depth, params=exact)
    return scores, positions


def _embed(encoder: Encoder, texts: Sequence[str], prefix: str, similarity: str, *, what: str) -> Vectors:
    import numpy as np

    vectors = encoder.encode(texts, prefix=prefix)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise LimrankError(f"{what}: the model gives a vector that is not finite for the text {texts[row][:80]!r}")
    if similarity == "cosine":
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _write_index(vectors: Any, path: Path, *, type: Type, links: int, construction: int, lists: int) -> None:  # noqa: A002
    faiss = require("faiss", install="faiss-cpu", needed_for="dense retrieval")
    dimension, inner = vectors.shape[1], faiss.METRIC_INNER_PRODUCT
    if type == "flat":
        index = faiss.IndexFlatIP(dimension)
    elif type == "sq8":
        index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit, inner)
    elif type == "hnsw":
        index = faiss.IndexHNSWFlat(dimension, links, inner)
        index.hnsw.efConstruction = construction
    else:
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, lists, inner)
        # FAISS wants 39 vectors per cluster and says so on stderr; small collections are not wrong.
        index.cp.min_points_per_centroid = 1
    if not index.is_trained:
        index.train(vectors)
    for start in range(0, len(vectors), CHUNK):
        index.add(vectors[start : start + CHUNK])
    faiss.write_index(index, str(path))


def _supported(model: Model) -> Similarity:
    wanted = own_similarity(model)
    if wanted not in ("cosine", "dot"):
        raise LimrankError(
            f"model {model.name} compares vectors by {wanted!r}; give similarity=cosine or similarity=dot"
        )
    return "cosine" if wanted == "cosine" else "dot"
