"""show: what a run, an index, a prompt, a published model or a dataset holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from limrank.cli._files import index_folder
from limrank.cli._filled import show_filled
from limrank.cli._published import show_model
from limrank.cli._shown_run import show_run
from limrank.cli._terminal import emit_json, table
from limrank.errors import BadFile, LimrankError, Unknown

# Endings of run files, which no dataset has.
RUNS = (".trec", ".gz", ".run", ".res", ".txt")
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
        if not name:
            raise LimrankError("show model needs a name; limrank list models has them all")
        show_model(name, as_json=as_json)
    elif name:
        raise LimrankError(f"show {thing} {name}: only 'prompt' and 'model' are followed by a name")
    elif path.is_file() and not thing.endswith(".toml"):
        show_run(path, query=query, dataset=dataset, k=k, as_json=as_json)
    elif path.suffix in RUNS:
        raise BadFile(f"{path}: no such file")
    elif thing.endswith(".toml") or thing in prompt.names():
        _show_prompt(thing, as_json=as_json)
    elif (path / "manifest.json").is_file() or (Path("indexes") / thing / "manifest.json").is_file():
        print((index_folder(thing) / "manifest.json").read_text(encoding="utf-8"), end="")
    else:
        _show_dataset(thing, query=query, as_json=as_json)


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
