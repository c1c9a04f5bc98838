"""The first question that a method asks about a query, as a model is sent it: as text, or token by token.

The method itself is run, with a model that only keeps what it is asked, so that whatever a method does to a prompt
(words that it cuts, labels that it takes out of passages, an empty thought) is in it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from limrank.cli._stages import Stage, stages_of
from limrank.cli._terminal import emit_json, note, table
from limrank.errors import LimrankError, Mismatch, Unknown
from limrank.prompt import Prompt
from limrank.records import Message, Request, ScoredDoc

if TYPE_CHECKING:
    from limrank.rerank import Job

# Documents that a method for several is shown.
EXAMPLES = 5


def show_filled(
    name: str,
    *,
    model: str,
    method: str,
    dataset: str,
    query: str,
    doc: str,
    llm: str,
    tokens: bool,
    as_json: bool,
) -> None:
    """Print what is asked first about one query, with the prompt `name`, or the one of a published model.

    Raises:
        LimrankError: Dataset or query is missing; or the method asks no language model; or there is no tokenizer here
            and tokens are wanted.
        Unknown: The dataset has no such query.
        Mismatch: The query has no relevant document, and none was named.
    """
    from limrank import prompt
    from limrank.estimate import Plan, questions
    from limrank.llm._counting import tokens_of
    from limrank.rerank import LLM_SPEC

    if not (dataset and query):
        raise LimrankError("to fill a prompt, give both --dataset and --query")
    method = method or ("" if model else _method_of(prompt.load(name, needs=())))
    [stage] = stages_of(model=model, method=method, llm=llm, prompt=name, mix=None, depth=None, then=())
    job = _example(dataset, query, doc)
    asked = questions(Plan(stage.method, stage.llm, stage.prompt, stage.depth), job)
    llm = stage.llm or LLM_SPEC
    tokenizer, about = tokens_of(llm)
    if tokenizer is None:
        if tokens:
            raise LimrankError(f"no tokenizer: {about}; leave --tokens out")
        note(f"without a chat template: {about}")
    note(f"{stage.method}, {llm}: what is asked first about query {query!r}")
    limit = _limit(llm) if tokenizer else sys.maxsize
    if tokens:
        _show_tokens(asked[0], llm, tokenizer, limit, as_json=as_json)
    else:
        _show_text(asked, stage, llm, tokenizer, limit, as_json=as_json)


def _show_tokens(request: Request, llm: str, tokenizer: Any, limit: int, *, as_json: bool) -> None:
    encoded = tokenizer.encode(request, limit)
    named = tokenizer.tokenizer.convert_ids_to_tokens(encoded.ids)
    if as_json:
        emit_json({"model": llm, "ids": encoded.ids, "tokens": named, "dropped": encoded.dropped})
        return
    rows = [(i, text, "control" if i in tokenizer.control else "") for i, text in zip(encoded.ids, named)]
    table(["place", "id", "token", ""], [[place, *row] for place, row in enumerate(rows)])
    print(f"{len(rows)} tokens for {llm}; the first {encoded.shared} are computed once per query")


def _show_text(asked: list[Request], stage: Stage, llm: str, tokenizer: Any, limit: int, *, as_json: bool) -> None:
    request = asked[0]
    # A thought comes first; what is compared behind it is asked for next.
    behind = next((one for one in asked if one.after and one.doc_ids == request.doc_ids), request)
    choices = [part.text for part in (request.choices or behind.choices)]
    parts = tokenizer.segments(request).parts if tokenizer else [p for m in request.messages for p in m.parts]
    encoded = tokenizer.encode(request, limit) if tokenizer else None
    if as_json:
        emit_json(
            {
                "model": llm,
                "method": stage.method,
                "doc_ids": request.doc_ids,
                "parts": [part._asdict() for part in parts],
                "dropped": encoded.dropped if encoded else 0,
                "max_tokens": request.max_tokens,
                "stop": request.stop,
                "choices": choices,
            }
        )
        return
    if encoded and encoded.dropped:
        print(tokenizer.tokenizer.decode(encoded.ids, clean_up_tokenization_spaces=False))
        print(f"[cut] {encoded.dropped} tokens of passages that do not fit into {limit}")
    elif tokenizer:
        print("".join(part.text for part in parts))
    else:
        print("\n".join(map(_said, request.messages)))
    if request.max_tokens:
        until = "".join(f", until {text!r}" for text in request.stop)
        print(f"[answer] at most {request.max_tokens} tokens{until}")
    for text in choices:
        print(f"[choice] {text!r}")


def _said(message: Message) -> str:
    return (f"[{message.role}]\n" if message.role else "") + "".join(part.text for part in message.parts)


def _method_of(loaded: Prompt) -> str:
    """The method whose prompt it is, or the one that asks in its form."""
    from limrank import plugins

    for name in plugins.names("rerank"):
        module = plugins.find("rerank", name)
        if getattr(module, "PROMPT", "") == loaded.name and "llm" in plugins.wants(module.load):
            return name
    if loaded.many:
        return "listwise logits=true" if loaded.choices else "listwise"
    return "likelihood" if loaded.target else "pointwise"


def _limit(llm: str) -> int:
    """Tokens of prompt and answer that the model takes, as far as that is known here."""
    from limrank import plugins
    from limrank.llm import open_llm

    options = plugins.parse_spec(llm).options
    if said := int(options.get("max_length", 0)):
        return said
    return int(getattr(open_llm(llm), "max_length", sys.maxsize))


def _example(dataset: str, query: str, doc: str) -> Job:
    """The query with the named document, its relevant ones, and others that are judged, as far as EXAMPLES."""
    from limrank.datasets import open_dataset
    from limrank.rerank import Job

    opened = open_dataset(dataset)
    queries = {found.query_id: found for found in opened.queries()}
    if query not in queries:
        raise Unknown.among(f"query in {opened.name}", query, queries)
    qrels = opened.qrels()
    chosen = [doc] if doc else sorted(qrels.relevant(query))
    if not chosen:
        raise Mismatch(f"query {query!r} of {opened.name} has no relevant document; name one with --doc")
    others = (doc_id for query_id in qrels for doc_id in sorted(qrels[query_id]))
    chosen = list(dict.fromkeys([*chosen, *others]))[:EXAMPLES]
    texts = opened.lookup(chosen)
    first_stage = tuple(ScoredDoc(doc_id, -float(i)) for i, doc_id in enumerate(chosen))
    return Job(queries[query], tuple(texts[doc_id] for doc_id in chosen), first_stage)
