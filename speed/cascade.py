"""What a cascade keeps of a model that reasons about every document, and what it costs, from released runs.

    python speed/cascade.py ../shared/data/bright

A cheap scorer has scored 100 documents of every query, and the model that reasons looks at the best K of them only.
These K are ordered by mix * z(reasoning log-odds) + (1 - mix) * z(cheap log-odds), z over the K of the query, as
`pointwise think=top:K blend=...` does, and stay above the others. The runs (BM25, Qwen3-Reranker-4B, TFRank-8B and
Rank1-7B, one folder for each task, see SOURCE.txt there) hold all scores, so nothing is asked.

The runs hold probabilities, most of them close to 0 or 1, where their differences are lost in any sum; so they are
mixed as log-odds. A probability closer to 0 or 1 than 2^-23, what float32 can tell from 1, is taken to be at that
distance (log-odds of 15.9); how many there are is printed. Seven documents of economics have no score of Rank1; they
keep their rank.

Mean nDCG@10 over the tasks, each task counting once; excluded documents are removed. Intervals are 95 % bootstrap
intervals of the difference to full reasoning and to the cheap scorer alone, queries drawn within their tasks. The
default, K=20 with mix=0.5, was chosen before these numbers were seen. The rest of the table shows how much depends on
that choice; it is read off the test queries, so its best cell is not a result.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from limrank.evaluate import evaluate
from limrank.evaluate.significance import bootstrap_means, interval
from limrank.fuse import EPSILON
from limrank.qrels import Qrels
from limrank.records import Document, Query, ScoredDoc
from limrank.rerank._ranking import Job, Verdict, mixed, ranked
from limrank.run import Run

DEPTHS = (10, 20, 30, 50, 100)
MIXES = (0.3, 0.5, 0.7, 1.0)
DEFAULT = (20, 0.5)
FILES = {
    "BM25": "bm25",
    "Qwen3-4B": "bm25_qwen-4b",
    "TFRank-8B": "bm25_tfrank-8b",
    "Rank1-7B": "bm25_rank1-7b",
}
REASONING = "Rank1-7B"
CHEAP = ("Qwen3-4B", "TFRank-8B")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--qrels", default="qrels.trec", help="file name in the folder of a task")
    options = parser.parse_args()
    folders = sorted(folder for folder in options.folder.iterdir() if (folder / path(FILES["BM25"])).exists())
    columns: dict[str, list[float]] = {}
    sizes: list[int] = []
    calls, clipped = dict.fromkeys(DEPTHS, 0), dict.fromkeys([*CHEAP, REASONING], 0)
    for folder in folders:
        excluded = read_excluded(folder / "excluded_ids.jsonl.gz")
        runs = {name: Run.read(folder / path(file)).without(excluded) for name, file in FILES.items()}
        odds = {name: log_odds(runs[name]) for name in clipped}
        for name in clipped:
            clipped[name] += sum(abs(value) >= limit() for by_doc in odds[name].values() for value in by_doc.values())
        qrels = Qrels.read(folder / options.qrels)
        systems = dict(runs)
        for cheap in CHEAP:
            for depth in DEPTHS:
                for mix in MIXES:
                    systems[label(cheap, depth, mix)] = cascade(runs[cheap], odds[cheap], odds[REASONING], depth, mix)
        for name, run in systems.items():
            columns.setdefault(name, []).extend(evaluate(run, qrels, ["ndcg@10"]).values["nDCG@10"].values())
        sizes.append(len(columns["BM25"]) - sum(sizes))
        for depth in DEPTHS:
            calls[depth] += sum(min(depth, len(runs["BM25"].doc_ids(query_id))) for query_id in qrels)
    report([folder.name for folder in folders], sizes, columns, calls)
    print("probabilities taken to be 2^-23 from 0 or 1:", ", ".join(f"{n} {count}" for n, count in clipped.items()))


def path(file: str) -> str:
    return f"runs/{file}.top100.trec.gz"


def read_excluded(file: Path) -> dict[str, frozenset[str]]:
    if not file.exists():
        return {}
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return {record["_id"]: frozenset(record["excluded_ids"]) for record in map(json.loads, lines)}


def limit() -> float:
    return math.log1p(-EPSILON) - math.log(EPSILON)


def log_odds(run: Run) -> dict[str, dict[str, float]]:
    """ln p / (1 - p) by query and document."""
    result = {}
    for query_id in run:
        p = run.scores(query_id).astype(np.float64).clip(EPSILON, 1 - EPSILON)
        result[query_id] = dict(zip(run.doc_ids(query_id), (np.log(p) - np.log1p(-p)).tolist()))
    return result


def cascade(
    run: Run,
    cheap: Mapping[str, Mapping[str, float]],
    reasoning: Mapping[str, Mapping[str, float]],
    depth: int,
    mix: float,
) -> Run:
    """The cheap scorer's run with its first documents in the order of the mixture."""
    rankings = {}
    for query_id in run:
        docs = run.doc_ids(query_id)
        if reasoning[query_id].keys() - cheap[query_id].keys():
            raise SystemExit(f"query {query_id}: the runs are not of the same 100 documents")
        first_stage = tuple(ScoredDoc(doc_id, cheap[query_id][doc_id]) for doc_id in docs)
        job = Job(Query(query_id, ""), tuple(Document(doc_id, "") for doc_id in docs), first_stage)
        verdicts = [
            Verdict(reasoning[query_id].get(doc_id) if rank < depth else None) for rank, doc_id in enumerate(docs)
        ]
        order = ranked(job, mixed(job, verdicts, mix)).documents
        rankings[query_id] = [(doc.doc_id, -float(rank)) for rank, doc in enumerate(order)]
    return Run(rankings)


def label(cheap: str, depth: int, mix: float) -> str:
    return f"{cheap} K={depth} mix={mix}"


def report(tasks: list[str], sizes: list[int], columns: dict[str, list[float]], calls: Mapping[int, int]) -> None:
    names = list(columns)
    values = 100 * np.array(list(columns.values())).T
    by_task = [part.mean(axis=0) for part in np.split(values, np.cumsum(sizes)[:-1])]
    full, means = names.index(REASONING), np.mean(by_task, axis=0)
    sampled = bootstrap_means(values, sizes=sizes)

    def difference(i: int, other: int) -> str:
        low, high = interval(sampled[:, [i]] - sampled[:, [other]])
        return f"{means[i] - means[other]:+6.1f} [{low[0]:+5.1f}, {high[0]:+5.1f}]"

    print(f"{sum(sizes)} queries of {len(tasks)} tasks\n")
    print(
        f"{'':24}{''.join(f'{task[:9]:>10}' for task in tasks)}      mean   to {REASONING:19}to the cheap one     calls"
    )
    for i, name in enumerate(names):
        cells = "".join(f"{task[i]:10.1f}" for task in by_task)
        to_full = "" if i == full else difference(i, full)
        cheap, depth = name.split(" K=")[0], int(name.split("K=")[1].split()[0]) if "K=" in name else 0
        to_cheap = difference(i, names.index(cheap)) if depth else ""
        share = 1.0 if i == full else calls[depth] / calls[DEPTHS[-1]] if depth else 0.0
        default = any(name == label(cheap, *DEFAULT) for cheap in CHEAP)
        print(f"{name:24}{cells}{means[i]:10.1f} {to_full:24}{to_cheap:24}{share:4.0%}{'  default' if default else ''}")


if __name__ == "__main__":
    main()
