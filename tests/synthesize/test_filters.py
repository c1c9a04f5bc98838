"""Every filter finds what was planted for it, and lets what is good pass."""

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

from limrank.errors import LimrankError, Unknown
from limrank.synthesize import Dropped, Example, Judgment
from limrank.synthesize.filters import Limits, filtered, guessed

spec = importlib.util.spec_from_file_location("scripted", Path(__file__).with_name("conftest.py"))
assert spec and spec.loader
scripted = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scripted)
sentences = scripted.sentences


def pair(number: int = 0, kind: str = "positive", *, label: bool | None = None, chain: str = "", **fields) -> Example:
    """A good example; fields say what is wrong with it."""
    label = kind == "positive" if label is None else label
    query_id = fields.pop("query_id", f"q{number}")
    key = f"{query_id}/{kind}/{number}"
    good = Example(
        key,
        query_id,
        "s0",
        "seed",
        f"My {sentences(f'query {query_id}', 15)} What can I do?",
        kind=kind,
        passage=sentences(f"passage {key}", 50),
        intended=label,
        judgments=(Judgment(chain or f"What is wanted is a remedy. {sentences(f'chain {key}', 40)}", label),),
        label=label,
    )
    return good._replace(**fields)


def alone(example: Example, **limits) -> str:
    """What single examples are dropped for: the reason and the detail, or nothing."""
    rules = ("malformed", "length", "leak", "refusal", "language")
    [outcome] = filtered([example], Limits(rules=rules, **limits))
    return f"{outcome.reason}: {outcome.detail}" if isinstance(outcome, Dropped) else ""


def test_a_good_example_passes_all_filters():
    examples = [pair(0), pair(0, "outdated")]
    assert list(filtered(examples, Limits())) == examples


@pytest.mark.parametrize(
    ("example", "found"),
    [
        (pair(passage=" "), "malformed: passage is empty"),
        (pair(query=""), "malformed: query is empty"),
        (pair()._replace(judgments=(Judgment("No. " * 30, False),)), "malformed: no chain leads to the label"),
        (pair(passage=sentences("a", 40) + " </think>"), "malformed: passage has '</think>'"),
        (pair(query="<|im_start|> what do I do with this valve?"), "malformed: query has '<|im_start|>'"),
        (pair(passage="```json " + sentences("a", 40)), "malformed: passage has '```'"),
        (pair(passage=sentences("a", 40) + ' {"passage": 1}'), "malformed: passage has '{\"passage\":'"),
        (pair(passage=sentences("a", 40) + " [insert name here]"), "malformed: passage has '[insert name here]'"),
        (pair(title="a \x07 bell"), "malformed: title has '\\x07'"),
        (pair(passage="The valve drips."), "length: passage has 3 words, not 20 to 600"),
        (pair(passage=sentences("long", 700)), "length: passage has"),
        (pair(query="valve drips"), "length: query has 2 words, not 5 to 250"),
        (pair(chain="It is good."), "length: chain has 3 words, not 20 to 1500"),
        (pair(chain="The answer is true. " + sentences("c", 60)), "leak: chain decides early: 'answer is true'"),
        (pair(chain="This passage is not relevant. " + sentences("c", 60)), "leak: chain decides early"),
        (pair(chain="Label: false. " + sentences("c", 60)), "leak: chain decides early"),
        (pair(chain=sentences("c", 60) + " This is a hard negative."), "leak: chain names what the passage is"),
        (pair(chain=sentences("c", 60) + " It was written to look relevant."), "leak: chain names what the passage is"),
        (pair(chain=sentences("c", 60) + " Typical of the wrong-aspect sort."), "leak: chain names what"),
        (pair(passage=sentences("p", 40) + " This passage says no more."), "leak: passage knows its task"),
        (pair(passage=sentences("p", 40) + " It answers the query."), "leak: passage knows its task"),
        (pair(passage="I’m sorry, but I can’t do that. " + sentences("p", 40)), "refusal: passage says \"i'm sor"),
        (pair(passage="Sure, here is one. " + sentences("p", 40)), "refusal: passage says 'sure, here'"),
        (pair(chain=sentences("c", 40) + " As an AI language model I have no view."), "refusal: chain says"),
        # It talks about the words with which it was asked again.
        (pair(chain="Your last answer could not be used. " + sentences("c", 40)), "refusal: chain says 'your last"),
        (pair(query="As an AI language model, what should I ask about a valve?"), "refusal: query says"),
        (
            pair(passage="Das Ventil ist alt und wird nicht mehr dicht, und der Griff ist mit der Zeit auf einer Seite "
                 "zu schwer für die Hand von einem Kind."),
            "language: passage seems to be de",
        ),
        (pair(query="Comment est-ce que je répare une valve dans le jardin avec des outils?"), "language: query seems"),
        (pair(passage="Клапан старый и больше не держит воду " * 5), "language: passage seems to be cyrillic"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found(example: Example, found: str):
    assert alone(example).startswith(found)


@pytest.mark.parametrize(
    "example",
    [
        # A verdict at the end is where it belongs.
        pair(chain=sentences("c", 60) + " So the answer is true."),
        # A query may begin like a refusal.
        pair(query="I cannot open my old valve, what can I do about it?"),
        # Corpora hold all sorts of remains; nobody wrote a mined passage for this.
        pair(kind="mined", label=False, passage="```python\nprint(1)\n``` This passage " + sentences("m", 40)),
        # Formulas and names are no language.
        pair(passage="E = mc2; " * 20),
        pair(query="Wie is Jan de Vries, the painter of the harbour, and what is he known for?"),
    ],
)
def test_what_only_looks_like_a_fault_passes(example: Example):
    assert alone(example) == ""


def test_limits_are_options():
    example = pair(passage="The valve drips.")
    assert alone(example, passage=(1, 10)) == ""
    early = pair(chain="The answer is true. " + sentences("c", 60))
    assert alone(early, early=0) == "" or "early" in alone(early, early=0)
    german = pair(passage="Das Ventil ist alt und wird nicht mehr dicht, und der Griff ist schwer. " * 3)
    assert alone(german, language="") == ""


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The valve is old and it does not hold water any more.", "en"),
        ("El grifo es viejo y no cierra del todo, pero para el jardín es muy útil.", "es"),
        ("Het ventiel is oud en kan niet meer op de leiding, maar dat is voor ons ook goed.", "nl"),
        ("バルブが古くて水が止まりません。", "chinese or japanese"),
        ("xyzzy 12 plugh", ""),
    ],
)
def test_languages_are_told_apart(text: str, language: str):
    assert guessed(text) == language


def near_copy(text: str) -> str:
    """Another number in one of about ten sentences."""
    words = text.split()
    return " ".join([*words[:5], "another", *words[6:]])


def test_near_duplicates_are_dropped_and_the_first_stays():
    long = {"passage": sentences("the same", 120)}
    examples = [
        pair(0, **long),
        pair(1),
        pair(2, passage=near_copy(long["passage"])),
        pair(3, passage=long["passage"].upper()),
        pair(4, query=pair(1).query),
    ]
    outcomes = list(filtered(examples, Limits(rules=("duplicate",))))
    dropped = {one.example.example_id: one.detail for one in outcomes if isinstance(one, Dropped)}
    assert dropped == {
        "q2/positive/2": "passage is like that of q0/positive/0",
        "q3/positive/3": "passage is like that of q0/positive/0",
        "q4/positive/4": "query is like that of q1",
    }


def test_passages_of_one_query_may_share_the_query():
    examples = [pair(0), pair(0, "outdated"), pair(0, "contradicts")]
    assert list(filtered(examples, Limits(rules=("duplicate",)))) == examples


def test_surplus_negatives_go_and_their_kinds_stay_many():
    kinds = ["outdated", "outdated", "outdated", "contradicts", "same-words"]
    examples = [pair(0, query_id="q"), *(pair(n, kind, query_id="q") for n, kind in enumerate(kinds, 1))]
    outcomes = list(filtered(examples, Limits(negatives=3, rules=("balance",))))
    kept = [one for one in outcomes if isinstance(one, Example)]
    # 1 positive, 3 negatives: one of each kind.
    assert Counter(one.kind for one in kept) == {"positive": 1, "outdated": 1, "contradicts": 1, "same-words": 1}
    assert [one.reason for one in outcomes if isinstance(one, Dropped)] == ["balance", "balance"]


def test_a_query_with_one_label_alone_goes():
    examples = [pair(0), pair(1, "outdated"), pair(2, query_id="q"), pair(3, "outdated", query_id="q")]
    outcomes = list(filtered(examples, Limits(rules=("balance",))))
    assert [isinstance(one, Example) for one in outcomes] == [False, False, True, True]
    assert list(filtered(examples, Limits(rules=("balance",), both=False))) == examples


def test_balance_is_of_what_the_other_filters_left():
    examples = [pair(0, query_id="q", passage="short"), pair(1, "outdated", query_id="q")]
    reasons = [one.reason for one in filtered(examples, Limits()) if isinstance(one, Dropped)]
    assert reasons == ["length", "balance"]


def test_nothing_is_lost_and_the_order_is_kept():
    examples = [pair(n // 3, ("positive", "outdated", "contradicts")[n % 3]) for n in range(30)]
    examples[7] = examples[7]._replace(passage="")
    outcomes = list(filtered(examples, Limits()))
    assert [(one.example if isinstance(one, Dropped) else one) for one in outcomes] == examples


def test_wrong_limits_and_unjudged_examples_are_refused():
    with pytest.raises(Unknown, match="duplicate"):
        Limits(rules=("duplicates",))
    with pytest.raises(LimrankError, match="passage=9,1"):
        Limits(passage=(9, 1))
    with pytest.raises(Unknown, match="language"):
        Limits(language="xx")
    with pytest.raises(LimrankError, match="has no label"):
        list(filtered([pair()._replace(label=None)], Limits()))
