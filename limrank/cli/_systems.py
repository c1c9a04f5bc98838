"""From runs that a user types to scores: by file or name, with what is excluded told or dropped, seeds, tasks, pairs.

With several tasks a run is a name, looked for in each task's own folder. Knows nothing of tests and tables.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from limrank.cli._judged import collection
from limrank.cli._unjudged import without_verdict
from limrank.errors import BadFile, LimrankError

if TYPE_CHECKING:
    from limrank.cli._judged import Judged, Task
    from limrank.evaluate import Scores
    from limrank.evaluate.scores import Missing
    from limrank.run import Run

SUFFIXES = ("", ".trec", ".trec.gz")


def systems_of(
    run: Sequence[str], groups: Iterable[str], *, command: str, least: int, judged: bool
) -> dict[str, list[str]]:
    """Name and runs of every system.

    Args:
        run: Files or names.
        groups: Systems of several runs, as `parse_groups` reads them.
        command: Which asks, for messages.
        least: How many there have to be.
        judged: Whether judgments were given, so that a run may have been taken for one.

    Raises:
        LimrankError: Two have the same name, or there are too few.
    """
    names = system_names(run)
    if twice := [name for name in names if names.count(name) > 1]:
        raise LimrankError(f"{names.count(twice[0])} runs are called {twice[0]!r}; a table needs different names")
    systems = {name: [word] for name, word in zip(names, run)}
    for name, words in parse_groups(groups).items():
        if name in systems:
            raise LimrankError(f"--group {name}: a run has that name already; a table needs different names")
        systems[name] = words
    if len(systems) < least:
        where = "; runs stand before --dataset and --qrels" if judged else ""
        needed = "a run" if least == 1 else "two runs or more"
        raise LimrankError(f"{command} needs {needed}, {len(systems) or 'none'} given{where}")
    return systems


def system_names(words: Sequence[str]) -> list[str]:
    """The runs' names; those of one name told apart by their folders."""
    times = Counter(map(_name, words))
    return [_name(word) if times[_name(word)] == 1 else str(Path(word).with_name(_name(word))) for word in words]


def parse_groups(groups: Iterable[str]) -> dict[str, list[str]]:
    """Name and runs of every `NAME=run1,run2`; a * in a file's name stands for anything.

    Raises:
        LimrankError: It is not written so, a name or a run is there twice, or a pattern fits no file.
    """
    found: dict[str, list[str]] = {}
    for text in groups:
        name, equals, listed = text.partition("=")
        words = [
            path
            for word in filter(None, listed.split(","))
            for path in (sorted(glob.glob(word)) if "*" in word else [word])  # noqa: PTH207 - the pattern may be absolute
        ]
        if not equals or not name or not words:
            raise LimrankError(f"--group {text}: write NAME=run1,run2,... with runs that exist")
        if name in found:
            raise LimrankError(f"--group {name} is there twice; a table needs different names")
        if twice := [word for word, times in Counter(map(os.path.normpath, words)).items() if times > 1]:
            raise LimrankError(f"--group {name}: {twice[0]} is there twice; every run counts once")
        found[name] = words
    return found


def find_run(word: str, judged: Judged, *, alone: bool) -> Path:
    """The file of a run; a name is looked for where runs on these judgments lie.

    Raises:
        BadFile: There is none; the message names where it was looked for.
        LimrankError: A file is given where only a name can be meant.
    """
    path = Path(word)
    if alone and (path.is_file() or path.suffix in (".trec", ".gz") or path.parent.name):
        return path
    if path.is_file() and path.parent.name:
        raise LimrankError(
            f"{word}: with several datasets give the run's name, as {_name(word)}; it is looked for as "
            f"{_candidates(_name(word), judged)[1]} and so on"
        )
    candidates = [Path(place) for name in dict.fromkeys((word, _name(word))) for place in _candidates(name, judged)]
    if found := next((place for place in candidates if place.is_file()), None):
        return found
    whose = judged.dataset.name if judged.dataset else judged.label
    raise BadFile(f"{word}: no such run for {whose}; looked for {', '.join(map(str, dict.fromkeys(candidates)))}")


def files_of(systems: Mapping[str, Sequence[str]], tasks: Sequence[Task], *, alone: bool) -> dict[str, list[Path]]:
    """Every file that a system is made of; `alone` as for `find_run`."""
    return {
        name: list(
            dict.fromkeys(find_run(word, one, alone=alone) for task in tasks for word in words for one in task.judged)
        )
        for name, words in systems.items()
    }


def open_run(path: Path, judged: Sequence[Judged], *, drop_excluded: bool) -> tuple[Run, tuple[str, ...]]:
    """A run less what the judgments' datasets exclude, where that is wanted; and what has to be known of it.

    The sentences tell what was excluded or was not, and what a reranker left without a verdict.

    Raises:
        LimrankError: Documents are to be dropped, and nobody knows which.
    """
    from limrank.run import Run

    run, sentences = Run.read(path), without_verdict(path)
    for one in judged:
        if drop_excluded and not one.dataset:
            raise LimrankError(
                "which documents are excluded is known of a dataset, not of a qrels file; give --dataset"
            )
        kept = run.without(one.excluded) if one.excluded else run
        count = sum(len(run.doc_ids(query_id)) - len(kept.doc_ids(query_id)) for query_id in run)
        documents = f"{count} {'document' if count == 1 else 'documents'}"
        if count and drop_excluded:
            sentences.append(
                f"{documents} of {run.name} that {one.label} excludes from the query dropped before scoring"
            )
        elif count:
            sentences.append(
                f"{run.name} holds {documents} that {one.label} excludes from the query, taking ranks as if not "
                "relevant; --drop-excluded removes what is excluded"
            )
        run = kept if drop_excluded else run
    return run, tuple(sentences)


def score_run(
    words: Sequence[str], task: Task, measures: Sequence[str], *, missing: Missing, drop_excluded: bool, alone: bool
) -> Scores:
    """One run on one task.

    Args:
        words: A file or a name; two of them for the two instructions of a pair.
        task: What it is scored on.
        measures: As typed.
        missing: How missing queries count.
        drop_excluded: Remove the documents that the dataset excludes; else say how many there are.
        alone: Whether this is the only task, so that a file can be meant.
    """
    from limrank.evaluate import evaluate, evaluate_pairs
    from limrank.evaluate.instruction import SCORE_OF, asked

    both = max(len(words), len(task.judged))
    places = list(zip([*words] * (both // len(words)), task.judged * (both // len(task.judged)), strict=True))
    paths = [find_run(word, one, alone=alone) for word, one in places]
    if len(words) == 1 and len(set(paths)) == 1:
        # One file that holds the queries of both instructions.
        opened = [open_run(paths[0], task.judged, drop_excluded=drop_excluded)]
    else:
        opened = [open_run(path, (one,), drop_excluded=drop_excluded) for path, (_, one) in zip(paths, places)]
    runs, notes = [run for run, _ in opened], [sentence for _, sentences in opened for sentence in sentences]
    qrels = [one.qrels for one in task.judged]
    if asked(measures):
        if missing == "skip":
            raise LimrankError("p-mrr compares two rankings of every topic: a missing query is an error, not skipped")
        score = SCORE_OF.get(collection(task.judged[0]), "") if task.family == "followir" else ""
        scores = evaluate_pairs(runs, qrels, measures, score=score)
    else:
        scores = evaluate(runs[0], qrels[0], measures, missing=missing)
        notes += both_instructions(task)
    return replace(scores, notes=(*scores.notes, *notes))


def both_instructions(task: Task) -> list[str]:
    """A sentence where the measures of one instruction are averaged with those of the other."""
    from limrank.evaluate.instruction import is_paired

    if not is_paired(task.judged[0].qrels):
        return []
    return [f"{task.label} has the queries of both instructions; the means are over -og and -changed alike"]


def score_system(name: str, words: Sequence[str], tasks: Sequence[Task], score: Callable[..., Scores]) -> Scores:
    """A system on all tasks: seeds averaged per query, tasks averaged with the same weight.

    Args:
        name: Of the system.
        words: One run, or the runs of several seeds.
        tasks: One or more.
        score: `score_run` with its options.
    """
    from limrank.evaluate import average, macro_average

    by_task = {}
    for task in tasks:
        seeds = [score([word], task) for word in words]
        by_task[task.label] = average(seeds, name=name) if len(seeds) > 1 else replace(seeds[0], name=name)
    return macro_average(by_task, name=name) if len(tasks) > 1 else by_task[tasks[0].label]


def _candidates(name: str, judged: Judged) -> list[str]:
    places = [place.replace("{run}", name) for place in judged.places]
    return [f"{place}{suffix}" for place in places for suffix in SUFFIXES]


def _name(word: str) -> str:
    from limrank.run import name_of

    return name_of(Path(word))
