"""BRIGHT, read by ir_datasets' own code from small parquet files that a local server hands out, md5 sums checked."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import ir_datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limrank.datasets import bright
from limrank.errors import BadFile, Mismatch, Unknown
from limrank.evaluate import evaluate
from limrank.qrels import Qrels
from limrank.run import Run

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "bright"

DOCUMENTS = [
    {"id": "wave/Memory Management_2_0.txt", "content": "An id with a space."},
    {"id": "L'Hôpital_rule1.json", "content": "Grenzwerte, \U0001f41d"},
    {"id": "d3", "content": "Tom's own page."},
    {"id": "d4", "content": ""},
]
LONG = [{"id": "page 1", "content": "A whole page."}, {"id": "page 2", "content": "Another."}]
QUERIES = [
    {
        "query": "Why do bees see it?", "reasoning": "LEAK the answer is d3", "id": "0", "gold_answer": "g",
        "excluded_ids": ["N/A"], "gold_ids_long": ["page 1"],
        "gold_ids": ["wave/Memory Management_2_0.txt", "d3", "wave/Memory Management_2_0.txt"],
    },
    {
        "query": "Limits?", "reasoning": "LEAK", "id": "TheoremQA/L'Hôpital_1", "gold_answer": "g",
        "excluded_ids": ["d3", "d4", "d3"], "gold_ids_long": ["page 2", "page 2"], "gold_ids": ["L'Hôpital_rule1.json"],
    },
]  # fmt: skip
# Another order, and texts that show which column was read.
GPT4 = [
    QUERIES[1] | {"query": "GPT-4 on limits", "reasoning": "LEAK again"},
    QUERIES[0] | {"query": "GPT-4 on bees", "reasoning": "LEAK again"},
]
GRIT = [QUERIES[0]]
FILES = {
    "earth-science/docs": DOCUMENTS,
    "earth-science-long/docs": LONG,
    "earth-science/queries": QUERIES,
    "earth-science/gpt4_reason/queries": GPT4,
    "earth-science/grit_reason/queries": GRIT,
    "earth-science/claude-3-opus_reason/queries": GPT4,
    "pony/docs": DOCUMENTS,
    "pony/queries": [QUERIES[0] | {"excluded_ids": ["d3"]}],
}
WRONG_MD5 = "earth-science/claude-3-opus_reason/queries"
NAMES = [
    "bright/earth_science", "bright/earth-science", "bright/earth_science/gpt4", "bright/earth-science-long",
    "bright/earth_science_long/gpt4", "bright/earth_science/grit", "bright/earth_science/claude-3-opus",
    "bright/earth_science/llama3-70b", "bright/pony", "bright/biology", "bright/earth_science?fixed=good.trec",
    "bright/earth_science/gpt4?fixed=good.trec", "bright/earth_science?fixed=narrow.trec",
    "bright/earth_science?fixed=excluded.trec", "bright/earth_science?fixed=graded.trec",
    "bright/earth_science?fixed=foreign.trec",
]  # fmt: skip
GOLD = "0 0 wave/Memory%20Management_2_0.txt 1\n0 0 d3 1\nTheoremQA/L'Hôpital_1 0 L'Hôpital_rule1.json 1\n"
FIXED = {
    # d4 has the same text as a gold document of the first query.
    "good.trec": GOLD + "0 0 d4 1\n",
    "narrow.trec": GOLD.replace("0 0 d3 1\n", ""),
    "excluded.trec": GOLD + "TheoremQA/L'Hôpital_1 0 d4 1\n",
    "graded.trec": GOLD + "0 0 d4 2\n",
    "foreign.trec": GOLD + "7 0 d4 1\n",
}

# ir_datasets fixes its home and its addresses while it is imported, so this is done in a process of its own.
CHILD = """
import json, pkgutil, sys
entries, names = json.load(sys.stdin)
genuine = pkgutil.get_data
def get_data(package, resource):
    content = genuine(package, resource)
    if resource == "etc/downloads.json":
        downloads = json.loads(content)
        for key, entry in entries.items():
            downloads["bright"][key] |= entry
        content = json.dumps(downloads).encode()
    return content
pkgutil.get_data = get_data

from limrank.datasets import open_dataset
from limrank.errors import LimrankError

def answer(ask):
    try:
        return ask()
    except LimrankError as error:
        return f"{type(error).__name__}: {error}"

found = {}
for name in names:
    dataset = open_dataset(name)
    found[name] = {
        "name": dataset.name,
        "documents": answer(lambda: list(dataset.documents())),
        "lookup": answer(lambda: dataset.lookup([d.doc_id for d in dataset.documents()])),
        "queries": answer(lambda: list(dataset.queries())),
        "qrels": answer(lambda: {q: dict(d) for q, d in dataset.qrels().items()}),
        "excluded": answer(lambda: {q: sorted(d) for q, d in dataset.excluded().items()}),
        "revision": answer(lambda: dataset.revision),
        "corpus_revision": dataset.corpus_revision,
    }
found["missing"] = answer(lambda: open_dataset("bright/earth_science").lookup(["nope", "d3"]))
print(json.dumps(found))
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a server of a folder's files."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def child(entries: dict, names: list[str], *, home: Path, cwd: Path) -> dict:
    """What each of the names holds for an ir_datasets that expects these downloads."""
    environment = os.environ | {
        "IR_DATASETS_HOME": str(home),
        "IR_DATASETS_DL_TRIES": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([entries, names]),
        capture_output=True,
        text=True,
        env=environment,
        cwd=cwd,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What each of NAMES holds, by name, as JSON."""
    served = tmp_path_factory.mktemp("served")
    tasks = ("earth-science", "biology", "pony")
    sources = ("", *(f"{source}/" for source in bright.SOURCES.values()))
    keys = [f"{task}/{source}queries" for task in tasks for source in sources]
    keys += [f"{task}{long}/docs" for task in tasks for long in ("", "-long")]
    # Nothing asks the real address; of a file that is not served ir_datasets takes the page that says 404, and its md5.
    entries: dict[str, dict[str, str]] = {key: {} for key in keys}
    for key, rows in FILES.items():
        path = served / key.replace("/", "_")
        pq.write_table(pa.Table.from_pylist(rows), path)
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        entries[key]["expected_md5"] = "0" * 32 if key == WRONG_MD5 else md5
    for name, lines in FIXED.items():
        (served / name).write_text(lines)
    with serving(served) as address:
        for key, entry in entries.items():
            entry["url"] = f"{address}/{key.replace('/', '_')}"
        found = child(entries, NAMES, home=tmp_path_factory.mktemp("home"), cwd=served)
    return found | {"md5": {key: entry.get("expected_md5") for key, entry in entries.items()}}


def test_a_file_that_was_changed_or_is_of_another_revision_is_refused(tmp_path: Path) -> None:
    keys = ("earth-science/queries", "earth-science/docs")
    entries: dict[str, dict[str, str]] = {}

    def put(key: str, rows: list[dict]) -> None:
        path = tmp_path / key.replace("/", "_")
        pq.write_table(pa.Table.from_pylist(rows), path)
        entries[key] = {"url": path.as_uri(), "expected_md5": hashlib.md5(path.read_bytes()).hexdigest()}

    def ask() -> dict:
        with serving(tmp_path) as address:
            for key in keys:
                entries[key]["url"] = f"{address}/{key.replace('/', '_')}"
            return child(entries, ["bright/earth_science"], home=tmp_path / "home", cwd=tmp_path)[
                "bright/earth_science"
            ]

    for key in keys:
        put(key, FILES[key])
    right = ask()
    assert right["queries"][0][1] == QUERIES[0]["query"] and right["documents"][2][1] == DOCUMENTS[2]["content"]
    # A corrected file on the hub, an ir_datasets that expects it, and the old one in the cache.
    put(keys[0], [QUERIES[0] | {"query": "Corrected"}, QUERIES[1]])
    upgraded = ask()
    for part in ("queries", "qrels", "excluded", "revision"):
        assert "is not the file that ir_datasets" in upgraded[part] and "delete it" in upgraded[part]
    assert upgraded["documents"] == right["documents"]
    Path(upgraded["queries"].split(": ")[1]).unlink()
    assert ask()["queries"][0][1] == "Corrected"
    content = (tmp_path / keys[1].replace("/", "_")).read_bytes()
    [kept] = [path for path in (tmp_path / "home").rglob("*") if path.is_file() and path.read_bytes() == content]
    kept.write_bytes(kept.read_bytes() + b" ")
    changed = ask()
    for part in ("documents", "lookup"):
        assert changed[part].startswith(f"BadFile: {kept}: is not the file that ir_datasets")


READABLE = [
    "bright/earth_science", "bright/earth_science/gpt4", "bright/earth-science-long",
    "bright/earth_science?fixed=good.trec",
]  # fmt: skip


@pytest.mark.parametrize("name", READABLE)
def test_the_promises_of_a_dataset_hold(found: dict, name: str) -> None:
    dataset = found[name]
    doc_ids = [doc_id for doc_id, _, _ in dataset["documents"]]
    query_ids = [query_id for query_id, _, _ in dataset["queries"]]
    assert len(set(doc_ids)) == len(doc_ids) > 0
    assert list(dataset["lookup"].values()) == dataset["documents"]
    assert len(set(query_ids)) == len(query_ids) > 0
    assert set(dataset["qrels"]) <= set(query_ids)
    assert {doc_id for by_doc in dataset["qrels"].values() for doc_id in by_doc} <= set(doc_ids)
    for query_id, barred in dataset["excluded"].items():
        assert not set(barred) & set(dataset["qrels"][query_id])


def test_documents_keep_spaces_and_unicode_in_their_ids(found: dict) -> None:
    assert found["bright/earth_science"]["documents"] == [[d["id"], d["content"], ""] for d in DOCUMENTS]
    assert found["bright/earth-science-long"]["documents"] == [[d["id"], d["content"], ""] for d in LONG]


def test_a_repeated_gold_document_counts_once_and_an_excluded_one_is_no_judgment(found: dict) -> None:
    dataset = found["bright/earth_science"]
    assert dataset["qrels"] == {
        "0": {"wave/Memory Management_2_0.txt": 1, "d3": 1},
        "TheoremQA/L'Hôpital_1": {"L'Hôpital_rule1.json": 1},
    }
    assert dataset["excluded"] == {"TheoremQA/L'Hôpital_1": ["d3", "d4"]}


def test_the_gold_of_a_long_task_are_its_pages(found: dict) -> None:
    assert found["bright/earth-science-long"]["qrels"] == {"0": {"page 1": 1}, "TheoremQA/L'Hôpital_1": {"page 2": 1}}


def test_the_original_query_is_the_default(found: dict) -> None:
    assert found["bright/earth_science"]["queries"] == [[q["id"], q["query"], ""] for q in QUERIES]


@pytest.mark.parametrize("name", ["bright/earth_science/gpt4", "bright/earth_science_long/gpt4"])
def test_a_source_s_text_is_its_query_column_and_never_the_human_s_reasoning(found: dict, name: str) -> None:
    assert found[name]["queries"] == [["0", "GPT-4 on bees", ""], ["TheoremQA/L'Hôpital_1", "GPT-4 on limits", ""]]
    assert "LEAK" not in json.dumps(found)


def test_a_source_changes_the_queries_only(found: dict) -> None:
    original, gpt4 = found["bright/earth_science"], found["bright/earth_science/gpt4"]
    assert original["queries"] != gpt4["queries"]
    for part in ("documents", "qrels", "excluded", "corpus_revision"):
        assert original[part] == gpt4[part]


def test_fixed_judgments_add_the_copies_of_gold_documents_and_say_so_in_name_and_revision(found: dict) -> None:
    plain, fixed = found["bright/earth_science"], found["bright/earth_science?fixed=good.trec"]
    assert fixed["qrels"] == plain["qrels"] | {"0": plain["qrels"]["0"] | {"d4": 1}}
    for part in ("documents", "queries", "excluded", "corpus_revision"):
        assert fixed[part] == plain[part]
    assert fixed["name"] == "bright/earth_science+fixed"
    assert found["bright/earth_science/gpt4?fixed=good.trec"]["name"] == "bright/earth_science/gpt4+fixed"
    lines = "".join(sorted(FIXED["good.trec"].splitlines(keepends=True)))
    digest = hashlib.sha256(lines.encode()).hexdigest()[:12]
    assert fixed["revision"].endswith(f", .fixed qrels sha256 {digest}")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("narrow.trec", "it lacks the gold document 'd3' of query '0'"),
        ("excluded.trec", "document 'd4' is excluded for query \"TheoremQA/L'Hôpital_1\""),
        ("graded.trec", "document 'd4' of query '0' has another relevance than 1"),
        ("foreign.trec", "it judges 1 queries that are not there, e.g. '7'"),
    ],
)
def test_a_fixed_file_of_something_else_is_refused(found: dict, file: str, message: str) -> None:
    dataset = found[f"bright/earth_science?fixed={file}"]
    assert dataset["qrels"] == (
        f"Mismatch: {file} is not the .fixed file of the task and revision of bright/earth_science+fixed: {message}"
    )
    assert dataset["revision"] == dataset["qrels"]


def test_a_long_task_has_no_fixed_judgments_and_a_missing_file_says_where_it_is_to_be_had(tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match=r"bright/biology_long: \.fixed judgments are of passages"):
        bright.load("biology-long?fixed=x.trec")
    with pytest.raises(BadFile, match=r"nope: no such file; .*/qrels\.bright-earth-science\.fixed\.txt"):
        bright.load(f"earth_science?fixed={tmp_path / 'nope'}")


@pytest.mark.parametrize(
    ("task", "added"),
    [("biology", 21), ("earth_science", 4), ("economics", 0), ("leetcode", 0), ("pony", 0), ("aops", 0)],
)
def test_the_fixed_files_of_castorini_add_as_many_pairs_as_is_known_of_them(task: str, added: int) -> None:
    folder = REAL / task
    if not folder.is_dir():
        pytest.skip("needs the files of BRIGHT beside the repository")
    gold = Qrels.read(folder / "qrels.trec")
    fixed = bright.widened(gold, folder / "qrels.fixed.trec", excluded={})
    assert sum(map(len, fixed.values())) - sum(map(len, gold.values())) == added


def test_hyphens_do_for_underscores_and_the_name_is_the_canonical_one(found: dict) -> None:
    assert found["bright/earth-science"] == found["bright/earth_science"]
    assert found["bright/earth-science"]["name"] == "bright/earth_science"
    assert found["bright/earth-science-long"]["name"] == "bright/earth_science_long"
    assert found["bright/earth_science_long/gpt4"]["name"] == "bright/earth_science_long/gpt4"


def test_the_revision_is_the_version_the_files_and_a_hash_of_the_judgments(found: dict) -> None:
    # Three gold pairs as TREC lines, sorted; a blank within an id is percent-encoded there.
    lines = "0 0 d3 1\n0 0 wave/Memory%20Management_2_0.txt 1\nTheoremQA/L'Hôpital_1 0 L'Hôpital_rule1.json 1\n"
    digest = hashlib.sha256(lines.encode()).hexdigest()[:12]
    md5 = found["md5"]
    documents, queries = md5["earth-science/docs"][:12], md5["earth-science/queries"][:12]
    corpus = f"ir_datasets {ir_datasets.__version__}, documents md5 {documents}"
    assert found["bright/earth_science"]["corpus_revision"] == corpus
    assert found["bright/earth_science"]["revision"] == f"{corpus}, queries md5 {queries}, qrels sha256 {digest}"
    gpt4, long = found["bright/earth_science/gpt4"]["revision"], found["bright/earth-science-long"]["revision"]
    assert f", queries md5 {md5['earth-science/gpt4_reason/queries'][:12]}, " in gpt4
    assert f", documents md5 {md5['earth-science-long/docs'][:12]}, queries md5 {queries}, " in long


def test_queries_that_a_source_lacks_are_named(found: dict) -> None:
    answer = found["bright/earth_science/grit"]["queries"]
    assert answer.startswith("Mismatch: bright/earth_science/grit: 1 queries are only in one of")
    assert answer.endswith('"TheoremQA/L\'Hôpital_1"')


def test_a_document_that_is_gold_and_excluded_is_refused(found: dict) -> None:
    assert found["bright/pony"]["qrels"].startswith(
        "Mismatch: bright/pony: query '0' judges document 'd3' as 1 and as -100"
    )


def test_a_wrong_md5_and_a_missing_file_are_errors_of_one_line(found: dict) -> None:
    wrong, missing = (
        found["bright/earth_science/claude-3-opus"]["queries"],
        found["bright/earth_science/llama3-70b"]["queries"],
    )
    assert wrong.startswith("LimrankError: bright/earth_science/claude-3-opus cannot be loaded: Expected md5 hash")
    assert missing.startswith("LimrankError: bright/earth_science/llama3-70b cannot be loaded: Expected md5 hash")
    assert found["bright/biology"]["documents"].startswith(
        "LimrankError: bright/biology cannot be loaded: Expected md5"
    )
    assert "\n" not in wrong + missing
    assert "IR_DATASETS_HOME" in wrong


def test_a_missing_document_is_named(found: dict) -> None:
    assert found["missing"].startswith("Mismatch: bright/earth_science lacks 1 of 2 documents, e.g. 'nope'")


def test_there_are_twelve_tasks_eight_of_them_long_and_ir_datasets_has_each() -> None:
    assert (len(bright.TASKS), len(bright.LONG_TASKS)) == (12, 8)
    names = {f"bright/{task.replace('_', '-')}" for task in bright.TASKS}
    names |= {f"bright/{task.replace('_', '-')}-long" for task in bright.LONG_TASKS}
    assert names == {name for name in ir_datasets.registry if name.startswith("bright/")}
    for task in bright.TASKS:
        for source in bright.SOURCES.values():
            assert f"{task.replace('_', '-')}/{source}/queries" in ir_datasets.util.DownloadConfig.contents()["bright"]


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("biolgy", "unknown task of BRIGHT 'biolgy'; did you mean biology"),
        ("", "unknown task of BRIGHT ''; known: aops, biology, biology_long"),
        ("aops-long", "unknown task of BRIGHT 'aops-long'"),
        ("biology/gpt-4", "unknown source of BRIGHT's queries 'gpt-4'; did you mean gpt4?"),
        ("biology/human", "known: claude-3-opus, gemini-1.0, gpt4, grit, llama3-70b"),
        ("biology?qrels=file", "unknown option of bright 'qrels'; known: fixed"),
    ],
)
def test_an_unknown_task_or_source_suggests_the_nearest(rest: str, message: str) -> None:
    with pytest.raises(Unknown) as caught:
        bright.load(rest)
    assert message in str(caught.value)


# By pytrec_eval; what the ReasonIR paper published for the unfixed judgments is 43.6 and 42.9.
@pytest.mark.parametrize(
    ("task", "plain", "fixed"), [("biology", 43.4931, 44.1880), ("earth_science", 42.9977, 43.4118)]
)
def test_a_real_run_scores_as_known_with_and_without_the_fixed_judgments(task: str, plain: float, fixed: float) -> None:
    folder = REAL / task
    if not folder.is_dir():
        pytest.skip("needs the files of BRIGHT beside the repository")
    gold = Qrels.read(folder / "qrels.trec")
    run = Run.read(folder / "runs" / "reasonir_gpt4cot_top100.trec")
    both = [gold, bright.widened(gold, folder / "qrels.fixed.trec", excluded={})]
    scores = [evaluate(run, qrels, ["ndcg@10"]).means for qrels in both]
    assert [round(100 * value, 4) for means in scores for value in means.values()] == [plain, fixed]
