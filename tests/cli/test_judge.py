"""evaluate and compare, as they are typed: files and names, tasks and pairs, seeds and groups."""

import json
import shutil
from types import SimpleNamespace

import pytest

from limrank.cli import run as limrank
from limrank.cli._groups import groups_by
from limrank.cli._judged import Judged, default_split, defaults, open_judged, tasks_of
from limrank.datasets.litsearch import Question
from limrank.errors import LimrankError, Mismatch, Unknown
from limrank.files import sha256
from limrank.manifest import Manifest
from limrank.qrels import Qrels

QUERIES = [f"q{i}" for i in range(8)]


def write_run(path, ranks, *, suffix="", depth=5):
    """A run with the document "yes" at these ranks of q0, q1, ..."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f"q{i}{suffix} Q0 {'yes' if place == rank else f'no{place}'} {place} {10 - place} t\n"
        for i, rank in enumerate(ranks)
        for place in range(1, depth + 1)
    ]
    path.write_text("".join(lines))


def write_qrels(path, *, suffix="", relevance=1, queries=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"q{i}{suffix} 0 yes {relevance}\nq{i}{suffix} 0 no5 1\n" for i in range(queries)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two tasks with runs beside their judgments, as BRIGHT's are shared, and a pair of instructions."""
    for task, queries in (("biology", 8), ("pony", 4)):
        write_qrels(tmp_path / task / "qrels.trec", queries=queries)
        write_run(tmp_path / task / "runs" / "good.trec", [1] * queries)
        write_run(tmp_path / task / "runs" / "seed1.trec", [1, 2] * (queries // 2))
        write_run(tmp_path / task / "runs" / "seed2.trec", [2, 1] * (queries // 2))
    write_run(tmp_path / "biology" / "runs" / "alone.trec", [2] * 8)
    for side, relevance, rank in (("og", 1, 1), ("changed", 0, 2)):
        write_qrels(tmp_path / f"{side}.qrels", suffix=f"-{side}", relevance=relevance)
        write_run(tmp_path / f"{side}.trec", [rank] * 8, suffix=f"-{side}")
    both = [(tmp_path / f"{side}.trec").read_text() for side in ("og", "changed")]
    (tmp_path / "both.trec").write_text("".join(both))
    (tmp_path / "half.trec").write_text(both[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(folder, capsys):
    def call(*arguments, code=0):
        assert limrank(arguments) == code, capsys.readouterr().err
        said = capsys.readouterr()
        return said.out if code == 0 else said.err

    return call


TASKS = ("--qrels", "biology/qrels.trec", "pony/qrels.trec")


def test_a_name_is_found_beside_the_judgments_and_is_the_same_as_its_file(call):
    by_file = call("evaluate", "biology/runs/good.trec", "--qrels", "biology/qrels.trec", "mrr", "--json")
    assert call("evaluate", "good", "--qrels", "biology/qrels.trec", "mrr", "--json") == by_file
    assert json.loads(by_file)["means"] == {"MRR": 1.0}


def test_a_measure_s_name_is_a_measure_whatever_files_there_are(call, folder):
    (folder / "map").write_text("")
    assert "MAP" in call("evaluate", "good", "--qrels", "biology/qrels.trec", "map")


def test_evaluate_averages_tasks(call):
    options = ("--qrels", "biology/qrels.trec", "--qrels", "pony/qrels.trec", "mrr")
    lines = call("evaluate", "seed1", *options).splitlines()
    assert [line.split() for line in lines] == [
        ["queries", "MRR"],
        ["biology", "0.7500"],
        ["pony", "0.7500"],
        ["mean", "0.7500"],
    ]
    found = json.loads(call("evaluate", "seed1", *options, "--json", "--per-query"))
    assert found["tasks"]["pony"] == {"queries": 4, "means": {"MRR": 0.75}}
    assert found["values"]["MRR"]["pony/q1"] == 0.5 and len(found["qrels"]) == 2


def test_groups_of_queries_have_means_of_their_own(call, folder):
    (folder / "kind.tsv").write_text("".join(f"q{i}\t{'odd' if i % 2 else 'even'}\n" for i in range(8)))
    (folder / "half.tsv").write_text("".join(f"q{i}\t{'low' if i < 4 else 'high'}\n" for i in range(8)))
    options = ("evaluate", "seed1", "--qrels", "biology/qrels.trec", "mrr", "--by", "kind.tsv")
    assert [line.split() for line in call(*options).splitlines()[1:]] == [
        ["even", "1.0000"],
        ["odd", "0.5000"],
        ["all", "0.7500"],
    ]
    found = json.loads(call(*options, "--by", "half.tsv", "--json"))
    assert {group: part["means"]["MRR"] for group, part in found["groups"].items()} == {
        "even low": 1.0,
        "odd low": 0.5,
        "even high": 1.0,
        "odd high": 0.5,
    }


@pytest.mark.parametrize(
    "words",
    [
        ["both.trec", "p-mrr", "map"],
        ["og.trec", "changed.trec", "p-mrr", "map"],
        ["og.trec", "p-mrr", "changed.trec", "map"],
    ],
)
def test_p_mrr_takes_one_run_or_two(call, words):
    found = json.loads(call("evaluate", *words, "--qrels", "og.qrels", "--qrels", "changed.qrels", "--json"))
    # From rank 1 to rank 2 of all queries: 1 - 1/2. Originally yes is at rank 1 and no5 at rank 5: (1 + 2/5) / 2.
    assert found["means"] == {"p-MRR": 0.5, "MAP (og)": 0.7}


def test_p_mrr_takes_judgments_of_both_instructions_in_one_file_and_runs_by_name(call, folder):
    (folder / "both.qrels").write_text((folder / "og.qrels").read_text() + (folder / "changed.qrels").read_text())
    assert "0.5000" in call("evaluate", "both.trec", "--qrels", "both.qrels", "p-mrr", "--per-query")
    for side in ("og", "changed"):
        place = folder / "runs" / "stdlib" / side / "mine.trec"
        place.parent.mkdir(parents=True)
        place.write_text((folder / f"{side}.trec").read_text())
    options = ("--qrels", "og.qrels", "--qrels", "changed.qrels", "--runs", "runs/stdlib/{dataset}/{run}.trec")
    assert "0.5000" in call("evaluate", "mine", *options, "p-mrr")


def test_two_runs_belong_to_one_file_of_judgments_of_both_instructions(call, folder):
    (folder / "both.qrels").write_text((folder / "og.qrels").read_text() + (folder / "changed.qrels").read_text())
    found = json.loads(call("evaluate", "og.trec", "changed.trec", "--qrels", "both.qrels", "p-mrr", "--json"))
    assert found["means"] == {"p-MRR": 0.5}


def test_compare_by_p_mrr_is_by_topic(call, folder):
    (folder / "flat.trec").write_text(
        "".join((folder / "og.trec").read_text().replace("-og", side) for side in ("-og", "-changed"))
    )
    out = call("compare", "both.trec", "flat.trec", "--qrels", "og.qrels", "changed.qrels", "-m", "p-mrr", "--json")
    [difference] = json.loads(out)["differences"]
    assert (difference["run"], difference["difference"], difference["losses"]) == ("flat", -0.5, 8)
    assert difference["effect_size"] is None


def test_compare_averages_tasks_and_seeds(call):
    options = ("compare", "good", "--group", "seeds=seed1,seed2", *TASKS, "-m", "mrr", "P@1")
    found = json.loads(call(*options, "--json"))
    assert found["tasks"] == {"biology": 8, "pony": 4} and found["qrels"] == "biology, pony"
    seeds = found["runs"][1]
    assert seeds["averaged"] == ["seed1", "seed2"] and seeds["means"] == {"MRR": 0.75, "P@1": 0.5}
    assert set(seeds["values"]["MRR"].values()) == {0.75}
    text = call(*options)
    assert "biology" in text and "means are over the 2 tasks" in text


def test_a_star_in_a_group_stands_for_all_files_that_fit(call):
    options = ("--qrels", "biology/qrels.trec", "-m", "mrr", "--json")
    found = json.loads(call("compare", "good", "--group", "s=biology/runs/seed*.trec", *options))
    assert found["runs"][1]["averaged"] == ["seed1", "seed2"]


def test_options_reach_the_comparison(call):
    found = json.loads(
        call(
            "compare", "good", "seed1", "alone", "--qrels", "biology/qrels.trec", "-m", "mrr", "--baseline", "good",
            "--test", "tukey", "--interval", "t", "--alpha", "0.01", "--confidence", "0.9", "--power", "0.9",
            "--tolerance", "0.5", "--seed", "3", "--samples", "50", "--json",
        )
    )  # fmt: skip
    given = ("baseline", "test", "interval", "alpha", "confidence", "power", "tolerance", "seed", "samples")
    assert [found[key] for key in given] == ["good", "tukey", "t", 0.01, 0.9, 0.9, 0.5, 3, 50]
    assert [d["ties"] for d in found["differences"]] == [8, 8]


def test_the_result_can_be_ranx_s_report_and_a_file(call, folder):
    shown = call(
        "compare", "good", "alone", "--qrels", "biology/qrels.trec", "--format", "ranx", "--out", "r/report.txt"
    )
    assert "NDCG@10" in shown and (folder / "r" / "report.txt").read_text() == shown
    assert "Cohen's d" in call("compare", "good", "seed1", "--qrels", "biology/qrels.trec", "--full")


def test_a_file_of_another_suffix_needs_a_format(call, folder):
    shown = call("compare", "good", "alone", "--qrels", "biology/qrels.trec", "--format", "table", "--out", "x.pdf")
    assert (folder / "x.pdf").read_text() == shown
    shown = call("compare", "good", "alone", "--qrels", "biology/qrels.trec", "--out", "x.txt")
    assert (folder / "x.txt").read_text() == shown and "against" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["compare", "good", "alone", *TASKS],
            "alone: no such run for pony; looked for pony/runs/alone, pony/runs/alone.trec",
        ),
        (
            ["evaluate", "nowhere", "-d", "stdlib/og", "-d", "stdlib/changed", "p-mrr"],
            "nowhere: no such run for stdlib/og; looked for runs/stdlib/og/nowhere",
        ),
        (["compare", "biology/runs/good.trec", "seed1", *TASKS], "with several datasets give the run's name, as good"),
        (["compare", "good", "seed1", *TASKS, "--out", "biology"], "biology: is a folder; --out names a file"),
        (
            ["compare", "good", "seed1", *TASKS, "--out", "x.pdf"],
            "x.pdf: a comparison is written as .json, .md, .tex, .txt; give --out one of these suffixes",
        ),
        (["compare", *TASKS, "good", "seed1"], "runs stand before --dataset and --qrels"),
        (["compare", "good", "good", *TASKS], "2 runs are called 'good'"),
        (["compare", "good", "--group", "good=seed1,seed2", *TASKS], "--group good: a run has that name already"),
        (["compare", "good", "--group", "seeds", *TASKS], "--group seeds: write NAME=run1,run2"),
        (["compare", "good", "--group", "s=seed1,./seed1", *TASKS], "--group s: seed1 is there twice"),
        (
            ["evaluate", "both.trec", "--qrels", "og.qrels", "--qrels", "changed.qrels", "p-mrr", "--missing", "skip"],
            "a missing query is an error, not skipped",
        ),
        (["compare", "good", "--group", "s=nosuch*.trec", *TASKS], "write NAME=run1,run2,... with runs that exist"),
        (["compare", "good", "seed1", "--qrels", "og.qrels", "og.qrels"], "og.qrels is given twice"),
        (["compare", "good", "seed1", *TASKS, "--runs", "x/{dataset}"], "the run's name has no place in it"),
        (["evaluate", "good", "seed1.trec", "--qrels", "biology/qrels.trec"], "evaluate takes one run"),
        (["evaluate", "good", "--qrels", "biology/qrels.trec", "p-mrr"], "p-mrr needs judgments of the original and"),
        (
            ["evaluate", "half.trec", "--qrels", "og.qrels", "--qrels", "changed.qrels", "p-mrr"],
            "has no results for 8 of 8",
        ),
        (["evaluate", "both.trec", "--qrels", "og.qrels", "--qrels", "changed.qrels", "score"], "name a measure"),
        (["evaluate", "good", "--qrels", "biology/qrels.trec", "--by", "kind"], "unknown attribute 'kind' of queries"),
        (["evaluate", "good", "--qrels", "biology/qrels.trec", "--by", "og.qrels"], "og.qrels:1: two columns were exp"),
        (["evaluate", "good", "--qrels", "biology/qrels.trec", "--drop-excluded"], "give --dataset"),
    ],
)
def test_what_cannot_be_judged_is_one_clear_line(call, arguments, message):
    said = call(*arguments, code=1)
    assert message in said and said.count("\n") == 1


def judged(name, query_ids=("q1", "q2"), **more):
    qrels = Qrels({query_id: {"d": 1} for query_id in query_ids}, name=name)
    return Judged(name, qrels, {}, (), SimpleNamespace(name=name, **more), {})


PAIR = ("1-og", "1-changed")


def test_a_dataset_s_own_measures_and_groups_are_the_default():
    assert defaults([judged("followir/core17", PAIR), judged("followir/news21", PAIR)]) == ("p-mrr", "score")
    assert defaults([judged("followir/news21/og", ("1-og",))]) == ("nDCG@5",)
    # A report has no p-MRR, and so does not begin with it.
    assert defaults([judged("followir/core17", PAIR)], instructions=False) == ("MAP@1000",)
    assert defaults([judged("litsearch")]) == defaults([judged("litsearch/broad")]) == ("R@5", "R@20")
    assert defaults([judged("bright/pony")]) == ("nDCG@10", "MAP", "MRR", "R@100")
    assert default_split([judged("litsearch")]) == ("specificity", "origin")
    assert default_split([judged("litsearch/broad")]) == default_split([judged("pony")]) == ()


def test_paired_datasets_are_tasks_and_two_halves_are_one():
    collections = [judged("followir/core17", PAIR), judged("followir/news21", PAIR)]
    assert [len(task.judged) for task in tasks_of(collections, instructions=True)] == [1, 1]
    [task] = tasks_of([judged("stdlib/og", PAIR[:1]), judged("stdlib/changed", PAIR[1:])], instructions=True)
    assert (task.label, len(task.judged)) == ("stdlib", 2)
    with pytest.raises(Mismatch, match="p-mrr needs judgments of the original"):
        tasks_of([*collections, judged("pony")], instructions=True)


def test_litsearch_s_queries_are_grouped_by_what_it_says_of_them():
    questions = [
        Question("q1", "?", "inline_acl", "specific", "inline", 1, ("7",)),
        Question("q2", "?", "manual_iclr", "broad", "author", 2, ("8",)),
    ]
    found = judged("litsearch", questions=lambda: iter(questions))
    assert groups_by(("specificity", "origin"), found) == {"q1": "specific inline", "q2": "broad author"}
    assert groups_by(("quality",), found) == {"q1": "1", "q2": "2"}
    with pytest.raises(Unknown, match="litsearch has origin, quality, query_set, specificity"):
        groups_by(("difficulty",), found)


def test_files_of_one_name_are_told_apart_by_their_folders(folder):
    assert [one.label for one in open_judged([], ["biology/qrels.trec", "pony/qrels.trec"])] == ["biology", "pony"]
    assert [one.label for one in open_judged([], ["biology/qrels.trec"])] == ["biology"]
    for name in ("qrels.fixed.trec", "mine.qrels"):
        (folder / "biology" / name).write_text("q1 0 d 1\n")
    fixed = ["biology/qrels.fixed.trec", "pony/qrels.trec", "biology/mine.qrels"]
    assert [one.label for one in open_judged([], fixed)] == ["biology/qrels.fixed", "pony", "mine"]
    (folder / "more" / "pony").mkdir(parents=True)
    (folder / "more" / "pony" / "qrels.trec").write_text("q1 0 d 1\n")
    paths = ["pony/qrels.trec", "more/pony/qrels.trec"]
    assert [one.label for one in open_judged([], paths)] == paths


@pytest.fixture
def barred(folder):
    """A dataset that excludes the document at rank 1 of q0, where the relevant one is at rank 2."""
    place = folder / "barred"
    (place / "qrels").mkdir(parents=True)
    (place / "corpus.jsonl").write_text("".join(json.dumps({"_id": d, "text": d}) + "\n" for d in ("yes", "no1")))
    (place / "queries.jsonl").write_text('{"_id": "q0", "text": "a"}\n')
    (place / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\tyes\t1\n")
    (place / "excluded_ids.jsonl").write_text('{"_id": "q0", "excluded_ids": ["no1"]}\n')
    write_run(place / "runs" / "mine.trec", [2])
    return "barred"


def test_excluded_documents_are_told_and_can_be_dropped(folder, barred, capsys):
    assert limrank(["evaluate", "mine", "-d", barred, "mrr"]) == 0
    said = capsys.readouterr()
    assert "0.5000" in said.out
    assert "mine holds 1 document that barred excludes" in said.err and "--drop-excluded removes" in said.err
    assert limrank(["evaluate", "mine", "-d", barred, "mrr", "--drop-excluded"]) == 0
    said = capsys.readouterr()
    assert "1.0000" in said.out
    assert "1 document of mine that barred excludes from the query dropped before scoring" in said.err


@pytest.mark.parametrize("style", ["table", "markdown", "latex", "json", "ranx"])
def test_every_table_says_whether_excluded_documents_were_dropped(folder, barred, call, style):
    write_run(folder / barred / "runs" / "other.trec", [1])
    options = ("compare", "mine", "other", "-d", barred, "-m", "mrr", "--format", style)
    assert "mine holds 1 document that barred excludes" in call(*options)
    dropped = call(*options, "--drop-excluded")
    assert "1 document of mine that barred excludes from the query dropped before scoring" in dropped
    assert "--drop-excluded removes" not in dropped
    reported = ("report", "mine", "other", "-d", barred, "-m", "mrr", "--drop-excluded", "--out", "r.md")
    call(*reported)
    assert "1 document of mine that barred excludes" in (folder / "r.md").read_text()


def test_tasks_of_one_name_are_both_counted_and_one_task_twice_is_refused(folder, call):
    for place, rank in (("a", 1), ("b", 2)):
        write_qrels(folder / place / "bio" / "qrels.trec", queries=2)
        write_run(folder / place / "bio" / "runs" / "r.trec", [rank] * 2)
    # 1 and 1/2: the mean is .75.
    found = json.loads(
        call("evaluate", "r", "--qrels", "a/bio/qrels.trec", "--qrels", "b/bio/qrels.trec", "mrr", "--json")
    )
    assert found["means"] == {"MRR": 0.75} and list(found["tasks"]) == ["a/bio/qrels.trec", "b/bio/qrels.trec"]
    said = call("evaluate", "r", "--qrels", "a/bio/qrels.trec", "--qrels", "./a/bio/qrels.trec", code=1)
    assert "a/bio/qrels.trec and ./a/bio/qrels.trec are the same" in said


def test_folders_of_one_name_are_told_apart(folder, barred):
    shutil.copytree(folder / barred, folder / "more" / barred)
    (folder / "more" / barred / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\tyes\t2\n")
    assert [one.label for one in open_judged([barred, f"more/{barred}"], [])] == [barred, f"more/{barred}"]
    with pytest.raises(LimrankError, match="barred and barred/ are the same"):
        open_judged([barred, f"{barred}/"], [])


def test_a_comparison_says_from_which_files_it_is(folder, call):
    options = ("compare", "good", "--group", "seeds=seed1,seed2", *TASKS, "-m", "mrr")
    shown = call(*options, "--out", "made/table.json")
    found = json.loads(shown)
    digest = Qrels.read(folder / "pony" / "qrels.trec").sha256()
    assert found["judgments"][1] == {"name": "pony", "path": "pony/qrels.trec", "sha256": digest}
    assert [one["path"] for one in found["runs"][1]["files"]] == [
        f"{task}/runs/seed{i}.trec" for task in ("biology", "pony") for i in (1, 2)
    ]
    manifest = Manifest.read(folder / "made" / "table.json")
    assert (folder / "made" / "table.json").read_text() == shown
    assert manifest.inputs["runs"] == {one["name"]: one["files"] for one in found["runs"]}
    assert (manifest.command, manifest.parameters["test"], manifest.parameters["missing"]) == ("compare", "t", "zero")
    assert manifest.output["sha256"] == sha256(folder / "made" / "table.json")
    call(*options, "--out", "made/table.md")
    assert (folder / "made" / "table.md").read_text().startswith("| run | MRR |")


def test_means_over_both_instructions_are_told(folder, call):
    (folder / "both.qrels").write_text((folder / "og.qrels").read_text() + (folder / "changed.qrels").read_text())
    found = json.loads(call("evaluate", "both.trec", "--qrels", "both.qrels", "mrr", "--json"))
    assert found["warnings"] == ["both has the queries of both instructions; the means are over -og and -changed alike"]


def test_a_run_that_takes_no_notice_of_instructions_stands_for_both(folder, call):
    flat = (folder / "og.trec").read_text().replace("-og", "")
    (folder / "flat.trec").write_text(flat)
    for side in ("og", "changed"):
        (folder / f"{side}.flat").write_text((folder / f"{side}.qrels").read_text().replace(f"-{side}", ""))
    options = ("--qrels", "og.flat", "--qrels", "changed.flat", "p-mrr", "--json")
    assert json.loads(call("evaluate", "flat.trec", "flat.trec", *options))["means"] == {"p-MRR": 0.0}
