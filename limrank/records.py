"""The values that stages hand to each other: immutable, with names and no methods.

Every field name is the field's standard term. Knows nothing of files, models or metrics.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Status: TypeAlias = Literal["ok", "forced", "malformed", "failed"]


class Query(NamedTuple):
    """What a user wants; `instruction` narrows what counts as relevant and may be empty."""

    query_id: str
    text: str
    instruction: str = ""


class Document(NamedTuple):
    """What can be found. `title` is empty where the collection has none."""

    doc_id: str
    text: str
    title: str = ""


class ScoredDoc(NamedTuple):
    """A document in a ranking; a larger score is better."""

    doc_id: str
    score: float


class Part(NamedTuple):
    """A piece of a message.

    `trusted` text comes from a prompt file and may hold control tokens; untrusted text (queries, passages) never
    becomes one, whatever it says.
    """

    text: str
    trusted: bool


class Message(NamedTuple):
    """One turn. A completion prompt is a single message with the empty role."""

    role: str
    parts: tuple[Part, ...]


class Response(NamedTuple):
    """What a language model answered, and how it ended.

    `logprobs[i]` is the natural-log probability of the request's `choices[i]` after the prompt, summed over its
    `choice_tokens[i]` tokens, from the full distribution. Nothing here may be read as a verdict unless `status` is
    "ok" or "forced"; `error` says why not. `version` is what a server calls the model that answered, where that is more
    exact than the name it was asked under.
    """

    text: str = ""
    status: Status = "ok"
    logprobs: tuple[float, ...] = ()
    choice_tokens: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    truncated_tokens: int = 0
    finish_reason: str = ""
    seconds: float = 0.0
    error: str = ""
    version: str = ""


class Request(NamedTuple):
    """A question to a language model.

    Attributes:
        messages: The prompt, trusted and untrusted parts apart.
        query_id: Requests of one query arrive together and share the first `shared` parts; a backend computes those
            once. Neither field changes an answer.
        doc_ids: The documents the question is about, in the order of the prompt; for the record, never sent.
        shared: Leading parts, counted over all messages, that all requests of this query have in common.
        max_tokens: Tokens to generate; 0 only scores `choices`.
        reserve: Tokens that stay free behind the answer, for what will be asked after it; a prompt is cut to leave
            room for them.
        stop: Strings that end generation; the one that did is kept at the end of the text.
        choices: Continuations whose log-probabilities are wanted. A part that is not trusted cannot become a
            control token here either.
        cut: Indices, over all messages, of the parts that may lose their ends when the prompt is too long; the
            longest loses first, so that in the end all that were cut are equally long.
        temperature: 0 is greedy.
        seed: For temperature above 0.
        after: Continue behind this earlier answer to the same messages, from its token ids; where its text has been
            shortened, from those that the text still has.
        bridge: Trusted text between `after` and what follows, such as the tag that closes a thought.
        schema: JSON schema, as text, of the answer; a backend that can holds the model to it, others leave it out, so
            that whoever asks checks the answer.
    """

    messages: tuple[Message, ...]
    query_id: str = ""
    doc_ids: tuple[str, ...] = ()
    shared: int = 0
    max_tokens: int = 0
    stop: tuple[str, ...] = ()
    choices: tuple[Part, ...] = ()
    cut: tuple[int, ...] = ()
    temperature: float = 0.0
    seed: int = 0
    after: Response | None = None
    bridge: str = ""
    reserve: int = 0
    schema: str = ""


def contents(document: Document) -> str:
    """The text that is indexed, embedded and shown to a model: title, a space, text."""
    return f"{document.title} {document.text}" if document.title else document.text
