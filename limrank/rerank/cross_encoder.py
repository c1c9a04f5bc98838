"""Cross-encoders: query and passage through a classifier together, `cross_encoder:cross-encoder/ms-marco-MiniLM-L6-v2`.

The score is what sentence-transformers' CrossEncoder gives, with the activation that the model's own configuration
names. The end of a passage that is too long is cut by the model's tokenizer.

Source: monoBERT (Nogueira & Cho 2019, arXiv:1901.04085).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limrank.errors import LimrankError
from limrank.extras import require
from limrank.llm._weights import find, quiet
from limrank.rerank._scored import Scored


def load(
    model: str,
    calls: Path | None = None,
    *,
    revision: str | None = None,
    mix: float = 1.0,
    batch: int = 32,
    max_length: int = 0,
    device: str = "auto",
) -> Scored:
    """A reranker that scores with a cross-encoder; its weights are read when the first query is scored.

    Args:
        model: A hub id or a folder.
        calls: The file that keeps scores, one line a query.
        revision: Of a hub id: branch, tag or commit.
        mix: Weight of the model against the first stage, 0 to 1; 1 shows the model's own score.
        batch: Passages of a forward pass; changes rounding only.
        max_length: Tokens of query and passage; 0 is what the model was made for.
        device: `auto` is `cuda` where there is one, else `cpu`.

    Raises:
        LimrankError: No model is named, or it gives several numbers for a passage.
        Unknown: There is no such model.
    """
    if not model:
        raise LimrankError(
            "cross_encoder needs a model: a hub id or folder, as in cross_encoder:cross-encoder/ms-marco-MiniLM-L6-v2"
        )
    weights = find(model, revision=revision)

    @functools.cache
    def encoder() -> Any:
        package = require("sentence_transformers")
        with quiet():
            made = package.CrossEncoder(
                weights.location,
                revision=weights.revision,
                max_length=max_length or None,
                device=None if device == "auto" else device,
            )
        if made.num_labels != 1:
            raise LimrankError(f"{model} gives {made.num_labels} numbers for a passage; a cross-encoder gives one")
        return made

    def score(query: str, texts: Sequence[str]) -> Sequence[float]:
        pairs = [(query, text) for text in texts]
        scores: list[float] = encoder().predict(pairs, batch_size=batch, show_progress_bar=False).tolist()
        return scores

    identity = f"{weights.name} max_length={max_length}"
    return Scored("cross_encoder", identity, score, calls=calls, mix=mix)
