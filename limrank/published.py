"""Published rerankers as data: which weights, which method, which prompt, which numbers, and who says so.

A file of `limrank/models/` is one reranker; its name is what a user types behind `--model`. What is not known is not in
it. Knows which plug-ins there are and what options they take, and nothing of how they work.
"""

from __future__ import annotations

import importlib.util
import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, NamedTuple

from limrank import plugins
from limrank import prompt as prompts
from limrank.errors import BadFile, LimrankError, Unknown

TEXTS = ("title", "hub", "revision", "base", "size", "licence", "source", "method", "prompt", "lacks")
REQUIRED = ("title", "hub", "source", "method", "depth")
KEYS = {*TEXTS, "depth", "recalled", "notes", "llm", "numbers"}
OF_NUMBER: dict[str, type | tuple[type, ...]] = {
    "benchmark": str,
    "measure": str,
    "value": (int, float),
    "depth": int,
    "first_stage": str,
    "source": str,
    "status": str,
    "note": str,
}
STATUSES = ("found", "computed", "recalled")
KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY


class Number(NamedTuple):
    """A published measurement.

    Attributes:
        benchmark: `bright`, `bright/biology`, `followir`, ...
        measure: `nDCG@10`, in percent as papers print it, ...
        value: As published.
        source: Paper and table, or the runs that it was computed from.
        status: `found` in the source; `computed` from released runs by limrank's authors; `recalled` and not confirmed.
        depth: Documents per query that were reranked; 0 where the source does not say.
        first_stage: Where they came from.
        note: What else has to be known before comparing.
    """

    benchmark: str
    measure: str
    value: float
    source: str
    status: str
    depth: int = 0
    first_stage: str = ""
    note: str = ""


@dataclass(frozen=True)
class Published:
    """A published reranker.

    Attributes:
        name: File name without `.toml`.
        title: As its authors write it.
        hub: Id of its weights on the Hugging Face hub.
        method: Reranking method with its options.
        depth: Documents per query in the published evaluation.
        source: Where weights, method, prompt and limits are from.
        prompt: Name of the shipped prompt; empty where the method has none, or the trained words could not be verified.
        revision: Commit of the weights, where one is known.
        base: What it was trained from.
        size: Parameters, as `7B`.
        licence: Of the weights.
        llm: Options for whichever backend runs it, such as `max_length`, where it has them.
        lacks: Why limrank cannot run it, where it cannot.
        recalled: Keys whose value was not confirmed in a source.
        notes: How its use here differs from the published one.
        numbers: Published measurements, the most telling first.
    """

    name: str
    title: str
    hub: str
    method: str
    depth: int
    source: str
    prompt: str = ""
    revision: str = ""
    base: str = ""
    size: str = ""
    licence: str = ""
    llm: Mapping[str, str] = field(default_factory=dict)
    lacks: str = ""
    recalled: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()


class Chosen(NamedTuple):
    """A reranker as `open_reranker` takes it; `llm` is empty for methods that ask none."""

    method: str
    llm: str
    prompt: str
    depth: int


def names() -> list[str]:
    """The published rerankers that come with limrank."""
    folder = resources.files("limrank").joinpath("models")
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def load(name: str) -> Published:
    """A published reranker by name.

    Raises:
        Unknown: There is none of this name; the nearest ones are suggested.
        BadFile: Its file has a wrong key or type, or names a method, option or prompt that does not exist.
    """
    file = resources.files("limrank").joinpath("models", f"{name}.toml")
    if not file.is_file():
        raise Unknown.among("model", name, names())
    return parse(name, file.read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Published:
    """The reranker that a TOML file describes.

    Raises:
        BadFile: As `load`.
    """
    path = f"model {name}"
    try:
        record = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadFile(f"{path}: not TOML ({error})") from error
    _check_keys(record, path)
    numbers = tuple(_number(number, path) for number in record.get("numbers", []))
    found = Published(
        name,
        **{key: value for key, value in record.items() if key in TEXTS or key == "depth"},
        llm={key: str(value) for key, value in record.get("llm", {}).items()},
        recalled=tuple(record.get("recalled", [])),
        notes=tuple(record.get("notes", [])),
        numbers=numbers,
    )
    _check_names(found, path)
    return found


def choose(model: Published, *, method: str = "", llm: str = "", prompt: str = "", depth: int | None = None) -> Chosen:
    """How to run a published reranker, where what a user says himself comes first.

    Args:
        model: From `load`.
        method: Another method; of the model's own method, options that come before the model's.
        llm: `vllm`: the same weights by another backend, also with options, as in `vllm dtype=float16`; or
            `backend:weights` with everything said. Default: vllm where it is installed, else transformers.
        prompt: Another prompt.
        depth: Documents per query; default: the published one.

    Raises:
        LimrankError: The model cannot be run so: its prompt is not known, or its weights need something first.
    """
    wanted = _merged(model.method, method)
    wants = plugins.wants(plugins.find("rerank", plugins.parse_spec(wanted).name).load)
    own = _same_method(model.method, wanted)
    _check_runnable(model, prompt, needs_words="prompt" in wants and own)
    deep = model.depth if depth is None else depth
    # A prompt was trained for a method; another method has its own words.
    words = prompt or (model.prompt if own else "")
    if "llm" not in wants:
        options = {"revision": model.revision} if model.revision else {}
        wanted = _with_model(wanted, model.hub, options)
        return Chosen(wanted, llm, words, deep)
    return Chosen(wanted, _backend(model, llm), words, deep)


def default_backend() -> str:
    """`vllm` where it is installed and limrank has the backend, else `transformers`."""
    return "vllm" if "vllm" in plugins.names("llm") and importlib.util.find_spec("vllm") else "transformers"


def _check_runnable(model: Published, prompt: str, *, needs_words: bool) -> None:
    if model.lacks:
        raise LimrankError(f"limrank cannot run {model.title}: {model.lacks}; limrank list models shows the others")
    if needs_words and not model.prompt and not prompt:
        raise LimrankError(
            f"{model.title} was trained with a prompt that could not be verified byte for byte, so none is shipped; "
            "give the words with --prompt FILE.toml"
        )


def _backend(model: Published, llm: str) -> str:
    """The spec of the language model: the model's weights, unless others are named."""
    spec = plugins.parse_spec(llm or default_backend())
    if spec.model:
        return llm
    load = plugins.find("llm", spec.name).load
    known = [name for name, parameter in inspect.signature(load).parameters.items() if parameter.kind is KEYWORD_ONLY]
    own = dict(model.llm) | {"tokenizer": model.hub} | ({"revision": model.revision} if model.revision else {})
    options = {key: value for key, value in own.items() if key in known} | dict(spec.options)
    return plugins.text_of(plugins.Spec(spec.name, model.hub, options))


def _merged(own: str, wanted: str) -> str:
    """The model's method with the user's options before the model's; another method is taken as it is.

    Options of the model's that do nothing beside the user's, such as the budget of a thought with think=none, are gone.
    """
    if not wanted or not _same_method(own, wanted):
        return wanted or own
    first, second = plugins.parse_spec(own), plugins.parse_spec(wanted)
    module = plugins.find("rerank", first.name)
    both = dict(first.options) | dict(second.options)
    settled = plugins.settle(module.load, options=both, what=f"reranking method {first.name}")
    gone = plugins.idle(getattr(module, "IDLE", {}), settled).keys() - second.options.keys()
    return plugins.text_of(second._replace(options={key: both[key] for key in both if key not in gone}))


def _same_method(one: str, other: str) -> bool:
    return plugins.parse_spec(one).name == plugins.parse_spec(other).name


def _with_model(method: str, hub: str, options: Mapping[str, str]) -> str:
    spec = plugins.parse_spec(method)
    return method if spec.model else plugins.text_of(plugins.Spec(spec.name, hub, dict(options) | dict(spec.options)))


def _check_keys(record: Mapping[str, Any], path: str) -> None:
    if odd := sorted(record.keys() - KEYS):
        raise BadFile(f"{path}: unknown key {odd[0]!r}; keys are {', '.join(sorted(KEYS))}")
    if missing := [key for key in REQUIRED if key not in record]:
        raise BadFile(f"{path}: {missing[0]} is missing")
    for key in TEXTS:
        if not isinstance(record.get(key, ""), str):
            raise BadFile(f"{path}: {key} is a text in quotes, not {record[key]!r}")
    if type(record["depth"]) is not int or record["depth"] < 1:
        raise BadFile(f"{path}: depth is a whole number of documents, not {record['depth']!r}")
    for key in ("recalled", "notes"):
        texts = record.get(key, [])
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise BadFile(f"{path}: {key} is a list of texts in quotes, not {texts!r}")
    if not isinstance(record.get("llm", {}), dict) or not isinstance(record.get("numbers", []), list):
        raise BadFile(f"{path}: write [llm] for a backend's options and [[numbers]] for published numbers")


def _number(record: Any, path: str) -> Number:
    if not isinstance(record, dict):
        raise BadFile(f"{path}: write [[numbers]] for published numbers")
    if odd := sorted(record.keys() - OF_NUMBER.keys()):
        raise BadFile(f"{path}: unknown key {odd[0]!r} of a number; keys are {', '.join(OF_NUMBER)}")
    for key, value in record.items():
        if not isinstance(value, OF_NUMBER[key]) or isinstance(value, bool):
            raise BadFile(f"{path}: {key} of a number is {value!r}")
    if missing := [key for key in ("benchmark", "measure", "value", "source", "status") if key not in record]:
        raise BadFile(f"{path}: a number has no {missing[0]}")
    if record["status"] not in STATUSES:
        raise BadFile(f"{path}: status {record['status']!r} of a number; expected one of {', '.join(STATUSES)}")
    return Number(**record)


def _check_names(model: Published, path: str) -> None:
    """Method, options and prompt have to exist, so that a typing error is not found by a user."""
    try:
        spec = plugins.parse_spec(model.method)
        module = plugins.find("rerank", spec.name)
        plugins.settle(module.load, options=spec.options, what=f"reranking method {spec.name}")
        if model.prompt:
            needs, many = getattr(module, "NEEDS", ("query", "passage")), getattr(module, "MANY", False)
            prompts.load(model.prompt, needs=needs, many=many)
    except LimrankError as error:
        raise BadFile(f"{path}: {error}") from error
    if model.prompt and "prompt" not in plugins.wants(module.load):
        raise BadFile(f"{path}: {spec.name} has no prompt; leave {model.prompt!r} out")
    if odd := [key for key in model.recalled if key not in KEYS and key not in spec.options]:
        raise BadFile(f"{path}: recalled names {odd[0]!r}, which is no key of the file and no option of its method")
