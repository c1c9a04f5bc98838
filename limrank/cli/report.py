"""report: a comparison as one page that opens anywhere, or as tables for a paper."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from limrank.cli._files import check_writable
from limrank.cli._judged import defaults as default_measures
from limrank.cli._judged import open_judged, tasks_of
from limrank.cli._systems import both_instructions, files_of, find_run, open_run, score_system, systems_of
from limrank.cli._terminal import emit_json, note, track
from limrank.cli._ways import Ways, compare_systems, inputs_of, write_manifest
from limrank.errors import LimrankError

if TYPE_CHECKING:
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
    ways: Annotated[Ways, Parameter(name="*")] = Ways(),  # noqa: B008 - frozen
    drop_excluded: Flag = False,
    missing: Literal["zero", "skip", "error"] = "zero",
    title: str = "",
    top: int = 10,
    characters: int = 600,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
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
        baseline: Compare every run with this one only; default: all pairs, with figures drawn against the first run.
        first_stage: The run that the others reranked; default: what their manifests say, else the baseline where the
            documents are the same.
        ways: How they are compared.
        drop_excluded: Remove the documents that the dataset excludes from a query, as BRIGHT does, before scoring.
        missing: A judged query that a run lacks counts 0, is skipped for all runs, or is an error.
        title: Of the page; default: the datasets.
        top: Documents of every run that can be read for a query.
        characters: Of a document's text; of a model's thought four times as many.
        as_json: Print what was written, from which judgments, and why something is not in it, for programs.
    """
    from limrank.evaluate import evaluate
    from limrank.evaluate.instruction import asked
    from limrank.evaluate.report import Task, check_format, write
    from limrank.files import sha256

    started = time.monotonic()
    check_format(out)
    check_writable(out)
    systems = systems_of(run, group or [], command="report", least=1, judged=bool(dataset or qrels))
    judged = open_judged(dataset or [], qrels or [], runs=runs)
    names = measures or list(default_measures(judged, instructions=False))
    if asked(names):
        raise LimrankError(
            "a report is of trec_eval's measures, query by query, as ndcg@10; p-mrr is told by limrank compare"
        )
    tasks = tasks_of(judged, instructions=False)
    words = list(dict.fromkeys(word for listed in systems.values() for word in listed))
    pairs = [(task, word) for task in tasks for word in words]
    opened: dict[tuple[str, str], Run] = {}
    told: dict[tuple[str, str], tuple[str, ...]] = {}
    for task, word in track(pairs, label="runs", total=len(pairs)):
        path = find_run(word, task.judged[0], alone=len(tasks) == 1)
        key = task.label, word
        opened[key], told[key] = open_run(path, task.judged, drop_excluded=drop_excluded)

    def score(words: Sequence[str], task: JudgedTask) -> Scores:
        key = task.label, words[0]
        scores = evaluate(opened[key], task.judged[0].qrels, names, missing=missing)
        return replace(scores, notes=(*scores.notes, *told[key], *both_instructions(task)))

    scored = [score_system(name, listed, tasks, score) for name, listed in systems.items()]
    comparison = compare_systems(scored, tasks, baseline=baseline, ways=ways)
    material = [
        Task(
            task.label,
            task.judged[0].qrels,
            {name: opened[task.label, listed[0]] for name, listed in systems.items()},
            dataset=task.judged[0].dataset,
            paths={name: paths[0] for name, paths in files_of(systems, [task], alone=len(tasks) == 1).items()},
            seeds={name: [opened[task.label, word] for word in listed] for name, listed in systems.items()},
        )
        for task in tasks
    ]
    options: dict[str, Any] = {"title": title, "first_stage": first_stage, "top": top, "characters": characters}
    notes = [*comparison.warnings(), *write(out, comparison, material, **options)]
    for text in notes:
        note(text)
    given = options | {"drop_excluded": drop_excluded, "missing": missing}
    files = inputs_of(files_of(systems, tasks, alone=len(tasks) == 1))
    write_manifest(out, "report", comparison, judged, files, started=started, parameters=given)
    queries = len(comparison.query_ids)
    if as_json:
        judgments = [dict(one) for one in comparison.judgments]
        made = {"out": str(out), "sha256": sha256(out), "runs": list(systems), "queries": queries}
        emit_json(made | {"judgments": judgments, "notes": notes})
    else:
        print(f"{out}: {len(systems)} runs on {queries} queries, {out.stat().st_size / 1e6:.1f} MB")
