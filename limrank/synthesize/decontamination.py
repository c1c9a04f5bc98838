"""Which examples are part of a benchmark: copies and near copies of its queries or documents, in queries and passages.

Three tests, any of which is enough. A run of 13 words in common; a shorter query (8 words or more) that is there as a
whole, or one shorter still that is the synthetic query; and similarity (MinHash over runs of three words) of half or
more. Datasets stream past an index of the examples, so that memory does not depend on how large they are. A paraphrase
is not found.

Source: runs of 13 words, GPT-3 (arXiv:2005.14165), appendix C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from limrank.datasets import Dataset
from limrank.errors import LimrankError
from limrank.records import contents
from limrank.synthesize._near import Near, numbers, runs_of
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
        similarity: Jaccard of runs of three words; above 1 for no such test.
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
        self.whole: dict[bytes, list[int]] = {}
        self.near = Near(overlap.similarity) if overlap.similarity <= 1 else None
        words: list[Any] = []
        lengths: list[int] = []
        for key, text in _units(examples):
            numbered = np.asarray(numbers(text), dtype=np.uint64)
            more = bool(self.keys) and self.keys[-1] == key
            if key.startswith("query ") and not more:
                self.whole.setdefault(numbered.tobytes(), []).append(len(self.keys))
            if self.near and not more and (sketch := self.near.sketch(numbered)) is not None:
                self.near.add(key, sketch)
            self.keys.append(key)
            words.append(numbered)
            lengths.append(len(numbered))
        self.words = np.concatenate(words) if words else np.zeros(0, dtype=np.uint64)
        self.ends = np.cumsum(np.asarray(lengths, dtype=np.int64))
        self.runs: dict[int, tuple[Any, Any]] = {}

    def search(self, batch: Sequence[Text]) -> None:
        """Record what of the examples is in these texts."""
        import numpy as np

        numbered = [np.asarray(numbers(text.text), dtype=np.uint64) for text in batch]
        by_length: dict[int, list[int]] = {}
        for place, (text, words) in enumerate(zip(batch, numbered)):
            if len(words) >= self.overlap.run:
                by_length.setdefault(self.overlap.run, []).append(place)
            elif text.is_query and len(words) >= SHORTEST:
                by_length.setdefault(len(words), []).append(place)
            elif text.is_query:
                self._same_query(text, words)
            if self.near and (sketch := self.near.sketch(words)) is not None:
                for key, similarity in self.near.like(sketch):
                    self.hits.setdefault(key, Hit(text.source, "similarity", f"{similarity:.2f}"))
        for length, places in by_length.items():
            self._runs_in(length, [batch[place] for place in places], [numbered[place] for place in places])

    def _same_query(self, text: Text, words: Any) -> None:
        for unit in self.whole.get(words.tobytes(), ()) if len(words) else ():
            self.hits.setdefault(self.keys[unit], Hit(text.source, "the same query", repr(text.text.strip()[:200])))

    def _runs_in(self, length: int, texts: Sequence[Text], numbered: Sequence[Any]) -> None:
        import numpy as np

        runs, starts = self._sorted_runs(length)
        if not len(runs):
            return
        asked = [runs_of(words, length) for words in numbered]
        everything = np.concatenate(asked)
        owner = np.repeat(np.arange(len(asked)), [len(one) for one in asked])
        places = np.minimum(np.searchsorted(runs, everything), len(runs) - 1)
        for found in np.flatnonzero(runs[places] == everything):
            place = int(places[found])
            text, words = texts[int(owner[found])], self._run_text(texts[int(owner[found])], everything[found], length)
            while place < len(runs) and runs[place] == everything[found]:
                unit = int(np.searchsorted(self.ends, starts[place], side="right"))
                self.hits.setdefault(self.keys[unit], Hit(text.source, f"{length} words in common", repr(words)))
                place += 1

    def _run_text(self, text: Text, run: Any, length: int) -> str:
        """The words behind a run's number; looked for again, because there are few hits."""
        import re

        words = re.findall(r"\w+", text.text)
        runs = runs_of(numbers(text.text), length).tolist()
        place = runs.index(int(run))
        return " ".join(words[place : place + length])

    def _sorted_runs(self, length: int) -> tuple[Any, Any]:
        """All runs of this length within a text, sorted, and the place of their first word."""
        import numpy as np

        if length not in self.runs:
            runs = runs_of(self.words, length)
            starts = np.arange(len(runs), dtype=np.int64)
            unit = np.searchsorted(self.ends, starts, side="right")
            inside = starts + length <= self.ends[unit] if len(runs) else np.zeros(0, dtype=bool)
            runs, starts = runs[inside], starts[inside]
            order = np.argsort(runs, kind="stable")
            self.runs[length] = runs[order], starts[order].astype(np.uint32 if len(runs) < 2**32 else np.int64)
        return self.runs[length]


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
