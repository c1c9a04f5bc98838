"""What limrank show says of a run: scores, how each answer ended, and what the model thought."""

import json
from pathlib import Path

import pytest

from limrank.cli import run as limrank
from limrank.llm.fake import Fake, by_digest
from limrank.records import Document, Query, ScoredDoc
from limrank.rerank import Job, open_reranker

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


def test_the_last_verdict_decides_the_status_whatever_was_said_later(pets: Path, capsys) -> None:
    """With a smaller budget a thought may be cut back to the same sentence, so that its verdict is on record."""
    # On record: thoughts of 24 tokens, then of 12.
    for budget in ("24", "12"):
        assert rerank(f"pointwise think=full budget={budget}", "fake:hash", "--prompt", "rank1", "--force") == 0
    capsys.readouterr()
    assert limrank(["show", "out.trec", "--query", "q1", "--json"]) == 0
    for row in json.loads(capsys.readouterr().out)["documents"]:
        assert row["status"] == "forced" and list(map(len, row["thought"].split("\n\n"))) == [24, 12]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nothere.trec", "--query", "q1"], "nothere.trec: no such file"), (["model"], "show model needs a name")],
)
def test_what_is_not_there_is_said(pets: Path, capsys, arguments: list[str], message: str) -> None:
    assert limrank(["show", *arguments]) == 1
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


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


LONG = "see [1] " + "and the cat sleeps " * 100

SENT = [
    ("rank1", "pointwise"),
    ("rank1", "pointwise think=none"),
    ("rank1", "pointwise think=top:2"),
    ("upr", "likelihood"),
    ("listwise", "listwise"),
    ("listwise-letter", "listwise logits=true"),
    ("reasonrank", "listwise words=20"),
    ("setwise", "setwise"),
    ("pairwise", "pairwise order=allpairs"),
]


@pytest.fixture
def two_relevant(pets: Path) -> Path:
    """The collection above with one more document, which is long, holds a label, and is relevant, too."""
    with open("pets/corpus.jsonl", "a") as corpus:
        corpus.write(json.dumps({"_id": "d4", "text": LONG}) + "\n")
    with open("pets/qrels/test.tsv", "a") as qrels:
        qrels.write("q1\td4\t1\nq1\td3\t0\n")
    return pets


@pytest.mark.parametrize(("prompt", "method"), SENT)
def test_a_prompt_is_shown_as_its_method_sends_it(two_relevant: Path, capsys, prompt: str, method: str) -> None:
    """The reranker that would run is run here on the same documents: the relevant ones, then another judged one."""
    seen = Fake(by_digest("any"), keep=True)
    texts = PASSAGES | {"d4": LONG}
    documents = tuple(Document(doc_id, texts[doc_id]) for doc_id in ("d1", "d4", "d3"))
    job = Job(Query("q1", "cats"), documents, tuple(ScoredDoc(one.doc_id, 0.0) for one in documents))
    list(open_reranker(method, llm=seen, prompt=prompt).rerank([job]))
    first = seen.seen[0]
    asked = ["show", "prompt", prompt, "-d", "pets", "-q", "q1", "--llm", "fake:hash", "--method", method]
    assert limrank([*asked, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["parts"] == [part._asdict() for message in first.messages for part in message.parts]
    assert (shown["doc_ids"], shown["max_tokens"]) == (list(first.doc_ids), first.max_tokens)
    assert shown["stop"] == list(first.stop)
    later = next((one.choices for one in seen.seen if one.choices), ())
    assert shown["choices"] == [part.text for part in later]


@pytest.mark.parametrize(("prompt", "method"), [case for case in SENT if "=" not in case[1]])
def test_without_a_method_it_is_the_one_whose_prompt_it_is(
    two_relevant: Path, capsys, prompt: str, method: str
) -> None:
    asked = ["show", "prompt", prompt, "-d", "pets", "-q", "q1", "--llm", "fake:hash", "--json"]
    assert limrank(asked) == limrank([*asked, "--method", method]) == 0
    first, second = capsys.readouterr().out.split("\n}\n")[:2]
    assert first == second


def test_a_published_model_shows_its_own_prompt_and_method(two_relevant: Path, capsys) -> None:
    asked = ["show", "prompt", "-d", "pets", "-q", "q1", "--llm", "fake:hash"]
    assert limrank([*asked, "--model", "limrank-7b"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Determine if the following passage is relevant")
    assert "\n<think>\n[answer] at most 8192 tokens, until '</think>'\n[choice] ' true'\n" in out
    assert limrank([*asked, "--model", "limrank-7b", "--method", "pointwise think=none"]) == 0
    assert "\n<think> Okay, I think I have finished thinking. </think>\n[choice]" in capsys.readouterr().out
    assert limrank([*asked, "--model", "reasonrank-7b"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("[system]\nYou are RankLLM") and "\n[2] see (1) and the cat" in out


def test_what_is_cut_is_shown_as_it_is_sent_and_counted(two_relevant: Path, tiny_model: Path, capsys) -> None:
    """With the model's own tokenizer: the text is the one of the token ids that --tokens shows."""
    llm = f"transformers:{tiny_model} max_length=120"
    asked = ["show", "prompt", "true-false", "-d", "pets", "-q", "q1", "--doc", "d4", "--llm", llm]
    assert limrank([*asked, "--tokens", "--json"]) == 0
    tokens = json.loads(capsys.readouterr().out)
    assert tokens["dropped"] > 0 and len(tokens["ids"]) == 120
    assert limrank(asked) == 0
    out = capsys.readouterr().out
    cut = f"[cut] {tokens['dropped']} tokens of passages that do not fit into 120"
    assert out.endswith(f"Answer:\n{cut}\n[choice] ' true'\n[choice] ' false'\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["first.trec", "--method", "pointwise"], "--method is for a prompt"),
        (["prompt", "rank1", "--method", "pointwise"], "--dataset and --query"),
        (["prompt"], "or a TOML file, or --model"),
        (["prompt", "monot5", "-d", "pets", "-q", "q1", "--method", "monot5:x", "--llm", ""], "asks no language model"),
        (["prompt", "rank1", "-d", "pets", "-q", "q1", "--llm", "fake", "--tokens"], "leave --tokens out"),
    ],
)
def test_a_prompt_that_cannot_be_shown_says_why(pets: Path, capsys, arguments: list[str], message: str) -> None:
    assert limrank(["show", *arguments]) == 1
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
