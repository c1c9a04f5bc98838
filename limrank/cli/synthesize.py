"""synthesize: training examples from simple queries, all at once or stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from limrank.cli._synthesis import (
    datasets_of,
    export_files,
    mix_of,
    run_stage,
    show_page,
    tell,
    tell_cost,
    tell_estimate,
)
from limrank.cli._terminal import emit_json
from limrank.errors import LimrankError

AsJson = Annotated[bool, Parameter(name="--json", negative=())]
Force = Annotated[bool, Parameter(name="--force", negative=())]
DryRun = Annotated[bool, Parameter(name="--dry-run", negative=())]
Words = Annotated[list[str], Parameter(consume_multiple=True)]
Disagreement = Literal["drop", "relabel"]

synthesize = App(
    name="synthesize",
    help="Make training examples for rerankers that reason.",
    help_epilogue="limrank synthesize alone runs all stages, from seed queries to training files, into one folder. "
    "Every answer of a model is kept before it is used: the same command, given again, asks for nothing twice.",
    result_action="return_value",
)


@synthesize.default
def whole(
    *,
    seeds: str,
    teacher: str,
    count: int,
    out: Path,
    judge: str = "",
    mix: Words | None = None,
    instruction: float = 0.25,
    domains: Words | None = None,
    personas: Path | None = None,
    positives: int = 1,
    negatives: int = 3,
    samples: int = 1,
    agreement: float = 0.5,
    disagreement: Disagreement = "drop",
    against: Words | None = None,
    prompts: Path | None = None,
    validation: float = 0.05,
    tokenizer: str = "",
    seed: int = 0,
    max_failed: int = 0,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """All stages, from seed queries to training files, into one folder.

    Each stage is a command of its own, too, with more options: limrank synthesize queries, passages, reason, filter,
    export, show. Every answer is kept before it is used: the same command, interrupted and given again, asks for
    nothing twice.

    Args:
        seeds: A file of queries, or a dataset whose queries are the seeds.
        teacher: "backend:model key=value ...": who writes queries, thoughts and passages.
        count: Queries to be made.
        out: The folder.
        judge: Who judges; default: the teacher.
        mix: Shares as daily-life=1 expert-domain=1 direct=1 indirect=1 multi-hop=1; only ratios count.
        instruction: Share of queries with an instruction.
        domains: Only people of these; see limrank/synthesize/personas.jsonl
        personas: JSON lines with persona and domain; default: the shipped ones.
        positives: Passages of a query that are written to be relevant.
        negatives: Passages of a query that are written not to be, each of another kind.
        samples: Judgments of each passage.
        agreement: Share of the samples that must agree.
        disagreement: What becomes of a passage that is not judged as intended.
        against: Datasets whose queries and documents may not be among the examples; default: BRIGHT, FollowIR and
            LitSearch, so far as they are on this machine; "none" for none.
        prompts: A folder of TOML files that replace shipped prompts of the same name.
        validation: Share of the seeds that are for validation.
        tokenizer: A model of the backend transformers, whose tokens the card counts.
        seed: Another draw.
        max_failed: Examples that may get no answer, in each stage; one whose answer cannot be read is dropped.
        dry_run: Say what it would ask, and ask nothing.
        force: Make every stage again, whatever is there; recorded answers are still used.
        as_json: Print the manifests.
    """
    from limrank import plugins
    from limrank.llm import open_llm
    from limrank.synthesize import stages
    from limrank.synthesize.export import check, counted_tokens
    from limrank.synthesize.judgment import Vote
    from limrank.synthesize.passages import Kinds

    # What the last stage cannot use would come to light when all else is paid for.
    check(formats=(), validation=validation)
    for spec in filter(None, (teacher, judge)):
        plugins.find("llm", plugins.parse_spec(spec)[0])
    mixed, kinds = mix_of(mix, instruction, seed), Kinds(positives, negatives, seed=seed)
    vote = Vote(samples, agreement, disagreement, seed)
    if dry_run:
        tell_estimate(
            seeds,
            count=count,
            mix=mixed,
            kinds=kinds,
            vote=vote,
            people=personas,
            domains=domains or (),
            prompts=prompts,
            as_json=as_json,
        )
        return
    if tokenizer:
        counted_tokens(tokenizer)
    datasets = datasets_of(against)
    writer = open_llm(teacher)
    names = ("1-queries", "2-passages", "3-reasoned", "4-filtered")
    first, second, third, fourth = (out / f"{name}.jsonl" for name in names)
    made = stages.of_queries(
        seeds, writer, count=count, mix=mixed, people=personas, domains=domains or (), prompts=prompts
    )
    manifests = [run_stage(made, first, force=force, max_failed=max_failed)]
    made = stages.of_passages(first, writer, kinds=kinds, prompts=prompts)
    manifests.append(run_stage(made, second, force=force, max_failed=max_failed))
    judging = open_llm(judge) if judge else writer
    made = stages.of_judgments(second, judging, vote=vote, prompts=prompts)
    manifests.append(run_stage(made, third, force=force, max_failed=max_failed))
    manifests.append(run_stage(stages.of_filters(third, against=datasets), fourth, force=force))
    manifests.append(
        export_files(
            fourth, out / "export", formats=(), validation=validation, seed=seed, tokenizer=tokenizer, force=force
        )
    )
    show_page(fourth, out / "show.html", most=12, seed=seed)
    tell(manifests, as_json=as_json)


@synthesize.command(sort_key=1)
def queries(
    *,
    seeds: str,
    teacher: str,
    count: int,
    out: Path,
    mix: Words | None = None,
    instruction: float = 0.25,
    domains: Words | None = None,
    personas: Path | None = None,
    prompts: Path | None = None,
    seed: int = 0,
    max_failed: int = 0,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Queries of different people, fields and difficulty from simple seed queries.

    Beside the examples, <out>.queries/queries.jsonl holds the queries as a dataset, to retrieve passages for.

    Args:
        seeds: A file of queries, or a dataset whose queries are the seeds.
        teacher: "backend:model key=value ...".
        count: Queries to be made.
        out: The file of examples.
        mix: Shares as daily-life=1 expert-domain=1 direct=1 indirect=1 multi-hop=1; only ratios count.
        instruction: Share of queries with an instruction.
        domains: Only people of these.
        personas: JSON lines with persona and domain; default: the shipped ones.
        prompts: A folder of TOML files that replace shipped prompts of the same name.
        seed: Another draw.
        max_failed: Queries that the model may fail on.
        dry_run: Say what it would ask, and ask nothing.
        force: Make it again, whatever is there; recorded answers are still used.
        as_json: Print the manifest.
    """
    from limrank.llm import open_llm
    from limrank.synthesize import ExampleFile, stages
    from limrank.synthesize.judgment import query_text
    from limrank.synthesize.stage import Nobody, write_queries

    stage = stages.of_queries(
        seeds,
        Nobody() if dry_run else open_llm(teacher),
        count=count,
        mix=mix_of(mix, instruction, seed),
        people=personas,
        domains=domains or (),
        prompts=prompts,
    )
    if dry_run:
        tell_cost(stage, as_json=as_json)
        return
    manifest = run_stage(stage, out, force=force, max_failed=max_failed)
    dataset = out.with_name(f"{out.name}.queries") / "queries.jsonl"
    write_queries(((example.query_id, query_text(example)) for example in ExampleFile(out)), dataset)
    tell([manifest], as_json=as_json)


@synthesize.command(sort_key=2)
def passages(
    examples: Path,
    /,
    *,
    teacher: str,
    out: Path,
    positives: int = 1,
    negatives: int = 3,
    kinds: Words | None = None,
    mine: Path | None = None,
    corpus: str = "",
    prompts: Path | None = None,
    seed: int = 0,
    max_failed: int = 0,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """A thought about each query, and from it passages that answer it, and hard negatives.

    Args:
        examples: What limrank synthesize queries made.
        teacher: "backend:model key=value ...".
        out: The file of examples.
        positives: Passages of a query that are written to be relevant.
        negatives: Those that are written not to be, each of another kind; or mined.
        kinds: wrong-aspect, same-words, other-condition, outdated, contradicts, ignores-instruction; default: all
        mine: A run of the queries: negatives are documents of its ranks 5 to 50 instead of written ones.
        corpus: The dataset whose documents that run has.
        prompts: A folder of TOML files that replace shipped prompts of the same name.
        seed: Another draw.
        max_failed: Examples that may get no answer; one whose answer cannot be read is dropped.
        dry_run: Say what it would ask, and ask nothing.
        force: Make it again, whatever is there; recorded answers are still used.
        as_json: Print the manifest.
    """
    from limrank.datasets import open_dataset
    from limrank.llm import open_llm
    from limrank.synthesize import stages
    from limrank.synthesize.passages import NEGATIVES, Kinds
    from limrank.synthesize.stage import Nobody

    if bool(mine) != bool(corpus):
        raise LimrankError("to take negatives from a corpus, give both --mine RUN and --corpus DATASET")
    mined = (mine, open_dataset(corpus)) if mine else None
    wanted = Kinds(positives, negatives, tuple(kinds or NEGATIVES), seed)
    writer = Nobody() if dry_run else open_llm(teacher)
    stage = stages.of_passages(examples, writer, kinds=wanted, mined=mined, prompts=prompts)
    if dry_run:
        tell_cost(stage, as_json=as_json)
        return
    tell([run_stage(stage, out, force=force, max_failed=max_failed)], as_json=as_json)


@synthesize.command(sort_key=3)
def reason(
    examples: Path,
    /,
    *,
    judge: str,
    out: Path,
    samples: int = 1,
    agreement: float = 0.5,
    disagreement: Disagreement = "drop",
    prompts: Path | None = None,
    seed: int = 0,
    max_failed: int = 0,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """A label for each passage, with the reasoning that leads to it, in the form that is trained.

    Args:
        examples: What limrank synthesize passages made.
        judge: "backend:model key=value ...".
        out: The file of examples.
        samples: Judgments of each passage, which vote; one is greedy.
        agreement: Share of the samples that must agree.
        disagreement: What becomes of a passage that is not judged as intended.
        prompts: A folder of TOML files that replace shipped prompts of the same name.
        seed: Other samples.
        max_failed: Examples that may get no answer; one whose answer cannot be read is dropped.
        dry_run: Say what it would ask, and ask nothing.
        force: Make it again, whatever is there; recorded answers are still used.
        as_json: Print the manifest.
    """
    from limrank.llm import open_llm
    from limrank.synthesize import stages
    from limrank.synthesize.judgment import Vote
    from limrank.synthesize.stage import Nobody

    judging = Nobody() if dry_run else open_llm(judge)
    stage = stages.of_judgments(examples, judging, vote=Vote(samples, agreement, disagreement, seed), prompts=prompts)
    if dry_run:
        tell_cost(stage, as_json=as_json)
        return
    tell([run_stage(stage, out, force=force, max_failed=max_failed)], as_json=as_json)


@synthesize.command(name="filter", sort_key=4)
def filter_(
    examples: Path,
    /,
    *,
    out: Path,
    rules: Words | None = None,
    query: tuple[int, int] = (5, 250),
    passage: tuple[int, int] = (20, 600),
    chain: tuple[int, int] = (20, 1500),
    early: float = 0.3,
    duplicate: float = 0.8,
    language: str = "en",
    negatives: int = 4,
    both: bool = True,
    against: Words | None = None,
    run: int = 13,
    similarity: float = 0.5,
    documents: bool = True,
    seed: int = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Drop what is malformed, leaks, repeats, or is part of a benchmark; <out>.dropped.jsonl says what and why.

    Args:
        examples: What limrank synthesize reason made.
        out: The file of examples.
        rules: Of malformed, length, leak, refusal, language, duplicate, balance; default: all
        query: Fewest and most words of a query.
        passage: The same of a passage.
        chain: The same of a chain.
        early: A verdict in this first share of a chain is a leak.
        duplicate: Similarity from which two queries or two passages are one.
        language: Of all texts; "" for any.
        negatives: At most so many for each positive of a query.
        both: Drop queries that have only one of the labels left.
        against: Datasets whose queries and documents may not be among the examples; default: BRIGHT, FollowIR and
            LitSearch, so far as they are on this machine; "none" for none.
        run: Words in a row that an example may not have in common with them.
        similarity: As for duplicates, with texts of these datasets.
        documents: Look at the datasets' documents, too.
        seed: Which surplus negatives go.
        force: Make it again, whatever is there.
        as_json: Print the manifest.
    """
    from limrank.synthesize import stages
    from limrank.synthesize.decontamination import Overlap
    from limrank.synthesize.filters import RULES, STREAMS, Limits

    limits = Limits(
        query, passage, chain, early, duplicate, language, negatives, both, seed, tuple(rules or (*RULES, *STREAMS))
    )
    overlap = Overlap(run, similarity, documents)
    stage = stages.of_filters(examples, limits=limits, against=datasets_of(against), overlap=overlap)
    tell([run_stage(stage, out, force=force)], as_json=as_json)


@synthesize.command(sort_key=5)
def export(
    examples: Path,
    /,
    *,
    out: Path,
    formats: Words | None = None,
    validation: float = 0.05,
    tokenizer: str = "",
    seed: int = 0,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Training files, split by seed query, and a card.

    Args:
        examples: What limrank synthesize filter made.
        out: The folder.
        formats: Of limrank (instruction and output), trl (prompt and completion), pairs, listwise; default: all
        validation: Share of the seeds that are for validation.
        tokenizer: A model of the backend transformers, whose tokens the card counts.
        seed: Another split.
        force: Write them again, whatever is there.
        as_json: Print the manifest.
    """
    manifest = export_files(
        examples, out, formats=formats or (), validation=validation, seed=seed, tokenizer=tokenizer, force=force
    )
    tell([manifest], as_json=as_json)


@synthesize.command(sort_key=6)
def show(examples: Path, /, *, out: Path | None = None, most: int = 12, seed: int = 0, as_json: AsJson = False) -> None:
    """A page to read examples by kind, each with its whole lineage, and to see the mix and what was dropped.

    Args:
        examples: Of any stage.
        out: The page; default: <examples>.html
        most: Examples shown of each kind, and of each reason for dropping.
        seed: Others of them.
        as_json: Print where it is as JSON.
    """
    place = out or examples.with_suffix(".html")
    show_page(examples, place, most=most, seed=seed)
    if as_json:
        emit_json({"out": str(place)})
    else:
        print(place)
