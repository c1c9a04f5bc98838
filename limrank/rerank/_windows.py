"""Which documents are looked at together, and what follows from the answers: windows, partitions, tournaments.

A plan is a generator over document indices, 0 being the best of the first stage. It yields rounds of windows, which do
not depend on each other and can be asked about at the same time; it is sent each window back, best document first, or
as it was where nobody could say; it returns all indices in their final order. A window has at least two documents.
Knows nothing of documents or models.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias, TypeVar

Window: TypeAlias = tuple[int, ...]
Plan: TypeAlias = Generator[list[Window], list[Window], list[int]]
# Makes the plan for so many documents.
Planner: TypeAlias = Callable[[int], Plan]

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Result = TypeVar("Result")

# Places that a partition sets right unless told otherwise, which is what nDCG@10 looks at.
TOP = 10


def starts(count: int, *, window: int, stride: int) -> list[int]:
    """Where the windows of one pass begin, from the bottom up.

    The first ends with the last document and the last begins with the first one; where the stride does not lead
    there, the last window is moved down until it fits, so that it is as large as the others and nothing is skipped.
    """
    begins = list(range(count - window, 0, -stride))
    return [*begins, 0] if count > 1 else []


def sliding(count: int, *, window: int = 20, stride: int = 10, passes: int = 1) -> Plan:
    """A window that moves from the bottom to the top, carrying the best documents up with it.

    With answers that are right, p passes put the best p * (window - stride) documents into the right places: so many
    does a window hand on to the next. Every round is one window.

    Source: RankGPT (Sun et al., EMNLP 2023, arXiv:2304.09542).
    """
    order = list(range(count))
    for _ in range(passes):
        for start in starts(count, window=window, stride=stride):
            [order[start : start + window]] = yield [tuple(order[start : start + window])]
    return order


def topdown(count: int, *, window: int = 20, top: int = TOP) -> Plan:
    """The first window's document at rank `top` is the pivot; all others only have to show that they are above it.

    With answers that are right, the best `top` documents are in the right places. The windows of a round hold the pivot
    in the first place, where its first-stage rank put it, and what follows below the first window; documents that come
    out above it are looked at again together with those that were above it before. Where none does, the round was the
    last one. Those below keep the order of their windows.

    Source: TDPart (Parry et al. 2024, arXiv:2405.14589).
    """
    candidates, below = list(range(count)), list[int]()
    while len(candidates) > window:
        [best] = yield [tuple(candidates[:window])]
        pivot, rest = best[top - 1], candidates[window:]
        groups = [rest[i : i + window - 1] for i in range(0, len(rest), window - 1)]
        judged = yield [(pivot, *group) for group in groups]
        places = [group.index(pivot) for group in judged]
        above = [i for group, place in zip(judged, places) for i in group[:place]]
        under = [*best[top:], *(i for group, place in zip(judged, places) for i in group[place + 1 :])]
        below = [pivot, *under, *below]
        candidates = [*best[: top - 1], *above]
        if not above:
            return candidates + below
    [final] = (yield [tuple(candidates)]) if len(candidates) > 1 else [tuple(candidates)]
    return [*final, *below]


def tournament(count: int, *, window: int = 20, top: int = 0) -> Plan:
    """The first stage's best are seeded; all others play for a place in the last two windows.

    The others are dealt into windows like cards, so that neighbours of the first stage meet in different ones, and the
    best `top` of each window go on, round after round, until they fit into one window with `top` to spare. Then two
    windows slide over the seeds and those that are left. With answers that are right, the best `top` documents are in
    the right places; 0 is 3 of 20, in proportion, and `top` is at most half a window. Who is out stands below who goes
    on; those that go out together stand by their places, then by first-stage rank. A window that would lose nobody is
    not asked about.
    """
    top = top or max(3 * window // 20, 1)
    order, below = list(range(min(count, window))), list[int]()
    rest = list(range(window, count))
    while len(rest) > window - top:
        groups = -(-len(rest) // window)
        dealt = [tuple(rest[i::groups]) for i in range(groups)]
        judged = yield [group for group in dealt if len(group) > top]
        safe = [group for group in dealt if len(group) <= top]
        places = sorted((place, i) for group in [*judged, *safe] for place, i in enumerate(group))
        rest = [i for place, i in places if place < top]
        below = [*(i for place, i in places if place >= top), *below]
    order += rest
    for start in starts(len(order), window=window, stride=window):
        [order[start : start + window]] = yield [tuple(order[start : start + window])]
    return [*order, *below]


def together(
    tasks: Sequence[Generator[Asked, Answer, Result]],
) -> Generator[list[Asked], list[Answer], list[Result]]:
    """Many generators as one: all that want to ask do so at the same time, round after round, until all are done.

    Each task yields one question at a time; the results are in the order of the tasks.
    """
    results: dict[int, Result] = {}
    answers: dict[int, Answer | None] = dict.fromkeys(range(len(tasks)))
    while True:
        asking: dict[int, Asked] = {}
        for i, answer in answers.items():
            try:
                asking[i] = next(tasks[i]) if answer is None else tasks[i].send(answer)
            except StopIteration as stop:
                results[i] = stop.value
        if not asking:
            return [results[i] for i in range(len(tasks))]
        answers = dict(zip(asking, (yield list(asking.values()))))
