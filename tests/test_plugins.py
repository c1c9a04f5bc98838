"""limrank/plugins.py"""

import importlib.metadata
from pathlib import Path
from typing import Any, Literal

import pytest

from limrank import plugins
from limrank.errors import LimrankError, Unknown
from limrank.plugins import Spec, call, convert, find, names, parse_spec, refuse_idle


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("fake", Spec("fake", "", {})),
        ("transformers:smollm2", Spec("transformers", "smollm2", {})),
        ("openai:http://host:8000/v1 timeout=5", Spec("openai", "http://host:8000/v1", {"timeout": "5"})),
        ("listwise window=20 stride=10", Spec("listwise", "", {"window": "20", "stride": "10"})),
        ("x:a/b max-length=7", Spec("x", "a/b", {"max_length": "7"})),
        ("x key='two words' url=http://a?b=c", Spec("x", "", {"key": "two words", "url": "http://a?b=c"})),
        ("transformers:'/my models/x'", Spec("transformers", "/my models/x", {})),
        ("x empty=", Spec("x", "", {"empty": ""})),
        ("x:2 key=1 y:a=b z='c d'", Spec("x", "2", {"key": "1", "llm": "y:a=b 'z=c d'"})),
    ],
)
def test_a_spec_is_a_name_a_model_and_options(text: str, spec: Spec) -> None:
    assert parse_spec(text) == spec


@pytest.mark.parametrize("text", ["", "  ", "key=value", "x word", "x =5", "x 'open"])
def test_what_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(LimrankError, match="cannot read"):
        parse_spec(text)


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("5", int, 5),
        ("-0.5", float, -0.5),
        ("5", float, 5.0),
        ("yes", bool, True),
        ("0", bool, False),
        ("a b", str, "a b"),
        ("b", Literal["a", "b"], "b"),
        ("~/x", Path, Path("~/x")),
        ("none", int | None, None),
        ("5", int | None, 5),
        ("x", str | None, "x"),
        ("1,2", tuple[int, ...], (1, 2)),
        ("", tuple[str, ...], ()),
    ],
)
def test_text_becomes_what_the_annotation_says(text: str, hint: Any, value: object) -> None:
    converted = convert(text, hint)
    assert converted == value and type(converted) is type(value)


@pytest.mark.parametrize(
    ("text", "hint", "message"),
    [
        ("5.5", int, "a whole number"),
        ("x", float, "a number"),
        ("maybe", bool, "true or false"),
        ("c", Literal["a", "b"], "one of a, b"),
        ("x", int | None, "a whole number"),
    ],
)
def test_a_value_of_another_type_says_what_was_expected(text: str, hint: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert(text, hint)


def sample(llm: str, *, window: int = 20, mode: Literal["fast", "slow"] = "fast") -> tuple[str, int, str]:
    return llm, window, mode


def test_options_are_converted_and_defaults_stay() -> None:
    assert call(sample, "m", options={"window": "5"}, what="method x") == ("m", 5, "fast")


def test_unknown_options_and_wrong_values_are_refused() -> None:
    with pytest.raises(Unknown, match="unknown option of method x 'windw'; did you mean window"):
        call(sample, "m", options={"windw": "5"}, what="method x")
    with pytest.raises(Unknown):
        call(sample, options={"llm": "by position only"}, what="method x")
    with pytest.raises(LimrankError, match="option window=five of method x: expected a whole number"):
        call(sample, "m", options={"window": "five"}, what="method x")


def test_an_option_that_does_nothing_beside_another_is_refused_where_it_is_given() -> None:
    table = {"mode": {"slow": ("window",)}}
    refuse_idle(sample, table, {"mode": "fast", "window": 5})
    refuse_idle(sample, table, {"mode": "slow", "window": 20})
    with pytest.raises(LimrankError, match="^window=5 does nothing with mode=slow; leave it out$"):
        refuse_idle(sample, table, {"mode": "slow", "window": 5})


@pytest.mark.parametrize("group", ["llm", "rerank", "retrieve", "datasets"])
def test_every_file_without_an_underscore_is_a_plug_in_with_its_function(group: str) -> None:
    folder = Path(plugins.__file__).parent / group
    files = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert files <= set(names(group))
    if group in ("llm", "rerank"):
        for name in files:
            assert callable(find(group, name).load)


def test_private_files_are_no_plug_ins() -> None:
    assert not [name for name in names("llm") if name.startswith("_")]
    with pytest.raises(Unknown):
        find("llm", "_calls")


def test_an_unknown_plug_in_suggests_the_nearest() -> None:
    with pytest.raises(Unknown, match="unknown LLM backend 'transformer'; did you mean transformers"):
        find("llm", "transformer")


def test_a_package_from_outside_offers_a_plug_in_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("outside", "limrank.errors", "limrank.llm")

    def entry_points(*, group: str, name: str = "") -> list[importlib.metadata.EntryPoint]:
        return [point] if group == "limrank.llm" and name in ("", "outside") else []

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    assert "outside" in names("llm") and "outside" not in names("rerank")
    assert find("llm", "outside").LimrankError is LimrankError
