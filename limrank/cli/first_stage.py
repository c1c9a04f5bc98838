"""index and retrieve: from a dataset to a run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from limrank.cli._files import dataset_input, finished, index_folder, options_of, run_place, save_run
from limrank.cli._terminal import emit_json, note, track
from limrank.errors import LimrankError

if TYPE_CHECKING:
    from limrank.datasets import Dataset

AsJson = Annotated[bool, Parameter(name="--json", negative=())]
Force = Annotated[bool, Parameter(name="--force", negative=())]
CANDIDATES = "candidates"


def index_(
    dataset: str,
    kind: str = "lucene",
    /,
    *options: str,
    out: Path | None = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Build an index of a dataset.

    An index that is there already, made from the same documents in the same way, is left as it is.

    Args:
        dataset: An ir_datasets id, bright/<task>, stdlib, or a folder.
        kind: lucene (BM25) or faiss (dense); limrank list index-kinds
        options: key=value of the kind; faiss has model=, revision=, type=flat|hnsw|ivf|sq8, backend=torch|onnx|openvino
        out: The index folder; default: indexes/<dataset>/<kind>
        force: Build again, whatever is there.
        as_json: Print the manifest.
    """
    from limrank.datasets import open_dataset
    from limrank.manifest import Manifest
    from limrank.retrieve import index

    collection = open_dataset(dataset)
    folder = out or Path("indexes") / collection.name / kind
    built = index(collection, kind, out=folder, force=force, track=track, options=options_of(options))
    manifest = Manifest.read(folder)
    if as_json:
        emit_json(manifest.__dict__)
    elif built.already_there:
        note(f"{folder}: already there, made from the same documents in the same way; --force builds it again")
    else:
        print(f"{folder}: {manifest.counts.get('documents')} documents in {manifest.seconds:.1f} s")


def retrieve(
    index: str,
    dataset: str,
    /,
    *options: str,
    k: int = 1000,
    query_side: Annotated[bool, Parameter(negative=())] = False,
    rm3: Annotated[bool, Parameter(negative=())] = False,
    k1: float | None = None,
    b: float | None = None,
    name: str = "",
    out: Path | None = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Search an index with a dataset's queries.

    Documents that the dataset excludes for a query are removed before the run is cut at k. A dataset that says itself
    which documents are to be ranked, as FollowIR does, needs no index: limrank retrieve candidates followir/core17

    Args:
        index: An index folder, or dataset/name below indexes/; or the word "candidates", for the dataset's own.
        dataset: Whose queries are asked: an ir_datasets id, bright/<task>, stdlib, or a folder.
        options: More key=value options of the index kind.
        k: Documents per query.
        query_side: lucene: BM25 weights for the query's words too, as BRIGHT's BM25 has them.
        rm3: lucene: expand the query by pseudo-relevance feedback.
        k1: lucene: BM25's k1 (0.9).
        b: lucene: BM25's b (0.4).
        name: The file's, where --out does not say it; default: after the method.
        out: The run file; default: runs/<dataset>/<name>.trec
        force: Search again, whatever is there.
        as_json: Print the manifest.
    """
    from limrank.datasets import open_dataset
    from limrank.manifest import path_of
    from limrank.retrieve import check_documents, made_as, open_index
    from limrank.retrieve import retrieve as search

    started = time.monotonic()
    collection = open_dataset(dataset)
    if index == CANDIDATES and not Path(index).is_dir():
        if options or query_side or rm3 or k1 is not None or b is not None:
            raise LimrankError(
                "candidates are the dataset's own and are not searched; leave the options of an index out"
            )
        _report(_candidates(collection, k=k, name=name, out=out, force=force, started=started), as_json=as_json)
        return
    folder = index_folder(index)
    chosen = {"query_side": query_side or None, "rm3": rm3 or None, "k1": k1, "b": b}
    given = {key: str(value) for key, value in chosen.items() if value is not None} | options_of(options)
    retriever = open_index(folder, options=given)
    check_documents(folder, collection)
    place = run_place(collection.name, name or retriever.name, out)
    parameters = {"k": k, "options": given, "retriever": retriever.name}
    from limrank.files import sha256

    made = {"path": str(folder), "sha256": sha256(path_of(folder)), "made": made_as(folder)}
    inputs = {"index": made, "dataset": dataset_input(collection)}
    if not finished(place, command="retrieve", parameters=parameters, inputs=inputs, force=force):
        run = search(retriever, list(collection.queries()), k=k, excluded=collection.excluded(), name=name, track=track)
        save_run(run, place, command="retrieve", parameters=parameters, inputs=inputs, started=started)
    _report(place, as_json=as_json)


def _candidates(collection: Dataset, *, k: int, name: str, out: Path | None, force: bool, started: float) -> Path:
    """Write the documents that the dataset itself says are to be ranked, and return where."""
    find = getattr(collection, "candidates", None)
    if find is None:
        raise LimrankError(
            f"{collection.name} does not say which documents are to be ranked, as followir/... does; build an index: "
            "limrank index DATASET lucene"
        )
    if k < 1:
        raise LimrankError(f"k={k}: at least one document per query is needed")
    place = run_place(collection.name, name or CANDIDATES, out)
    parameters, inputs = {"k": k, "retriever": CANDIDATES}, {"dataset": dataset_input(collection)}
    if not finished(place, command="retrieve", parameters=parameters, inputs=inputs, force=force):
        run = find().top(k).renamed(name or CANDIDATES)
        save_run(run, place, command="retrieve", parameters=parameters, inputs=inputs, started=started)
    return place


def _report(place: Path, *, as_json: bool) -> None:
    from limrank.manifest import Manifest

    manifest = Manifest.read(place)
    if as_json:
        emit_json(manifest.__dict__)
    else:
        counts = manifest.counts
        print(f"{place}: {counts['documents']} documents for {counts['queries']} queries in {manifest.seconds:.1f} s")
