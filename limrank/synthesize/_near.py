"""Texts that are nearly the same: words, runs of words as numbers, and MinHash over runs of three.

Two texts are as similar as the share of their distinct three-word runs that they have in common (Jaccard). MinHash
(Broder 1997; here datasketch's) proposes pairs, of which 95 % or more of those at the threshold and nearly all above
it; how similar they are is then counted, so that nothing is called similar that is not. Knows texts and keys.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from zlib import crc32

from limrank.extras import require

WORD = re.compile(r"\w+")
RUN = 3
PERMUTATIONS = 128
# An odd number with random bits: a run of words is a polynomial in it, modulo 2**64.
BASE = 0x9E3779B97F4A7C15
MASK = 2**64 - 1
# Numbers that are not sorted in yet.
LATEST = 100_000


class Sketch(NamedTuple):
    """A text to be compared: a number for each band of its MinHash, and its distinct runs, sorted."""

    bands: Any
    runs: Any


class Near:
    """A set of texts in which similar ones are found."""

    def __init__(self, threshold: float) -> None:
        """Find texts that are at least so similar, 0 to 1."""
        datasketch = require("datasketch", needed_for="finding near-duplicates")
        self.threshold = threshold
        # A pair that is proposed in vain costs a comparison, one that is not proposed is missed.
        planned = datasketch.MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, weights=(0.05, 0.95))
        self._bands, self._rows = planned.b, planned.r
        # Its copies share the permutations, which take longer to draw than a text to hash.
        self._empty = datasketch.MinHash(num_perm=PERMUTATIONS, hashfunc=_number)
        self._table = _Table()
        self._keys: list[str] = []
        self._runs: list[Any] = []

    def sketch(self, words: Any) -> Sketch | None:
        """A text's sketch from its words' numbers; None of one with fewer than three words."""
        import numpy as np

        # 32 bits are what MinHash takes; two different runs of a pair of texts hardly ever share them.
        runs = np.unique((runs_of(words, RUN) >> 32).astype(np.uint32))
        if not len(runs):
            return None
        minhash = self._empty.copy()
        minhash.update_batch(runs.tolist())
        values = minhash.hashvalues[: self._bands * self._rows].reshape(self._bands, self._rows)
        bands = np.arange(self._bands, dtype=np.uint64)
        for column in values.T.astype(np.uint64):
            bands *= np.uint64(BASE)
            bands += column
        return Sketch(_mixed(bands), runs)

    def add(self, key: str, sketch: Sketch) -> None:
        """Put a text into the set."""
        self._table.add(sketch.bands, len(self._keys))
        self._keys.append(key)
        self._runs.append(sketch.runs)

    def like(self, sketch: Sketch) -> list[tuple[str, float]]:
        """The keys of similar texts with their similarity, in the order in which they were added."""
        import numpy as np

        found = []
        for place in sorted(self._table.any_of(sketch.bands)):
            runs = self._runs[place]
            common = len(np.intersect1d(runs, sketch.runs, assume_unique=True))
            if (similarity := common / (len(runs) + len(sketch.runs) - common)) >= self.threshold:
                found.append((self._keys[place], similarity))
        return found

    def first_or_add(self, key: str, text: str) -> str:
        """The key of a similar text; where there is none, the text is added, and the answer is empty."""
        sketch = self.sketch(numbers(text))
        if sketch is None:
            return ""
        if found := self.like(sketch):
            return found[0][0]
        self.add(key, sketch)
        return ""


class _Table:
    """Places by number, 12 bytes a pair: sorted arrays, and a dictionary of the latest until they are sorted in."""

    def __init__(self) -> None:
        import numpy as np

        self._numbers = np.zeros(0, dtype=np.uint64)
        self._places = np.zeros(0, dtype=np.uint32)
        self._latest: dict[int, list[int]] = {}

    def add(self, numbers: Any, place: int) -> None:
        for number in numbers.tolist():
            self._latest.setdefault(number, []).append(place)
        if len(self._latest) > max(LATEST, len(self._numbers) // 4):
            self._sort_in()

    def any_of(self, numbers: Any) -> set[int]:
        """The places that were added with any of these numbers."""
        import numpy as np

        found = {place for number in numbers.tolist() for place in self._latest.get(number, ())}
        first = np.searchsorted(self._numbers, numbers)
        last = np.searchsorted(self._numbers, numbers, side="right")
        for band in np.flatnonzero(last > first):
            found.update(self._places[first[band] : last[band]].tolist())
        return found

    def _sort_in(self) -> None:
        import numpy as np

        latest = [(number, place) for number, places in self._latest.items() for place in places]
        self._latest.clear()
        numbers = np.concatenate([self._numbers, np.array([number for number, _ in latest], dtype=np.uint64)])
        places = np.concatenate([self._places, np.array([place for _, place in latest], dtype=np.uint32)])
        order = np.argsort(numbers, kind="stable")
        self._numbers, self._places = numbers[order], places[order]


_known: dict[str, int] = {}


def numbers(text: str) -> list[int]:
    """A number of 64 bits for each word; case and punctuation do not count."""
    known = _known
    if len(known) > 2_000_000:
        known.clear()
    found = []
    for word in WORD.findall(text.lower()):
        if (number := known.get(word)) is None:
            encoded = word.encode()
            number = known[word] = (crc32(encoded) << 32 | crc32(encoded[::-1], 0x5BD1E995)) * BASE & MASK
        found.append(number)
    return found


def runs_of(words: Any, length: int) -> Any:
    """A number of 64 bits for every run of `length` words, in order, as a numpy array."""
    import numpy as np

    array = np.asarray(words, dtype=np.uint64)
    count = max(len(array) - length + 1, 0)
    runs = np.zeros(count, dtype=np.uint64)
    for place in range(length):
        runs *= np.uint64(BASE)
        runs += array[place : place + count]
    return _mixed(runs)


def _mixed(values: Any) -> Any:
    """The numbers with all bits mixed, in place; a polynomial's lower bits depend on few of its terms."""
    import numpy as np

    values ^= values >> np.uint64(29)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(32)
    return values


def _number(value: int) -> int:
    return value
