"""How often does the default table of `limrank compare` call a difference significant that is none?

    python speed/family_wise_error.py [--simulations 200] [--systems 10] [--queries 50] [--test t] [--correction holm]

Every simulation makes systems of which none is better: all add noise of their own to the same scores of the same
documents. Any significant difference in their table (45 pairs and 4 measures, with 10 systems) is then a false claim;
the share of tables with one is the family-wise error, and should not be above alpha. Queries differ in difficulty and
documents are graded, so that per-query values are as skewed and tied as real ones.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from limrank.evaluate import compare
from limrank.qrels import Qrels
from limrank.run import Run

DEPTH = 100


def null_systems(seed: int, *, systems: int, queries: int) -> tuple[list[Run], Qrels]:
    """Runs that differ by chance only, and their judgments."""
    random = np.random.default_rng(seed)
    docs = [f"d{i:03d}" for i in range(2 * DEPTH)]
    judged: dict[str, dict[str, int]] = {}
    shared = {}
    for query in range(queries):
        grades = np.zeros(len(docs), dtype=int)
        relevant = random.choice(len(docs), size=random.integers(1, 8), replace=False)
        grades[relevant] = random.integers(1, 4, size=len(relevant))
        judged[f"q{query}"] = {docs[i]: int(grades[i]) for i in relevant}
        shared[f"q{query}"] = grades * random.gamma(1.0, 0.8) + random.normal(0, 0.7, len(docs))
    runs = [
        Run.from_scores(
            {
                query_id: dict(zip(docs, (scores + random.normal(0, 0.7, len(docs))).tolist()))
                for query_id, scores in shared.items()
            },
            name=f"system{number}",
        ).top(DEPTH)
        for number in range(systems)
    ]
    return runs, Qrels(judged)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--systems", type=int, default=10)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--test", default="t")
    parser.add_argument("--correction", default="holm")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    false, uncorrected, comparisons = 0, 0, 0
    for number in range(given.simulations):
        runs, qrels = null_systems(given.seed + number, systems=given.systems, queries=given.queries)
        # One bootstrap sample: intervals have no part in the p-values; the randomisation test needs its ten thousand.
        samples = 10_000 if given.test == "randomization" else 1
        comparison = compare(runs, qrels, test=given.test, correction=given.correction, samples=samples)
        false += any(difference.significant for difference in comparison.differences)
        uncorrected += any(difference.p < comparison.alpha for difference in comparison.differences)
        comparisons = len(comparison.differences)
    share = false / given.simulations
    error = math.sqrt(share * (1 - share) / given.simulations)
    print(
        f"{given.simulations} tables of {given.systems} null systems, {given.queries} queries, {comparisons} "
        f"comparisons each, {given.test}, {given.correction}, alpha 0.05"
    )
    print(f"tables with a false claim: {false}, {100 * share:.1f}% (standard error {100 * error:.1f})")
    print(f"by the raw p-values:       {uncorrected}, {100 * uncorrected / given.simulations:.1f}%")


if __name__ == "__main__":
    main()
