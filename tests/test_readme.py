"""What the README promises is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_link_leads_to_a_file():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_of_the_readme_exists():
    from limrank.cli import COMMANDS

    used = set(re.findall(r"^(?:    )?limrank (\w+)", README, re.MULTILINE))
    assert {"index", "rerank", "compare"} <= used <= COMMANDS.keys()


def test_the_shipped_runs_are_complete_and_of_all_queries():
    from limrank import Qrels, Run
    from limrank.manifest import Manifest

    paths = sorted((ROOT / "runs" / "stdlib").glob("*.trec"))
    assert len(paths) == 4
    for path in paths:
        assert set(Run.read(path)) == set(Qrels.read(ROOT / "qrels" / "stdlib.qrels"))
        assert Manifest.read(path).output["name"] == path.name


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(example, {})
    assert "bm25+minilm" in capsys.readouterr().out
