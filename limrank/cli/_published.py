"""All that is known of a published reranker, with its sources."""

from __future__ import annotations

from dataclasses import asdict

from limrank import published
from limrank.cli._terminal import emit_json, table


def show_model(name: str, *, as_json: bool) -> None:
    """Print a published reranker.

    Raises:
        Unknown: There is none of this name.
    """
    model = published.load(name)
    record = asdict(model) | {"numbers": [number._asdict() for number in model.numbers]}
    if as_json:
        emit_json(record)
        return
    told = {key: value for key, value in record.items() if value and key not in ("notes", "numbers", "recalled", "llm")}
    told |= {f"llm {key}": value for key, value in model.llm.items()}
    unsure = dict.fromkeys(model.recalled, " (recalled, not confirmed)")
    table(["", ""], ([key, f"{value}{unsure.get(key, '')}"] for key, value in told.items()))
    for text in [f"{key}: recalled, not confirmed" for key in model.recalled if key not in told] + list(model.notes):
        print(f"- {text}")
    if model.numbers:
        columns = ["benchmark", "measure", "value", "depth", "first_stage", "status", "source", "note"]
        rows = ([row[key] or "" for key in columns] for row in record["numbers"])
        table([column.replace("_", " ") for column in columns], rows, title="\npublished numbers")
