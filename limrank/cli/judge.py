"""evaluate and compare: what a run is worth, and whether a difference is more than chance."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from limrank.cli._files import check_writable
from limrank.cli._groups import groups_by
from limrank.cli._judged import default_split, defaults, open_judged, tasks_of
from limrank.cli._systems import files_of, score_run, score_system, system_names, systems_of
from limrank.cli._terminal import emit_json, note, table
from limrank.cli._ways import Ways, compare_systems, inputs_of, write_manifest
from limrank.errors import LimrankError, Unknown

if TYPE_CHECKING:
    from limrank.cli._judged import Task
    from limrank.evaluate import Scores
    from limrank.evaluate.tables import Style

AsJson = Annotated[bool, Parameter(name="--json", negative=())]
Flag = Annotated[bool, Parameter(negative=())]
Datasets = Annotated[list[str], Parameter(name=["--dataset", "-d"], negative=())]
Listed = Annotated[list[str], Parameter(negative=())]
# `compare` takes several at once, as a shell's * gives them; its runs stand before.
ManyDatasets = Annotated[list[str], Parameter(name=["--dataset", "-d"], consume_multiple=True, negative=())]
BY_SUFFIX: dict[str, Style] = {".json": "json", ".md": "markdown", ".tex": "latex", ".txt": "table"}
ManyFiles = Annotated[list[str], Parameter(consume_multiple=True, negative=())]


def evaluate(
    run: str,
    /,
    *measures: str,
    dataset: Datasets | None = None,
    qrels: Listed | None = None,
    runs: str = "",
    by: Listed | None = None,
    drop_excluded: Flag = False,
    missing: Literal["zero", "skip", "error"] = "zero",
    per_query: Flag = False,
    as_json: AsJson = False,
) -> None:
    """Print trec_eval's measures of a run, or p-MRR of the runs for two instructions.

    Several --dataset are the tasks of a benchmark: RUN is then a name, and the mean counts every task the same. With
    p-mrr two are a pair of instructions: limrank evaluate bm25 -d stdlib/og -d stdlib/changed p-mrr

    Args:
        run: A TREC run file, .gz or not; or a name, for runs/<dataset>/<name>.trec
        measures: As trec_eval, ir_measures or ranx spell them, and p-mrr; default: the dataset's own, else
            ndcg@10 map mrr recall@100. For p-mrr a second run file may follow the first, with the changed queries.
        dataset: Whose judgments: an ir_datasets id, bright/<task>, followir/<task>, litsearch, stdlib, or a folder.
        qrels: Or a judgments file, TREC or BEIR.
        runs: Where runs are found by name; default: runs/{dataset}/{run}.trec, and runs/ beside a judgments file.
        by: Also print the means of groups of queries: an attribute that the dataset knows (litsearch: specificity,
            origin), or a file of query_id<tab>group lines; several are crossed.
        drop_excluded: Remove the documents that the dataset excludes from a query, as BRIGHT does, before scoring.
        missing: A judged query that the run lacks counts 0 (trec_eval -c), is skipped (as BRIGHT's own script does), or
            is an error. For p-mrr it always is one.
        per_query: Print every query's values, too.
        as_json: For programs.
    """
    from limrank.evaluate.instruction import asked

    second, wanted = _runs_and_measures(measures)
    judged = open_judged(dataset or [], qrels or [], runs=runs)
    names = wanted or list(defaults(judged))
    tasks = tasks_of(judged, instructions=asked(names))
    if second and not (asked(names) and len(tasks) == 1 and len(second) == 1):
        raise LimrankError(
            f"{second[0]}: evaluate takes one run, and two only for p-mrr; limrank compare takes several"
        )
    if by and len(judged) > 1:
        raise LimrankError("--by divides the queries of one dataset; with several, the table is by task already")

    def score(words: list[str], task: Task) -> Scores:
        return score_run(words, task, names, missing=missing, drop_excluded=drop_excluded, alone=len(tasks) == 1)

    name = system_names([run])[0]
    scores = score([run, *second], tasks[0]) if len(tasks) == 1 else score_system(name, [run], tasks, score)
    attributes = default_split(judged) if by is None else by
    groups = scores.split(groups_by(attributes, judged[0])) if attributes else scores.by_task()
    for text in scores.warnings():
        note(text)
    if as_json:
        identities = [dict(one.identity) for one in judged]
        means = (
            {"groups": {group: part.to_json(per_query=False) for group, part in groups.items()}} if attributes else {}
        )
        emit_json(
            scores.to_json(per_query=per_query)
            | means
            | {"qrels": identities[0] if len(judged) == 1 else identities, "warnings": scores.warnings()}
        )
        return
    _print_scores(scores, groups, per_query=per_query, label="mean" if scores.tasks else "all")
    for one in judged:
        known = one.identity.get("revision") or f"qrels sha256 {one.identity['sha256'][:12]}"
        note(f"{len(one.qrels)} judged queries of {one.label} ({known})")


def _runs_and_measures(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that are files and those that are measures; a measure's name is a measure, whatever files there are."""
    runs = [
        word
        for word in words
        if not _is_measure(word) and (Path(word).suffix in (".trec", ".gz") or Path(word).is_file())
    ]
    return runs, [word for word in words if word not in runs]


def _is_measure(word: str) -> bool:
    from limrank.evaluate.instruction import asked
    from limrank.evaluate.measures import parse

    try:
        parse(word)
    except Unknown:
        return asked([word])
    except LimrankError:
        return True
    return True


def _print_scores(scores: Scores, groups: dict[str, Scores], *, per_query: bool, label: str) -> None:
    names = list(scores.means)
    rows = (
        [[query_id, *(f"{value:.4f}" for value in values)] for query_id, values in scores.rows()] if per_query else []
    )
    means = [(group, part.means) for group, part in groups.items()] + [(label, scores.means)]
    rows += [[group, *(f"{found[name]:.4f}" for name in names)] for group, found in means]
    table(["query" if not groups or per_query else "queries", *names], rows)


def compare(
    *run: str,
    dataset: ManyDatasets | None = None,
    qrels: ManyFiles | None = None,
    runs: str = "",
    group: Listed | None = None,
    measures: Annotated[list[str], Parameter(name=["--measures", "-m"], consume_multiple=True, negative=())]
    | None = None,
    baseline: str = "",
    ways: Annotated[Ways, Parameter(name="*")] = Ways(),  # noqa: B008 - frozen
    drop_excluded: Flag = False,
    missing: Literal["zero", "skip", "error"] = "zero",
    full: Flag = False,
    style: Annotated[Literal["table", "markdown", "latex", "json", "ranx"] | None, Parameter(name="--format")] = None,
    out: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs on the same judgments: means, differences with confidence intervals, corrected p-values.

    Several --dataset (or --qrels) are the tasks of a benchmark: a RUN is then a name, found in every task's folder, and
    a mean counts every task the same, with intervals and tests that resample within the tasks:
    limrank compare bm25 rank1 --dataset bright/biology bright/pony

    Args:
        run: Two or more TREC run files, or names; a file's name is the name of its run, with its folder where two are
            the same.
        dataset: Whose judgments: an ir_datasets id, bright/<task>, followir/<task>, litsearch, stdlib, or a folder.
        qrels: Or judgments files, TREC or BEIR.
        runs: Where runs are found by name; default: runs/{dataset}/{run}.trec, and runs/ beside a judgments file.
        group: Runs of one system with several seeds, NAME=run1,run2,run3: averaged query by query.
        measures: Default: the dataset's own, else ndcg@10 map mrr recall@100; every one adds comparisons that the
            correction pays for. p-mrr compares by topic; it takes one --dataset with both instructions, or two.
        baseline: Compare every run with this one only; default: all pairs.
        ways: How they are compared.
        drop_excluded: Remove the documents that the dataset excludes from a query, as BRIGHT does, before scoring.
        missing: A judged query that a run lacks counts 0, is skipped for all runs, or is an error. For p-mrr it always
            is one.
        full: Every difference with raw p and effect size, and every measure of every task; JSON always has them.
        style: How the result is printed; default: as the suffix of --out says (.json, .md, .tex, .txt for a table),
            else as a table.
        out: Write it to this file as well, and beside it the manifest: options, files, digests, versions.
        as_json: The same as --format json, which has everything, per-query values included.
    """
    from limrank.evaluate.instruction import asked
    from limrank.evaluate.tables import render, to_json
    from limrank.files import write_text

    started = time.monotonic()
    systems = systems_of(run, group or [], command="compare", least=2, judged=bool(dataset or qrels))
    if out:
        check_writable(out)
    chosen = _style(out, "json" if as_json else style)
    judged = open_judged(dataset or [], qrels or [], runs=runs)
    names = measures or list(defaults(judged))
    tasks = tasks_of(judged, instructions=asked(names))

    def score(words: list[str], task: Task) -> Scores:
        return score_run(words, task, names, missing=missing, drop_excluded=drop_excluded, alone=len(tasks) == 1)

    scored = [score_system(name, words, tasks, score) for name, words in systems.items()]
    comparison = compare_systems(scored, tasks, baseline=baseline, ways=ways)
    files = inputs_of(files_of(systems, tasks, alone=len(tasks) == 1)) if out or chosen == "json" else {}
    if chosen == "json":
        record = to_json(comparison)
        for one in record["runs"]:
            one["files"] = files[one["name"]]
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
    else:
        text = render(comparison, chosen, full=full)
    print(text)
    if out:
        write_text(out, text + "\n")
        given = {"format": chosen, "full": full, "drop_excluded": drop_excluded, "missing": missing}
        write_manifest(out, "compare", comparison, judged, files, started=started, parameters=given)


def _style(out: Path | None, asked_for: Style | None) -> Style:
    """How the result is written: as asked for, else as the suffix of its file says, else as a table.

    Raises:
        LimrankError: The suffix says nothing.
    """
    if asked_for or not out:
        return asked_for or "table"
    if out.suffix.lower() not in BY_SUFFIX:
        raise LimrankError(
            f"{out}: a comparison is written as {', '.join(BY_SUFFIX)}; give --out one of these suffixes, or say "
            "--format, as --format table"
        )
    return BY_SUFFIX[out.suffix.lower()]
