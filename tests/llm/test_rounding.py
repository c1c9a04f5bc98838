"""limrank/llm/_rounding.py"""

import pytest

from limrank.llm import open_llm, rounding


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("transformers:SmolLM2@0123 float32 max_length=128", 1e-4),
        ("transformers:SmolLM2@0123 bfloat16", 3e-2),
        ("transformers:SmolLM2@0123 bfloat16 int4", 4e-2),
        ("llamacpp:SmolLM2@0123 float32", 1e-4),
        ("llamacpp:SmolLM2@0123", 4e-2),  # a file's own numbers, mostly quantised
        ("llamacpp:SmolLM2@0123 q8_0", 4e-2),
        ("vllm:limrank@0123 dtype=bfloat16", 3e-2),
        ("openai:gpt-4o", None),  # nobody here knows
    ],
)
def test_the_bound_follows_from_how_a_backend_computes(name: str, bound: float | None) -> None:
    assert rounding(name) == bound


def test_a_fake_model_does_not_round() -> None:
    assert rounding(open_llm("fake:hash").name) == 0.0
