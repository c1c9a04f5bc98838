"""What can be read about a query: its documents' places in every run, their texts, and what language models said.

Texts are cut, because a page that opens at once cannot hold a corpus. Knows nothing of measures and pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from limrank.datasets import Dataset
from limrank.errors import LimrankError, Mismatch
from limrank.evaluate._report_figures import ranks
from limrank.evaluate._report_task import Task
from limrank.files import beside
from limrank.llm import put_together, recorded_by_query
from limrank.records import Document, Response, contents

LOOKUP = 5000
# A thought is read from its beginning and judged by its end.
THOUGHT = 4
HEAD = 0.6

Answers = Mapping[str, Sequence[tuple[tuple[str, ...], Response]]]


def query_texts(task: Task, notes: list[str]) -> dict[str, str]:
    """The wording of the task's queries; empty, with a note, where it is not to be had."""
    if task.dataset is None:
        return {}
    try:
        return {
            query.query_id: f"{query.text}\n{query.instruction}" if query.instruction else query.text
            for query in task.dataset.queries()
        }
    except LimrankError as error:
        notes.append(f"{task.name}: queries without their wording: {error}")
        return {}


def reading(task: Task, query_ids: Sequence[str], *, top: int, characters: int, notes: list[str]) -> dict[str, Any]:
    """The part of a page about one task's queries, in their order.

    Keys: `docs`, ids; `texts`, one for each id, or none at all; `queries`, each with `rows`: the place in `docs`, the
    relevance (null: not judged), then the rank in every run (0: not there); `scores`: for every run, those of its first
    documents; `said`: for every run, by place in `docs`, how the answer ended, log-odds (or null) and thought;
    `several`: for every run, the answers that are about several documents at once.

    Args:
        task: The runs.
        query_ids: The task's own ids.
        top: Documents of each run; all relevant documents are there besides.
        characters: Of a text.
        notes: Where reasons for what is missing are put.
    """
    places: dict[str, int] = {}
    answers = [_answers(task, name, notes) for name in task.runs]
    queries = [_query(task, query_id, places, answers, top=top, characters=characters) for query_id in query_ids]
    texts = _texts(task, list(places), notes)
    return {
        "docs": list(places),
        "texts": [cut(texts.get(doc_id, ""), characters) for doc_id in places] if texts else [],
        "queries": queries,
    }


def _query(
    task: Task, query_id: str, places: dict[str, int], answers: Sequence[Answers], *, top: int, characters: int
) -> dict[str, Any]:
    by_run = [ranks(run, query_id) for run in task.runs.values()]
    judged = task.qrels[query_id]
    best = (doc_id for found in by_run for doc_id in list(found)[:top])
    shown = dict.fromkeys([*best, *sorted(task.qrels.relevant(query_id))])
    rows = [
        [places.setdefault(doc_id, len(places)), judged.get(doc_id), *(found.get(doc_id, 0) for found in by_run)]
        for doc_id in shown
    ]
    scores = [
        [float(f"{score:.6g}") for score in run.scores(query_id)[:top].tolist()] if query_id in run else []
        for run in task.runs.values()
    ]
    record: dict[str, Any] = {"rows": rows, "scores": scores}
    said = [_said(of_run.get(query_id, ()), shown, characters) for of_run in answers]
    if any(single or several for single, several in said):
        record["said"] = [{places[doc_id]: what for doc_id, what in single.items()} for single, _ in said]
        record["several"] = [several for _, several in said]
    return record


def _answers(task: Task, name: str, notes: list[str]) -> Answers:
    path = task.paths.get(name)
    calls = beside(path, "calls") if path else None
    if calls is None or not calls.is_file():
        return {}
    try:
        return recorded_by_query(calls)
    except LimrankError as error:
        notes.append(f"{task.name}, {name}: without its answers: {error}")
        return {}


def _said(
    answers: Iterable[tuple[tuple[str, ...], Response]], shown: Mapping[str, None], characters: int
) -> tuple[dict[str, list[Any]], list[list[Any]]]:
    """By document: status, log-odds, thought; and the answers about several, each with their ids behind its status."""
    of_these: dict[tuple[str, ...], list[Response]] = {}
    for doc_ids, answer in answers:
        if len(doc_ids) != 1 or doc_ids[0] in shown:
            of_these.setdefault(doc_ids, []).append(answer)
    found: dict[tuple[str, ...], list[Any]] = {}
    for doc_ids, listed in of_these.items():
        said = put_together(listed)
        odds = None if said.log_odds is None else round(said.log_odds, 4)
        found[doc_ids] = [said.status, odds, cut_middle(said.thought or said.error, THOUGHT * characters)]
    single = {doc_ids[0]: record for doc_ids, record in found.items() if len(doc_ids) == 1}
    return single, [[status, list(ids), text] for ids, (status, _, text) in found.items() if len(ids) != 1]


def _texts(task: Task, doc_ids: Sequence[str], notes: list[str]) -> dict[str, str]:
    """The texts of all documents, or of none; but judged documents that no run has may be missing in a collection."""
    if task.dataset is None:
        return {}
    retrieved = {doc_id for run in task.runs.values() for query_id in run for doc_id in run.doc_ids(query_id)}
    texts: dict[str, str] = {}
    wanted = [doc_id for doc_id in doc_ids if doc_id in retrieved]
    try:
        for start in range(0, len(wanted), LOOKUP):
            texts |= _contents(task.dataset.lookup(wanted[start : start + LOOKUP]))
        lost = _lookup_known(task.dataset, [doc_id for doc_id in doc_ids if doc_id not in retrieved], texts)
    except LimrankError as error:
        notes.append(f"{task.name}: documents without their texts: {error}")
        return {}
    if lost:
        notes.append(f"{task.name}: {len(lost)} relevant documents are not in the collection, e.g. {lost[0]!r}")
    return texts


def _lookup_known(dataset: Dataset, doc_ids: Sequence[str], texts: dict[str, str]) -> list[str]:
    """Put the texts of those documents that the collection has into `texts`; returns the others."""
    if not doc_ids:
        return []
    try:
        texts |= _contents(dataset.lookup(doc_ids))
    except Mismatch:
        if len(doc_ids) == 1:
            return list(doc_ids)
        half = len(doc_ids) // 2
        return _lookup_known(dataset, doc_ids[:half], texts) + _lookup_known(dataset, doc_ids[half:], texts)
    return []


def _contents(documents: Mapping[str, Document]) -> dict[str, str]:
    return {doc_id: contents(document) for doc_id, document in documents.items()}


def cut(text: str, characters: int) -> str:
    """The beginning of a text, up to the last word that fits, with an ellipsis where something is missing."""
    text = text.strip()
    if len(text) <= characters:
        return text
    kept = text[:characters]
    words = kept.rsplit(None, 1)
    # A text without spaces (Japanese, a base64 block) would lose nearly all of it.
    return (words[0] if len(words[0]) > characters // 2 else kept) + " …"


def cut_middle(text: str, characters: int) -> str:
    """Beginning and end of a text, with the number of characters between them that are left out."""
    text = text.strip()
    if len(text) <= characters:
        return text
    head = int(characters * HEAD)
    tail = characters - head
    return f"{text[:head]}\n[… {len(text) - characters} characters left out …]\n{text[len(text) - tail :]}"
