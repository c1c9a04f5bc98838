import math
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from limrank.datasets import open_dataset
from limrank.errors import LimrankError, Mismatch, Unknown
from limrank.records import Document, Query
from limrank.retrieve import _search, index, open_index, retrieve
from limrank.retrieve._jvm import java_class
from limrank.run import Run

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

ANIMALS = [
    Document("d1", "cats chase mice and mice hide"),
    Document("d2", "dogs chase cats"),
    Document("d3", "mice eat cheese"),
    Document("d4", "birds sing"),
    Document("d5", "the birds eat the cheese of the mice", title="Cheese"),
]


class Collection:
    name, revision = "made-up", "1"

    def __init__(self, documents):
        self._documents = documents

    def documents(self):
        yield from self._documents


def built(tmp_path, documents, **options):
    return index(Collection(documents), out=tmp_path / "index", options=options).path


def search(path, *texts, k=1000, excluded=None, **options):
    queries = [Query(f"q{number}", text) for number, text in enumerate(texts, 1)]
    return retrieve(path, queries, k=k, excluded=excluded or {}, options=options)


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    return built(tmp_path_factory.mktemp("animals"), ANIMALS)


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    """300 documents that score the same, then 100 longer ones that score a little less."""
    documents = [Document(f"a{i:03}", "zebra stripes") for i in range(300)]
    documents += [Document(f"b{i:03}", "zebra stripes grass") for i in range(100)]
    return built(tmp_path_factory.mktemp("alike"), documents)


# invariants


def test_a_document_is_found_by_its_title_and_by_its_text(animals):
    assert set(search(animals, "cheese").doc_ids("q1")) == {"d3", "d5"}
    assert search(animals, "sing").doc_ids("q1") == ["d4"]


def test_queries_come_back_in_the_order_given(animals):
    queries = [Query(name, "cats") for name in ("z", "a", "m")]
    assert list(retrieve(animals, queries)) == ["z", "a", "m"]


def test_a_cut_within_ties_takes_the_smallest_ids_of_all_of_them(alike):
    assert list(search(alike, "zebra", k=5).doc_ids("q1")) == ["a000", "a001", "a002", "a003", "a004"]
    assert list(search(alike, "zebra", k=303).doc_ids("q1"))[-3:] == ["b000", "b001", "b002"]


def test_k_cuts_every_ranking_and_keeps_the_order(alike):
    whole = search(alike, "zebra", "stripes grass")
    cut = search(alike, "zebra", "stripes grass", k=7)
    assert [list(cut.doc_ids(q)) for q in cut] == [list(whole.doc_ids(q))[:7] for q in whole]


def test_equal_scores_are_ordered_by_ascending_document_id(alike):
    assert list(search(alike, "zebra").doc_ids("q1"))[:300] == [f"a{i:03}" for i in range(300)]


@pytest.mark.parametrize("options", [{}, {"rm3": "true"}])
def test_the_order_does_not_rise_again_behind_three_hundred_ties(alike, options):
    run = search(alike, "zebra", **options)
    assert len(run["q1"]) == 400
    assert (run.scores("q1")[1:] < run.scores("q1")[:-1]).all()


def test_excluded_documents_are_removed_before_the_cut(alike):
    excluded = {"q1": frozenset(f"a{i:03}" for i in range(0, 300, 2)), "q3": frozenset({"b000"})}
    run = search(alike, "zebra", "zebra", "grass", k=150, excluded=excluded)
    assert list(run.doc_ids("q1")) == [f"a{i:03}" for i in range(1, 300, 2)]
    assert list(run.doc_ids("q2")) == [f"a{i:03}" for i in range(150)]
    assert list(run.doc_ids("q3")) == [f"b{i:03}" for i in range(1, 100)]


def test_one_query_at_a_time_gives_what_a_batch_gives(animals):
    texts = ["cats", "", "mice cheese", "birds"]
    batch = search(animals, *texts)
    assert [batch[f"q{i}"] for i in range(1, 5)] == [search(animals, text)["q1"] for text in texts]


# anything a query or a document can be


@pytest.mark.parametrize("text", ["", "   ", "?!.,;:()[]{}^~*\"'\\/ AND OR NOT", "the of and", "qqqq", "\x00"])
@pytest.mark.parametrize("options", [{}, {"query_side": "true"}, {"rm3": "true"}])
def test_a_query_that_matches_nothing_has_an_empty_ranking(animals, text, options):
    run = search(animals, text, "cats", **options)
    assert run["q1"] == []
    assert "d1" in run.doc_ids("q2")


def test_query_syntax_is_text(animals):
    plain = search(animals, "cats mice d1")["q1"]
    assert search(animals, '+cats -"mice" id:d1*')["q1"][0] == plain[0]
    assert search(animals, "(cats OR) [mice TO ^ ~ d1")["q1"] == plain


@pytest.mark.parametrize("options", [{}, {"query_side": "true"}, {"rm3": "true"}])
def test_a_query_of_three_thousand_different_words(animals, options):
    words = [f"word{i}" for i in range(3000)]
    assert search(animals, " ".join([*words, "cheese"]), **options).doc_ids("q1")[0] in ("d3", "d5")


def test_any_unicode_in_text_and_ids(tmp_path):
    ids = ["with space", 'quo"te', "emoji 😀 id", "שלום", "percent%20", "back\\slash", "a/b", "\ttab"]
    documents = [Document(doc_id, f"common unique{i} 😀 مرحبا \x00 \ud83d 日本語") for i, doc_id in enumerate(ids)]
    path = built(tmp_path, documents)
    assert set(search(path, "common").doc_ids("q1")) == set(ids)
    for i, doc_id in enumerate(ids):
        assert list(search(path, f"unique{i} \ud83d").doc_ids("q1")) == [doc_id]
    assert len(search(path, "مرحبا")["q1"]) == len(search(path, "日本語")["q1"]) == len(search(path, "😀")["q1"]) == 8


def test_empty_documents_are_counted_and_never_found(tmp_path):
    documents = [*ANIMALS, Document("e1", ""), Document("e2", " \n\t"), Document("e3", "the of and")]
    made = index(Collection(documents), out=tmp_path / "index")
    assert made.manifest.counts == {"documents": 6, "empty": 2}
    assert search(made.path, "cats").doc_ids("q1") == search(built(tmp_path / "2", ANIMALS), "cats").doc_ids("q1")


def test_a_corpus_larger_than_a_batch_is_indexed_whole(tmp_path):
    documents = [Document(str(i), f"number{i} common") for i in range(4500)]
    made = index(Collection(documents), out=tmp_path / "index")
    assert made.manifest.counts["documents"] == 4500
    assert {len(search(made.path, f"number{i}")["q1"]) for i in (0, 1999, 2000, 3999, 4000, 4499)} == {1}


def test_a_document_that_lucene_refuses_is_an_error(tmp_path):
    documents = [*ANIMALS, Document("x" * 40_000, "an id longer than Lucene's longest term")]
    with pytest.raises(LimrankError, match="of 6 documents Lucene took 5"):
        built(tmp_path, documents)
    assert list(tmp_path.iterdir()) == []


def test_two_indexes_searched_at_once_do_not_mix(tmp_path):
    paths = [built(tmp_path / name, [Document(f"{name}{i}", f"fish word{i}") for i in range(50)]) for name in "ab"]
    retrievers = [open_index(path) for path in paths]

    def ask(turn):
        [ranking] = retrievers[turn % 2].search([Query("q", f"fish word{turn % 50}")], 3).values()
        return [doc.doc_id[0] for doc in ranking] == ["ab"[turn % 2]] * 3

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))


def test_a_folder_may_have_any_name(tmp_path):
    assert search(built(tmp_path / "größe 日本 😀", ANIMALS), "sing").doc_ids("q1") == ["d4"]


def test_pages_of_document_ids_are_read_without_a_gap(tmp_path, monkeypatch):
    monkeypatch.setattr(_search, "PAGE", 7)
    path = built(tmp_path, [Document(f"id{i}", f"number{i}") for i in range(21)])
    assert [list(search(path, f"number{i}").doc_ids("q1")) for i in range(21)] == [[f"id{i}"] for i in range(21)]


# parameters


def test_k1_0_forgets_how_often_a_word_is_there(tmp_path):
    path = built(tmp_path, [Document("once", "fox hen"), Document("twice", "fox fox")])
    once, twice = search(path, "fox", k1="0", b="0")["q1"]
    assert {once.doc_id, twice.doc_id} == {"once", "twice"} and once.score == pytest.approx(twice.score, abs=2e-6)
    assert search(path, "fox")["q1"][0].doc_id == "twice"


def test_rm3_finds_documents_without_a_word_of_the_query(tmp_path):
    documents = [Document(f"p{i}", "jaguar panther prowls forest") for i in range(5)]
    # Anserini does not expand by words that more than a tenth of all documents have.
    documents += [Document("kin", "panther forest"), *(Document(f"o{i}", "bread butter") for i in range(100))]
    path = built(tmp_path, documents)
    assert "kin" not in search(path, "jaguar").doc_ids("q1")
    expanded = search(path, "jaguar", rm3="true")
    assert "kin" in expanded.doc_ids("q1") and "o1" not in expanded.doc_ids("q1")
    assert expanded.name == "bm25-rm3"


def test_rm3_needs_the_vectors_that_an_index_may_lack(tmp_path):
    path = built(tmp_path, ANIMALS, docvectors="false")
    assert search(path, "cats").doc_ids("q1")
    with pytest.raises(Mismatch, match="docvectors=false"):
        search(path, "cats", rm3="true")


@pytest.mark.parametrize(
    "options", [{"k1": "-1"}, {"b": "1.5"}, {"k1": "nan"}, {"rm3_docs": "0"}, {"rm3": "yes", "query_side": "yes"}]
)
def test_parameters_out_of_range_are_errors(animals, options):
    with pytest.raises(LimrankError):
        search(animals, "cats", **options)


def test_an_unknown_option_suggests_the_known_one(animals):
    with pytest.raises(Unknown, match="query_side"):
        search(animals, "cats", queryside="true")


# hand-computed


def test_bm25_of_one_word_by_hand(animals):
    # "birds sing": 5 documents, mean length (5 + 3 + 3 + 2 + 5) / 5 = 3.6 ("and", "the", "of" are stop words; d5 is
    # "cheese birds eat cheese mice"), "sing" in 1 of them, once: idf = ln(1 + 4.5 / 1.5), length 2.
    idf = math.log(1 + (5 - 1 + 0.5) / (1 + 0.5))
    expected = idf * 1 / (1 + 0.9 * (1 - 0.4 + 0.4 * 2 / 3.6))
    assert search(animals, "sing")["q1"][0].score == pytest.approx(expected, abs=1e-4)


def bm25_both_sides(query, corpus, k1=0.9, b=0.4):
    """Query and documents as vectors of idf * tf / (tf + k1 (1 - b + b length / mean)); the score is their product."""
    mean = sum(map(len, corpus.values())) / len(corpus)
    df = Counter(word for words in corpus.values() for word in set(words))

    def vector(words):
        norm = k1 * (1 - b + b * len(words) / mean)
        return {
            word: math.log(1 + (len(corpus) - df[word] + 0.5) / (df[word] + 0.5)) * tf / (tf + norm)
            for word, tf in Counter(words).items()
        }

    weights = vector(query)
    scores = {doc_id: sum(weights.get(w, 0) * x for w, x in vector(words).items()) for doc_id, words in corpus.items()}
    return {doc_id: score for doc_id, score in scores.items() if score > 0}


def test_query_side_bm25_equals_an_independent_computation(tmp_path):
    # Words that no stemmer changes, and lengths below 40, which Lucene's one-byte length keeps exactly.
    draw, words = random.Random(7), [f"w{i}x" for i in range(40)]
    corpus = {f"d{i}": draw.choices(words, k=draw.randint(3, 30)) for i in range(50)}
    path = built(tmp_path, [Document(doc_id, " ".join(text)) for doc_id, text in corpus.items()])
    for _ in range(5):
        query = draw.choices(words[:25], k=12)
        expected = bm25_both_sides(query, corpus)
        run = search(path, " ".join(query), query_side="true")
        assert run.name == "bm25-query-side"
        assert {scored.doc_id for scored in run["q1"]} == set(expected)
        for scored in run["q1"]:
            assert scored.score == pytest.approx(expected[scored.doc_id], abs=1e-4)


def test_query_side_bm25_differs_from_bm25_where_a_word_is_repeated(animals):
    text = "cats cats cats cats cheese birds"
    assert search(animals, text)["q1"] != search(animals, text, query_side="true")["q1"]


# cross-checks and golden values


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    made = {}

    def get(name):
        if name not in made:
            if not (DATA / name).exists():
                pytest.skip(f"{DATA / name} is not there")
            dataset = open_dataset(str(DATA / name))
            made[name] = dataset, index(dataset, out=tmp_path_factory.mktemp(name) / "lucene").path
        return made[name]

    return get


@pytest.mark.parametrize("name", ["cacm", "vaswani"])
def test_the_run_is_that_of_anserinis_searcher_one_query_at_a_time(indexed, name):
    dataset, path = indexed(name)
    searcher = java_class("io.anserini.search.SimpleSearcher")(str(path))
    searcher.set_bm25(0.9, 0.4)
    run = retrieve(path, list(dataset.queries()), k=20)
    for query in dataset.queries():
        hits = searcher.search(query.text, 20)
        assert list(run.doc_ids(query.query_id)) == [hit.docid for hit in hits]
        assert run.scores(query.query_id).tolist() == pytest.approx([hit.score for hit in hits], abs=5e-4)


@pytest.mark.parametrize("name", ["cacm", "vaswani"])
def test_the_run_is_that_of_pyserini_document_by_document(indexed, name):
    dataset, path = indexed(name)
    run = retrieve(path, list(dataset.queries()), k=1000)
    pyserini = Run.read(DATA / name / "runs" / "pyserini_bm25_k0.9_b0.4_top1000.trec")
    assert list(run) == list(pyserini)
    for query_id in run:
        assert list(run.doc_ids(query_id)) == list(pyserini.doc_ids(query_id))
        # Anserini rounds to four digits and lowers each document of a tie by another 1e-6.
        assert run.scores(query_id) == pytest.approx(pyserini.scores(query_id), abs=5e-4)


@pytest.mark.parametrize(
    ("name", "options", "ndcg", "mean_average_precision"),
    [
        ("vaswani", {}, 0.4368, 0.2856),
        ("cacm", {}, 0.4888, 0.3554),
        ("vaswani", {"rm3": "true"}, 0.4406, 0.2955),
    ],
)
def test_golden_scores(indexed, name, options, ndcg, mean_average_precision):
    import pytrec_eval

    from limrank.qrels import Qrels

    dataset, path = indexed(name)
    run = retrieve(path, list(dataset.queries()), k=1000, options=options)
    qrels = Qrels.read(DATA / name / "qrels" / "test.tsv")
    evaluator = pytrec_eval.RelevanceEvaluator({q: dict(qrels[q]) for q in qrels}, {"ndcg_cut_10", "map"})
    scores = evaluator.evaluate({q: {scored.doc_id: scored.score for scored in run[q]} for q in run})
    assert sum(s["ndcg_cut_10"] for s in scores.values()) / len(scores) == pytest.approx(ndcg, abs=5e-4)
    assert sum(s["map"] for s in scores.values()) / len(scores) == pytest.approx(mean_average_precision, abs=5e-4)
