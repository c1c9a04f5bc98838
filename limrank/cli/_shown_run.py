"""A run, or what is known of one of its queries: documents, scores, how each answer ended, and what was thought."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limrank.cli._terminal import emit_json, table
from limrank.cli._unjudged import without_verdict
from limrank.errors import Unknown
from limrank.files import beside
from limrank.records import Response

if TYPE_CHECKING:
    from limrank.run import Run


def show_run(path: Path, *, query: str, dataset: str, k: int, as_json: bool) -> None:
    """Print a run and its manifest, or with `query` its first `k` documents.

    Raises:
        BadFile: It is no run.
        Unknown: The run has no such query.
    """
    from limrank.run import Run

    run = Run.read(path)
    if not query:
        _show_manifest(path, run, as_json=as_json)
    elif query not in run:
        raise Unknown.among(f"query in {path}", query, run)
    else:
        _show_query(path, run, query, dataset=dataset, k=k, as_json=as_json)


def _show_manifest(path: Path, run: Run, *, as_json: bool) -> None:
    from limrank.manifest import Manifest, path_of

    manifest = Manifest.read(path).__dict__ if path_of(path).exists() else {}
    sizes = [len(run.doc_ids(query_id)) for query_id in run]
    about = {
        "queries": len(run),
        "documents": sum(sizes),
        "fewest": min(sizes, default=0),
        "most": max(sizes, default=0),
    }
    noise = _noise(manifest)
    if as_json:
        emit_json({"run": run.name, **about, **noise, "warnings": without_verdict(path), "manifest": manifest})
        return
    table(["run", *about], [[run.name, *about.values()]])
    for bound in noise.values():
        told = "how its server rounds is not known here" if bound is None else f"up to {bound:g}"
        print(f"rounding (batches, kernels; says nothing about documents) moves a probability by: {told}")
    for text in without_verdict(path):
        print(text)
    print(json.dumps(manifest, indent=2, ensure_ascii=False) if manifest else "no manifest")


def _show_query(path: Path, run: Run, query: str, *, dataset: str, k: int, as_json: bool) -> None:
    wording, texts, relevance = _from_dataset(dataset, query, run.doc_ids(query)[:k])
    said = _said(path, query)
    rows = [
        {"rank": rank, "doc_id": doc.doc_id, "score": doc.score, "relevance": relevance.get(doc.doc_id)}
        | ({"text": texts[doc.doc_id]} if texts else {})
        | said.get((doc.doc_id,), {})
        for rank, doc in enumerate(run[query][:k], 1)
    ]
    of_several = [{"doc_ids": doc_ids, **answer} for doc_ids, answer in said.items() if len(doc_ids) > 1]
    if as_json:
        emit_json({"run": run.name, "query_id": query, "query": wording, "documents": rows, "answers": of_several})
        return
    if wording:
        print(f"{query}: {wording}\n")
    headings = ["rank", "document", "score", *(["status"] if said else []), "relevance", "text"]
    shown = (
        [row["rank"], row["doc_id"], f"{row['score']:.6g}"]
        + ([row.get("status", "-")] if said else [])
        + [_level(row["relevance"]), _line(row)]
        for row in rows
    )
    table(headings, shown)
    for row in [*rows, *of_several]:
        if row.get("thought") or row.get("error"):
            named = row.get("doc_id") or " ".join(row["doc_ids"])
            print(f"\n--- {named} [{row['status']}]\n{row.get('thought') or row['error']}")


def _from_dataset(name: str, query: str, doc_ids: Sequence[str]) -> tuple[str, Mapping[str, str], Mapping[str, int]]:
    """The query's wording, and texts and judgments by document; nothing without a dataset."""
    if not name:
        return "", {}, {}
    from limrank.datasets import open_dataset
    from limrank.records import contents

    opened = open_dataset(name)
    texts = {doc_id: contents(found) for doc_id, found in opened.lookup(doc_ids).items()}
    wording = next((found.text for found in opened.queries() if found.query_id == query), "")
    return wording, texts, dict(opened.qrels().get(query, {}))


def _noise(manifest: dict[str, Any]) -> dict[str, float | None]:
    """How far arithmetic alone may move a score of a run that a language model has reranked."""
    from limrank.llm import rounding

    method = manifest.get("parameters", {}).get("method")
    return {"rounding": rounding(method["model"])} if isinstance(method, dict) and "prompt" in method else {}


def _said(path: Path, query: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """Per document (or documents asked about together): how the answer ended, the log-odds, and what was thought."""
    from limrank.llm import put_together, recorded_answers

    calls = beside(path, "calls")
    answers: dict[tuple[str, ...], list[Response]] = {}
    for doc_ids, answer in recorded_answers(calls, query) if calls.is_file() else ():
        answers.setdefault(doc_ids, []).append(answer)
    return {doc_ids: put_together(of_these)._asdict() for doc_ids, of_these in answers.items()}


def _level(relevance: object) -> str:
    return "-" if relevance is None else str(relevance)


def _line(row: dict[str, object]) -> str:
    text = " ".join(str(row.get("text", "")).split())
    return text if len(text) <= 100 else text[:97] + "..."
