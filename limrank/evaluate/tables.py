"""A comparison as text: for a terminal, Markdown, LaTeX (booktabs) or JSON.

Every form says the same: the means, the differences with interval, corrected p and the verdict in words, on how many
queries, what is missing, and which test and correction over how many comparisons. Computes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from limrank.errors import Unknown
from limrank.evaluate.comparison import Comparison, Difference

Style: TypeAlias = Literal["table", "markdown", "latex", "json"]
Row: TypeAlias = Sequence[str]

TESTS = {"t": "paired t-test", "randomization": "paired randomisation test (sign flips)"}
CORRECTIONS = {"holm": "Holm", "bonferroni": "Bonferroni", "bh": "Benjamini-Hochberg", "none": "no"}


class Table(NamedTuple):
    """Headings and rows; the first `texts` columns hold words, the others figures."""

    headings: Row
    rows: list[Row]
    texts: int


def render(comparison: Comparison, style: Style = "table") -> str:
    """The comparison as text, without a newline at the end.

    Args:
        comparison: As `compare` returns it.
        style: "table" for a terminal, "markdown", "latex" (needs the package booktabs), or "json" (see `to_json`).

    Raises:
        Unknown: There is no such style.
    """
    if style not in get_args(Style):
        raise Unknown.among("table style", style, get_args(Style))
    if style == "json":
        return json.dumps(to_json(comparison), indent=2, ensure_ascii=False, allow_nan=False)
    draw = {"table": _terminal, "markdown": _markdown, "latex": _latex}[style]
    tables = [_means(comparison), *([_differences(comparison)] if comparison.differences else [])]
    return draw(tables, [describe(comparison), *comparison.warnings()])


def describe(comparison: Comparison) -> str:
    """One paragraph: what the numbers rest on."""
    intervals = (
        f"[ ] is the {100 * comparison.confidence:g}% bootstrap interval ({comparison.samples} samples, "
        f"seed {comparison.seed})"
    )
    queries = f"{len(comparison.query_ids)} queries of {comparison.qrels}"
    if not (count := len(comparison.differences)):
        return f"{queries}; {intervals}."
    return (
        f"{queries}; {intervals}; {TESTS[comparison.test]}, {CORRECTIONS[comparison.correction]} correction over "
        f"{count} {'comparison' if count == 1 else 'comparisons'}, significant where the corrected p is below "
        f"{comparison.alpha:g}. The intervals are not corrected."
    )


def to_json(comparison: Comparison, *, per_query: bool = True) -> dict[str, Any]:
    """The comparison as a value for `json.dumps`; every number is finite.

    Keys: `schema` ("limrank.comparison/1"); `qrels`, `queries` (their number), `measures`, `baseline` (or null),
    `test`, `correction`, `comparisons` (number of tests corrected over), `alpha`, `confidence`, `samples`, `seed`;
    `runs`, each as `Scores.to_json` with `intervals` (measure to [low, high]); `differences`, each with the fields of
    `Difference`; `warnings`, sentences.

    Args:
        comparison: As `compare` returns it.
        per_query: Whether each run has its value for every query, so that others can test again.
    """
    return {
        "schema": "limrank.comparison/1",
        "qrels": comparison.qrels,
        "queries": len(comparison.query_ids),
        "measures": list(comparison.measures),
        "baseline": comparison.baseline,
        "test": comparison.test,
        "correction": comparison.correction,
        "comparisons": len(comparison.differences),
        "alpha": comparison.alpha,
        "confidence": comparison.confidence,
        "samples": comparison.samples,
        "seed": comparison.seed,
        "runs": [
            scores.to_json(per_query=per_query)
            | {"intervals": {name: list(ends) for name, ends in comparison.intervals[scores.name].items()}}
            for scores in comparison.runs
        ],
        "differences": [vars(difference) for difference in comparison.differences],
        "warnings": comparison.warnings(),
    }


def _means(comparison: Comparison) -> Table:
    rows: list[Row] = []
    for scores in comparison.runs:
        intervals = comparison.intervals[scores.name]
        cells = [f"{scores.means[name]:.4f} [{low:.4f}, {high:.4f}]" for name, (low, high) in intervals.items()]
        rows.append([scores.name, *cells, str(len(scores.missing))])
    return Table(["run", *comparison.measures, "missing queries"], rows, texts=1)


def _differences(comparison: Comparison) -> Table:
    headings = ["run", "against", "measure", "difference", "p", "corrected p", "verdict", "wins/ties/losses"]
    return Table(headings, [_difference(difference) for difference in comparison.differences], texts=3)


def _difference(d: Difference) -> Row:
    return [
        d.run,
        d.baseline,
        d.measure,
        f"{_signed(d.difference)} [{_signed(d.low)}, {_signed(d.high)}]",
        _p(d.p),
        _p(d.corrected_p),
        "significant" if d.significant else "not significant",
        f"{d.wins}/{d.ties}/{d.losses}",
    ]


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
