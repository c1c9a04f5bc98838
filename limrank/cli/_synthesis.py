"""What the commands of `limrank synthesize` share: stages are run where they are not there yet, and told."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limrank.cli._files import check_writable, finished, options_of
from limrank.cli._terminal import emit_json, note, table, track
from limrank.errors import LimrankError
from limrank.manifest import Manifest, file_input

if TYPE_CHECKING:
    from limrank.datasets import Dataset
    from limrank.synthesize.estimate import Cost
    from limrank.synthesize.queries import Mix
    from limrank.synthesize.stage import Stage


def run_stage(stage: Stage, out: Path, *, force: bool, max_failed: int = 0) -> Manifest:
    """Make what is not there yet, made in the same way; one without any example is an error."""
    from limrank.synthesize.stage import check, write

    parameters, inputs = stage.parameters, stage.inputs
    there = finished(out, command=stage.command, parameters=parameters, inputs=inputs, force=force)
    if there and (manifest := Manifest.read(out)).counts.get("dropped_failed", 0) <= max_failed:
        note(f"{out}: already there, made from the same in the same way; --force makes it again")
    else:
        manifest = write(stage, out, track=track)
    check(manifest, out, max_failed)
    return manifest


def export_files(
    examples: Path, out: Path, *, formats: Sequence[str], validation: float, seed: int, tokenizer: str, force: bool
) -> Manifest:
    """Write the training files and the card, unless they are there, made in the same way."""
    from limrank.files import write_text
    from limrank.synthesize import ExampleFile, stages
    from limrank.synthesize.export import FORMATS, card, counted_tokens, places
    from limrank.synthesize.export import export as write

    if next(iter(ExampleFile(examples)), None) is None:
        raise LimrankError(f"{examples}: no example in it, so there is nothing to export")
    wanted = list(formats) or list(FORMATS)
    parameters = {"formats": wanted, "validation": validation, "seed": seed, "tokenizer": tokenizer}
    inputs, place, started = {"examples": file_input(examples)}, out / "README.md", time.monotonic()
    there = finished(place, command="synthesize export", parameters=parameters, inputs=inputs, force=force)
    if there and all(path.is_file() for path in places(out, wanted).values()):
        note(f"{out}: already there, made from the same examples in the same way; --force makes it again")
        return Manifest.read(place)
    check_writable(place)
    tokens = counted_tokens(tokenizer) if tokenizer else None
    exported = write(
        ExampleFile(examples), out, formats=wanted, validation=validation, seed=seed, tokens=tokens, track=track
    )
    write_text(place, card(exported, name=out.resolve().parent.name, made=stages.lineage(examples)))
    counts = {split: {key: sum(of.values()) for key, of in kept.items()} for split, kept in exported.counts.items()}
    examples_in = {split: of.get("label", 0) for split, of in counts.items()}
    told = {"examples": sum(examples_in.values()), **examples_in}
    manifest = Manifest("synthesize export", parameters, inputs, told, time.monotonic() - started)
    manifest.write(place)
    return manifest


def show_page(examples: Path, place: Path, *, most: int, seed: int) -> None:
    """Write the page of a file and of what its stages dropped."""
    from limrank.files import beside, write_text
    from limrank.synthesize import ExampleFile, stages
    from limrank.synthesize.examples import dropped_in
    from limrank.synthesize.show import page

    check_writable(place)
    made = stages.lineage(examples)
    files = {name.rpartition(" ")[2]: beside(Path(told["path"]), "dropped") for name, told in made.items()}
    gone = ((name, one) for name, path in files.items() if path.is_file() for one in dropped_in(path))
    write_text(place, page(ExampleFile(examples), gone, title=str(examples), most=most, seed=seed))


def mix_of(mix: Sequence[str] | None, instruction: float, seed: int) -> Mix:
    """The shares that words as direct=1 say; those not named are even, or 0 where others of their sort are named."""
    from limrank.errors import Unknown
    from limrank.synthesize.queries import DIFFICULTIES, VARIANTS, Mix

    given: dict[str, float] = {}
    for key, value in options_of(mix or ()).items():
        name = key.replace("_", "-")
        if name not in (*VARIANTS, *DIFFICULTIES):
            raise Unknown.among("share", name, (*VARIANTS, *DIFFICULTIES))
        try:
            given[name] = float(value)
        except ValueError:
            raise LimrankError(f"mix {name}={value}: expected a number") from None
    variant = {name: given[name] for name in VARIANTS if name in given} or dict.fromkeys(VARIANTS, 1.0)
    difficulty = {name: given[name] for name in DIFFICULTIES if name in given} or dict.fromkeys(DIFFICULTIES, 1.0)
    return Mix(variant, difficulty, instruction, seed)


def datasets_of(against: Sequence[str] | None) -> list[Dataset]:
    """The datasets that examples may not be part of; where nobody names any, the benchmarks on this machine."""
    from limrank.datasets import open_dataset
    from limrank.synthesize._present import present

    if against is None:
        names = present()
        note(f"examples may not be part of: {', '.join(names) or 'nothing, for no benchmark is on this machine'}")
    else:
        names = [name for name in against if name != "none"]
    return [open_dataset(name) for name in names]


def tell_estimate(seeds: str, *, as_json: bool, **options: Any) -> None:
    """Print what all stages will ask."""
    from limrank.synthesize.estimate import estimate

    _told_costs(estimate(seeds, **options), as_json=as_json)


def tell_cost(stage: Stage, *, as_json: bool) -> None:
    """Print what a stage will ask."""
    from limrank.synthesize.estimate import of_stage

    _told_costs([of_stage(stage)], as_json=as_json)


def _told_costs(costs: Sequence[Cost], *, as_json: bool) -> None:
    if as_json:
        emit_json([cost._asdict() for cost in costs])
        return
    table(["stage", "examples", "questions", "prompt tokens", "output tokens"], costs)
    print("characters / 4; answers a third of their limits, and nothing dropped, are taken for granted")


def tell(manifests: Sequence[Manifest], *, as_json: bool) -> None:
    """Print what came of the stages."""
    if as_json:
        emit_json([manifest.__dict__ for manifest in manifests] if len(manifests) > 1 else manifests[0].__dict__)
        return
    table(
        ["stage", "examples", "dropped", "asked", "reused", "why dropped"],
        [_row(one.command, one.counts) for one in manifests],
    )


def _row(command: str, counts: Mapping[str, Any]) -> list[object]:
    reasons = {key.removeprefix("dropped_"): value for key, value in counts.items() if key.startswith("dropped_")}
    why = ", ".join(f"{reason} {number}" for reason, number in sorted(reasons.items(), key=lambda pair: -pair[1]))
    numbers = [counts.get(key, "") for key in ("examples", "dropped", "asked", "reused")]
    return [command.removeprefix("synthesize "), *numbers, why]
