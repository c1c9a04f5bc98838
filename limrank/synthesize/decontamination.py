"""Which examples are part of a benchmark: copies and near copies of its queries or documents, in queries and passages.

Any of these is enough:

* 13 words in a row in common;
* two thirds of a query's runs of three words, wherever in a text they are; of a query of 8 to 12 words all of them; one
  shorter still has to be the synthetic query itself;
* half or more of the runs of three words that either has are in both (Jaccard, found by MinHash).

Datasets stream past an index of the examples, so that memory does not depend on how large they are. A paraphrase is not
found.

Source: runs of 13 words, GPT-3 (arXiv:2005.14165), appendix C.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from limrank.datasets import Dataset
from limrank.errors import LimrankError
from limrank.records import contents
from limrank.synthesize._near import RUN, WORD, Near, numbers, runs_of
from limrank.synthesize.examples import Dropped, Example, Outcome

# A text of a dataset that is shorter says too little when it is found inside another one.
SHORTEST = 8
BATCH = 512
# Also when nobody names any: what rerankers that reason are tested on.
BENCHMARKS = (
    *(f"bright/{task}" for task in (
        "biology", "earth_science", "economics", "psychology", "robotics", "stackoverflow", "sustainable_living",
        "leetcode", "pony", "aops", "theoremqa_questions", "theoremqa_theorems",
    )),
    "followir/core17", "followir/news21", "followir/robust04", "litsearch",
)  # fmt: skip


@dataclass(frozen=True)
class Overlap:
    """What counts as the same.

    Attributes:
        run: Words in a row.
        similarity: Jaccard of runs of three words; above 1 for no such test, and queries of any length as a whole.
        documents: Look at the datasets' documents, too, not only at their queries.
    """

    run: int = 13
    similarity: float = 0.5
    documents: bool = True

    def __post_init__(self) -> None:
        if self.run < SHORTEST or self.similarity <= 0:
            raise LimrankError(
                f"run={self.run}, similarity={self.similarity}: expected {SHORTEST} words or more, and more than 0"
            )

    @property
    def contained(self) -> float:
        """The share of a query's runs that two texts of the same length have in common if they are so similar."""
        return min(2 * self.similarity / (1 + self.similarity), 1.0)


class Text(NamedTuple):
    """A text of a dataset."""

    source: str
    text: str
    is_query: bool


class Hit(NamedTuple):
    """Where an example was found: in what, by which test, with the words in common or the similarity."""

    source: str
    test: str
    evidence: str


def texts_of(dataset: Dataset, *, documents: bool = True) -> Iterator[Text]:
    """The queries of a dataset, and its documents."""
    for query in dataset.queries():
        yield Text(f"{dataset.name} query {query.query_id}", query.text, True)
    if documents:
        for document in dataset.documents():
            yield Text(f"{dataset.name} document {document.doc_id}", contents(document), False)


def decontaminated(examples: Iterable[Example], hits: Mapping[str, Hit]) -> Iterator[Outcome]:
    """Every example, or a dropped one where its query or its passage was found; in their order.

    Args:
        examples: Those that `find` was given.
        hits: From `find`.
    """
    for example in examples:
        for name, key in (("query", query_key(example)), ("passage", passage_key(example))):
            if hit := hits.get(key):
                yield Dropped(example, "contaminated", f"{name}: {hit.test} with {hit.source}: {hit.evidence}")
                break
        else:
            yield example


def find(examples: Iterable[Example], texts: Iterable[Text], overlap: Overlap | None = None) -> dict[str, Hit]:
    """The first hit of every query and passage that is in any of the texts, by `query_key` and `passage_key`.

    Args:
        examples: To be searched; held in memory as numbers, about 30 bytes a word.
        texts: Streamed.
        overlap: What counts.
    """
    index = _Index(examples, overlap or Overlap())
    batch: list[Text] = []
    for text in texts:
        batch.append(text)
        if len(batch) == BATCH:
            index.search(batch)
            batch = []
    index.search(batch)
    return index.hits


def query_key(example: Example) -> str:
    """Under which a query's hit is found."""
    return f"query {example.query_id}"


def passage_key(example: Example) -> str:
    """Under which a passage's hit is found."""
    return f"passage {example.example_id}"


class _Index:
    """The examples' texts as numbers: every run of words, and sketches."""

    def __init__(self, examples: Iterable[Example], overlap: Overlap) -> None:
        import numpy as np

        self.overlap = overlap
        self.hits: dict[str, Hit] = {}
        self.keys: list[str] = []
        self.whole: dict[bytes, list[str]] = {}
        self.near = Near(overlap.similarity) if overlap.similarity <= 1 else None
        words: list[Any] = []
        lengths: list[int] = []
        for key, text in _units(examples):
            numbered = np.asarray(numbers(text), dtype=np.uint64)
            more = bool(self.keys) and self.keys[-1] == key
            if key.startswith("query ") and not more:
                self.whole.setdefault(numbered.tobytes(), []).append(key)
            if self.near and not more and (sketch := self.near.sketch(numbered)) is not None:
                self.near.add(key, sketch)
            self.keys.append(key)
            words.append(numbered)
            lengths.append(len(numbered))
        everything = np.concatenate(words) if words else np.zeros(0, dtype=np.uint64)
        words.clear()
        units = np.repeat(np.arange(len(lengths), dtype=np.uint32), lengths)
        self.runs = {length: _sorted_runs(everything, units, length) for length in (RUN, overlap.run)}
        self.told: set[int] = set()

    def search(self, batch: Sequence[Text]) -> None:
        """Record what of the examples is in these texts."""
        import numpy as np

        numbered = [np.asarray(numbers(text.text), dtype=np.uint64) for text in batch]
        for text, words in zip(batch, numbered):
            if text.is_query and len(words) >= SHORTEST:
                self._within(text, words)
            elif text.is_query:
                for key in self.whole.get(words.tobytes(), ()) if len(words) else ():
                    self._hit(key, text, "the same query", _beginning(text))
            if self.near and (sketch := self.near.sketch(words)) is not None:
                for key, similarity in self.near.like(sketch):
                    self._hit(key, text, "similarity", f"{similarity:.2f}")
        self._long_runs(batch, numbered)

    def _within(self, text: Text, words: Any) -> None:
        """The units that hold most of a query's runs of three words, or all where the query is short."""
        import numpy as np

        share = 1.0 if len(words) < self.overlap.run else self.overlap.contained
        wanted = np.unique(runs_of(words, RUN))
        runs, units = self.runs[RUN]
        first, last = np.searchsorted(runs, wanted), np.searchsorted(runs, wanted, side="right")
        least = math.ceil(share * len(wanted))
        if np.count_nonzero(last > first) < least:
            return
        there, times = np.unique(np.concatenate([units[a:b] for a, b in zip(first, last)]), return_counts=True)
        for place in np.flatnonzero(times >= least):
            test = f"{times[place]} of {len(wanted)} runs of three words"
            self._hit(self.keys[there[place]], text, test, _beginning(text))

    def _long_runs(self, texts: Sequence[Text], numbered: Sequence[Any]) -> None:
        """The units that have a long run of words in common with a text."""
        import numpy as np

        length = self.overlap.run
        runs, units = self.runs[length]
        asked = [runs_of(words, length) for words in numbered]
        if not len(runs) or not asked:
            return
        everything = np.concatenate(asked)
        owner = np.repeat(np.arange(len(asked)), [len(one) for one in asked])
        places = np.minimum(np.searchsorted(runs, everything), len(runs) - 1)
        for found in np.flatnonzero(runs[places] == everything):
            first, run = int(places[found]), everything[found]
            # Looked at once: what many examples have in common may be in many texts, too.
            if first in self.told:
                continue
            self.told.add(first)
            keys = [self.keys[unit] for unit in units[first : np.searchsorted(runs, run, side="right")]]
            if new := [key for key in keys if key not in self.hits]:
                text = texts[int(owner[found])]
                evidence = _words_of_run(text, run, length)
                for key in new:
                    self._hit(key, text, f"{length} words in common", evidence)

    def _hit(self, key: str, text: Text, test: str, evidence: str) -> None:
        self.hits.setdefault(key, Hit(text.source, test, evidence))


def _sorted_runs(words: Any, units: Any, length: int) -> tuple[Any, Any]:
    """All runs of this length within a unit, sorted, and the units that have them, each once.

    Args:
        words: The numbers of the words of all units, one unit behind the other.
        units: Of each word, the unit that it is in.
        length: Words of a run.
    """
    import numpy as np

    runs = runs_of(words, length)
    inside = units[: len(runs)] == units[length - 1 :]
    runs, units = runs[inside], units[: len(inside)][inside]
    order = np.argsort(runs, kind="stable")
    runs, units = runs[order], units[order]
    del order
    new = np.ones(len(runs), dtype=bool)
    new[1:] = (runs[1:] != runs[:-1]) | (units[1:] != units[:-1])
    return runs[new], units[new]


def _beginning(text: Text) -> str:
    return repr(text.text.strip()[:200])


def _words_of_run(text: Text, run: Any, length: int) -> str:
    """The words behind a run's number; looked for again, because there are few hits."""
    words = WORD.findall(text.text)
    place = runs_of(numbers(text.text), length).tolist().index(int(run))
    return repr(" ".join(words[place : place + length]))


def _units(examples: Iterable[Example]) -> Iterator[tuple[str, str]]:
    """Each query and each passage by key, an instruction behind its query under the same one."""
    last = ""
    for example in examples:
        if example.query_id != last:
            last = example.query_id
            yield query_key(example), example.query
            if example.instruction:
                yield query_key(example), example.instruction
        if example.passage:
            yield passage_key(example), f"{example.title} {example.passage}"
