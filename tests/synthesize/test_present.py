"""What examples are compared with when nobody says: the benchmarks that are on this machine, in whole."""

from pathlib import Path

import pytest

from limrank.cli import run
from limrank.datasets import litsearch
from limrank.synthesize._present import present


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any benchmark: empty caches of ir_datasets and of the hub."""
    import huggingface_hub.constants

    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "irds"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_nothing_is_there_on_a_bare_machine(machine: Path):
    assert present() == []


def test_a_task_of_bright_is_there_with_its_queries_and_its_documents(machine: Path):
    # As ir_datasets names them.
    touch(machine / "irds/bright/biology.docs.parquet")
    touch(machine / "irds/bright/pony.docs.parquet")
    assert present() == []
    import ir_datasets

    files = ir_datasets.util.DownloadConfig.contents()["bright"]
    touch(machine / "irds/bright" / files["biology/queries"]["cache_path"])
    touch(machine / "irds/bright" / files["earth-science/docs"]["cache_path"])
    touch(machine / "irds/bright" / files["earth-science/queries"]["cache_path"])
    assert present() == ["bright/biology", "bright/earth_science"]


def test_a_repository_of_the_hub_is_there_with_more_than_its_card_at_the_commit_that_is_read(machine: Path):
    repo, commit = litsearch.REPOSITORY
    snapshots = machine / "hub" / f"datasets--{repo.replace('/', '--')}" / "snapshots"
    touch(snapshots / ("0" * 40) / "query" / "full.parquet")
    touch(snapshots / commit / "README.md")
    assert present() == []
    touch(snapshots / commit / "query" / "full.parquet")
    assert present() == ["litsearch"]


def test_where_none_is_there_the_filter_says_so(machine: Path, capsys: pytest.CaptureFixture[str]):
    (machine / "judged.jsonl").write_text("")
    assert run(["synthesize", "filter", str(machine / "judged.jsonl"), "--out", str(machine / "out.jsonl")]) == 1
    assert "no benchmark is on this machine" in capsys.readouterr().err
