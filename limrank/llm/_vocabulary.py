"""llama.cpp's tokenizer in the shape of a fast one of transformers, as far as `_tokens` looks at one.

llama.cpp does not say where in the text a token comes from. It is found by laying the tokens' pieces along the text:
they are the text, but for a space put before or left out beside a token. Where they are not, nothing is encoded.
Every control token is parsed, and reported with its place: what of that is allowed is decided by `_tokens`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from limrank.extras import require
from limrank.llm._llama import Model
from limrank.llm._tokens import Unencodable

# llama_token_attr
UNKNOWN, CONTROL, USER_DEFINED = 1, 8, 16


class Encoding(NamedTuple):
    """Token ids, and where in the text each one starts and stops."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class Ids(NamedTuple):
    """Token ids."""

    input_ids: list[int]


class Vocabulary:
    """The vocabulary of a model."""

    is_fast = True

    def __init__(self, model: Model) -> None:
        self._lib, self._vocab = model.lib, model.vocab
        self.backend_tokenizer = self
        self.chat_template = model.metadata("tokenizer.chat_template")
        size = self._lib.llama_vocab_n_tokens(self._vocab)
        attributes = [self._lib.llama_vocab_get_attr(self._vocab, i) for i in range(size)]
        self.all_special_ids = [i for i, attribute in enumerate(attributes) if attribute & (CONTROL | UNKNOWN)]
        self.unk_token_id = next((i for i, attribute in enumerate(attributes) if attribute & UNKNOWN), None)
        self.ends = frozenset(i for i in range(size) if self._lib.llama_vocab_is_eog(self._vocab, i))
        self._added = [i for i, attribute in enumerate(attributes) if attribute & USER_DEFINED]
        self._piece = functools.lru_cache(None)(self._read_piece)

    def no_truncation(self) -> None:
        """It never truncates."""

    def no_padding(self) -> None:
        """It never pads."""

    def get_added_vocab(self) -> dict[str, int]:
        """Tokens that are found in any text and are not special, by their text."""
        return {self.convert_ids_to_tokens(i): i for i in self._added}

    def convert_ids_to_tokens(self, i: int) -> str:
        """The token's text."""
        return self.decode([i])

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        """The tokens' text, control tokens too; half a character becomes U+FFFD."""
        return b"".join(map(self._piece, ids)).decode("utf-8", "replace")

    def __call__(self, text: str, add_special_tokens: bool = True) -> Ids:
        return Ids(self._tokenize(_bytes(text), add_special_tokens))

    def encode(self, text: str, add_special_tokens: bool = False) -> Encoding:
        """Ids with their places.

        Raises:
            Unencodable: The tokens are not the text's.
        """
        ids = self._tokenize(_bytes(text), add_special_tokens)
        # A character's number for each of the text's bytes, and one more for its end.
        characters = list(itertools.chain.from_iterable([i] * len(_bytes(text[i])) for i in range(len(text))))
        spans = _laid_along([self._piece(i) for i in ids], _bytes(text))
        characters.append(len(text))
        return Encoding(ids, [(characters[a], characters[b - 1] + 1 if b > a else characters[a]) for a, b in spans])

    def apply_chat_template(
        self,
        messages: list[dict[str, str]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
        continue_final_message: bool,
    ) -> str:
        """A chat as the model's template has it."""
        render = require("transformers.utils.chat_template_utils").render_jinja_template
        named = {"bos_token": self._lib.llama_vocab_bos, "eos_token": self._lib.llama_vocab_eos}
        tokens = {name: self.decode([i]) for name, find in named.items() if (i := find(self._vocab)) >= 0}
        [text], _ = render(
            [messages],
            chat_template=self.chat_template,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
            **tokens,
        )
        return str(text)

    def _tokenize(self, data: bytes, add_special: bool) -> list[int]:
        size = len(data) + 8
        while True:
            buffer = (self._lib.llama_token * size)()
            count = self._lib.llama_tokenize(self._vocab, data, len(data), buffer, size, add_special, True)
            if count >= 0:
                return list(buffer[:count])
            size = -count

    def _read_piece(self, token: int) -> bytes:
        import ctypes

        buffer = ctypes.create_string_buffer(512)
        length = self._lib.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, True)
        return bytes(buffer.raw[: max(length, 0)])


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _laid_along(pieces: Sequence[bytes], data: bytes) -> list[tuple[int, int]]:
    """Where in the data each piece starts and stops.

    Raises:
        Unencodable: The pieces are something else than the data.
    """
    spans = []
    place = 0
    for piece in pieces:
        start = place
        while not data.startswith(piece, start):
            if piece[:1] == b" " and data.startswith(piece[1:], start):
                piece = piece[1:]  # the space that some tokenizers begin every text with
                break
            if not data[start : start + 1].isspace():
                raise Unencodable(f"the model's tokenizer changes the text at byte {start}, so it cannot be told apart")
            start += 1  # white space beside a control token, which some tokenizers swallow
        place = start + len(piece)
        spans.append((start, place))
    if data[place:].strip():
        raise Unencodable(f"the model's tokenizer leaves out the text from byte {place} on")
    return spans
