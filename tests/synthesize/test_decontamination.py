"""Copies and near copies of a benchmark's texts are found, wherever they hide; nothing else is."""

import importlib.util
import json
from pathlib import Path

import pytest

from limrank.errors import LimrankError
from limrank.records import Document, Query
from limrank.synthesize import Dropped, Example
from limrank.synthesize.decontamination import Overlap, Text, decontaminated, find, texts_of

spec = importlib.util.spec_from_file_location("scripted", Path(__file__).with_name("conftest.py"))
assert spec and spec.loader
scripted = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scripted)
sentences = scripted.sentences

BRIGHT = Path(__file__).parents[2].parent / "shared" / "data" / "bright"
LONG = (
    "Why does the moss on my shaded roof turn brown in May although it rains, and should I scrape it off or leave it?"
)
SHORT = "how do bees find their way home"
MIDDLE = "how do honey bees find their way home in fog"


def example(number: int, *, query: str = "", passage: str = "") -> Example:
    text = query or f"My {sentences(f'query {number}', 20)}"
    return Example(
        f"q{number}/p", f"q{number}", "s", "seed", text, passage=passage or sentences(f"passage {number}", 80)
    )


def found(examples: list[Example], texts: list[Text], overlap: Overlap | None = None) -> dict[str, str]:
    outcomes = list(decontaminated(examples, find(examples, texts, overlap)))
    assert [(one.example if isinstance(one, Dropped) else one) for one in outcomes] == examples
    return {one.example.query_id: one.detail for one in outcomes if isinstance(one, Dropped)}


def test_a_copy_is_found_in_a_query_and_in_a_passage_whatever_its_case():
    inside = f"{sentences('before', 30)} {LONG.upper()} {sentences('after', 30)}"
    hits = found([example(0), example(1, query=LONG), example(2, passage=inside)], [Text("b query 7", LONG, True)])
    assert hits.keys() == {"q1", "q2"}
    assert hits["q1"].startswith("query: ") and "b query 7" in hits["q1"]
    assert hits["q2"].startswith("passage: 22 of 22 runs of three words with b query 7: 'Why does the moss")


def exchanged(text: str, *places: int) -> str:
    return " ".join("xxx" if place in places else word for place, word in enumerate(text.split()))


def test_a_near_copy_without_thirteen_words_in_a_row_is_found_in_a_query_and_in_a_passage():
    # 24 words and 22 runs of three; two exchanged words leave 16 of them: 73 %, and 67 % are needed.
    near = exchanged(LONG, 7, 15)
    inside = f"{sentences('before', 60)} {near} {sentences('after', 60)}"
    assert len(LONG.split()) == 24
    hits = found([example(0, query=near), example(1, passage=inside)], [Text("b query 7", LONG, True)])
    assert hits["q0"].startswith("query: 16 of 22 runs of three words with b query 7: 'Why does the moss")
    assert hits["q1"].startswith("passage: 16 of 22 runs of three words with b query 7")
    # A third one leaves 13: 59 %.
    assert found([example(0, query=exchanged(LONG, 3, 8, 15))], [Text("b query 7", LONG, True)]) == {}
    assert found([example(0, query=near)], [Text("b query 7", LONG, True)], Overlap(similarity=2)) == {}


def test_a_near_copy_of_a_document_is_found_by_similarity():
    # 16 of the 22 + 6 runs that either has: 0.57.
    hits = found([example(0, passage=exchanged(LONG, 7, 15))], [Text("b document 7", LONG, False)])
    assert hits == {"q0": "passage: similarity with b document 7: 0.57"}
    # 13 of 22 + 9: 0.42.
    assert found([example(0, passage=exchanged(LONG, 3, 8, 15))], [Text("b document 7", LONG, False)]) == {}


def test_a_phrase_that_many_share_is_found_in_all_of_them():
    document = sentences("document", 60)
    examples = [
        example(n, passage=f"{sentences(str(n), 40)} {document} {sentences(f'more {n}', 40)}") for n in range(9)
    ]
    assert len(found(examples, [Text("b document 1", document, False)] * 3)) == 9


def test_part_of_a_document_is_found():
    document = sentences("document", 400)
    part = " ".join(document.split()[200:240])
    assert found([example(0, passage=f"As is known: {part}")], [Text("b document 1", document, False)]).keys() == {"q0"}
    twelve = " ".join(document.split()[200:212])
    assert found([example(0, passage=f"As is known: {twelve}")], [Text("b document 1", document, False)]) == {}


def test_a_short_query_counts_inside_a_text_from_eight_words_and_below_as_the_whole_query():
    texts = [Text("b query 1", SHORT, True), Text("b query 2", MIDDLE, True)]
    hits = found(
        [
            example(0, query=f"{SHORT.capitalize()}?"),
            example(1, query=f"Tell me, {SHORT} when it is dark and cold outside?"),
            example(2, query=f"Tell me, {MIDDLE} when it is dark and cold?"),
        ],
        texts,
    )
    assert hits.keys() == {"q0", "q2"}
    # A document that is as short is not looked for.
    assert found([example(0, query=f"{SHORT}?")], [Text("b document", SHORT, False)], Overlap(similarity=2)) == {}


def test_runs_do_not_reach_from_one_text_into_the_next():
    words = LONG.split()
    halves = [example(0, query=" ".join(words[:12]) + "."), example(1, query=" ".join(words[12:]))]
    texts = [Text("b query", LONG, True)]
    assert found(halves, texts, Overlap(similarity=2)) == {}


def test_a_query_goes_with_all_its_passages():
    first, second = example(0, query=LONG), example(0, query=LONG, passage=sentences("other", 50))
    outcomes = list(decontaminated([first, second], find([first, second], [Text("b query", LONG, True)])))
    assert all(isinstance(one, Dropped) for one in outcomes)


def test_queries_and_documents_of_a_dataset_are_looked_at():
    class Small:
        name, revision = "small", "1"

        def queries(self):
            return iter([Query("1", LONG)])

        def documents(self):
            return iter([Document("d", "text", "title")])

    texts = list(texts_of(Small()))
    assert texts == [Text("small query 1", LONG, True), Text("small document d", "title text", False)]
    assert list(texts_of(Small(), documents=False)) == texts[:1]


def test_nothing_to_look_for_and_nothing_to_look_in():
    assert find([], [Text("b", LONG, True)]) == {}
    assert found([example(0)], []) == {}
    with pytest.raises(LimrankError, match="run=3"):
        Overlap(run=3)


@pytest.mark.skipif(not BRIGHT.is_dir(), reason="needs shared/data/bright")
def test_planted_bright_queries_are_found_and_nothing_else():
    queries = [json.loads(line) for path in sorted(BRIGHT.glob("*/queries.jsonl")) for line in path.open()]
    texts = [Text(f"bright query {record.get('_id', record.get('id'))}", record["text"], True) for record in queries]
    copies = {200 + n: texts[n * 37].text for n in range(10)}
    near = {n: exchanged(texts[n].text, *range(19, 9999, 20)) for n in range(300, 310)}
    examples = [example(n, query={**copies, **near}.get(n, "")) for n in range(1000)]
    assert found(examples, texts).keys() == {f"q{n}" for n in (*copies, *near)}
