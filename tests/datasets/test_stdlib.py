import re
from collections import Counter
from pathlib import Path

import pytest

from limrank.datasets import stdlib
from limrank.errors import BadFile, Mismatch, Unknown

REPOSITORY = Path(__file__).parents[2]
VARIANTS = ["", "og", "changed"]


@pytest.fixture(scope="module")
def dataset():
    return stdlib.load()


@pytest.fixture(scope="module")
def documents(dataset):
    return {document.doc_id: document for document in dataset.documents()}


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMRANK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


# Documents


def test_ids_are_unique(dataset, documents):
    assert sum(1 for _ in dataset.documents()) == len(documents)


def test_every_docstring_has_six_words_or_more(dataset):
    records = stdlib.lines(stdlib.corpus_file())
    next(records)
    assert [record["doc_id"] for record in records if len(record["docstring"].split()) < 6] == []


def test_no_text_holds_a_memory_address(documents):
    assert [doc_id for doc_id, document in documents.items() if re.search(r" at 0x[0-9a-f]{6,}", document.text)] == []


def test_no_signature_holds_a_path_or_the_environment(documents):
    here = str(REPOSITORY), str(Path.home())
    assert [doc_id for doc_id, document in documents.items() if any(place in document.text for place in here)] == []


def test_two_reads_are_equal():
    assert stdlib.read_corpus() == stdlib.read_corpus() == stdlib.corpus_file().read_bytes()


def test_the_second_use_reads_nothing_again(monkeypatch, documents):
    monkeypatch.setattr(stdlib, "read_corpus", lambda: pytest.fail("read again"))
    assert sum(1 for _ in stdlib.load().documents()) == len(documents)


def test_there_are_about_five_thousand_documents(documents):
    assert 4_000 < len(documents) < 6_000


def test_documents_come_in_order_of_their_ids(documents):
    assert list(documents) == sorted(documents)


def test_lookup_returns_what_documents_yields_in_the_order_asked_for(dataset, documents):
    wanted = ["zip", "collections.deque", "asyncio.gather"]
    assert list(dataset.lookup(wanted).items()) == [(doc_id, documents[doc_id]) for doc_id in wanted]


def test_lookup_names_ids_that_do_not_exist(dataset):
    with pytest.raises(Mismatch, match=r"'no\.such' \(1 of 2 ids\)"):
        dataset.lookup(["zip", "no.such"])


def test_an_object_is_found_under_its_public_name_only(documents):
    assert {"asyncio.gather", "random.shuffle", "os.path.join", "str.split", "json.JSONDecoder"} <= documents.keys()
    assert "asyncio.tasks.gather" not in documents
    assert "posixpath.join" not in documents
    assert "json.decoder.JSONDecoder" not in documents


def test_methods_belong_to_the_class_that_defines_them(documents):
    assert "collections.OrderedDict.move_to_end" in documents
    assert "collections.Counter.keys" not in documents
    # The base is private, so the class that everybody uses has it, and only that one.
    assert "contextlib.ExitStack.enter_context" in documents
    assert "contextlib.AsyncExitStack.enter_context" not in documents


def test_easter_eggs_and_private_modules_are_left_out(documents):
    parts = {part for doc_id in documents for part in doc_id.split(".")}
    assert parts.isdisjoint({"antigravity", "this", "idlelib", "turtledemo"})
    assert [part for part in parts if part.startswith("_")] == []


def test_a_document_begins_with_its_signature(documents):
    assert documents["collections.OrderedDict.move_to_end"].text.startswith("move_to_end(key, last=True)\n\n")


def test_a_reader_that_fails_is_reported(monkeypatch, tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit('no library here')")
    monkeypatch.setattr(stdlib, "READER", script)
    with pytest.raises(BadFile, match=r"exit code 1: no library here"):
        stdlib.read_corpus()


# Queries and judgments


def test_an_unknown_variant_is_an_error():
    with pytest.raises(Unknown, match="changed"):
        stdlib.load("chnged")


def test_there_are_enough_queries_and_pairs():
    assert [len(list(stdlib.load(variant).queries())) for variant in VARIANTS] == [107, 26, 26]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_query_is_judged_and_nothing_else(variant):
    dataset = stdlib.load(variant)
    assert {query.query_id for query in dataset.queries()} == set(dataset.qrels())


@pytest.mark.parametrize("variant", VARIANTS)
def test_nearly_all_judged_documents_exist_on_this_python(variant, documents):
    judged = {doc_id for by_doc in stdlib.load(variant).qrels().values() for doc_id in by_doc}
    assert len(judged & documents.keys()) >= 0.98 * len(judged)


@pytest.mark.parametrize("variant", VARIANTS)
def test_grades_are_0_to_3(variant):
    qrels = stdlib.load(variant).qrels()
    assert {grade for by_doc in qrels.values() for grade in by_doc.values()} == {0, 1, 2, 3}


def test_every_query_has_a_few_relevant_documents_and_one_that_solves_it(dataset):
    qrels = dataset.qrels()
    counts = Counter(len(qrels.relevant(query_id)) for query_id in qrels)
    assert (min(counts), max(counts)) == (2, 8)
    assert [query_id for query_id, by_doc in qrels.items() if 3 not in by_doc.values()] == []


def test_no_query_names_what_it_needs(dataset):
    qrels = dataset.qrels()
    named = [
        (query.query_id, doc_id)
        for query in dataset.queries()
        for doc_id, grade in qrels[query.query_id].items()
        if grade == 3 and re.search(rf"\b{re.escape(doc_id.rpartition('.')[2])}\b", query.text, re.IGNORECASE)
    ]
    assert named == []


def test_the_changed_instruction_only_takes_away():
    original, changed = stdlib.load("og").qrels(), stdlib.load("changed").qrels()
    pairs = {query_id.removesuffix("-og") for query_id in original}
    assert {query_id.removesuffix("-changed") for query_id in changed} == pairs
    for pair in pairs:
        kept, before = changed.relevant(f"{pair}-changed"), original.relevant(f"{pair}-og")
        assert kept
        assert kept < before
        # What is narrowed away is judged, not forgotten, and what stays keeps its grade.
        assert all(changed[f"{pair}-changed"][doc_id] == 0 for doc_id in before - kept)
        assert all(changed[f"{pair}-changed"][doc_id] == original[f"{pair}-og"][doc_id] for doc_id in kept)


def test_a_pair_has_the_same_text_and_a_longer_instruction():
    for before, after in zip(stdlib.load("og").queries(), stdlib.load("changed").queries(), strict=True):
        assert before.text == after.text
        assert after.instruction.startswith(before.instruction)
        assert len(after.instruction) > len(before.instruction) > 0


def test_nothing_is_excluded(dataset):
    assert dataset.excluded() == {}


def test_the_exported_judgments_are_the_packaged_ones(dataset):
    assert (REPOSITORY / "qrels" / "stdlib.qrels").read_bytes() == dataset.judgments.read_bytes()


def test_the_revision_names_python_and_both_contents():
    revisions = [stdlib.load(variant).revision for variant in VARIANTS]
    assert len(set(revisions)) == 3
    assert all(re.fullmatch(r"python 3\.\S+, corpus sha256 \w{12}, judgments sha256 \w{12}", it) for it in revisions)
