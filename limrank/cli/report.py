"""report: a comparison as one page that opens anywhere, or as tables for a paper."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from limrank.cli._files import check_writable
from limrank.cli._judged import defaults as default_measures
from limrank.cli._judged import find_run, open_judged, parse_groups, score_system, system_names, tasks_of
from limrank.cli._terminal import note, track
from limrank.errors import LimrankError

if TYPE_CHECKING:
    from limrank.cli._judged import Judged
    from limrank.cli._judged import Task as JudgedTask
    from limrank.evaluate import Scores
    from limrank.run import Run

Flag = Annotated[bool, Parameter(negative=())]
ManyDatasets = Annotated[list[str], Parameter(name=["--dataset", "-d"], consume_multiple=True)]
ManyFiles = Annotated[list[str], Parameter(consume_multiple=True)]


def report(
    *run: str,
    out: Path = Path("report.html"),
    dataset: ManyDatasets | None = None,
    qrels: ManyFiles | None = None,
    runs: str = "",
    group: list[str] | None = None,
    measures: Annotated[list[str], Parameter(name=["--measures", "-m"], consume_multiple=True)] | None = None,
    baseline: str = "",
    first_stage: str = "",
    test: Literal["t", "randomization", "tukey"] = "t",
    correction: Literal["holm", "bonferroni", "bh", "none"] = "holm",
    interval: Literal["bootstrap", "t"] = "bootstrap",
    alpha: float = 0.05,
    drop_excluded: Flag = False,
    missing: Literal["zero", "skip", "error"] = "zero",
    samples: int = 10_000,
    seed: int = 0,
    title: str = "",
    top: int = 10,
    characters: int = 600,
) -> None:
    """Write a comparison as one file: a page with figures and every query, or tables in Markdown or LaTeX.

    Runs, datasets and tests are given as for limrank compare, and the numbers are the same. The page needs no network:
    limrank report bm25.trec rank1.trec --dataset bright/biology --out report.html

    Args:
        run: TREC run files, or names; their manifests and calls files are looked for beside them.
        out: By its suffix: .html, .md or .tex.
        dataset: Whose judgments, wordings and documents: an id or a folder; several are the tasks of a benchmark.
        qrels: Or judgments files, TREC or BEIR; then there are ids, and no texts.
        runs: Where runs are found by name; default: runs/{dataset}/{run}.trec, and runs/ beside a judgments file.
        group: Runs of one system with several seeds, NAME=run1,run2,run3: averaged; the first is shown query by query.
        measures: Default: the dataset's own, else ndcg@10 map mrr recall@100.
        baseline: Compare every run with this one; default: the first run.
        first_stage: The run that the others reranked; default: what their manifests say, else the baseline where the
            documents are the same.
        test: Paired t-test, sign-flip randomisation test, or Tukey's HSD with the queries as second factor.
        correction: Over all pairs and measures of the table.
        interval: Bootstrap (percentile) or t intervals.
        alpha: A corrected p below it is called significant.
        drop_excluded: Remove the documents that the dataset excludes from a query, as BRIGHT does, before scoring.
        missing: A judged query that a run lacks counts 0, is skipped for all runs, or is an error.
        samples: Bootstrap resamplings, and random sign assignments.
        seed: Of the bootstrap and the randomisation test.
        title: Of the page; default: the datasets.
        top: Documents of every run that can be read for a query.
        characters: Of a document's text; of a model's thought four times as many.
    """
    from limrank.evaluate import compare_scores, evaluate
    from limrank.evaluate.instruction import asked
    from limrank.evaluate.report import Task, check_format, write
    from limrank.manifest import Manifest

    started = time.monotonic()
    check_format(out)
    check_writable(out)
    systems = _systems(run, group or [], given=bool(dataset or qrels))
    judged = open_judged(dataset or [], qrels or [], runs=runs)
    names = measures or list(default_measures(judged))
    if asked(names):
        raise LimrankError("a report is of trec_eval's measures, query by query; p-mrr is told by limrank compare")
    tasks = tasks_of(judged, instructions=False)
    opened = {
        task.label: _open_runs(systems, task.judged[0], alone=len(tasks) == 1, drop_excluded=drop_excluded)
        for task in track(tasks, label="runs", total=len(tasks))
    }

    def score(words: Sequence[str], task: JudgedTask) -> Scores:
        return evaluate(opened[task.label][words[0]][1], task.judged[0].qrels, names, missing=missing)

    comparison = compare_scores(
        [score_system(name, words, tasks, score) for name, words in systems.items()],
        qrels=", ".join(task.label for task in tasks),
        baseline=baseline or (next(iter(systems)) if len(systems) > 1 else None),
        test=test,
        correction=correction,
        interval=interval,
        alpha=alpha,
        samples=samples,
        seed=seed,
    )
    material = [
        Task(
            task.label,
            task.judged[0].qrels,
            {name: opened[task.label][words[0]][1] for name, words in systems.items()},
            dataset=task.judged[0].dataset,
            paths={name: opened[task.label][words[0]][0] for name, words in systems.items()},
        )
        for task in tasks
    ]
    options: dict[str, Any] = {"title": title, "first_stage": first_stage, "top": top, "characters": characters}
    for text in [*comparison.warnings(), *write(out, comparison, material, **options)]:
        note(text)
    Manifest(
        command="report",
        parameters=_parameters(comparison.__dict__) | options | {"drop_excluded": drop_excluded, "missing": missing},
        inputs={
            "qrels": [dict(one.identity) for one in judged],
            "runs": [
                {"path": str(path), "sha256": task.digests[name]}
                for task in material
                for name, path in task.paths.items()
            ],
        },
        counts={"queries": len(comparison.query_ids), "tasks": len(tasks), "runs": len(systems)},
        seconds=time.monotonic() - started,
    ).write(out)
    print(f"{out}: {len(systems)} runs on {len(comparison.query_ids)} queries, {out.stat().st_size / 1e6:.1f} MB")


def _systems(run: Sequence[str], group: Sequence[str], *, given: bool) -> dict[str, list[str]]:
    """Name and runs of every system."""
    named = system_names(run)
    if twice := [name for name in named if named.count(name) > 1]:
        raise LimrankError(f"{named.count(twice[0])} runs are called {twice[0]!r}; a report needs different names")
    systems = {name: [word] for name, word in zip(named, run)}
    for name, words in parse_groups(group).items():
        if name in systems:
            raise LimrankError(f"--group {name}: a run has that name already; a report needs different names")
        systems[name] = words
    if not systems:
        where = "; runs stand before --dataset and --qrels" if given else ""
        raise LimrankError(f"report needs a run, none is given{where}")
    return systems


def _open_runs(
    systems: Mapping[str, Sequence[str]], judged: Judged, *, alone: bool, drop_excluded: bool
) -> dict[str, tuple[Path, Run]]:
    """File and run of every word, without what the dataset excludes where that is wanted."""
    from limrank.run import Run

    if drop_excluded and not judged.dataset:
        raise LimrankError("which documents are excluded is known of a dataset, not of a qrels file; give --dataset")
    excluded = judged.dataset.excluded() if judged.dataset else {}
    opened = {}
    for word in dict.fromkeys(word for words in systems.values() for word in words):
        path = find_run(word, judged, alone=alone)
        run = Run.read(path)
        kept = run.without(excluded) if excluded else run
        count = sum(len(run.doc_ids(query_id)) - len(kept.doc_ids(query_id)) for query_id in run)
        if count and not drop_excluded:
            note(f"{path}: holds {count} documents that {judged.label} excludes; --drop-excluded removes them")
        opened[word] = (path, kept if drop_excluded else run)
    return opened


def _parameters(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """How it was compared."""
    keys = ("measures", "baseline", "test", "correction", "interval", "alpha", "confidence", "samples", "seed")
    return {key: comparison[key] for key in keys}
