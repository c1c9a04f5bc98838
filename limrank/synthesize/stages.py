"""The stages with all that decides them, ready to be run from file to file (`stage.write`), estimated or left alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limrank.datasets import Dataset, folder, open_dataset
from limrank.errors import BadFile
from limrank.llm import LLM
from limrank.manifest import Manifest, file_input, path_of
from limrank.progress import Track
from limrank.records import Query
from limrank.run import Run
from limrank.synthesize import decontamination, filters, judgment, passages, personas, queries
from limrank.synthesize._template import Template
from limrank.synthesize.decontamination import Hit, Overlap
from limrank.synthesize.examples import ExampleFile, Outcome
from limrank.synthesize.filters import Limits
from limrank.synthesize.judgment import Vote
from limrank.synthesize.passages import Kinds
from limrank.synthesize.queries import Mix
from limrank.synthesize.stage import Nobody, Stage

# How a name ends that can only be a file's.
FILES = (".jsonl", ".json", ".tsv", ".csv", ".txt", ".gz")


def read_seeds(name: str) -> tuple[list[Query], dict[str, Any]]:
    """The queries of a file or a dataset, and what identifies them.

    Raises:
        BadFile: There are none, or they cannot be read.
        Unknown: No such dataset.
    """
    path = Path(name)
    if path.is_file():
        found = [query for _, query in folder.read_queries(path)]
        if not found:
            raise BadFile(f"{path}: no queries in it")
        return found, file_input(path)
    if path.suffix in FILES and not path.exists():
        raise BadFile(f"{path}: no such file; seeds are a file of queries (JSON lines with _id and text) or a dataset")
    dataset = open_dataset(name)
    return list(dataset.queries()), {"name": dataset.name, "revision": dataset.revision}


def of_queries(
    seeds: str,
    teacher: LLM,
    *,
    count: int,
    mix: Mix | None = None,
    people: Path | None = None,
    domains: Sequence[str] = (),
    prompts: Path | None = None,
) -> Stage:
    """Queries from seeds.

    Args:
        seeds: A file of queries, or a dataset.
        teacher: Who writes.
        count: Queries to be made.
        mix: How they differ.
        people: A file of personas; default: the shipped one.
        domains: Only people of these.
        prompts: A folder of prompts that replace shipped ones.
    """
    mix = mix or Mix()
    found, identity = read_seeds(seeds)
    persons, words = personas.read(people, domains=domains), queries.template(prompts)
    wanted = list(queries.slots(found, persons, mix, count))
    return Stage(
        "synthesize queries",
        {"count": count, "mix": asdict(mix), "domains": list(domains), "teacher": teacher.name, **_prompts(words)},
        {"seeds": identity, "personas": file_input(people) if people else personas.shipped()},
        lambda llm, _: queries.queries(llm, iter(wanted), words, seed=mix.seed),
        teacher,
        count,
    )


def of_passages(
    examples: Path,
    teacher: LLM,
    *,
    kinds: Kinds | None = None,
    mined: tuple[Path, Dataset] | None = None,
    prompts: Path | None = None,
) -> Stage:
    """A thought and passages for each query.

    Args:
        examples: What `of_queries` made.
        teacher: Who writes.
        kinds: Which passages.
        mined: A run of the synthetic queries and the dataset of its documents: negatives come from there.
        prompts: A folder of prompts that replace shipped ones.
    """
    kinds, words = kinds or Kinds(), passages.templates(prompts)
    inputs: dict[str, Any] = {"examples": file_input(examples)}
    mine = None
    if mined:
        path, dataset = mined
        inputs |= {"run": file_input(path), "dataset": {"name": dataset.name, "revision": dataset.revision}}
        mine = passages.mine(Run.read(path), dataset, kinds.negatives, seed=kinds.seed)
    return Stage(
        "synthesize passages",
        {"kinds": asdict(kinds), "mined": mined is not None, "teacher": teacher.name, **_prompts(*words)},
        inputs,
        lambda llm, _: passages.passages(llm, ExampleFile(examples), words, kinds, mined=mine),
        teacher,
    )


def of_judgments(examples: Path, judge: LLM, *, vote: Vote | None = None, prompts: Path | None = None) -> Stage:
    """A label and its reasoning for each passage."""
    vote, words = vote or Vote(), judgment.template(prompts)
    return Stage(
        "synthesize reason",
        {"vote": asdict(vote), "judge": judge.name, **_prompts(words)},
        {"examples": file_input(examples)},
        lambda llm, _: judgment.judged(llm, ExampleFile(examples), words, vote),
        judge,
        _examples_in(examples),
    )


def of_filters(
    examples: Path, *, limits: Limits | None = None, against: Sequence[Dataset] = (), overlap: Overlap | None = None
) -> Stage:
    """What passes the filters and is part of no dataset; contamination first, so that it is counted in full."""
    limits, overlap = limits or Limits(), overlap or Overlap()
    return Stage(
        "synthesize filter",
        {"limits": asdict(limits), "overlap": asdict(overlap)},
        {
            "examples": file_input(examples),
            "against": [{"name": dataset.name, "revision": dataset.revision} for dataset in against],
        },
        lambda _, track: _filtered(ExampleFile(examples), limits, against, overlap, track),
        Nobody(),
        _examples_in(examples),
    )


def lineage(path: Path) -> dict[str, dict[str, Any]]:
    """The manifests of the stages that led to a file, the first one first, as far as their files lie beside it."""
    found: dict[str, dict[str, Any]] = {}
    here: Path | None = path
    while here and path_of(here).is_file():
        manifest = Manifest.read(here)
        told = {"counts": manifest.counts, "parameters": manifest.parameters, "seconds": manifest.seconds}
        found[manifest.command] = told | {"prompts": manifest.parameters.get("prompts", {}), "path": str(here)}
        before = manifest.inputs.get("examples")
        here = here.with_name(Path(before["path"]).name) if isinstance(before, dict) else None
    return dict(reversed(found.items()))


def _filtered(
    examples: Iterable[Any], limits: Limits, against: Sequence[Dataset], overlap: Overlap, track: Track
) -> Iterator[Outcome]:
    hits: Mapping[str, Hit] = {}
    if against:
        texts = (text for dataset in against for text in decontamination.texts_of(dataset, documents=overlap.documents))
        looked_at = track(texts, label="texts of " + ", ".join(dataset.name for dataset in against))
        hits = decontamination.find(examples, looked_at, overlap)
    return filters.filtered(decontamination.decontaminated(examples, hits), limits)


def _prompts(*words: Template) -> dict[str, Mapping[str, str]]:
    return {"prompts": {one.name: one.sha256 for one in words}}


def _examples_in(path: Path) -> int | None:
    """What its manifest says, if it has one; for a progress bar."""
    told = Manifest.read(path).counts.get("examples") if path_of(path).is_file() else None
    return told if isinstance(told, int) else None
