"""Log-probabilities of tokens, from one forward pass of a causal model over a batch, its shared prefix computed once.

Rows are padded on the right, where a causal model cannot see; the output layer is computed only at the positions that
are read. Knows nothing of text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

# The largest block of rows for which the full distribution is held in float32 at a time.
DISTRIBUTIONS = 512


class Row(NamedTuple):
    """Token ids, and what is wanted of them: (position, token) asks for ln P(token | the ids up to position)."""

    ids: Sequence[int]
    reads: tuple[tuple[int, int], ...]


def prefix_states(model: Any, ids: Sequence[int]) -> list[tuple[Any, Any]] | None:
    """Keys and values of every layer after these ids; None where the model keeps something else, such as a window."""
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer

    cache = DynamicCache(config=model.config)
    if any(type(layer) is not DynamicLayer for layer in cache.layers):
        return None
    with torch.inference_mode(), _reading(model, [0], [0]):
        model(torch.tensor([list(ids)], device=model.device), past_key_values=cache, use_cache=True)
    return [(layer.keys, layer.values) for layer in cache.layers]


def logprobs(model: Any, rows: Sequence[Row], states: list[tuple[Any, Any]] | None, known: int) -> list[list[float]]:
    """Per row, the log-probability of each read, in its order.

    Args:
        model: A causal model of transformers.
        rows: All with the same first `known` ids.
        states: From `prefix_states`, of at least `known` ids; None where `known` is 0.
        known: How many leading ids need not be computed. Smaller than any position that is read, plus one.
    """
    import torch

    width = max(len(row.ids) for row in rows) - known
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids) - known] = torch.tensor(list(row.ids[known:]))
    places = [(i, position - known, token) for i, row in enumerate(rows) for position, token in row.reads]
    where_row, where_column, tokens = (list(column) for column in zip(*places))
    options: dict[str, Any] = {"use_cache": False}
    if known and states is not None:
        options = {"past_key_values": _expanded(model, states, len(rows), known), "use_cache": True}
        options["position_ids"] = torch.arange(known, known + width, device=model.device).expand(len(rows), -1)
    with torch.inference_mode(), _reading(model, where_row, where_column):
        logits = model(ids.to(model.device), **options).logits[0]
        values = iter(_gathered(logits, tokens))
    return [[next(values) for _ in row.reads] for row in rows]


def _gathered(logits: Any, tokens: list[int]) -> list[float]:
    import torch

    values: list[float] = []
    for start in range(0, len(tokens), DISTRIBUTIONS):
        block = torch.log_softmax(logits[start : start + DISTRIBUTIONS].float(), dim=-1)
        wanted = torch.tensor(tokens[start : start + DISTRIBUTIONS], device=block.device)
        values += block.gather(1, wanted[:, None])[:, 0].tolist()
    return values


def _expanded(model: Any, states: list[tuple[Any, Any]], rows: int, known: int) -> Any:
    """A cache for a batch, in which every row begins with the same states."""
    from transformers.cache_utils import DynamicCache

    cache = DynamicCache(config=model.config)
    for layer, (keys, values) in enumerate(states):
        cache.update(keys[:, :, :known].expand(rows, -1, -1, -1), values[:, :, :known].expand(rows, -1, -1, -1), layer)
    return cache


@contextlib.contextmanager
def _reading(model: Any, rows: list[int], columns: list[int]) -> Iterator[None]:
    """Within the block the output layer sees the hidden states at these places only, as one row of a batch of one.

    A vocabulary of 150,000 makes the output layer a fifth of a small model; what follows it (scaling, soft caps) works
    on every number by itself and does not notice.
    """

    def pick(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (inputs[0][rows, columns][None], *inputs[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()
