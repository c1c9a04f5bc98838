"""The calls file: answers by key, appended delivery by delivery, so that a killed run asks for nothing twice.

One JSON line is one answer, or the same answer for another document (`also`); `more` counts the lines of the same
delivery that follow. A delivery is whole when its line with `more` 0 is there; a torn one at the end of the file is cut
off, so that it is asked for again as one batch.
Knows nothing of what the answers mean.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from limrank.errors import BadFile, LimrankError
from limrank.records import Request

# An operating system that crashes may lose this much; a killed process loses nothing that was written.
SECONDS_BETWEEN_SYNCS = 1.0
USABLE = ("ok", "forced")


class Entry(NamedTuple):
    """An answer to be stored under a key; an unusable `status` in it means that the key is asked for again."""

    key: bytes
    fields: Mapping[str, Any]


class Calls:
    """Answers in a file, found by key; in memory is one offset per key."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, and cut a torn delivery off its end.

        Raises:
            BadFile: A line before the end is not an answer.
            LimrankError: Another rerank has the file open.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - stays open until close()
        self._lock()
        self._lines = open(path, "rb")  # noqa: SIM115
        self._offsets: dict[bytes, int] = {}
        self._also: set[bytes] = set()
        self._end = self._scan()
        self._file.truncate(self._end)
        self._synced = time.monotonic()

    def __len__(self) -> int:
        return len(self._offsets)

    def get(self, key: bytes) -> dict[str, Any] | None:
        """The fields stored last under the key, if they are usable."""
        offset = self._offsets.get(key)
        if offset is None:
            return None
        self._lines.seek(offset)
        record: dict[str, Any] = json.loads(self._lines.readline())
        return record

    def append(self, delivery: Iterable[Entry]) -> None:
        """Store answers that became known together, all or none of them."""
        entries = list(delivery)
        written, offset = [], self._end
        for more, entry in zip(reversed(range(len(entries))), entries):
            record = {"key": entry.key.hex(), **entry.fields, "more": more}
            line = json.dumps(record, allow_nan=False, separators=(",", ":")).encode() + b"\n"
            if entry.fields.get("status", "ok") in USABLE and not entry.fields.get("also"):
                self._offsets[entry.key] = offset
            offset += len(line)
            written.append(line)
        # One write, so that a kill finds all of it or a torn tail; O_APPEND, so the position does not matter.
        block = memoryview(b"".join(written))
        while block:
            block = block[self._file.write(block) :]
        self._end = offset
        if time.monotonic() - self._synced > SECONDS_BETWEEN_SYNCS:
            self.sync()

    def also(self, entry: Entry) -> None:
        """Store, once, an answer that is there under its key already, for others who asked the same."""
        who = digest(entry.key.hex(), entry.fields.get("query_id"), entry.fields.get("doc_ids"))
        if who not in self._also:
            self._also.add(who)
            self.append([Entry(entry.key, {**entry.fields, "also": True})])

    def sync(self) -> None:
        """Have the operating system put on the disk what was appended."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Let go of the file; nothing can be asked of it afterwards."""
        if not self._file.closed:
            self.sync()
            self._file.close()
            self._lines.close()

    def _lock(self) -> None:
        with contextlib.suppress(ImportError):  # Windows has no fcntl
            import fcntl

            try:
                fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._file.close()
                raise LimrankError(
                    f"{self.path}: is in use by another rerank; wait for it, or choose another --out "
                    "(another --cache, where it lies there)"
                ) from None

    def _scan(self) -> int:
        """Index all whole deliveries and return where the last one ends."""
        end = offset = 0
        pending: dict[bytes, int | None] = {}
        broken = 0
        with open(self.path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if broken:
                    raise BadFile(f"{self.path}:{broken}: not an answer; remove the line, or the file to start again")
                try:
                    record = json.loads(line)
                    key, more = bytes.fromhex(record["key"]), record["more"]
                    if not line.endswith(b"\n"):
                        raise ValueError("no end of line")
                except (ValueError, TypeError, KeyError):
                    broken = number
                    continue
                if record.get("also"):
                    self._also.add(digest(record["key"], record.get("query_id"), record.get("doc_ids")))
                else:
                    pending[key] = offset if record.get("status", "ok") in USABLE else None
                offset += len(line)
                if more == 0:
                    self._offsets.update({key: place for key, place in pending.items() if place is not None})
                    pending, end = {}, offset
        return end


def entries(path: Path, query_id: str | None = None) -> Iterator[dict[str, Any]]:
    """What a calls file says about a query, or all of it, in the order in which it became known, failures included.

    A torn end is left out, and nothing is locked or mended: a file may be looked at while it is written.

    Raises:
        BadFile: There is no such file, or a line before the end is not an answer.
    """
    wanted = b"" if query_id is None else json.dumps({"query_id": query_id}, separators=(",", ":"))[1:-1].encode()
    try:
        with open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if wanted in line and line.endswith(b"\n"):
                    try:
                        record = json.loads(line)
                    except ValueError:
                        raise BadFile(f"{path}:{number}: not an answer") from None
                    if query_id is None or record.get("query_id") == query_id:
                        yield record
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}") from error


def key_of(name: str, request: Request) -> bytes:
    """What an answer depends on, as a digest: the model's name and everything in the request but its labels."""
    after = request.after
    return digest(
        name,
        [(message.role, message.parts) for message in request.messages],
        (request.shared, request.cut, request.max_tokens, request.reserve, request.stop, request.choices),
        (request.temperature, request.seed),
        (after.text, after.token_ids, after.truncated_tokens, request.bridge) if after else (),
        *([request.schema] if request.schema else []),
    )


def digest(*values: object) -> bytes:
    """SHA-256 of values that JSON can hold."""
    return hashlib.sha256(json.dumps(values, separators=(",", ":")).encode()).digest()
