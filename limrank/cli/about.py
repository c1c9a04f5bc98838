"""demo, list, doctor, completion: finding out what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from limrank.cli._terminal import emit_json, table
from limrank.errors import LimrankError

AsJson = Annotated[bool, Parameter(name="--json", negative=())]
KINDS = ("datasets", "llms", "methods", "index-kinds", "prompts", "measures", "indexes", "runs")


def list_(
    what: Literal[
        "datasets", "llms", "methods", "index-kinds", "prompts", "measures", "indexes", "runs", "all"
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
    if kind == "indexes":
        return {str(path.parent): "" for path in sorted(Path("indexes").rglob("manifest.json"))}
    if kind == "runs":
        return {str(path): "" for path in sorted(Path("runs").rglob("*.trec*")) if path.suffix in (".trec", ".gz")}
    if kind == "measures":
        from limrank.evaluate.measures import describe

        return describe()
    group = {"datasets": "datasets", "llms": "llm", "methods": "rerank", "index-kinds": "retrieve"}[kind]
    return {name: _summary(plugins.find(group, name)) for name in plugins.names(group)}


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
