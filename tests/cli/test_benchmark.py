"""limrank benchmark as it is typed: the plan, the table, what fails and what is found again."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from limrank import Run, benchmark
from limrank.cli import application
from limrank.cli import run as limrank_in_process

ROOT = Path(__file__).parents[2]
DOCUMENTS = {"d1": "the cat sat on the mat", "d2": "a dog chased the cat", "d3": "stock markets fell on monday"}
TEXT = """
title = "Pets"
about = "two kinds"
source = "nobody"
measures = ["nDCG@10"]
mean = true
baseline = "bm25"
tasks = [
    { name = "cats", dataset = "data/cats", queries = 2 },
    { name = "gone", dataset = "data/gone", queries = 1 },
    { name = "dogs", dataset = "data/dogs", queries = 2 },
]

[[conditions]]
name = "bm25"
about = "words"
steps = ["index {dataset} lucene", "retrieve {name}/lucene {dataset} --k 10 --out {out}"]

[rerank]
first_stages = ["bm25"]
depths = [2]

[[published]]
system = "theirs"
condition = "bm25"
measure = "nDCG@10"
source = "paper, table 1"
status = "found"
tolerance = 0.5
tasks = { cats = 100.0 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two small collections, and no third one."""
    folder = tmp_path_factory.mktemp("benchmark")
    for name, queries in (("cats", {"q1": "cat mat", "q2": "cat mat sat"}), ("dogs", {"q1": "dog", "q2": "a dog"})):
        (folder / "data" / name / "qrels").mkdir(parents=True)
        lines = [json.dumps({"_id": doc_id, "text": text}) for doc_id, text in DOCUMENTS.items()]
        (folder / "data" / name / "corpus.jsonl").write_text("\n".join(lines) + "\n")
        lines = [json.dumps({"_id": query_id, "text": text}) for query_id, text in queries.items()]
        (folder / "data" / name / "queries.jsonl").write_text("\n".join(lines) + "\n")
        gold = "d1" if name == "cats" else "d2"
        lines = [f"{query_id}\t{gold}\t1" for query_id in queries]
        (folder / "data" / name / "qrels" / "test.tsv").write_text(
            "query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n"
        )
    (folder / "pets.toml").write_text(TEXT)
    whole = TEXT.replace('    { name = "gone", dataset = "data/gone", queries = 1 },\n', "")
    (folder / "whole.toml").write_text(whole)
    (folder / "off.toml").write_text(whole.replace("cats = 100.0", "cats = 99.0"))
    return folder


@pytest.fixture(scope="module")
def limrank(folder):
    def call(*arguments, code=0):
        done = subprocess.run([sys.executable, "-m", "limrank", *arguments], cwd=folder, capture_output=True, text=True)
        assert done.returncode == code, done.stderr + done.stdout
        return done

    return call


@pytest.fixture(scope="module")
def made(limrank):
    """The whole benchmark with a reranker, whose weights nobody has: a scripted model answers in its place."""
    return limrank("benchmark", "pets.toml", "--model", "rank1-7b", "--llm", "fake:hash", "--json", code=1)


def test_one_task_that_cannot_be_loaded_does_not_stop_the_others(made):
    bm25, reranked = json.loads(made.stdout)["systems"]
    assert bm25["values"]["cats"]["nDCG@10"] == bm25["values"]["dogs"]["nDCG@10"] == 100
    assert bm25["values"]["gone"]["nDCG@10"] is None and bm25["values"]["mean"]["nDCG@10"] is None
    assert reranked["name"] == "bm25+rank1-7b.top2" and reranked["values"]["cats"]["nDCG@10"] is not None
    assert list(bm25["not_run"]) == list(reranked["not_run"]) == ["gone"]
    assert "gone" in bm25["not_run"]["gone"] and "\n" not in bm25["not_run"]["gone"]


def test_what_was_finished_is_not_made_again(limrank, folder, made):
    runs = sorted((folder / "runs" / "benchmark").rglob("*.trec"))
    assert len(runs) == 4
    before = {path: path.stat().st_mtime_ns for path in runs}
    again = limrank("benchmark", "pets.toml", "--model", "rank1-7b", "--llm", "fake:hash", "--json", code=1)
    assert json.loads(again.stdout) == json.loads(made.stdout)
    assert {path: path.stat().st_mtime_ns for path in runs} == before
    assert again.stderr.count("already there") >= 4


def test_the_table_says_what_was_not_run_and_where_published_numbers_are_from(limrank, folder, made):
    done = limrank("benchmark", "pets.toml", "--format", "markdown", "--out", "table.md", code=1)
    assert "| · theirs [1] | - | 100.00 | - | - | - |" in done.stdout
    assert "[1] paper, table 1 (found)" in done.stdout
    assert "not run: bm25 on gone: " in done.stdout
    assert (folder / "table.md").read_text() == done.stdout


def test_a_check_passes_or_names_the_cell_ours_the_expected_and_the_tolerance(limrank, made):
    passed = limrank("benchmark", "whole.toml", "--check", "--format", "latex")
    assert "1 number is within its tolerance" in passed.stderr and r"\toprule" in passed.stdout
    failed = limrank("benchmark", "off.toml", "--check", code=1)
    [line] = [line for line in failed.stderr.splitlines() if line.startswith("limrank: ")]
    assert line == "limrank: bm25, cats, nDCG@10: 100.0000, expected 99 within 0.5 (paper, table 1)"


def test_a_check_of_nothing_is_refused(limrank):
    done = limrank("benchmark", "whole.toml", "--task", "dogs", "--check", code=1)
    assert "leave --check out" in done.stderr and done.stdout == ""


def test_the_commands_of_a_plan_do_what_the_benchmark_does_when_they_are_typed(limrank, folder, made, tmp_path):
    plan = limrank("benchmark", "whole.toml", "--dry-run", "--folder", str(tmp_path / "typed here")).stdout
    commands = [shlex.split(line) for line in plan.splitlines() if line and not line.startswith("#")]
    assert [command[1] for command in commands] == ["index", "retrieve", "index", "retrieve"]
    for command in commands:
        limrank(*command[1:])
    typed, run_by_us = (
        Run.read(place / "cats" / "bm25.trec") for place in (tmp_path / "typed here", folder / "runs" / "benchmark")
    )
    assert dict(typed) == dict(run_by_us)


def test_a_plan_ends_with_the_comparison_that_can_be_typed(limrank, made):
    plan = limrank("benchmark", "whole.toml", "--model", "rank1-7b", "--llm", "fake:hash", "--dry-run").stdout
    [comparison] = [line for line in plan.splitlines() if line.startswith("limrank compare")]
    assert "bm25+rank1-7b.top2" in limrank(*shlex.split(comparison)[1:]).stdout


def test_a_plan_counts_what_a_rerank_takes_where_its_first_stage_is_there(limrank, made):
    done = limrank("benchmark", "whole.toml", "--model", "rank1-7b", "--llm", "fake:hash", "--dry-run", "--json")
    [cost] = json.loads(done.stdout)["costs"]
    # Two queries a task with two documents each at most (cats: d1 and d2 match; dogs: d2 alone).
    assert cost["documents"] == 6 and cost["calls"] >= 6 and cost["output_tokens"] > 6 * 400


def test_bright_can_be_planned_without_network_and_without_its_data(tmp_path):
    offline = "import socket\ndef refuse(*_, **__): raise OSError('no network')\nsocket.socket.connect = refuse\n"
    code = offline + "from limrank.cli import run; import sys; sys.exit(run(sys.argv[1:]))"
    arguments = ["benchmark", "bright", "--dry-run", "--model", "limrank-7b"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and list(tmp_path.iterdir()) == []
    commands = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("limrank ")]
    # 12 tasks: an index and four BM25 runs, a dense index and two runs, two first stages reranked at two depths; and
    # one comparison.
    assert len(commands) == 12 * (1 + 4 + 1 + 2 + 2 * 2) + 1
    # 1,384 queries by 100 documents, of which each is thought about (400 tokens) and judged (1 token).
    assert "bm25-qs-gpt4+limrank-7b.top100: 138,400 documents, 276,800 calls" in done.stdout
    assert f"{138_400 * 401:,} written" in done.stdout


@pytest.mark.parametrize("name", benchmark.names())
def test_every_command_of_a_plan_is_one_that_limrank_takes(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    models = ["limrank-7b", "reasonrank-7b", "bge-reranker-v2-m3"]
    assert limrank_in_process(["benchmark", name, "--dry-run", "--max-failed", "3", "--model", *models]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line and not line.startswith("# ")]
    assert sum(" --model " in line for line in lines) >= len(models)
    assert lines[-1].startswith("limrank compare ")
    app = application()
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "limrank"
        app.parse_args(words, exit_on_error=False, print_error=False)


def test_a_plan_compares_with_the_baseline_that_was_asked_for(limrank):
    options = ["--model", "rank1-7b", "--llm", "fake:hash", "--baseline", "bm25+rank1-7b.top2"]
    plan = limrank("benchmark", "whole.toml", "--dry-run", *options).stdout
    assert plan.rpartition("limrank compare")[2].split("\n")[0].endswith("--baseline bm25+rank1-7b.top2")


def test_a_cost_without_first_stage_is_counted_on_texts_of_the_lengths_that_the_file_assumes(limrank, folder):
    options = ["--model", "monot5-3b", "--dry-run", "--json", "--folder", "nothing/here"]
    [cost] = json.loads(limrank("benchmark", "whole.toml", *options).stdout)["costs"]
    assert cost["documents"] == 8 and "first stage" in cost["why"] and "calls" not in cost
    lengths = "query_characters = 400\ndocument_characters = 1600\n"
    (folder / "usual.toml").write_text(lengths + (folder / "whole.toml").read_text())
    [cost] = json.loads(limrank("benchmark", "usual.toml", *options).stdout)["costs"]
    # Four queries with two documents each, every pair read once: 2,000 characters are 500 tokens.
    assert (cost["documents"], cost["calls"], cost["prompt_tokens"]) == (8, 8, 8 * 500)
    assert cost["assumed"] == {"query_characters": 400, "document_characters": 1600}
    assert cost["hours"] == round(8 * 500 / 30_000 / 3600, 2)


def test_wrong_usage_is_one_line(limrank):
    assert "did you mean" in limrank("benchmark", "brigth", code=1).stderr
    assert "did you mean" in limrank("benchmark", "bright", "--model", "limrank-8b", code=1).stderr
    assert "did you mean" in limrank("benchmark", "whole.toml", "--baseline", "bm52", code=1).stderr


def test_benchmarks_are_listed(limrank):
    listed = json.loads(limrank("list", "benchmarks", "--json").stdout)["benchmarks"]
    assert {"bright", "followir", "litsearch", "stdlib"} <= listed.keys()


class Collection:
    """What FollowIR's collections have and a plain dataset has not."""

    name, revision = "followir/core17", "commit"

    def candidates(self):
        return Run({"1-og": [("a", 3.0), ("b", 2.0), ("c", 1.0)], "1-changed": [("a", 3.0), ("b", 2.0), ("c", 1.0)]})


def test_a_datasets_own_candidates_become_a_run_with_a_manifest(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("limrank.datasets.open_dataset", lambda name: Collection())
    assert limrank_in_process(["retrieve", "candidates", "followir/core17", "--k", "2"]) == 0
    place = tmp_path / "runs" / "followir" / "core17" / "candidates.trec"
    assert {query_id: list(run.doc_ids(query_id)) for run in [Run.read(place)] for query_id in run} == {
        "1-og": ["a", "b"],
        "1-changed": ["a", "b"],
    }
    manifest = json.loads(place.with_name("candidates.trec.manifest.json").read_text())
    assert manifest["parameters"] == {"k": 2, "retriever": "candidates"}
    written = place.stat().st_mtime_ns
    assert limrank_in_process(["retrieve", "candidates", "followir/core17", "--k", "2"]) == 0
    assert place.stat().st_mtime_ns == written
    assert limrank_in_process(["retrieve", "candidates", "followir/core17", "--k", "3"]) == 1
    assert limrank_in_process(["retrieve", "candidates", "followir/core17", "--rm3"]) == 1
    assert "leave the options of an index out" in capsys.readouterr().err


def test_a_dataset_without_candidates_says_what_to_do(limrank):
    done = limrank("retrieve", "candidates", "data/cats", code=1)
    assert "limrank index DATASET lucene" in done.stderr
