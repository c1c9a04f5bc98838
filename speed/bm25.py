"""BM25 on CACM, cold and as a whole process: limrank against `python -m pyserini.search.lucene`, on one index.

    python speed/bm25.py [FOLDER of CACM in BEIR layout] [--repeats N]

Prints both medians, their ratio, whether the two runs are the same document by document, and how fast limrank indexes.
Exits with 1 when the runs differ or the ratio is below 4.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from limrank.datasets import open_dataset
from limrank.retrieve import index
from limrank.retrieve._jvm import find_java
from limrank.run import Run

CACM = Path(__file__).resolve().parents[2] / "shared" / "data" / "cacm"
WANTED = 4.0

# Pyserini asks Java for the incubator vector module, which the wheel's runtime does not have, and would not start.
PYSERINI = """
import jnius_config, runpy, sys
jnius_config.add_options = lambda *options: None
sys.argv[0] = "pyserini.search.lucene"
runpy.run_module("pyserini.search.lucene", run_name="__main__", alter_sys=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=CACM)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(compare(arguments.folder, Path(scratch), repeats=arguments.repeats))


def compare(folder: Path, scratch: Path, *, repeats: int) -> int:
    dataset = open_dataset(str(folder))
    made = index(dataset, out=scratch / "index")
    documents = made.manifest.counts["documents"]
    print(f"index: {documents} documents in {made.manifest.seconds:.2f} s, cold, Java's start included")
    started = time.perf_counter()
    index(dataset, out=scratch / "index", force=True)
    print(f"index again: {documents / (time.perf_counter() - started):,.0f} documents/s, Java running")

    # Pyserini reads a file whose name has "cacm" in it in a format of CACM's own.
    topics = scratch / "topics.tsv"
    topics.write_text(
        "".join(f"{query.query_id}\t{' '.join(query.text.split())}\n" for query in dataset.queries()), encoding="utf-8"
    )
    ours, theirs = scratch / "limrank.trec", scratch / "pyserini.trec"
    search = ["retrieve", scratch / "index", folder, "--out", ours, "--force", "--k", "1000"]
    peer = f"--index {scratch / 'index'} --topics {topics} --output {theirs} --hits 1000 --bm25 --k1 0.9 --b 0.4"
    commands = {
        "limrank": [sys.executable, "-m", "limrank", *search],
        "pyserini": [sys.executable, "-c", PYSERINI, *peer.split()],
        "pyserini, all cores": [sys.executable, "-c", PYSERINI, *peer.split(), "--threads", "64", "--batch-size", "64"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            seconds[name].append(timed(command))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        print(f"{name:<20} {median:6.2f} s (median of {repeats}; {min(seconds[name]):.2f} to {max(seconds[name]):.2f})")

    # Pyserini prints queries in an order of its own, and some ties as equal: the order of the lines is its ranking.
    expected: dict[str, list[str]] = {}
    for line in theirs.read_text(encoding="utf-8").splitlines():
        query_id, _, doc_id, *_ = line.split(" ")
        expected.setdefault(query_id, []).append(doc_id)
    run = Run.read(ours)
    equal = {query_id: list(run.doc_ids(query_id)) for query_id in run} == expected
    ratio = min(medians["pyserini"], medians["pyserini, all cores"]) / medians["limrank"]
    print(f"same documents in the same order: {'yes' if equal else 'NO'}, {sum(map(len, expected.values()))} of them")
    print(f"limrank is {ratio:.1f} times as fast as the faster of the two, {WANTED:.0f} wanted")
    return 0 if equal and ratio >= WANTED else 1


def timed(command: list[str | Path]) -> float:
    home, _ = find_java()
    # Importing Pyserini's searcher makes an OpenAI client, which wants a key.
    environment = {"OPENAI_API_KEY": "none"} | dict(os.environ) | {"JAVA_HOME": str(home)}
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command[:3]))} failed:\n{done.stderr}")
    return seconds


if __name__ == "__main__":
    main()
