"""BRIGHT (arXiv:2407.12883) by task, as its authors evaluate it: `bright/biology`, `bright/biology/gpt4`.

A name is bright/TASK, or bright/TASK_long for the eight tasks with whole web pages as documents, and optionally the
model whose reasoning replaces the query. ir_datasets downloads the files and checks their md5 sums. Three of its
readings are corrected here: an excluded document is no judgment of -100 but one that must not be returned, the gold
documents of a long task are pages, and the text of a reasoning query is the column `query`, not `reasoning`, in which a
human explains the answer (BRIGHT's run.py).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from limrank.datasets import irds
from limrank.errors import Mismatch, Unknown
from limrank.extras import require
from limrank.qrels import Qrels
from limrank.records import Document, Query

# The canonical names; castorini and ir_datasets write hyphens instead of underscores.
TASKS = (
    "biology", "earth_science", "economics", "psychology", "robotics", "stackoverflow", "sustainable_living",
    "leetcode", "pony", "aops", "theoremqa_questions", "theoremqa_theorems",
)  # fmt: skip
LONG_TASKS = (*TASKS[:7], "pony")
# Our name of a model and what its files are called.
SOURCES = {
    "claude-3-opus": "claude-3-opus_reason",
    "gemini-1.0": "Gemini-1.0_reason",
    "gpt4": "gpt4_reason",
    "grit": "grit_reason",
    "llama3-70b": "llama3-70b_reason",
}
EXCLUDED = -100


class BrightDataset:
    """One task of BRIGHT."""

    def __init__(self, task: str, *, long: bool = False, source: str = "") -> None:
        self.task = task
        self.source = source
        self.name = f"bright/{task}{'_long' if long else ''}{f'/{source}' if source else ''}"
        self._source = irds.find(f"bright/{task.replace('_', '-')}{'-long' if long else ''}")
        self._documents = irds.IrdsDataset(self.name, self._source)

    @functools.cached_property
    def revision(self) -> str:
        """ir_datasets' version, which pins its downloads by md5, and the judgments' sha256: BRIGHT was corrected."""
        return f"{self.corpus_revision}, qrels sha256 {self.qrels().sha256()[:12]}"

    @property
    def corpus_revision(self) -> str:
        """What pins the documents alone."""
        return f"ir_datasets {irds.library().__version__}"

    def documents(self) -> Iterator[Document]:
        """All documents in BRIGHT's order; passages, or whole pages of a long task.

        Raises:
            LimrankError: The file cannot be downloaded.
        """
        return self._documents.documents()

    def lookup(self, doc_ids: Iterable[str]) -> dict[str, Document]:
        """The documents with these ids, in the order asked for.

        Raises:
            Mismatch: The task lacks some of them.
            LimrankError: The file cannot be downloaded.
        """
        return self._documents.lookup(doc_ids)

    def queries(self) -> Iterator[Query]:
        """All queries in BRIGHT's order; with a source, under the same ids, what that model made of them.

        Raises:
            Mismatch: The source's queries are not those of the task.
            LimrankError: The file cannot be downloaded.
        """
        original = self._texts("queries")
        if not self.source:
            yield from (Query(query_id, text) for query_id, text in original.items())
            return
        written = self._texts(f"{SOURCES[self.source]}/queries")
        if different := original.keys() ^ written.keys():
            raise Mismatch(
                f"{self.name}: {len(different)} queries are only in one of the original and the {self.source} file, "
                f"e.g. {min(different)!r}"
            )
        yield from (Query(query_id, written[query_id]) for query_id in original)

    def qrels(self) -> Qrels:
        """The gold documents, relevance 1, each once.

        Raises:
            LimrankError: The file cannot be downloaded.
        """
        gold = {
            query_id: {doc_id: relevance for doc_id, relevance in by_doc.items() if relevance != EXCLUDED}
            for query_id, by_doc in self._judged.items()
        }
        return Qrels({query_id: by_doc for query_id, by_doc in gold.items() if by_doc}, name=self.name)

    def excluded(self) -> Mapping[str, frozenset[str]]:
        """By query id, the documents to drop before a ranking is cut.

        Raises:
            LimrankError: The file cannot be downloaded.
        """
        barred = {
            query_id: frozenset(doc_id for doc_id, relevance in by_doc.items() if relevance == EXCLUDED)
            for query_id, by_doc in self._judged.items()
        }
        return {query_id: doc_ids for query_id, doc_ids in barred.items() if doc_ids}

    @functools.cached_property
    def _judged(self) -> dict[str, dict[str, int]]:
        # Not source.qrels_iter(): in ir_datasets 0.6.3 that is the queries' own, which gives the gold passages for the
        # whole pages of a long task, too. A document that is gold and excluded at once raises here as a contradiction.
        return irds.unique(self._source.qrels_handler(), where=self.name)

    def _texts(self, file: str) -> dict[str, str]:
        """Query texts by id, from the column `query` of one of the task's files."""
        parquet = require("pyarrow.parquet", needed_for="BRIGHT")
        rows = parquet.read_table(self._download(file), columns=["id", "query"]).to_pylist()
        texts = {str(row["id"]): str(row["query"]) for row in rows}
        if len(texts) != len(rows):
            raise Mismatch(f"{self.name}: {len(rows) - len(texts)} queries repeat the id of another ({file})")
        return texts

    def _download(self, file: str) -> Path:
        """Where ir_datasets keeps a file of the task; fetched and checked if it is not there."""
        util = irds.library().util
        downloads = util.DownloadConfig.context("bright", util.home_path() / "bright")
        with irds.explained(self.name):
            return Path(downloads[f"{self.task.replace('_', '-')}/{file}"].path())


def load(rest: str) -> BrightDataset:
    """The dataset of `bright/<rest>`.

    Args:
        rest: TASK, TASK_long, TASK/SOURCE or TASK_long/SOURCE; hyphens do for underscores.

    Raises:
        Unknown: No such task or source; the nearest ones are suggested.
    """
    place, _, source = rest.partition("/")
    task = place.lower().replace("-", "_")
    known = {name: (name, False) for name in TASKS} | {f"{name}_long": (name, True) for name in LONG_TASKS}
    if task not in known:
        raise Unknown.among("task of BRIGHT", place, known)
    if source and source.lower() not in SOURCES:
        raise Unknown.among("source of BRIGHT's queries", source, SOURCES)
    name, long = known[task]
    return BrightDataset(name, long=long, source=source.lower())
