"""Embedding speed: torch against the exported graph on onnxruntime and OpenVINO, same texts, one process.

    python speed/encode.py [DATASET or folder] [--documents N] [--repeats N] [--model M]

Prints documents per second (median of the repeats, backends in turn), the ratio to torch, and the least cosine between
a backend's vector and torch's. Exits with 1 when that is below 0.9999.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time

import numpy as np

from limrank.datasets import open_dataset
from limrank.records import contents
from limrank.retrieve._encode import Backend, open_encoder
from limrank.retrieve._models import DEFAULT, find_model

BACKENDS: tuple[Backend, ...] = ("torch", "onnx", "openvino")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="stdlib")
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default=DEFAULT)
    arguments = parser.parse_args()
    texts = [contents(document) for document in open_dataset(arguments.dataset).documents()]
    # Every n-th document: a corpus often begins with the shortest.
    step = max(1, len(texts) // arguments.documents)
    sys.exit(compare(list(itertools.islice(texts, 0, None, step)), arguments.model, repeats=arguments.repeats))


def compare(texts: list[str], model: str, *, repeats: int) -> int:
    found = find_model(model)
    encoders = {backend: open_encoder(found, backend=backend) for backend in BACKENDS}
    vectors = {backend: encoder.encode(texts[:8]) for backend, encoder in encoders.items()}
    seconds: dict[str, list[float]] = {backend: [] for backend in encoders}
    for _ in range(repeats):
        for backend, encoder in encoders.items():
            started = time.perf_counter()
            vectors[backend] = encoder.encode(texts)
            seconds[backend].append(time.perf_counter() - started)
    medians = {backend: statistics.median(times) for backend, times in seconds.items()}
    lengths = {backend: np.linalg.norm(rows, axis=1) for backend, rows in vectors.items()}
    least = 1.0
    print(f"{found.name}, {len(texts)} documents of {sum(map(len, texts)) // len(texts)} characters")
    for backend, median in medians.items():
        products = (vectors[backend] * vectors["torch"]).sum(axis=1) / lengths[backend] / lengths["torch"]
        least = min(least, float(products.min()))
        print(
            f"{backend:<9} {len(texts) / median:7.1f} documents/s  {medians['torch'] / median:4.1f} times torch"
            f"  least cosine {products.min():.6f}"
        )
    return 0 if least >= 0.9999 else 1


if __name__ == "__main__":
    main()
