"""Pairs per second of pointwise scoring: the usual loops over transformers against limrank's backend, in one process.

    python speed/pointwise.py RUN DATASET --queries 10 --candidates 50
    python speed/pointwise.py RUN DATASET --query-texts bright/biology/queries.jsonl
    python speed/pointwise.py RUN DATASET --queries 1 --candidates 16 --reason 64

All score the same (query, passage) pairs with the same weights, dtype and prompt. Printed are ratios to the first row,
measured side by side, round after round, and how far each row's log-odds are from the first row's; absolute times are
this machine's, on this day. The rows:

    one by one        a prompt at a time, last position only
    left-padded       batches of 8 in the order of the run, padded on the left, logits of every position
    length-sorted     batches of 8 by length, last position only
    limrank           the backend, without the shared prefix
    limrank, prefix   the backend, as it is
    llama.cpp         the llamacpp backend, as it is, in float32 (where llama-cpp-python is installed)

The bound is what sharing could bring if time were only a matter of tokens: all tokens over those left when what a
query's prompts share is counted once. `--query-texts` puts the texts of a file (JSON lines with `text`) in the place of
the dataset's queries, for queries of another length. `--reason N` measures generation instead: N tokens a pair.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from limrank import prompt as prompts
from limrank.datasets import open_dataset
from limrank.llm import LLM, open_llm
from limrank.llm.transformers import Transformers
from limrank.records import Request
from limrank.rerank import Job
from limrank.rerank._ranking import sigmoid
from limrank.rerank.pointwise import _request
from limrank.run import Run

BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("dataset")
    parser.add_argument("--queries", type=int, default=2)
    parser.add_argument("--candidates", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--prompt", default="true-false")
    parser.add_argument("--query-texts")
    parser.add_argument("--reason", type=int, default=0)
    options = parser.parse_args()
    spec = f"transformers:{options.model} dtype={options.dtype}"
    with_prefix, without = open_llm(spec), open_llm(f"{spec} prefix=false")
    assert isinstance(with_prefix, Transformers) and isinstance(without, Transformers)
    without.__dict__.update(model=with_prefix.model, tokens=with_prefix.tokens)
    requests = read(options)
    if options.reason:
        reason(with_prefix, requests, options.reason)
        return
    pairs = [with_prefix.tokens.encode(request, with_prefix.max_length) for request in requests]
    ids = [pair.ids for pair in pairs]
    labels = [choice[0] for choice in pairs[0].choices]
    model = with_prefix.model
    rows: dict[str, Callable[[], list[float]]] = {
        "one by one": lambda: one_by_one(model, ids, labels),
        "left-padded": lambda: left_padded(model, ids, labels),
        "length-sorted": lambda: length_sorted(model, ids, labels),
        "limrank": lambda: ours(without, requests),
        "limrank, prefix": lambda: ours(with_prefix, requests),
    }
    if importlib.util.find_spec("llama_cpp"):
        llama = open_llm(f"llamacpp:{options.model} dtype=float32")
        rows["llama.cpp"] = lambda: ours(llama, requests)
        ours(llama, requests[:1])
    tokens, shared = sum(map(len, ids)), sum(pair.shared for pair in pairs)
    once = sum({request.query_id: pair.shared for request, pair in zip(requests, pairs)}.values())
    print(
        f"{with_prefix.name}: {len(ids)} pairs, {tokens / len(ids):.0f} tokens a pair, {shared / tokens:.0%} of them "
        f"shared; unique tokens bound the ratio at {tokens / (tokens - shared + once):.2f}"
    )
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    scores: dict[str, list[float]] = {}
    one_by_one(model, ids[:2], labels)
    for _ in range(options.rounds):
        for name, row in rows.items():
            start = time.perf_counter()
            scores[name] = row()
            seconds[name].append(time.perf_counter() - start)
            print(f"{name}: {seconds[name][-1]:.1f} s", flush=True)
    first = next(iter(rows))
    print(f"{'':16} pairs/s   ratio   max difference of log-odds, of the score")
    for name in rows:
        best = min(seconds[name])
        pairs_of_odds = list(zip(scores[name], scores[first]))
        odds = max(abs(a - b) for a, b in pairs_of_odds)
        score = max(abs(sigmoid(a) - sigmoid(b)) for a, b in pairs_of_odds)
        print(f"{name:16} {len(ids) / best:7.2f} {min(seconds[first]) / best:7.2f}   {odds:.1e}   {score:.1e}")


def read(options: argparse.Namespace) -> list[Request]:
    """The pairs as pointwise would ask about them."""
    dataset, run = open_dataset(options.dataset), Run.read(options.run)
    prompt = prompts.load(options.prompt)
    requests = []
    queries = [query for query in dataset.queries() if query.query_id in run][: options.queries]
    if options.query_texts:
        with Path(options.query_texts).open(encoding="utf-8") as lines:
            queries = [query._replace(text=json.loads(line)["text"]) for query, line in zip(queries, lines)]
    for query in queries:
        best = tuple(run[query.query_id][: options.candidates])
        documents = dataset.lookup(doc.doc_id for doc in best)
        job = Job(query, tuple(documents[doc.doc_id] for doc in best), best)
        requests += [_request(job, i, prompt, thinks=False)._replace(query_id=query.query_id) for i in range(len(best))]
    return requests


def reason(llm: Transformers, requests: Sequence[Request], budget: int) -> None:
    """Tokens per second of a thought for every pair: `generate` for one prompt at a time, and the backend."""
    thoughts = [request._replace(choices=(), max_tokens=budget) for request in requests]
    naive = [llm.tokens.encode(request, llm.max_length).ids for request in thoughts]
    llm.model.generation_config.pad_token_id = 0

    def one_at_a_time() -> int:
        options = {"max_new_tokens": budget, "do_sample": False}
        ids = [torch.tensor([row]) for row in naive]
        with torch.inference_mode():
            rows = [llm.model.generate(row, attention_mask=torch.ones_like(row), **options) for row in ids]
        return sum(out.shape[1] - row.shape[1] for out, row in zip(rows, ids))

    def batched() -> int:
        answers = [answer for delivery in llm.generate(iter(thoughts)) for _, answer in delivery]
        return sum(answer.completion_tokens + (answer.finish_reason == "eos") for answer in answers)

    print(f"{llm.name}: {len(naive)} prompts of {sum(map(len, naive)) / len(naive):.0f} tokens, {budget} to write")
    for name, write in {"one at a time": one_at_a_time, "limrank": batched}.items():
        start = time.perf_counter()
        written = write()
        seconds = time.perf_counter() - start
        print(f"{name:16} {written} tokens in {seconds:.1f} s, {written / seconds:.1f} a second", flush=True)


def ours(llm: LLM, requests: Sequence[Request]) -> list[float]:
    found = dict(pair for delivery in llm.generate(iter(requests)) for pair in delivery)
    return [found[i].logprobs[0] - found[i].logprobs[1] for i in range(len(requests))]


def one_by_one(model: Any, ids: list[list[int]], labels: list[int]) -> list[float]:
    scores = []
    with torch.inference_mode():
        for row in ids:
            logits = model(torch.tensor([row], device=model.device), logits_to_keep=1).logits[0, -1].float()
            scores.append((logits[labels[0]] - logits[labels[1]]).item())
    return scores


def left_padded(model: Any, ids: list[list[int]], labels: list[int], *, last_only: bool = False) -> list[float]:
    scores = []
    with torch.inference_mode():
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            width = max(map(len, batch))
            tokens = torch.tensor([[0] * (width - len(row)) + row for row in batch], device=model.device)
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch], device=model.device)
            logits = model(tokens, attention_mask=mask, logits_to_keep=int(last_only)).logits[:, -1].float()
            scores += (logits[:, labels[0]] - logits[:, labels[1]]).tolist()
    return scores


def length_sorted(model: Any, ids: list[list[int]], labels: list[int]) -> list[float]:
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    scores = left_padded(model, [ids[i] for i in order], labels, last_only=True)
    return [score for _, score in sorted(zip(order, scores))]


if __name__ == "__main__":
    main()
