"""A page to read examples by kind with their whole lineage, and to see the mix; one HTML file that loads nothing.

Everything that models wrote is escaped, and the page runs no script. Knows nothing of how examples are made.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from limrank.synthesize.examples import Dropped, Example, Outcome

MIXED = ("label", "kind", "variant", "domain", "difficulty", "register", "length")
LINEAGE = (
    ("seed", "seed"),
    ("persona", "persona"),
    ("query", "query"),
    ("instruction", "instruction"),
    ("needs", "needs"),
    ("thought", "thought"),
    ("description", "description"),
    ("title", "title"),
    ("passage", "passage"),
)
HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>{style}</style><h1>{title}</h1>"""


class Sampled:
    """Some of each group, every one equally likely, from a stream of unknown length."""

    def __init__(self, most: int, seed: int) -> None:
        self.most, self.groups = most, dict[str, list[Outcome]]()
        self.counts: Counter[str] = Counter()
        self._random = random.Random(seed)

    def add(self, group: str, outcome: Outcome) -> None:
        """Reservoir sampling."""
        self.counts[group] += 1
        kept = self.groups.setdefault(group, [])
        if len(kept) < self.most:
            kept.append(outcome)
        elif (place := self._random.randrange(self.counts[group])) < self.most:
            kept[place] = outcome


def page(
    examples: Iterable[Example],
    dropped: Iterable[tuple[str, Dropped]] = (),
    *,
    title: str,
    most: int = 12,
    seed: int = 0,
) -> str:
    """The page.

    Args:
        examples: Of any stage; read once.
        dropped: What went no further, each with its stage.
        title: Of the page.
        most: Examples shown of each kind, and of each reason for dropping.
        seed: Others of them.
    """
    good, bad = Sampled(most, seed), Sampled(most, seed)
    mix: dict[str, Counter[str]] = {name: Counter() for name in MIXED}
    for example in examples:
        good.add(example.kind or "query", example)
        for name, counted in mix.items():
            if (value := getattr(example, name)) not in ("", None):
                counted[_word(value)] += 1
    for stage, one in dropped:
        bad.add(f"{stage}: {one.reason}", one)
    style = resources.files("limrank.synthesize").joinpath("show.css").read_text(encoding="utf-8")
    parts = [HEAD.format(title=escape(title), style=style)]
    parts.append(f"<p>{good.counts.total()} examples, {bad.counts.total()} dropped on the way.</p>")
    parts.append(
        '<div class="mix">' + "".join(_bars(name, counted) for name, counted in mix.items() if counted) + "</div>"
    )
    for kind, kept in sorted(good.groups.items(), key=lambda pair: (pair[0] != "positive", pair[0])):
        parts.append(f"<h2>{escape(kind)} <small>{len(kept)} of {good.counts[kind]}</small></h2>")
        parts += [_example(one) for one in kept]
    if bad.groups:
        parts.append(f'<h2>Dropped</h2><div class="mix dropped">{_bars("stage: reason", bad.counts)}</div>')
    for reason, kept in sorted(bad.groups.items()):
        parts.append(f"<h2>{escape(reason)} <small>{len(kept)} of {bad.counts[reason]}</small></h2>")
        parts += [_example(one) for one in kept]
    return "\n".join(parts) + "</html>\n"


def _bars(name: str, counted: Counter[str]) -> str:
    most = max(counted.values())
    rows = [
        f'<div class="bar"><span>{escape(value)}</span><i style="width:{100 * count / most:.1f}%"></i>'
        f"<span>{count}</span></div>"
        for value, count in counted.most_common()
    ]
    return f"<section><h3>{escape(name)}</h3>{''.join(rows)}</section>"


def _example(outcome: Outcome) -> str:
    example = outcome.example if isinstance(outcome, Dropped) else outcome
    rows: list[tuple[str, str]] = [("dropped", escape(outcome.detail))] if isinstance(outcome, Dropped) else []
    for label, name in LINEAGE:
        if value := getattr(example, name):
            rows.append((label, escape("; ".join(value) if isinstance(value, tuple) else value)))
    for place, judgment in enumerate(example.judgments, 1):
        rows.append((f"judgment {place}", f"{escape(judgment.chain)}\n{_verdict(judgment.label)}"))
    if example.label is not None:
        agreed = f", {example.agreement:.0%} agree" if example.agreement is not None else ""
        rows.append(("label", f"{_verdict(example.label)}{agreed}"))
    rows.append(
        ("made by", escape(f"{example.teacher}; judged by {example.judge}" if example.judge else example.teacher))
    )
    traits = (example.variant, example.domain, example.difficulty, example.register, example.length)
    listed = "".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in rows)
    summary = f"{escape(_short(example.query))} <small>{escape(_list(traits))} · {escape(example.example_id)}</small>"
    return f"<details><summary>{summary}</summary><dl>{listed}</dl></details>"


def _verdict(label: bool) -> str:
    return f'<span class="{_word(label)}">{_word(label)}</span>'


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _list(traits: Sequence[str]) -> str:
    return " · ".join(filter(None, traits))


def _short(text: str) -> str:
    return text if len(text) <= 110 else text[:107] + "..."
