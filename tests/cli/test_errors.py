"""Bad input: one line on stderr that says what, where and what to do, and an exit code that is not 0."""

import subprocess
import sys

import pytest

GOOD = "q1 Q0 d1 1 2.0 t\nq1 Q0 d2 2 1.0 t\n"
QRELS = "q1 0 d1 1\nq2 0 d2 1\n"


def limrank(*arguments, cwd):
    return subprocess.run([sys.executable, "-m", "limrank", *arguments], cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good.trec").write_text(GOOD)
    (tmp_path / "good.qrels").write_text(QRELS)
    (tmp_path / "other.qrels").write_text("q9 0 d1 1\n")
    (tmp_path / "five.trec").write_text(GOOD + "q1 Q0 d3 3 0.5\n")
    (tmp_path / "nan.trec").write_text(GOOD + "q1 Q0 d3 3 nan t\n")
    (tmp_path / "word.trec").write_text(GOOD + "q1 Q0 d3 3 high t\n")
    (tmp_path / "twice.trec").write_text(GOOD + "q1 Q0 d1 3 0.5 t\n")
    (tmp_path / "grade.qrels").write_text("q1 0 d1 0.5\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "missing.trec", "--qrels", "good.qrels"], "missing.trec: no such file"),
        (
            ["evaluate", "five.trec", "--qrels", "good.qrels"],
            "five.trec:3: 5 columns; a run line is: query_id Q0 doc_id",
        ),
        (["evaluate", "nan.trec", "--qrels", "good.qrels"], "nan.trec:3: score nan is not a finite float32"),
        (["evaluate", "word.trec", "--qrels", "good.qrels"], "word.trec:3: score 'high' is not a number"),
        (
            ["evaluate", "twice.trec", "--qrels", "good.qrels"],
            "twice.trec:3: query 'q1' has document 'd1' a second time",
        ),
        (["evaluate", "good.trec", "--qrels", "grade.qrels"], "grade.qrels:1: relevance '0.5' is not an integer"),
        (["evaluate", "good.trec", "--qrels", "missing.qrels"], "missing.qrels: no such file"),
        (["evaluate", "good.trec"], "give --dataset NAME or --qrels FILE"),
        (["evaluate", "good.trec", "--qrels", "good.qrels", "ndgc@10"], "nDCG"),
        (["evaluate", "good.trec", "--qrels", "other.qrels"], "no query in common"),
        (["evaluate", "good.trec", "--qrels", "good.qrels", "--missing", "error"], "'q2'"),
        (["evaluate", "good.trec", "--dataset", "vaswanni"], "did you mean vaswani"),
        (["evaluate", "good.trec", "--dataset", "bright/bioligy"], "did you mean biology"),
        (["compare", "good.trec", "--qrels", "good.qrels"], "two runs or more"),
        (["compare", "good.trec", "good.trec", "--qrels", "good.qrels"], "good"),
        (["fuse", "good.trec", "--method", "rrf"], "two runs or more"),
        (["show", "good.trec", "--query", "q2"], "unknown query in good.trec 'q2'"),
        (["retrieve", "nowhere/lucene", "stdlib"], "nowhere/lucene: no such index"),
        (["index", "stdlib", "lucine"], "did you mean lucene"),
        (["index", "stdlib", "lucene", "stemer=porter"], "stemer"),
        (["rerank", "good.trec", "stdlib", "--method", "pointwize"], "did you mean pointwise"),
        (["rerank", "good.trec", "stdlib", "--llm", "transfomers:x"], "did you mean transformers"),
        (["rerank", "good.trec", "stdlib", "--llm", "fake:hash"], "q1"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(folder, arguments, message):
    done = limrank(*arguments, cwd=folder)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("limrank: ")
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(
    "arguments",
    [["evaluate"], ["evalute"], ["evaluate", "good.trec", "--nosuch"], ["retrieve", "x", "y", "--k", "ten"]],
)
def test_wrong_usage_is_one_line_and_exit_code_2(folder, arguments):
    done = limrank(*arguments, cwd=folder)
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("limrank: ")
    assert (done.returncode, done.stdout) == (2, "")


def test_the_same_input_without_the_mistake_is_no_error(folder):
    done = limrank("evaluate", "good.trec", "--qrels", "good.qrels", cwd=folder)
    assert (done.returncode, "0.5000" in done.stdout) == (0, True)
    assert "q2" in done.stderr
