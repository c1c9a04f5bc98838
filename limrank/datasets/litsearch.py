"""LitSearch (arXiv:2407.18940): 597 questions about the literature on machine learning and language, 64,183 papers.

`litsearch` holds all; `litsearch/specific` and `litsearch/broad` those with few and with many expected papers, and
`/inline` or `/author` behind that the ones that GPT-4 made of a citation, or that authors wrote about their own paper.
The paper reports recall@5 of the specific and recall@20 of the broad ones. `?revision=` takes another commit than the
pinned one. A question has no id of its own: `q1` is the first row, as in MTEB; a document's id is its Semantic Scholar
corpusid. Judgments are binary; MTEB's grades by position in the list are an artefact.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

from limrank.datasets._hub import Repository, Row
from limrank.datasets._hub_dataset import HubDataset
from limrank.datasets._option import take_option
from limrank.errors import BadFile, Unknown
from limrank.qrels import Qrels
from limrank.records import Document, Query

REPOSITORY = ("princeton-nlp/LitSearch", "9573fb284a1026c998df47024b888a163f0f0e25")
# By the value of the column.
SPECIFICITY = {0: "broad", 1: "specific"}
# By what query_set begins with: inline_acl, inline_nonacl, manual_acl, manual_iclr.
ORIGINS = {"inline": "inline", "manual": "author"}


class Question(NamedTuple):
    """A query and all that LitSearch says about it; `quality` 2 is harder than 1, as its annotators judged."""

    query_id: str
    text: str
    query_set: str
    specificity: str
    origin: str
    quality: int
    corpusids: tuple[str, ...]


class LitSearchDataset(HubDataset):
    """All questions, or those of one specificity, or those of one specificity and origin."""

    def __init__(self, specificity: str = "", origin: str = "", *, revision: str = "") -> None:
        name = "/".join(filter(None, ("litsearch", specificity, origin)))
        super().__init__(name, Repository(REPOSITORY[0], revision or REPOSITORY[1], name=name))
        self.specificity = specificity
        self.origin = origin

    def read_documents(self) -> Iterator[Document]:
        """Titles and abstracts; either may be empty. The papers' full texts are not read."""
        for row in self.repository.rows("corpus_clean", ("corpusid", "title", "abstract")):
            yield Document(row.id("corpusid"), row.optional("abstract"), row.optional("title"))

    def questions(self) -> Iterator[Question]:
        """The questions of this split in the file's order.

        Raises:
            BadFile: A row is no question.
            LimrankError: The file cannot be had; the message says what to do.
        """
        for question in self._questions:
            if self.specificity in ("", question.specificity) and self.origin in ("", question.origin):
                yield question

    def queries(self) -> Iterator[Query]:
        """The questions as queries; raises as `questions` does."""
        return (Query(question.query_id, question.text) for question in self.questions())

    def qrels(self) -> Qrels:
        """The papers that answer, relevance 1; the others are not judged. Raises as `questions` does."""
        gold = {question.query_id: dict.fromkeys(question.corpusids, 1) for question in self.questions()}
        return Qrels(gold, name=self.name)

    @functools.cached_property
    def _questions(self) -> list[Question]:
        fields = ("query_set", "query", "specificity", "quality", "corpusids")
        rows = self.repository.rows("query", fields)
        found = [question_of(row, f"q{position}") for position, row in enumerate(rows, 1)]
        if not found:
            raise BadFile(f"{self.repository.files('query')[0]}: no questions in it")
        return found


def question_of(row: Row, query_id: str) -> Question:
    """The question in a row.

    Raises:
        BadFile: A field has a value that LitSearch does not describe, or there is no gold paper.
    """
    query_set, corpusids = row.text("query_set"), tuple(row.ids("corpusids"))
    specificity = SPECIFICITY.get(row.integer("specificity"))
    origin = ORIGINS.get(query_set.partition("_")[0])
    if specificity is None:
        raise row.wrong("specificity", "0 (broad) or 1 (specific) was expected")
    if origin is None:
        raise row.wrong("query_set", f"it should begin with {' or '.join(ORIGINS)}")
    if not corpusids:
        raise row.wrong("corpusids", "at least one paper was expected")
    return Question(query_id, row.text("query"), query_set, specificity, origin, row.integer("quality"), corpusids)


def load(rest: str = "") -> LitSearchDataset:
    """The dataset of `litsearch` or `litsearch/<rest>`.

    Args:
        rest: Nothing, specific or broad, optionally with /inline or /author; and ?revision=COMMIT.

    Raises:
        Unknown: No such split; the nearest ones are suggested.
    """
    place, revision = take_option(rest, "revision", of="litsearch")
    specificity, _, origin = place.lower().partition("/")
    if specificity and specificity not in SPECIFICITY.values():
        raise Unknown.among("split of LitSearch", specificity, SPECIFICITY.values())
    if origin and (not specificity or origin not in ORIGINS.values()):
        raise Unknown.among(f"split of LitSearch's {specificity or 'all'} questions", origin, ORIGINS.values())
    return LitSearchDataset(specificity, origin, revision=revision)
