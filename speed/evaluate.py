"""Seconds and memory from a run file to four measures: limrank against ir_measures, ranx and a plain split loop.

    python speed/evaluate.py [RUN QRELS]

Every figure is of a whole process, imports included. Without files it uses ReasonIR's run of BRIGHT biology from
../shared/data, where that exists, and in any case a generated run of a million lines. ranx is measured twice, because
its first process compiles; ids of another length make it compile again.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIOLOGY = Path(__file__).resolve().parents[2] / "shared" / "data" / "bright" / "biology"

LIMRANK = """
from limrank.evaluate import evaluate
from limrank.qrels import Qrels
from limrank.run import Run
print(evaluate(Run.read(run), Qrels.read(qrels), ["ndcg@10", "map", "mrr", "recall@100"]).means)
"""
IR_MEASURES = """
import ir_measures
from ir_measures import AP, RR, R, nDCG
judged, found = ir_measures.read_trec_qrels(qrels), ir_measures.read_trec_run(run)
print(ir_measures.calc_aggregate([nDCG @ 10, AP, RR, R @ 100], judged, found))
"""
RANX = """
import ranx
judged, found = ranx.Qrels.from_file(qrels, kind="trec"), ranx.Run.from_file(run, kind="trec")
print(ranx.evaluate(judged, found, ["ndcg@10", "map", "mrr", "recall@100"], make_comparable=True))
"""
SPLIT = """
import pytrec_eval
judged, found = {}, {}
for line in open(qrels, encoding="utf-8"):
    query_id, _, doc_id, relevance = line.split()
    judged.setdefault(query_id, {})[doc_id] = int(relevance)
for line in open(run, encoding="utf-8"):
    query_id, _, doc_id, _, score, _ = line.split()
    found.setdefault(query_id, {})[doc_id] = float(score)
names = ["ndcg_cut_10", "map", "recip_rank", "recall_100"]
values = pytrec_eval.RelevanceEvaluator(judged, set(names)).evaluate(found)
print({name: sum(by_name[name] for by_name in values.values()) / len(judged) for name in names})
"""
READ_LIMRANK = """
from limrank.run import Run
print(Run.read(run))
"""
READ_SPLIT = """
found = {}
for line in open(run, encoding="utf-8"):
    query_id, _, doc_id, _, score, _ = line.split()
    found.setdefault(query_id, {})[doc_id] = float(score)
print(len(found))
"""
READ_RANX = """
import ranx
print(len(ranx.Run.from_file(run, kind="trec")))
"""


def measure(program: str, run: Path, qrels: Path) -> tuple[float, float, str]:
    """Seconds and peak megabytes of a process, and what it printed or why it failed."""
    code = "import sys\nrun, qrels = sys.argv[1:]\n" + program
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(run), str(qrels)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        out, error = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    told = out.strip() if process.returncode == 0 else f"failed: {error.strip().splitlines()[-1]}"
    # Linux counts ru_maxrss in kilobytes, macOS in bytes.
    return seconds, usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3), told


def compare(title: str, programs: dict[str, str], run: Path, qrels: Path) -> None:
    """One line per program, and its seconds over those of the first."""
    print(f"\n{title}")
    print(f"{'':28}{'seconds':>9}{'ratio':>8}{'MB':>8}  result")
    ours = 0.0
    for name, program in programs.items():
        seconds, megabytes, told = measure(program, run, qrels)
        ours = ours or seconds
        print(f"{name:28}{seconds:9.2f}{seconds / ours:8.1f}{megabytes:8.0f}  {told}", flush=True)


def generate(folder: Path, *, queries: int = 1000, depth: int = 1000) -> tuple[Path, Path]:
    """A run of queries x depth lines, and qrels with three relevant documents per query."""
    numbers = random.Random(0)
    run, qrels = folder / "million.trec", folder / "million.qrels"
    with open(run, "w") as found, open(qrels, "w") as judged:
        for query in range(queries):
            docs = numbers.sample(range(10_000_000), depth)
            scores = sorted((numbers.uniform(0, 30) for _ in docs), reverse=True)
            found.writelines(
                f"q{query} Q0 doc{doc:08d} {rank} {score:.6f} bm25\n"
                for rank, (doc, score) in enumerate(zip(docs, scores), 1)
            )
            judged.writelines(f"q{query} 0 doc{doc:08d} 1\n" for doc in numbers.sample(docs, 3))
    return run, qrels


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, default=BIOLOGY / "runs" / "reasonir_gpt4cot_top100.trec")
    parser.add_argument("qrels", nargs="?", type=Path, default=BIOLOGY / "qrels.trec")
    given = parser.parse_args()
    evaluating = {
        "limrank": LIMRANK,
        "ir_measures": IR_MEASURES,
        "split loop and pytrec_eval": SPLIT,
        "ranx, first process": RANX,
        "ranx, second process": RANX,
    }
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as compiled:
        # An empty cache, so that the first process of ranx compiles as it does for a new user.
        os.environ["NUMBA_CACHE_DIR"] = compiled
        if given.run.exists():
            compare(f"{given.run}: reading and four measures", evaluating, given.run, given.qrels)
        run, qrels = generate(Path(folder))
        compare("a million lines: reading and four measures", evaluating, run, qrels)
        reading = {"limrank": READ_LIMRANK, "split loop": READ_SPLIT, "ranx, compiled": READ_RANX}
        compare("a million lines: reading", reading, run, qrels)


if __name__ == "__main__":
    main()
