"""From what a user types to scores: judgments from datasets or files, runs by file or name, tasks and pairs.

One set of judgments is a task; several are the tasks of a benchmark, except that p-mrr takes two as the original and
the changed instruction. With several, a run is a name, looked for in each task's own folder.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from limrank.cli._files import dataset_input
from limrank.cli._terminal import note
from limrank.errors import BadFile, LimrankError, Mismatch

if TYPE_CHECKING:
    from limrank.datasets import Dataset
    from limrank.evaluate import Scores
    from limrank.evaluate.scores import Missing
    from limrank.qrels import Qrels
    from limrank.run import Run

SUFFIXES = ("", ".trec", ".trec.gz")
# What a dataset's own paper reports: measures by the first part of its id, groups of queries by the whole of it.
MEASURES = {"litsearch": ("R@5", "R@20")}
SPLITS = {"litsearch": ("specificity", "origin")}


class Judged(NamedTuple):
    """Judgments, what identifies them, and where runs on them lie: patterns that hold {run}.

    `excluded` is by query id what the dataset wants never to be returned.
    """

    label: str
    qrels: Qrels
    identity: Mapping[str, Any]
    places: tuple[str, ...]
    dataset: Dataset | None
    excluded: Mapping[str, frozenset[str]]


class Task(NamedTuple):
    """What a run is scored on: one set of judgments, or the two of a pair of instructions."""

    label: str
    judged: tuple[Judged, ...]

    @property
    def family(self) -> str:
        """The first part of the dataset's id; empty for files."""
        dataset = self.judged[0].dataset
        return dataset.name.partition("/")[0] if dataset else ""


def open_judged(datasets: Sequence[str], qrels: Sequence[str], *, runs: str = "") -> list[Judged]:
    """The judgments that `--dataset` or `--qrels` name, in order.

    Args:
        datasets: Ids or folders.
        qrels: Files.
        runs: Where the runs are, with {dataset} and {run} in it; default: runs/<dataset>/, and runs/ beside a file.

    Raises:
        LimrankError: Both or neither were given; one is there twice; or `runs` lacks {run}.
    """
    if bool(datasets) == bool(qrels):
        raise LimrankError("judgments are needed once: give --dataset NAME or --qrels FILE")
    if twice := [name for name, times in Counter((*datasets, *qrels)).items() if times > 1]:
        raise LimrankError(f"{twice[0]} is given twice; once is enough")
    if runs and "{run}" not in runs:
        raise LimrankError(
            f"--runs {runs}: the run's name has no place in it; write it as 'runs/{{dataset}}/{{run}}.trec'"
        )
    opened = [_from_dataset(name) for name in datasets] or [_from_file(path) for path in qrels]
    labels = _short_labels([one.label for one in opened]) if datasets else _file_labels(opened, qrels)
    if runs:
        opened = [
            one._replace(places=tuple(runs.replace("{dataset}", name) for name in dict.fromkeys((label, one.label))))
            for one, label in zip(opened, labels)
        ]
    return [one._replace(label=label) for one, label in zip(opened, labels)]


def _from_dataset(name: str) -> Judged:
    from limrank.datasets import open_dataset

    dataset = open_dataset(name)
    qrels = dataset.qrels()
    identity = dataset_input(dataset) | {"sha256": qrels.sha256()}
    # A folder of one's own may hold its runs, as the shared collections do.
    beside = (str(Path(name) / "runs" / "{run}"),) if Path(name).is_dir() else ()
    return Judged(dataset.name, qrels, identity, (f"runs/{dataset.name}/{{run}}", *beside), dataset, dataset.excluded())


def _from_file(path: str) -> Judged:
    from limrank.qrels import Qrels

    qrels = Qrels.read(path)
    places = (str(Path(path).parent / "runs" / "{run}"), f"runs/{qrels.name}/{{run}}")
    return Judged(qrels.name, qrels, {"path": path, "sha256": qrels.sha256()}, places, None, {})


def _short_labels(names: Sequence[str]) -> list[str]:
    """The ids without the folder that all have in common."""
    parents = {name.rpartition("/")[0] for name in names}
    return [name.rpartition("/")[2] for name in names] if len(names) > 1 and len(parents) == 1 else list(names)


def _file_labels(opened: Sequence[Judged], paths: Sequence[str]) -> list[str]:
    """The files' names; where these are alike, their folders' names; where these are alike, too, the paths."""
    for labels in ([one.label for one in opened], [Path(path).resolve().parent.name for path in paths]):
        if len(set(labels)) == len(labels):
            return labels
    return list(paths)


def tasks_of(judged: Sequence[Judged], *, instructions: bool) -> list[Task]:
    """Each of the judgments as a task; with measures of instructions, the two of a pair as one.

    Raises:
        Mismatch: Instructions are to be measured, and some judgments hold neither both nor are there two.
    """
    from limrank.evaluate.instruction import is_paired

    if not instructions or all(is_paired(one.qrels) for one in judged):
        return [Task(one.label, (one,)) for one in judged]
    if len(judged) == 2 and not any(is_paired(one.qrels) for one in judged):
        parents = {one.dataset.name.rpartition("/")[0] for one in judged if one.dataset}
        label = parents.pop() if len(parents) == 1 and all(parents) else f"{judged[0].label}, {judged[1].label}"
        return [Task(label, tuple(judged))]
    raise Mismatch(
        f"{judged[0].label}: p-mrr needs judgments of the original and the changed instruction: query ids that end in "
        "-og and -changed, or two --dataset (or --qrels), the original one first, as in -d stdlib/og -d stdlib/changed"
    )


def defaults(judged: Sequence[Judged]) -> tuple[str, ...]:
    """The measures of the datasets' own papers, or the usual ones."""
    from limrank.evaluate import DEFAULT
    from limrank.evaluate.instruction import SCORE_OF, is_paired

    families = {Task("", (one,)).family for one in judged}
    if families == {"followir"}:
        if all(is_paired(one.qrels) for one in judged) or len(judged) == 2:
            return ("p-mrr", "score")
        return tuple(dict.fromkeys(SCORE_OF[_collection(one)] for one in judged))
    return MEASURES.get(families.pop(), DEFAULT) if len(families) == 1 else DEFAULT


def default_split(judged: Sequence[Judged]) -> tuple[str, ...]:
    """The attributes by which the dataset's own paper groups the queries; none for most."""
    [first, *more] = judged
    return () if more or not first.dataset else SPLITS.get(first.dataset.name, ())


def _collection(one: Judged) -> str:
    """The second part of a dataset's id; empty where there is none."""
    parts = one.dataset.name.split("/") if one.dataset else []
    return parts[1] if len(parts) > 1 else ""


def score_run(
    words: list[str], task: Task, measures: Sequence[str], *, missing: Missing, drop_excluded: bool, alone: bool
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
    from limrank.run import Run

    # One file may hold the queries of both instructions, and so may one set of judgments; two belong to one another.
    both = max(len(words), len(task.judged))
    places = zip(words * (both // len(words)), task.judged * (both // len(task.judged)), strict=True)
    paths = [(find_run(word, one, alone=alone), one) for word, one in places]
    found = {path: Run.read(path) for path in dict.fromkeys(path for path, _ in paths)}
    for path, one in paths:
        found[path] = _without_excluded(found[path], one, drop=drop_excluded)
    if asked(measures):
        score = SCORE_OF.get(_collection(task.judged[0]), "") if task.family == "followir" else ""
        return evaluate_pairs(list(found.values()), [one.qrels for one in task.judged], measures, score=score)
    [run] = found.values()
    return evaluate(run, task.judged[0].qrels, measures, missing=missing)


def _without_excluded(run: Run, judged: Judged, *, drop: bool) -> Run:
    if not judged.dataset:
        if drop:
            raise LimrankError(
                "which documents are excluded is known of a dataset, not of a qrels file; give --dataset"
            )
        return run
    kept = run.without(judged.excluded) if judged.excluded else run
    count = sum(len(run.doc_ids(query_id)) - len(kept.doc_ids(query_id)) for query_id in run)
    if count and not drop:
        note(
            f"{run.name} holds {count} {'document' if count == 1 else 'documents'} that {judged.dataset.name} excludes "
            "from the query, taking ranks as if not relevant; --drop-excluded removes what is excluded"
        )
    return kept if drop else run


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
    raise BadFile(
        f"{word}: no such run for {judged.label}; looked for {', '.join(map(str, dict.fromkeys(candidates)))}"
    )


def _candidates(name: str, judged: Judged) -> list[str]:
    places = [place.replace("{run}", name) for place in judged.places]
    return [f"{place}{suffix}" for place in places for suffix in SUFFIXES]


def _name(word: str) -> str:
    from limrank.run import name_of

    return name_of(Path(word))


def system_names(words: Sequence[str]) -> list[str]:
    """The runs' names; those of one name told apart by their folders."""
    times = Counter(map(_name, words))
    return [_name(word) if times[_name(word)] == 1 else str(Path(word).with_name(_name(word))) for word in words]


def parse_groups(groups: Iterable[str]) -> dict[str, list[str]]:
    """Name and runs of every `NAME=run1,run2`; a * in a file's name stands for anything.

    Raises:
        LimrankError: It is not written so, a name is there twice, or a pattern fits no file.
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
        found[name] = words
    return found


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
