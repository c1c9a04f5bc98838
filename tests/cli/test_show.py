"""What limrank show says of a run: scores, how each answer ended, and what the model thought."""

import json
from pathlib import Path

import pytest

from limrank.cli import run as limrank

PASSAGES = {"d1": "the cat sat on the mat", "d2": "a dog chased the cat", "d3": "stock markets fell"}


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets" / "qrels").mkdir(parents=True)
    corpus = [json.dumps({"_id": doc_id, "text": text}) for doc_id, text in PASSAGES.items()]
    (tmp_path / "pets" / "corpus.jsonl").write_text("\n".join(corpus) + "\n")
    (tmp_path / "pets" / "queries.jsonl").write_text('{"_id": "q1", "text": "cats"}\n')
    (tmp_path / "pets" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    lines = [f"q1 Q0 {doc_id} {rank} {3 - rank} first" for rank, doc_id in enumerate(PASSAGES, 1)]
    (tmp_path / "first.trec").write_text("\n".join(lines) + "\n")
    return tmp_path


def rerank(method: str, llm: str, *more: str) -> int:
    return limrank(["rerank", "first.trec", "pets", "--method", method, "--llm", llm, "--out", "out.trec", *more])


def test_thoughts_are_shown_below_the_documents(pets: Path, capsys) -> None:
    assert rerank("pointwise budget=20", "fake:hash", "--prompt", "rank1") == 0
    capsys.readouterr()
    assert limrank(["show", "out.trec", "--query", "q1", "--dataset", "pets", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["documents"]
    assert [row["rank"] for row in shown] == [1, 2, 3]
    calls = [json.loads(line) for line in Path("out.trec.calls.jsonl").read_text().splitlines()]
    for row in shown:
        thought, verdict = (entry for entry in calls if entry["doc_ids"] == [row["doc_id"]])
        assert row["thought"] == thought["text"] and len(row["thought"]) == 20
        assert row["status"] == "forced"  # a digest never closes its thought
        assert row["log_odds"] == verdict["logprobs"][0] - verdict["logprobs"][1]
    assert limrank(["show", "out.trec", "--query", "q1"]) == 0
    text = capsys.readouterr().out
    assert all(f"--- {row['doc_id']} [forced]\n{row['thought']}" in text for row in shown)


def test_a_failure_is_shown_with_its_reason(pets: Path, capsys) -> None:
    assert rerank("pointwise", "fake:hash failed=1") == 1
    capsys.readouterr()
    assert limrank(["show", "out.trec", "--query", "q1", "--json"]) == 0
    assert {row["status"] for row in json.loads(capsys.readouterr().out)["documents"]} == {"failed"}


def test_a_run_without_answers_shows_no_status(pets: Path, capsys) -> None:
    assert limrank(["show", "first.trec", "--query", "q1"]) == 0
    assert "status" not in capsys.readouterr().out


@pytest.mark.parametrize(("dtype", "bound"), [("float32", "0.0001"), ("bfloat16", "0.03")])
def test_the_bound_on_rounding_is_shown(pets: Path, tiny_model: Path, capsys, dtype: str, bound: str) -> None:
    assert rerank("pointwise", f"transformers:{tiny_model} dtype={dtype} device=cpu") == 0
    capsys.readouterr()
    assert limrank(["show", "out.trec"]) == 0
    assert f"moves a probability by: up to {bound}\n" in capsys.readouterr().out
    assert limrank(["show", "first.trec"]) == 0
    assert "rounding" not in capsys.readouterr().out
