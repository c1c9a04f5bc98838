"""How systems are compared: the options that `compare` and `report` share, and the record of them in a manifest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from limrank.manifest import Manifest, file_input

if TYPE_CHECKING:
    from limrank.cli._judged import Judged, Task
    from limrank.evaluate import Comparison, Scores


@dataclass(frozen=True)
class Ways:
    """Options of a comparison.

    Attributes:
        test: Paired t-test, sign-flip randomisation test, or Tukey's HSD with the queries as second factor.
        correction: Over all pairs and measures of the table.
        interval: Bootstrap (percentile) or t intervals.
        alpha: A corrected p below it is called significant.
        confidence: Of the intervals.
        power: For which the difference that these queries can show is told.
        tolerance: Values that differ by no more are ties.
        samples: Bootstrap resamplings, and random sign assignments.
        seed: Of the bootstrap and the randomisation test.
    """

    test: Literal["t", "randomization", "tukey"] = "t"
    correction: Literal["holm", "bonferroni", "bh", "none"] = "holm"
    interval: Literal["bootstrap", "t"] = "bootstrap"
    alpha: float = 0.05
    confidence: float = 0.95
    power: float = 0.8
    tolerance: float = 1e-9
    samples: int = 10_000
    seed: int = 0


def compare_systems(scored: Sequence[Scores], tasks: Sequence[Task], *, baseline: str, ways: Ways) -> Comparison:
    """The comparison of systems on these tasks, which knows what identifies the judgments."""
    from limrank.evaluate import compare_scores

    return compare_scores(
        scored,
        qrels=", ".join(task.label for task in tasks),
        judgments=[_identity(one) for task in tasks for one in task.judged],
        baseline=baseline or None,
        **vars(ways),
    )


def _identity(judged: Judged) -> dict[str, Any]:
    known = dict(judged.identity)
    return {"name": judged.label} | ({"dataset": known.pop("name")} if "name" in known else {}) | known


def inputs_of(files: Mapping[str, Sequence[Path]]) -> dict[str, list[dict[str, str]]]:
    """Path and sha256 of every file, by system."""
    return {name: [file_input(path) for path in paths] for name, paths in files.items()}


def write_manifest(
    out: Path,
    command: str,
    comparison: Comparison,
    judged: Sequence[Judged],
    runs: Mapping[str, Any],
    *,
    started: float,
    parameters: Mapping[str, Any],
) -> None:
    """Write what a comparison was made of beside its file; `started` is time.monotonic() of the beginning."""
    keys = ("measures", "baseline", *Ways.__dataclass_fields__)
    Manifest(
        command=command,
        parameters={key: getattr(comparison, key) for key in keys} | dict(parameters),
        inputs={"qrels": [dict(one.identity) for one in judged], "runs": dict(runs)},
        counts={
            "queries": len(comparison.query_ids),
            "tasks": max(1, len(comparison.tasks)),
            "runs": len(comparison.runs),
        },
        seconds=time.monotonic() - started,
    ).write(out)
