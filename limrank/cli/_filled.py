"""A prompt filled with a real query and document, as a model is sent it: as text, or token by token."""

from __future__ import annotations

from typing import Any

from limrank.cli._terminal import emit_json, table
from limrank.errors import LimrankError, Mismatch, Unknown
from limrank.records import Document, Part, Query, Request

# Documents that a prompt for several is filled with.
EXAMPLES = 5


def show_filled(name: str, *, dataset: str, query: str, doc: str, llm: str, tokens: bool, as_json: bool) -> None:
    """Print the prompt `name` for one query and one document.

    Raises:
        LimrankError: Dataset or query is missing; or the backend has no tokenizer here and tokens are wanted.
        Unknown: The dataset has no such query.
        Mismatch: The query has no relevant document, and none was named.
    """
    from limrank import prompt
    from limrank.llm import open_llm
    from limrank.rerank import LLM_SPEC

    if not (dataset and query):
        raise LimrankError("to fill a prompt, give both --dataset and --query")
    loaded = prompt.load(name)
    asked, documents = _example(dataset, query, doc, most=EXAMPLES if loaded.many else 1)
    document = documents[0]
    filled = loaded.fill_list(asked, documents) if loaded.many else loaded.fill(asked, document)
    choices = loaded.choice_parts + ((loaded.fill_target(asked, document),) if loaded.target else ())
    request = Request(filled.messages, shared=filled.shared, cut=filled.cut, choices=choices)
    model = open_llm(llm or LLM_SPEC)
    tokenizer: Any = getattr(model, "tokens", None)
    if tokenizer is None and tokens:
        raise LimrankError(f"{model.name} has no tokenizer on this machine; leave --tokens out")
    parts = tokenizer.segments(request).parts if tokenizer else tuple(p for m in filled.messages for p in m.parts)
    if tokens:
        encoded = tokenizer.encode(request, getattr(model, "max_length"))  # noqa: B009 - of models with a tokenizer
        named = tokenizer.tokenizer.convert_ids_to_tokens(encoded.ids)
        rows = [(i, text, "control" if i in tokenizer.control else "") for i, text in zip(encoded.ids, named)]
        if as_json:
            emit_json({"model": model.name, "ids": encoded.ids, "tokens": named, "dropped": encoded.dropped})
        else:
            table(["place", "id", "token", ""], [[place, *row] for place, row in enumerate(rows)])
            print(f"{len(rows)} tokens for {model.name}; the first {encoded.shared} are computed once per query")
    elif as_json:
        emit_json({"model": model.name, "doc_id": document.doc_id, "parts": [part._asdict() for part in parts]})
    else:
        print(_text(parts))
        for part in choices:
            print(f"[choice] {part.text!r}")


def _example(dataset: str, query: str, doc: str, *, most: int) -> tuple[Query, list[Document]]:
    from limrank.datasets import open_dataset

    opened = open_dataset(dataset)
    queries = {found.query_id: found for found in opened.queries()}
    if query not in queries:
        raise Unknown.among(f"query in {opened.name}", query, queries)
    chosen = [doc] if doc else sorted(opened.qrels().relevant(query))[:most]
    if not chosen:
        raise Mismatch(f"query {query!r} of {opened.name} has no relevant document; name one with --doc")
    texts = opened.lookup(chosen)
    return queries[query], [texts[doc_id] for doc_id in chosen]


def _text(parts: tuple[Part, ...]) -> str:
    return "".join(part.text for part in parts)
