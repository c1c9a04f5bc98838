"""Similar texts are found with their true similarity, whichever part of the table they are in."""

import random

import pytest

from limrank.synthesize import _near
from limrank.synthesize._near import Near, numbers, runs_of

WORDS = [f"w{n}" for n in range(3000)]


def similarity(one: str, two: str) -> float:
    """Jaccard of runs of three words, by the book."""
    first, second = (
        {tuple(words[place : place + 3]) for place in range(len(words) - 2)} for words in (one.split(), two.split())
    )
    return len(first & second) / len(first | second)


def texts(count: int) -> list[str]:
    """Different texts, and after each some copies of it with more and more words exchanged."""
    rng = random.Random(0)
    made = []
    for _ in range(count):
        words = rng.choices(WORDS, k=60)
        for exchanged in (0, 1, 2, 3, 5, 8):
            copy = list(words)
            for place in rng.sample(range(60), exchanged):
                copy[place] = rng.choice(WORDS)
            made.append(" ".join(copy))
    return made


@pytest.mark.parametrize("latest", [10, 100_000])
@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_what_is_found_is_what_is_similar(threshold: float, latest: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_near, "LATEST", latest)
    near, every = Near(threshold), texts(25)
    for place, text in enumerate(every):
        near.add(str(place), near.sketch(numbers(text)))
    found = wanted = 0
    for text in every:
        like = near.like(near.sketch(numbers(text)))
        assert [int(key) for key, _ in like] == sorted(int(key) for key, _ in like)
        assert all(value == similarity(text, every[int(key)]) >= threshold for key, value in like)
        found += len(like)
        wanted += sum(similarity(text, other) >= threshold for other in every)
    # Nothing that is not similar, and 95 % of what is at the threshold, more above it.
    assert 0.98 * wanted <= found <= wanted


def test_the_first_of_several_stays():
    near = Near(0.8)
    one, two = texts(1)[0], texts(2)[6]
    assert [near.first_or_add(key, text) for key, text in (("a", one), ("b", two), ("c", one.upper()))] == ["", "", "a"]


def test_a_text_of_fewer_than_three_words_is_like_none():
    near = Near(0.5)
    assert near.sketch(numbers("two words")) is None
    assert near.first_or_add("a", "two words") == near.first_or_add("b", "two words") == ""


def test_a_run_is_its_words_in_their_order():
    first, second = runs_of(numbers("a b c d"), 3)
    assert first != second
    assert runs_of(numbers("B, c! D"), 3).tolist() == [second]
    assert runs_of(numbers("d c b"), 3).tolist() != [second]
    assert len(runs_of(numbers("a b"), 3)) == 0
