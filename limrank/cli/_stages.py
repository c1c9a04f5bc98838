"""From what a user types to the stages of a rerank, each as `open_reranker` takes it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

from limrank import plugins, published
from limrank.cli._terminal import note
from limrank.errors import LimrankError, Unknown

METHOD = "likelihood"
DEPTH = 100
# A later stage is one that costs more: reasoning about the best 20 is what cascades of the literature do.
LATER_DEPTH = 20
# What a stage says of itself; all other options are its method's.
OF_STAGE = ("depth", "llm", "prompt")


class Stage(NamedTuple):
    """One reranker and how deep it goes; `llm` and `prompt` are empty for the method's own.

    Attributes:
        label: What file names call it: the published model's name, or the method's.
    """

    label: str
    method: str
    llm: str
    prompt: str
    depth: int


def stages_of(
    *, model: str, method: str, llm: str, prompt: str, mix: float | None, depth: int | None, then: Sequence[str]
) -> list[Stage]:
    """The first stage that options describe, and one for each text behind --then.

    Raises:
        Unknown: No such model, method or backend.
        LimrankError: A published model cannot be run so, or a depth is no number.
    """
    own = plugins.parse_spec(method or (published.load(model).method if model else METHOD)).name
    # Among several stages --llm is for those that ask one; where there is but one, it is refused if it does not.
    for_first = llm if not then or "llm" in plugins.wants(plugins.find("rerank", own).load) else ""
    first = _stage(model, method, llm=for_first, prompt=prompt, depth=depth, usual=DEPTH)
    if mix is not None:
        if "mix" not in inspect.signature(plugins.find("rerank", own).load).parameters:
            raise LimrankError(f"{own} has no first-stage mix; leave --mix out, and combine runs with limrank fuse")
        first = first._replace(method=f"{first.method} mix={mix}")
    return [first, *(_later(text, llm) for text in then)]


def tell(stages: Sequence[Stage]) -> None:
    """Say what runs a published model, since nobody typed it."""
    for stage in stages:
        if stage.label in published.names():
            by = f", {stage.llm}, prompt {stage.prompt}" if stage.llm else ""
            note(f"{stage.label}: {stage.method}{by}, depth {stage.depth}")


def _stage(model: str, method: str, *, llm: str, prompt: str, depth: int | None, usual: int) -> Stage:
    if not model:
        method = method or METHOD
        return Stage(plugins.parse_spec(method).name, method, llm, prompt, usual if depth is None else depth)
    chosen = published.choose(published.load(model), method=method, llm=llm, prompt=prompt, depth=depth)
    return Stage(model, *chosen)


def _later(text: str, llm: str) -> Stage:
    """A stage from `METHOD key=value ...`, with --llm if it asks one, or from `MODEL key=value ...`, by its backend."""
    spec = plugins.parse_spec(text)
    said = {key: spec.options[key] for key in OF_STAGE if key in spec.options}
    rest = {key: value for key, value in spec.options.items() if key not in OF_STAGE}
    depth = said.get("depth", str(LATER_DEPTH))
    if not depth.isdecimal() or int(depth) < 1:
        raise LimrankError(f"--then {text!r}: depth={depth}: expected at least 1 document per query")
    model, method = "", plugins.text_of(spec._replace(options=rest))
    if spec.name in published.names():
        model, own = spec.name, published.load(spec.name).method
        method = plugins.text_of(plugins.parse_spec(own)._replace(options=rest)) if rest else ""
        backend_alone = llm and not plugins.parse_spec(llm).model
        if backend_alone and "llm" in plugins.wants(_method(plugins.parse_spec(own).name).load):
            said.setdefault("llm", llm)
    elif "llm" not in said and "llm" in plugins.wants(_method(spec.name).load):
        said["llm"] = llm
    return _stage(
        model, method, llm=said.get("llm", ""), prompt=said.get("prompt", ""), depth=int(depth), usual=LATER_DEPTH
    )


def _method(name: str) -> Any:
    """The method of this name, or an error that knows of published models, too."""
    if name not in plugins.names("rerank"):
        raise Unknown.among("method or model behind --then", name, [*plugins.names("rerank"), *published.names()])
    return plugins.find("rerank", name)
