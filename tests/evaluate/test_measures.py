import pytest

from limrank.errors import LimrankError, Unknown
from limrank.evaluate.measures import DEFAULT, FAMILIES, describe, example, parse, parse_all

SPELLINGS = [
    ("nDCG@10", "ndcg_cut_10, ndcg_cut.10, nDCG@10, ndcg@10, NDCG@10", "ndcg_cut_10"),
    ("nDCG", "ndcg, nDCG", "ndcg"),
    ("MAP", "map, AP, MAP", "map"),
    ("MAP@100", "map_cut_100, map_cut.100, AP@100, map@100", "map_cut_100"),
    ("MAP(rel=2)@100", "AP(rel=2)@100, map@100-l2", "map_cut_100"),
    ("MRR", "recip_rank, RR, mrr", "recip_rank"),
    ("MRR@10", "RR@10, mrr@10", "recip_rank"),
    ("R@100", "recall_100, recall.100, R@100, recall@100", "recall_100"),
    ("P@10", "P_10, P.10, P@10, precision@10", "P_10"),
    ("P(rel=2)@5", "P(rel=2)@5, P( rel = 2 )@5, precision@5-l2", "P_5"),
    ("Rprec", "Rprec, r-precision", "Rprec"),
    ("Rprec(rel=3)", "Rprec(rel=3), r-precision-l3", "Rprec"),
    ("Success@1", "success_1, Success@1, hit_rate@1", "success_1"),
    ("Bpref", "bpref, Bpref", "bpref"),
    ("SetR", "set_recall, SetR", "set_recall"),
    ("SetP", "set_P, SetP", "set_P"),
    ("SetF", "set_F, SetF", "set_F"),
    ("SetAP", "set_map, SetAP", "set_map"),
]


@pytest.mark.parametrize(("display", "spellings", "trec_eval"), SPELLINGS)
def test_all_spellings_of_a_measure_are_one(display, spellings, trec_eval):
    names = spellings.split(", ")
    found = set(map(parse, names))
    assert len(found) == 1
    assert (str(found.pop()), parse(names[0]).trec_eval) == (display, trec_eval)


@pytest.mark.parametrize("display", [row[0] for row in SPELLINGS])
def test_a_display_name_is_a_name_of_itself(display):
    assert str(parse(display)) == display


def test_every_family_has_an_example_in_the_list_of_measures():
    assert [str(parse(name)) for name in describe()] == [example(family) for family in FAMILIES]


def test_two_spellings_of_one_measure_count_once():
    assert list(map(str, parse_all(["ndcg@10", "map", "nDCG@10", "AP"]))) == ["nDCG@10", "MAP"]


def test_no_name_means_the_default():
    assert tuple(map(str, parse_all([]))) == DEFAULT


def test_one_name_is_not_read_letter_by_letter():
    assert list(map(str, parse_all("map"))) == ["MAP"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndgc@10", "did you mean nDCG@10"),
        ("recal@5", "R@10"),
        ("", "known: nDCG@10, MAP"),
        ("nDCG@ten", "unknown measure"),
        ("rbp.95", "not supported: limrank computes what trec_eval defines"),
        ("f1@10", "not supported"),
        ("ndcg_burges@10", "not supported"),
        ("hits@10", "not supported"),
        ("Judged@10", "not supported"),
    ],
)
def test_what_trec_eval_does_not_define_is_unknown(name, message):
    with pytest.raises(Unknown, match=message):
        parse(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("R", "R@10, or SetR for the whole ranking"),
        ("success", "needs a depth, as in Success@10"),
        ("Rprec@5", "takes no depth"),
        ("P@0", "from 1 to"),
        ("P@99999999999999999999", "from 1 to"),
        ("map-l0", "at least 1"),
        ("AP(rel=0)", "at least 1"),
        ("AP(judged_only=True)", "only argument is the lowest relevant grade"),
        ("AP(rel=2)-l3", "only argument"),
        ("AP()", "only argument"),
        ("nDCG(rel=2)@10", "leave the relevance level out"),
        ("ndcg@10-l2", "leave the relevance level out"),
    ],
)
def test_a_measure_that_cannot_be_is_refused(name, message):
    with pytest.raises(LimrankError, match=message):
        parse(name)


def test_trec_eval_knows_every_name_it_is_given():
    import pytrec_eval

    for display, _, _ in SPELLINGS:
        evaluator = pytrec_eval.RelevanceEvaluator({"q": {"d": 1}}, {parse(display).trec_eval})
        assert parse(display).trec_eval in evaluator.evaluate({"q": {"d": 1.0}})["q"]
