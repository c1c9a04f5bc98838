"""BRIGHT, read by ir_datasets' own code from small parquet files that a local server hands out, md5 sums checked."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limrank.datasets import bright
from limrank.errors import Unknown

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
        "query": "Limits?", "reasoning": "LEAK", "id": "TheoremQA/L'Hôpital 1", "gold_answer": "g",
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
    "bright/earth_science/llama3-70b", "bright/pony", "bright/biology",
]  # fmt: skip

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
    }
found["missing"] = answer(lambda: open_dataset("bright/earth_science").lookup(["nope", "d3"]))
print(json.dumps(found))
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What each of NAMES holds, by name, as JSON."""
    served = tmp_path_factory.mktemp("served")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    tasks = ("earth-science", "biology", "pony")
    sources = ("", *(f"{source}/" for source in bright.SOURCES.values()))
    keys = [f"{task}/{source}queries" for task in tasks for source in sources]
    keys += [f"{task}{long}/docs" for task in tasks for long in ("", "-long")]
    # Nothing asks the real address; of a file that is not served ir_datasets takes the page that says 404, and its md5.
    entries = {key: {"url": f"{address}/{key.replace('/', '_')}"} for key in keys}
    for key, rows in FILES.items():
        path = served / key.replace("/", "_")
        pq.write_table(pa.Table.from_pylist(rows), path)
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        entries[key]["expected_md5"] = "0" * 32 if key == WRONG_MD5 else md5
    environment = os.environ | {
        "IR_DATASETS_HOME": str(tmp_path_factory.mktemp("home")),
        "IR_DATASETS_DL_TRIES": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([entries, NAMES]),
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


READABLE = ["bright/earth_science", "bright/earth_science/gpt4", "bright/earth-science-long"]


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
        "TheoremQA/L'Hôpital 1": {"L'Hôpital_rule1.json": 1},
    }
    assert dataset["excluded"] == {"TheoremQA/L'Hôpital 1": ["d3", "d4"]}


def test_the_gold_of_a_long_task_are_its_pages(found: dict) -> None:
    assert found["bright/earth-science-long"]["qrels"] == {"0": {"page 1": 1}, "TheoremQA/L'Hôpital 1": {"page 2": 1}}


def test_the_original_query_is_the_default(found: dict) -> None:
    assert found["bright/earth_science"]["queries"] == [[q["id"], q["query"], ""] for q in QUERIES]


@pytest.mark.parametrize("name", ["bright/earth_science/gpt4", "bright/earth_science_long/gpt4"])
def test_a_source_s_text_is_its_query_column_and_never_the_human_s_reasoning(found: dict, name: str) -> None:
    assert found[name]["queries"] == [["0", "GPT-4 on bees", ""], ["TheoremQA/L'Hôpital 1", "GPT-4 on limits", ""]]
    assert "LEAK" not in json.dumps(found)


def test_a_source_changes_the_queries_only(found: dict) -> None:
    original, gpt4 = found["bright/earth_science"], found["bright/earth_science/gpt4"]
    assert original["queries"] != gpt4["queries"]
    for part in ("documents", "qrels", "excluded", "revision"):
        assert original[part] == gpt4[part]


def test_hyphens_do_for_underscores_and_the_name_is_the_canonical_one(found: dict) -> None:
    assert found["bright/earth-science"] == found["bright/earth_science"]
    assert found["bright/earth-science"]["name"] == "bright/earth_science"
    assert found["bright/earth-science-long"]["name"] == "bright/earth_science_long"
    assert found["bright/earth_science_long/gpt4"]["name"] == "bright/earth_science_long/gpt4"


def test_the_revision_is_the_version_and_a_hash_of_the_judgments(found: dict) -> None:
    # Three gold pairs as TREC lines, sorted; a blank within an id is percent-encoded there.
    lines = "0 0 d3 1\n0 0 wave/Memory%20Management_2_0.txt 1\nTheoremQA/L'Hôpital 1 0 L'Hôpital_rule1.json 1\n"
    digest = hashlib.sha256(lines.encode()).hexdigest()[:12]
    assert found["bright/earth_science"]["revision"].endswith(f", qrels sha256 {digest}")
    assert found["bright/earth_science"]["revision"].startswith("ir_datasets 0.")


def test_queries_that_a_source_lacks_are_named(found: dict) -> None:
    answer = found["bright/earth_science/grit"]["queries"]
    assert answer.startswith("Mismatch: bright/earth_science/grit: 1 queries are only in one of")
    assert answer.endswith('"TheoremQA/L\'Hôpital 1"')


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
    import ir_datasets

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
    ],
)
def test_an_unknown_task_or_source_suggests_the_nearest(rest: str, message: str) -> None:
    with pytest.raises(Unknown) as caught:
        bright.load(rest)
    assert message in str(caught.value)
