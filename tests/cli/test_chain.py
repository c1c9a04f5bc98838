"""The real commands, one after the other, on a small collection: what one writes the next one reads."""

import json
import shutil
import subprocess
import sys

import pytest

DOCUMENTS = {
    "d1": "the cat sat on the mat",
    "d2": "a dog chased the cat across the garden, again and again",
    "d3": "stock markets fell sharply on monday",
    "d4": "the dog slept in the sun all day",
    "d5": "central banks raised interest rates again",
}
QUERIES = {"q1": "cat on a mat", "q2": "sleeping dog", "q3": "interest rates of banks"}
RELEVANT = {"q1": "d1", "q2": "d4", "q3": "d5"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain")
    pets = folder / "pets"
    (pets / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": doc_id, "title": "", "text": text}) for doc_id, text in DOCUMENTS.items()]
    (pets / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    lines = [json.dumps({"_id": query_id, "text": text}) for query_id, text in QUERIES.items()]
    (pets / "queries.jsonl").write_text("\n".join(lines) + "\n")
    lines = [f"{query_id}\t{doc_id}\t1" for query_id, doc_id in RELEVANT.items()]
    (pets / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def limrank(folder):
    def call(*arguments, code=0):
        done = subprocess.run([sys.executable, "-m", "limrank", *arguments], cwd=folder, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done

    return call


@pytest.fixture(scope="module")
def first_stage(limrank):
    limrank("index", "pets", "lucene")
    limrank("retrieve", "pets/lucene", "pets", "--k", "5")
    return "runs/pets/bm25.trec"


def test_a_run_goes_to_its_natural_place_with_its_manifest(limrank, folder, first_stage):
    manifest = json.loads((folder / f"{first_stage}.manifest.json").read_text())
    assert manifest["command"] == "retrieve"
    assert manifest["inputs"]["dataset"]["name"] == "pets"
    assert manifest["parameters"]["k"] == 5
    assert manifest["counts"]["queries"] == 3
    assert "commit" in manifest["versions"] or not (folder / ".git").exists()


def test_the_same_command_again_does_nothing_and_another_one_needs_force(limrank, folder, first_stage):
    before = (folder / first_stage).stat().st_mtime_ns
    assert "already there" in limrank("index", "pets", "lucene").stderr
    limrank("retrieve", "pets/lucene", "pets", "--k", "5")
    assert (folder / first_stage).stat().st_mtime_ns == before
    refused = limrank("retrieve", "pets/lucene", "pets", "--k", "2", "--out", first_stage, code=1)
    assert "k 5, not 2" in refused.stderr and "--force" in refused.stderr
    assert (folder / first_stage).stat().st_mtime_ns == before


def test_one_more_judgment_leaves_the_index_as_it_is_and_another_document_does_not(limrank, folder, first_stage):
    for name, line in (("qrels/test.tsv", "q1\td2\t0\n"), ("corpus.jsonl", '{"_id": "d6", "text": "a fish"}\n')):
        path = folder / "pets" / name
        before = path.read_text()
        path.write_text(before + line)
        done = limrank("index", "pets", "lucene", code=int(name == "corpus.jsonl"))
        path.write_text(before)
        assert ("already there" if name != "corpus.jsonl" else "is an index of something else") in done.stderr


def test_an_index_is_searched_with_queries_of_its_own_documents_or_of_none(limrank, folder, first_stage):
    variant, other = folder / "variant", folder / "other"
    shutil.copytree(folder / "pets", variant)
    (variant / "queries.jsonl").write_text('{"_id": "q1", "text": "dog"}\n')
    shutil.copytree(variant, other)
    shutil.copytree(variant, folder / "questions", ignore=shutil.ignore_patterns("corpus.jsonl"))
    (other / "corpus.jsonl").write_text('{"_id": "d1", "text": "dog"}\n')
    for name in ("variant", "questions"):
        limrank("retrieve", "pets/lucene", name)
    refused = limrank("retrieve", "pets/lucene", "other", code=1).stderr
    assert "indexes/pets/lucene: is an index of pets (corpus.jsonl sha256" in refused
    assert "not of the documents of other (corpus.jsonl sha256" in refused and "limrank index DATASET" in refused
    assert refused.count("\n") == 1 and not (folder / "runs/other/bm25.trec").exists()


def test_a_run_is_known_again_by_what_made_its_index(limrank, folder, first_stage):
    manifest = folder / f"{first_stage}.manifest.json"
    before, found = manifest.read_text(), ["retrieve", "pets/lucene", "pets", "--k", "5"]
    limrank("index", "pets", "lucene", "--force")
    limrank(*found)
    assert manifest.read_text() == before
    for made, told in (
        ({"docvectors": False}, 'made with another index: options {"docvectors": false}, not {"docvectors": true}'),
        (None, "made with another index than the lucene index of pets that is there now, or with that before"),
    ):
        record = json.loads(before)
        index = record["inputs"]["index"]
        index["made"] = made and index["made"] | {"options": made}
        manifest.write_text(json.dumps(record))
        refused = limrank(*found, code=1).stderr
        assert told in refused and "--force" in refused
    manifest.write_text(before)


def test_another_prompt_under_the_same_name_is_another_run(limrank, folder, first_stage):
    text = 'format = "completion"\ntext = "{query} {passage}"\nchoices = [" yes", " no"]\n'
    (folder / "p.toml").write_text(text)
    command = ["rerank", first_stage, "pets", "--llm", "fake:hash", "--method", "pointwise", "--out", "runs/p.trec"]
    limrank(*command, "--prompt", "p.toml")
    assert "already there" in limrank(*command, "--prompt", "p.toml").stderr
    (folder / "p.toml").write_text(text.replace('" yes", " no"', '" no", " yes"'))
    assert "--force" in limrank(*command, "--prompt", "p.toml", code=1).stderr


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(limrank, folder, first_stage):
    (folder / "afolder").mkdir()
    fuse = ["fuse", first_stage, first_stage]
    assert "is a folder" in limrank(*fuse, "--out", "afolder", code=1).stderr
    assert "cannot be made" in limrank(*fuse, "--out", f"{first_stage}/x.trec", code=1).stderr


def test_evaluate_prints_what_can_be_worked_out_by_hand(limrank, first_stage):
    # The relevant document is first each time; for q2 because of d2 and d4, which have the dog, d4 is shorter.
    scores = json.loads(limrank("evaluate", first_stage, "--dataset", "pets", "mrr", "P@1", "--json").stdout)
    assert scores["means"] == {"MRR": 1.0, "P@1": 1.0}


def test_rerank_keeps_the_documents_and_goes_on_from_its_calls_file(limrank, folder, first_stage):
    out = "runs/pets/hash.trec"
    command = ["rerank", first_stage, "pets", "--llm", "fake:hash", "--method", "pointwise", "--out", out]
    limrank(*command)
    once, calls = (folder / out).read_bytes(), (folder / f"{out}.calls.jsonl").read_bytes()
    documents = sorted(line.split()[:3] for line in (folder / first_stage).read_text().splitlines())
    assert sorted(line.split()[:3] for line in once.decode().splitlines()) == documents
    assert calls.count(b"\n") == len(documents)
    (folder / out).unlink()
    manifest = json.loads(limrank(*command, "--json").stdout)
    assert (folder / out).read_bytes() == once
    assert (folder / f"{out}.calls.jsonl").read_bytes() == calls
    assert manifest["counts"]["reused"] == len(documents)


def test_runs_that_share_a_cache_ask_only_for_what_is_new(limrank, first_stage):
    command = [
        "rerank",
        first_stage,
        "pets",
        "--llm",
        "fake:hash",
        "--method",
        "pointwise",
        "--cache",
        "cache",
        "--json",
    ]
    shallow = json.loads(limrank(*command, "--depth", "1", "--out", "runs/pets/shallow.trec").stdout)["counts"]
    deep = json.loads(limrank(*command, "--depth", "5", "--out", "runs/pets/deep.trec").stdout)["counts"]
    assert (shallow["asked"], shallow["reused"]) == (3, 0)
    assert (deep["asked"], deep["reused"]) == (deep["documents"] - 3, 3)
    refused = limrank("rerank", first_stage, "pets", "--method", "bi_encoder", "--cache", "cache", "--out", "x", code=1)
    assert "leave --cache out" in refused.stderr


def test_a_failing_model_leaves_the_first_stage_order_and_exit_code_1(limrank, folder, first_stage):
    out = "runs/pets/failing.trec"
    command = ["rerank", first_stage, "pets", "--llm", "fake:hash failed=1", "--method", "pointwise", "--out", out]
    done = limrank(*command, code=1)
    assert "--max-failed" in done.stderr and "Traceback" not in done.stderr
    order = [line.split()[:3] for line in (folder / first_stage).read_text().splitlines()]
    assert [line.split()[:3] for line in (folder / out).read_text().splitlines()] == order
    limrank(*command, "--max-failed", "99", "--force")


def test_fuse_and_compare_read_what_the_others_wrote(limrank, folder, first_stage):
    limrank("retrieve", "pets/lucene", "pets", "--k", "5", "--rm3", "--out", "runs/pets/rm3.trec")
    limrank("fuse", first_stage, "runs/pets/rm3.trec", "--out", "runs/pets/fused.trec")
    runs = [first_stage, "runs/pets/rm3.trec", "runs/pets/fused.trec"]
    text = limrank("compare", *runs, "--dataset", "pets", "-m", "mrr").stdout
    assert "bm25" in text and "fused" in text and "not significant" in text
    json.loads(limrank("compare", *runs, "--dataset", "pets", "-m", "mrr", "--json").stdout)
    assert "\\toprule" in limrank("compare", *runs, "--dataset", "pets", "-m", "mrr", "--format", "latex").stdout


def test_show_prints_a_query_with_scores_texts_and_judgments(limrank, first_stage):
    text = limrank("show", first_stage, "--query", "q3", "--dataset", "pets").stdout
    assert "interest rates of banks" in text and "central banks raised" in text
    shown = json.loads(limrank("show", first_stage, "--query", "q3", "--dataset", "pets", "--json").stdout)
    assert (shown["documents"][0]["doc_id"], shown["documents"][0]["relevance"]) == ("d5", 1)


def test_list_and_doctor_answer_in_json(limrank, folder, first_stage):
    found = json.loads(limrank("list", "--json").stdout)
    assert {"pointwise", "likelihood", "cross_encoder", "bi_encoder"} <= found["methods"].keys()
    assert {"stdlib", "bright"} <= found["datasets"].keys()
    assert first_stage in found["runs"] and "indexes/pets/lucene" in found["indexes"]
    report = json.loads(limrank("doctor", "--json").stdout)
    assert {"java", "torch", "device", "cache"} <= {finding["what"] for finding in report}


def test_show_prompt_renders_what_a_model_is_sent_byte_for_byte(limrank):
    shown = limrank("show", "prompt", "rank1", "-d", "pets", "-q", "q3", "--llm", "fake:hash").stdout
    assert shown.startswith(
        "Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\n"
        "Query: interest rates of banks\nPassage: central banks raised interest rates again\n<think>\n"
    )
    assert "[choice] ' true'" in shown
    asked = ["show", "prompt", "rank1", "-d", "pets", "-q", "q3", "--doc", "d1", "--llm", "fake:hash", "--json"]
    parts = json.loads(limrank(*asked).stdout)["parts"]
    assert [part["text"] for part in parts if not part["trusted"]] == ["interest rates of banks", DOCUMENTS["d1"]]
    assert "--dataset and --query" in limrank("show", "prompt", "rank1", "-d", "pets", code=1).stderr
