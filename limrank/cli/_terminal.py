"""What the user sees: progress and notes on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def note(text: str) -> None:
    """One line for the person at the terminal."""
    print(text, file=sys.stderr, flush=True)


def emit_json(value: object) -> None:
    """The result for a program."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def track(items: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
    """A progress bar on a terminal; one plain line at the end where there is none."""
    if not sys.stderr.isatty():
        yield from _counted(items, label)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(items, description=label, total=total)


def _counted(items: Iterable[T], label: str) -> Iterator[T]:
    start, count = time.monotonic(), 0
    for item in items:
        yield item
        count += 1
    note(f"{label}: {count} in {time.monotonic() - start:.1f} s")


def table(columns: list[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Rows under headings on stdout; the first column is left-aligned, numbers to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, box=None, title_justify="left", pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        # Text, because a str is read as markup: list[int] would lose its brackets.
        drawn.add_row(*(Text(str(cell)) for cell in row))
    # A pipe has no width; a table for a program to read must not be broken at 80 columns.
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(drawn)
