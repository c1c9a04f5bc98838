"""show: what a run, an index, a prompt, a published model or a dataset holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from limrank.cli._files import index_folder
from limrank.cli._filled import show_filled
from limrank.cli._published import show_model
from limrank.cli._terminal import emit_json, table
from limrank.errors import LimrankError, Unknown
from limrank.records import Response

AsJson = Annotated[bool, Parameter(name="--json", negative=())]


def show(
    thing: str,
    name: str = "",
    /,
    *,
    query: Annotated[str, Parameter(name=["--query", "-q"])] = "",
    dataset: Annotated[str, Parameter(name=["--dataset", "-d"])] = "",
    doc: str = "",
    k: int = 10,
    model: str = "",
    method: str = "",
    llm: str = "",
    tokens: Annotated[bool, Parameter(negative=())] = False,
    as_json: AsJson = False,
) -> None:
    """Show a run, an index, a prompt, a published model or a dataset.

    `limrank show prompt NAME --dataset D --query Q` renders what a method sends first about a query, as it sends it.

    Args:
        thing: A run file, an index folder, a dataset, the word "prompt" and a prompt's name or file, or the word
            "model" and the name of a published reranker.
        name: Of the prompt or model.
        query: With a run: this query's documents; with a dataset: this query; with a prompt: fill it with this query.
        dataset: Whose texts and judgments are shown beside the scores, or fill the prompt.
        doc: With a prompt: fill it with this document; default: the first relevant one. Where it takes several, those
            that follow are other relevant and judged ones.
        k: Documents to show.
        model: With a prompt: as this published model is asked; its prompt needs no name.
        method: With a prompt: as this method asks, "pointwise think=none"; default: the method whose prompt it is.
        llm: With a prompt: render it for this model's chat template and tokenizer; default: transformers:smollm2, or
            the weights of --model.
        tokens: With a prompt: token by token, control tokens marked.
        as_json: For programs.
    """
    from limrank import prompt

    path = Path(thing)
    given = {"--doc": doc, "--model": model, "--method": method, "--llm": llm, "--tokens": tokens}
    if thing != "prompt" and (odd := [option for option, value in given.items() if value]):
        raise LimrankError(f"{odd[0]} is for a prompt: show prompt NAME {odd[0]} ...")
    if thing == "prompt":
        if not (name or model):
            raise LimrankError(f"show prompt needs a name: {', '.join(prompt.names())}, or a TOML file, or --model")
        if query or dataset or any(given.values()):
            place = {"dataset": dataset, "query": query, "doc": doc}
            show_filled(name, model=model, method=method, llm=llm, **place, tokens=tokens, as_json=as_json)
        else:
            _show_prompt(name, as_json=as_json)
    elif thing == "model":
        show_model(name, as_json=as_json)
    elif name:
        raise LimrankError(f"show {thing} {name}: only 'prompt' and 'model' are followed by a name")
    elif path.is_file() and not thing.endswith(".toml"):
        _show_run(path, query=query, dataset=dataset, k=k, as_json=as_json)
    elif thing.endswith(".toml") or thing in prompt.names():
        _show_prompt(thing, as_json=as_json)
    elif (path / "manifest.json").is_file() or (Path("indexes") / thing / "manifest.json").is_file():
        print((index_folder(thing) / "manifest.json").read_text(encoding="utf-8"), end="")
    else:
        _show_dataset(thing, query=query, as_json=as_json)


def _show_run(path: Path, *, query: str, dataset: str, k: int, as_json: bool) -> None:
    from limrank.manifest import Manifest, path_of
    from limrank.run import Run

    run = Run.read(path)
    if not query:
        manifest = Manifest.read(path).__dict__ if path_of(path).exists() else {}
        sizes = [len(run.doc_ids(query_id)) for query_id in run]
        about = {
            "queries": len(run),
            "documents": sum(sizes),
            "fewest": min(sizes, default=0),
            "most": max(sizes, default=0),
        }
        noise = _noise(manifest)
        if as_json:
            emit_json({"run": run.name, **about, **noise, "manifest": manifest})
        else:
            table(["run", *about], [[run.name, *about.values()]])
            for bound in noise.values():
                told = "how its server rounds is not known here" if bound is None else f"up to {bound:g}"
                print(f"rounding (batches, kernels; says nothing about documents) moves a probability by: {told}")
            print(json.dumps(manifest, indent=2, ensure_ascii=False) if manifest else "no manifest")
        return
    if query not in run:
        raise Unknown.among(f"query in {path}", query, run)
    texts, relevance, wording = {}, {}, ""
    if dataset:
        from limrank.datasets import open_dataset
        from limrank.records import contents

        opened = open_dataset(dataset)
        texts = {doc_id: contents(found) for doc_id, found in opened.lookup(run.doc_ids(query)[:k]).items()}
        relevance = dict(opened.qrels().get(query, {}))
        wording = next((found.text for found in opened.queries() if found.query_id == query), "")
    said = _said(path, query)
    rows = [
        {"rank": rank, "doc_id": doc.doc_id, "score": doc.score, "relevance": relevance.get(doc.doc_id)}
        | ({"text": texts[doc.doc_id]} if texts else {})
        | said.get((doc.doc_id,), {})
        for rank, doc in enumerate(run[query][:k], 1)
    ]
    of_several = [{"doc_ids": doc_ids, **answer} for doc_ids, answer in said.items() if len(doc_ids) > 1]
    if as_json:
        emit_json({"run": run.name, "query_id": query, "query": wording, "documents": rows, "answers": of_several})
        return
    if wording:
        print(f"{query}: {wording}\n")
    headings = ["rank", "document", "score", *(["status"] if said else []), "relevance", "text"]
    shown = (
        [row["rank"], row["doc_id"], f"{row['score']:.6g}"]
        + ([row.get("status", "-")] if said else [])
        + [_level(row["relevance"]), _line(row)]
        for row in rows
    )
    table(headings, shown)
    for row in [*rows, *of_several]:
        if row.get("thought") or row.get("error"):
            named = row.get("doc_id") or " ".join(row["doc_ids"])
            print(f"\n--- {named} [{row['status']}]\n{row.get('thought') or row['error']}")


def _noise(manifest: dict[str, Any]) -> dict[str, float | None]:
    """How far arithmetic alone may move a score of a run that a language model has reranked."""
    from limrank.llm import rounding

    method = manifest.get("parameters", {}).get("method")
    return {"rounding": rounding(method["model"])} if isinstance(method, dict) and "prompt" in method else {}


def _said(path: Path, query: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """Per document (or documents asked about together): how the answer ended, the log-odds, and what was thought.

    The last verdict decides the status, or the last answer where it is a failure or there is no verdict. A thought in
    pieces is put together; several thoughts (samples, or other options earlier) are paragraphs.
    """
    from limrank.llm import recorded_answers

    calls = path.with_name(path.name + ".calls.jsonl")
    answers: dict[tuple[str, ...], list[Response]] = {}
    for doc_ids, answer in recorded_answers(calls, query) if calls.is_file() else ():
        answers.setdefault(doc_ids, []).append(answer)
    return {doc_ids: _put_together(of_these) for doc_ids, of_these in answers.items()}


def _put_together(answers: Sequence[Response]) -> dict[str, Any]:
    thoughts, goes_on = [""], True
    for answer in answers:
        if answer.text:
            thoughts += [] if goes_on else [""]
            thoughts[-1] += answer.text
            goes_on = answer.finish_reason == "length"
        elif answer.status != "ok":
            # A forced verdict closed the thought; a look at the labels that is `ok` may be followed by more of it.
            goes_on = False
    verdicts = [answer for answer in answers if answer.logprobs]
    decides = verdicts[-1] if verdicts and answers[-1].status in ("ok", "forced") else answers[-1]
    about: dict[str, Any] = {"status": decides.status, "thought": "\n\n".join(thoughts), "error": decides.error}
    if len(decides.logprobs) == 2:
        about["log_odds"] = decides.logprobs[0] - decides.logprobs[1]
    return about


def _level(relevance: object) -> str:
    return "-" if relevance is None else str(relevance)


def _line(row: dict[str, object]) -> str:
    text = " ".join(str(row.get("text", "")).split())
    return text if len(text) <= 100 else text[:97] + "..."


def _show_prompt(name: str, *, as_json: bool) -> None:
    from limrank import prompt

    loaded = prompt.load(name, needs=())
    if as_json:
        emit_json(
            {
                "name": loaded.name,
                "sha256": loaded.sha256,
                "source": loaded.source,
                "messages": [{"role": role, "text": text} for role, text in loaded.messages],
                "choices": list(loaded.choices),
                "target": loaded.target,
            }
        )
        return
    print(f"{loaded.name}  sha256 {loaded.sha256}\nsource: {loaded.source}\n")
    for role, text in loaded.messages:
        print(f"[{role or 'completion'}]\n{text}\n")
    if loaded.choices:
        print("choices: " + ", ".join(map(repr, loaded.choices)))
    if loaded.target:
        print(f"target: {loaded.target!r}")


def _show_dataset(name: str, *, query: str, as_json: bool) -> None:
    from limrank.datasets import open_dataset

    dataset = open_dataset(name)
    queries = {found.query_id: found for found in dataset.queries()}
    if query:
        if query not in queries:
            raise Unknown.among(f"query in {dataset.name}", query, queries)
        found, judged = queries[query], dict(dataset.qrels().get(query, {}))
        if as_json:
            emit_json({**found._asdict(), "qrels": judged})
        else:
            print(f"{found.query_id}: {found.text}" + (f"\n{found.instruction}" if found.instruction else ""))
            best_first = sorted(judged, key=lambda doc_id: -judged[doc_id])
            table(["document", "relevance"], ([doc_id, judged[doc_id]] for doc_id in best_first))
        return
    qrels = dataset.qrels()
    about = {
        "dataset": dataset.name,
        "revision": dataset.revision,
        "queries": len(queries),
        "judged queries": len(qrels),
        "judgments": sum(map(len, qrels.values())),
        "relevant": sum(len(qrels.relevant(query_id)) for query_id in qrels),
        "queries with exclusions": len(dataset.excluded()),
    }
    if as_json:
        emit_json(about)
    else:
        table(["", ""], list(about.items()))
