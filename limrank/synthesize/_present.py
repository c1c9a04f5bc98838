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
        home = Path(require("ir_datasets").util.home_path()) / "bright"
        wanted = {task, task.replace("_", "-")}
        return home.is_dir() and any(part in wanted for path in home.rglob("*") for part in (path.stem, path.name))
    repo = followir.REPOSITORIES[task][0] if first == "followir" else litsearch.REPOSITORY[0]
    cache = Path(require("huggingface_hub").constants.HF_HUB_CACHE)
    snapshots = cache / f"datasets--{repo.replace('/', '--')}" / "snapshots"
    return snapshots.is_dir() and any(snapshots.iterdir())
