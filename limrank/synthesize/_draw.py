"""Draws that depend on their names alone: shares that come out exactly, and choices that a resumed run repeats."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

from limrank.errors import LimrankError

T = TypeVar("T")


def shares(wanted: Mapping[str, float], count: int, *, seed: str) -> list[str]:
    """`count` names in an arbitrary order, each as often as its share of the sum says, rounded by largest remainder.

    Raises:
        LimrankError: A share is negative, or all are 0.
    """
    total = sum(wanted.values())
    if not total > 0 or min(wanted.values()) < 0 or total == float("inf"):
        raise LimrankError(f"shares {dict(wanted)}: expected numbers from 0, and one above 0")
    exact = {name: share / total * count for name, share in wanted.items()}
    times = {name: int(value) for name, value in exact.items()}
    rest = count - sum(times.values())
    for name in sorted(exact, key=lambda name: times[name] - exact[name])[:rest]:
        times[name] += 1
    return shuffled([name for name, number in times.items() for _ in range(number)], seed=seed)


def shuffled(items: Sequence[T], *, seed: str) -> list[T]:
    """The items in an order that depends on the seed alone."""
    order = list(items)
    random.Random(_number(seed)).shuffle(order)
    return order


def chosen(items: Sequence[T], count: int, *, seed: str) -> list[T]:
    """`count` different items, in an order that depends on the seed; all of them where there are fewer."""
    return shuffled(items, seed=seed)[:count]


def fraction(seed: str) -> float:
    """A number from 0 up to 1 that depends on the seed alone."""
    return _number(seed) / 2**64


def _number(seed: str) -> int:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8])
