import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from limrank.errors import BadFile, BadRecord, LimrankError, Mismatch, Unknown
from limrank.records import Document, Query, ScoredDoc
from limrank.retrieve import index, open_index, retrieve, search_without

TWO = [Document("d1", "red apples"), Document("d2", "green pears")]


class Collection:
    def __init__(self, documents=TWO, name="fruit", revision="1"):
        self.name, self.revision, self._documents = name, revision, documents
        self.reads = 0

    def documents(self):
        self.reads += 1
        yield from self._documents


def found(path, text):
    return list(retrieve(path, [Query("q", text)]).doc_ids("q"))


# an index is whole, or it is not there


STALLS = """
import signal, sys, time
from pathlib import Path
from limrank.records import Document
from limrank.retrieve import index

# Where the tests run in the background, SIGINT is ignored, and so it would be here.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Endless:
    name, revision = "endless", "1"
    def documents(self):
        for i in range(10**9):
            if i == 5000:
                print("stalled", flush=True)
                time.sleep(60)
            yield Document(str(i), f"number{i}")

index(Endless(), out=Path(sys.argv[1]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_build_that_is_killed_leaves_nothing_that_opens(tmp_path, how):
    out = tmp_path / "index"
    process = subprocess.Popen(
        [sys.executable, "-c", STALLS, out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "stalled\n"
        process.send_signal(how)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0 and not out.exists()
    with pytest.raises(BadFile, match="no such index"):
        open_index(out)
    for left in tmp_path.iterdir():
        with pytest.raises(BadFile, match="not an index"):
            open_index(left)
    if how == signal.SIGINT:
        assert "KeyboardInterrupt" in stderr and list(tmp_path.iterdir()) == []
    assert found(index(Collection(), out=out).path, "apples") == ["d1"]


def test_a_build_that_fails_leaves_the_index_that_was_there(tmp_path):
    out = index(Collection(), out=tmp_path / "index").path
    with pytest.raises(BadRecord):
        index(Collection([*TWO, Document("d1", "again")]), out=out, force=True)
    assert found(out, "pears") == ["d2"]
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_the_same_index_is_not_built_twice(tmp_path):
    collection = Collection()
    first = index(collection, out=tmp_path / "index")
    second = index(collection, out=tmp_path / "index", options={"docvectors": "true"})
    assert (first.already_there, second.already_there, collection.reads) == (False, True, 1)
    assert second.manifest == first.manifest
    assert not index(collection, out=tmp_path / "index", force=True).already_there
    assert collection.reads == 2


@pytest.mark.parametrize(
    ("collection", "options", "difference"),
    [
        (Collection(name="vegetables"), {}, "'fruit' there, 'vegetables' wanted"),
        (Collection(revision="2"), {}, "documents: '1' there, '2' wanted"),
        (Collection(), {"docvectors": "false"}, "docvectors: True there, False wanted"),
    ],
)
def test_an_index_of_something_else_is_replaced_only_by_force(tmp_path, collection, options, difference):
    out = index(Collection(), out=tmp_path / "index").path
    with pytest.raises(Mismatch, match=difference):
        index(collection, out=out, options=options)
    assert not index(collection, out=out, options=options, force=True).already_there


def test_force_does_not_replace_what_is_no_index(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(LimrankError, match="is not an index"):
        index(Collection(), out=tmp_path, force=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_the_manifest_says_what_the_index_was_made_from(tmp_path):
    made = index(Collection([*TWO, Document("d3", "")]), out=tmp_path / "index").manifest
    assert made.inputs == {"dataset": "fruit", "revision": "1"}
    assert made.parameters == {"kind": "lucene", "options": {"docvectors": True}}
    assert made.counts == {"documents": 2, "empty": 1}
    assert made.output["name"] == "index" and made.seconds > 0 and "pyserini" in made.versions


# wrong input


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([*TWO, Document("d1", "apples again")], "document 3 has the id 'd1' of an earlier one"),
        ([Document("", "nameless")], "document 1 has no id"),
        ([Document("half\ud800", "text")], "not Unicode"),
        ([], "nothing to index"),
        ([Document("d1", " ")], "nothing to index"),
    ],
)
def test_a_collection_that_cannot_be_indexed_is_an_error(tmp_path, documents, message):
    with pytest.raises(LimrankError, match=message):
        index(Collection(documents), out=tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_or_option_suggests_the_nearest(tmp_path):
    with pytest.raises(Unknown, match="did you mean lucene"):
        index(Collection(), "lucen", out=tmp_path / "index")
    with pytest.raises(Unknown, match="did you mean docvectors"):
        index(Collection(), out=tmp_path / "index", options={"docvector": "true"})


def test_a_folder_with_another_manifest_is_no_index(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"command": "limrank retrieve"}))
    with pytest.raises(BadFile, match="not the manifest of an index"):
        open_index(tmp_path)


def test_query_ids_are_unique_and_k_is_positive(tmp_path):
    out = index(Collection(), out=tmp_path / "index").path
    with pytest.raises(BadRecord, match="'q' is there twice"):
        retrieve(out, [Query("q", "a"), Query("q", "b")])
    with pytest.raises(LimrankError, match="k=0"):
        retrieve(out, [Query("q", "a")], k=0)


# excluded documents


def test_exclusions_are_replaced_from_below_with_one_more_search_at_most():
    ranking = [ScoredDoc(f"d{i}", 100.0 - i) for i in range(50)]
    depths = []

    def search(queries, depth):
        depths.append((len(queries), depth))
        return {query.query_id: ranking[:depth] for query in queries}

    queries = [Query("none", ""), Query("top", ""), Query("deep", ""), Query("all", "")]
    excluded = {
        "top": frozenset({"d0", "d2"}),
        "deep": frozenset({"d40", "d41", "d42"}),
        "all": frozenset(doc.doc_id for doc in ranking),
    }
    kept = search_without(search, queries, 5, excluded)
    ids = {query_id: [doc.doc_id for doc in ranking] for query_id, ranking in kept.items()}
    assert ids == {
        "none": ["d0", "d1", "d2", "d3", "d4"],
        "top": ["d1", "d3", "d4", "d5", "d6"],
        "deep": ["d0", "d1", "d2", "d3", "d4"],
        "all": [],
    }
    assert list(ids) == ["none", "top", "deep", "all"]
    # 4 queries at 5; then only those that lost something, at 5 and the 50 that "all" excludes.
    assert depths == [(4, 5), (2, 55)]


def test_queries_are_tracked_and_searched_in_batches(tmp_path):
    seen = []

    def track(items, *, label, total=None):
        for item in items:
            seen.append((label, total))
            yield item

    out = index(Collection(), out=tmp_path / "index").path
    run = retrieve(out, [Query(f"q{i}", "apples") for i in range(5)], k=125_000, track=track)
    assert seen == [("retrieve", 5)] * 5
    assert [list(run.doc_ids(query_id)) for query_id in run] == [["d1"]] * 5


def test_a_finished_index_follows_the_umask_like_any_other_folder(tmp_path):
    out = index(Collection(), out=tmp_path / "index").path
    (tmp_path / "other").mkdir()
    assert out.stat().st_mode == (tmp_path / "other").stat().st_mode
    assert os.access(out / "manifest.json", os.R_OK)
    assert Path(out).name == "index"
