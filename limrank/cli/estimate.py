"""estimate: what a rerank will cost, before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import Parameter

from limrank.cli._stages import Stage, stages_of
from limrank.cli._terminal import emit_json, table, track
from limrank.errors import LimrankError

if TYPE_CHECKING:
    from limrank.datasets import Dataset
    from limrank.estimate import Cost
    from limrank.run import Run

Row: TypeAlias = dict[str, Any]
Listed = Annotated[list[str], Parameter(negative=())]
AsJson = Annotated[bool, Parameter(name="--json", negative=())]


def estimate(
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
    then: Listed | None = None,
    thought_tokens: int = 400,
    tokens_per_second: Annotated[tuple[float, float], Parameter(negative=())] | None = None,
    price_in: float | None = None,
    price_out: float | None = None,
    as_json: AsJson = False,
) -> None:
    """Say how many calls and tokens a rerank takes, and how long or how much that is; asks no model and writes nothing.

    The method itself is run on the real texts with a model that counts. Beside what was asked for, other amounts of
    thinking (pointwise) or other windows (listwise) are shown, counted on about 200 queries. Tokens are the
    tokenizer's where it can be had without the weights, and else characters / 4; the last line says which.

    Args:
        run: A TREC run file, .gz or not.
        dataset: Where its queries and documents are: an ir_datasets id, bright/<task>, stdlib, or a folder.
        model: A published reranker; see limrank list models
        method: "name key=value ..."; default: likelihood, or the model's.
        llm: "backend:model key=value ..."; default: transformers:smollm2, or the model's.
        prompt: A shipped prompt or a TOML file; default: the method's or model's own.
        mix: As for rerank.
        depth: Documents per query that are reranked; default: 100, or the model's.
        then: One more stage, as for rerank.
        thought_tokens: Assumed length of a thought. Rank1's chains are of 20 to 500 words (arXiv 2502.18418), and took
            397.7 tokens on average when trained again on Qwen3 (arXiv 2510.08985).
        tokens_per_second: Of the machine: prompt tokens that it reads, and tokens that it writes. An H100 with a model
            of 7 billion parameters reads about 30000 and writes about 12500.
        price_in: Of a million prompt tokens.
        price_out: Of a million output tokens.
        as_json: For programs.
    """
    from limrank.datasets import open_dataset
    from limrank.run import Run

    if (price_in is None) != (price_out is None):
        raise LimrankError("a price has two parts: give both --price-in and --price-out")
    if min(tokens_per_second or (1.0,)) <= 0 or min(price_in or 0, price_out or 0) < 0:
        raise LimrankError("speeds are above 0, and prices are not below")
    stages = stages_of(model=model, method=method, llm=llm, prompt=prompt, mix=mix, depth=depth, then=then or ())
    costs = costs_of(stages, Run.read(run), open_dataset(dataset), thought_tokens=thought_tokens)
    show(
        costs,
        total=len(stages) > 1,
        speeds=tokens_per_second,
        prices=None if price_in is None or price_out is None else (price_in, price_out),
        as_json=as_json,
    )


def costs_of(stages: Sequence[Stage], run: Run, dataset: Dataset, *, thought_tokens: int = 400) -> list[Cost]:
    """The cost of each stage; of a single one, its alternatives' too, which follow it."""
    from limrank.estimate import Plan, alternatives
    from limrank.estimate import estimate as count

    plans = [Plan(stage.method, stage.llm, stage.prompt, stage.depth) for stage in stages]
    if len(plans) > 1:
        return count(run, dataset, plans, thought_tokens=thought_tokens, track=track)
    return count(run, dataset, alternatives(plans[0]), thought_tokens=thought_tokens, exact=1, track=track)


def show(
    costs: Sequence[Cost],
    *,
    total: bool,
    speeds: tuple[float, float] | None = None,
    prices: tuple[float, float] | None = None,
    as_json: bool = False,
) -> None:
    """Print costs as a table or as JSON; `total` adds them up, as stages want and alternatives do not."""
    rows = [_row(cost, speeds, prices) for cost in costs]
    if total:
        rows.append(_sum(rows))
    if as_json:
        emit_json({"costs": rows, "counted": list(dict.fromkeys(cost.counted for cost in costs))})
        return
    columns = [key for key in rows[0] if key != "shared_tokens"]
    table([key.replace("_", " ") for key in columns], ([_written(row[key]) for key in columns] for row in rows))
    for counted in dict.fromkeys(cost.counted for cost in costs):
        print(f"tokens: {counted}")


def _row(cost: Cost, speeds: tuple[float, float] | None, prices: tuple[float, float] | None) -> Row:
    plan = cost.plan
    row: Row = {
        "method": f"{plan.method} depth={plan.depth}",
        "calls": cost.calls,
        "prompt_tokens": cost.prompt_tokens,
        "shared_tokens": cost.shared_tokens,
        "saved_by_prefix_caching": f"{cost.shared_tokens / max(cost.prompt_tokens, 1):.0%}",
        "output_tokens": cost.output_tokens,
    }
    if speeds:
        row["hours"] = round(cost.hours(*speeds), 3)
    if prices:
        row["price"] = round(cost.price(*prices), 2)
    return row


def _sum(rows: Sequence[Row]) -> Row:
    numbers = [key for key, value in rows[0].items() if not isinstance(value, str)]
    total: Row = {key: round(sum(row[key] for row in rows), 3) for key in numbers}
    share = total["shared_tokens"] / max(total["prompt_tokens"], 1)
    return {"method": "all stages"} | {
        key: f"{share:.0%}" if key == "saved_by_prefix_caching" else total[key] for key in rows[0] if key != "method"
    }


def _written(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
