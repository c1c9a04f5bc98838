"""limrank/rerank/_windows.py"""

from collections.abc import Callable, Generator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limrank.rerank._windows import Plan, Window, sliding, starts, together, topdown, tournament


def play(plan: Plan, answer: Callable[[Window], Window]) -> tuple[list[int], list[list[Window]]]:
    """The order that comes out, and the rounds that were asked for."""
    rounds: list[list[Window]] = []
    told: list[Window] | None = None
    try:
        while True:
            rounds.append(next(plan) if told is None else plan.send(told))
            told = [answer(window) for window in rounds[-1]]
    except StopIteration as stop:
        return stop.value, rounds


def by(relevance: Sequence[int]) -> Callable[[Window], Window]:
    """A judge who is right; equals stay as they are."""
    return lambda window: tuple(sorted(window, key=lambda i: -relevance[i]))


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, Callable[[], Plan]]:
    count, window = draw(st.integers(0, 70)), draw(st.integers(2, 25))
    kind, top = draw(st.sampled_from(["sliding", "topdown", "tournament"])), draw(st.integers(0, window - 1))
    if kind == "sliding":
        stride, passes = draw(st.integers(1, window)), draw(st.integers(1, 3))
        return count, lambda: sliding(count, window=window, stride=stride, passes=passes)
    if kind == "topdown":
        return count, lambda: topdown(count, window=window, top=max(top, 1))
    return count, lambda: tournament(count, window=window, top=min(top, window // 2))


@given(plans(), st.randoms(use_true_random=False))
def test_whatever_is_answered_all_documents_come_out_and_windows_hold_different_ones(plan, rng) -> None:
    count, start = plan

    def any_order(window: Window) -> Window:
        return tuple(rng.sample(window, len(window)))

    order, rounds = play(start(), any_order)
    assert sorted(order) == list(range(count))
    for windows in rounds:
        for window in windows:
            assert 2 <= len(window) == len(set(window)) <= 25
    shown = {i for windows in rounds for window in windows for i in window}
    # Nothing is skipped; a document that is alone needs no question.
    assert shown == (set(range(count)) if count > 1 else set())


@given(plans())
def test_answers_that_change_nothing_leave_first_stage_order_in_front(plan) -> None:
    count, start = plan
    order, _ = play(start(), lambda window: window)
    assert order[:1] == list(range(count))[:1]


@given(st.integers(0, 80), st.integers(2, 25), st.data())
def test_p_passes_put_p_times_window_less_stride_documents_into_their_places(count, window, data) -> None:
    stride, passes = data.draw(st.integers(1, window)), data.draw(st.integers(1, 3))
    relevance = data.draw(st.permutations(range(count)))
    order, _ = play(sliding(count, window=window, stride=stride, passes=passes), by(relevance))
    right = sorted(range(count), key=lambda i: -relevance[i])
    sure = count if window >= count else passes * (window - stride)
    assert order[:sure] == right[:sure]


@given(st.integers(0, 80), st.integers(2, 25), st.data())
def test_topdown_and_tournament_put_the_best_k_into_their_places(count, window, data) -> None:
    top = data.draw(st.integers(1, window - 1))
    relevance = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    right = sorted(range(count), key=lambda i: -relevance[i])
    half = min(top, window // 2)
    for sure, plan in (
        (top, topdown(count, window=window, top=top)),
        (half, tournament(count, window=window, top=half)),
    ):
        order, _ = play(plan, by(relevance))
        assert [relevance[i] for i in order[:sure]] == [relevance[i] for i in right[:sure]]


def test_windows_slide_as_in_rankgpt_and_the_last_one_is_aligned() -> None:
    # 100 documents, 20 at a time, 10 further each time: [80, 100), [70, 90), ... [0, 20): nine windows.
    assert starts(100, window=20, stride=10) == [80, 70, 60, 50, 40, 30, 20, 10, 0]
    # 25 documents: after [5, 25) RankGPT would stop, rank_llm would look at [0, 15).
    assert starts(25, window=20, stride=10) == [5, 0]
    assert starts(20, window=20, stride=10) == starts(7, window=20, stride=10) == [0]
    assert starts(1, window=20, stride=10) == starts(0, window=20, stride=10) == []


def test_one_pass_may_leave_document_window_less_stride_plus_1_in_the_wrong_place() -> None:
    # Best are 3, 4 and 5 (counted from 0). [2, 6) hands two of them on, [0, 4) sees only these two.
    order, _ = play(sliding(6, window=4, stride=2), by([0, 0, 0, 1, 2, 3]))
    assert order == [5, 4, 0, 1, 3, 2]
    order, _ = play(sliding(6, window=4, stride=2, passes=2), by([0, 0, 0, 1, 2, 3]))
    assert order[:3] == [5, 4, 3]


def test_topdown_asks_about_the_partitions_of_100_at_the_same_time() -> None:
    # The best are on top already: the first window, then the 80 others with the pivot, 19 at a time, are 5 more.
    order, rounds = play(topdown(100, window=20, top=10), by([100 - i for i in range(100)]))
    assert [len(windows) for windows in rounds] == [1, 5] and order == list(range(100))
    assert all(window[0] == 9 for window in rounds[1])
    # Number 99 belongs on top: it comes out above the pivot, and is looked at again with the nine before it.
    _, rounds = play(topdown(100, window=20, top=10), by([100 - i if i < 99 else 1000 for i in range(100)]))
    assert [len(windows) for windows in rounds] == [1, 5, 1] and rounds[2] == [(*range(9), 99)]


def test_a_tournament_of_100_is_six_windows_in_three_steps() -> None:
    order, rounds = play(tournament(100, window=20), by([100 - i for i in range(100)]))
    # The 80 others are dealt like cards: 20, 24, 28, ... meet each other; of each window three go on, which makes 12.
    assert [len(windows) for windows in rounds] == [4, 1, 1] and rounds[0][0] == tuple(range(20, 100, 4))
    # They meet the last 8 of the 20 seeds; the best 8 of these 20 meet the first 12 seeds.
    assert rounds[1] == [tuple(range(12, 32))] and rounds[2] == [tuple(range(20))]
    assert order == list(range(100))


def test_a_tournament_of_few_is_a_sliding_window() -> None:
    # 37 documents: 17 others are as many as a window takes with 3 to spare.
    _, rounds = play(tournament(37, window=20), lambda window: window)
    assert rounds == [[tuple(range(17, 37))], [tuple(range(20))]]
    _, rounds = play(tournament(20, window=20), lambda window: window)
    assert rounds == [[tuple(range(20))]]


def test_who_is_out_stands_below_who_went_further() -> None:
    # Windows of 4, of which 1 goes on; the higher the number, the better. 0 to 3 are seeded; 4 6 8 10 and 5 7 9 11 lose
    # all but 10 and 11; these two are few enough. Out are the second places 8 and 9, then 6 and 7, then 4 and 5.
    order, rounds = play(tournament(12, window=4, top=1), by(range(12)))
    assert rounds == [[(4, 6, 8, 10), (5, 7, 9, 11)], [(2, 3, 10, 11)], [(0, 1, 11, 10)]]
    assert order == [11, 10, 1, 0, 3, 2, 8, 9, 6, 7, 4, 5]


def test_together_asks_for_all_at_once_and_answers_each_its_own() -> None:
    def count(to: int) -> Generator[int, str, str]:
        said = ""
        for i in range(to):
            said += yield i
        return said

    asked = together([count(2), count(0), count(3)])
    assert next(asked) == [0, 0]
    assert asked.send(["a", "b"]) == [1, 1]
    assert asked.send(["c", "d"]) == [2]
    with pytest.raises(StopIteration) as stopped:
        asked.send(["e"])
    assert stopped.value.value == ["ac", "", "bde"]
