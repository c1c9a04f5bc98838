"""Retrieval with LLM rerankers that reason: dataset, index, run, reranked run, comparison.

Here are the nouns, and what opens them by name; the verbs live in the package of their stage:

    from limrank.retrieve import index, retrieve
    from limrank.rerank import rerank
    from limrank.fuse import fuse
    from limrank.evaluate import evaluate, compare

Every public name is imported when it is first used: `import limrank` itself loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from limrank._version import __version__

if TYPE_CHECKING:
    from limrank.datasets import Dataset, open_dataset
    from limrank.errors import LimrankError
    from limrank.llm import LLM, open_llm
    from limrank.manifest import Manifest
    from limrank.prompt import Prompt
    from limrank.qrels import Qrels
    from limrank.records import Document, Query, ScoredDoc
    from limrank.rerank import open_reranker
    from limrank.run import Run

HOMES = {
    "Dataset": "limrank.datasets",
    "Document": "limrank.records",
    "LLM": "limrank.llm",
    "LimrankError": "limrank.errors",
    "Manifest": "limrank.manifest",
    "Prompt": "limrank.prompt",
    "Qrels": "limrank.qrels",
    "Query": "limrank.records",
    "Run": "limrank.run",
    "ScoredDoc": "limrank.records",
    "open_dataset": "limrank.datasets",
    "open_llm": "limrank.llm",
    "open_reranker": "limrank.rerank",
}

__all__ = [
    "Dataset",
    "Document",
    "LLM",
    "LimrankError",
    "Manifest",
    "Prompt",
    "Qrels",
    "Query",
    "Run",
    "ScoredDoc",
    "__version__",
    "open_dataset",
    "open_llm",
    "open_reranker",
]


def __getattr__(name: str) -> Any:
    try:
        home = HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'limrank' has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return __all__
