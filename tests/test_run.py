import gzip
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limrank.errors import BadFile, BadRecord
from limrank.records import ScoredDoc
from limrank.run import Run, decode_id, encode_id, name_of

# Ids with what breaks readers of run files: spaces of all kinds, percent signs, what looks encoded, other alphabets.
doc_ids = st.text(st.sampled_from("ab %20%25 \t\n\r\x0b\x0c\u00a0\u2003\x85é日𝔸/#\"'"), min_size=1, max_size=8)
query_ids = st.text(st.sampled_from("ab1/é'\u00a0"), min_size=1, max_size=6)
scores = st.sampled_from([0.0, -0.0, -1.0, 1.0, 1.0 + 1e-9, 1e-45, 3e38, -3e38]) | st.floats(
    -(2.0**99), 2.0**99, width=32
)
tables = st.dictionaries(query_ids, st.dictionaries(doc_ids, scores, min_size=1, max_size=6), min_size=1, max_size=4)


@given(tables)
def test_scores_are_strictly_decreasing_as_float32(table):
    run = Run.from_scores(table)
    for query_id in run:
        assert run.scores(query_id).dtype == np.float32
        assert (run.scores(query_id)[:-1] > run.scores(query_id)[1:]).all()


@given(tables)
def test_the_order_is_trec_evals_float32_score_then_id_by_bytes_descending(table):
    run = Run.from_scores(table)
    for query_id, by_doc in table.items():
        expected = sorted(by_doc, key=lambda d: (np.float32(by_doc[d]), d.encode()), reverse=True)
        assert run.doc_ids(query_id) == expected


@given(tables)
def test_what_is_written_is_what_is_read(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("run") / "x.trec"
    run = Run.from_scores(table)
    run.write(path)
    again = Run.read(path)
    assert list(again) == list(run)
    for query_id in run:
        assert again.doc_ids(query_id) == run.doc_ids(query_id)
        assert np.array_equal(again.scores(query_id), run.scores(query_id))


@given(doc_ids)
def test_an_encoded_id_is_one_column_and_can_be_decoded(doc_id):
    assert decode_id(encode_id(doc_id)) == doc_id
    assert len(f"x{encode_id(doc_id)}x".encode().split()) == 1


def test_reading_knows_no_order_of_lines_and_ignores_the_rank_column(tmp_path):
    (tmp_path / "x.trec").write_text("q1 Q0 b 1 1 t\nq2 Q0 a 1 1 t\nq1 Q0 a 7 2 t\n")
    run = Run.read(tmp_path / "x.trec")
    assert (list(run), run.doc_ids("q1"), run.doc_ids("q2")) == (["q1", "q2"], ["a", "b"], ["a"])


def test_ties_of_a_given_order_are_opened_downwards():
    run = Run({"q": [("b", 1.0), ("a", 1.0), ("c", 1.0 - 1e-12), ("d", 0.5)]})
    step = np.float32(2**-24)
    assert run.doc_ids("q") == ["b", "a", "c", "d"]
    assert run.scores("q").tolist() == [1.0, float(1 - step), float(1 - 2 * step), 0.5]


def test_ties_push_down_what_is_too_close_behind_them():
    # The third score is one step of float32 below the first two: the second takes its place.
    run = Run({"q": [("a", 1.0), ("b", 1.0), ("c", 1.0 - 2**-24)]})
    assert (run.scores("q")[:-1] > run.scores("q")[1:]).all()
    assert run.doc_ids("q") == ["a", "b", "c"]


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 1e39])
def test_a_score_that_is_no_finite_float32_is_refused(score, tmp_path):
    with pytest.raises(BadRecord, match="document 'd2'.*not finite"):
        Run({"q": [("d1", 1.0), ("d2", score)]})
    with pytest.raises(BadRecord, match="document 'd2'.*not finite"):
        Run.from_scores({"q": {"d1": 1.0, "d2": score}})
    (tmp_path / "x.trec").write_text(f"q Q0 d1 1 1.0 t\nq Q0 d2 2 {score} t\n")
    with pytest.raises(BadFile, match=r"x.trec:2: score .* is not a finite float32"):
        Run.read(tmp_path / "x.trec")


def test_so_many_ties_at_the_lowest_float32_that_no_step_is_left_are_refused():
    with pytest.raises(BadRecord, match="scores tie at -3.4.*, below which float32 has no number"):
        Run({"q": [("a", -3.4028234e38), ("b", -3.4028234e38)]})


def test_a_rising_score_and_a_document_twice_are_refused():
    with pytest.raises(BadRecord, match=r"bm25: query 'q': score rises from 1.0 to 2.0 at rank 2"):
        Run({"q": [("a", 1.0), ("b", 2.0)]}, name="bm25")
    with pytest.raises(BadRecord, match="has document 'a' twice"):
        Run({"q": [("a", 2.0), ("a", 1.0)]})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("q Q0 d 1 1\n", "x.trec:1: 5 columns; a run line is: query_id Q0 doc_id rank score tag"),
        ("q Q0 d 1 1 t\n\nq Q0 e 2 high t\n", "x.trec:3: score 'high' is not a number"),
        ("q Q0 d 1 1 t\np Q0 d 1 1 t\nq Q0 d 2 0 t\n", "x.trec:3: query 'q' has document 'd' a second time"),
        ("q Q0 a%20b 1 1 t\nq Q0 a b 2 0 t\n", "x.trec:2: query 'q' has document 'a b' a second time"),
    ],
)
def test_a_bad_line_is_named(tmp_path, lines, message):
    (tmp_path / "x.trec").write_text(lines)
    with pytest.raises(BadFile) as error:
        Run.read(tmp_path / "x.trec")
    assert message in str(error.value)


def test_bytes_that_are_not_UTF_8_are_named(tmp_path):
    (tmp_path / "x.trec").write_bytes(b"q Q0 d 1 1 t\nq Q0 \xff 2 0 t\n")
    with pytest.raises(BadFile, match="x.trec:2: not UTF-8"):
        Run.read(tmp_path / "x.trec")


def test_ids_with_spaces_are_read_bare_or_encoded(tmp_path):
    (tmp_path / "x.trec").write_text("q Q0 Memory Management_2_0.txt 1 2 t\nq Q0 Memory%20Use.txt 2 1 t\n")
    run = Run.read(tmp_path / "x.trec")
    assert run.doc_ids("q") == ["Memory Management_2_0.txt", "Memory Use.txt"]
    run.write(tmp_path / "y.trec")
    assert (
        tmp_path / "y.trec"
    ).read_text() == "q Q0 Memory%20Management_2_0.txt 1 2.0 x\nq Q0 Memory%20Use.txt 2 1.0 x\n"


def test_a_rank_that_is_a_word_is_a_document_id_with_a_space_and_refused(tmp_path):
    path = tmp_path / "x.trec"
    # Without a tag, "My Doc" would be read as document My at rank Doc with score 1.
    path.write_text("q1 Q0 a 1 3 t\nq1 Q0 My Doc 1 2.5\n")
    with pytest.raises(BadFile, match=r"x\.trec:2: rank 'Doc' is not a number; a run line is: query_id Q0 doc_id rank"):
        Run.read(path)
    path.write_text("q1 Q0 My Doc 1 2.5 t\nq1 Q0 b -1 2 t\nq1 Q0 c 3.0 1 t\nq1 Q0 d 0 0.5 t\n")
    assert Run.read(path).doc_ids("q1") == ["My Doc", "b", "c", "d"]


def test_a_score_with_an_underscore_is_no_number(tmp_path):
    path = tmp_path / "x.trec"
    path.write_text("q1 Q0 a 1 1_0 t\n")
    with pytest.raises(BadFile, match=r"x\.trec:1: score '1_0' is not a number"):
        Run.read(path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_byte_order_mark_is_no_part_of_the_first_query(tmp_path, suffix):
    path = tmp_path / f"x.trec{suffix}"
    with (gzip.open if suffix else open)(path, "wb") as file:
        file.write(b"\xef\xbb\xbfq1 Q0 a 1 2 t\nq1 Q0 b 2 1 t\n")
    assert {query_id: list(run) for query_id, run in Run.read(path).items()} == {"q1": [("a", 2.0), ("b", 1.0)]}


def test_columns_end_at_ASCII_white_space_only(tmp_path):
    # trec_eval knows no other; str.split would split at the no-break space and the line separator.
    (tmp_path / "x.trec").write_bytes("q\u00a01 Q0\td\u20282  1 1 t\r\n".encode())
    assert Run.read(tmp_path / "x.trec").doc_ids("q\u00a01") == ["d\u20282"]


def test_a_query_id_with_white_space_and_an_empty_id_cannot_be_written(tmp_path):
    for query_id in ("a b", ""):
        with pytest.raises(BadRecord, match="cannot be written to a TREC file"):
            Run({query_id: [("d", 1)]}).write(tmp_path / "x.trec")
    with pytest.raises(BadRecord, match="query 'q' has a document with an empty id"):
        Run({"q": [("", 1)]}).write(tmp_path / "x.trec")
    assert not (tmp_path / "x.trec").exists()


def test_gzip_is_read_and_written_and_the_name_is_the_files(tmp_path):
    Run({"q": [("d", 1)]}, name="my run").write(tmp_path / "bm25.trec.gz")
    assert gzip.decompress((tmp_path / "bm25.trec.gz").read_bytes()) == b"q Q0 d 1 1.0 my_run\n"
    assert Run.read(tmp_path / "bm25.trec.gz").name == "bm25"
    names = ("a.trec", "a.b.run.gz", "a.txt", "a")
    assert [name_of(tmp_path / name) for name in names] == ["a", "a.b", "a", "a"]


def test_an_archive_that_is_cut_off_is_a_bad_file(tmp_path):
    whole = gzip.compress(b"q Q0 d 1 1 t\n" * 1)
    (tmp_path / "x.trec.gz").write_bytes(whole[:-9])
    with pytest.raises(BadFile, match="cut off or not gzip"):
        Run.read(tmp_path / "x.trec.gz")


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_file_without_results_is_refused(tmp_path, text):
    (tmp_path / "x.trec").write_text(text)
    with pytest.raises(BadFile, match=r"x\.trec: no results in it"):
        Run.read(tmp_path / "x.trec")


def test_a_run_is_a_mapping_to_documents_with_scores():
    run = Run({"q": [("a", 2), ("b", 1)], "p": []}, name="bm25")
    assert run["q"] == [ScoredDoc("a", 2.0), ScoredDoc("b", 1.0)]
    assert (list(run), len(run), "p" in run, "x" in run, run["p"]) == (["q", "p"], 2, True, False, [])
    assert repr(run) == "Run('bm25', 2 queries, 2 documents)"


def test_top_without_and_renamed_leave_the_run_as_it_is():
    run = Run({"q": [("a", 3), ("b", 2), ("c", 1)], "p": [("a", 1)]}, name="bm25")
    assert run.top(2).doc_ids("q") == ["a", "b"]
    without = run.without({"q": frozenset({"a"}), "x": frozenset({"b"})})
    assert (without.doc_ids("q"), without.scores("q").tolist(), without.doc_ids("p")) == (["b", "c"], [2, 1], ["a"])
    assert (run.renamed("x").name, run.name, run.doc_ids("q")) == ("x", "bm25", ["a", "b", "c"])


def test_reading_holds_little_more_than_the_run(tmp_path):
    # 20 bytes of id, 8 of pointer and 4 of score a line make at most 100; a dict of scores takes about 200.
    path = tmp_path / "x.trec"
    lines = (f"q{q} Q0 document-{q}-{d} {d + 1} {1000 - d} t\n" for q in range(100) for d in range(200))
    path.write_text("".join(lines))
    tracemalloc.start()
    try:
        run = Run.read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(run) == 100
    assert peak < 20_000 * 250
