"""One stage from file to file: examples, what was dropped, and the manifest, which is written last.

    <out>                 examples, JSON lines
    <out>.dropped.jsonl   what goes no further, and why
    <out>.calls.jsonl     every answer of the model, before it was used: the same stage run again asks for nothing twice
    <out>.manifest.json   parameters, inputs, counts; beside a file it means that the file is complete

Knows nothing of what a stage does.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from limrank.errors import TooManyFailed
from limrank.files import atomic_write
from limrank.llm import LLM
from limrank.llm._recorded import Recorded
from limrank.manifest import Manifest
from limrank.progress import Track, silent
from limrank.synthesize.examples import Dropped, Outcome, line_of

MIXED = ("variant", "domain", "difficulty", "kind", "label")


def recorded(llm: LLM, out: Path) -> Recorded:
    """The model, with every answer kept beside `out` before anybody sees it."""
    return Recorded(llm, beside(out, "calls"))


def beside(out: Path, what: str) -> Path:
    """`<out>.calls.jsonl`, `<out>.dropped.jsonl`."""
    return out.with_name(f"{out.name}.{what}.jsonl")


def write(
    outcomes: Iterable[Outcome],
    out: Path,
    *,
    command: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Any],
    llm: Recorded | None = None,
    total: int | None = None,
    track: Track = silent,
) -> Manifest:
    """Run the stage that `outcomes` is, and write its files; none of them appears before the last outcome.

    Args:
        outcomes: Pulled one by one.
        out: The file of examples.
        command: What makes it, as `synthesize queries`.
        parameters: Everything that decides the content.
        inputs: What it is made from.
        llm: Whose counts (questions, tokens) the manifest shows.
        total: Outcomes, if known.
        track: Shows how many there are.

    Raises:
        LimrankError: The model stopped; what it answered is in the calls file.
    """
    started = time.monotonic()
    counts: Counter[str] = Counter()
    mix: dict[str, Counter[str]] = {name: Counter() for name in MIXED}
    with atomic_write(out) as good, atomic_write(beside(out, "dropped")) as bad:
        for outcome in track(outcomes, label=command, total=total):
            if isinstance(outcome, Dropped):
                counts["dropped"] += 1
                counts[f"dropped_{outcome.reason}"] += 1
                bad.write(line_of(outcome))
                continue
            counts["examples"] += 1
            good.write(line_of(outcome))
            for name, counted in mix.items():
                if (value := getattr(outcome, name)) not in ("", None):
                    counted[str(value).lower()] += 1
    told: dict[str, Any] = {"examples": 0, "dropped": 0, **counts}
    told |= {f"by_{name}": dict(sorted(counted.items())) for name, counted in mix.items() if counted}
    told |= dict(llm.counts) if llm else {}
    manifest = Manifest(command, parameters, inputs, told, time.monotonic() - started)
    manifest.write(out)
    return manifest


def check(manifest: Manifest, out: Path, max_failed: int = 0) -> None:
    """Accept the stage, or raise where the model failed on more than `max_failed` examples.

    Raises:
        TooManyFailed: It is a matter of the model's server, not of what it said: run again to ask for these again.
    """
    failed = manifest.counts.get("dropped_failed", 0)
    if failed > max_failed:
        raise TooManyFailed(
            f"{out}: the model failed on {failed} examples (see {beside(out, 'dropped').name}); run again with --force "
            f"to ask for them again, or allow them with --max-failed {failed}"
        )
