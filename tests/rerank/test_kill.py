"""A rerank that is killed at any moment and started again asks for nothing twice and writes the same bytes."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

# A rerank of 12 queries x 20 documents in a process of its own; texts differ in length, so that batches do.
PROGRAM = """
import sys
from pathlib import Path
from limrank.llm import open_llm
from limrank.records import Document, Query
from limrank.rerank import open_reranker, rerank
from limrank.run import Run

class Cats:
    name, revision = "cats", "1"
    def queries(self):
        return [Query(f"q{i}", f"why does the cat sleep {i} times?") for i in range(12)]
    def lookup(self, doc_ids):
        return {i: Document(i, f"{i}: " + "the cat sleeps " * (int(i[1:]) * 7 % 13)) for i in doc_ids}
    def excluded(self):
        return {}

method, llm, out = sys.argv[1:]
run = Run({f"q{n}": [(f"d{(n + i) % 30}", -float(i)) for i in range(20)] for n in range(12)}, name="first")
reranker = open_reranker(method, llm=llm or None, calls=Path(out + ".calls.jsonl"))
result = rerank(run, Cats(), reranker)
result.check()
result.run.write(out)
"""


def start(method: str, llm: str, out: Path) -> subprocess.Popen[bytes]:
    environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin", "HOME": str(out.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, method, llm, str(out)], env=environment, stderr=subprocess.PIPE
    )


def finish(method: str, llm: str, out: Path) -> bytes:
    process = start(method, llm, out)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    return out.read_bytes()


def kill(method: str, llm: str, out: Path, more: int, wait: float) -> bool:
    """Start, kill after `more` bytes of answers and `wait` seconds; whether the kill was in time."""
    calls = out.with_name(out.name + ".calls.jsonl")
    before = calls.stat().st_size if calls.exists() else 0
    process = start(method, llm, out)
    while process.poll() is None and (calls.stat().st_size if calls.exists() else 0) < before + more:
        time.sleep(0.001)
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def check_calls(out: Path, count: int) -> None:
    lines = [json.loads(line) for line in out.with_name(out.name + ".calls.jsonl").read_text().splitlines()]
    assert max(Counter(line["key"] for line in lines).values()) == 1
    assert len(lines) == count


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("method", "questions"),
    [
        ("pointwise", 240),
        ("likelihood", 240),
        ("pointwise think=full budget=16", 480),
        ("listwise logits=true window=6 stride=1", 0),
        ("setwise", 0),
        ("pairwise order=sliding k=2", 0),
    ],
)
def test_with_a_slow_fake(method: str, questions: int, tmp_path: Path) -> None:
    llm = "fake:hash batch=3 delay=0.02"
    whole = finish(method, llm, tmp_path / "whole.trec")
    rng = random.Random(method)
    out = tmp_path / "killed.trec"
    kills = sum(kill(method, llm, out, rng.randrange(1, 12_000), rng.random() / 30) for _ in range(5))
    assert kills >= 3 and not out.exists()
    assert finish(method, llm, out) == whole
    # How many questions a sort asks depends on the answers.
    check_calls(out, questions or len((tmp_path / "whole.trec.calls.jsonl").read_text().splitlines()))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("method", "times"), [("pointwise scale=logit", 2), ("bi_encoder mix=1", 1)])
def test_with_a_model_whose_batches_show_in_the_last_digits(
    method: str, times: int, tiny_model: Path, tmp_path: Path
) -> None:
    llm = "" if method.startswith("bi_encoder") else f"transformers:{tiny_model} batch_tokens=150 device=cpu"
    whole = finish(method, llm, tmp_path / "whole.trec")
    rng = random.Random(method)
    out = tmp_path / "killed.trec"
    size = (tmp_path / "whole.trec.calls.jsonl").stat().st_size
    kills = sum(kill(method, llm, out, rng.randrange(1, size // 3), rng.random() / 30) for _ in range(times))
    assert kills == times and not out.exists()
    assert finish(method, llm, out) == whole
    check_calls(out, 12 if method.startswith("bi_encoder") else 240)
