"""Which examples are no good, rule by rule; each says what exactly is wrong.

A rule looks at one example. Near-duplicates and the balance of labels are seen over the whole stream: the first of two
that are alike stays, and the examples of a query follow one another. Knows nothing of benchmarks.
"""

from __future__ import annotations

import functools
import itertools
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources

from limrank.errors import LimrankError, Unknown
from limrank.synthesize._draw import shuffled
from limrank.synthesize._near import Near
from limrank.synthesize.examples import Dropped, Example, Outcome
from limrank.synthesize.judgment import chain_of

Rule = Callable[[Example, "Limits"], str]

TAGS = re.compile(r"</?think>|</?answer>|<\|\w*\|>|\[/?INST\]|<<<|>>>", re.IGNORECASE)
REMAINS = re.compile(r"```|\{\"\w+\":|\\n\\n|\[(?:insert|your|name)\b[^\]]*\]|\bTODO\b|lorem ipsum", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")
VERDICT = re.compile(
    r"\b(?:answer|label|verdict|judge?ment|decision|conclusion|output)\s*(?:is|will be|should be|must be|would be|[:=])"
    r"\s*[\"'*]*(?:true|false|(?:not |ir)?relevant)\b"
    r"|\b(?:the|this) passage is (?:clearly |therefore |thus |definitely |obviously )?(?:not |ir)?relevant\b"
    r"|\bso,? (?:it(?:'s| is) )?[\"'*]*(?:true|false)\b",
    re.IGNORECASE,
)
KINDS = re.compile(
    r"\bhard[- ]negatives?\b|\b(?:positive|negative) (?:passage|document)\b|\bdistractor\b"
    r"|\b(?:was|is|were) (?:written|made|designed|meant|intended|generated) (?:to be|as|to look|to seem)\b.{0,40}"
    r"\b(?:relevant|irrelevant|negative|positive|misleading)\b"
    r"|\b(?:wrong-aspect|same-words|other-condition|ignores-instruction)\b|\bground[- ]truth\b|\bintended label\b",
    re.IGNORECASE,
)
OF_TASK = re.compile(
    r"\bthe (?:search )?(?:query|searcher)(?:'s)? (?:asks|asked|is asking|wants|needs|itself)\b"
    r"|\b(?:answers?|addresses) the query\b|\b(?:relevant|irrelevant) to the query\b|\bthis passage\b"
    r"|\bhard[- ]negatives?\b|\b(?:wrong-aspect|same-words|other-condition|ignores-instruction)\b",
    re.IGNORECASE,
)
SCRIPTS = re.compile(
    r"(?P<cyrillic>[\u0400-\u04ff])|(?P<greek>[\u0370-\u03ff])|(?P<hebrew>[\u0590-\u05ff])|(?P<arabic>[\u0600-\u06ff])"
    r"|(?P<devanagari>[\u0900-\u097f])|(?P<thai>[\u0e00-\u0e7f])|(?P<hangul>[\uac00-\ud7af])"
    r"|(?P<chinese_or_japanese>[\u3040-\u30ff\u4e00-\u9fff])"
)
WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Limits:
    """Where the rules draw the line; lengths are in words, (fewest, most).

    Attributes:
        query: Of the query.
        passage: Of the passage.
        chain: Of the judge's chain.
        early: A verdict in this first share of a chain is early.
        duplicate: Similarity (Jaccard, of three words in a row) from which two texts are one.
        language: That of all texts, as in languages.toml; empty for any.
        negatives: At most so many for each positive of a query.
        both: Drop queries that have only one of the labels.
        seed: Which surplus negatives go.
        rules: Those that are applied, of RULES and STREAMS.
    """

    query: tuple[int, int] = (5, 250)
    passage: tuple[int, int] = (20, 600)
    chain: tuple[int, int] = (20, 1500)
    early: float = 0.3
    duplicate: float = 0.8
    language: str = "en"
    negatives: int = 4
    both: bool = True
    seed: int = 0
    rules: tuple[str, ...] = field(default_factory=lambda: (*RULES, *STREAMS))

    def __post_init__(self) -> None:
        for rule in self.rules:
            if rule not in RULES and rule not in STREAMS:
                raise Unknown.among("filter", rule, (*RULES, *STREAMS))
        for name, (fewest, most) in (("query", self.query), ("passage", self.passage), ("chain", self.chain)):
            if not 0 <= fewest <= most:
                raise LimrankError(f"{name}={fewest},{most}: expected the fewest words, then the most")
        if not (0 <= self.early <= 1 and 0 < self.duplicate <= 1) or self.negatives < 1:
            raise LimrankError(
                f"early={self.early}, duplicate={self.duplicate}, negatives={self.negatives}: expected shares from 0 "
                "to 1, and at least 1 negative"
            )
        if self.language and self.language not in _languages():
            raise Unknown.among("language", self.language, _languages())


def filtered(examples: Iterable[Outcome], limits: Limits) -> Iterator[Outcome]:
    """Every judged example, or a dropped one with the rule as reason, in their order; what was dropped before stays so.

    Raises:
        LimrankError: An example has no label, which `reason` gives.
    """
    single = [(name, RULES[name]) for name in limits.rules if name in RULES]
    stream: Iterable[Outcome] = (_checked(example, single, limits) for example in examples)
    for name in STREAMS:
        if name in limits.rules:
            stream = STREAMS[name](stream, limits)
    yield from stream


def malformed(example: Example, limits: Limits) -> str:
    """Something is empty, or holds tags, remains of the answer's form, placeholders or control characters."""
    texts = {"query": example.query, "passage": example.passage, "chain": chain_of(example)}
    for name, text in texts.items():
        if not text.strip():
            return f"{name} is empty" if name != "chain" else "no chain leads to the label"
    for name, text in (*texts.items(), ("title", example.title), ("instruction", example.instruction)):
        for pattern in (TAGS, CONTROL) if name == "chain" or example.kind == "mined" else (TAGS, CONTROL, REMAINS):
            if match := pattern.search(text):
                return f"{name} has {match[0]!r}"
    return ""


def length(example: Example, limits: Limits) -> str:
    """The query, the passage or the chain is too short or too long."""
    texts = {"query": example.query, "passage": example.passage, "chain": chain_of(example)}
    for name, text in texts.items():
        fewest, most = getattr(limits, name)
        if not fewest <= (words := len(text.split())) <= most:
            return f"{name} has {words} words, not {fewest} to {most}"
    return ""


def leak(example: Example, limits: Limits) -> str:
    """The chain decides before it has looked, or knows how the passage came about; or the passage knows of its task."""
    chain = chain_of(example)
    if match := KINDS.search(chain):
        return f"chain names what the passage is: {match[0]!r}"
    words = chain.split()
    beginning = " ".join(words[: max(int(len(words) * limits.early), 1)])
    if match := VERDICT.search(beginning):
        return f"chain decides early: {match[0]!r}"
    if example.kind != "mined" and (match := OF_TASK.search(f"{example.title}\n{example.passage}")):
        return f"passage knows its task: {match[0]!r}"
    return ""


def refusal(example: Example, limits: Limits) -> str:
    """A model refused, or talks to whoever asked it."""
    anywhere, beginning = _refusals()
    texts = {"query": example.query, "passage": example.passage, "chain": chain_of(example)}
    for name, text in texts.items():
        if name == "passage" and example.kind == "mined":
            continue
        plain = text.lower().replace("’", "'").lstrip(" \"'*#\n")
        found = next((phrase for phrase in anywhere if phrase in plain), "")
        if not found and name != "query":
            # "I cannot open my bottle" is how a query may begin.
            found = next((phrase for phrase in beginning if plain.startswith(phrase)), "")
        if found:
            return f"{name} says {found!r}"
    return ""


def language(example: Example, limits: Limits) -> str:
    """A text is in another language."""
    if not limits.language:
        return ""
    for name, text in (("query", example.query), ("passage", example.passage), ("chain", chain_of(example))):
        if (guess := guessed(text)) not in ("", limits.language):
            return f"{name} seems to be {guess}"
    return ""


def guessed(text: str) -> str:
    """The language of a text, or its script where that says enough; empty where neither is clear.

    A guess from frequent words: clear is what has at least three of them, half as many again as the second best.
    """
    if not text.isascii():
        scripts = Counter(match.lastgroup or "" for match in SCRIPTS.finditer(text))
        if scripts and scripts.most_common(1)[0][1] > 0.3 * sum(map(str.isalpha, text)):
            return scripts.most_common(1)[0][0].replace("_", " ")
    words = Counter(WORD.findall(text.lower()))
    scores = sorted(((sum(words[word] for word in known), code) for code, known in _languages().items()), reverse=True)
    (best, code), (second, _) = scores[:2]
    return code if best >= 3 and best >= 1.5 * second else ""


def _near_duplicates(stream: Iterable[Outcome], limits: Limits) -> Iterator[Outcome]:
    """Passages like an earlier one, and queries like that of another query, with all their examples."""
    seen_queries, seen_passages = Near(limits.duplicate), Near(limits.duplicate)
    of_query: dict[str, str] = {}
    for outcome in stream:
        if isinstance(outcome, Dropped):
            yield outcome
            continue
        if outcome.query_id not in of_query:
            of_query[outcome.query_id] = seen_queries.first_or_add(outcome.query_id, outcome.query)
        if same := of_query[outcome.query_id]:
            yield Dropped(outcome, "duplicate", f"query is like that of {same}")
        elif outcome.kind != "mined" and (same := seen_passages.first_or_add(outcome.example_id, outcome.passage)):
            yield Dropped(outcome, "duplicate", f"passage is like that of {same}")
        else:
            yield outcome


def _balanced(stream: Iterable[Outcome], limits: Limits) -> Iterator[Outcome]:
    """Surplus negatives of a query, those of kinds that it has several of first; and queries with one label alone."""
    for _, group in itertools.groupby(stream, key=_query_of):
        outcomes = list(group)
        examples = [outcome for outcome in outcomes if isinstance(outcome, Example)]
        positives = [example for example in examples if example.label]
        negatives = [example for example in examples if not example.label]
        lacking = "relevant" if not positives else "irrelevant"
        surplus = _surplus(negatives, limits.negatives * len(positives), limits.seed) if positives else set()
        for outcome in outcomes:
            if isinstance(outcome, Dropped):
                yield outcome
            elif limits.both and not (positives and negatives):
                yield Dropped(outcome, "balance", f"its query has no {lacking} passage left")
            elif outcome.example_id in surplus:
                yield Dropped(outcome, "balance", f"more than {limits.negatives} negatives for each positive")
            else:
                yield outcome


def _surplus(negatives: list[Example], most: int, seed: int) -> set[str]:
    """The ids of all but `most`, so that the kinds that stay are as many as can be."""
    turns: dict[str, int] = {}
    ranked = []
    for example in shuffled(negatives, seed=f"{seed} {negatives[0].query_id}" if negatives else ""):
        turns[example.kind] = turns.get(example.kind, 0) + 1
        ranked.append((turns[example.kind], example.example_id))
    ranked.sort(key=lambda pair: pair[0])
    return {example_id for _, example_id in ranked[most:]}


def _checked(example: Outcome, rules: list[tuple[str, Rule]], limits: Limits) -> Outcome:
    if isinstance(example, Dropped):
        return example
    if example.label is None:
        raise LimrankError(f"example {example.example_id!r} has no label; give it one with: limrank synthesize reason")
    for name, rule in rules:
        if detail := rule(example, limits):
            return Dropped(example, name, detail)
    return example


def _query_of(outcome: Outcome) -> str:
    return (outcome.example if isinstance(outcome, Dropped) else outcome).query_id


@functools.cache
def _refusals() -> tuple[list[str], list[str]]:
    record = tomllib.loads(resources.files("limrank.synthesize").joinpath("refusals.toml").read_text(encoding="utf-8"))
    return record["anywhere"], record["beginning"]


@functools.cache
def _languages() -> dict[str, frozenset[str]]:
    text = resources.files("limrank.synthesize").joinpath("languages.toml").read_text(encoding="utf-8")
    return {code: frozenset(words) for code, words in tomllib.loads(text).items()}


RULES: Mapping[str, Rule] = {
    "malformed": malformed,
    "length": length,
    "leak": leak,
    "refusal": refusal,
    "language": language,
}
STREAMS: Mapping[str, Callable[[Iterable[Outcome], Limits], Iterator[Outcome]]] = {
    "duplicate": _near_duplicates,
    "balance": _balanced,
}
