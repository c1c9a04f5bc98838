"""Several runs of the same queries become one: reciprocal rank fusion, or a weighted sum of normalised scores.

Everything is per query and in float64. Ties go to the document that the first run has higher, then the second, never by
document id. The arithmetic is here rather than ranx's: that compiles for up to 20 seconds per length of document ids,
ranks by insertion where a run is not sorted, and refuses runs whose queries differ. Knows nothing of judgments.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from limrank.errors import LimrankError, Mismatch, Unknown
from limrank.run import Run

if TYPE_CHECKING:
    import numpy as np

    Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

Method: TypeAlias = Literal["rrf", "wsum"]
Norm: TypeAlias = Literal["minmax", "z", "rank", "logit", "none"]

# float32's resolution at 1: a probability that is closer to 0 or 1 was rounded there.
EPSILON = 2.0**-23
# Tied zeros of a Run are opened downwards, by steps far smaller than this.
TINY = 1e-38

logger = logging.getLogger(__name__)


def fuse(
    runs: Sequence[Run],
    *,
    method: Method = "rrf",
    norm: Norm | Sequence[Norm] = "minmax",
    weights: Sequence[float] | None = None,
    rrf_k: float = 60,
    depth: int | None = None,
    name: str = "",
) -> Run:
    """One run that holds the documents of all, best first.

    rrf: the sum of weight / (rrf_k + rank) over the runs that have the document.

    wsum: the sum of weight x normalised score over all runs. A document that a run lacks gets the lowest value that the
    normalisation gave that run's documents for the query, as if it had come last:

    * minmax: (score - lowest) / (highest - lowest), from 1 to 0.
    * rank: the same of the ranks: 1, then in equal steps down to 0.
    * z: (score - mean) / standard deviation (of the population).
    * logit: z of log(p / (1 - p)), for runs whose scores are probabilities. Judges that reason answer close to 0 or 1,
      where the differences that matter are lost in the sum of any other normalisation.
    * none: the score itself.

    A list without any spread (one document, or scores that all tied) has no best and no worst: with minmax and rank its
    documents get 0.5 and the documents it lacks 0, so that having been found still counts; with z and logit all get 0,
    so that it decides nothing.

    A query that only some runs have is fused from those; how many there are is logged (see `missing`).

    Args:
        runs: Two or more; the first one decides ties first.
        method: rrf or wsum.
        norm: For wsum: one for all runs, or one for each, as ("logit", "z") for a reranker and BM25.
        weights: One for each run, 0 or more; default: 1 each.
        rrf_k: The larger, the less the first ranks stand out.
        depth: Documents per query that are kept; None: all.
        name: Default: the names joined by "+", and the method.

    Raises:
        LimrankError: Fewer than two runs; not as many weights or norms as runs; a negative or infinite weight, or none
            above 0; rrf_k below 0; depth below 1; or a score outside 0 to 1 with logit.
        Mismatch: No query is in two of the runs.
        Unknown: There is no such method or norm.

    Source: rrf: Cormack, Clarke, Buettcher, SIGIR 2009; normalisations: Montague, Aslam, CIKM 2001.
    """
    norms = (norm,) * len(runs) if isinstance(norm, str) else tuple(norm)
    factors = [1.0] * len(runs) if weights is None else list(weights)
    _check(runs, method, norms, factors, rrf_k, depth)
    query_ids = list(dict.fromkeys(query_id for run in runs for query_id in run if len(run.doc_ids(query_id))))
    for run, lacking in zip(runs, missing(runs)):
        if lacking:
            logger.warning(
                "%s has no results for %d of %d queries, e.g. %r; they are fused from the other runs",
                run.name, len(lacking), len(query_ids), lacking[0],
            )  # fmt: skip
    rankings = {}
    for query_id in query_ids:
        holding = [i for i, run in enumerate(runs) if query_id in run and len(run.doc_ids(query_id))]
        lists = [_values(runs[i], query_id, method, norms[i], rrf_k) for i in holding]
        rankings[query_id] = _ranking(
            [runs[i].doc_ids(query_id) for i in holding], lists, [factors[i] for i in holding], depth
        )
    return Run(rankings, name=name or f"{'+'.join(run.name for run in runs)}.{method}")


def missing(runs: Sequence[Run]) -> list[list[str]]:
    """Per run, the queries that it has no documents for and another run has."""
    held = [{query_id: None for query_id in run if len(run.doc_ids(query_id))} for run in runs]
    known = dict.fromkeys(query_id for queries in held for query_id in queries)
    return [[query_id for query_id in known if query_id not in queries] for queries in held]


def _check(
    runs: Sequence[Run],
    method: str,
    norms: Sequence[str],
    weights: Sequence[float],
    rrf_k: float,
    depth: int | None,
) -> None:
    if len(runs) < 2:
        raise LimrankError(f"fusing takes two runs or more, {len(runs)} given")
    if method not in get_args(Method):
        raise Unknown.among("fusion method", method, get_args(Method))
    for norm in norms:
        if norm not in get_args(Norm):
            raise Unknown.among("normalisation", norm, get_args(Norm))
    for what, given in (("weights", weights), ("normalisations", norms)):
        if len(given) != len(runs):
            raise LimrankError(f"{len(given)} {what} for {len(runs)} runs; give one for each")
    if bad := [weight for weight in weights if not (math.isfinite(weight) and weight >= 0)]:
        raise LimrankError(f"weight {bad[0]} is not a finite number of 0 or more")
    if not any(weights):
        raise LimrankError("all weights are 0; at least one has to be above")
    if not rrf_k >= 0 or math.isinf(rrf_k):
        raise LimrankError(f"rrf_k is {rrf_k}; it has to be a finite number of 0 or more, 60 is usual")
    if depth is not None and depth < 1:
        raise LimrankError(f"depth is {depth}; at least 1 document has to be kept")
    if max(Counter(query_id for run in runs for query_id in run).values(), default=0) < 2:
        raise Mismatch(
            f"no query is in two of the runs, e.g. {next(iter(runs[0]), None)!r} of {runs[0].name} and "
            f"{next(iter(runs[1]), None)!r} of {runs[1].name}; are they of the same dataset?"
        )


def _values(run: Run, query_id: str, method: Method, norm: Norm, rrf_k: float) -> tuple[Floats, float]:
    """What each of the query's documents contributes, best first, and what a document contributes that is not there."""
    import numpy as np

    scores = run.scores(query_id).astype(np.float64)
    if method == "rrf":
        return 1 / (rrf_k + np.arange(1, len(scores) + 1)), 0.0
    if norm == "logit":
        outside = scores[(scores < -TINY) | (scores > 1)]
        if len(outside):
            raise LimrankError(
                f"{run.name}: query {query_id!r} has score {outside[0]:g}; logit takes probabilities, from 0 to 1"
            )
    return _normalised(scores, norm)


def _normalised(scores: Floats, norm: Norm) -> tuple[Floats, float]:
    import numpy as np

    if norm == "none":
        return scores, float(scores[-1])
    flat = _is_flat(scores)
    if norm in ("minmax", "rank"):
        if flat:
            return np.full(len(scores), 0.5), 0.0
        scaled = np.arange(len(scores), 0, -1.0) if norm == "rank" else scores
        return (scaled - scaled[-1]) / (scaled[0] - scaled[-1]), 0.0
    if norm == "logit":
        certain = np.clip(scores, EPSILON, 1 - EPSILON)
        scores = np.log(certain) - np.log1p(-certain)
    if flat or (deviation := float(scores.std())) == 0:
        return np.zeros(len(scores)), 0.0
    z = (scores - scores.mean()) / deviation
    return z, float(z[-1])


def _is_flat(scores: Floats) -> bool:
    """Whether all scores were equal before `Run` opened their ties, each by one step of float32."""
    import numpy as np

    step = float(np.spacing(np.float32(np.abs(scores).max())))
    return float(scores[0] - scores[-1]) <= (len(scores) - 1) * step


def _ranking(
    docs: Sequence[Sequence[str]], values: Sequence[tuple[Floats, float]], weights: Sequence[float], depth: int | None
) -> list[tuple[str, float]]:
    import numpy as np

    columns = {doc_id: column for column, doc_id in enumerate(dict.fromkeys(itertools.chain.from_iterable(docs)))}
    shares = np.empty((len(docs), len(columns)))
    for row, (doc_ids, (contributed, absent), weight) in enumerate(zip(docs, values, weights)):
        places = [columns[doc_id] for doc_id in doc_ids]
        shares[row] = weight * absent
        shares[row, places] = weight * contributed
    # Summed from the smallest share up, so that equal shares give equal sums whichever run they are from.
    totals = np.sort(shares, axis=0).sum(axis=0)
    # The columns are in the order of the first run, then what only the second one has: a stable sort keeps it in ties.
    order = np.argsort(-totals, kind="stable")[:depth]
    known = list(columns)
    return [(known[i], float(totals[i])) for i in order]
