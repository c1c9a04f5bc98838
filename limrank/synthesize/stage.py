"""One stage from file to file: examples, what was dropped, and the manifest, which is written last.

    <out>                 examples, JSON lines
    <out>.dropped.jsonl   what goes no further, and why
    <out>.calls.jsonl     every answer of the model, before it was used: the same stage run again asks for nothing twice
    <out>.manifest.json   parameters, inputs, counts; beside a file it means that the file is complete

Knows nothing of what a stage does.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limrank.errors import LimrankError, TooManyFailed
from limrank.files import atomic_write, beside
from limrank.llm import LLM, Delivery
from limrank.llm._recorded import Recorded
from limrank.manifest import Manifest
from limrank.progress import Track, silent
from limrank.records import Request
from limrank.synthesize.examples import Dropped, Outcome, dropped_in, line_of

MIXED = ("variant", "domain", "difficulty", "kind", "label")


@dataclass(frozen=True)
class Stage:
    """A stage that can be run.

    Attributes:
        command: What makes the file, as `synthesize queries`.
        parameters: Everything that decides the content.
        inputs: What it is made from.
        outcomes: Starts the stage with the model that answers, where it asks one; shows what it has to do before.
        llm: That model.
        total: Jobs, if known.
    """

    command: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, Any]
    outcomes: Callable[[LLM, Track], Iterable[Outcome]]
    llm: LLM
    total: int | None = None


class Nobody:
    """The model of a stage that asks none."""

    name = ""

    def generate(self, feed: Iterator[Request | None]) -> Iterator[Delivery]:
        """Nothing can be asked."""
        raise LimrankError("this stage asks no language model")


def write(stage: Stage, out: Path, *, track: Track = silent) -> Manifest:
    """Run a stage and write its files; none but the calls file appears before the last outcome.

    Args:
        stage: From `limrank.synthesize.stages`.
        out: The file of examples.
        track: Shows how many outcomes there are.

    Raises:
        LimrankError: The model stopped; what it answered is in the calls file.
    """
    started = time.monotonic()
    llm = None if isinstance(stage.llm, Nobody) else Recorded(stage.llm, beside(out, "calls"))
    outcomes = stage.outcomes(llm or stage.llm, track)
    counts: Counter[str] = Counter()
    mix: dict[str, Counter[str]] = {name: Counter() for name in MIXED}
    with atomic_write(out) as good, atomic_write(beside(out, "dropped")) as bad:
        for outcome in track(outcomes, label=stage.command, total=stage.total):
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
    manifest = Manifest(stage.command, stage.parameters, stage.inputs, told, time.monotonic() - started)
    manifest.write(out)
    return manifest


def check(manifest: Manifest, out: Path, max_failed: int = 0) -> None:
    """Accept the stage, or raise where the model failed on more than `max_failed` examples, or nothing is left.

    What a model answers malformed costs an example, not the stage: it was asked twice, and would say it again.

    Raises:
        TooManyFailed: It is a matter of the model's server, not of what it said: run again to ask for these again.
        LimrankError: No example is left; the message counts what was dropped, and why, and names the first.
    """
    failed = manifest.counts.get("dropped_failed", 0)
    if failed > max_failed:
        raise TooManyFailed(
            f"{out}: the model failed on {failed} examples (see {beside(out, 'dropped').name}); run again to ask "
            f"for them again, or allow them with --max-failed {failed}"
        )
    if not manifest.counts.get("examples"):
        raise LimrankError(f"{out}: no example is left{_why_none(manifest, out)}")


def _why_none(manifest: Manifest, out: Path) -> str:
    """The rest of the sentence that nothing is left: reasons with their counts, an example, and what to do."""
    counts = {key.removeprefix("dropped_"): of for key, of in manifest.counts.items() if key.startswith("dropped_")}
    first = next(dropped_in(beside(out, "dropped")), None)
    if first is None:
        return ", for there was none to begin with"
    dropped = manifest.counts["dropped"]
    reasons = ", ".join(f"{reason} {of}" for reason, of in sorted(counts.items(), key=lambda pair: -pair[1]))
    advice = "give another model, or other --prompts" if "asked" in manifest.counts else "give other limits"
    return (
        f": {dropped} of {dropped} dropped ({reasons}), e.g. {first.example.example_id}: {first.detail}; "
        f"{advice}; limrank synthesize show {out} shows them"
    )


def write_queries(queries: Iterable[tuple[str, str]], path: Path) -> None:
    """Queries, id and text, as the JSON lines of a dataset, which can be retrieved for."""
    with atomic_write(path) as file:
        for query_id, text in queries:
            file.write(json.dumps({"_id": query_id, "text": text}, ensure_ascii=False).encode() + b"\n")
