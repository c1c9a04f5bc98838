"""The real command: one task from a folder, several by name, and what it refuses."""

import contextlib
import hashlib
import io
import json
from typing import NamedTuple

import pytest

from limrank.cli import run

DOCUMENTS = {"d1": "a cat <b>sleeps</b>", "d2": "a dog barks", "d3": "a bird </script> sings"}
RELEVANT = {"q1": "d1", "q2": "d2", "q3": "d3"}


class Done(NamedTuple):
    stdout: str
    stderr: str


def collection(folder):
    (folder / "qrels").mkdir(parents=True)
    (folder / "runs").mkdir()
    lines = [json.dumps({"_id": doc_id, "text": text}) for doc_id, text in DOCUMENTS.items()]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    lines = [json.dumps({"_id": query_id, "text": f"what of {query_id}"}) for query_id in RELEVANT]
    (folder / "queries.jsonl").write_text("\n".join(lines) + "\n")
    lines = [f"{query_id}\t{doc_id}\t1" for query_id, doc_id in RELEVANT.items()]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    ranking = [f"{q} Q0 {d} {rank} {9 - rank} first\n" for q in RELEVANT for rank, d in enumerate(DOCUMENTS, 1)]
    (folder / "runs" / "first.trec").write_text("".join(ranking))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    collection(folder / "pets")
    collection(folder / "more" / "pets2")
    return folder


@pytest.fixture(scope="module")
def limrank(folder):
    def call(*arguments, code=0):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            assert run(arguments) == code, err.getvalue()
        return Done(out.getvalue(), err.getvalue())

    for place in ("pets", "more/pets2"):
        first, out = f"{place}/runs/first.trec", f"{place}/runs/hash.trec"
        call("rerank", first, place, "--llm", "fake:hash", "--method", "pointwise", "--prompt", "rank1", "--out", out)
    return call


def blocks(text):
    return {
        part.partition('"')[0]: json.loads(part.partition(">")[2].partition("</script>")[0])
        for part in text.split('<script type="application/json" id="')[1:]
    }


def test_a_report_of_a_folder_has_texts_answers_and_the_numbers_of_compare(limrank, folder):
    runs = ["pets/runs/first.trec", "pets/runs/hash.trec"]
    done = limrank("report", *runs, "--dataset", "pets", "-m", "mrr", "--out", "out/report.html")
    assert done.stdout.startswith("out/report.html: 2 runs on 3 queries")
    found = blocks((folder / "out/report.html").read_text())
    overview = found["overview"]
    assert overview["systems"][1]["first_stage"] == "first"
    assert overview["systems"][1]["known_from"] == "by its manifest"
    assert overview["calibration"][1]["why"] == "probabilities by the run's manifest"
    compared = json.loads(limrank("compare", *runs, "-d", "pets", "-m", "mrr", "--baseline", "first", "--json").stdout)
    assert overview["comparison"]["differences"] == compared["differences"]
    assert [run["means"] for run in overview["comparison"]["runs"]] == [run["means"] for run in compared["runs"]]
    block = found["task0"]
    assert dict(zip(block["docs"], block["texts"])) == DOCUMENTS
    status, odds, thought = block["queries"][0]["said"][1][str(block["docs"].index("d1"))]
    assert status in ("ok", "forced") and isinstance(odds, float) and thought
    manifest = json.loads((folder / "out/report.html.manifest.json").read_text())
    assert manifest["command"] == "report" and len(manifest["inputs"]["runs"]) == 2


def test_several_datasets_are_tasks_and_runs_are_names(limrank, folder):
    limrank("report", "first", "hash", "-d", "pets", "more/pets2", "-m", "mrr", "--out", "both.html")
    overview = blocks((folder / "both.html").read_text())["overview"]
    assert [task["name"] for task in overview["tasks"]] == ["pets", "pets2"]
    assert overview["comparison"]["tasks"] == {"pets": 3, "pets2": 3}


def test_seeds_are_averaged_and_the_first_is_shown(limrank, folder):
    group = "both=pets/runs/first.trec,pets/runs/hash.trec"
    limrank("report", "pets/runs/first.trec", "--group", group, "-d", "pets", "-m", "mrr", "--out", "seeds.html")
    overview = blocks((folder / "seeds.html").read_text())["overview"]
    system = overview["systems"][1]
    assert overview["curves"][1]["means"]["MRR"][-1] == overview["comparison"]["runs"][1]["means"]["MRR"]
    manifest = json.loads((folder / "seeds.html.manifest.json").read_text())
    files = {name: [one["path"] for one in listed] for name, listed in manifest["inputs"]["runs"].items()}
    assert files == {"first": ["pets/runs/first.trec"], "both": ["pets/runs/first.trec", "pets/runs/hash.trec"]}
    assert (system["name"], system["averaged"], system["shown"]) == ("both", ["first", "hash"], "first")


def test_a_report_has_the_verdicts_of_compare_whatever_the_options(limrank, folder):
    (folder / "third.trec").write_text("q1 Q0 d1 1 2 t\nq2 Q0 d2 1 2 t\nq3 Q0 d1 1 2 t\n")
    runs = ["pets/runs/first.trec", "pets/runs/hash.trec", "third.trec"]
    for options in ([], ["--confidence", "0.9", "--power", "0.5", "--tolerance", "0.3", "--interval", "t"]):
        limrank("report", *runs, "-d", "pets", "--out", "same.html", *options)
        reported = blocks((folder / "same.html").read_text())["overview"]["comparison"]
        compared = json.loads(limrank("compare", *runs, "-d", "pets", "--json", *options).stdout)
        # Three pairs of four measures.
        assert len(compared["differences"]) == 12
        assert reported | {"runs": []} == compared | {"runs": []}


def test_a_program_learns_what_was_written(limrank, folder):
    found = json.loads(limrank("report", "pets/runs/first.trec", "-d", "pets", "--out", "one.html", "--json").stdout)
    assert found["sha256"] == hashlib.sha256((folder / "one.html").read_bytes()).hexdigest()
    assert (found["out"], found["runs"], found["queries"]) == ("one.html", ["first"], 3)
    assert found["judgments"][0]["name"] == "pets" and found["notes"] == []


def test_a_qrels_file_is_enough_for_tables(limrank, folder):
    arguments = ["pets/runs/first.trec", "pets/runs/hash.trec", "--qrels", "pets/qrels/test.tsv"]
    limrank("report", *arguments, "--out", "report.tex")
    limrank("report", *arguments, "--out", "report.md")
    assert "\\toprule" in (folder / "report.tex").read_text()
    assert (folder / "report.md").read_text().startswith("# pets\n\n| run | nDCG@10 |")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "pets"], "report needs a run"),
        (["pets/runs/first.trec"], "give --dataset NAME or --qrels FILE"),
        (["pets/runs/first.trec", "-d", "pets", "--out", "report.pdf"], "report.pdf: a report is written as .html"),
        (["pets/runs/first.trec", "-d", "pets", "-m", "p-mrr"], "p-mrr is told by limrank compare"),
        (["pets/runs/first.trec", "-d", "pets", "--first-stage", "frist"], "did you mean first"),
        (["pets/runs/first.trec", "pets/runs/first.trec", "-d", "pets"], "2 runs are called"),
        (["pets/runs/first.trec", "--qrels", "pets/qrels/test.tsv", "--drop-excluded"], "give --dataset"),
        (["pets/runs/nosuch.trec", "-d", "pets"], "nosuch.trec: no such file"),
    ],
)
def test_what_cannot_be_reported_is_one_line(limrank, arguments, message):
    done = limrank("report", *arguments, code=1)
    assert message in done.stderr and "Traceback" not in done.stderr


def test_what_an_evaluation_notes_is_in_the_report(limrank, folder):
    (folder / "foreign.trec").write_text("".join(f"{query_id} Q0 x 1 1 t\n" for query_id in RELEVANT))
    doubt = "none of foreign's documents is judged for any query"
    done = limrank("report", "foreign.trec", "pets/runs/first.trec", "--dataset", "pets", "--out", "foreign.md")
    assert doubt in done.stderr and doubt in (folder / "foreign.md").read_text()
