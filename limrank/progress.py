"""How long work says how far it is, without knowing a terminal.

A library function takes `track: Track = silent`; the command line passes one that draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Track(Protocol):
    """Passes items through, one by one, and shows how many have gone by."""

    def __call__(self, items: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]: ...


def silent(items: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
    """Passes items through and shows nothing."""
    yield from items
