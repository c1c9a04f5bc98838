"""Files that are either whole or not there, read with or without gzip, and fingerprints of them."""

from __future__ import annotations

import codecs
import contextlib
import errno
import gzip
import hashlib
import itertools
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from limrank.errors import BadFile

# What a write says when the disk is full, the quota used up, the file too large, or the disk broken.
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def open_read(path: Path) -> IO[bytes]:
    """The file as bytes; `.gz` is unpacked.

    Raises:
        BadFile: There is no such file, or it is a folder.
    """
    try:
        if path.is_dir():
            raise BadFile(f"{path}: is a folder, a file was expected")
        return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else open(path, "rb")
    except FileNotFoundError:
        raise BadFile(f"{path}: no such file") from None
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error.strerror or error})") from error


@contextlib.contextmanager
def open_lines(path: Path) -> Iterator[IO[bytes]]:
    """Like `open_read`, for a `with` block; a broken archive is a BadFile as well."""
    with open_read(path) as file:
        try:
            yield file
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BadFile(f"{path}: is cut off or not gzip ({error})") from error


def lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of an opened file, the first one without the byte-order mark that some editors put there."""
    return itertools.chain([file.readline().removeprefix(codecs.BOM_UTF8)], file)


def read_text(path: Path) -> str:
    """The whole file as UTF-8 text, without a byte-order mark.

    Raises:
        BadFile: No such file, or not UTF-8; the message names the byte.
    """
    with open_lines(path) as file:
        content = file.read()
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise BadFile(f"{path}: not UTF-8 at byte {error.start}; convert it first") from error


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number (from 1) and object of every line that is not blank.

    Raises:
        BadFile: A line is not a JSON object; the message names file and line.
    """
    with open_lines(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise BadFile(f"{path}:{number}: not JSON ({error})") from error
            if not isinstance(record, dict):
                raise BadFile(f"{path}:{number}: a JSON object was expected, not {type(record).__name__}")
            yield number, record


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when the block ends without an error.

    `.gz` is packed, without a time stamp, so that equal content gives equal bytes. A reader sees the old file or the
    new one, never a half; the new one is on the disk before it takes the name.

    Raises:
        BadFile: Its folder cannot be made or written to, or the disk is full; the message names `path` and the reason.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise BadFile(f"{path}: cannot be written ({error.strerror or error})") from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                    yield cast(IO[bytes], packed)
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        # mkstemp makes files that only their owner can read; a result should follow the user's umask like any other.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # The block may ask a server or read a file, whose errors are not about this one.
        if isinstance(error, OSError) and (error.errno in OF_THE_DISK or error.filename == name):
            raise BadFile(f"{path}: cannot be written ({error.strerror})") from error
        raise


def check_place(path: Path) -> None:
    """Find out before the work that nothing can be put there, by making a file beside it that nobody sees.

    Raises:
        BadFile: Its folder cannot be made or written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadFile(f"{path}: its folder cannot be made ({error.strerror}); choose another --out") from None
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise BadFile(f"{path}: its folder cannot be written to ({error.strerror}); choose another --out") from None


def beside(out: Path, what: str) -> Path:
    """Where a result's JSON lines of some kind lie: `<out>.calls.jsonl`, `<out>.dropped.jsonl`."""
    return out.with_name(f"{out.name}.{what}.jsonl")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write indented JSON atomically; NaN is refused, because it is not JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def open_read_raw(path: Path) -> BinaryIO:
    """The file's own bytes, packed or not."""
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise BadFile(f"{path}: no such file") from None


def sha256(path: Path) -> str:
    """Hex digest of the file's own bytes."""
    with open_read_raw(path) as file:
        return hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()


def cache_folder() -> Path:
    """Where limrank keeps what it can make again: $LIMRANK_CACHE, else limrank under the user's cache folder."""
    if chosen := os.environ.get("LIMRANK_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limrank"
