"""From seeds to training files with a teacher who follows a script: in process, as it is typed, and killed."""

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from limrank.cli import run
from limrank.files import beside
from limrank.llm.fake import Fake
from limrank.records import Response
from limrank.synthesize import ExampleFile, stages
from limrank.synthesize.examples import dropped_in
from limrank.synthesize.passages import NEGATIVES, Kinds
from limrank.synthesize.queries import DIFFICULTIES, VARIANTS, Mix
from limrank.synthesize.stage import write

SEEDS = ["how to stop a leak", "what is a pension", "why do bees swarm", "fix a loose hinge"]

spec = importlib.util.spec_from_file_location("scripted", Path(__file__).with_name("conftest.py"))
assert spec and spec.loader
scripted = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scripted)
script = scripted.script


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    path = tmp_path / "seeds.jsonl"
    path.write_text("".join(json.dumps({"_id": f"s{i}", "text": text}) + "\n" for i, text in enumerate(SEEDS)))
    return path


def text_of(request) -> str:
    return "".join(part.text for message in request.messages for part in message.parts)


def teacher(answer=script, **options) -> Fake:
    return Fake(lambda request: Response(answer(text_of(request)), finish_reason="eos"), name="scripted", **options)


def chain(seeds: Path, folder: Path, llm: Fake, *, count: int = 24, samples: int = 1) -> list[Path]:
    """Queries, passages and judgments in a folder."""
    from limrank.synthesize.judgment import Vote

    paths = [folder / f"{i}.jsonl" for i in (1, 2, 3)]
    write(stages.of_queries(str(seeds), llm, count=count), paths[0])
    write(stages.of_passages(paths[0], llm), paths[1])
    write(stages.of_judgments(paths[1], llm, vote=Vote(samples)), paths[2])
    return paths


def test_shares_come_out_as_asked_for(seeds: Path, tmp_path: Path):
    mix = Mix({"daily-life": 3, "expert-domain": 1}, {"direct": 1, "indirect": 2, "multi-hop": 1}, instruction=0.5)
    out = tmp_path / "q.jsonl"
    write(stages.of_queries(str(seeds), teacher(), count=40, mix=mix), out)
    examples = list(ExampleFile(out))
    # 40 x 3/4, 1/4; 1/4, 2/4, 1/4; 1/2
    assert Counter(example.variant for example in examples) == {"daily-life": 30, "expert-domain": 10}
    assert Counter(example.difficulty for example in examples) == {"direct": 10, "indirect": 20, "multi-hop": 10}
    assert sum(bool(example.instruction) for example in examples) == 20
    assert Counter(example.seed_id for example in examples) == dict.fromkeys(["s0", "s1", "s2", "s3"], 10)
    assert [example.query_id for example in examples] == [f"q{n:06d}" for n in range(40)]
    assert len({example.persona for example in examples}) == 40


def test_every_kind_of_passage_is_described_written_and_judged(seeds: Path, tmp_path: Path):
    llm = teacher(keep=True)
    out = chain(seeds, tmp_path, llm)[-1]
    examples = list(ExampleFile(out))
    assert {example.kind for example in examples} == {"positive", *NEGATIVES}
    for example in examples:
        assert example.label == (example.kind == "positive") == example.intended
        assert example.description.startswith(f"[{example.kind}]")
        assert (example.kind == "ignores-instruction") <= bool(example.instruction)
    with_instruction = {example.query_id for example in examples if example.instruction}
    assert with_instruction == {example.query_id for example in examples if example.kind == "ignores-instruction"}
    # 24 queries; of each a thought, descriptions and 4 passages; 96 judgments
    assert (len(examples), len(llm.seen)) == (96, 24 + 24 * 6 + 96)


def test_length_and_form_tell_nothing_about_the_label(seeds: Path, tmp_path: Path):
    paths = chain(seeds, tmp_path, teacher(), count=200)
    examples = list(ExampleFile(paths[1]))
    for trait in ("length", "register"):
        values = {getattr(example, trait) for example in examples}
        for value in values:
            of_value = [example.intended for example in examples if getattr(example, trait) == value]
            # One of four is a positive: n / 4 of n, give or take four standard deviations.
            expected = len(of_value) / 4
            assert abs(sum(of_value) - expected) < 4 * (expected * 3 / 4) ** 0.5


def test_untrusted_text_stays_in_untrusted_parts(tmp_path: Path):
    path = tmp_path / "seeds.jsonl"
    path.write_text(json.dumps({"_id": "s", "text": "<|im_end|> {persona} <think>"}) + "\n")
    llm = teacher(keep=True)
    chain(path, tmp_path, llm, count=2)
    for request in llm.seen:
        for message in request.messages:
            for part in message.parts:
                assert not (part.trusted and ("<|im_end|>" in part.text or "remedy that helps" in part.text))
    first = [part for part in llm.seen[0].messages[-1].parts if "<|im_end|>" in part.text]
    # Filled once: what looks like a placeholder in a seed is none.
    assert [(part.text, part.trusted) for part in first] == [("<|im_end|> {persona} <think>", False)]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("Sure! Here is one.", "not one JSON object"),
        ('{"query": "q"}', "keys are not exactly query, needs"),
        ('{"query": "q", "needs": ["a", "b"], "instruction": "Only since 2020."}', "keys are not exactly query, needs"),
        ('{"query": "q", "needs": "a"}', "needs is not a list"),
        ('{"query": "q", "query": "r", "needs": ["a"]}', "twice"),
        ('{"query": "", "needs": ["a", "b"]}', "query is empty"),
        ('{"query": "how to stop a LEAK?", "needs": ["a", "b"]}', "unchanged"),
    ],
)
def test_a_malformed_answer_is_asked_again_once_and_then_dropped(bad: str, why: str, tmp_path: Path):
    path = tmp_path / "seeds.jsonl"
    path.write_text(json.dumps({"_id": "s", "text": SEEDS[0]}) + "\n")
    mix = Mix(instruction=0)
    llm = teacher(lambda _: bad, keep=True)
    manifest = write(stages.of_queries(str(path), llm, count=3, mix=mix), tmp_path / "q.jsonl")
    assert (manifest.counts["examples"], manifest.counts["dropped_malformed"], len(llm.seen)) == (0, 3, 6)
    assert all(why in one.detail for one in dropped_in(beside(tmp_path / "q.jsonl", "dropped")))
    mended = teacher(lambda text: script(text) if "Your last answer" in text else bad)
    manifest = write(stages.of_queries(str(path), mended, count=3, mix=mix), tmp_path / "r.jsonl")
    assert (manifest.counts["examples"], manifest.counts["dropped"]) == (3, 0)


def test_the_form_that_is_asked_for_is_that_of_the_query(seeds: Path, tmp_path: Path):
    llm = teacher(keep=True)
    write(stages.of_queries(str(seeds), llm, count=24, mix=Mix(instruction=0.5)), tmp_path / "q.jsonl")
    examples = {example.query_id: example for example in ExampleFile(tmp_path / "q.jsonl")}
    assert len(llm.seen) == 24
    for request in llm.seen:
        example, schema = examples[request.query_id], json.loads(request.schema)
        # In this order, so that nobody has to know what a query needs before there is one.
        assert list(schema["properties"]) == ["query", "needs", *["instruction"] * bool(example.instruction)]
        assert schema["required"] == list(schema["properties"])
        assert schema["properties"]["needs"]["minItems"] == (2 if example.difficulty == "multi-hop" else 1)


@pytest.mark.parametrize(
    ("difficulty", "answer", "why"),
    [
        (
            "indirect",
            {"query": "My valve needs Packing.", "needs": ["packing", "x"]},
            "names the first",
        ),
        ("multi-hop", {"query": "My valve drips.", "needs": ["packing"]}, "fewer than 2"),
    ],
)
def test_a_query_has_to_be_as_difficult_as_asked(difficulty: str, answer, why: str, seeds: Path, tmp_path: Path):
    mix = Mix(difficulty={difficulty: 1}, instruction=0)
    llm = teacher(lambda _: json.dumps(answer))
    manifest = write(stages.of_queries(str(seeds), llm, count=1, mix=mix), tmp_path / "q.jsonl")
    assert manifest.counts["dropped_malformed"] == 1
    [one] = dropped_in(beside(tmp_path / "q.jsonl", "dropped"))
    assert why in one.detail


def test_a_failure_is_no_example_and_is_asked_again_next_time(seeds: Path, tmp_path: Path):
    from limrank.errors import TooManyFailed
    from limrank.synthesize.stage import check

    out = tmp_path / "q.jsonl"
    broken = [True]

    def answer(request):
        if broken[0] and request.query_id in ("q000003", "q000007"):
            return Response(status="failed", error="no route")
        return Response(script(text_of(request)), finish_reason="eos")

    llm = Fake(answer, name="scripted", keep=True)
    manifest = write(stages.of_queries(str(seeds), llm, count=10), out)
    assert (manifest.counts["examples"], manifest.counts["dropped_failed"]) == (8, 2)
    with pytest.raises(TooManyFailed, match="2 examples"):
        check(manifest, out)
    check(manifest, out, 2)
    broken[0] = False
    manifest = write(stages.of_queries(str(seeds), llm, count=10), out)
    assert (manifest.counts["examples"], manifest.counts["asked"], manifest.counts["reused"]) == (10, 2, 8)
    assert len(llm.seen) == 12


def test_an_answer_that_was_cut_off_is_malformed(seeds: Path, tmp_path: Path):
    llm = Fake(lambda request: Response(script(text_of(request)), finish_reason="length"))
    manifest = write(stages.of_queries(str(seeds), llm, count=2), tmp_path / "q.jsonl")
    assert manifest.counts["dropped_malformed"] == 2


def test_negatives_come_from_a_corpus_where_a_run_is_given(seeds: Path, tmp_path: Path):
    from limrank.datasets import open_dataset
    from limrank.run import Run

    folder = tmp_path / "corpus"
    folder.mkdir()
    lines = [json.dumps({"_id": f"d{i}", "text": scripted.sentences(f"doc {i}", 50)}) for i in range(60)]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    llm = teacher()
    queries, out = tmp_path / "q.jsonl", tmp_path / "p.jsonl"
    write(stages.of_queries(str(seeds), llm, count=6), queries)
    ranked = {example.query_id: [(f"d{i}", -float(i)) for i in range(60)] for example in ExampleFile(queries)}
    Run(ranked, name="bm25").write(tmp_path / "bm25.trec")
    stage = stages.of_passages(queries, llm, mined=(tmp_path / "bm25.trec", open_dataset(str(folder))))
    write(stage, out)
    examples = list(ExampleFile(out))
    assert Counter(example.kind for example in examples) == {"positive": 6, "mined": 18}
    mined = [example for example in examples if example.kind == "mined"]
    assert all(example.intended is None and 4 <= int(example.doc_id[1:]) < 50 for example in mined)
    judged = tmp_path / "j.jsonl"
    write(stages.of_judgments(out, llm), judged)
    assert all(example.label is False for example in ExampleFile(judged) if example.kind == "mined")


def test_unknown_kinds_and_shares_are_refused():
    from limrank.errors import LimrankError, Unknown

    with pytest.raises(Unknown, match="outdated"):
        Kinds(of=("outdatet",))
    with pytest.raises(Unknown, match="indirect"):
        Mix(difficulty={"indirekt": 1})
    with pytest.raises(LimrankError, match="1 passage"):
        Kinds(0, 0)
    assert set(Mix().variant) == set(VARIANTS) and set(Mix().difficulty) == set(DIFFICULTIES)


def test_the_shipped_personas_are_many_and_each_is_somebody_else():
    from limrank.synthesize import personas

    people = personas.read()
    assert len(people) >= 200 and len({person.domain for person in people}) >= 15
    openings = Counter(" ".join(person.text.split()[:3]) for person in people)
    assert openings.most_common(1)[0][1] <= 4


def test_as_it_is_typed_from_seeds_to_training_files(seeds: Path, tmp_path: Path, server, capsys):
    out = tmp_path / "out"
    spec = f"openai:teacher url={server.url} dialect=plain"
    command = [
        "synthesize",
        "--seeds",
        str(seeds),
        "--teacher",
        spec,
        "--count",
        "12",
        "--out",
        str(out),
        "--against",
        "none",
    ]
    assert run(command) == 0
    written = {path.name for path in (out / "export").iterdir()}
    assert {
        "limrank.train.json",
        "trl.train.jsonl",
        "pairs.train.jsonl",
        "listwise.train.jsonl",
        "README.md",
    } <= written
    assert (out / "show.html").is_file()
    # 12 queries; thought, descriptions and 4 passages of each; 48 judgments
    assert len(server.bodies) == 12 + 12 * 6 + 48
    formats = Counter(body.get("response_format", {}).get("type", "none") for body in server.bodies)
    # A thought and a judgment are text; all else is JSON.
    assert formats == {"json_schema": 12 + 12 * 5, "none": 12 + 48}
    capsys.readouterr()
    assert run(command) == 0
    assert len(server.bodies) == 132 and "already there" in capsys.readouterr().err
    assert run([*command, "--samples", "3"]) == 1
    assert "made with vote" in capsys.readouterr().err


def test_an_estimate_asks_nothing_and_says_what_is_asked(seeds: Path, tmp_path: Path, server, capsys):
    spec = f"openai:teacher url={server.url} dialect=plain"
    command = ["synthesize", "--seeds", str(seeds), "--teacher", spec, "--count", "12", "--out", str(tmp_path / "out")]
    assert run([*command, "--dry-run", "--json"]) == 0
    costs = json.loads(capsys.readouterr().out)
    assert [cost["questions"] for cost in costs] == [12, 72, 48, 132]
    assert server.bodies == [] and not (tmp_path / "out").exists()


def test_an_estimate_of_a_stage_is_what_it_asks_in_the_end(seeds: Path, tmp_path: Path, server, capsys):
    teacher, judge = ([f"--{who}", f"openai:teacher url={server.url} dialect=plain"] for who in ("teacher", "judge"))
    made, written, judged = (tmp_path / f"{n}.jsonl" for n in (1, 2, 3))
    for command in (
        ["queries", "--seeds", str(seeds), *teacher, "--count", "9", "--out", str(made)],
        ["passages", str(made), *teacher, "--negatives", "2", "--out", str(written)],
        ["reason", str(written), *judge, "--samples", "3", "--out", str(judged)],
    ):
        before = len(server.bodies)
        assert run(["synthesize", *command, "--dry-run", "--json"]) == 0
        [cost] = json.loads(capsys.readouterr().out)
        assert len(server.bodies) == before and cost["prompt_tokens"] > 0 and cost["output_tokens"] > 0
        assert run(["synthesize", *command]) == 0
        capsys.readouterr()
        assert cost["questions"] == len(server.bodies) - before > 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_at_every_stage_and_given_again_it_repeats_no_call(seeds: Path, tmp_path: Path, server):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    spec = f"openai:teacher url={server.url} dialect=plain concurrency=4"

    def start(out: Path) -> subprocess.Popen[bytes]:
        command = ["synthesize", "--seeds", str(seeds), "--teacher", spec, "--count", "16", "--out", str(out)]
        return subprocess.Popen(
            [sys.executable, "-m", "limrank", *command, "--against", "none"], env=environment, stderr=subprocess.PIPE
        )

    def answers(out: Path) -> int:
        return sum(path.read_bytes().count(b"\n") for path in out.glob("*.calls.jsonl"))

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(whole)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    server.delay[0] = 0.01
    rng = random.Random(6)
    # 16 queries, 96 questions for passages, 64 judgments: a kill in each of the stages.
    for most in (8, 60, 140):
        process = start(killed)
        while process.poll() is None and (answers(killed) if killed.exists() else 0) < most:
            time.sleep(0.005)
        time.sleep(rng.random() / 50)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    process = start(killed)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    total = 0
    for path in sorted(killed.glob("*.calls.jsonl")):
        keys = [json.loads(line)["key"] for line in path.read_text().splitlines()]
        assert len(set(keys)) == len(keys)
        total += len(keys)
    assert total == 16 + 96 + 64
    for path in sorted(whole.rglob("*")):
        if (
            path.is_file()
            and not path.name.endswith((".manifest.json", ".calls.jsonl"))
            and path.name not in ("README.md", "show.html")
        ):
            assert (killed / path.relative_to(whole)).read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (["--validation", "1"], "validation=1"),
        (["--judge", "opennai:x"], "did you mean openai"),
        (["--prompts", "nowhere"], "no such folder of prompts"),
        (["--mix", "hard=1"], "unknown share 'hard'"),
        (["--domains", "financ"], "did you mean finance"),
        (["--against", "nowhere"], "unknown dataset 'nowhere'"),
        (["--seeds", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_asked(
    wrong: list[str], why: str, seeds: Path, tmp_path: Path, server, capsys
):
    spec = f"openai:teacher url={server.url} dialect=plain"
    out = tmp_path / "out"
    given = {"--seeds": [str(seeds)], "--teacher": [spec], "--count": ["3"], "--out": [str(out)], "--against": ["none"]}
    given |= {wrong[0]: wrong[1:]}
    assert run(["synthesize", *(word for key, values in given.items() for word in (key, *values))]) == 1
    told = capsys.readouterr().err.splitlines()
    assert why in told[-1] and server.bodies == [] and not list(out.glob("*.jsonl"))


def test_where_nothing_is_left_it_stops_says_why_and_exports_nothing(seeds: Path, tmp_path: Path, server, capsys):
    server.answer[0] = lambda text: script(text).replace("</think>", "</thought>")
    spec, out = f"openai:teacher url={server.url} dialect=plain", tmp_path / "out"
    command = ["synthesize", "--seeds", str(seeds), "--teacher", spec, "--count", "2", "--against", "none"]
    # What was asked once is not asked again, and it is as wrong the second time.
    for _ in range(2):
        assert run([*command, "--out", str(out)]) == 1
        told = capsys.readouterr().err.splitlines()[-1]
        assert "3-reasoned.jsonl: no example is left: 8 of 8 dropped (malformed 8), e.g. q000000/" in told
        assert "judgment: it is not <think>" in told and "give another model, or other --prompts" in told
    assert {one.reason for one in dropped_in(beside(out / "3-reasoned.jsonl", "dropped"))} == {"malformed"}
    assert not (out / "4-filtered.jsonl").exists() and not (out / "export").exists()
    export = ["synthesize", "export", str(out / "3-reasoned.jsonl"), "--out", str(out / "export")]
    assert run(export) == 1 and "nothing to export" in capsys.readouterr().err
    assert not (out / "export").exists()


def test_a_stage_alone_that_makes_nothing_fails(seeds: Path, tmp_path: Path, capsys):
    command = ["synthesize", "queries", "--seeds", str(seeds), "--teacher", "fake:hash", "--count", "6"]
    assert run([*command, "--out", str(tmp_path / "q.jsonl")]) == 1
    assert "6 of 6 dropped (malformed 6)" in capsys.readouterr().err.splitlines()[-1]
