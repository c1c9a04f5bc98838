"""evaluate and compare: what a run is worth, and whether a difference is more than chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from limrank.cli._files import check_writable, judgments
from limrank.cli._terminal import emit_json, note, table
from limrank.errors import LimrankError

if TYPE_CHECKING:
    from limrank.run import Run

AsJson = Annotated[bool, Parameter(name="--json", negative=())]
DatasetName = Annotated[str, Parameter(name=["--dataset", "-d"])]


def evaluate(
    run: Path,
    /,
    *measures: str,
    dataset: DatasetName = "",
    qrels: str = "",
    missing: Literal["zero", "skip", "error"] = "zero",
    per_query: Annotated[bool, Parameter(negative=())] = False,
    as_json: AsJson = False,
) -> None:
    """Print trec_eval's measures of a run.

    Args:
        run: A TREC run file, .gz or not.
        measures: As trec_eval, ir_measures or ranx spell them; default: ndcg@10 map mrr recall@100
        dataset: Whose judgments: an ir_datasets id, bright/<task>, stdlib, or a folder.
        qrels: Or a judgments file, TREC or BEIR.
        missing: A judged query that the run lacks counts 0 (trec_eval -c), is skipped (as BRIGHT's own script does), or
            is an error.
        per_query: Print every query's values, too.
        as_json: For programs.
    """
    from limrank.evaluate import DEFAULT
    from limrank.evaluate import evaluate as score
    from limrank.run import Run

    judged, identity = judgments(dataset, qrels)
    scores = score(Run.read(run), judged, measures or DEFAULT, missing=missing)
    for text in scores.warnings():
        note(text)
    if as_json:
        emit_json(scores.to_json(per_query=per_query) | {"qrels": identity})
        return
    names = list(scores.means)
    rows = (
        [[query_id, *(f"{value:.4f}" for value in values)] for query_id, values in scores.rows()] if per_query else []
    )
    table(["query", *names], [*rows, ["all", *(f"{scores.means[name]:.4f}" for name in names)]])
    if identity.get("revision"):
        note(f"{len(judged)} judged queries of {identity['name']} ({identity['revision']})")


def compare(
    *runs: Path,
    dataset: DatasetName = "",
    qrels: str = "",
    measures: Annotated[list[str], Parameter(name=["--measures", "-m"], consume_multiple=True)] | None = None,
    baseline: str = "",
    test: Literal["t", "randomization"] = "t",
    correction: Literal["holm", "bonferroni", "bh", "none"] = "holm",
    alpha: float = 0.05,
    missing: Literal["zero", "skip", "error"] = "zero",
    seed: int = 0,
    style: Annotated[Literal["table", "markdown", "latex", "json"], Parameter(name="--format")] = "table",
    out: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs on the same judgments: means, differences with confidence intervals, corrected p-values.

    Args:
        runs: Two or more TREC run files; a file's name is the name of its run, with its folder where two are the same.
        dataset: Whose judgments: an ir_datasets id, bright/<task>, stdlib, or a folder.
        qrels: Or a judgments file, TREC or BEIR.
        measures: Default: ndcg@10 map mrr recall@100; every one adds comparisons that the correction pays for.
        baseline: Compare every run with this one only; default: all pairs.
        test: Paired t-test, or a sign-flip randomisation test.
        correction: Over all pairs and measures of the table.
        alpha: A corrected p below it is called significant.
        missing: A judged query that a run lacks counts 0, is skipped for all runs, or is an error.
        seed: Of the bootstrap and the randomisation test.
        style: How the result is printed.
        out: Write it to this file as well.
        as_json: The same as --format json.
    """
    from limrank.evaluate import DEFAULT
    from limrank.evaluate import compare as test_pairs
    from limrank.evaluate.tables import render
    from limrank.files import write_text
    from limrank.run import Run

    if len(runs) < 2:
        raise LimrankError(f"compare needs two runs or more, {len(runs)} given")
    if out:
        check_writable(out)
    judged, _ = judgments(dataset, qrels)
    comparison = test_pairs(
        _named([Run.read(run) for run in runs], runs),
        judged,
        measures or DEFAULT,
        baseline=baseline or None,
        test=test,
        correction=correction,
        alpha=alpha,
        missing=missing,
        seed=seed,
    )
    text = render(comparison, "json" if as_json else style)
    print(text)
    if out:
        write_text(out, text + "\n")


def _named(runs: list[Run], paths: Sequence[Path]) -> list[Run]:
    """The runs, those of one name told apart by their folders."""
    times = Counter(run.name for run in runs)
    return [
        run if times[run.name] == 1 else run.renamed(str(path.with_name(run.name))) for run, path in zip(runs, paths)
    ]
