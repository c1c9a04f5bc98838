"""FollowIR (arXiv:2403.15246): does a ranking follow the instruction? `followir/robust04`, `core17`, `news21`.

Each topic is two queries with the same text: `<topic>-og` with TREC's own narrative as instruction, `<topic>-changed`
with one that allows less, each with its own judgments (the ids are MTEB's). `followir/core17` holds both,
`followir/core17/og` and `followir/core17/changed` one side; `?revision=` takes another commit than the pinned one. Read
from the authors' repositories, whose parts say which judgments are whose: MTEB 1.7 to 1.38 swapped them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from limrank.datasets._hub import Repository, Row
from limrank.datasets._hub_dataset import HubDataset
from limrank.datasets._option import take_option
from limrank.errors import BadFile, Mismatch, Unknown
from limrank.qrels import Qrels
from limrank.records import Document, Query
from limrank.run import Run

# The commits that MTEB pinned as long as it read these repositories.
REPOSITORIES = {
    "robust04": ("jhu-clsp/robust04-instructions", "a5a1c4fe2bc528ac12e83f8cdf82178da85d2f1d"),
    "core17": ("jhu-clsp/core17-instructions", "e39ff896cf3efbbdeeb950e6bd7c79f266995b07"),
    "news21": ("jhu-clsp/news21-instructions", "e0144086b45fe31ac125e9ac1a83b6a409bb6ca6"),
}
SIDES = ("og", "changed")


class FollowIRDataset(HubDataset):
    """One of the three collections: both sides, or one."""

    def __init__(self, task: str, side: str = "", *, revision: str = "") -> None:
        name = f"followir/{task}/{side}" if side else f"followir/{task}"
        repo, pinned = REPOSITORIES[task]
        super().__init__(name, Repository(repo, revision or pinned, name=name))
        self.sides = (side,) if side else SIDES

    def read_documents(self) -> Iterator[Document]:
        """The documents as the repository's files have them."""
        for row in self.repository.rows("corpus", ("_id", "title", "text")):
            yield Document(row.id("_id"), row.text("text"), row.optional("title"))

    def queries(self) -> Iterator[Query]:
        """All queries, those with the original instruction first.

        Raises:
            BadFile: A row is no query, or a topic is there twice.
            LimrankError: A file cannot be had; the message says what to do.
        """
        for side in self.sides:
            for topic, row in self._topics.items():
                yield Query(f"{topic}-{side}", row.text("text"), row.text(f"instruction_{side}"))

    def qrels(self) -> Qrels:
        """Each side's own graded judgments.

        Raises:
            BadFile: A row is no judgment, or a topic has none.
            Mismatch: Two judgments contradict each other.
            LimrankError: A file cannot be had; the message says what to do.
        """
        judged = {f"{topic}-{side}": docs for side in self.sides for topic, docs in self._judged(side).items()}
        return Qrels(judged, name=self.name)

    def candidates(self) -> Run:
        """The documents that are to be ranked, 1,000 a topic, the same for both sides.

        They are not ranked: the order is that of the file, and the scores only say so. p-MRR compares the ranks of a
        document under two instructions, so all of them have to be ranked.

        Raises:
            BadFile: A row is no candidate, a topic has none, or one twice.
            LimrankError: A file cannot be had; the message says what to do.
        """
        found: dict[str, dict[str, None]] = {topic: {} for topic in self._topics}
        for row in self.repository.rows("top_ranked", ("qid", "pid")):
            topic, doc_id = row.id("qid"), row.id("pid")
            if doc_id in found.get(topic, ()):
                raise BadFile(f"{row.path}:{row.number}: topic {topic!r} has document {doc_id!r} a second time")
            # Of a topic without a query nothing can be asked.
            found.get(topic, {})[doc_id] = None
        self._refuse_gaps("top_ranked", found)
        rankings = {topic: list(zip(docs, range(len(docs), 0, -1))) for topic, docs in found.items()}
        return Run(
            {f"{topic}-{side}": pairs for side in self.sides for topic, pairs in rankings.items()},
            name=f"{self.name}/candidates",
        )

    @functools.cached_property
    def _topics(self) -> dict[str, Row]:
        found: dict[str, Row] = {}
        for row in self.repository.rows("queries", ("_id", "text", *(f"instruction_{side}" for side in SIDES))):
            if found.setdefault(row.id("_id"), row) is not row:
                raise BadFile(f"{row.path}:{row.number}: topic {row.id('_id')!r} is there a second time")
        if not found:
            raise BadFile(f"{self.repository.files('queries')[0]}: no queries in it")
        return found

    def _judged(self, side: str) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {topic: {} for topic in self._topics}
        for row in self.repository.rows(f"qrels_{side}", ("query-id", "corpus-id", "score")):
            topic, doc_id, relevance = row.id("query-id"), row.id("corpus-id"), row.integer("score")
            first = found.get(topic, {}).setdefault(doc_id, relevance)
            if first != relevance:
                raise Mismatch(
                    f"{row.path}:{row.number}: topic {topic!r} judges document {doc_id!r} as {relevance}, and as "
                    f"{first} before"
                )
        self._refuse_gaps(f"qrels_{side}", found)
        return found

    def _refuse_gaps(self, config: str, found: dict[str, dict[str, int]] | dict[str, dict[str, None]]) -> None:
        """A topic that one part lacks would be measured on nothing, or on fewer topics than the paper's."""
        if empty := [topic for topic, docs in found.items() if not docs]:
            raise BadFile(
                f"{self.repository.files(config)[0]}: has nothing for {len(empty)} of {len(found)} topics, e.g. "
                f"{empty[0]!r}"
            )


def load(rest: str) -> FollowIRDataset:
    """The dataset of `followir/<rest>`.

    Args:
        rest: robust04, core17 or news21, optionally with /og or /changed, and ?revision=COMMIT.

    Raises:
        Unknown: No such collection or side; the nearest ones are suggested.
    """
    place, revision = take_option(rest, "revision", of="followir")
    task, _, side = place.partition("/")
    if task.lower() not in REPOSITORIES:
        raise Unknown.among("collection of FollowIR", task, REPOSITORIES)
    if side and side.lower() not in SIDES:
        raise Unknown.among("side of FollowIR", side, SIDES)
    return FollowIRDataset(task.lower(), side.lower(), revision=revision)
