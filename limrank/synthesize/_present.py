"""Whether a benchmark's files are on this machine, without asking anybody for them."""

from __future__ import annotations

from pathlib import Path

from limrank.datasets import followir, litsearch
from limrank.extras import require
from limrank.synthesize.decontamination import BENCHMARKS


def present() -> list[str]:
    """Those of BENCHMARKS that can be read without a download."""
    return [name for name in BENCHMARKS if _there(name)]


def _there(name: str) -> bool:
    first, _, task = name.partition("/")
    if first == "bright":
        library = require("ir_datasets")
        files = library.util.DownloadConfig.contents()[first]
        parts = (files[f"{task.replace('_', '-')}/{part}"]["cache_path"] for part in ("docs", "queries"))
        return all((Path(library.util.home_path()) / first / part).is_file() for part in parts)
    repo, commit = followir.REPOSITORIES[task] if first == "followir" else litsearch.REPOSITORY
    cache = Path(require("huggingface_hub.constants").HF_HUB_CACHE)
    snapshot = cache / f"datasets--{repo.replace('/', '--')}" / "snapshots" / commit
    # The card alone is fetched to find out which files there are.
    return any(path.is_file() and path.name != "README.md" for path in snapshot.rglob("*"))
