"""What `stop_when` saves and what it changes: thoughts of several margins beside whole ones, by the same model.

    python speed/stop_when.py [--queries 5] [--depth 10] [--budget 256] [--margins 0.5 1 2]

A thought is asked for its label every 64 tokens and ends when true and false are `stop_when` nats apart. Counts tokens,
not seconds, so that it can run beside anything else. The documents are BM25's best for the first queries of `stdlib`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from limrank import Run, open_dataset
from limrank.llm import open_llm
from limrank.rerank import open_reranker, rerank

RUN = Path(__file__).resolve().parent.parent / "runs" / "stdlib" / "bm25.trec"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=5)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--budget", type=int, default=256)
    parser.add_argument("--margins", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    parser.add_argument("--llm", default="transformers:smollm2 dtype=float32")
    arguments = parser.parse_args()

    dataset, llm = open_dataset("stdlib"), open_llm(arguments.llm)
    first = Run.read(RUN)
    first = Run({query_id: first[query_id][: arguments.depth] for query_id in list(first)[: arguments.queries]})
    scores, tokens = {}, {}
    for margin in (0.0, *arguments.margins):
        method = f"pointwise think=full scale=logit budget={arguments.budget} stop_when={margin}"
        reranked = rerank(first, dataset, open_reranker(method, llm=llm, prompt="rank1"), depth=arguments.depth)
        reranked.check()
        scores[margin] = {(query_id, doc.doc_id): doc.score for query_id in first for doc in reranked.run[query_id]}
        tokens[margin] = reranked.counts["completion_tokens"]
        print(
            f"stop_when {margin:3g}: {tokens[margin] / len(scores[margin]):6.1f} tokens a document "
            f"({tokens[margin] / tokens[0.0]:4.0%}), {reranked.counts.get('forced', 0):3} forced, "
            f"{same_side(scores[0.0], scores[margin]):4.0%} of the verdicts on the same side, "
            f"{pairs_alike(scores[0.0], scores[margin]):4.0%} of the pairs in the same order",
            flush=True,
        )


def same_side(one: dict[tuple[str, str], float], two: dict[tuple[str, str], float]) -> float:
    """The share of documents that are as relevant (log-odds above 0) in both, or as little."""
    return sum((one[key] > 0) == (two[key] > 0) for key in one) / len(one)


def pairs_alike(one: dict[tuple[str, str], float], two: dict[tuple[str, str], float]) -> float:
    """The share of pairs of documents of a query that both have in the same order."""
    pairs = [(a, b) for a in one for b in one if a[0] == b[0] and a[1] < b[1]]
    return sum((one[a] > one[b]) == (two[a] > two[b]) for a, b in pairs) / len(pairs)


if __name__ == "__main__":
    main()
