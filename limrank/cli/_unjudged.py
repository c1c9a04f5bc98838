"""What a run's own manifest tells of documents that a reranker could not judge. Knows nothing of rerankers."""

from __future__ import annotations

from pathlib import Path

from limrank.errors import BadFile
from limrank.files import sha256
from limrank.manifest import Manifest, path_of


def without_verdict(path: Path) -> list[str]:
    """One sentence where the run at `path` was reranked and not all of it was judged; nothing otherwise.

    A manifest of another file, or one that cannot be read, says nothing of the run.
    """
    from limrank.run import name_of

    if not path_of(path).is_file():
        return []
    try:
        manifest = Manifest.read(path)
    except BadFile:
        return []
    counts = {key: value for key, value in manifest.counts.items() if isinstance(value, int)}
    documents, questions = counts.get("without_verdict", 0), counts.get("failed", 0) + counts.get("malformed", 0)
    if not (documents or questions) or manifest.output.get("sha256") != sha256(path):
        return []
    if documents:
        return [
            f"{name_of(path)}: {documents} of {counts.get('documents', documents)} reranked documents have no verdict "
            "and stand where the first stage had them"
        ]
    answers = f"{questions} {'answer was' if questions == 1 else 'answers were'}"
    return [f"{name_of(path)}: {answers} of no use to the reranker and left documents in the order they had"]
