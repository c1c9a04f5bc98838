"""Planted copies of BRIGHT's queries among examples of real text: how many are found, what else goes, how fast.

    python speed/decontaminate.py [../shared/data] [--examples 10000] [--stream 100000]

The folder holds vaswani and cacm in BEIR layout, whose abstracts are the innocent queries and passages, and
bright/<task> with queries. First a stream of examples, with known faults in one of a hundred each, goes through the
filters and export, and the largest memory of this process is told. Then every query of BRIGHT is planted among
examples, in one way after another. A near copy has one word in 20 (or 10) exchanged, and one at least.

Exits with 1 when a copy or a near copy of one word in 20 is missed, when anything else is dropped, or when the search
takes a minute or the stream 2 GB.
"""

from __future__ import annotations

import argparse
import itertools
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from limrank.datasets import Dataset, open_dataset
from limrank.files import atomic_write
from limrank.synthesize import Dropped, Example, ExampleFile, Judgment
from limrank.synthesize.decontamination import Overlap, decontaminated, find, texts_of
from limrank.synthesize.examples import line_of
from limrank.synthesize.export import export
from limrank.synthesize.stage import write
from limrank.synthesize.stages import of_filters

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SECONDS, GIGABYTES = 60.0, 2.0
CHAIN, PASSAGE = 200, 150
ENGLISH = ("the", "of", "and", "to", "in", "is")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=SHARED)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--stream", type=int, default=100_000)
    arguments = parser.parse_args()
    texts = abstracts(arguments.folder)
    bright = [open_dataset(str(task)) for task in sorted((arguments.folder / "bright").iterdir())]
    fine = [
        streamed(texts, bright, arguments.stream) if arguments.stream else True,
        planted(texts, bright, arguments.examples) if arguments.examples else True,
    ]
    sys.exit(0 if all(fine) else 1)


def abstracts(folder: Path) -> list[str]:
    """Different real texts of 30 words or more."""
    texts = [document.text for name in ("vaswani", "cacm") for document in open_dataset(str(folder / name)).documents()]
    return list(dict.fromkeys(text for text in texts if len(text.split()) >= 30))


def planted(texts: Sequence[str], bright: Sequence[Dataset], count: int) -> bool:
    """Look for every query among so many examples; tell what was found."""
    queries = [text for dataset in bright for text in texts_of(dataset, documents=False)]
    examples = [innocent(number, texts) for number in range(count)]
    way_of: dict[str, str] = {}
    for place, query, way in zip(random.Random(0).sample(range(count), count), queries, itertools.cycle(WAYS)):
        way_of[examples[place].example_id] = way
        examples[place] = examples[place]._replace(**WAYS[way](query.text, examples[place].passage))
    started = time.perf_counter()
    hits = find(examples, queries)
    seconds = time.perf_counter() - started
    dropped = {one.example.example_id: one for one in decontaminated(examples, hits) if isinstance(one, Dropped)}
    there, found = Counter(way_of.values()), Counter(way for key, way in way_of.items() if key in dropped)
    others = [one for key, one in dropped.items() if key not in way_of]
    print(f"{count} examples, {len(queries)} queries: {seconds:.1f} s")
    for way, number in there.items():
        print(f"  {way:40} {found[way]:4} of {number} found")
    print(f"  {'nothing planted':40} {len(others):4} of {count - len(way_of)} dropped")
    for one in others[:5]:
        print(f"    {one.example.example_id}: {one.detail}")
    missed = sum(number - found[way] for way, number in there.items() if "10" not in way)
    return not missed and not others and seconds < SECONDS


def exchanged(text: str, every: int) -> str:
    """The text on one line, the last of so many words another one, and one in any case."""
    words = text.split()
    places = range(every - 1, len(words), every) or (len(words) // 2,)
    return " ".join("elsewhere" if place in places else word for place, word in enumerate(words))


WAYS: dict[str, Callable[[str, str], dict[str, str]]] = {
    "copied as query": lambda text, _: {"query": text},
    "copied into a passage": lambda text, around: {"passage": f"{around} {text} {around}"},
    "as query, lower case, on one line": lambda text, _: {"query": " ".join(text.lower().split())},
    "as query, one word in 20 exchanged": lambda text, _: {"query": exchanged(text, 20)},
    "in a passage, one word in 20 exchanged": lambda text, around: {"passage": f"{around} {exchanged(text, 20)}"},
    "as query, one word in 10 exchanged": lambda text, _: {"query": exchanged(text, 10)},
    "in a passage, one word in 10 exchanged": lambda text, around: {"passage": f"{around} {exchanged(text, 10)}"},
}


def innocent(number: int, texts: Sequence[str]) -> Example:
    """An example of real text: the beginning of an abstract as query, another abstract as passage."""
    query = " ".join(texts[number % len(texts)].split()[:25])
    passage = texts[(number * 7 + 1) % len(texts)]
    return Example(f"q{number}/p", f"q{number}", f"s{number}", "seed", query, kind="positive", passage=passage)


def streamed(texts: Sequence[str], bright: Sequence[Dataset], count: int) -> bool:
    """Filter and export a file of so many examples; tell what was dropped, and the time and memory that it took."""
    faults: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        judged, filtered = Path(name) / "judged.jsonl", Path(name) / "filtered.jsonl"
        with atomic_write(judged) as file:
            file.writelines(line_of(example) for example in stream(texts, bright, count, faults))
        before, started = gigabytes(), time.perf_counter()
        manifest = write(of_filters(judged, against=bright, overlap=Overlap(documents=False)), filtered)
        between = time.perf_counter()
        exported = export(ExampleFile(filtered), Path(name) / "export")
        ended, peak = time.perf_counter(), gigabytes()
        size = judged.stat().st_size / 1e6
    written = sum(counted["label"].total() for counted in exported.counts.values() if "label" in counted)
    dropped = {
        key.removeprefix("dropped_"): number for key, number in manifest.counts.items() if key.startswith("dropped_")
    }
    print(f"{count} examples ({size:.0f} MB): filters {between - started:.0f} s, export {ended - between:.0f} s")
    print(f"  memory {peak:.2f} GB at most, {before:.2f} before")
    print(f"  planted {dict(faults)}, dropped {dropped}, exported {written}")
    return dropped == dict(faults) and written == count - faults.total() and peak < GIGABYTES


def stream(texts: Sequence[str], bright: Sequence[Dataset], count: int, faults: Counter[str]) -> Iterator[Example]:
    """Examples as a judge leaves them, four of a query, the first relevant; faults are planted in the others."""
    rng = random.Random(0)
    vocabulary = sorted({word for text in texts for word in text.split() if word.isalpha()})
    queries = itertools.cycle(text.text for dataset in bright for text in texts_of(dataset, documents=False))
    before = ""

    def said(words: int) -> str:
        return " ".join(
            itertools.chain(*zip(rng.choices(vocabulary, k=words // 2), rng.choices(ENGLISH, k=words // 2)))
        )

    for number in range(count):
        if number % 4 == 0:
            query = f"Where is it that {said(20)} when it rains?"
        passage, chain, label = said(PASSAGE), said(CHAIN), number % 4 == 0
        if number % 100 == 1:
            faults["contaminated"] += 1
            passage = f"{passage} {next(queries)}"
        elif number % 100 == 34:
            faults["leak"] += 1
            chain = f"The answer is false. {chain}"
        elif number % 100 == 67:
            faults["duplicate"] += 1
            passage = exchanged(before, 50)
        else:
            before = passage
        yield Example(
            f"q{number // 4}/{number % 4}", f"q{number // 4}", f"s{number // 40}", "how is it done", query,
            variant="daily-life", domain="daily life", difficulty="direct", kind="positive" if label else "outdated",
            thought=chain, passage=passage, intended=label, judgments=(Judgment(chain, label),), label=label,
            agreement=1.0, grade=float(label), teacher="teacher", judge="judge",
        )  # fmt: skip


def gigabytes() -> float:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
