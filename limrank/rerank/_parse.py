"""How documents are called in a prompt, and the one reader of what a model says about their order.

An answer is `strict` (exactly the form that was asked for), `repaired` (an order that can be told beyond doubt, in
another form or with gaps), or `malformed`. The reader looks for the shape of a ranking, never for digits: what stands
in a thought, in an error message or in a sentence ranks nothing. Knows nothing of models, queries or requests.

What a repaired answer may be:

* the whole answer is a list: `[2] > [1]` with other brackets, separators, decoration or spelling, numbered lines, JSON;
* or one line of it ends in a chain of square brackets, `The ranking is: [2] > [1] > [3].`, and no other line does; what
  leads up to it must not turn it round (`worst`, `least`, `not`).

An object of JSON is a ranking where it says so: its only key is `ranking`, `order`, `answer` or the like.

Documents that are not named follow in the order in which they were shown, a second naming of a document counts for
nothing, names that nobody has are passed over. An answer is malformed if it names fewer than half of the documents,
because it leaves out more than it says; if it counts from 0, because then every name means another document; and if it
holds two different rankings.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from limrank.prompt import Prompt

Kind: TypeAlias = Literal["strict", "repaired", "malformed"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LABEL = re.compile(r"\[(\d+|[A-Z])\]")

NAME = r"(?:\d{1,6}|[A-Za-z])"
BRACKETED = rf"\[\s?{NAME}\s?\]"
CHAIN = re.compile(rf"{BRACKETED}(?:\s?[>=]\s?{BRACKETED})+")
# What may follow a ranking at the end of a line, and a ranking cut off in the middle of a name.
TAIL = re.compile(r"[\s.!;,]*(?:>\s?)?(?:\[\s?\d*\s?)?")

WORD = re.compile(r"\b(?:passage|document|doc|identifier|id|text|candidate|rank)s?\b[\s#:]*(?=\W*\d|\W*[A-Z]\b)", re.I)
DECORATION = re.compile(r"[*`_\\#\"']|^\s*[-•‣–]\s+", re.M)
ITEM = re.compile(rf"(\d+)\s?[.):]\s?({BRACKETED})\s?[.,;]?")
# Words before a ranking that say that it is none, or that it is the other way round.
AGAINST = re.compile(
    r"\b(?:not|never|cannot|(?:is|was|are|do|does|did|would|could|should|ca|wo)n['’]?t|worst|least|lowest|ascending"
    r"|increasing|reversed?|wrong|incorrect)\b",
    re.I,
)
KEY = re.compile(r"(?:final[_ ]?)?(?:(?:re)?rank(?:ed|ing|ings)?|order(?:ed|ing)?|permutation|answer|result)", re.I)
# `<` would be the reverse of what was asked for, and `:` or `|` nobody's order.
SEPARATOR = r"\s?(?:->|=>|[>,;=≻→])?\s?"
BRACKETS = str.maketrans("(){}【】", "[][][]")
CONTROL = re.compile(r"<\|[^|<>]*\|>|</?s>|<(?:end|start)_of_turn>")


class Permutation(NamedTuple):
    """What an answer says.

    Attributes:
        kind: How well it says it.
        places: All places of the prompt, counted from 0, best document first; empty where the answer is malformed.
        why: Why it is malformed; else empty.
    """

    kind: Kind
    places: tuple[int, ...] = ()
    why: str = ""


def labels(prompt: Prompt, count: int) -> tuple[str, ...]:
    """What the documents are called in the prompt, in its order: `A`, `B`, ... or `1`, `2`, ...

    Raises:
        IndexError: There are more documents than letters.
    """
    if "letter" in prompt.placeholders:
        return tuple(LETTERS[i] for i in range(count))
    return tuple(str(i + 1) for i in range(count))


def without_labels(text: str) -> str:
    """The text with `[3]` and `[C]` written as `(3)` and `(C)`, so that no passage or query can be read as a label.

    Source: RankLLM, whose models were trained on such texts (castorini/rank_llm, `_replace_number`).
    """
    return LABEL.sub(r"(\1)", text)


def permutation(text: str, names: Sequence[str], *, whole: bool = True, close: str = "</think>") -> Permutation:
    """The order that an answer gives.

    Args:
        text: The answer; what a model thought before it counts for nothing.
        names: What the documents are called, in the order of the prompt; all numbers or all letters.
        whole: False where the answer was cut off; then it has to be a list up to there, and a last number without its
            bracket does not count, as it may lack digits.
        close: The tag that ends a thought.
    """
    said, why = _said(text, close)
    if why:
        return Permutation("malformed", (), why)
    if len(said) == 1 and (exact := _exact(said[0], names)) is not None:
        return Permutation("strict", exact)
    found = [_completed(reading, names) for answer in said for reading in _readings(answer, whole=whole)]
    usable = {result.places for result in found if result.places}
    if len(usable) == 1:
        return Permutation("repaired", usable.pop())
    if usable:
        return Permutation("malformed", (), f"{len(usable)} different rankings in the answer")
    return found[-1] if found else Permutation("malformed", (), "no ranking in the answer")


def _said(text: str, close: str) -> tuple[list[str], str]:
    """What follows the thought: the insides of answer tags, or all of it; and why there is nothing."""
    _, closed, said = text.rpartition(close)
    if close.replace("/", "", 1) in said and not said.rstrip().endswith("</answer>"):
        return [], "the thought did not end"
    answers = [piece.partition("</answer>")[0].strip() for piece in said.split("<answer>")]
    answers = answers[1:] or answers
    if any(answers):
        return answers, ""
    return [], "nothing follows the thought" if closed else "the answer is empty"


def _exact(said: str, names: Sequence[str]) -> tuple[int, ...] | None:
    if not re.fullmatch(r"\[\w+\](?: > \[\w+\])*", said, re.ASCII):
        return None
    order = said[1:-1].split("] > [")
    return tuple(names.index(name) for name in order) if sorted(order) == sorted(names) else None


def _readings(said: str, *, whole: bool) -> Iterator[list[str]]:
    """Every ranking that is in the answer: the answer as a whole, or else its lines that end in a chain."""
    plain = _unfenced(unicodedata.normalize("NFKC", html.unescape(CONTROL.sub(" ", said))))
    if (value := _json(plain)) is not None:
        if ids := _names(value):
            yield ids
        return
    plain = WORD.sub("", DECORATION.sub("", plain))
    plain = re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", plain)).strip()
    if (names := _listed(plain) or _numbered(plain) or _bare(plain, whole=whole)) is not None:
        yield names
        return
    # A chain may be broken into lines at its separators.
    before = ""
    for line in re.sub(r"\s?>\s?", " > ", plain).splitlines() if whole else ():
        above, before = before, line
        chains = list(CHAIN.finditer(line))
        if len(chains) == 1 and TAIL.fullmatch(line[chains[0].end() :]):
            lead = line[: chains[0].start()]
            leads = lead if lead.strip() or not above.endswith(":") else above
            if not re.search(rf"{BRACKETED}|[<>]\s*$", lead) and not AGAINST.search(leads):
                yield re.findall(NAME, chains[0].group())


def _unfenced(text: str) -> str:
    """The inside of a code block, if the answer is one."""
    match = re.fullmatch(r"\s*```\w*\n(.*?)\n?```\s*", text, re.DOTALL)
    return match[1] if match else text


def _json(text: str) -> dict[str, Any] | list[Any] | None:
    """An object of JSON, or a list of several things."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) or (isinstance(value, list) and len(value) > 1) else None


def _names(value: dict[str, Any] | list[Any]) -> list[str]:
    """The names of a list, or of the list under the only key of an object, if that key means an order."""
    if isinstance(value, dict):
        [[key, value]] = value.items() if len(value) == 1 else [("", [])]
        if not KEY.fullmatch(key) or not isinstance(value, list):
            return []
    names = [re.fullmatch(rf"\[?({NAME})\]?", str(item)) for item in value]
    return [name[1] for name in names if name] if all(names) else []


def _listed(text: str) -> list[str] | None:
    """The names of a text that is nothing but names in brackets of one kind and what separates them."""
    if "[" not in text:
        text = text.translate(BRACKETS)
    text = re.sub(r"\]\s?\]", "]", re.sub(r"\[\s?\[", "[", text))
    match = re.match(rf"{BRACKETED}(?:{SEPARATOR}{BRACKETED})*", text)
    if not match or not TAIL.fullmatch(text[match.end() :]):
        return None
    names = re.findall(NAME, match.group())
    # `[1] [3] [2] [1]` may be ranks and names in turn; only a chain may repeat itself.
    return names if ">" in match.group() or len(set(names)) == len(names) else None


def _numbered(text: str) -> list[str] | None:
    """The names of lines `1. [4]`, whose numbers run from 1; around them may be lines without any name."""
    items: list[tuple[int, str]] = []
    for line in text.splitlines():
        if match := ITEM.fullmatch(line):
            items.append((int(match[1]), match[2]))
        elif re.search(r"\d|\[", line) or (not items and AGAINST.search(line)):
            return None
    if len(items) < 2 or [number for number, _ in items] != list(range(1, len(items) + 1)):
        return None
    return [re.findall(NAME, name)[0] for _, name in items]


def _bare(text: str, *, whole: bool) -> list[str] | None:
    """The names of `3 > 1 > 2`, or of `3, 1, 2`, which has to be without gaps to be told from other numbers."""
    text = text.rstrip(".!;,> \n")
    names = re.findall(NAME, text)
    if re.fullmatch(rf"{NAME}(?:\s?[>=≻]\s?{NAME})+", text):
        return names if whole else names[:-1]
    if whole and re.fullmatch(rf"{NAME}(?:\s?[,;\s]\s?{NAME})+", text):
        without_gaps = ({str(i + 1) for i in range(len(names))}, set(LETTERS[: len(names)]))
        return names if set(names) in without_gaps else None
    return None


def _completed(said: Sequence[str], names: Sequence[str]) -> Permutation:
    """All places: those named, each once, then the others; malformed where too few are named."""
    known = {name.lower(): place for place, name in enumerate(names)}
    spelt = [str(int(name)) if name.isdecimal() else name.lower() for name in said]
    if "0" in spelt and names[-1].lower() not in spelt:
        return Permutation("malformed", (), "the answer counts from 0")
    named = list(dict.fromkeys(known[name] for name in spelt if name in known))
    if 2 * len(named) < len(names):
        return Permutation("malformed", (), f"the answer names {len(named)} of {len(names)} documents")
    rest = [place for place in range(len(names)) if place not in named]
    return Permutation("repaired", (*named, *rest))
