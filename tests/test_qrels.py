import pytest
from hypothesis import given
from hypothesis import strategies as st

from limrank.errors import BadFile, BadRecord
from limrank.qrels import Qrels

doc_ids = st.text(st.sampled_from("ab %20%25 \t\u00a0\x85é日𝔸/"), min_size=1, max_size=8)
query_ids = st.text(st.sampled_from("ab1/é'\u00a0"), min_size=1, max_size=6)
tables = st.dictionaries(
    query_ids, st.dictionaries(doc_ids, st.integers(-100, 4), min_size=1, max_size=6), min_size=1, max_size=4
)


@given(tables)
def test_what_is_written_is_what_is_read(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("qrels") / "x.qrels"
    Qrels(table).write(path)
    again = Qrels.read(path)
    assert {query_id: dict(again[query_id]) for query_id in again} == table
    assert list(again) == list(table)


@given(tables)
def test_the_hash_is_of_the_judgments_not_of_their_order(table):
    turned = {query_id: dict(reversed(docs.items())) for query_id, docs in reversed(table.items())}
    assert Qrels(table).sha256() == Qrels(turned, name="other").sha256()
    query_id, docs = next(iter(table.items()))
    doc_id = next(iter(docs))
    assert Qrels(table).sha256() != Qrels(table | {query_id: docs | {doc_id: 5}}).sha256()


def test_judgments_are_copied():
    table = {"q": {"d": 1}}
    qrels = Qrels(table)
    table["q"]["d"] = 0
    assert qrels["q"]["d"] == 1


def test_relevant_is_what_is_above_0():
    qrels = Qrels({"q": {"a": 2, "b": 1, "c": 0, "d": -1}})
    assert (qrels.relevant("q"), qrels.relevant("x")) == ({"a", "b"}, frozenset())


@pytest.mark.parametrize("relevance", [1.0, "1", True, None])
def test_a_relevance_that_is_no_integer_is_refused(relevance):
    with pytest.raises(BadRecord, match="query 'q', document 'd': relevance .* is not an integer"):
        Qrels({"q": {"d": relevance}})


def test_TREC_lines_are_read_with_tabs_spaces_and_ids_that_hold_spaces(tmp_path):
    (tmp_path / "x.qrels").write_text("q1 0 d1 1\nq1\t0\tMemory Management.txt\t2\r\n\nq2 Q0 a%20b -1\nq2 0 c 1.0\n")
    qrels = Qrels.read(tmp_path / "x.qrels")
    assert dict(qrels.items()) == {"q1": {"d1": 1, "Memory Management.txt": 2}, "q2": {"a b": -1, "c": 1}}
    assert qrels.name == "x"


@pytest.mark.parametrize("header", ["query-id\tcorpus-id\tscore", "query_id\tdoc_id\trelevance", "qid\tpid\tscore"])
def test_a_BEIR_file_is_known_by_its_header(tmp_path, header):
    (tmp_path / "test.tsv").write_text(f"{header}\nq1\td1\t1\nq1\tMemory Use\t0\n")
    assert dict(Qrels.read(tmp_path / "test.tsv").items()) == {"q1": {"d1": 1, "Memory Use": 0}}


def test_a_line_that_is_there_twice_counts_once(tmp_path):
    (tmp_path / "x.qrels").write_text("q 0 d 1\nq 0 d 1\n")
    assert dict(Qrels.read(tmp_path / "x.qrels").items()) == {"q": {"d": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q 0 d 1\nq 0 d 0\n", "x.qrels:2: query 'q' judges document 'd' as 0, and as 1 before; keep one"),
        ("q 0 d 1\nq d 1\n", "x.qrels:2: 3 columns; a qrels line is: query_id 0 doc_id relevance"),
        ("q 0 d 0.5\n", "x.qrels:1: relevance '0.5' is not an integer"),
        ("q 0 d high\n", "x.qrels:1: relevance 'high' is not an integer"),
        ("query-id\tcorpus-id\tscore\nq d 1\n", "x.qrels:2: 1 tab-separated columns; a BEIR qrels line is"),
        ("\n", "x.qrels: no judgments in it"),
        ("query-id\tcorpus-id\tscore\n", "x.qrels: no judgments in it"),
    ],
)
def test_a_bad_line_is_named(tmp_path, text, message):
    (tmp_path / "x.qrels").write_text(text)
    with pytest.raises(BadFile) as error:
        Qrels.read(tmp_path / "x.qrels")
    assert message in str(error.value)


def test_a_byte_order_mark_is_no_part_of_the_first_query(tmp_path):
    path = tmp_path / "x.qrels"
    path.write_bytes(b"\xef\xbb\xbfq1 0 d1 1\nq1 0 d2 1\n")
    assert dict(Qrels.read(path)) == {"q1": {"d1": 1, "d2": 1}}
    path.write_bytes(b"\xef\xbb\xbfquery-id\tcorpus-id\tscore\nq1\td1\t1\n")
    assert dict(Qrels.read(path)) == {"q1": {"d1": 1}}


def test_a_relevance_beyond_trec_evals_integers_is_refused(tmp_path):
    path = tmp_path / "x.qrels"
    path.write_text("q1 0 d1 2147483647\nq1 0 d2 99999999999\n")
    with pytest.raises(BadFile, match=r"x\.qrels:2: relevance 99999999999 is beyond what trec_eval can hold"):
        Qrels.read(path)
    with pytest.raises(BadRecord, match="'d1': relevance -2147483648 is beyond"):
        Qrels({"q1": {"d1": -(2**31)}})


def test_bytes_that_are_not_UTF_8_are_named(tmp_path):
    (tmp_path / "x.qrels").write_bytes(b"q 0 d 1\nq 0 \xff 1\n")
    with pytest.raises(BadFile, match="x.qrels:2: .*utf-8"):
        Qrels.read(tmp_path / "x.qrels")


def test_a_query_id_with_white_space_and_an_empty_id_cannot_be_written(tmp_path):
    for query_id in ("a b", ""):
        with pytest.raises(BadRecord, match="cannot be written to a TREC file"):
            Qrels({query_id: {"d": 1}}).write(tmp_path / "x.qrels")
    with pytest.raises(BadRecord, match="query 'q' has a document with an empty id"):
        Qrels({"q": {"": 1}}).write(tmp_path / "x.qrels")
