"""nDCG@10 against calls and tokens for every way to rerank with several passages in a prompt: a simulation, no model.

    python speed/listwise.py ../shared/data/bright --run bm25.top100.trec.gz
    python speed/listwise.py ../shared/data/bright --run reasonir_gpt4cot_top100.trec --rankers good --seeds 1

The folder holds one folder a task with `qrels.trec`, `runs/` and, where BRIGHT excludes documents, their ids. The
ranker is `fake:oracle`: a document seems as relevant as it is judged, plus an error of normal distribution that is
drawn anew in each question (noise), plus one that it has in all of them (fixed), less what its place in the prompt
costs (bias). What this leaves out: long prompts make real models worse, and a real model's errors are not normal.

How good a ranker is, is said by the share of what a perfect one gains that it gains with the first method (`gain`):
compare it with that of a real one. The seeded tournament was chosen among a dozen variants with the help of both
shared runs, so neither is an untouched test of it.

Cost: 120 tokens for instructions and query, 124 for a passage, 4 for a name in an answer in words, 1 for an answer
that is a label's probability; `work` is prompt + 12 * output, 12 being about what decoding costs at batch 1. `steps`
are questions that wait for each other, a query's latency with enough machines. Every method is limrank's own, through
the driver. Differences are to the first method, with their standard errors over queries (means over the seeds).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from limrank.evaluate import evaluate
from limrank.files import open_lines
from limrank.llm import Delivery
from limrank.llm.fake import Fake, by_judgments
from limrank.qrels import Qrels
from limrank.records import Document, Query, Request, ScoredDoc
from limrank.rerank import Job, open_reranker
from limrank.run import Run

DEPTH = 100
INSTRUCTION, PASSAGE, NAME, DECODING = 120, 124, 4, 12
RANKERS: dict[str, dict[str, float]] = {
    "perfect": {},
    "strong": {"noise": 0.25, "fixed": 0.15},
    "good": {"noise": 0.3, "fixed": 0.2},
    "noisy": {"noise": 0.5, "fixed": 0.3},
    "weak": {"noise": 1.0, "fixed": 0.6, "bias": 0.5},
    "weaker": {"noise": 2.0, "bias": 1.0},
}


class Way(NamedTuple):
    """A method as it is typed in, its prompt (empty for the method's own), and how deep it goes."""

    method: str
    prompt: str = ""
    depth: int = DEPTH


WAYS = {
    "sliding 20/10": Way("listwise"),
    "sliding 20/10, labels": Way("listwise logits=true", "listwise-letter"),
    "sliding 20/10, 2 passes": Way("listwise passes=2"),
    "sliding 10/5": Way("listwise window=10"),
    "sliding 20/10, depth 50": Way("listwise", depth=50),
    "one window, depth 20": Way("listwise", depth=20),
    "one window of 100": Way("listwise window=100"),
    "topdown": Way("listwise order=topdown"),
    "topdown, labels": Way("listwise order=topdown logits=true", "listwise-letter"),
    "tournament": Way("listwise order=tournament"),
    "tournament, labels": Way("listwise order=tournament logits=true", "listwise-letter"),
    "tournament, top 10": Way("listwise order=tournament top=10"),
    "setwise heapsort": Way("setwise"),
    "setwise insertion": Way("setwise order=insertion"),
    "pairwise heapsort": Way("pairwise"),
    "pointwise": Way("pointwise"),
}


class Row(NamedTuple):
    """What came out, per query: nDCG@10 by query (mean of the seeds), and costs."""

    values: Mapping[str, float]
    calls: float
    steps: float
    prompt: float
    output: float

    @property
    def work(self) -> float:
        return self.prompt + DECODING * self.output


class Metered:
    """The fake ranker, with what its questions would cost a real one."""

    def __init__(self, fake: Fake) -> None:
        self.name, self.fake = fake.name, fake
        self.costs: Counter[str] = Counter()

    def generate(self, feed: Iterator[Request | None]) -> Iterator[Delivery]:
        for delivery in self.fake.generate(self.metered(feed)):
            self.costs["steps"] += 1
            yield delivery

    def metered(self, feed: Iterator[Request | None]) -> Iterator[Request | None]:
        for request in feed:
            if request is not None:
                shown = len(request.doc_ids)
                self.costs["calls"] += 1
                self.costs["prompt"] += INSTRUCTION + PASSAGE * shown
                self.costs["output"] += 1 if request.choices else NAME * shown
            yield request


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--run", default="bm25.top100.trec.gz")
    parser.add_argument("--rankers", nargs="+", choices=RANKERS, default=list(RANKERS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--every", type=int, default=1, help="use every n-th query")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    run, qrels = read(options.folder, options.run, options.every)
    first = scored(run, qrels)
    print(f"{options.run}: {len(run)} queries, nDCG@10 of the first stage {statistics.fmean(first.values()):.4f}")
    reference = WAYS[options.ways[0]]
    perfect = statistics.fmean(measure(reference, run, qrels, {}, 1).values.values())
    told: dict[str, dict[str, object]] = {}
    for ranker in options.rankers:
        rows = {}
        for name in options.ways:
            rows[name] = measure(WAYS[name], run, qrels, RANKERS[ranker], options.seeds)
            print(line(name, rows[name], rows[options.ways[0]], header=ranker if len(rows) == 1 else ""), flush=True)
        print(summary(ranker, rows, statistics.fmean(first.values()), perfect), flush=True)
        told[ranker] = {
            name: row._asdict() | {"values": statistics.fmean(row.values.values())} for name, row in rows.items()
        }
    if options.json:
        options.json.write_text(json.dumps(told, indent=1))


def read(folder: Path, name: str, every: int) -> tuple[Run, Qrels]:
    """The runs and judgments of all tasks that have such a run, as one; excluded documents are taken out.

    Queries that have fewer than 100 documents left are not used: costs would be those of another task.
    """
    ranked: dict[str, list[ScoredDoc]] = {}
    judged: dict[str, Mapping[str, int]] = {}
    for task in sorted(path.parent.parent for path in folder.glob(f"*/runs/{name}")):
        qrels = Qrels.read(task / "qrels.trec")
        run = Run.read(task / "runs" / name).without(excluded(task))
        for query_id in [query_id for query_id in qrels if len(run.get(query_id, ())) >= DEPTH][::every]:
            ranked[f"{task.name}/{query_id}"] = list(run[query_id][:DEPTH])
            judged[f"{task.name}/{query_id}"] = qrels[query_id]
    return Run(ranked, name=name), Qrels(judged)


def excluded(task: Path) -> dict[str, frozenset[str]]:
    path = task / "excluded_ids.jsonl.gz"
    if not path.exists():
        return {}
    with open_lines(path) as lines:
        records = [json.loads(record) for record in lines]
    return {str(record["_id"]): frozenset(record["excluded_ids"]) for record in records}


def scored(run: Run, qrels: Qrels) -> Mapping[str, float]:
    [values] = evaluate(run, qrels, ["ndcg@10"]).values.values()
    return values


def measure(way: Way, run: Run, qrels: Qrels, errors: Mapping[str, float], seeds: int) -> Row:
    """Rerank the run, query by query, so that steps can be counted."""
    values: Counter[str] = Counter()
    costs: Counter[str] = Counter()
    for seed in range(seeds):
        metered = Metered(Fake(by_judgments(qrels, seed=seed, **errors), batch=1_000_000))
        reranker = open_reranker(way.method, llm=metered, prompt=way.prompt)
        rankings = {}
        for query_id in run:
            best = tuple(run[query_id][: way.depth])
            documents = tuple(Document(doc.doc_id, doc.doc_id) for doc in best)
            [ranking] = reranker.rerank([Job(Query(query_id, query_id), documents, best)])
            order = [doc.doc_id for doc in ranking.documents] + [doc.doc_id for doc in run[query_id][way.depth :]]
            rankings[query_id] = [(doc_id, -float(place)) for place, doc_id in enumerate(order)]
        for query_id, value in scored(Run(rankings), qrels).items():
            values[query_id] += value / seeds  # type: ignore[assignment]
        costs.update(metered.costs)
    per_query = {what: total / seeds / len(run) for what, total in costs.items()}
    return Row(dict(values), **per_query)


def line(name: str, row: Row, reference: Row, *, header: str) -> str:
    text = ""
    if header:
        columns = ("nDCG@10", "difference", "calls", "steps", "prompt", "output", "work", "tokens")
        widths = (34, 18, 8, 7, 8, 8, 8, 8)
        text = f"\n{header}: {RANKERS[header] or 'no error'}\n"
        text += "".join(f"{column:>{width}}" for column, width in zip(columns, widths)) + "\n"
    mean = statistics.fmean(row.values.values())
    difference, error = paired(row, reference)
    share = (row.prompt + row.output) / (reference.prompt + reference.output)
    return text + (
        f"{name:26}{mean:8.4f}{difference:+10.4f} ±{error:.4f}{row.calls:8.1f}{row.steps:7.1f}{row.prompt:8.0f}"
        f"{row.output:8.0f}{row.work:8.0f}{share:8.0%}"
    )


def paired(row: Row, reference: Row) -> tuple[float, float]:
    differences = [row.values[query_id] - reference.values[query_id] for query_id in row.values]
    return statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(len(differences))


def summary(ranker: str, rows: Mapping[str, Row], first: float, perfect: float) -> str:
    """Which ways are as good as the first one and cheaper, and which are no worse than leaving the run alone."""
    reference = next(iter(rows.values()))
    total = reference.prompt + reference.output
    cheap = [
        f"{name} ({paired(row, reference)[0]:+.4f} at {(row.prompt + row.output) / total:.0%} of the tokens)"
        for name, row in rows.items()
        if paired(row, reference)[0] >= -0.01 and row.prompt + row.output <= 0.67 * total
    ]
    means = {name: statistics.fmean(row.values.values()) for name, row in rows.items()}
    safe = [f"{name} ({mean - first:+.4f})" for name, mean in means.items() if mean >= first]
    lines = [f"gain: {(next(iter(means.values())) - first) / (perfect - first):.0%} of what a perfect ranker gains"]
    lines.append(f"within .01 of {next(iter(rows))} at 67 % of its tokens or less: {', '.join(cheap) or 'none'}")
    lines.append(f"safe, not below the first stage: {', '.join(safe) or 'none; do not rerank with this one'}")
    least = max(means, key=lambda name: means[name])
    lines.append(f"best: {least} ({means[least] - first:+.4f} to the first stage)")
    return "".join(f"  {ranker}: {text}\n" for text in lines).rstrip()


if __name__ == "__main__":
    main()
