"""A repository of the hub: what is downloaded, how often, and what is said when it cannot be."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limrank.datasets import _hub, followir
from limrank.errors import BadFile, LimrankError

REPO, PINNED = followir.REPOSITORIES["core17"]
CARD = {
    "corpus": "corpus-*.jsonl",
    "queries": "queries.jsonl",
    "qrels_og": "og.jsonl",
    "qrels_changed": "changed.jsonl",
    "top_ranked": "top.jsonl",
}
# 300 kB in two files: long enough to break off in the middle.
TEXTS = [f"text {i} " + hashlib.sha256(b"%d" % i).hexdigest() * 20 for i in range(200)]
DOCUMENTS = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(TEXTS)]
QUERIES = [{"_id": "1", "text": "one", "instruction_og": "og", "instruction_changed": "changed"}]
JUDGED = [{"query-id": "1", "corpus-id": "d7", "score": 1}]
FILES = {
    "corpus-0.jsonl": DOCUMENTS[:100],
    "corpus-1.jsonl": DOCUMENTS[100:],
    "queries.jsonl": QUERIES,
    "og.jsonl": JUDGED,
    "changed.jsonl": [JUDGED[0] | {"score": 0}],
    "top.jsonl": [{"qid": "1", "pid": "d7"}],
}
# The client keeps what it has in whole chunks of 10 MB, and asks for the rest.
SMALL_CHUNKS = "import huggingface_hub.constants; huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 1000\n"
ASK = """
def texts(name="followir/core17"):
    dataset = open_dataset(name)
    return [[d.text for d in dataset.documents()], list(dataset.queries()), dataset.revision]
found["all"] = answer(texts)
"""


@pytest.fixture
def core17(hub: Any) -> Any:
    """The hub with Core17 at its pinned commit, nothing asked yet, nothing wrong."""
    hub.serve(REPO, PINNED, CARD, FILES)
    hub.requests.clear()
    hub.short.clear()
    hub.cut.clear()
    return hub


def downloads(hub: Any, path: str) -> list[str]:
    return [request for request in hub.requests if request.startswith("GET") and f"/{path}" in request]


def test_what_was_downloaded_is_not_asked_for_again_online_or_offline(core17: Any) -> None:
    first = core17.ask(ASK, home="again", cache="again-1")
    assert first["all"][0] == TEXTS
    assert [len(downloads(core17, path)) for path in FILES if path != "top.jsonl"] == [1, 1, 1, 1, 1]
    assert not downloads(core17, "top.jsonl")
    core17.requests.clear()
    # Another cache of ours each time, so that the files themselves are read again.
    assert core17.ask(ASK, home="again", cache="again-2") == first
    assert core17.ask(ASK, home="again", cache="again-3", offline=True) == first
    assert core17.requests == []


def test_the_packed_documents_serve_without_the_hub_s_files(core17: Any) -> None:
    code = "found['one'] = answer(lambda: open_dataset('followir/core17').lookup(['d150', 'd3']))"
    first = core17.ask(code, home="packed", cache="packed")
    assert first["one"] == {"d150": ["d150", TEXTS[150], ""], "d3": ["d3", TEXTS[3], ""]}
    assert core17.ask(code, home="nothing here", cache="packed", offline=True) == first


def test_offline_without_the_files_is_one_line_that_says_what_to_do(core17: Any) -> None:
    error = core17.ask(ASK, home="empty", cache="empty", offline=True)["all"]
    assert error.startswith(f"LimrankError: followir/core17: {REPO} at {PINNED} cannot be downloaded (")
    assert error.endswith("try again with a network, or bring that folder from a machine that has one")
    assert "HF_HUB_OFFLINE" in error and str(core17.folder / "empty") in error and "\n" not in error
    assert core17.requests == []


def test_half_of_the_files_offline_are_refused_and_not_packed(core17: Any) -> None:
    assert core17.ask(ASK, home="half", cache="half-1")["all"][0] == TEXTS
    home = core17.folder / "half"
    next(home.rglob("corpus-1.jsonl")).unlink()
    error = core17.ask(ASK, home="half", cache="half-2", offline=True)["all"]
    assert error.startswith(f"LimrankError: followir/core17: {REPO} at {PINNED} cannot be downloaded (")
    # The list of files is not there where an older client, or one that fetches single files, filled the cache.
    for trees in list(home.rglob("trees")):
        shutil.rmtree(trees)
    error = core17.ask(ASK, home="half", cache="half-2", offline=True)["all"]
    assert error == (
        f"LimrankError: followir/core17: files of {REPO} at {PINNED} are in the cache, and no list of them: nobody can "
        "tell whether all are there; run the same once with a network"
    )
    assert not list((core17.folder / "half-2").rglob("corpus.jsonl"))
    assert core17.ask(ASK, home="half", cache="half-2")["all"][0] == TEXTS


def test_nothing_is_drawn_on_a_pipe(core17: Any) -> None:
    command = [sys.executable, "-m", "limrank", "show", "followir/core17"]
    environment = core17.environment(home="quiet", cache="quiet")
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_download_that_breaks_off_goes_on_where_it_stopped(core17: Any) -> None:
    core17.cut.add("corpus-1.jsonl")
    found = core17.ask(SMALL_CHUNKS + ASK, home="cut", cache="cut")
    assert found["all"][0] == TEXTS
    whole, rest = downloads(core17, "corpus-1.jsonl")
    start = int(rest.rpartition("bytes=")[2].removesuffix("-"))
    assert "bytes=" not in whole
    assert 0 < start <= len(core17.files[REPO, PINNED]["corpus-1.jsonl"]) // 2


def test_a_wrong_size_is_one_line_and_the_next_run_fetches_only_that_file(core17: Any) -> None:
    size = len(core17.files[REPO, PINNED]["corpus-1.jsonl"])
    core17.short.add("corpus-1.jsonl")
    error = core17.ask(ASK, home="short", cache="short")["all"]
    assert error.startswith(f"LimrankError: followir/core17: {REPO} at {PINNED} cannot be downloaded (Consistency")
    assert f"should be of size {size} but has size {size - 3}" in error and "\n" not in error
    assert not list((core17.folder / "short").rglob("corpus.jsonl"))
    core17.requests.clear()
    assert core17.ask(ASK, home="short", cache="short")["all"][0] == TEXTS
    assert len(downloads(core17, "corpus-1.jsonl")) == 1
    assert not downloads(core17, "corpus-0.jsonl")


def test_a_file_that_was_damaged_in_the_cache_is_named(core17: Any) -> None:
    core17.ask(ASK, home="damaged", cache="damaged-1")
    blob = next((core17.folder / "damaged").rglob("corpus-0.jsonl")).resolve()
    # As long as before, and still JSON lines: only the digest can tell.
    blob.write_bytes(blob.read_bytes().replace(b"text 7 ", b"text 8 "))
    error = core17.ask(ASK, home="damaged", cache="damaged-2")["all"]
    assert "corpus-0.jsonl: was damaged after its download" in error and f"delete {blob}" in error
    blob.unlink()
    assert core17.ask(ASK, home="damaged", cache="damaged-2")["all"][0] == TEXTS


def test_a_branch_is_looked_up_once_and_the_commit_recorded(core17: Any) -> None:
    newer = "b" * 40
    core17.serve(REPO, newer, CARD, FILES | {"queries.jsonl": [QUERIES[0] | {"text": "newer"}]})
    code = ASK.replace("followir/core17", "followir/core17?revision=main")
    found = core17.ask(code, home="branch", cache="branch")["all"]
    assert found[1][0][1] == "newer"
    assert found[2].startswith(f"{REPO}@{newer}, qrels sha256 ")
    assert len([request for request in core17.requests if "/revision/" in request]) == 1
    core17.requests.clear()
    assert core17.ask(code, home="branch", cache="branch", offline=True)["all"] == found
    assert core17.requests == []


def test_a_repository_or_revision_that_is_not_there_is_one_line(core17: Any) -> None:
    code = (
        "found['revision'] = answer(lambda: list(open_dataset('followir/core17?revision=v2').queries()))\n"
        "found['repository'] = answer(lambda: list(open_dataset('followir/news21').queries()))\n"
    )
    found = core17.ask(code, home="none", cache="none")
    assert found["revision"] == (
        f"Unknown: followir/core17: the hub has no {REPO} at v2; choose another commit, branch or tag with "
        "?revision=main"
    )
    assert found["repository"].startswith("LimrankError: followir/news21: the hub has no jhu-clsp/news21-instructions")
    assert "\n" not in found["repository"]


def test_a_card_that_does_not_name_a_part_or_names_files_that_are_not_there_is_named(core17: Any) -> None:
    core17.serve(REPO, "1" * 40, {"corpus": "corpus-*.jsonl"}, FILES)
    core17.serve(REPO, "2" * 40, CARD | {"queries": "query/*"}, FILES)
    core17.serve(REPO, "3" * 40, CARD, FILES | {"README.md": b"no card\n"})
    core17.serve(REPO, "4" * 40, CARD, FILES | {"README.md": b"---\nconfigs: [\n---\n"})
    core17.serve(REPO, "5" * 40, CARD | {"queries": "queries.csv"}, FILES | {"queries.csv": b"_id,text\n"})
    code = "".join(
        f"found[{digit!r}] = answer(lambda: list(open_dataset('followir/core17?revision={digit * 40}').queries()))\n"
        for digit in "12345"
    )
    found = core17.ask(code, home="cards", cache="cards")
    assert found["1"].endswith("README.md: configs names no 'queries', only corpus")
    assert f"README.md: says that 'queries' is in query/*, and {REPO} has no such file" in found["2"]
    assert found["3"].endswith("README.md: configs names no 'queries', only nothing")
    assert "README.md: its first lines are not a card in YAML (" in found["4"]
    assert found["5"].endswith("queries.csv: neither parquet nor JSON lines, which are what can be read here")
    assert all(error.startswith("BadFile: ") and "\n" not in error for error in found.values())


def test_the_command_line_shows_the_commit_and_the_judgments_hash(core17: Any) -> None:
    command = [sys.executable, "-m", "limrank", "show", "followir/core17", "--json"]
    environment = core17.environment(home="shown", cache="shown")
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    digest = hashlib.sha256(b"1-changed 0 d7 0\n1-og 0 d7 1\n").hexdigest()[:12]
    assert json.loads(done.stdout) == {
        "dataset": "followir/core17",
        "revision": f"{REPO}@{PINNED}, qrels sha256 {digest}",
        "queries": 2,
        "judged queries": 2,
        "judgments": 2,
        "relevant": 1,
        "queries with exclusions": 0,
    }


@pytest.mark.parametrize(
    ("data_files", "paths"),
    [
        ("corpus.jsonl", ["corpus.jsonl"]),
        (["a-*", "b-*"], ["a-*", "b-*"]),
        ([{"split": "test", "path": "a-*"}], ["a-*"]),
        ([{"split": "test", "path": ["a-*", "b-*"]}, {"split": "dev", "path": "c"}], ["a-*", "b-*", "c"]),
        ({"test": "a-*", "dev": ["b"]}, ["a-*", "b"]),
        (None, []),
    ],
)
def test_a_card_gives_paths_in_any_of_the_ways_that_the_hub_knows(data_files: Any, paths: list[str]) -> None:
    assert _hub.paths_in(data_files) == paths


@pytest.mark.parametrize(("value", "expected"), [(1, 1), (2.0, 2), (0, 0), (-2.0, -2)])
def test_a_whole_number_may_be_a_float(value: float, expected: int) -> None:
    assert _hub.Row(Path("f.jsonl"), 3, {"score": value}).integer("score") == expected


@pytest.mark.parametrize("value", [0.5, "1", None, True, float("nan"), float("inf"), [1]])
def test_what_is_no_whole_number_is_named_with_its_place(value: object) -> None:
    with pytest.raises(BadFile, match=r"f\.jsonl:3: score is .*; a whole number was expected"):
        _hub.Row(Path("f.jsonl"), 3, {"score": value}).integer("score")


@pytest.mark.parametrize("value", ["12", [1.5], [None], {"a": 1}, [True]])
def test_what_is_no_list_of_ids_is_named_with_its_place(value: object) -> None:
    with pytest.raises(BadFile, match=r"f\.jsonl:3: ids is .*; a list of ids was expected"):
        _hub.Row(Path("f.jsonl"), 3, {"ids": value}).ids("ids")


def test_rows_of_parquet_are_numbered_over_batches_and_other_columns_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_hub, "BATCH", 2)
    rows = [{"a": i, "b": "x", "c": str(i)} for i in range(5)]
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=3)
    assert list(_hub.parquet_rows(path, ("a", "c"))) == [(i + 1, {"a": i, "c": str(i)}) for i in range(5)]


def test_rows_of_json_lines_and_parquet_are_the_same(tmp_path: Path) -> None:
    rows = [{"a": i, "b": f"ü\u2028{i}"} for i in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    parquet = list(_hub.parquet_rows(tmp_path / "t.parquet", ("a", "b")))
    assert list(_hub.json_rows(tmp_path / "t.jsonl", ("a", "b"))) == parquet == list(enumerate(rows, 1))


def test_a_cut_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist([{"a": i} for i in range(1000)]), path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(BadFile, match=r"t\.parquet: cannot be read as parquet after row 0 \("):
        list(_hub.parquet_rows(path, ("a",)))


@pytest.mark.parametrize("error", [OSError("no\n route"), ValueError("bad name"), ConnectionError("off")])
def test_any_failure_of_the_client_is_one_line(error: Exception) -> None:
    with pytest.raises(LimrankError, match="d: o/r cannot be downloaded") as caught, _hub.explained("d", "o/r"):
        raise error
    assert "\n" not in str(caught.value)
