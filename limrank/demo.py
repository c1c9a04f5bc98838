"""The whole chain on the embedded dataset, as the commands a user would type."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

Step = tuple[str, Sequence[str]]

# Prompt, passage and query in 128 tokens: the whole has to be done in four minutes on two cores.
LLM = "transformers:smollm2 max_length=128"


def steps(folder: Path, *, depth: int) -> list[Step]:
    """What each step is for, and its command line without the leading `limrank`."""
    bm25, minilm, fused, reranked = (
        str(folder / f"{name}.trec") for name in ("bm25", "minilm", "bm25+minilm", f"bm25+minilm+smollm2.top{depth}")
    )
    return [
        ("Words: a Lucene index of the docstrings of Python's standard library.", ["index", "stdlib", "lucene"]),
        ("Meanings: the same documents, embedded by all-MiniLM-L6-v2.", ["index", "stdlib", "faiss"]),
        ("First stage: BM25.", ["retrieve", "stdlib/lucene", "stdlib", "--k", "100", "--out", bm25]),
        ("First stage: dense.", ["retrieve", "stdlib/faiss", "stdlib", "--k", "100", "--out", minilm]),
        ("Fusion: reciprocal ranks of both.", ["fuse", bm25, minilm, "--method", "rrf", "--out", fused]),
        (
            f"Second stage: SmolLM2-135M reads the {depth} best and says how likely the query is after each.",
            [
                "rerank",
                fused,
                "stdlib",
                "--llm",
                LLM,
                "--method",
                "likelihood",
                "--depth",
                str(depth),
                "--out",
                reranked,
            ],
        ),
        (
            "Which is better, and is that more than chance?",
            ["compare", bm25, minilm, fused, reranked, "--dataset", "stdlib", "--measures", "ndcg@10"],
        ),
    ]


def take(todo: Sequence[Step]) -> int:
    """Run the steps one after the other, each in a process of its own; stop at the first that fails.

    Returns:
        The exit code of the last step that ran.
    """
    start = time.monotonic()
    for number, (purpose, arguments) in enumerate(todo, 1):
        print(f"\n[{number}/{len(todo)}] {purpose}\n$ limrank {shlex.join(arguments)}", flush=True)
        code = subprocess.run([sys.executable, "-m", "limrank", *arguments], check=False).returncode
        if code:
            return code
    print(f"\nDone in {time.monotonic() - start:.0f} s. The runs, with their manifests, are where --out says;")
    print("look into one with: limrank show RUN --query q001 --dataset stdlib")
    return 0
