"""How far a score may move for reasons that are not the model's: who shared the batch, the padding, the kernel.

The bounds are on P(label), between the same prompt asked alone, in batches, and behind a kept prefix; measured with
SmolLM2-135M (speed/pointwise.py) and rounded up. A smaller difference says nothing about two documents.
"""

from __future__ import annotations

BOUNDS = {"float32": 1e-4, "bfloat16": 3e-2, "float16": 3e-2}
# Of weights that are dequantised block by block while they are multiplied.
QUANTISED = 4e-2


def rounding(name: str) -> float | None:
    """The bound for a language model, told from its name; 0 for a fake one, None where nobody here knows.

    Args:
        name: `LLM.name`, which says how the backend computes.
    """
    backend, *words = name.replace(":", " ").split()
    if backend == "fake":
        return 0.0
    if {"int8", "int4"} & set(words):
        return QUANTISED
    if known := [BOUNDS[word] for word in (option.rpartition("=")[2] for option in words) if word in BOUNDS]:
        return known[-1]
    return None if backend == "openai" else QUANTISED
