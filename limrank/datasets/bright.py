"""BRIGHT (arXiv:2407.12883) by task, as its authors evaluate it: `bright/biology`, `bright/biology/gpt4`.

A name is bright/TASK, or bright/TASK_long for the eight tasks with whole web pages as documents, and optionally the
model whose reasoning replaces the query. `bright/biology?fixed=FILE` judges with castorini's `.fixed` file, in which
copies of gold documents are gold too, and calls itself bright/biology+fixed; published numbers are without it.

ir_datasets downloads the files and checks their md5 sums. Three of its readings are corrected here: an excluded
document is no judgment of -100 but one that must not be returned, the gold documents of a long task are pages, and the
text of a reasoning query is the column `query`, not `reasoning`, in which a human explains the answer (run.py there).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

from limrank.datasets import irds
from limrank.datasets._option import take_option
from limrank.errors import BadFile, Mismatch, Unknown
from limrank.extras import require
from limrank.files import open_read_raw
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

    def __init__(self, task: str, *, long: bool = False, source: str = "", fixed: Path | None = None) -> None:
        self.task = task
        self.source = source
        self.fixed = fixed
        self.name = f"bright/{task}{'_long' if long else ''}{f'/{source}' if source else ''}{'+fixed' if fixed else ''}"
        self._place = f"{task.replace('_', '-')}{'-long' if long else ''}"
        self._source = irds.find(f"bright/{self._place}")
        self._documents = irds.IrdsDataset(self.name, self._source)

    @functools.cached_property
    def revision(self) -> str:
        """ir_datasets' version, the md5 sums of the files, and the judgments' sha256.

        The hub's BRIGHT was corrected more than once. ir_datasets asks for its newest files and checks their sums while
        it downloads them; here those that were downloaded before are checked as well.
        """
        source = f"{SOURCES[self.source]}/" if self.source else ""
        queries = self._md5(f"{self._queries}/{source}queries")
        kind = ".fixed qrels" if self.fixed else "qrels"
        return f"{self.corpus_revision}, queries md5 {queries}, {kind} sha256 {self.qrels().sha256()[:12]}"

    @property
    def corpus_revision(self) -> str:
        """What pins the documents alone."""
        return f"ir_datasets {irds.library().__version__}, documents md5 {self._md5(f'{self._place}/docs')}"

    def documents(self) -> Iterator[Document]:
        """All documents in BRIGHT's order; passages, or whole pages of a long task.

        Raises:
            BadFile: The downloaded file is not the one that `revision` names.
            LimrankError: The file cannot be downloaded.
        """
        self._check_documents()
        return self._documents.documents()

    def lookup(self, doc_ids: Iterable[str]) -> dict[str, Document]:
        """The documents with these ids, in the order asked for.

        Raises:
            Mismatch: The task lacks some of them.
            BadFile: The downloaded file is not the one that `revision` names.
            LimrankError: The file cannot be downloaded.
        """
        self._check_documents()
        return self._documents.lookup(doc_ids)

    def queries(self) -> Iterator[Query]:
        """All queries in BRIGHT's order; with a source, under the same ids, what that model made of them.

        Raises:
            Mismatch: The source's queries are not those of the task.
            BadFile: The downloaded file is not the one that `revision` names.
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
        """The gold documents, relevance 1, each once; with `?fixed=` their copies as well.

        Raises:
            Mismatch: The `.fixed` file is not that of this task.
            BadFile: The `.fixed` file cannot be read; or the downloaded file is not the one that `revision` names.
            LimrankError: The file cannot be downloaded.
        """
        gold = {
            query_id: {doc_id: relevance for doc_id, relevance in by_doc.items() if relevance != EXCLUDED}
            for query_id, by_doc in self._judged.items()
        }
        qrels = Qrels({query_id: by_doc for query_id, by_doc in gold.items() if by_doc}, name=self.name)
        return widened(qrels, self.fixed, excluded=self.excluded()) if self.fixed else qrels

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
        self._download("queries")
        # Not source.qrels_iter(): in ir_datasets 0.6.3 that is the queries' own, which gives the gold passages for the
        # whole pages of a long task, too. A document that is gold and excluded at once raises here as a contradiction.
        return irds.unique(self._source.qrels_handler(), where=self.name)

    @property
    def _queries(self) -> str:
        """What ir_datasets calls the task; a long task has the same queries."""
        return self.task.replace("_", "-")

    def _md5(self, file: str) -> str:
        """The first digits of what a file is, because every other is refused."""
        return self._expected(file)[:12]

    def _expected(self, file: str) -> str:
        """The md5 sum that ir_datasets expects of a file."""
        return irds.expected_files(irds.library(), f"bright/{file}")[file]

    def _texts(self, file: str) -> dict[str, str]:
        """Query texts by id, from the column `query` of one of the task's files."""
        parquet = require("pyarrow.parquet", needed_for="BRIGHT")
        rows = parquet.read_table(self._download(file), columns=["id", "query"]).to_pylist()
        texts = {str(row["id"]): str(row["query"]) for row in rows}
        if len(texts) != len(rows):
            raise Mismatch(f"{self.name}: {len(rows) - len(texts)} queries repeat the id of another ({file})")
        return texts

    def _download(self, file: str) -> Path:
        """Where ir_datasets keeps a file of the task: there now, and the one that it expects."""
        key = f"{self._queries}/{file}"
        with irds.explained(self.name):
            path = Path(self._downloads()[key].path())
        refuse_other(path, self._expected(key), path.stat().st_mtime_ns)
        return path

    def _check_documents(self) -> None:
        """Refuse documents that were downloaded and are others; what is not there is checked while it comes."""
        key = f"{self._place}/docs"
        path = Path(self._downloads()[key].path(force=False))
        if path.is_file():
            refuse_other(path, self._expected(key), path.stat().st_mtime_ns)

    def _downloads(self) -> Any:
        util = irds.library().util
        return util.DownloadConfig.context("bright", util.home_path() / "bright")


@functools.cache
def refuse_other(path: Path, md5: str, changed: int) -> None:
    """Refuse a file with another md5 sum; `changed` is its time stamp, and has it read once only.

    Raises:
        BadFile: ir_datasets expects another file, as after an upgrade, or the file was changed.
    """
    with open_read_raw(path) as file:
        actual = hashlib.file_digest(
            cast(BufferedReader, file), functools.partial(hashlib.md5, usedforsecurity=False)
        ).hexdigest()
    if actual != md5:
        raise BadFile(
            f"{path}: is not the file that ir_datasets {irds.library().__version__} expects (md5 {actual[:12]}, "
            f"expected {md5[:12]}): delete it, with what has its name and .pklz4, and run the same again"
        )


def widened(gold: Qrels, path: Path, *, excluded: Mapping[str, frozenset[str]]) -> Qrels:
    """castorini's `.fixed` judgments, after checking that they are these and more.

    They add to the gold documents of a query all documents with the same text (Pyserini's
    scripts/bright/create_adjusted_qrels.py): 625 pairs in five of the twelve tasks, and none in the other seven.

    Args:
        gold: The task's own judgments.
        path: TREC qrels, relevance 1 only.
        excluded: Documents that must not be returned, by query.

    Raises:
        Mismatch: The file lacks gold documents, or judges other queries, with another relevance, or what is excluded.
        BadFile: It cannot be read.
    """
    fixed = Qrels.read(path, name=gold.name)
    advice = f"{path} is not the .fixed file of the task and revision of {gold.name}"
    if others := fixed.keys() - gold.keys():
        raise Mismatch(f"{advice}: it judges {len(others)} queries that are not there, e.g. {min(others)!r}")
    for query_id, by_doc in gold.items():
        judged = fixed.get(query_id, {})
        if missing := by_doc.keys() - judged.keys():
            raise Mismatch(f"{advice}: it lacks the gold document {min(missing)!r} of query {query_id!r}")
        if graded := [doc_id for doc_id, relevance in judged.items() if relevance != 1]:
            raise Mismatch(f"{advice}: document {graded[0]!r} of query {query_id!r} has another relevance than 1")
        if barred := judged.keys() & excluded.get(query_id, frozenset()):
            raise Mismatch(f"{advice}: document {min(barred)!r} is excluded for query {query_id!r}")
    return fixed


def load(rest: str) -> BrightDataset:
    """The dataset of `bright/<rest>`.

    Args:
        rest: TASK, TASK_long, TASK/SOURCE or TASK_long/SOURCE; hyphens do for underscores. Behind it `?fixed=FILE` for
            castorini's `.fixed` judgments.

    Raises:
        Unknown: No such task or source; the nearest ones are suggested.
        Mismatch: `?fixed=` of a long task, of which there are none.
        BadFile: There is no such `.fixed` file.
    """
    where, file = take_option(rest, "fixed", of="bright")
    place, _, source = where.partition("/")
    task = place.lower().replace("-", "_")
    known = {name: (name, False) for name in TASKS} | {f"{name}_long": (name, True) for name in LONG_TASKS}
    if task not in known:
        raise Unknown.among("task of BRIGHT", place, known)
    if source and source.lower() not in SOURCES:
        raise Unknown.among("source of BRIGHT's queries", source, SOURCES)
    name, long = known[task]
    fixed = Path(file).expanduser() if file else None
    if fixed and long:
        raise Mismatch(f"bright/{task}: .fixed judgments are of passages, and a long task has whole pages")
    if fixed and not fixed.is_file():
        raise BadFile(
            f"{fixed}: no such file; github.com/castorini/anserini-tools has it as qrels/qrels.bright-"
            f"{name.replace('_', '-')}.fixed.txt"
        )
    return BrightDataset(name, long=long, source=source.lower(), fixed=fixed)
