"""Measures by name, in the spelling of trec_eval, ir_measures or ranx.

What is measured is decided here, once: each measure is exactly one of trec_eval's, under one display name. Nothing is
offered that trec_eval does not define. Knows nothing of runs, judgments or how values are computed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

from limrank.errors import LimrankError, Unknown

Depth: TypeAlias = Literal["never", "optional", "always"]


class Family(NamedTuple):
    """A measure without its depth and relevance level.

    Attributes:
        about: What it says, for a list of measures.
        depth: Whether a depth (the 10 of nDCG@10) belongs to it.
        trec_eval: trec_eval's name without a depth; empty where there is none.
        trec_eval_at: trec_eval's name with a depth, less the depth; empty where it is derived from the one without.
        ranx: ranx's name; empty where ranx has no such measure, or another one under the name.
        spellings: All accepted names, in lower case.
        graded: Uses the grades themselves, so that a relevance level has no meaning.
    """

    about: str
    depth: Depth
    trec_eval: str
    trec_eval_at: str
    ranx: str
    spellings: tuple[str, ...]
    graded: bool = False


# fmt: off
FAMILIES = {
    "nDCG": Family("gain discounted by log2 of the rank, over that of the best order",
                   "optional", "ndcg", "ndcg_cut", "ndcg", ("ndcg", "ndcg_cut"), graded=True),
    "MAP": Family("mean of the precisions at every relevant document",
                  "optional", "map", "map_cut", "map", ("map", "map_cut", "ap")),
    "MRR": Family("1 / rank of the first relevant document",
                  "optional", "recip_rank", "", "mrr", ("mrr", "rr", "recip_rank")),
    "R": Family("share of the relevant documents that is found",
                "always", "", "recall", "recall", ("r", "recall")),
    "P": Family("share of the ranks that is relevant",
                "always", "", "P", "precision", ("p", "precision")),
    "Success": Family("1 where any relevant document is found",
                      "always", "", "success", "hit_rate", ("success", "hit_rate")),
    "Rprec": Family("precision at the number of relevant documents",
                    "never", "Rprec", "", "r-precision", ("rprec", "r-precision", "r_precision")),
    "Bpref": Family("relevant documents before judged non-relevant ones",
                    "never", "bpref", "", "", ("bpref",)),
    "SetR": Family("recall of the whole ranking",
                   "never", "set_recall", "", "recall", ("setr", "set_recall")),
    "SetP": Family("precision of the whole ranking",
                   "never", "set_P", "", "precision", ("setp", "set_p")),
    "SetF": Family("harmonic mean of SetP and SetR",
                   "never", "set_F", "", "f1", ("setf", "set_f")),
    "SetAP": Family("SetP times SetR",
                    "never", "set_map", "", "", ("setap", "set_map")),
}
# fmt: on
SPELLINGS = {spelling: family for family, row in FAMILIES.items() for spelling in row.spellings}
# Names that users of the three packages may type and that trec_eval has no equal of.
ELSEWHERE = frozenset(
    ("f1", "hits", "dcg", "dcg_burges", "ndcg_burges", "rbp", "err", "alpha_ndcg", "judged", "compat", "accuracy")
)
# trec_eval keeps depths as C ints.
DEEPEST = 2**31 - 1
DEFAULT = ("nDCG@10", "MAP", "MRR", "R@100")

# Name; ir_measures' arguments; depth behind @ (ir_measures, ranx), . or _ (trec_eval); ranx's relevance level.
NAME = re.compile(
    r"(?P<stem>[a-z](?:[a-z_-]*[a-z])?)(?:\((?P<arguments>[^)]*)\))?(?:[@._](?P<depth>\d+))?(?:-l(?P<level>\d+))?"
)


class Measure(NamedTuple):
    """One measure: family, depth (0: the whole ranking) and the lowest grade that counts as relevant."""

    family: str
    depth: int = 0
    level: int = 1

    def __str__(self) -> str:
        """The display name, as `nDCG@10` or `MAP(rel=2)@100`."""
        level = f"(rel={self.level})" if self.level != 1 else ""
        return self.family + level + (f"@{self.depth}" if self.depth else "")

    @property
    def trec_eval(self) -> str:
        """What trec_eval calls it; MRR@k is `recip_rank`, to be cut by whoever computes it."""
        family = FAMILIES[self.family]
        return f"{family.trec_eval_at}_{self.depth}" if self.depth and family.trec_eval_at else family.trec_eval

    @property
    def ranx(self) -> str:
        """What ranx calls it; empty where ranx has no equal."""
        name = FAMILIES[self.family].ranx
        if not name:
            return ""
        return name + (f"@{self.depth}" if self.depth else "") + (f"-l{self.level}" if self.level != 1 else "")


def parse(name: str) -> Measure:
    """The measure that a name of trec_eval, ir_measures or ranx means; upper and lower case are the same.

    `ndcg_cut_10`, `ndcg_cut.10`, `nDCG@10` and `ndcg@10` are one; so are `map_cut_100`, `AP@100` and `map@100`, or
    `AP(rel=2)` and `map-l2`.

    Raises:
        Unknown: No such measure, or one that trec_eval does not define.
        LimrankError: A depth is missing or not possible, or an argument is not `rel=N`.
    """
    lowered = name.strip().lower()
    match = NAME.fullmatch(lowered)
    stem = match["stem"] if match else lowered
    if re.split(r"[@.(]|-l\d", lowered)[0] in ELSEWHERE:
        raise Unknown(
            f"measure {name!r} is not supported: limrank computes what trec_eval defines; "
            f"known: {', '.join(map(example, FAMILIES))}"
        )
    if not match or stem not in SPELLINGS:
        near = difflib.get_close_matches(stem, SPELLINGS, n=3, cutoff=0.5)
        suggestions = dict.fromkeys(example(SPELLINGS[spelling]) for spelling in near)
        if near:
            raise Unknown(f"unknown measure {name!r}; did you mean {' or '.join(suggestions)}?")
        raise Unknown(f"unknown measure {name!r}; known: {', '.join(map(example, FAMILIES))}")
    family = SPELLINGS[stem]
    measure = Measure(family, _depth(name, family, match["depth"]), _level(name, match["arguments"], match["level"]))
    if measure.level != 1 and FAMILIES[family].graded:
        raise LimrankError(f"measure {name!r}: {family} uses the grades themselves; leave the relevance level out")
    return measure


def parse_all(names: Iterable[str] | str) -> tuple[Measure, ...]:
    """The measures in the order given, each once, whatever it was called; `DEFAULT` where no name is given."""
    return tuple(dict.fromkeys(map(parse, [names] if isinstance(names, str) else names))) or parse_all(DEFAULT)


def describe() -> dict[str, str]:
    """Every family by an example of its display name, with its other spellings."""
    return {example(name): f"{family.about} ({', '.join(family.spellings)})" for name, family in FAMILIES.items()}


def example(family: str) -> str:
    """A measure of the family, with a depth where one is needed or usual."""
    return f"{family}@10" if FAMILIES[family].depth == "always" or family == "nDCG" else family


def _depth(name: str, family: str, text: str | None) -> int:
    wanted = FAMILIES[family].depth
    if text is None:
        if wanted == "always":
            whole = f", or Set{family} for the whole ranking" if f"Set{family}" in FAMILIES else ""
            raise LimrankError(f"measure {name!r} needs a depth, as in {family}@10{whole}")
        return 0
    if wanted == "never":
        raise LimrankError(f"measure {name!r}: {family} takes no depth")
    if not 1 <= int(text) <= DEEPEST:
        raise LimrankError(f"measure {name!r}: the depth has to be from 1 to {DEEPEST}")
    return int(text)


def _level(name: str, arguments: str | None, suffix: str | None) -> int:
    if arguments is None and suffix is None:
        return 1
    given = suffix or (match[1] if (match := re.fullmatch(r"\s*rel\s*=\s*(\d+)\s*", arguments or "")) else "")
    if not given or (suffix and arguments):
        raise LimrankError(
            f"measure {name!r}: the only argument is the lowest relevant grade, as in AP(rel=2) or map-l2"
        )
    if int(given) < 1:
        raise LimrankError(f"measure {name!r}: the lowest relevant grade has to be at least 1")
    return int(given)
