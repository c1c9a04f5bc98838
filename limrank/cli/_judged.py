"""From what a user types to judgments: of datasets or files, as tasks and pairs, with their own measures.

One set of judgments is a task; several are the tasks of a benchmark, except that p-mrr takes two as the original and
the changed instruction. Knows nothing of runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from limrank.cli._files import dataset_input
from limrank.errors import LimrankError, Mismatch

if TYPE_CHECKING:
    from limrank.datasets import Dataset
    from limrank.qrels import Qrels

# What a dataset's own paper reports: measures by the first part of its id, groups of queries by the whole of it.
MEASURES = {"litsearch": ("R@5", "R@20")}
# Names that many files of judgments have, and that say nothing.
PLAIN = ("qrels", "test")
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
    _check_different(opened, [*datasets, *qrels])
    labels = (
        _short_labels([one.label for one in opened])
        if datasets
        else [_file_label(one.label, Path(path)) for one, path in zip(opened, qrels)]
    )
    if len(set(labels)) < len(labels):
        labels = [*datasets, *qrels]
    if runs:
        opened = [
            one._replace(places=tuple(runs.replace("{dataset}", name) for name in dict.fromkeys((label, one.label))))
            for one, label in zip(opened, labels)
        ]
    return [one._replace(label=label) for one, label in zip(opened, labels)]


def _check_different(opened: Sequence[Judged], words: Sequence[str]) -> None:
    """Refuse judgments that are there twice under different spellings."""
    seen: dict[object, str] = {}
    for one, word in zip(opened, words):
        identity = tuple(one.identity.items()) if one.dataset else Path(word).resolve()
        if identity in seen:
            raise LimrankError(f"{seen[identity]} and {word} are the same; once is enough")
        seen[identity] = word


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


def _file_label(name: str, path: Path) -> str:
    """The file's name; of `qrels` and `test` the collection's folder, which goes before `qrels.fixed`, too."""
    folder = path.resolve().parent
    folder = folder.parent if folder.name == "qrels" else folder
    if not folder.name or (name not in PLAIN and not name.startswith("qrels.")):
        return name
    return folder.name if name in PLAIN else f"{folder.name}/{name}"


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


def defaults(judged: Sequence[Judged], *, instructions: bool = True) -> tuple[str, ...]:
    """The measures of the datasets' own papers, or the usual ones; `instructions`: with those that compare pairs."""
    from limrank.evaluate import DEFAULT
    from limrank.evaluate.instruction import SCORE_OF, is_paired

    families = {Task("", (one,)).family for one in judged}
    if families == {"followir"}:
        if instructions and (all(is_paired(one.qrels) for one in judged) or len(judged) == 2):
            return ("p-mrr", "score")
        return tuple(dict.fromkeys(SCORE_OF[collection(one)] for one in judged))
    return MEASURES.get(families.pop(), DEFAULT) if len(families) == 1 else DEFAULT


def default_split(judged: Sequence[Judged]) -> tuple[str, ...]:
    """The attributes by which the dataset's own paper groups the queries; none for most."""
    [first, *more] = judged
    return () if more or not first.dataset else SPLITS.get(first.dataset.name, ())


def collection(one: Judged) -> str:
    """The second part of a dataset's id; empty where there is none."""
    parts = one.dataset.name.split("/") if one.dataset else []
    return parts[1] if len(parts) > 1 else ""
