"""Make training examples for rerankers that reason: from simple queries to judged passages with their reasoning.

A stage takes examples and gives examples, or says of each that it drops why; between stages they are JSON lines. What
models are told is data (prompts/*.toml). Knows nothing of training, and of models only that they answer.

    queries   a seed query becomes the question of somebody in particular         (personas, domains, difficulty)
    passages  a thought about the query, then passages that answer it, or seem to (reasoning, kinds of negatives)
    reason    a judge reasons about each passage and decides                      (the training format)
    filter    what is malformed, leaks, repeats, or is part of a benchmark, goes  (filters, decontamination)
    export    instruction/output, prompt/completion, graded pairs, permutations, a card

Source: LimRank-Synthesizer (arXiv:2510.23544), whose stages these are; its prompts and counts are not published.
"""

from __future__ import annotations

from limrank.synthesize.examples import Dropped, Example, ExampleFile, Judgment, Outcome, kept

__all__ = ["Dropped", "Example", "ExampleFile", "Judgment", "Outcome", "kept"]
