"""Bad input: one line on stderr that says what, where and what to do, and an exit code that is not 0."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_behind_stdout_is_one_line(folder):
    command = [sys.executable, "-m", "limrank", "evaluate", "good.trec", "--qrels", "good.qrels"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "Errno" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("limrank: the output could not be written, for the disk is full; ")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
@pytest.mark.parametrize(
    "arguments",
    [
        ["index", "stdlib", "--out", "/proc/x"],
        ["report", "good.trec", "--qrels", "good.qrels", "--out", "/proc/r.html"],
    ],
)
def test_a_place_where_nothing_can_be_put_is_refused_before_the_work(folder, arguments):
    done = limrank(*arguments, cwd=folder)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"limrank: {arguments[-1]}: its folder cannot be written to (" in done.stderr
    assert "choose another --out" in done.stderr and "Errno" not in done.stderr


def test_the_same_input_without_the_mistake_is_no_error(folder):
    done = limrank("evaluate", "good.trec", "--qrels", "good.qrels", cwd=folder)
    assert (done.returncode, "0.5000" in done.stdout) == (0, True)
    assert "q2" in done.stderr


def test_an_interrupted_rerank_says_how_to_go_on_and_does(tmp_path):
    (tmp_path / "pets").mkdir()
    documents = "".join(f'{{"_id": "d{i}", "text": "pet {i}"}}\n' for i in range(40))
    (tmp_path / "pets" / "corpus.jsonl").write_text(documents)
    (tmp_path / "pets" / "queries.jsonl").write_text('{"_id": "q1", "text": "a pet"}\n')
    (tmp_path / "first.trec").write_text("".join(f"q1 Q0 d{i} {i + 1} {40 - i} first\n" for i in range(40)))
    command = ["rerank", "first.trec", "pets", "--method", "pointwise", "--out", "out.trec", "--llm"]
    # Where the tests run in the background, SIGINT is ignored, and so it would be here.
    program = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from limrank.cli import run; sys.exit(run(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *command, "fake:hash batch=1 delay=0.2"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    calls = tmp_path / "out.trec.calls.jsonl"
    while process.poll() is None and not (calls.exists() and calls.stat().st_size):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and not (tmp_path / "out.trec").exists()
    assert errors.splitlines()[-1] == "limrank: interrupted; the same command goes on where this one stopped"
    done = limrank(*command, "fake:hash batch=1 delay=0.2", "--json", cwd=tmp_path)
    counts = json.loads(done.stdout)["counts"]
    assert counts["asked"] + counts["reused"] == 40 and counts["reused"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rerank", "a", "b", "--method", "pointwise", "think=full"], 'one word for the shell: "pointwise think=full"'),
        (["rerank", "a", "b", "--no-such"], "see limrank rerank --help"),
        (["rerankk"], "see limrank --help"),
    ],
)
def test_a_wrong_command_line_says_where_to_look(arguments, message, tmp_path):
    done = limrank(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and ".;" not in done.stderr


def test_what_a_model_answers_malformed_is_not_asked_again_and_nobody_is_told_so(tmp_path):
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "corpus.jsonl").write_text('{"_id": "d1", "text": "cat"}\n{"_id": "d2", "text": "dog"}\n')
    (tmp_path / "pets" / "queries.jsonl").write_text('{"_id": "q1", "text": "a pet"}\n')
    (tmp_path / "first.trec").write_text(GOOD)
    command = ["rerank", "first.trec", "pets", "--method", "listwise", "--llm", "fake:hash", "--out", "out.trec"]
    done = limrank(*command, cwd=tmp_path)
    assert done.returncode == 1 and "ask another model or prompt, or allow them with --max-failed 2" in done.stderr
    assert "answers 0 ok, 0 forced, 1 malformed, 0 failed, retried 1, asked 2" in done.stdout
