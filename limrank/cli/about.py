"""demo, list, show, doctor, completion: finding out what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from limrank.cli._files import index_folder
from limrank.cli._terminal import emit_json, table
from limrank.errors import LimrankError, Unknown

AsJson = Annotated[bool, Parameter(name="--json", negative=())]
KINDS = ("datasets", "llms", "methods", "index-kinds", "prompts", "measures", "indexes", "runs")


def list_(
    what: Literal[
        "datasets", "llms", "methods", "index-kinds", "prompts", "measures", "indexes", "runs", "all"
    ] = "all",
    /,
    *,
    as_json: AsJson = False,
) -> None:
    """List what there is to name on a command line.

    Args:
        what: One kind of thing; default: all kinds.
        as_json: For programs.
    """
    kinds = KINDS if what == "all" else (what,)
    found = {kind: _names(kind) for kind in kinds}
    if as_json:
        emit_json(found)
    else:
        table(["kind", "name", ""], ((kind, name, about) for kind in kinds for name, about in found[kind].items()))


def _names(kind: str) -> dict[str, str]:
    """Name and one line about it."""
    from limrank import plugins, prompt

    if kind == "prompts":
        return {name: prompt.load(name, needs=()).source for name in prompt.names()}
    if kind == "indexes":
        return {str(path.parent): "" for path in sorted(Path("indexes").rglob("manifest.json"))}
    if kind == "runs":
        return {str(path): "" for path in sorted(Path("runs").rglob("*.trec*")) if path.suffix in (".trec", ".gz")}
    if kind == "measures":
        from limrank.evaluate.measures import describe

        return describe()
    group = {"datasets": "datasets", "llms": "llm", "methods": "rerank", "index-kinds": "retrieve"}[kind]
    return {name: _summary(plugins.find(group, name)) for name in plugins.names(group)}


def _summary(module: object) -> str:
    return (getattr(module, "__doc__", "") or "").strip().partition("\n")[0]


def show(
    thing: str,
    /,
    *,
    query: Annotated[str, Parameter(name=["--query", "-q"])] = "",
    dataset: Annotated[str, Parameter(name=["--dataset", "-d"])] = "",
    k: int = 10,
    as_json: AsJson = False,
) -> None:
    """Show a run, an index, a prompt or a dataset.

    Args:
        thing: A run file, an index folder, a dataset, or the name of a prompt.
        query: With a run: this query's documents; with a dataset: this query.
        dataset: With a run and a query: the dataset whose texts and judgments are shown beside the scores.
        k: Documents to show.
        as_json: For programs.
    """
    from limrank import prompt

    path = Path(thing)
    if path.is_file() and not thing.endswith(".toml"):
        _show_run(path, query=query, dataset=dataset, k=k, as_json=as_json)
    elif thing.endswith(".toml") or thing in prompt.names():
        _show_prompt(thing, as_json=as_json)
    elif (path / "manifest.json").is_file() or (Path("indexes") / thing / "manifest.json").is_file():
        print((index_folder(thing) / "manifest.json").read_text(encoding="utf-8"), end="")
    else:
        _show_dataset(thing, query=query, as_json=as_json)


def _show_run(path: Path, *, query: str, dataset: str, k: int, as_json: bool) -> None:
    from limrank.manifest import path_of
    from limrank.run import Run

    run = Run.read(path)
    if not query:
        manifest = json.loads(path_of(path).read_text(encoding="utf-8")) if path_of(path).exists() else {}
        sizes = [len(run.doc_ids(query_id)) for query_id in run]
        about = {
            "queries": len(run),
            "documents": sum(sizes),
            "fewest": min(sizes, default=0),
            "most": max(sizes, default=0),
        }
        if as_json:
            emit_json({"run": run.name, **about, "manifest": manifest})
        else:
            table(["run", *about], [[run.name, *about.values()]])
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
    rows = [
        {"rank": rank, "doc_id": doc.doc_id, "score": doc.score, "relevance": relevance.get(doc.doc_id)}
        | ({"text": texts[doc.doc_id]} if texts else {})
        for rank, doc in enumerate(run[query][:k], 1)
    ]
    if as_json:
        emit_json({"run": run.name, "query_id": query, "query": wording, "documents": rows})
        return
    if wording:
        print(f"{query}: {wording}\n")
    shown = ([row["rank"], row["doc_id"], f"{row['score']:.6g}", _level(row["relevance"]), _line(row)] for row in rows)
    table(["rank", "document", "score", "relevance", "text"], shown)


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


def doctor(*, as_json: AsJson = False) -> int:
    """Say what is installed, which Java and device are used, what is missing and how to get it.

    Exit code 1 when something is missing that the main job needs.

    Args:
        as_json: For programs.
    """
    from limrank.doctor import examine

    findings = list(examine())
    if as_json:
        emit_json([finding._asdict() for finding in findings])
    else:
        table(["", "", "", ""], ((found.state, found.what, found.detail, found.remedy) for found in findings))
    return 1 if any(finding.state == "missing" for finding in findings) else 0


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a completion script; for bash: limrank completion bash > ~/.local/share/bash-completion/completions/limrank

    Args:
        shell: The shell it is for.
    """
    from limrank.cli import application

    print(application().generate_completion(shell=shell))


def demo(*, folder: Path = Path("runs/demo"), depth: int = 5) -> int:
    """Index, retrieve, fuse, rerank and compare on Python's own documentation; needs no network and no GPU.

    Every step is a command that can be typed; a step that was finished before is not done again.

    Args:
        folder: Where the runs go.
        depth: Documents per query that the language model reads.
    """
    from limrank.demo import steps, take

    if depth < 1:
        raise LimrankError(f"--depth {depth}: at least one document has to be reranked")
    return take(steps(folder, depth=depth))
