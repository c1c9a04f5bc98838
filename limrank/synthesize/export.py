"""Examples as training files: each format read by a trainer as it is, split by seed query, with a card.

    limrank.{train,validation}.json      a list of {"instruction", "input", "output"}, as LLaMA-Factory reads (LimRank)
    trl.{train,validation}.jsonl         {"prompt", "completion"}, as TRL reads
    pairs.{train,validation}.jsonl       query, passage, label, and the share of samples that say relevant as grade
    listwise.{train,validation}.jsonl    query, passages in an arbitrary order, and the permutation that is right
    README.md                            what is in it, and how it was made

Prompt and output together are, to the byte, what a reranker of this family reads and writes (`rank1`). All that comes
from one seed is on one side of the split. Knows nothing of training.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from limrank import prompt as prompts
from limrank.errors import LimrankError, Unknown
from limrank.extras import require
from limrank.files import atomic_write
from limrank.progress import Track, silent
from limrank.records import Document, Query
from limrank.synthesize._draw import fraction, shuffled
from limrank.synthesize.examples import Example
from limrank.synthesize.judgment import chain_of, passage_text, query_text

FORMATS = ("limrank", "trl", "pairs", "listwise")
SPLITS = ("train", "validation")
COUNTED = ("label", "kind", "variant", "domain", "difficulty", "register", "length")
LENGTHS = ("query", "passage", "chain")
TOKENS = "prompt and completion, in tokens"
Sizes = dict[str, Counter[int]]


@dataclass
class Exported:
    """What was written.

    Attributes:
        counts: By split, then by what is counted (`examples`, `queries`, `seeds`, `lists`, COUNTED), then by value.
        sizes: Words of LENGTHS: how many texts have so many.
    """

    counts: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    sizes: Sizes = field(default_factory=lambda: {name: Counter() for name in LENGTHS})
    teachers: Counter[str] = field(default_factory=Counter)
    judges: Counter[str] = field(default_factory=Counter)


def export(
    examples: Iterable[Example],
    folder: Path,
    *,
    formats: Iterable[str] = FORMATS,
    validation: float = 0.05,
    seed: int = 0,
    tokens: Callable[[str], int] | None = None,
    track: Track = silent,
) -> Exported:
    """Write the files of all formats; each appears under its name when the last example is in.

    Args:
        examples: Filtered ones; the examples of a query follow one another.
        folder: Where to.
        formats: Of FORMATS.
        validation: Share of the seeds that are for validation.
        seed: Another split, another order in lists.
        tokens: Counts the tokens of a text, for the card.
        track: Shows how many examples are written.

    Raises:
        Unknown: No such format.
        LimrankError: An example has no label or no chain that leads to it; or the share is none.
    """
    wanted = tuple(formats)
    check(wanted, validation)
    prompt = prompts.load("rank1")
    exported = Exported({split: {} for split in SPLITS})
    with contextlib.ExitStack() as stack:
        files = {key: stack.enter_context(_file(path)) for key, path in places(folder, wanted).items()}
        tracked = track(examples, label="synthesize export", total=None)
        for _, group in itertools.groupby(tracked, key=lambda example: example.query_id):
            of_query = list(group)
            split = SPLITS[fraction(f"split {seed} {of_query[0].seed_id}") < validation]
            for example in of_query:
                _count(example, exported, split)
                if tokens:
                    whole = "".join(prompt_and_completion(example, prompt))
                    exported.sizes.setdefault(TOKENS, Counter())[tokens(whole)] += 1
                for name, record in _records(example, prompt, wanted):
                    files[name, split].add(record)
            _tally(exported, split, "queries")
            if "listwise" in wanted and (ranked := permutation(of_query, seed=seed)):
                _tally(exported, split, "lists")
                files["listwise", split].add(ranked)
    return exported


def check(formats: Iterable[str], validation: float) -> None:
    """Refuse what `export` cannot do.

    Raises:
        Unknown: No such format.
        LimrankError: The share is none.
    """
    for name in formats:
        if name not in FORMATS:
            raise Unknown.among("export format", name, FORMATS)
    if not 0 <= validation < 1:
        raise LimrankError(f"validation={validation}: expected a share from 0 up to 1")


def places(folder: Path, formats: Iterable[str]) -> dict[tuple[str, str], Path]:
    """The file of each format and split."""
    return {
        (name, split): folder / f"{name}.{split}.{'json' if name == 'limrank' else 'jsonl'}"
        for name in formats
        for split in SPLITS
    }


def prompt_and_completion(example: Example, prompt: prompts.Prompt) -> tuple[str, str]:
    """What a reranker reads, and what it is to write behind it.

    Raises:
        LimrankError: There is no label, or no chain that leads to it.
    """
    chain = chain_of(example)
    if example.label is None or not chain:
        raise LimrankError(f"example {example.example_id!r} has no label with a chain; run: limrank synthesize filter")
    query = Query(example.query_id, query_text(example))
    filled = prompt.fill(query, Document(example.example_id, example.passage, example.title))
    text = "".join(part.text for message in filled.messages for part in message.parts)
    return text, f" {chain} {prompt.close}{prompt.choices[0 if example.label else 1]}"


def permutation(examples: list[Example], *, seed: int = 0) -> dict[str, Any] | None:
    """A query's passages in an arbitrary order and their right one: by label, then by grade, equals as they stand.

    None where all are equally good, or there is one.
    """
    shown = shuffled(examples, seed=f"list {seed} {examples[0].query_id}")
    worth = [(bool(example.label), example.grade or 0.0) for example in shown]
    if len(set(worth)) < 2:
        return None
    order = sorted(range(len(shown)), key=lambda place: worth[place], reverse=True)
    return {
        "query_id": shown[0].query_id,
        "query": query_text(shown[0]),
        "passages": [passage_text(example) for example in shown],
        "grades": [example.grade for example in shown],
        "permutation": " > ".join(f"[{place + 1}]" for place in order),
    }


def card(exported: Exported, *, name: str, made: Mapping[str, Any]) -> str:
    """The dataset card, Markdown: counts of what is in it, lengths, and how it was made at what cost.

    Args:
        exported: From `export`.
        name: Of the dataset.
        made: By stage: `prompts` (name to sha256), `parameters`, `counts` as manifests have them.
    """
    lines = [f"# {name}", "", "Synthetic examples for rerankers that reason, made with `limrank synthesize`.", ""]
    totals = {split: {key: sum(c.values()) for key, c in kept.items()} for split, kept in exported.counts.items()}
    lines += _table(["split", "examples", "queries", "seeds", "lists"], [
        [split, *(totals[split].get(key, 0) if key != "seeds" else len(exported.counts[split].get("seeds", ()))
                  for key in ("label", "queries", "seeds", "lists"))] for split in SPLITS
    ])  # fmt: skip
    for key in COUNTED:
        values = sorted({value for kept in exported.counts.values() for value in kept.get(key, ())})
        if values:
            rows = [
                [value, *(exported.counts[split].get(key, Counter())[value] for split in SPLITS)] for value in values
            ]
            lines += ["", f"## By {key}", "", *_table([key, *SPLITS], rows)]
    lines += ["", "## Lengths", "", "In words, where nothing else is said.", ""]
    quantiles = [[name, *_quantiles(counted)] for name, counted in exported.sizes.items()]
    lines += _table(["text", "fewest", "10 %", "median", "90 %", "most"], quantiles)
    lines += ["", "## Made by", ""]
    lines += [f"* teacher: `{teacher}` ({number} examples)" for teacher, number in exported.teachers.items()]
    lines += [f"* judge: `{judge}` ({number} examples)" for judge, number in exported.judges.items()]
    for stage, told in made.items():
        lines += ["", f"### {stage}", ""]
        counts = {key: value for key, value in told.get("counts", {}).items() if not isinstance(value, Mapping)}
        lines += [f"* {key}: {value}" for key, value in counts.items()]
        lines += [f"* prompt `{prompt}`: sha256 {digest}" for prompt, digest in told.get("prompts", {}).items()]
        lines += [f"* seconds: {told['seconds']}"] if "seconds" in told else []
    return "\n".join(lines) + "\n"


def counted_tokens(model: str) -> Callable[[str], int]:
    """Counts tokens as a model of the backend `transformers` has them."""
    from limrank.llm._weights import find

    weights = find(model)
    transformers = require("transformers", needed_for="counting tokens")
    tokenizer = transformers.AutoTokenizer.from_pretrained(weights.location, revision=weights.revision)
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


class _Rows:
    """A file of records: a JSON list, or JSON lines."""

    def __init__(self, file: IO[bytes], *, as_list: bool) -> None:
        self.file, self.as_list, self.count = file, as_list, 0

    def add(self, record: Mapping[str, Any]) -> None:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
        before = ("[\n" if not self.count else ",\n") if self.as_list else ""
        self.file.write(f"{before}{text}{'' if self.as_list else chr(10)}".encode())
        self.count += 1

    def end(self) -> None:
        if self.as_list:
            self.file.write(b"\n]\n" if self.count else b"[]\n")


@contextlib.contextmanager
def _file(path: Path) -> Iterator[_Rows]:
    with atomic_write(path) as file:
        rows = _Rows(file, as_list=path.suffix == ".json")
        yield rows
        rows.end()


def _records(example: Example, prompt: prompts.Prompt, wanted: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    text, completion = prompt_and_completion(example, prompt)
    if "limrank" in wanted:
        yield "limrank", {"instruction": text, "input": "", "output": completion}
    if "trl" in wanted:
        yield "trl", {"prompt": text, "completion": completion}
    if "pairs" in wanted:
        fields = ("query_id", "query", "instruction", "example_id", "title", "passage", "label", "grade", "agreement")
        record = {
            name: getattr(example, name) for name in (*fields, "kind", "variant", "domain", "difficulty", "seed_id")
        }
        yield "pairs", record | ({"doc_id": example.doc_id} if example.doc_id else {})


def _count(example: Example, exported: Exported, split: str) -> None:
    for name in COUNTED:
        if (value := getattr(example, name)) not in ("", None):
            told = {True: "relevant", False: "not relevant"}.get(value, value) if name == "label" else value
            _tally(exported, split, name, str(told))
    _tally(exported, split, "seeds", example.seed_id)
    for name, text in zip(LENGTHS, (example.query, example.passage, chain_of(example))):
        exported.sizes[name][len(text.split())] += 1
    exported.teachers[example.teacher] += 1
    exported.judges[example.judge] += 1


def _tally(exported: Exported, split: str, name: str, value: str = "all") -> None:
    exported.counts[split].setdefault(name, Counter())[value] += 1


def _quantiles(counted: Counter[int]) -> list[int]:
    """Smallest, 10 %, median, 90 % and largest value, each by nearest rank."""
    values = list(itertools.chain.from_iterable(itertools.repeat(value, counted[value]) for value in sorted(counted)))
    last = len(values) - 1
    return [values[round(share * last)] for share in (0, 0.1, 0.5, 0.9, 1)] if values else [0] * 5


def _table(columns: list[str], rows: Iterable[list[Any]]) -> list[str]:
    cells = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in cells]
