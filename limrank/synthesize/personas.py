"""Who asks: people with a work and a situation, of whom each sees another question in the same seed.

personas.jsonl ships with limrank and is its own words; any JSON lines with a text `persona` will do (PersonaHub's).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from limrank.errors import BadFile, Unknown
from limrank.files import json_lines
from limrank.manifest import file_input

SHIPPED = Path(__file__).with_name("personas.jsonl")


class Persona(NamedTuple):
    """Somebody; `domain` is the field they know best, empty where the list does not say."""

    text: str
    domain: str = ""


def shipped() -> dict[str, str]:
    """The shipped file as an input in manifests, which do not say where limrank is installed."""
    return file_input(SHIPPED) | {"path": f"limrank/synthesize/{SHIPPED.name}"}


def read(path: Path | None = None, *, domains: Collection[str] = ()) -> list[Persona]:
    """The personas of a file, or the shipped ones.

    Args:
        path: JSON lines with `persona` and perhaps `domain`; other keys are left alone.
        domains: Keep only people of these.

    Raises:
        BadFile: A line has no persona, one is there twice, or there are none.
        Unknown: Nobody in the file is of a domain asked for.
    """
    path = path or SHIPPED
    found: dict[str, Persona] = {}
    for number, record in json_lines(path):
        text, domain = record.get("persona"), record.get("domain", "")
        if not isinstance(text, str) or not text.strip() or not isinstance(domain, str):
            raise BadFile(f'{path}:{number}: expected {{"persona": "...", "domain": "..."}}, both texts')
        if text.strip() in found:
            raise BadFile(f"{path}:{number}: this persona is there twice; keep one")
        found[text.strip()] = Persona(text.strip(), domain.strip())
    known = {persona.domain for persona in found.values() if persona.domain}
    for domain in domains:
        if domain not in known:
            raise Unknown.among(f"domain in {path.name}", domain, known)
    people = [persona for persona in found.values() if not domains or persona.domain in domains]
    if not people:
        raise BadFile(f"{path}: no personas in it")
    return people
