"""What holds for the package as a whole."""

import subprocess
import sys

import pytest

import limrank

HEAVY = {
    "accelerate", "faiss", "httpx2", "huggingface_hub", "ir_datasets", "jnius", "llama_cpp", "numba", "numpy",
    "onnxruntime", "openvino", "pandas", "pyarrow", "pyserini", "pytrec_eval", "ranx", "scipy", "sentence_transformers",
    "torch", "transformers",
}  # fmt: skip


def modules_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import limrank",
        "from limrank import Run, Qrels, Query, Document, Prompt, Manifest, open_dataset, open_llm",
        "from limrank.retrieve import index, retrieve",
        "from limrank.rerank import rerank",
        "from limrank.evaluate import evaluate, compare",
        "from limrank.fuse import fuse",
        "from limrank.__main__ import main; sys.argv = ['limrank', '--help']; main()",
        "from limrank.__main__ import main; sys.argv = ['limrank', 'rerank', '--help']; main()",
        "from limrank.__main__ import main; sys.argv = ['limrank', 'list', 'prompts']; main()",
    ],
)
def test_importing_limrank_or_asking_for_help_loads_no_heavy_package(code):
    assert modules_after(code) & HEAVY == set()


def test_the_check_for_heavy_packages_sees_one():
    assert "numpy" in modules_after("import limrank; limrank.Run({'q': [('d', 1.0)]})") & HEAVY


def test_public_names_are_sorted_and_all_of_them_can_be_had():
    assert limrank.__all__ == sorted(limrank.__all__)
    assert set(limrank.HOMES) | {"__version__"} == set(limrank.__all__)
    for name in limrank.__all__:
        assert getattr(limrank, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'reranker'"):
        limrank.reranker  # noqa: B018
