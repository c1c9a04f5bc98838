"""What is written is what a reranker reads and writes, split by seed, and counted on the card."""

import json
from collections import Counter
from pathlib import Path

import pytest

from limrank import prompt as prompts
from limrank.errors import BadFile, LimrankError, Unknown
from limrank.records import Document, Query
from limrank.synthesize import Dropped, Example, ExampleFile, Judgment
from limrank.synthesize.examples import dropped_in, line_of
from limrank.synthesize.export import card, export, permutation, prompt_and_completion
from limrank.synthesize.show import page


def pair(
    query: int, number: int = 0, *, label: bool = True, grade: float | None = None, seed: int | None = None
) -> Example:
    kind = "positive" if label else "outdated"
    return Example(
        f"q{query}/{kind}-{number}",
        f"q{query}",
        f"s{query if seed is None else seed}",
        "seed",
        f"Why {query}?",
        instruction="Since 2020.",
        variant="daily-life",
        domain="daily life",
        difficulty="direct",
        kind=kind,
        title="On it",
        passage=f"Because of {query} and {number}.",
        judgments=(Judgment("Well.", not label), Judgment(f"I see {number}.", label)),
        label=label,
        grade=float(label) if grade is None else grade,
        agreement=0.5,
        teacher="t",
        judge="j",
    )


def many() -> list[Example]:
    return [pair(query, number, label=number == 0) for query in range(40) for number in range(3)]


def test_prompt_and_completion_are_what_the_reranker_of_this_family_reads_and_writes():
    example = pair(1)
    rank1 = prompts.load("rank1")
    filled = rank1.fill(Query("q1", "Why 1?", "Since 2020."), Document("d", "Because of 1 and 0.", "On it"))
    prompt, completion = prompt_and_completion(example, rank1)
    assert prompt == "".join(part.text for message in filled.messages for part in message.parts)
    assert prompt.endswith("Query: Why 1? Since 2020.\nPassage: On it Because of 1 and 0.\n<think>")
    # The chain whose verdict is the label, and the verdict as it is scored: " true".
    assert completion == " I see 0. </think> true"


def test_every_format_holds_every_example(tmp_path: Path):
    examples = many()
    exported = export(examples, tmp_path, validation=0.2)
    limrank = [
        row for split in ("train", "validation") for row in json.loads((tmp_path / f"limrank.{split}.json").read_text())
    ]
    trl = [json.loads(line) for split in ("train", "validation") for line in (tmp_path / f"trl.{split}.jsonl").open()]
    pairs = [
        json.loads(line) for split in ("train", "validation") for line in (tmp_path / f"pairs.{split}.jsonl").open()
    ]
    assert len(limrank) == len(trl) == len(pairs) == len(examples) == 120
    assert [row["instruction"] + row["output"] for row in limrank] == [row["prompt"] + row["completion"] for row in trl]
    assert {row.keys() == {"instruction", "input", "output"} for row in limrank} == {True}
    assert {row["example_id"] for row in pairs} == {example.example_id for example in examples}
    assert Counter(row["label"] for row in pairs) == {True: 40, False: 80}
    assert sum(counts["lists"]["all"] for counts in exported.counts.values()) == 40


def test_the_split_is_by_seed_and_about_as_large_as_asked(tmp_path: Path):
    examples = [pair(query, seed=query // 4) for query in range(800)]
    export(examples, tmp_path, formats=["pairs"], validation=0.2)
    seeds = {
        split: {json.loads(line)["seed_id"] for line in (tmp_path / f"pairs.{split}.jsonl").open()}
        for split in ("train", "validation")
    }
    assert not seeds["train"] & seeds["validation"] and len(seeds["train"] | seeds["validation"]) == 200
    # 200 seeds, a fifth: 40, give or take three standard deviations of 5.7.
    assert 23 <= len(seeds["validation"]) <= 57
    before = (tmp_path / "pairs.train.jsonl").read_bytes()
    export(examples[::-1], tmp_path, formats=["pairs"], validation=0.2)
    assert sorted(before.splitlines()) == sorted((tmp_path / "pairs.train.jsonl").read_bytes().splitlines())


def test_a_permutation_puts_the_better_first_and_equals_as_they_stand():
    examples = [
        pair(0, 0, label=False, grade=0.0),
        pair(0, 1, label=True, grade=1.0),
        pair(0, 2, label=False, grade=0.4),
        pair(0, 3, label=True, grade=0.6),
    ]
    made = permutation(examples)
    assert made
    order = [int(word[1:-1]) - 1 for word in made["permutation"].split(" > ")]
    assert sorted(order) == [0, 1, 2, 3]
    assert [made["grades"][place] for place in order] == [1.0, 0.6, 0.4, 0.0]
    assert permutation([pair(0, 0), pair(0, 1)]) is None


def test_lists_do_not_begin_with_the_relevant_one(tmp_path: Path):
    first = Counter(permutation(many()[3 * n : 3 * n + 3])["grades"][0] for n in range(40))
    # A third of 40, give or take three standard deviations of 3.
    assert 4 <= first[1.0] <= 23


def test_the_card_counts_by_kind_domain_difficulty_and_label(tmp_path: Path):
    exported = export(many(), tmp_path, validation=0.0, tokens=lambda text: len(text.split()))
    told = card(
        exported, name="mine", made={"synthesize queries": {"prompts": {"queries": "abc"}, "counts": {"asked": 7}}}
    )
    assert "| train | 120 | 40 | 40 | 40 |" in told and "| validation | 0 | 0 | 0 | 0 |" in told
    for line in ("| positive | 40 | 0 |", "| outdated | 80 | 0 |", "| relevant | 40 | 0 |", "| direct | 120 | 0 |"):
        assert line in told
    assert "| daily life | 120 | 0 |" in told
    for line in ("teacher: `t` (120 examples)", "prompt `queries`: sha256 abc", "asked: 7", "in tokens |"):
        assert line in told
    # "Because of 1 and 0.": five words, always.
    assert "| passage | 5 | 5 | 5 | 5 | 5 |" in told


def test_wrong_formats_shares_and_examples_are_refused(tmp_path: Path):
    with pytest.raises(Unknown, match="listwise"):
        export([], tmp_path, formats=["listwize"])
    with pytest.raises(LimrankError, match="validation=1"):
        export([], tmp_path, validation=1.0)
    with pytest.raises(LimrankError, match="q0/positive-0"):
        export([pair(0)._replace(label=None)], tmp_path)
    assert not list(tmp_path.iterdir())


def test_examples_survive_their_file(tmp_path: Path):
    examples = [pair(0), pair(1)._replace(label=None, grade=None, judgments=(), needs=("a", "b")), pair(2, label=False)]
    path = tmp_path / "examples.jsonl"
    path.write_bytes(b"".join(map(line_of, examples)))
    assert list(ExampleFile(path)) == examples
    path.write_bytes(line_of(Dropped(examples[0], "leak", "why")))
    assert list(dropped_in(path)) == [Dropped(examples[0], "leak", "why")]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"query_id": "q"}', "lacks example_id"),
        ('{"example_id": "a", "query_id": "q", "seed_id": "s", "seed": "x", "query": "y", "colour": 1}', "colour"),
        (
            '{"example_id": "a", "query_id": "q", "seed_id": "s", "seed": "x", "query": "y", "label": "yes"}',
            "label is 'yes'",
        ),
        (
            '{"example_id": "a", "query_id": "q", "seed_id": "s", "seed": "x", "query": "y", "judgments": [1]}',
            "judgments",
        ),
    ],
)
def test_a_line_that_is_no_example_is_named(line: str, why: str, tmp_path: Path):
    path = tmp_path / "examples.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(BadFile, match=f"examples.jsonl:1.*{why}"):
        list(ExampleFile(path))


def test_the_page_shows_the_lineage_and_escapes_what_models_wrote():
    evil = pair(0)._replace(passage="<script>alert(1)</script>", persona="A tiler & more", thought="Think.")
    gone = Dropped(pair(1), "leak", "chain decides early")
    told = page([evil, pair(2, label=False)], [("synthesize filter", gone)], title="<mine>", most=5)
    assert "<script>" not in told and "&lt;script&gt;alert(1)" in told and "&lt;mine&gt;" in told
    for text in (
        "A tiler &amp; more",
        "Think.",
        "I see 0.",
        "synthesize filter: leak",
        "chain decides early",
        "outdated",
    ):
        assert text in told


def test_the_page_shows_no_more_than_asked_and_counts_all():
    told = page(many(), title="t", most=5)
    assert told.count("<details>") == 10
    assert "5 of 40" in told and "5 of 80" in told
