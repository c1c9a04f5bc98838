"""MonoT5: a T5 that answers "true" or "false" behind query and passage, `monot5:castorini/monot5-base-msmarco-10k`.

The score is ln P(true) - ln P(false), both at the decoder's first step. An over-long prompt loses the end of its
passage, never the query or the words behind it; those who cut at the end of the prompt lose the question itself.

Source: Nogueira et al. 2020, arXiv:2003.06713.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from limrank.errors import BadFile, LimrankError
from limrank.extras import require
from limrank.llm._tokens import Encoded, Tokens, Unencodable
from limrank.llm._weights import Weights, find, quiet
from limrank.prompt import Prompt
from limrank.records import Document, Part, Query, Request
from limrank.rerank._scored import Outcome, Scored

PROMPT = "monot5"


def load(
    model: str,
    prompt: Prompt,
    calls: Path | None = None,
    *,
    revision: str | None = None,
    mix: float = 1.0,
    batch: int = 32,
    max_length: int = 512,
    dtype: Literal["float32", "bfloat16"] = "float32",
    device: str = "auto",
) -> Scored:
    """A reranker that scores with a T5; its weights are read when the first query is scored.

    Args:
        model: A hub id or a folder.
        prompt: A completion with two choices, the relevant one first; each must be one token of the model.
        calls: The file that keeps scores, one line a query.
        revision: Of a hub id: branch, tag or commit.
        mix: Weight of the model against the first stage, 0 to 1; 1 shows the model's own score.
        batch: Passages of a forward pass; changes rounding only.
        max_length: Tokens of the prompt.
        dtype: Of the weights; T5 does not survive float16.
        device: `auto` is `cuda` where there is one, else `cpu`.

    Raises:
        BadFile: The prompt is a chat, or has not two choices.
        LimrankError: No model is named, or a number is out of range.
        Unknown: There is no such model.
    """
    if not model:
        raise LimrankError("monot5 needs a model: a hub id or folder, as in monot5:castorini/monot5-base-msmarco-10k")
    if len(prompt.choices) != 2 or [role for role, _ in prompt.messages] != [""]:
        raise BadFile(f"prompt {prompt.name}: monot5 needs a completion with two choices, the relevant one first")
    if batch < 1 or max_length < 1:
        raise LimrankError(f"batch={batch} max_length={max_length}: expected at least 1")
    weights = find(model, revision=revision)
    identity = f"{weights.name} {dtype} max_length={max_length} prompt={prompt.sha256}"

    @functools.cache
    def t5() -> _T5:
        return _T5(weights, prompt, max_length=max_length, dtype=dtype, device=device)

    def score(query: str, texts: Sequence[str]) -> Sequence[Outcome]:
        return t5().log_odds(query, texts, batch=batch)

    return Scored("monot5", identity, score, calls=calls, mix=mix)


class _T5:
    """Weights and tokenizer."""

    def __init__(self, weights: Weights, prompt: Prompt, *, max_length: int, dtype: str, device: str) -> None:
        import torch

        transformers = require("transformers")
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        place: dict[str, Any] = {"revision": weights.revision}
        with quiet():
            model = transformers.AutoModelForSeq2SeqLM.from_pretrained(weights.location, dtype=dtype, **place)
        self.model = model.eval().to(self.device)
        self.tokens = Tokens(transformers.AutoTokenizer.from_pretrained(weights.location, **place))
        self.prompt, self.max_length = prompt, max_length
        self.labels = [self._label(choice, weights.name) for choice in prompt.choices]

    def log_odds(self, query: str, texts: Sequence[str], *, batch: int) -> list[Outcome]:
        """ln P(first choice) - ln P(second) for each text; none where the query leaves no room for it."""
        outcomes: dict[int, Outcome] = {}
        prompts: dict[int, Encoded] = {}
        for i, text in enumerate(texts):
            try:
                prompts[i] = self._encoded(query, text)
            except Unencodable as error:
                outcomes[i] = Outcome(None, str(error))
        shortest_first = sorted(prompts, key=lambda i: len(prompts[i].ids))
        for start in range(0, len(shortest_first), batch):
            places = shortest_first[start : start + batch]
            # T5 reads to its end-of-text token, which a decoder's prompt does not have.
            rows = [[*prompts[i].ids, self.tokens.tokenizer.eos_token_id] for i in places]
            for i, value in zip(places, self._scored(rows)):
                outcomes[i] = Outcome(value, truncated=prompts[i].dropped > 0)
        return [outcomes[i] for i in range(len(texts))]

    def _encoded(self, query: str, text: str) -> Encoded:
        filled = self.prompt.fill(Query("", query), Document("", text))
        return self.tokens.encode(Request(filled.messages, shared=filled.shared, cut=filled.cut), self.max_length - 1)

    def _scored(self, rows: Sequence[list[int]]) -> Iterator[float]:
        import torch

        width = max(map(len, rows))
        config = self.model.config
        ids = torch.tensor([row + [config.pad_token_id] * (width - len(row)) for row in rows], device=self.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self.device)
        begin = torch.full((len(rows), 1), config.decoder_start_token_id, device=self.device)
        with torch.inference_mode():
            logits = self.model(input_ids=ids, attention_mask=mask, decoder_input_ids=begin).logits[:, 0, self.labels]
        first, second = logits.float().unbind(dim=1)
        yield from (first - second).tolist()

    def _label(self, choice: str, name: str) -> int:
        ids = self.tokens.ids((Part(choice, trusted=True),))
        if len(ids) != 1:
            raise LimrankError(
                f"prompt {self.prompt.name}: the choice {choice!r} is {len(ids)} tokens for {name}; monot5 needs "
                "choices of one token"
            )
        return ids[0]
