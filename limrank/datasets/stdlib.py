"""The dataset that every machine has: the docstrings of Python's own standard library, with our queries and judgments.

Documents are read from the running interpreter by a child process and kept in the cache folder; queries and graded
judgments ship with the package (stdlib_data/JUDGING.md says how they were made). Ids of documents are dotted names.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from limrank.errors import BadFile, Mismatch, Unknown
from limrank.files import atomic_write, cache_folder, json_lines, sha256
from limrank.qrels import Qrels
from limrank.records import Document, Query

READER = Path(__file__).with_name("_stdlib_read.py")
DATA = Path(__file__).with_name("stdlib_data")
VARIANTS = ("", "og", "changed")
# A reading takes one to two seconds; a slow disk and a cold cache may need twenty.
READ_SECONDS = 300


class StdlibDataset:
    """Docstrings as documents, situations of developers as queries, judged from 0 to 3.

    The two variants hold the same queries with an instruction each: "og" the original one, "changed" the one that
    allows less (FollowIR's pairs, arXiv:2403.15246). Their query ids end in -og and -changed.
    """

    def __init__(self, variant: str = "") -> None:
        self.variant = variant
        self.name = f"stdlib/{variant}" if variant else "stdlib"

    @property
    def judgments(self) -> Path:
        """The TREC file of this dataset's judgments."""
        return DATA / (f"instructions.{self.variant}.trec" if self.variant else "qrels.trec")

    @property
    def revision(self) -> str:
        """What this is made of: Python's version and the first digits of the contents' sha256."""
        return f"{self.corpus_revision}, judgments sha256 {sha256(self.judgments)[:12]}"

    @property
    def corpus_revision(self) -> str:
        """The same of the documents alone."""
        return f"python {platform.python_version()}, corpus sha256 {sha256(corpus_file())[:12]}"

    @property
    def skipped(self) -> list[str]:
        """Modules that cannot be imported on this platform and so have no documents."""
        return list(next(lines(corpus_file()))["skipped"])

    def documents(self) -> Iterator[Document]:
        """Every document, in order of doc_id."""
        records = lines(corpus_file())
        next(records)
        for record in records:
            text = "\n\n".join(part for part in (record["signature"], record["docstring"]) if part)
            yield Document(record["doc_id"], text, record["doc_id"])

    def lookup(self, doc_ids: Iterable[str]) -> dict[str, Document]:
        """The documents of these ids, in the order in which they are asked for.

        Raises:
            Mismatch: Ids that this Python's library does not have; the message counts them and names some.
        """
        wanted = dict.fromkeys(doc_ids)
        found = {document.doc_id: document for document in self.documents() if document.doc_id in wanted}
        missing = [doc_id for doc_id in wanted if doc_id not in found]
        if missing:
            raise Mismatch(
                f"{self.name} has no {', '.join(map(repr, missing[:5]))} ({len(missing)} of {len(wanted)} ids) "
                f"on Python {platform.python_version()}; an index or run made with another Python has to be made again"
            )
        return {doc_id: found[doc_id] for doc_id in wanted}

    def queries(self) -> Iterator[Query]:
        """The queries, in order of query_id; with an instruction in the two variants."""
        if not self.variant:
            for record in lines(DATA / "queries.jsonl"):
                yield Query(record["query_id"], record["text"])
            return
        for record in lines(DATA / "instructions.jsonl"):
            yield Query(f"{record['query_id']}-{self.variant}", record["text"], record[f"instruction_{self.variant}"])

    def qrels(self) -> Qrels:
        """Judgments: 3 solves it, 2 a part of it, 1 is background, 0 was looked at and rejected."""
        return Qrels.read(self.judgments, name=self.name)

    def excluded(self) -> Mapping[str, frozenset[str]]:
        """Nothing is kept from being found."""
        return {}


def load(rest: str = "") -> StdlibDataset:
    """The dataset of `stdlib`, `stdlib/og` or `stdlib/changed`; `rest` is what follows the slash."""
    if rest not in VARIANTS:
        raise Unknown.among("variant of stdlib", rest, VARIANTS[1:])
    return StdlibDataset(rest)


def corpus_file() -> Path:
    """The JSON lines of this interpreter's library, read now or earlier.

    Raises:
        BadFile: The reading failed; the message holds the last line of what Python said.
    """
    file = cache_folder() / "stdlib" / f"{fingerprint()}.jsonl"
    if not file.exists():
        content = read_corpus()
        with atomic_write(file) as out:
            out.write(content)
    return file


@functools.cache
def fingerprint() -> str:
    """Interpreter and reader in a short name: another one of either has other documents."""
    made_of = "\n".join([sys.version, sys.platform, sys.base_prefix, sha256(READER)])
    implementation = sys.implementation.name
    return f"{implementation}-{platform.python_version()}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


def read_corpus() -> bytes:
    """Run the reader in a child that sees neither the user's environment nor installed packages."""
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-X", "utf8", str(READER)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=READ_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise BadFile(f"{READER}: reading the standard library took longer than {READ_SECONDS} s") from None
    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BadFile(f"{READER}: exit code {done.returncode}: {said[-1] if said else 'no output'}")
    return done.stdout


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file."""
    return (record for _, record in json_lines(path))
