"""limrank rerank with --model and --then, limrank estimate, and what list and show tell of published models."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from limrank import published
from limrank.cli import run as command_line

RUN = "first.trec"
Result = tuple[int, str, str]
Limrank = Callable[..., Result]


@pytest.fixture
def limrank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Limrank:
    """The command line, in a folder with a dataset and a run of 3 queries with 8 documents each."""
    pets = tmp_path / "pets"
    (pets / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{i}", "title": "", "text": f"text {i} of a cat"} for i in range(12)]
    (pets / "corpus.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents))
    queries = [{"_id": f"q{i}", "text": f"which cat {i}?"} for i in range(3)]
    (pets / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    (pets / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td0\t1\n")
    lines = [f"q{q} Q0 d{q + i} {i + 1} {9 - i} t\n" for q in range(3) for i in range(8)]
    (tmp_path / RUN).write_text("".join(lines))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        code = command_line(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def places(path: str) -> list[list[str]]:
    """Query, document, rank and score of a run's lines, without the name of the run."""
    return [line.split()[:5] for line in Path(path).read_text().splitlines()]


CASCADE = ["rerank", RUN, "pets", "--llm", "fake:hash", "--method", "likelihood", "--depth", "6", "--then"]


def test_a_cascade_is_the_same_as_its_stages_by_hand(limrank: Limrank) -> None:
    assert limrank(*CASCADE, "pointwise depth=4", "--then", "setwise depth=3", "--out", "c.trec")[0] == 0
    by_hand = ["--llm", "fake:hash", "--out"]
    assert limrank("rerank", RUN, "pets", "--method", "likelihood", "--depth", "6", *by_hand, "a.trec")[0] == 0
    assert limrank("rerank", "a.trec", "pets", "--method", "pointwise", "--depth", "4", *by_hand, "b.trec")[0] == 0
    assert limrank("rerank", "b.trec", "pets", "--method", "setwise", "--depth", "3", *by_hand, "e.trec")[0] == 0
    assert places("a.trec") == places("c.stage1.trec") != places(RUN)
    assert places("b.trec") == places("c.stage2.trec") != places("a.trec")
    assert places("e.trec") == places("c.trec")
    for stage in ("c.stage1.trec", "c.stage2.trec"):
        assert Path(f"{stage}.manifest.json").exists() and Path(f"{stage}.calls.jsonl").exists()


def test_every_stage_has_its_manifest_and_its_calls(limrank: Limrank) -> None:
    assert limrank(*CASCADE, "pointwise think=full prompt=rank1 depth=2", "--out", "c.trec")[0] == 0
    first, second = (json.loads(Path(f"{run}.manifest.json").read_text()) for run in ("c.stage1.trec", "c.trec"))
    assert (first["parameters"]["method"]["name"], first["parameters"]["depth"]) == ("likelihood", 6)
    assert (second["parameters"]["method"]["options"]["think"], second["parameters"]["depth"]) == ("full", 2)
    assert second["inputs"]["run"]["sha256"] == first["output"]["sha256"]
    # A thought and a label for each of 3 * 2 documents.
    assert Path("c.trec.calls.jsonl").read_text().count("\n") == 12


def test_an_interrupted_cascade_goes_on_where_it_stopped(limrank: Limrank) -> None:
    command = [*CASCADE, "pointwise depth=4", "--out", "c.trec"]
    assert limrank(*command)[0] == 0
    once, calls = Path("c.trec").read_bytes(), Path("c.trec.calls.jsonl")
    Path("c.trec").unlink()
    Path("c.trec.manifest.json").unlink()
    # The first of two batches; half a batch would be asked for again.
    calls.write_text("".join(calls.read_text().splitlines(keepends=True)[:8]))
    before = Path("c.stage1.trec").stat().st_mtime_ns
    code, out, err = limrank(*command)
    assert code == 0 and "c.stage1.trec: already there" in err and "asked 4, reused 8" in out
    assert Path("c.trec").read_bytes() == once and Path("c.stage1.trec").stat().st_mtime_ns == before
    assert "c.trec: already there" in limrank(*command)[2]


def test_a_stage_that_fails_ends_the_cascade(limrank: Limrank) -> None:
    command = ["rerank", RUN, "pets", "--llm", "fake:hash failed=1", "--method", "pointwise", "--out", "c.trec"]
    code, _, err = limrank(*command, "--then", "likelihood depth=2 llm=fake:hash")
    assert code == 1 and "24 of 24 documents have no verdict" in err
    assert Path("c.stage1.trec").exists() and not Path("c.trec").exists()


def test_a_later_published_model_is_run_by_the_backend_that_llm_names(limrank: Limrank) -> None:
    from limrank.cli._stages import stages_of

    def of(llm: str, *then: str) -> list[str]:
        stages = stages_of(model="rank1-7b", method="", llm=llm, prompt="", mix=None, depth=None, then=then)
        return [stage.llm.split()[0] if stage.llm else "" for stage in stages]

    every = of("openai url=http://a", "limrank-7b", "bge-reranker-v2-m3", "rank1-7b llm=transformers")
    assert every == ["openai:jhu-clsp/rank1-7b", "openai:songtingyu/limrank", "", "transformers:jhu-clsp/rank1-7b"]
    assert of("fake:hash", "limrank-7b")[1].endswith(":songtingyu/limrank")  # other weights are not the model's


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ("pointwize", "did you mean pointwise"),
        ("limrank-8b depth=5", "did you mean limrank-7b"),
        ("pointwise depth=0", "depth=0: expected at least 1"),
        ("pointwise depth=ten", "depth=ten: expected at least 1"),
        ("pointwise thnk=full", "thnk"),
        ("pointwise prompt=nowhere", "unknown prompt 'nowhere'"),
        ("rank-r1-7b", "cannot run Rank-R1-7B"),
    ],
)
def test_a_mistake_in_a_later_stage_is_found_before_the_first_one_runs(
    limrank: Limrank, then: str, message: str
) -> None:
    code, _, err = limrank(*CASCADE, then, "--out", "c.trec")
    assert code == 1 and message in err and err.count("\n") == 1
    assert not list(Path().glob("c.*"))


def test_stages_without_a_language_model_leave_it_to_the_others(limrank: Limrank) -> None:
    stages = ["--method", "bi_encoder", "--llm", "fake:hash", "--then", "pointwise depth=3"]
    code, out, _ = limrank("estimate", RUN, "pets", *stages, "--json")
    assert code == 0
    methods = [cost["method"] for cost in json.loads(out)["costs"]]
    assert methods == ["bi_encoder depth=100", "pointwise depth=3", "all stages"]
    assert "asks no language model" in limrank("rerank", RUN, "pets", *stages[:4])[2]


def test_a_rerank_killed_before_its_manifest_goes_on(limrank: Limrank) -> None:
    command = ["rerank", RUN, "pets", "--method", "pointwise", "--llm", "fake:hash", "--out", "k.trec"]
    assert limrank(*command)[0] == 0
    whole = Path("k.trec").read_bytes()
    Path("k.trec.manifest.json").unlink()
    code, out, _ = limrank(*command)
    assert code == 0 and "0 failed, reused 24," in out and Path("k.trec").read_bytes() == whole
    # A run without answers beside it is somebody else's.
    Path("k.trec.manifest.json").unlink()
    Path("k.trec.calls.jsonl").unlink()
    code, _, err = limrank(*command)
    assert code == 1 and "has no manifest" in err


def test_a_negative_number_of_failures_is_refused_before_the_work(limrank: Limrank) -> None:
    code, _, err = limrank("rerank", RUN, "pets", "--llm", "fake:hash", "--max-failed", "-1", "--out", "k.trec")
    assert code == 1 and "--max-failed -1: expected 0 or more" in err and not Path("k.trec").exists()


def test_a_later_stage_asks_the_same_language_model_where_it_names_none(limrank: Limrank) -> None:
    later = ["--then", "pointwise depth=3", "--then", "setwise depth=2 llm='fake:hash seed=7'", "--out", "c.trec"]
    assert limrank(*CASCADE[:-1], *later)[0] == 0
    asked = [
        json.loads(Path(f"c.{stage}trec.manifest.json").read_text())["parameters"]["method"]["model"]
        for stage in ("stage1.", "stage2.", "")
    ]
    assert asked == ["fake:hash seed=0", "fake:hash seed=0", "fake:hash seed=7"]


@pytest.mark.parametrize("first", [["--method", "pointwise"], ["--model", "rank1-7b"], ["--method", "setwise"]])
def test_a_mix_is_refused_where_a_method_has_none(limrank: Limrank, first: list[str]) -> None:
    code, _, err = limrank("rerank", RUN, "pets", *first, "--mix", "0.1", "--llm", "fake:hash", "--out", "c.trec")
    assert code == 1 and "has no first-stage mix; leave --mix out" in err and err.count("\n") == 1


def test_a_published_model_brings_method_prompt_and_depth(limrank: Limrank) -> None:
    code, out, err = limrank("rerank", RUN, "pets", "--model", "rank1-7b", "--llm", "fake:hash", "--depth", "4")
    assert code == 0 and "rank1-7b: pointwise think=full budget=8192, fake:hash, prompt rank1, depth 4" in err
    assert out.startswith("runs/pets/first+rank1-7b.trec: 12 of 12 documents judged")
    manifest = json.loads(Path("runs/pets/first+rank1-7b.trec.manifest.json").read_text())
    assert manifest["parameters"]["method"]["options"]["budget"] == 8192
    assert manifest["parameters"]["method"]["prompt"]["name"] == "rank1"


def test_a_published_model_can_be_a_stage(limrank: Limrank) -> None:
    stage = "limrank-7b think=top:2 depth=5 llm=fake:hash"
    assert limrank(*CASCADE, stage, "--out", "c.trec")[0] == 0
    parameters = json.loads(Path("c.trec.manifest.json").read_text())["parameters"]
    assert (parameters["depth"], parameters["method"]["options"]["think"]) == (5, "top:2")
    assert (parameters["method"]["options"]["budget"], parameters["method"]["prompt"]["name"]) == (8192, "rank1")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("rank-r1-7b", "limrank cannot run Rank-R1-7B"),
        ("jina-reranker-v2", "needs program code from its repository"),
        ("limrank", "did you mean limrank-7b"),
    ],
)
def test_a_model_that_cannot_be_run_says_so_in_one_line(limrank: Limrank, model: str, message: str) -> None:
    code, _, err = limrank("rerank", RUN, "pets", "--model", model)
    assert code == 1 and message in err and err.count("\n") == 1


def test_a_dry_run_prints_the_estimate_and_makes_nothing(limrank: Limrank) -> None:
    options = [RUN, "pets", "--method", "pointwise think=full", "--prompt", "rank1", "--llm", "fake:hash"]
    before = sorted(Path().rglob("*"))
    code, dry, _ = limrank("rerank", *options, "--dry-run", "--json")
    assert code == 0 and sorted(Path().rglob("*")) == before
    assert limrank("estimate", *options, "--json")[1] == dry
    first = json.loads(dry)["costs"][0]
    # 24 documents, each with a thought of 400 tokens and a label.
    assert (first["calls"], first["output_tokens"]) == (48, 24 * 401)


def test_an_estimate_tells_hours_and_price_of_all_that_could_be_done(limrank: Limrank) -> None:
    options = ["--method", "pointwise think=full", "--prompt", "rank1", "--llm", "fake:hash"]
    speeds = ["--tokens-per-second", "1000", "10", "--price-in", "1", "--price-out", "1000"]
    code, out, _ = limrank("estimate", RUN, "pets", *options, *speeds)
    assert code == 0 and all(f"think={think}" in out for think in ("none", "top:10", "top:20", "full"))
    costs = json.loads(limrank("estimate", RUN, "pets", *options, *speeds, "--json")[1])
    [full] = [cost for cost in costs["costs"] if cost["method"] == "pointwise think=full depth=100"]
    read = full["prompt_tokens"] - full["shared_tokens"]
    assert full["hours"] == round((read / 1000 + full["output_tokens"] / 10) / 3600, 3)
    assert full["price"] == round(full["prompt_tokens"] / 1e6 + full["output_tokens"] / 1e3, 2)
    assert costs["counted"][0].startswith("characters / 4")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--price-in", "1"], "--price-out"),
        (["--tokens-per-second", "0", "1"], "above 0"),
        (["--depth", "0"], "at least 1"),
    ],
)
def test_an_estimate_refuses_what_makes_no_sense(limrank: Limrank, options: list[str], message: str) -> None:
    code, _, err = limrank("estimate", RUN, "pets", "--llm", "fake:hash", *options)
    assert code == 1 and message in err


def test_list_and_show_tell_what_is_known_of_models_and_from_where(limrank: Limrank) -> None:
    table = limrank("list", "models")[1]
    assert all(name in table for name in published.names()) and "28.0 @10" in table
    assert json.loads(limrank("list", "models", "--json")[1])["models"]["limrank-7b"]["hub"] == "songtingyu/limrank"
    shown = limrank("show", "model", "limrank-7b")[1]
    assert "arXiv 2510.23544" in shown and "nDCG@10" in shown and "top_k=10" in shown
    assert json.loads(limrank("show", "model", "rank1-3b", "--json")[1])["recalled"] == ["licence"]
    assert "did you mean limrank-7b" in limrank("show", "model", "limrank-7")[2]


def test_a_run_with_documents_without_a_verdict_says_so_wherever_it_is_read(limrank: Limrank) -> None:
    failing = ["--llm", "fake:hash failed=0.4", "--method", "pointwise", "--depth", "5"]
    assert limrank("rerank", RUN, "pets", *failing, "--out", "ff.trec")[0] == 1
    lost = json.loads(Path("ff.trec.manifest.json").read_text())["counts"]["without_verdict"]
    assert 0 < lost < 15
    told = f"ff: {lost} of 15 reranked documents have no verdict and stand where the first stage had them"
    on_pets = ["--dataset", "pets"]
    again = ["--method", "likelihood", "--llm", "fake:hash", "--out", "again.trec"]
    every = {
        "evaluate": limrank("evaluate", "ff.trec", *on_pets),
        "compare": limrank("compare", "ff.trec", RUN, *on_pets),
        "fuse": limrank("fuse", "ff.trec", RUN, "--out", "fused.trec"),
        "rerank": limrank("rerank", "ff.trec", "pets", *again),
        "show": limrank("show", "ff.trec"),
        "report": limrank("report", "ff.trec", RUN, *on_pets, "--out", "ff.md"),
    }
    assert {name: (code, (out + err).count(told)) for name, (code, out, err) in every.items()} == dict.fromkeys(
        every, (0, 1)
    )
    assert told in Path("ff.md").read_text()
    # A file that is another one than the manifest tells of: nothing is known of it.
    Path("ff.trec").write_text(Path(RUN).read_text())
    assert "no verdict" not in limrank("evaluate", "ff.trec", *on_pets)[2]


def test_answers_of_no_use_are_told_where_every_document_has_a_verdict(limrank: Limrank) -> None:
    assert limrank("rerank", RUN, "pets", "--llm", "fake:hash", "--method", "pointwise", "--out", "r.trec")[0] == 0
    assert "of no use" not in limrank("evaluate", "r.trec", "--dataset", "pets")[2]
    manifest = json.loads(Path("r.trec.manifest.json").read_text())
    manifest["counts"] |= {"malformed": 2, "failed": 1}
    Path("r.trec.manifest.json").write_text(json.dumps(manifest))
    told = "r: 3 answers were of no use to the reranker and left documents in the order they had"
    assert told in limrank("evaluate", "r.trec", "--dataset", "pets")[2]


def test_an_empty_run_is_refused_in_one_line_wherever_it_is_read(limrank: Limrank) -> None:
    Path("empty.trec").write_text("")
    by = ["--method", "likelihood", "--llm", "fake:hash"]
    for command in (
        ["rerank", "empty.trec", "pets", *by, "--out", "r.trec"],
        ["estimate", "empty.trec", "pets", *by],
        ["evaluate", "empty.trec", "--dataset", "pets"],
        ["compare", RUN, "empty.trec", "--dataset", "pets"],
        ["report", RUN, "empty.trec", "--dataset", "pets"],
        ["fuse", RUN, "empty.trec", "--out", "r.trec"],
        ["show", "empty.trec"],
    ):
        code, out, err = limrank(*command)
        told = [line for line in err.splitlines() if not line.startswith("runs: ")]
        assert (code, out, len(told)) == (1, "", 1) and "empty.trec: no results in it" in told[0]
    assert not Path("r.trec").exists()


def test_fuse_refuses_an_option_that_its_method_does_not_use(limrank: Limrank) -> None:
    both = ["fuse", RUN, "second.trec", "--out", "f.trec", "--method"]
    Path("second.trec").write_text("".join(f"q{q} Q0 d{q} 1 1 t\n" for q in range(3)))
    code, _, err = limrank(*both, "rrf", "--norm", "z")
    assert code == 1 and err.startswith("limrank: --norm is for wsum") and err.count("\n") == 1
    code, _, err = limrank(*both, "wsum", "--rrf-k", "5")
    assert code == 1 and err.startswith("limrank: --rrf-k is for rrf") and err.count("\n") == 1
    assert not Path("f.trec").exists()
    assert limrank(*both, "rrf", "--rrf-k", "5", "--weights", "2", "1")[0] == 0
    # d0: 2 / (5 + 1) + 1 / (5 + 1) = 1/2
    assert places("f.trec")[0] == ["q0", "Q0", "d0", "1", "0.5"]
    assert limrank(*both, "wsum", "--norm", "z", "minmax", "--force")[0] == 0


def test_queries_of_the_dataset_that_the_run_lacks_are_told_once(limrank: Limrank) -> None:
    Path("one.trec").write_text("q0 Q0 d0 1 2.0 t\nq0 Q0 d1 2 1.0 t\n")
    stages = ["--llm", "fake:hash", "--method", "pointwise", "--then", "pointwise depth=1"]
    told = "one.trec: no results for 2 of 3 queries of pets; there is nothing to rerank for these"
    assert limrank("rerank", "one.trec", "pets", *stages, "--out", "o.trec")[2].splitlines().count(told) == 1
    assert "no results for" not in limrank("rerank", RUN, "pets", *stages, "--out", "w.trec")[2]
