"""Does a system follow an instruction? p-MRR over pairs of instructions, as FollowIR defines it.

Every topic is searched under two instructions, the original and a changed one that allows less; p-MRR says how far the
documents that are no longer relevant went down. A topic's two queries are called `<topic>-og` and `<topic>-changed`, in
one file or in two. Where mteb's implementation leaves a topic out or compares rankings of different depth without a
word, this one refuses. Knows nothing of datasets and how the runs came about.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from limrank.errors import LimrankError, Mismatch
from limrank.evaluate.measures import parse_all
from limrank.evaluate.scores import Scores, evaluate, means_of
from limrank.qrels import Qrels
from limrank.run import Run

Documents: TypeAlias = Mapping[str, Sequence[str]]

ORIGINAL, CHANGED = "-og", "-changed"
P_MRR, SCORE = "p-MRR", "Score"
# What the FollowIR paper calls a collection's score: of the original instruction, judged by the original judgments.
DESCRIBED = {
    "p-mrr": "change of rank of what a changed instruction makes irrelevant, -1 to 1; needs pairs of instructions",
    "score": "FollowIR's: MAP@1000, or nDCG@5 for news21, for the original instruction",
}
SCORE_OF = {"robust04": "MAP@1000", "news21": "nDCG@5", "core17": "MAP@1000"}


def asked(measures: Iterable[str]) -> bool:
    """Whether one of the measures is about pairs of instructions, as `p-mrr` and `score` are."""
    return any(_spelled(name) in (P_MRR, SCORE) for name in measures)


def is_paired(query_ids: Iterable[str]) -> bool:
    """Whether these are the ids of both instructions."""
    sides = {_side(query_id) for query_id in query_ids}
    return sides == {ORIGINAL, CHANGED}


def evaluate_pairs(
    runs: Run | Sequence[Run], qrels: Qrels | Sequence[Qrels], measures: Sequence[str] = (P_MRR,), *, score: str = ""
) -> Scores:
    """A system's values by topic: p-MRR, and trec_eval's measures under the original instruction.

    Args:
        runs: One run with the queries of both instructions, or two: under the original one, under the changed one.
        qrels: Likewise; they decide the topics.
        measures: "p-mrr"; and any that `evaluate` takes, which are computed for the original instruction with the
            original judgments and called, for example, "MAP@1000 (og)".
        score: The measure that the name "score" in `measures` stands for, as in `SCORE_OF`.

    Raises:
        Mismatch: A topic lacks one of its two queries, in the judgments or the runs; a topic's two rankings are not of
            the same depth; no document is less relevant under the changed instruction; or p-MRR is asked together with
            others, and a topic has no document whose relevance changes: the others' means would lack it.
        LimrankError: "score" is among the measures and nobody says what it is.

    Source: FollowIR (arXiv:2403.15246).
    """
    original, changed = pair_qrels(qrels)
    old, new = pair_runs(runs)
    spelled = [_spelled(name) for name in measures]
    if SCORE in spelled and not score:
        raise LimrankError(
            f"the measure 'score' is defined for FollowIR's collections ({', '.join(SCORE_OF)}); "
            "name a measure, as map@1000"
        )
    documents = changed_documents(original, changed)
    values: dict[str, dict[str, float]] = {}
    by_trec_eval = {name: score if name == SCORE else name for name in spelled if name != P_MRR}
    unchanged = [topic for topic in original if topic not in documents]
    if P_MRR in spelled and by_trec_eval and unchanged:
        raise Mismatch(
            f"{_without_change(unchanged, original)}; p-MRR leaves them out, {', '.join(by_trec_eval)} does not: "
            "ask for p-mrr by itself"
        )
    for name, measure in by_trec_eval.items():
        [(display, by_topic)] = evaluate(old, original, [measure], missing="error").values.items()
        values[name if name == SCORE else f"{display} (og)"] = dict(by_topic)
    notes = []
    if P_MRR in spelled:
        values = {P_MRR: p_mrr(old, new, documents), **values}
        notes = _notes(old, new, original, changed, documents)
    counted = [topic for topic in original if P_MRR not in spelled or topic in documents]
    values = {name: {topic: by_topic[topic] for topic in counted} for name, by_topic in values.items()}
    extra = tuple(topic for topic in dict.fromkeys([*old, *new]) if topic not in original)
    name = runs.name if isinstance(runs, Run) else runs[0].name
    if SCORE in spelled:
        notes.append(f"Score is {parse_all([score])[0]} under the original instruction, by the original judgments")
    return Scores(name, values, means_of(values), len(original), (), extra, False, notes=tuple(notes))


def p_mrr(original: Run, changed: Run, documents: Documents) -> dict[str, float]:
    """p-MRR of every topic; the measure's value is their mean.

    For a document at rank a under the original instruction and at rank b under the changed one: 1 - a/b where it went
    down (good, up to 1), b/a - 1 where it went up; a topic has the mean over its documents. Ranks start at 1, and a
    document that is not in a ranking has the rank behind its last.

    Args:
        original: By topic.
        changed: By topic, as deep as the original one for every topic: otherwise the rank of what is missing would
            depend on the depth.
        documents: By topic, those that the changed instruction rules out (`changed_documents`); at least one each.

    Raises:
        Mismatch: A run lacks a topic, or the depths differ.

    Source: FollowIR (arXiv:2403.15246), equation 1; equal to mteb 2's calculate_pmrr.
    """
    for run, instruction in ((original, "original"), (changed, "changed")):
        if lacking := [topic for topic in documents if topic not in run or not len(run.doc_ids(topic))]:
            raise Mismatch(
                f"run {run.name} has no results for {len(lacking)} of {len(documents)} topics under the {instruction} "
                f"instruction, e.g. {lacking[0]!r}; p-MRR needs both rankings of every topic"
            )
    values = {}
    for topic, doc_ids in documents.items():
        old, new = original.doc_ids(topic), changed.doc_ids(topic)
        if len(old) != len(new):
            raise Mismatch(
                f"topic {topic!r} has {len(old)} documents in run {original.name} under the original instruction and "
                f"{len(new)} under the changed one ({changed.name}); p-MRR compares ranks: rank as many for both"
            )
        before, after = ({doc_id: rank for rank, doc_id in enumerate(docs, 1)} for docs in (old, new))
        last = len(old) + 1
        moves = [_move(before.get(doc_id, last), after.get(doc_id, last)) for doc_id in doc_ids]
        values[topic] = math.fsum(moves) / len(moves)
    return values


def changed_documents(original: Qrels, changed: Qrels) -> dict[str, tuple[str, ...]]:
    """By topic, the originally judged documents with another relevance under the changed instruction.

    Topics without one are left out. FollowIR's instructions only narrow, so that these are documents that are less
    relevant than before.

    Args:
        original: By topic.
        changed: By topic; a document that is not judged there counts as not relevant, as trec_eval has it.

    Raises:
        Mismatch: The topics are not the same; or no document is less relevant than before.

    Source: FollowIR's list of changed documents, which mteb 2 ships as qrel_diff.
    """
    if different := sorted(original.keys() ^ changed.keys()):
        raise Mismatch(
            f"{len(different)} topics are judged for one of the two instructions only, e.g. {different[0]!r}; "
            f"{original.name} and {changed.name} are no pair"
        )
    found, lowered = {}, 0
    for topic, before in original.items():
        grades = {doc_id: (max(grade, 0), max(changed[topic].get(doc_id, 0), 0)) for doc_id, grade in before.items()}
        if differ := tuple(doc_id for doc_id, (old, new) in grades.items() if old != new):
            found[topic] = differ
        lowered += sum(old > new for old, new in grades.values())
    if not lowered:
        raise Mismatch(
            f"no document is less relevant by {changed.name} than by {original.name}; give the judgments of the "
            "original instruction first, then those of the narrower one"
        )
    return found


def pair_qrels(qrels: Qrels | Sequence[Qrels]) -> tuple[Qrels, Qrels]:
    """The original and the changed judgments, both by topic, from one object or two.

    Raises:
        Mismatch: One is given and its ids do not end in -og and -changed; or neither one nor two are given.
    """
    given = [qrels] if isinstance(qrels, Qrels) else list(qrels)
    halves = _halves(given, what="qrels")
    names = [given[0].name, given[-1].name]
    original, changed = (
        Qrels({topic: source[query_id] for topic, (source, query_id) in half.items()}, name=name)
        for half, name in zip(halves, names)
    )
    return original, changed


def pair_runs(runs: Run | Sequence[Run]) -> tuple[Run, Run]:
    """The original and the changed run, both by topic, from one object or two.

    Raises:
        Mismatch: One is given and its ids do not end in -og and -changed; or neither one nor two are given.
    """
    given = [runs] if isinstance(runs, Run) else list(runs)
    halves = _halves(given, what="run")
    names = [given[0].name, given[-1].name]
    original, changed = (
        Run({topic: source[query_id] for topic, (source, query_id) in half.items()}, name=name)
        for half, name in zip(halves, names)
    )
    return original, changed


def _spelled(name: str) -> str:
    """The display name of p-MRR and Score, however they are spelled; every other name as it is."""
    plain = name.strip().lower().replace("_", "-")
    return {"p-mrr": P_MRR, "pmrr": P_MRR, "score": SCORE}.get(plain, name)


def _side(query_id: str) -> str:
    return next((suffix for suffix in (ORIGINAL, CHANGED) if query_id.endswith(suffix)), "")


def _move(before: int, after: int) -> float:
    return 1 - before / after if after > before else after / before - 1


def _halves(given: Sequence[Any], *, what: str) -> tuple[dict[str, tuple[Any, str]], ...]:
    """By topic, where each instruction's entry is: the run or qrels, and its query id there."""
    if len(given) == 1:
        [whole] = given
        if stray := [query_id for query_id in whole if not _side(query_id)]:
            raise Mismatch(
                f"{what} {whole.name}: query id {stray[0]!r} ends neither in {ORIGINAL} nor in {CHANGED}; give the "
                f"{what} of both instructions, the original one first"
            )
        return tuple(
            {query_id.removesuffix(side): (whole, query_id) for query_id in whole if _side(query_id) == side}
            for side in (ORIGINAL, CHANGED)
        )
    if len(given) != 2:
        raise Mismatch(
            f"p-MRR needs one {what} or two, for the original and the changed instruction; {len(given)} given"
        )
    for half, wrong in zip(given, (CHANGED, ORIGINAL)):
        if stray := [query_id for query_id in half if _side(query_id) == wrong]:
            raise Mismatch(
                f"{what} {half.name}: query id {stray[0]!r} is of the other instruction; give the original's {what} "
                "first, then the changed one's"
            )
    return tuple(
        {query_id.removesuffix(side): (half, query_id) for query_id in half}
        for half, side in zip(given, (ORIGINAL, CHANGED))
    )


def _without_change(unchanged: Sequence[str], original: Qrels) -> str:
    have = "has" if len(unchanged) == 1 else "have"
    return (
        f"{len(unchanged)} of {len(original)} topics {have} no document whose relevance changes, e.g. {unchanged[0]!r}"
    )


def _notes(old: Run, new: Run, original: Qrels, changed: Qrels, documents: Documents) -> list[str]:
    """One sentence for everything that the value of p-MRR rests on and that a reader would not expect."""
    notes = []
    if unchanged := [topic for topic in original if topic not in documents]:
        notes.append(f"{_without_change(unchanged, original)}: p-MRR leaves them out")
    if all(list(old.doc_ids(topic)) == list(new.doc_ids(topic)) for topic in documents):
        notes.append(
            f"the two rankings are identical for all {len(documents)} topics: this run ignores the instruction; "
            "p-MRR is 0 by construction"
        )
    pairs = [(topic, doc_id) for topic, doc_ids in documents.items() for doc_id in doc_ids]
    raised = [(t, d) for t, d in pairs if changed[t].get(d, 0) > max(original[t][d], 0)]
    if raised:
        notes.append(
            f"{len(raised)} of {len(pairs)} documents are more relevant under the changed instruction, e.g. "
            f"{raised[0][1]!r} of topic {raised[0][0]!r}; p-MRR takes it as a fault when they rise"
        )
    found = {topic: {*old.doc_ids(topic), *new.doc_ids(topic)} for topic in documents}
    if absent := sum(doc_id not in found[topic] for topic, doc_id in pairs):
        notes.append(f"{absent} of {len(pairs)} changed documents are in neither ranking; they count as unmoved")
    return notes
