"""Prompts for engines that always generate a token, even where only the prompt is looked at: that needs room, too."""

from __future__ import annotations

from limrank.llm._tokens import Encoded, Tokens
from limrank.records import Request


def encode(tokens: Tokens, request: Request, max_length: int) -> Encoded:
    """The request's prompt and choices, as `Tokens.encode`, but a token shorter where the model would be full.

    Raises:
        Unencodable: It does not fit.
    """
    encoded = tokens.encode(request, max_length)
    # A choice of several tokens is put behind the prompt; one of a single token is what is generated.
    behind = max([request.max_tokens, 1, *(len(choice) + 1 for choice in encoded.choices if len(choice) > 1)])
    over = len(encoded.ids) + behind - max_length
    return tokens.encode(request, max_length - over) if over > 0 else encoded
