"""Text from a causal model: batches, stop strings, budgets and seeds of their own for every row.

Knows nothing of prompts; token ids go in, token ids and text come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from limrank.llm._calls import digest


class Task(NamedTuple):
    """Ids to continue, and how; as in `Request`."""

    ids: Sequence[int]
    max_tokens: int
    stop: tuple[str, ...]
    temperature: float
    seed: int


class Written(NamedTuple):
    """New text and its ids (without the end-of-text token), and why it ends: `stop`, `eos` or `length`."""

    text: str
    ids: tuple[int, ...]
    finish_reason: str


def write(model: Any, tokenizer: Any, tasks: Sequence[Task]) -> list[Written]:
    """Continue every task; greedy, or sampled with noise that depends on the task alone."""
    import torch
    from transformers import GenerationConfig

    width = max(len(task.ids) for task in tasks)
    ids = torch.zeros((len(tasks), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, task in enumerate(tasks):
        ids[i, width - len(task.ids) :] = torch.tensor(list(task.ids))
        mask[i, width - len(task.ids) :] = 1
    ends = Ends(tokenizer, tasks, width, _eos_ids(model, tokenizer))
    # A plain configuration: a model's own may bring a repetition penalty, which makes greedy something else.
    plain = GenerationConfig(do_sample=False, eos_token_id=None, pad_token_id=0, bos_token_id=model.config.bos_token_id)
    usual, model.generation_config = model.generation_config, plain
    try:
        with torch.inference_mode():
            out = model.generate(
                ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=max(task.max_tokens for task in tasks),
                stopping_criteria=[ends],
                logits_processor=[_Noise(tasks, width)],
            )
    finally:
        model.generation_config = usual
    return [ends.written(i, row[width:]) for i, row in enumerate(out.tolist())]


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    ids = getattr(model.generation_config, "eos_token_id", None)
    listed = ids if isinstance(ids, list) else [ids]
    return frozenset(i for i in [*listed, tokenizer.eos_token_id] if i is not None)


class Ends:
    """Says after every step which rows have ended, and remembers where."""

    def __init__(self, tokenizer: Any, tasks: Sequence[Task], width: int, eos: frozenset[int]) -> None:
        self.tokenizer, self.tasks, self.width, self.eos = tokenizer, tasks, width, eos
        self.ends: dict[int, tuple[int, str]] = {}
        # A token is at least one byte, so the stop string and what may stick to it are within this many tokens.
        self.windows = [max((len(stop.encode()) for stop in task.stop), default=0) + 8 for task in tasks]

    def __call__(self, ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        new = ids[:, self.width :].tolist()
        for i, row in enumerate(new):
            if i not in self.ends and (reason := self.reason(i, row)):
                self.ends[i] = (len(row), reason)
        return torch.tensor([i in self.ends for i in range(len(new))], device=ids.device)

    def reason(self, i: int, row: list[int]) -> str:
        """Why row i ends with its last token, or nothing; `ends` is the caller's to keep."""
        task = self.tasks[i]
        if row[-1] in self.eos:
            return "eos"
        if task.stop and any(stop in self._decode(row[-self.windows[i] :]) for stop in task.stop):
            return "stop"
        return "length" if len(row) >= task.max_tokens else ""

    def written(self, i: int, row: list[int]) -> Written:
        length, reason = self.ends.get(i, (len(row), "length"))
        ids = tuple(row[: length - (reason == "eos")])
        text = self._decode(ids)
        if reason == "stop":
            text = text[: min(text.find(stop) + len(stop) for stop in self.tasks[i].stop if stop in text)]
        return Written(text, ids, reason)

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


class _Noise:
    """Makes the largest logit a sample: Gumbel noise on logits / temperature, seeded by task and step.

    So a row's text does not depend on which rows are beside it, as it would with one generator for the batch.
    """

    def __init__(self, tasks: Sequence[Task], width: int) -> None:
        self.width = width
        self.tasks = {i: (task, digest(task.seed, list(task.ids))) for i, task in enumerate(tasks) if task.temperature}

    def __call__(self, ids: Any, scores: Any) -> Any:
        import torch

        step = ids.shape[1] - self.width
        for i, (task, key) in self.tasks.items():
            generator = torch.Generator().manual_seed(int.from_bytes(digest(key.hex(), step)[:7]))
            uniform = torch.rand(scores.shape[1], generator=generator, dtype=torch.float64).clamp_(1e-300, 1 - 1e-16)
            noise = -torch.log(-torch.log(uniform))
            scores[i] = scores[i] / task.temperature + noise.to(scores)
        return scores
