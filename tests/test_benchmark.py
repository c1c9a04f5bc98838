"""Benchmarks as data: what a plan runs, what a table holds, and which published numbers may stand in one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from limrank import Qrels, Run, benchmark, open_dataset, published
from limrank.errors import BadFile, LimrankError, Unknown
from limrank.evaluate import evaluate

REAL = Path(__file__).parents[1].parent / "shared" / "data" / "bright"
TEXT = """
title = "Pets"
about = "two kinds"
source = "nobody"
measures = ["nDCG@10"]
mean = true
baseline = "first"
tasks = [{ name = "cats", dataset = "in/cats", queries = 2 }, { name = "dogs", dataset = "in/dogs", queries = 1 }]

[[conditions]]
name = "first"
about = "one stage"
called = ["words"]
steps = ["index {dataset} lucene", "retrieve {name}/lucene {dataset} --out {out}"]

[[conditions]]
name = "second"
about = "behind it"
after = ["first"]
steps = ["fuse {runs}/first.trec 'my runs/{dataset}.trec' --out {out}"]

[rerank]
first_stages = ["first"]
depths = [5, 20]

[[published]]
system = "theirs"
condition = "first"
measure = "nDCG@10"
source = "paper, table 1"
status = "found"
mean = 50.0
tolerance = 1.0
tasks = { cats = 40.0 }
"""


@pytest.fixture
def pets():
    return benchmark.parse("pets", TEXT)


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Judgments of both tasks, and runs of `first`: cats at ranks 1 and 2, the dog at rank 1."""
    monkeypatch.chdir(tmp_path)
    for task, gold, ranking in (
        ("cats", {"q1": "a", "q2": "a"}, {"q1": ["a", "b"], "q2": ["b", "a"]}),
        ("dogs", {"q1": "c"}, {"q1": ["c", "d"]}),
    ):
        folder = tmp_path / "in" / task
        (folder / "qrels").mkdir(parents=True)
        docs = "".join(f'{{"_id": "{doc_id}", "text": "x"}}\n' for doc_id in "abcd")
        (folder / "corpus.jsonl").write_text(docs)
        (folder / "queries.jsonl").write_text("".join(f'{{"_id": "{query_id}", "text": "x"}}\n' for query_id in gold))
        lines = "".join(f"{query_id}\t{doc_id}\t1\n" for query_id, doc_id in gold.items())
        (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
        place = tmp_path / "out" / task / "first.trec"
        place.parent.mkdir(parents=True)
        Run({query_id: list(zip(docs, (2.0, 1.0))) for query_id, docs in ranking.items()}).write(place)
    return tmp_path


@pytest.mark.parametrize("name", benchmark.names())
def test_every_benchmark_can_be_planned_with_every_published_reranker_that_limrank_can_run(name):
    loaded = benchmark.load(name)
    models = [model for model in published.names() if not published.load(model).lacks]
    systems = benchmark.systems_of(loaded, models=models)
    assert len({system.name for system in systems}) == len(systems)
    for system in systems:
        assert set(system.runs) == set(system.commands) == {task.name for task in loaded.tasks}
    assert all(row.status in ("found", "computed") and row.source for row in benchmark.rows_of(loaded, models))


def test_a_mean_in_a_benchmark_file_is_the_mean_of_its_tasks():
    for name in benchmark.names():
        loaded = benchmark.load(name)
        for row in loaded.rows:
            if row.mean is not None and row.tasks:
                mean = sum(row.tasks.values()) / len(row.tasks)
                # Papers average before they round.
                assert mean == pytest.approx(row.mean, abs=0.11), row


def test_a_condition_brings_the_steps_that_come_before_it_and_words_with_spaces_stay_whole(pets):
    second = benchmark.systems_of(pets, folder=Path("my out"))[1]
    assert second.commands["cats"] == (
        ("index", "in/cats", "lucene"),
        ("retrieve", "in/cats/lucene", "in/cats", "--out", "my out/in/cats/first.trec"),
        ("fuse", "my out/in/cats/first.trec", "my runs/in/cats.trec", "--out", "my out/in/cats/second.trec"),
    )


@pytest.mark.parametrize("dataset", ["../data/cats", "/data/cats", "./cats", "in/cats"])
def test_a_folder_is_called_by_its_last_part_so_that_its_files_stay_where_the_others_are(dataset, judged):
    found = benchmark.parse("pets", TEXT.replace("in/cats", dataset))
    second = benchmark.systems_of(found, folder=Path("out"))[1]
    assert second.runs["cats"] == Path("out/cats/second.trec")
    assert second.commands["cats"] == (
        ("index", dataset, "lucene"),
        ("retrieve", "cats/lucene", dataset, "--out", "out/cats/first.trec"),
        ("fuse", "out/cats/first.trec", f"my runs/{dataset}.trec", "--out", "out/cats/second.trec"),
    )


def test_a_reranker_stands_behind_every_first_stage_at_every_depth_the_deepest_first(pets):
    systems = benchmark.systems_of(pets, models=["limrank-7b"], llm="fake:hash", max_failed=2)
    assert [system.name for system in systems[2:]] == ["first+limrank-7b.top20", "first+limrank-7b.top5"]
    assert systems[3].commands["dogs"][-1] == (
        "rerank", "runs/benchmark/in/dogs/first.trec", "in/dogs", "--model", "limrank-7b", "--depth", "5",
        "--llm", "fake:hash", "--max-failed", "2", "--cache", "runs/benchmark/answers",
        "--out", "runs/benchmark/in/dogs/first+limrank-7b.top5.trec",
    )  # fmt: skip


def test_a_reranker_that_asks_no_language_model_is_given_no_backend_and_no_cache(pets):
    command = benchmark.systems_of(pets, models=["bge-reranker-v2-m3"], llm="vllm")[-1].commands["cats"][-1]
    assert "--llm" not in command and "--cache" not in command


def test_what_cannot_be_planned_is_refused_before_anything_runs(pets):
    with pytest.raises(Unknown, match=r"did you mean.*limrank-7b"):
        benchmark.systems_of(pets, models=["limrank-8b"])
    with pytest.raises(LimrankError, match="depth 0"):
        benchmark.systems_of(pets, depths=[0])
    with pytest.raises(Unknown, match="task of Pets"):
        pets.only(["cat"])
    with pytest.raises(Unknown, match=r"did you mean.*bright"):
        benchmark.load("brigth")
    with pytest.raises(BadFile, match="no such file"):
        benchmark.load("mine.toml")


def test_every_command_runs_once_and_a_failure_stops_its_own_task_only(pets):
    ran = []

    def call(command):
        ran.append(command)
        return "no disk" if command[:2] == ("index", "in/cats") else ""

    reasons = benchmark.make(benchmark.systems_of(pets, models=["limrank-7b"]), call)
    assert len(ran) == len(set(ran))
    assert not any("in/cats" in word for command in ran for word in command[1:2] if command[0] != "index")
    assert set(reasons.values()) == {"no disk"}
    assert {task for _, task in reasons} == {"cats"} and len(reasons) == 4


def test_values_are_in_points_and_the_mean_counts_every_task_the_same(pets, judged):
    systems = benchmark.systems_of(pets, folder=Path("out"))[:1]
    result = benchmark.score(pets, systems, {})
    # cats: (1 + 1/log2(3)) / 2, dogs: 1.
    cats = 50 * (1 + 1 / math.log2(3))
    assert result.value("first", "cats", "nDCG@10") == pytest.approx(cats)
    assert result.value("first", "mean", "nDCG@10") == pytest.approx((cats + 100) / 2)


def test_there_is_no_mean_where_a_task_is_missing_and_none_of_a_choice_of_tasks(pets, judged):
    systems = benchmark.systems_of(pets, folder=Path("out"))[:1]
    result = benchmark.score(pets, systems, {("first", "dogs"): "no disk"})
    assert result.value("first", "cats", "nDCG@10") is not None
    assert result.value("first", "dogs", "nDCG@10") is None
    assert result.value("first", "mean", "nDCG@10") is None
    assert [task for task, _ in pets.only(["cats"]).columns] == ["cats"]


def test_a_check_holds_up_to_its_tolerance_and_never_without_a_number(pets, judged):
    [row] = pets.rows
    checks = [benchmark.Check("first", "cats", "nDCG@10", ours, row, 40.0) for ours in (39.0, 41.0, 38.99, 41.01, None)]
    assert [check.holds for check in checks] == [True, True, False, False, False]
    result = benchmark.score(pets, benchmark.systems_of(pets, folder=Path("out"))[:1], {("first", "cats"): "no disk"})
    # Cats and the mean are published; neither was made.
    assert [(check.task, check.ours, check.holds) for check in result.checks(pets.rows)] == [
        ("cats", None, False),
        ("mean", None, False),
    ]


def test_a_run_that_is_not_there_and_judgments_that_cannot_be_had_are_reasons_not_errors(pets, judged):
    systems = benchmark.systems_of(pets, folder=Path("out"))
    (judged / "in" / "dogs" / "qrels" / "test.tsv").unlink()
    result = benchmark.score(pets, systems, {})
    assert set(result.reasons) == {("second", "cats"), ("first", "dogs"), ("second", "dogs")}
    assert "second.trec: no such file" in result.reasons["second", "cats"]
    assert result.value("first", "cats", "nDCG@10") is not None


def test_systems_with_all_tasks_are_compared_over_tasks_the_others_are_left_out(pets, judged):
    for task in ("cats", "dogs"):
        place = judged / "out" / task
        (place / "second.trec").write_bytes((place / "first.trec").read_bytes())
        (place / "first+limrank-7b.top5.trec").write_bytes((place / "first.trec").read_bytes())
    systems = benchmark.systems_of(pets, folder=Path("out"), models=["limrank-7b"], depths=[5])
    reasons = {("first+limrank-7b.top5", "dogs"): "stopped"}
    [comparison] = benchmark.score(pets, systems, reasons).comparisons
    assert [(d.run, d.baseline) for d in comparison.differences] == [("second", "first")]
    assert comparison.tasks == {"cats": 2, "dogs": 1}
    assert [(one["name"], len(one["sha256"])) for one in comparison.judgments] == [("cats", 64), ("dogs", 64)]


@pytest.mark.parametrize(("tolerance", "holds"), [("41.5464", False), ("41.5465", True)])
def test_a_number_holds_within_its_tolerance_and_not_beyond(pets, judged, tolerance, holds):
    # Ours is 50 * (1 + 1/log2(3)) = 81.54649 on cats, and 40 are expected: 41.54649 apart.
    found = benchmark.parse("pets", TEXT.replace("tolerance = 1.0", f"tolerance = {tolerance}"))
    result = benchmark.score(found, benchmark.systems_of(found, folder=Path("out"))[:1], {})
    checks = {check.task: check for check in result.checks(found.rows)}
    assert checks["cats"].holds is holds
    assert set(checks) == {"cats", "mean"}


def test_a_number_that_was_not_made_does_not_hold(pets, judged):
    result = benchmark.score(pets, benchmark.systems_of(pets, folder=Path("out"))[:1], {("first", "cats"): "no disk"})
    assert [(check.task, check.ours, check.holds) for check in result.checks(pets.rows)] == [
        ("cats", None, False),
        ("mean", None, False),
    ]


def test_pairs_of_instructions_are_measured_as_followir_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs" / "qrels").mkdir(parents=True)
    (tmp_path / "pairs" / "corpus.jsonl").write_text("".join(f'{{"_id": "{d}", "text": "x"}}\n' for d in "abcd"))
    queries = "".join(f'{{"_id": "t-{side}", "text": "x"}}\n' for side in ("og", "changed"))
    (tmp_path / "pairs" / "queries.jsonl").write_text(queries)
    lines = "t-og\ta\t1\nt-og\tb\t1\nt-changed\tb\t1\nt-changed\ta\t0\n"
    (tmp_path / "pairs" / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    (tmp_path / "out" / "pairs").mkdir(parents=True)
    # a is ruled out, and goes from rank 1 to rank 4: 1 - 1/4.
    run = {"t-og": list(zip("abcd", (4, 3, 2, 1))), "t-changed": list(zip("bcda", (4, 3, 2, 1)))}
    Run(run).write(tmp_path / "out" / "pairs" / "first.trec")
    text = TEXT[: TEXT.index("[[published]]")].replace('"nDCG@10"', '"p-MRR", "MAP@1000 (og)"')
    with pytest.raises(BadFile, match=r"'MAP@1000 \(og\)' beside p-MRR"):
        benchmark.parse("pairs", text)
    text = text.replace(', "MAP@1000 (og)"', "").replace("mean = true", "mean = false")
    a, b = text.index("tasks = ["), text.index("[[conditions]]")
    text = text[:a] + 'tasks = [{ name = "pairs", dataset = "pairs", queries = 2 }]\n' + text[b:]
    found = benchmark.parse("pairs", text)
    result = benchmark.score(found, benchmark.systems_of(found, folder=Path("out"))[:1], {})
    assert result.value("first", "pairs", "p-MRR") == pytest.approx(75.0)


def test_published_numbers_stand_beside_the_same_first_stage_reranker_and_depth_only():
    bright = benchmark.load("bright")
    rows = benchmark.rows_of(bright, ["limrank-7b", "rank1-7b"])
    systems = {one.name: one for one in benchmark.systems_of(bright, models=["limrank-7b", "rank1-7b"])}

    def near(name):
        return {row.mean for row in benchmark.beside(systems[name], rows)}

    assert near("bm25-qs-gpt4+limrank-7b.top10") == {28.0}
    assert near("bm25-qs-gpt4+limrank-7b.top100") == set()
    # Rank1's paper and ERank's rerun of it; 18.2 is ERank's, on the original queries.
    assert near("bm25-qs-gpt4+rank1-7b.top100") == {27.5, 25.5}
    assert near("bm25+rank1-7b.top100") == {18.2}


def test_a_models_own_number_is_not_shown_twice_and_a_recalled_one_not_at_all(monkeypatch):
    bright = benchmark.load("bright")
    means = [row.mean for row in benchmark.rows_of(bright, ["rank1-7b"]) if row.model == "rank1-7b"]
    assert sorted(means) == [18.2, 21.4, 25.5, 27.5]
    model = published.load("limrank-7b")
    recalled = tuple(number._replace(status="recalled") for number in model.numbers)
    monkeypatch.setattr(published, "load", lambda name: type(model)(**(vars(model) | {"numbers": recalled})))
    assert not any(row.model == "limrank-7b" for row in benchmark.rows_of(bright, ["limrank-7b"]))


def test_a_number_of_a_whole_dataset_goes_to_the_task_that_is_the_whole_where_there_is_no_mean():
    rows = benchmark.rows_of(benchmark.load("litsearch"), ["limrank-7b"])
    assert [row.tasks for row in rows if row.model == "limrank-7b"] == [{"all": 60.1}]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('status = "found"', 'status = "recalled"', "status 'recalled'"),
        ('condition = "first"', 'condition = "third"', "'third' is no condition"),
        ('after = ["first"]', 'after = ["none"]', "'none' is no condition"),
        ('baseline = "first"', 'baseline = "none"', "'none' is no condition"),
        ("tasks = { cats = 40.0 }", "tasks = { cows = 40.0 }", "'cows' is no task"),
        ("tolerance = 1.0", "tolerence = 1.0", "tolerence"),
        ("mean = true\n", "mean = false\n", "no such column for mean"),
        ('measure = "nDCG@10"', 'measure = "MAP"', "no such column"),
        ('measures = ["nDCG@10"]', 'measures = ["ndcg@10"]', "write measure 'ndcg@10' as nDCG@10"),
        ("[rerank]", "[reorder]", "rerank is missing"),
        ("index {dataset} lucene", "index {datset} lucene", r"step 'index {datset} lucene': 'datset'; it may hold"),
        ("index {dataset} lucene", "index 'lucene", "No closing quotation; it may hold"),
        ("tolerance = 1.0", 'tolerance = "1"', "tolerance = '1'; a number is expected"),
        ("cats = 40.0", "cats = true", "tasks = .*; a table of numbers is expected"),
        ("depths = [5, 20]", "depths = 5", "depths = 5; a list, each a whole number, is expected"),
        ("queries = 2", "queries = 2.5", "queries = 2.5; a whole number is expected"),
        ('title = "Pets"', "title = 1", "title = 1; text is expected"),
        ("mean = true", "mean = 1", "mean = 1; true or false is expected"),
        ('title = "Pets"', "title = Pets", "not TOML"),
        ('source = "paper, table 1"', 'source = "paper"\nmodel = "limrank-9b"', "'limrank-9b' is no published"),
    ],
)
def test_a_mistake_in_a_benchmark_file_is_named(old, new, message):
    assert old in TEXT
    with pytest.raises(BadFile, match=message) as caught:
        benchmark.parse("pets", TEXT.replace(old, new))
    assert str(caught.value).startswith("benchmark pets: ")


@pytest.mark.skipif(not REAL.is_dir(), reason="the released runs are not here")
@pytest.mark.parametrize("task", ["biology", "economics", "leetcode", "pony"])
def test_what_is_called_computed_comes_out_of_the_released_runs(task):
    files = {"": "bm25", "rank1-7b": "bm25_rank1-7b", "tfrank-8b": "bm25_tfrank-8b"}
    files |= {"qwen3-reranker-4b": "bm25_qwen-4b", "monot5-3b": "bm25_monot5-3b"}
    qrels, excluded = Qrels.read(REAL / task / "qrels.trec"), open_dataset(str(REAL / task)).excluded()
    rows = [row for row in benchmark.load("bright").rows if row.status == "computed" and row.model in files]
    assert len(rows) == len(files)
    for row in rows:
        run = Run.read(REAL / task / "runs" / f"{files[row.model]}.top100.trec.gz").without(excluded)
        ours = 100 * evaluate(run, qrels, ["nDCG@10"]).means["nDCG@10"]
        assert ours == pytest.approx(row.tasks[task], abs=0.051), (row.system, task)
