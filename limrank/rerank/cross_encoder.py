"""Cross-encoders: query and passage through a classifier together, `cross_encoder:cross-encoder/ms-marco-MiniLM-L6-v2`.

The score is what sentence-transformers' CrossEncoder gives, with the activation that the model's own configuration
names. A passage that is too long loses its end and is counted (`truncated`); the query never loses anything, and one
that leaves no room for a passage gets no verdicts.

Source: monoBERT (Nogueira & Cho 2019, arXiv:1901.04085). sentence-transformers by itself cuts whichever is longer; a
long query would lose the words that ask.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limrank.errors import LimrankError
from limrank.extras import require
from limrank.llm._tokens import LEAST
from limrank.llm._weights import find, quiet
from limrank.rerank._scored import Outcome, Scored


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
        LimrankError: No model is named, or it gives several numbers for a passage, or has a slow tokenizer.
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
        if not getattr(made.tokenizer, "is_fast", False):
            raise LimrankError(f"{model} has a slow tokenizer, which cannot say where a passage is to be cut")
        if made.tokenizer.chat_template is None:
            # A passage that says [SEP] would end itself, and what follows would be a third text.
            made.tokenizer.split_special_tokens = True
        return made

    def score(query: str, texts: Sequence[str]) -> Sequence[Outcome]:
        fitted = _fitted(encoder().tokenizer, query, texts)
        pairs = [(query, text) for text in fitted if text is not None]
        scores = iter(encoder().predict(pairs, batch_size=batch, show_progress_bar=False) if pairs else ())
        return [
            Outcome(None, "the query leaves no room for the passage")
            if shown is None
            else Outcome(float(next(scores)), truncated=shown != text)
            for text, shown in zip(texts, fitted)
        ]

    identity = f"{weights.name} max_length={max_length}, of the passage alone, text is text"
    return Scored("cross_encoder", identity, score, calls=calls, mix=mix)


def _fitted(tokenizer: Any, query: str, texts: Sequence[str]) -> list[str | None]:
    """The beginning of each text that the model has room for beside the whole query; None where there is none."""
    tokens = functools.partial(tokenizer, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    taken = len(tokens(query).input_ids) + tokenizer.num_special_tokens_to_add(pair=True)
    room = tokenizer.model_max_length - taken
    fitted: list[str | None] = []
    for text, spans in zip(texts, tokens(list(texts)).offset_mapping):
        short, keep = text, room
        # What is left may be tokenised a little differently, so that a first cut can be too long by one or two.
        while len(spans) > room >= LEAST:
            short, keep = short[: spans[keep][0]], keep - 1
            spans = tokens(short).offset_mapping
        fitted.append(short if len(spans) <= room else None)
    return fitted
