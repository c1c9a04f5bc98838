import errno
import gzip
import hashlib
import stat
from pathlib import Path

import pytest

from limrank.errors import BadFile
from limrank.files import (
    atomic_write,
    cache_folder,
    check_place,
    json_lines,
    open_read,
    read_text,
    sha256,
    write_json,
    write_text,
)


@pytest.mark.parametrize("name", ["x.txt", "x.txt.gz"])
def test_what_is_written_is_what_is_read(tmp_path, name):
    write_text(tmp_path / name, "a\r\nb\n日本\n")
    assert read_text(tmp_path / name) == "a\r\nb\n日本\n"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")

    def fail():
        with atomic_write(path) as file:
            file.write(b"half")
            assert path.read_text() == "old"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["x.txt"]


def test_a_file_appears_with_its_folder_and_is_readable_like_any_other(tmp_path):
    write_text(tmp_path / "a" / "b" / "x.txt", "new")
    (tmp_path / "plain.txt").write_text("plain")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a/b/x.txt", "plain.txt")]
    assert modes[0] == modes[1]


def test_equal_content_gives_equal_archives_under_any_name(tmp_path):
    write_text(tmp_path / "a.gz", "same")
    write_text(tmp_path / "b.gz", "same")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"same"


def test_the_digest_is_of_the_files_own_bytes(tmp_path):
    write_text(tmp_path / "x.gz", "text")
    assert sha256(tmp_path / "x.gz") == hashlib.sha256((tmp_path / "x.gz").read_bytes()).hexdigest()


def test_what_cannot_be_read_is_a_bad_file(tmp_path):
    with pytest.raises(BadFile, match="x.txt: no such file"):
        open_read(tmp_path / "x.txt")
    with pytest.raises(BadFile, match="no such file"):
        sha256(tmp_path / "x.txt")
    with pytest.raises(BadFile, match="is a folder, a file was expected"):
        open_read(tmp_path)
    (tmp_path / "x.txt").write_bytes(b"ab\xff")
    with pytest.raises(BadFile, match="x.txt: not UTF-8 at byte 2"):
        read_text(tmp_path / "x.txt")


@pytest.mark.parametrize(
    "content",
    [
        b"plain text",
        gzip.compress(b"text" * 1000)[:-9],
        gzip.compress(b"text" * 1000)[:20],
        b"\x1f\x8b\x08\x00" + b"x" * 40,
    ],
)
def test_what_is_no_whole_archive_is_a_bad_file(tmp_path, content):
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(BadFile, match="x.gz: is cut off or not gzip"):
        read_text(tmp_path / "x.gz")


def test_an_archive_with_wrong_content_is_a_bad_file(tmp_path):
    packed = bytearray(gzip.compress(b"some text that is long enough to be packed " * 20))
    packed[15] ^= 0xFF
    (tmp_path / "x.gz").write_bytes(packed)
    with pytest.raises(BadFile, match="x.gz: is cut off or not gzip"):
        read_text(tmp_path / "x.gz")


def test_json_lines_come_with_their_number_and_blank_lines_do_not_count(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n\n{"b": "\u2028"}\r\n')
    assert list(json_lines(tmp_path / "x.jsonl")) == [(1, {"a": 1}), (3, {"b": "\u2028"})]


@pytest.mark.parametrize(
    ("line", "message"), [("{", "x.jsonl:2: not JSON"), ("[1]", "x.jsonl:2: a JSON object was expected, not list")]
)
def test_a_line_that_is_no_object_is_named(tmp_path, line, message):
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n' + line + "\n")
    with pytest.raises(BadFile) as error:
        list(json_lines(tmp_path / "x.jsonl"))
    assert message in str(error.value)


def test_NaN_is_not_written_as_JSON(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMRANK_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("LIMRANK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "limrank"


def test_a_file_that_cannot_be_written_is_named_as_it_was_asked_for(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadFile, match=r"file/x\.txt: cannot be written \("):
        write_text(tmp_path / "file" / "x.txt", "a")


def test_a_full_disk_is_told_with_the_name_that_was_asked_for(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BadFile, match=r"x\.txt: cannot be written \(No space left on device\)$"):
        write_text(tmp_path / "x.txt", "new")
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_block_that_is_not_about_the_file_stays_what_it_is(tmp_path):
    with pytest.raises(ConnectionRefusedError), atomic_write(tmp_path / "x.txt"):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "no server")


def test_a_folder_in_the_way_is_told_with_the_name_that_was_asked_for(tmp_path):
    (tmp_path / "x.txt").mkdir()
    with pytest.raises(BadFile, match=r"/x\.txt: cannot be written \(Is a directory\)$"):
        write_text(tmp_path / "x.txt", "new")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
def test_a_place_is_checked_without_leaving_anything_there(tmp_path):
    check_place(tmp_path / "x.txt")
    assert not list(tmp_path.iterdir())
    with pytest.raises(BadFile, match=r"^/proc/x\.txt: its folder cannot be written to \(.+\); choose another --out$"):
        check_place(Path("/proc/x.txt"))
