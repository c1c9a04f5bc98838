"""Reasoning first: what the teacher thinks about a query before there is any passage."""

from __future__ import annotations

from pathlib import Path

from limrank.synthesize._ask import Malformed, without_thought
from limrank.synthesize._template import Template, load

FEWEST_WORDS = 30


def template(folder: Path | None = None) -> Template:
    """The words of this question."""
    return load("reasoning", fills=("query", "instruction", "needs"), words={}, folder=folder)


def thought(text: str) -> str:
    """The thought that an answer is; a reasoning model's tags around it are taken off.

    Raises:
        Malformed: It is too short to be one.
    """
    said = without_thought(text).strip() or text.replace("<think>", "").replace("</think>", "").strip()
    if len(said.split()) < FEWEST_WORDS:
        raise Malformed(f"it has fewer than {FEWEST_WORDS} words")
    return said
