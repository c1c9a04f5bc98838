"""demo, list, doctor, completion: finding out what there is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from limrank.cli._terminal import emit_json, table
from limrank.errors import LimrankError

if TYPE_CHECKING:
    from limrank.published import Published

AsJson = Annotated[bool, Parameter(name="--json", negative=())]
KINDS = ("datasets", "llms", "methods", "models", "index-kinds", "prompts", "measures", "benchmarks", "indexes", "runs")


def list_(
    what: Literal[
        "datasets",
        "llms",
        "methods",
        "models",
        "index-kinds",
        "prompts",
        "measures",
        "benchmarks",
        "indexes",
        "runs",
        "all",
    ] = "all",
    /,
    *,
    as_json: AsJson = False,
) -> None:
    """List what there is to name on a command line.

    Args:
        what: One kind of thing; default: all kinds.
        as_json: For programs.
    """
    if what == "models":
        _list_models(as_json=as_json)
        return
    kinds = KINDS if what == "all" else (what,)
    found = {kind: _names(kind) for kind in kinds}
    if as_json:
        emit_json(found)
    else:
        table(["kind", "name", ""], ((kind, name, about) for kind in kinds for name, about in found[kind].items()))


def _names(kind: str) -> dict[str, str]:
    """Name and one line about it."""
    from limrank import plugins, prompt

    if kind == "prompts":
        return {name: prompt.load(name, needs=()).source for name in prompt.names()}
    if kind == "models":
        from limrank import published

        return {name: (model := published.load(name)).title + f": {model.method}" for name in published.names()}
    if kind == "benchmarks":
        from limrank import benchmark

        return {name: benchmark.load(name).about for name in benchmark.names()}
    if kind == "indexes":
        return {str(path.parent): "" for path in sorted(Path("indexes").rglob("manifest.json"))}
    if kind == "runs":
        return {str(path): "" for path in sorted(Path("runs").rglob("*.trec*")) if path.suffix in (".trec", ".gz")}
    if kind == "measures":
        from limrank.evaluate.instruction import DESCRIBED
        from limrank.evaluate.measures import describe

        return describe() | DESCRIBED
    group = {"datasets": "datasets", "llms": "llm", "methods": "rerank", "index-kinds": "retrieve"}[kind]
    return {name: _summary(plugins.find(group, name)) for name in plugins.names(group)}


def _list_models(*, as_json: bool) -> None:
    from limrank import published

    models = [published.load(name) for name in published.names()]
    if as_json:
        emit_json({"models": {model.name: asdict(model) for model in models}})
        return
    columns = ["name", "size", "method", "depth", "licence", "BRIGHT nDCG@10", ""]
    table(
        columns,
        (
            [
                model.name,
                model.size,
                model.method,
                model.depth,
                model.licence,
                _bright(model),
                "cannot run here" if model.lacks else "",
            ]
            for model in models
        ),
    )
    print(
        "BRIGHT: @depth, published or (*) recomputed from released runs; first stages differ: limrank show model NAME"
    )


def _bright(model: Published) -> str:
    """The first number for the whole of BRIGHT, with the depth it was measured at."""
    number = next((number for number in model.numbers if number.benchmark == "bright"), None)
    if number is None:
        return ""
    return f"{number.value:.1f}{'' if number.status == 'found' else ' *'} @{number.depth}"


def _summary(module: object) -> str:
    return (getattr(module, "__doc__", "") or "").strip().partition("\n")[0]


def doctor(*, as_json: AsJson = False) -> int:
    """Say what is installed, which Java and device are used, what is missing and how to get it.

    Exit code 1 when something is missing that the main job needs.

    Args:
        as_json: For programs.
    """
    from limrank.doctor import examine

    findings = list(examine())
    if as_json:
        emit_json([finding._asdict() for finding in findings])
    else:
        table(["", "", "", ""], ((found.state, found.what, found.detail, found.remedy) for found in findings))
    return 1 if any(finding.state == "missing" for finding in findings) else 0


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a completion script; for bash: limrank completion bash > ~/.local/share/bash-completion/completions/limrank

    Args:
        shell: The shell it is for.
    """
    from limrank.cli import application

    print(application().generate_completion(shell=shell))


def demo(*, folder: Path = Path("runs/demo"), depth: int = 3) -> int:
    """Index, retrieve, fuse, rerank and compare on Python's own documentation; needs no network and no GPU.

    Every step is a command that can be typed; a step that was finished before is not done again.

    Args:
        folder: Where the runs go.
        depth: Documents per query that the language model reads.
    """
    from limrank.demo import steps, take

    if depth < 1:
        raise LimrankError(f"--depth {depth}: at least one document has to be reranked")
    return take(steps(folder, depth=depth))
