"""Prompts to token ids, with the promise that untrusted text never becomes a control token.

The prompt is tokenised as a whole, as in training; only where a special or added token (`<|im_end|>`, `<think>`) would
be read inside, or half inside, an untrusted part is the text cut in the middle of that match and its pieces encoded
apart. An over-long prompt loses the ends of the parts that may be shortened, never the template or the query; what a
model wrote itself may quote untrusted text, and is no more trusted where it goes back as text.
Knows nothing of models.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from limrank.errors import LimrankError
from limrank.records import Message, Part, Request, Response

# What stands for a part while the chat template is rendered: private-use characters, which no template looks at.
SENTINEL = re.compile("\ue000(\\d+|shared)\ue001")
CLOSED = re.compile(r"</[^<>\s]+>$")
# A trusted tail at least this long decides by itself how what follows it is tokenised.
TAIL = 8
LINE = Part("\n", trusted=True)
# As many characters of a thought are looked at, for the same purpose.
CONTEXT = 64
# Tokens that a part at `cut` keeps: a verdict about less would be one about nothing.
LEAST = 16


class Unencodable(LimrankError):
    """A request that cannot become tokens: it is too long, or a character of it is itself a control token."""


class Segments(NamedTuple):
    """A rendered prompt in pieces.

    Attributes:
        parts: Texts in order.
        shared: How many of them all requests of the query have in common.
        cut: The indices of those that may be shortened.
        special: Whether the tokenizer's own leading tokens (a BOS) belong before it.
    """

    parts: tuple[Part, ...]
    shared: int
    cut: tuple[int, ...]
    special: bool


class Encoded(NamedTuple):
    """A prompt as token ids.

    Attributes:
        ids: All of them.
        shared: How many leading ids are also the leading ids of the shared text alone.
        dropped: How many tokens of the parts at `cut` were left out.
        choices: The ids of each choice.
    """

    ids: list[int]
    shared: int
    dropped: int
    choices: tuple[list[int], ...]


class Tokens:
    """A transformers tokenizer that tells trusted text from untrusted."""

    def __init__(self, tokenizer: Any) -> None:
        """Wrap a fast tokenizer.

        Raises:
            LimrankError: It is a slow one, which cannot say where in the text a token comes from.
        """
        if not getattr(tokenizer, "is_fast", False):
            raise LimrankError(f"{type(tokenizer).__name__} is a slow tokenizer; limrank needs a tokenizer.json")
        self.tokenizer = tokenizer
        self.backend = tokenizer.backend_tokenizer
        self.backend.no_truncation()
        self.backend.no_padding()
        known = {tokenizer.convert_ids_to_tokens(i): i for i in tokenizer.all_special_ids} | tokenizer.get_added_vocab()
        # Runs of spaces are added tokens in some vocabularies; they control nothing, and cutting them would hurt.
        self.control = frozenset(i for token, i in known.items() if token.strip())
        self.unknown = tokenizer.unk_token_id
        self.leading = self._leading()
        self._shared: tuple[Segments | None, list[int]] = (None, [])
        self._skeleton = functools.lru_cache(64)(self._render)
        self._after_tail = functools.lru_cache(1024)(self._continuation)

    def encode(self, request: Request, max_length: int) -> Encoded:
        """The request's prompt and choices, shortened to leave room for the choices, `max_tokens` and `reserve`.

        Raises:
            LimrankError: What is kept for the answer leaves no room for any prompt.
            Unencodable: It does not fit even with `LEAST` tokens of each part at `cut`, or cannot be encoded safely.
        """
        segments = self.segments(request)
        after = request.after
        before = continued(request)
        choices = tuple(self.choice(segments, choice, before) for choice in request.choices)
        if (left := max_length - request.max_tokens - request.reserve) <= 0:
            raise LimrankError(
                f"the model takes {max_length} tokens, and {max_length - left} are to be kept for the answer, which "
                "leaves none for the prompt; lower the budget, or let the model take more"
            )
        room = left - max((len(ids) - 1 for ids in choices), default=0)
        if after:
            ids, dropped = self._shortened(segments, after.truncated_tokens)
            ids += self._continued(after, request.bridge)
        else:
            ids, dropped = self._fitted(segments, room)
        if len(ids) > room:
            raise Unencodable(
                f"the prompt has {len(ids)} tokens without what may be cut, the model takes {room}"
                + (f" and {max_length - room} for the answer" if room < max_length else "")
            )
        common = sum(
            1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(ids, self.shared_ids(segments)))
        )
        return Encoded(ids, common, dropped, choices)

    def segments(self, request: Request) -> Segments:
        """The prompt in pieces; a chat is rendered by the model's template, which never sees untrusted text.

        Raises:
            LimrankError: The tokenizer has no chat template, or it leaves a message out.
        """
        parts = tuple(part for message in request.messages for part in message.parts)
        if [message.role for message in request.messages] == [""]:
            return Segments(parts, request.shared, request.cut, special=True)
        pieces = self._skeleton(_with_sentinels(request.messages, request.shared))
        rendered: list[Part] = []
        shared, cut = -1, []
        for piece in pieces:
            if isinstance(piece, int):
                shared = len(rendered) if piece >= request.shared and shared < 0 else shared
                if piece in request.cut:
                    cut.append(len(rendered))
                rendered.append(parts[piece])
            elif piece == "shared":
                shared = len(rendered)
            else:
                rendered.append(Part(piece[1:], trusted=True))
        return Segments(tuple(rendered), shared if shared >= 0 else len(rendered), tuple(cut), special=False)

    def choice(self, segments: Segments, choice: Part, after: tuple[Part, ...] = ()) -> list[int]:
        """The ids of a continuation, tokenised in context where that leaves the context's own ids as they are.

        Raises:
            Unencodable: It has no tokens.
        """
        tail = tuple(part._replace(text=part.text[-CONTEXT:]) for part in after) or segments.parts
        if tail and tail[-1].trusted and len(tail[-1].text) >= TAIL:
            tail = tail[-1:]
        if ids := self._after_tail(tail, choice) if len(tail) == 1 else self._continuation(tail, choice):
            return ids
        raise Unencodable(f"the choice {choice.text!r} has no tokens")

    def ids(self, parts: Iterable[Part]) -> list[int]:
        """Token ids of texts in a row, without leading special tokens."""
        return self._encode(tuple(parts))[0]

    def _continued(self, after: Response, bridge: str) -> list[int]:
        """The ids of an answer and the bridge behind it: the answer's own, as far as they spell its text.

        An answer that was shortened loses ids; what the rest of them do not spell is tokenised with the bridge.
        """
        ids = list(after.token_ids)
        if ids and not bridge:
            return ids
        while (spelt := self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)) and (
            not after.text.startswith(spelt)
        ):
            ids.pop()
        rest = after._replace(text=after.text[len(spelt) :])
        return ids + self.ids(_behind(rest, bridge))

    def _fitted(self, segments: Segments, room: int) -> tuple[list[int], int]:
        """The ids, and how many tokens had to be dropped from the parts at `cut`; it may still be too long."""
        ids, dropped = self._shortened(segments, 0)
        if not segments.cut:
            return ids, 0
        # What is left may be tokenised a little differently, so the first count can be off by one or two.
        while len(ids) > room:
            shorter, more = self._shortened(segments, dropped + len(ids) - room)
            if more == dropped:
                break
            ids, dropped = shorter, more
        return ids, dropped

    def _shortened(self, segments: Segments, drop: int) -> tuple[list[int], int]:
        """The ids when the parts at `cut` lack `drop` tokens at their ends, or all but LEAST; and how many they lack.

        The longest parts lose first.
        """
        parts = list(segments.parts)
        if drop:
            starts = self._encode(segments.parts)[1]
            ends = list(itertools.accumulate(len(part.text) for part in parts))
            inside = {}
            for i in segments.cut:
                begin = ends[i] - len(parts[i].text)
                inside[i] = [start - begin for start in starts if begin <= start < ends[i]]
            kept = [
                max(keep, min(len(inside[i]), LEAST))
                for i, keep in zip(segments.cut, _levelled([len(inside[i]) for i in segments.cut], drop))
            ]
            drop = sum(map(len, inside.values())) - sum(kept)
            for i, keep in zip(segments.cut, kept):
                if keep < len(inside[i]):
                    parts[i] = Part(parts[i].text[: inside[i][keep]], parts[i].trusted)
        ids = self._encode(tuple(parts))[0]
        return (self.leading + ids if segments.special else ids), drop

    def _encode(self, parts: tuple[Part, ...]) -> tuple[list[int], list[int]]:
        """Ids, and for each the place in the joined text where it starts."""
        text = "".join(part.text for part in parts)
        spans = list(_untrusted(parts))
        cuts: set[int] = set()
        while True:
            ids: list[int] = []
            starts: list[int] = []
            found: set[int] = set()
            bounds = sorted({0, *cuts, len(text)})
            for begin, end in itertools.pairwise(bounds):
                encoding = self.backend.encode(text[begin:end], add_special_tokens=False)
                offsets = encoding.offsets
                ids += encoding.ids
                starts += [begin + start for start, _ in offsets]
                if not self.control.isdisjoint(encoding.ids):
                    for i, (start, stop) in zip(encoding.ids, offsets):
                        if i in self.control:
                            found |= self._forbidden(i, text, begin + start, begin + stop, spans)
            if not found:
                return ids, starts
            cuts |= found

    def _forbidden(self, i: int, text: str, start: int, stop: int, spans: list[tuple[int, int]]) -> set[int]:
        """Where to cut so that text[start:stop] is not read as the control token i; empty where it may be."""
        for begin, end in spans:
            if start < end and begin < stop:
                if stop - start > 1:
                    return {max(start + 1, begin)}
                if i == self.unknown:
                    return set()  # a character that the vocabulary lacks, not a command
                raise Unencodable(f"the character {text[start:stop]!r} is a control token of this tokenizer")
        return set()

    def _continuation(self, tail: tuple[Part, ...], choice: Part) -> list[int]:
        before, joint = self.ids(tail), self.ids((*tail, choice))
        if joint[: len(before)] == before:
            return joint[len(before) :]
        # Apart, but not as the beginning of a text, where SentencePiece puts a blank before the first word.
        line, behind = self.ids((LINE,)), self.ids((LINE, choice))
        return behind[len(line) :] if behind[: len(line)] == line else self.ids((choice,))

    def shared_ids(self, segments: Segments) -> list[int]:
        """The ids of the shared text alone."""
        text = segments._replace(parts=segments.parts[: segments.shared], cut=())
        if self._shared[0] != text:
            self._shared = (text, self._shortened(text, 0)[0])
        return self._shared[1]

    def _leading(self) -> list[int]:
        plain = self.tokenizer("a", add_special_tokens=False).input_ids
        full: list[int] = self.tokenizer("a").input_ids
        for start in range(len(full) - len(plain) + 1):
            if full[start : start + len(plain)] == plain:
                return full[:start]
        return []

    def _render(self, messages: tuple[tuple[str, str], ...]) -> list[int | str]:
        """A rendered chat in pieces: numbers of parts, the word `shared`, and the template's texts after an '='."""
        if not self.tokenizer.chat_template:
            raise LimrankError("this model has no chat template; use a prompt with format = 'completion'")
        prefilled = messages[-1][0] == "assistant"
        text: str = self.tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in messages],
            tokenize=False,
            add_generation_prompt=not prefilled,
            continue_final_message=prefilled,
        )
        wanted = {name for _, content in messages for name in SENTINEL.findall(content)}
        if lost := wanted - set(SENTINEL.findall(text)):
            raise LimrankError(
                f"this model's chat template leaves part {min(lost)} of the prompt out; is the role known?"
            )
        pieces: list[int | str] = []
        for i, piece in enumerate(SENTINEL.split(text)):
            if i % 2:
                pieces.append(piece if piece == "shared" else int(piece))
            elif piece:
                pieces.append("=" + piece)
        return pieces


def continued(request: Request) -> tuple[Part, ...]:
    """What stands behind the prompt: an earlier answer, which is the model's word only, and the bridge."""
    return _behind(request.after, request.bridge) if request.after else ()


def _behind(after: Response, bridge: str) -> tuple[Part, ...]:
    # The tag that ended an answer is whose question it was.
    ending = CLOSED.search(after.text) if after.finish_reason == "stop" else None
    place = ending.start() if ending else len(after.text)
    said = Part(after.text[:place], trusted=False), Part(after.text[place:] + bridge, trusted=True)
    return tuple(part for part in said if part.text)


def _levelled(lengths: list[int], drop: int) -> list[int]:
    """What is left of each length when `drop` is taken from the longest, again and again; of equals, from the last."""
    left = max(sum(lengths) - drop, 0)
    kept = [0] * len(lengths)
    # From the shortest on: each keeps all it has, or its even share of what is left.
    for place, i in enumerate(sorted(range(len(lengths)), key=lambda i: (lengths[i], i))):
        others = len(lengths) - place
        kept[i] = min(lengths[i], -(-left // others))
        left -= kept[i]
    return kept


def _with_sentinels(messages: tuple[Message, ...], shared: int) -> tuple[tuple[str, str], ...]:
    """Roles and contents, with a sentinel for each untrusted part and one before the first part that is not shared."""
    result, index = [], 0
    for message in messages:
        content = []
        for part in message.parts:
            if not part.trusted:
                content.append(f"\ue000{index}\ue001")
            else:
                content.append(("\ue000shared\ue001" if index == shared else "") + part.text)
            index += 1
        result.append((message.role, "".join(content)))
    return tuple(result)


def _untrusted(parts: tuple[Part, ...]) -> Iterator[tuple[int, int]]:
    place = 0
    for part in parts:
        if not part.trusted and part.text:
            yield place, place + len(part.text)
        place += len(part.text)
