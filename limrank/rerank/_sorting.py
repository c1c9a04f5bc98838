"""Sort by asking which of a few is the best, and ask at once what does not depend on each other.

A sort is a generator: it yields groups of positions, is sent the best position of each group, and returns all positions
with the best first. A group lists its positions in rising order. Knows positions only, nothing of documents or models.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, TypeAlias

Group: TypeAlias = tuple[int, ...]
Sort: TypeAlias = Generator[list[Group], list[int], list[int]]
# One group after the other, for which the answer to the one before is needed.
Chain: TypeAlias = Generator[Group, int, None]


def heapsort(positions: Sequence[int], *, k: int, children: int) -> Sort:
    """The best k by a heap whose nodes have so many children, in order; then the others as they were given.

    Groups are a node and its children. The nodes of one level are asked about together while the heap is built; after
    that, every document found costs as many groups in a row as the heap has levels.

    Source: Williams 1964; with more than two children Zhuang et al., SIGIR 2024, arXiv:2310.09497.
    """
    heap = list(positions)
    for level in _levels(len(heap), children):
        yield from _together(_sift(heap, place, children) for place in level)
    found: list[int] = []
    while heap and len(found) < k:
        found.append(heap[0])
        last = heap.pop()
        if heap and len(found) < k:
            heap[0] = last
            yield from _together([_sift(heap, 0, children)])
    return found + _others(positions, found)


def insertion(positions: Sequence[int], *, k: int, children: int) -> Sort:
    """The best k in order, then the others as they were given; cheap where the given order is already good.

    The first k are sorted by a heap. All others are held against the last of these, so many in a group; a group that
    does not beat it is done with. The best of each other group is put into its place among the k, found by halving, if
    it beats the last of them still; then what is left of its group is held against the new last one.

    Source: Setwise Insertion (Podolak et al., SIGIR 2025, arXiv:2504.10509), here with all groups asked together.
    """
    top = (yield from heapsort(positions[:k], k=k, children=children))[:k]
    rest = list(positions[k:])
    while rest:
        guard, chunks = top[-1], [rest[i : i + children] for i in range(0, len(rest), children)]
        winners = yield [tuple(sorted((guard, *chunk))) for chunk in chunks]
        rest = []
        for chunk, winner in zip(chunks, winners):
            if winner == guard or (top[-1] != guard and not (yield from _beats(winner, top[-1]))):
                continue
            low, high = 0, len(top) - 1
            while low < high:
                middle = (low + high) // 2
                low, high = (low, middle) if (yield from _beats(winner, top[middle])) else (middle + 1, high)
            top = [*top[:low], winner, *top[low:-1]]
            rest += [position for position in chunk if position != winner]
    return top + _others(positions, top)


def sliding(positions: Sequence[int], *, k: int) -> Sort:
    """The best k by so many passes from the end to the front, each of which carries the best that it meets.

    A pass follows two places behind the one before it, so that up to k pairs are asked about together.

    Source: PRP-Sliding-K (Qin et al., NAACL 2024 Findings, arXiv:2306.17563).
    """
    order = list(positions)
    size, passes = len(order), min(k, len(order) - 1)
    for moment in range(size + passes - 2):
        lower = [(number, size - 1 - moment + 2 * number) for number in range(passes)]
        places = [place for number, place in lower if number < place < size]
        winners = yield [tuple(sorted((order[place - 1], order[place]))) for place in places]
        for place, winner in zip(places, winners):
            if winner == order[place]:
                order[place - 1], order[place] = order[place], order[place - 1]
    return order[:k] + _others(positions, order[:k])


def decided(
    sort: Sort, choose: Callable[[list[Group]], Generator[Any, Any, list[int]]]
) -> Generator[Any, Any, list[int]]:
    """What a sort returns when `choose` says which position is the best of each group."""
    try:
        groups = next(sort)
        while True:
            groups = sort.send((yield from choose(groups)))
    except StopIteration as stop:
        order: list[int] = stop.value
        return order


def _sift(heap: list[int], place: int, children: int) -> Chain:
    """Let what is at `place` sink until it is better than its children."""
    while (first := place * children + 1) < len(heap):
        places = [place, *range(first, min(first + children, len(heap)))]
        best = yield tuple(sorted(heap[i] for i in places))
        [winner] = [i for i in places if heap[i] == best]
        if winner == place:
            return
        heap[place], heap[winner] = heap[winner], heap[place]
        place = winner


def _levels(size: int, children: int) -> list[range]:
    """The places of a heap level by level, the lowest first."""
    levels, start, width = [], 0, 1
    while start < size:
        levels.append(range(start, min(start + width, size)))
        start, width = start + width, width * children
    return levels[::-1]


def _beats(one: int, other: int) -> Generator[list[Group], list[int], bool]:
    [winner] = yield [tuple(sorted((one, other)))]
    return winner == one


def _together(chains: Iterable[Chain]) -> Generator[list[Group], list[int], None]:
    """Chains that do not touch each other, side by side."""
    going = list(chains)
    answers: Iterable[Any] = itertools.repeat(None)
    while going:
        asked: list[tuple[Chain, Group]] = []
        for chain, answer in zip(going, answers):
            with contextlib.suppress(StopIteration):
                asked.append((chain, chain.send(answer)))
        going = [chain for chain, _ in asked]
        if going:
            answers = yield [group for _, group in asked]


def _others(positions: Sequence[int], found: Sequence[int]) -> list[int]:
    known = set(found)
    return [position for position in positions if position not in known]
