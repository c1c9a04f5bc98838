"""Find a plug-in by its file name or entry point, and give it the options a user typed.

A plug-in is a module: `limrank/rerank/pointwise.py` is `pointwise` in the group `rerank`; a package from outside
offers one under the entry point group `limrank.rerank`. Nothing is registered and nothing is guessed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import pkgutil
import shlex
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from limrank.errors import LimrankError, Unknown

# Of a plug-in: option -> value, as typed and up to a colon -> names of the options that do nothing beside it.
Idle: TypeAlias = Mapping[str, Mapping[str, tuple[str, ...]]]


class Spec(NamedTuple):
    """What `name:model key=value ...` says."""

    name: str
    model: str
    options: Mapping[str, str]


def parse_spec(text: str) -> Spec:
    """Take `name`, `name:model` or `name:model key=value key="two words"` apart.

    A further `name:model` begins a spec within the spec, which is the option `llm` with all that follows:
    `ray:8x num_gpus=1 transformers:M dtype=float32` says `llm="transformers:M dtype=float32"`.

    Raises:
        LimrankError: There is no name, or something behind it is not key=value.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise LimrankError(f"cannot read {text!r}: {error}") from error
    if not words or "=" in words[0].partition(":")[0]:
        raise LimrankError(
            f"cannot read {text!r}: it should begin with a name, as in 'transformers:MODEL dtype=float32'"
        )
    name, _, model = words[0].partition(":")
    options: dict[str, str] = {}
    for i, word in enumerate(words[1:], 1):
        key, equals, value = word.partition("=")
        if ":" in key:
            options["llm"] = shlex.join(words[i:])
            break
        if not equals or not key:
            raise LimrankError(f"cannot read {word!r} in {text!r}: options are written key=value")
        options[key.replace("-", "_")] = value
    return Spec(name, model, options)


def text_of(spec: Spec) -> str:
    """The inverse of `parse_spec`."""
    first = f"{spec.name}:{spec.model}" if spec.model else spec.name
    return shlex.join([first, *(f"{key}={value}" for key, value in spec.options.items())])


def names(group: str) -> list[str]:
    """All plug-ins of a group (`llm`, `rerank`, `retrieve`, `datasets`), built in and from outside, sorted."""
    package = importlib.import_module(f"limrank.{group}")
    built_in = {module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")}
    return sorted(built_in | {point.name for point in importlib.metadata.entry_points(group=f"limrank.{group}")})


def find(group: str, name: str) -> Any:
    """The module of a plug-in.

    Raises:
        Unknown: There is none of this name; the nearest ones are suggested.
    """
    package = importlib.import_module(f"limrank.{group}")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name == name and not name.startswith("_"):
            return importlib.import_module(f"limrank.{group}.{name}")
    for point in importlib.metadata.entry_points(group=f"limrank.{group}", name=name):
        return point.load()
    raise Unknown.among(SINGULAR.get(group, group), name, names(group))


SINGULAR = {"llm": "LLM backend", "rerank": "reranking method", "retrieve": "index kind", "datasets": "dataset"}


def wants(function: Callable[..., Any]) -> list[str]:
    """What a plug-in's function is given by position: its parameters that are no options."""
    parameters = inspect.signature(function).parameters
    return [name for name, parameter in parameters.items() if parameter.kind is not parameter.KEYWORD_ONLY]


def call(function: Callable[..., Any], *values: Any, options: Mapping[str, str], what: str) -> Any:
    """Call a plug-in's function with typed-in options, converted to what its annotations say.

    Args:
        function: Its keyword-only parameters are the options.
        values: Passed on by position.
        options: Text by option name.
        what: What the options belong to, for messages.

    Raises:
        Unknown: The function has no such option.
        LimrankError: A value cannot be read as the option's type.
    """
    return function(*values, **settle(function, options=options, what=what))


def settle(function: Callable[..., Any], *, options: Mapping[str, str], what: str) -> dict[str, Any]:
    """All options of a plug-in's function: those typed in, converted, and the defaults of the others.

    Raises:
        Unknown: The function has no such option.
        LimrankError: A value cannot be read as the option's type.
    """
    parameters = inspect.signature(function).parameters
    known = [name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    hints = typing.get_type_hints(function)
    settled = {
        name: parameters[name].default for name in known if parameters[name].default is not inspect.Parameter.empty
    }
    for key, text in options.items():
        if key not in known:
            raise Unknown.among(f"option of {what}", key, known)
        try:
            settled[key] = convert(text, hints.get(key, str))
        except ValueError as error:
            raise LimrankError(f"option {key}={text} of {what}: {error}") from None
    return settled


def idle(table: Idle, options: Mapping[str, Any]) -> dict[str, str]:
    """Options that do nothing beside the others, by name, and the `other=value` for which they do nothing.

    Args:
        table: What a plug-in says of its options as IDLE.
        options: Values by name.
    """
    said = {key: str(value).lower().partition(":")[0] for key, value in options.items()}
    return {
        name: f"{key}={options[key]}"
        for key, by_value in table.items()
        for value, names in by_value.items()
        if said.get(key) == value
        for name in names
    }


def refuse_idle(function: Callable[..., Any], table: Idle, options: Mapping[str, Any]) -> None:
    """Refuse options that do nothing, where they are not left at their defaults.

    Args:
        function: Whose keyword-only parameters the options are.
        table: What the plug-in says as IDLE.
        options: Values by name.

    Raises:
        LimrankError: An option is not at its default and does nothing.
    """
    parameters = inspect.signature(function).parameters
    for name, why in idle(table, options).items():
        if options[name] != parameters[name].default:
            raise LimrankError(f"{name}={options[name]} does nothing with {why}; leave it out")


def convert(text: str, hint: Any) -> Any:
    """`text` as a value of a type: str, int, float, bool, Path, Literal, tuple[X, ...] (comma-separated), X | None.

    Raises:
        ValueError: It is not one; the message says what was expected.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if type(None) in arguments and text.lower() == "none":
            return None
        return convert(text, next(argument for argument in arguments if argument is not type(None)))
    if origin is Literal:
        if text in arguments:
            return text
        raise ValueError(f"expected one of {', '.join(map(str, arguments))}")
    if origin is tuple:
        return tuple(convert(item, arguments[0]) for item in text.split(",") if item)
    if hint is bool:
        if text.lower() in ("true", "yes", "1", "on"):
            return True
        if text.lower() in ("false", "no", "0", "off"):
            return False
        raise ValueError("expected true or false")
    if hint in (int, float, Path):
        try:
            return hint(text)
        except ValueError:
            raise ValueError(f"expected {'a whole number' if hint is int else 'a number'}") from None
    return text
