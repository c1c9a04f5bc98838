"""A comparison as text: for a terminal, Markdown, LaTeX (booktabs), JSON or as ranx's report.

Every form says the same: the means, the differences with interval, corrected p and the verdict in words, on how many
queries, what is missing, and which test and correction over how many comparisons. Computes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from limrank.errors import Unknown
from limrank.evaluate.comparison import Comparison, Difference
from limrank.evaluate.instruction import P_MRR
from limrank.qrels import digest_of

Style: TypeAlias = Literal["table", "markdown", "latex", "json", "ranx"]
Row: TypeAlias = Sequence[str]

WIDTH = 120
# More differences than fit a screen are cut to those of the first measure.
MOST_DIFFERENCES = 20
TESTS = {
    "t": "paired t-test",
    "randomization": "paired randomisation test (sign flips)",
    "tukey": "two-way Tukey HSD over all pairs of runs",
}
CORRECTIONS = {"holm": "Holm", "bonferroni": "Bonferroni", "bh": "Benjamini-Hochberg", "none": "no"}


class Table(NamedTuple):
    """Headings and rows; the first `texts` columns hold words, the others figures."""

    headings: Row
    rows: list[Row]
    texts: int


def render(comparison: Comparison, style: Style = "table", *, full: bool = False) -> str:
    """The comparison as text, without a newline at the end.

    Args:
        comparison: As `compare` returns it.
        style: "table" for a terminal, "markdown", "latex" (needs the package booktabs), "json" (see `to_json`), or
            "ranx", the table of ranx's own report, whose superscripts go by the corrected p-values.
        full: Every difference, with its raw p and effect size, and every measure of every task. Without it, of more
            than 20 differences those of the first measure, and the tasks by the first measure.

    Raises:
        Unknown: There is no such style.
        LimrankError: ranx cannot hold it (`to_ranx_report`).
    """
    if style not in get_args(Style):
        raise Unknown.among("table style", style, get_args(Style))
    if style == "json":
        return json.dumps(to_json(comparison), indent=2, ensure_ascii=False, allow_nan=False)
    left_out = _abridged(comparison, full=full or style == "ranx")
    notes = [describe(comparison), *left_out, *_detectable(comparison), *comparison.warnings()]
    if style == "ranx":
        from limrank.evaluate._ranx import to_ranx_report

        return "\n\n".join([str(to_ranx_report(comparison)), "\n".join(notes)])
    tables = [_means(comparison)]
    if comparison.tasks:
        tables += [_tasks(comparison, measure) for measure in comparison.measures[: None if full else 1]]
    if comparison.differences:
        tables.append(_differences(comparison, full=full))
    return draw(tables, notes, style=style)


def draw(tables: Sequence[Table], notes: Sequence[str], *, style: str) -> str:
    """Tables and the sentences below them, as "table", "markdown" or "latex"."""
    return {"table": _terminal, "markdown": _markdown, "latex": _latex}[style](tables, notes)


def describe(comparison: Comparison) -> str:
    """One paragraph: what the numbers rest on."""
    how = f" ({comparison.samples} samples, seed {comparison.seed})" if comparison.interval == "bootstrap" else ""
    intervals = f"[ ] is the {100 * comparison.confidence:g}% {comparison.interval} interval{how}"
    queries = f"{_counted(len(comparison.query_ids), 'query')} of {comparison.qrels}"
    if comparison.judgments:
        digest = digest_of((one["sha256"], one["name"]) for one in comparison.judgments)
        queries += f" (qrels sha256 {digest[:12]})"
    if comparison.tasks:
        queries += f"; means are over the {len(comparison.tasks)} tasks, each counting the same"
    if not (count := len(comparison.differences)):
        return f"{queries}; {intervals}."
    return (
        f"{queries}; {intervals}; {test_of(comparison)}, {_corrected_over(comparison)} "
        f"{_counted(count, 'comparison')}, significant where the corrected p is below "
        f"{comparison.alpha:g}. The intervals are not corrected."
    )


def test_of(comparison: Comparison) -> str:
    """The test in words; over several tasks it is on the mean of their means, each with a variance of its own."""
    if not comparison.tasks:
        return TESTS[comparison.test]
    return f"{TESTS[comparison.test]}, stratified by task" + (
        " (Welch-Satterthwaite)" if comparison.test != "randomization" else ""
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun if count == 1 else noun.removesuffix('y') + ('ies' if noun.endswith('y') else 's')}"


def _corrected_over(comparison: Comparison) -> str:
    if comparison.test == "tukey" and comparison.correction != "none":
        return f"times {len(comparison.measures)} for the measures, over"
    return f"{CORRECTIONS[comparison.correction]} correction over"


def _abridged(comparison: Comparison, *, full: bool) -> list[str]:
    """What the tables leave out."""
    if len(comparison.differences) == len(_shown(comparison, full=full)):
        return []
    significant = sum(difference.significant for difference in comparison.differences)
    return [
        f"Differences of {comparison.measures[0]} only; of all {len(comparison.differences)}, over "
        f"{len(comparison.measures)} measures, {significant} are significant: --full shows every one."
    ]


def _detectable(comparison: Comparison) -> list[str]:
    """What the queries at hand can show at all."""
    if not comparison.detectable:
        return []
    # No mean differs by more than its measure can take.
    single, corrected = (
        ", ".join(
            f"{measure} {what[place]:.4f}" if what[place] <= (2 if measure == P_MRR else 1) else f"{measure} none"
            for measure, what in comparison.detectable.items()
        )
        for place in (0, 1)
    )
    count = len(comparison.differences)
    stepped = count > 1 and comparison.correction != "none" and comparison.test != "tukey"
    # Worked out for the t-test, whichever test was asked for.
    test = "a t-test" if comparison.test == "t" else "a t-test, not the test above,"
    return [
        f"In {100 * comparison.power:g}% of cases these {len(comparison.query_ids)} queries show, by {test} at alpha "
        f"{comparison.alpha:g}, a true difference of {single}"
        + (f"; at {comparison.alpha:g}/{count}, the correction's strictest step, {corrected}" if stepped else "")
        + (" (for the pair with the median error)." if len(list(comparison.pairs())) > 1 else ".")
    ]


def to_json(comparison: Comparison, *, per_query: bool = True) -> dict[str, Any]:
    """The comparison as a value for `json.dumps`; every number is finite.

    Keys: `schema` ("limrank.comparison/1"); `qrels`, `judgments` (for each task `name`, `sha256` and what else is known
    of them), `queries` (their number), `tasks` (queries by task; empty for one
    task), `measures`, `baseline` (or null), `test`, `correction`, `comparisons` (number of tests corrected over),
    `interval`, `alpha`, `confidence`, `power`, `tolerance`, `samples`, `seed`; `detectable` (measure to the fields of
    `Detectable`); `runs`, each as `Scores.to_json` with `intervals` (measure to [low, high]); `differences`, each with
    the fields of `Difference`; `warnings`, sentences.

    Args:
        comparison: As `compare` returns it.
        per_query: Whether each run has its value for every query, so that others can test again.
    """
    return {
        "schema": "limrank.comparison/1",
        "qrels": comparison.qrels,
        "judgments": [dict(one) for one in comparison.judgments],
        "queries": len(comparison.query_ids),
        "tasks": dict(comparison.tasks),
        "measures": list(comparison.measures),
        "baseline": comparison.baseline,
        "test": comparison.test,
        "correction": comparison.correction,
        "comparisons": len(comparison.differences),
        "interval": comparison.interval,
        "alpha": comparison.alpha,
        "confidence": comparison.confidence,
        "power": comparison.power,
        "tolerance": comparison.tolerance,
        "samples": comparison.samples,
        "seed": comparison.seed,
        "detectable": {measure: found._asdict() for measure, found in comparison.detectable.items()},
        "runs": [
            scores.to_json(per_query=per_query)
            | {"intervals": {name: list(ends) for name, ends in comparison.intervals[scores.name].items()}}
            for scores in comparison.runs
        ],
        "differences": [vars(difference) for difference in comparison.differences],
        "warnings": comparison.warnings(),
    }


def _means(comparison: Comparison) -> Table:
    lacking = any(scores.missing for scores in comparison.runs)
    rows: list[Row] = []
    for scores in comparison.runs:
        intervals = comparison.intervals[scores.name]
        cells = [f"{scores.means[name]:.4f} [{_short(low)}, {_short(high)}]" for name, (low, high) in intervals.items()]
        name = f"{scores.name} (mean of {len(scores.averaged)} runs)" if scores.averaged else scores.name
        rows.append([name, *cells, *([str(len(scores.missing))] if lacking else [])])
    return Table(["run", *comparison.measures, *(["missing"] if lacking else [])], rows, texts=1)


def _tasks(comparison: Comparison, measure: str) -> Table:
    """The means of every task: runs by tasks, or tasks by runs where that would be too wide."""
    tasks = list(comparison.tasks)
    means = {
        scores.name: [part.means[measure] for part in scores.by_task().values()] + [scores.means[measure]]
        for scores in comparison.runs
    }
    labels = [*tasks, "mean"]
    if max(map(len, means)) + sum(max(6, len(label)) + 2 for label in labels) <= WIDTH:
        rows: list[Row] = [[name, *(f"{value:.4f}" for value in values)] for name, values in means.items()]
        return Table([measure, *labels], rows, texts=1)
    turned = zip(labels, zip(*means.values()))
    return Table(
        [measure, *means], [[label, *(f"{value:.4f}" for value in values)] for label, values in turned], texts=1
    )


def _shown(comparison: Comparison, *, full: bool) -> list[Difference]:
    if full or len(comparison.differences) <= MOST_DIFFERENCES:
        return list(comparison.differences)
    return [difference for difference in comparison.differences if difference.measure == comparison.measures[0]]


def _differences(comparison: Comparison, *, full: bool) -> Table:
    shown = _shown(comparison, full=full)
    measured = len({difference.measure for difference in shown}) > 1
    p = "corrected p" if full else {"none": "p"}.get(comparison.correction, "corr. p")
    differing = "difference" if measured else f"difference in {shown[0].measure}"
    headings = ["run", "against", *(["measure"] if measured else []), differing]
    headings += ["raw p", p, "Cohen's d"] if full else [p]
    rows = [_difference(d, measured=measured, full=full) for d in shown]
    return Table([*headings, "verdict", "win/tie/loss"], rows, texts=3 if measured else 2)


def _difference(d: Difference, *, measured: bool, full: bool) -> Row:
    effect = "-" if d.effect_size is None else f"{round(d.effect_size, 2) + 0.0:+.2f}"
    return [
        d.run,
        d.baseline,
        *([d.measure] if measured else []),
        f"{_signed(d.difference)} [{_short(d.low)}, {_short(d.high)}]",
        *([_p(d.p), _p(d.corrected_p), effect] if full else [_p(d.corrected_p)]),
        "significant" if d.significant else "not significant",
        f"{d.wins}/{d.ties}/{d.losses}",
    ]


def _short(value: float) -> str:
    """Three digits without the leading 0: an interval's ends need no more."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{round(value, 3) + 0.0:.3f}")


def _signed(difference: float) -> str:
    # Adding 0 takes the sign from a -0.0 that rounding left.
    return f"{round(difference, 4) + 0.0:+.4f}"


def _p(p: float) -> str:
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _terminal(tables: Sequence[Table], notes: Sequence[str]) -> str:
    import io

    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    parts = []
    for table in tables:
        drawn = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for i, heading in enumerate(table.headings):
            drawn.add_column(heading, justify="left" if i < table.texts else "right", no_wrap=True)
        for row in table.rows:
            # Text, because a run's name may hold what rich would read as markup.
            drawn.add_row(*map(Text, row))
        # As wide as the table: a line that is cut or wrapped can be misread, and a pipe has no width.
        console = Console(file=io.StringIO(), width=10_000, color_system=None)
        with console.capture() as captured:
            console.print(drawn)
        parts.append("\n".join(line.rstrip() for line in captured.get().splitlines()))
    return "\n\n".join([*parts, "\n".join(notes)])


def _markdown(tables: Sequence[Table], notes: Sequence[str]) -> str:
    parts = []
    for table in tables:
        ruler = ["---" if i < table.texts else "---:" for i in range(len(table.headings))]
        rows = [[cell.replace("|", "\\|") for cell in row] for row in (table.headings, *table.rows)]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in (rows[0], ruler, *rows[1:])))
    return "\n\n".join([*parts, *notes])


def _latex(tables: Sequence[Table], notes: Sequence[str]) -> str:
    parts = []
    for table in tables:
        columns = "".join("l" if i < table.texts else "r" for i in range(len(table.headings)))
        head, *rows = [" & ".join(map(_escaped, row)) + r" \\" for row in (table.headings, *table.rows)]
        lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule"]
        parts.append("\n".join([*lines, r"\end{tabular}"]))
    return "\n\n".join([*parts, "\n".join(map(_escaped, notes))])


LATEX = str.maketrans(
    {character: f"\\{character}" for character in "_&%#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    | {"[": "{[}", "]": "{]}"}
)


def _escaped(text: str) -> str:
    """The text as LaTeX prints it; a bracket after a line break would be read as an option, so it is set apart."""
    return text.translate(LATEX)
