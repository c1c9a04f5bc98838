import hashlib
import json

import pytest

from limrank.errors import Unknown
from limrank.evaluate import compare, compare_scores, evaluate, macro_average
from limrank.evaluate.tables import describe, render, to_json
from limrank.qrels import Qrels, digest_of
from limrank.run import Run

QRELS = Qrels({f"q{i}": {"yes": 1} for i in range(20)}, name="pets")
GOOD = Run({f"q{i}": [("yes", 2), ("no", 1)] for i in range(20)}, name="a_b|50%&[c]")
BAD = Run({f"q{i}": [("no", 2), ("yes", 1)] for i in range(18)}, name="bad")
COPY = GOOD.renamed("copy")

STYLES = ["table", "markdown", "latex", "json"]


@pytest.fixture(scope="module")
def comparison():
    return compare([GOOD, BAD, COPY], QRELS, ["mrr", "P@1"], test="randomization")


@pytest.mark.parametrize("style", STYLES[:3])
def test_every_table_says_what_it_rests_on(comparison, style):
    text = render(comparison, style)
    for said in (
        "20 queries of pets",
        "paired randomisation test (sign flips), Holm correction over 6 comparisons",
        "significant where the corrected p is below 0.05",
        "bootstrap interval",
        "10000 samples",
        "bad has no results for 2 of 20 judged queries, e.g. 'q18'; they count 0",
    ):
        assert said in text


@pytest.mark.parametrize("style", STYLES[:3])
def test_every_table_gives_means_differences_and_verdicts(comparison, style):
    text = render(comparison, style)
    # MRR of the bad run: 18 queries of 1/2, two of 0: .45; P@1: 0 against 1.
    assert "0.4500" in text and "-0.5500" in text and "-1.0000" in text
    # On P@1 it loses all 20 queries: 2 of 2^20 assignments would, so 1 in 10,001 of the random ones.
    assert "0/0/20" in text and "0/20/0" in text
    lines = text.splitlines()
    assert sum("not significant" in line for line in lines) == 2
    assert sum("significant" in line and "0/0/20" in line for line in lines) == 2


@pytest.mark.parametrize("style", STYLES)
def test_every_style_draws_a_single_run_and_no_differences(style):
    text = render(compare([GOOD], QRELS, ["mrr"]), style)
    assert "1.0000" in text or '"MRR": 1.0' in text
    assert "against" not in text


def test_markdown_has_as_many_cells_in_every_row(comparison):
    for block in render(comparison, "markdown").split("\n\n")[:2]:
        rows = [line.replace("\\|", "") for line in block.splitlines()]
        assert len({row.count("|") for row in rows}) == 1
        assert len(rows) >= 5


def test_latex_has_as_many_cells_in_every_row_and_nothing_unescaped(comparison):
    text = render(comparison, "latex")
    assert r"a\_b|50\%\&{[}c{]}" in text and text.count(r"\toprule") == text.count(r"\end{tabular}") == 2
    for block in text.split("\n\n")[:2]:
        rows = [line for line in block.splitlines() if line.endswith(r"\\")]
        assert len({row.replace(r"\&", "").count("&") for row in rows}) == 1
        assert not any("_" in row.replace(r"\_", "") for row in rows)


def test_the_terminal_table_keeps_names_that_look_like_markup(comparison):
    assert render(comparison, "table").splitlines()[1].startswith("a_b|50%&[c]  ")


def test_json_holds_every_field_and_the_values_to_test_again(comparison):
    record = json.loads(render(comparison, "json"))
    assert record == to_json(comparison)
    assert record["schema"] == "limrank.comparison/1"
    assert (record["queries"], record["comparisons"], record["correction"]) == (20, 6, "holm")
    assert record["runs"][1]["means"]["MRR"] == pytest.approx(0.45)
    assert record["runs"][1]["missing"] == ["q18", "q19"]
    assert record["runs"][0]["values"]["MRR"]["q0"] == 1.0
    assert record["runs"][0]["intervals"]["MRR"] == [1.0, 1.0]
    assert record["differences"][0] == vars(comparison.differences[0])
    assert "values" not in to_json(comparison, per_query=False)["runs"][0]


def test_a_difference_that_rounds_to_0_has_no_minus_sign():
    # 1/500 less 1/499, over one query: -.000004.
    others = [(f"no{i}", -i) for i in range(498)]
    there = Run({"q0": [*others, ("yes", -1000)]}, name="there")
    below = Run({"q0": [*others, ("no", -999), ("yes", -1000)]}, name="below")
    text = render(compare([there, below], Qrels({"q0": {"yes": 1}}), ["mrr"]))
    assert "+0.0000" in text and "-0.0000" not in text


@pytest.mark.parametrize("style", ["table", "markdown", "latex", "ranx"])
def test_every_table_names_the_judgments_by_their_digest(comparison, style):
    digest = QRELS.sha256()
    assert f"20 queries of {comparison.qrels} (qrels sha256 {digest[:12]})" in render(comparison, style)
    assert to_json(comparison)["judgments"] == [{"name": QRELS.name, "sha256": digest}]


def test_judgments_of_several_tasks_have_one_digest_that_no_order_changes():
    one, other = [("a" * 64, "small"), ("b" * 64, "large")], [("b" * 64, "large"), ("a" * 64, "small")]
    lines = f"{'a' * 64} small\n{'b' * 64} large\n"
    assert digest_of(one) == digest_of(other) == hashlib.sha256(lines.encode()).hexdigest()
    assert digest_of(one[:1]) == "a" * 64


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("t", "paired t-test, stratified by task (Welch-Satterthwaite), Holm correction"),
        ("randomization", "(sign flips), stratified by task, Holm"),
        ("tukey", "pairs of runs, stratified by task (Welch-Satterthwaite), times 1"),
    ],
)
def test_a_test_over_tasks_says_that_it_is_stratified(test, words):
    ours, theirs = (
        macro_average({"a": one, "b": one}) for one in (evaluate(run, QRELS, ["mrr"]) for run in (GOOD, BAD))
    )
    assert words in describe(compare_scores([ours, theirs], qrels="two", test=test, samples=50))


def test_an_unknown_style_is_refused(comparison):
    with pytest.raises(Unknown, match="did you mean markdown"):
        render(comparison, "markdwn")


@pytest.fixture(scope="module")
def crowded():
    # Four runs: 6 pairs by 4 measures are 24 differences.
    runs = [GOOD.renamed(f"bm25+minilm+rerank{i}") for i in range(3)] + [BAD]
    return compare(runs, QRELS)


@pytest.mark.parametrize("style", STYLES[:3])
def test_more_than_20_differences_are_cut_to_the_first_measure_and_the_table_says_so(crowded, style):
    short, full = render(crowded, style), render(crowded, style, full=True)
    assert "difference in nDCG@10" in short
    assert "of all 24, over 4 measures" in short and "--full shows every one" in short.replace("{-}", "-")
    assert full.count("significant") - short.count("significant") >= 16
    assert "only" not in full and "raw p" in full and "Cohen's d" in full


def test_the_default_table_fits_120_columns(crowded):
    tables = render(crowded).split("\n\n")[:2]
    assert max(len(line) for table in tables for line in table.splitlines()) <= 120


def test_what_is_detectable_is_told_with_power_alpha_and_queries():
    text = render(compare([GOOD, BAD, COPY], QRELS, ["mrr", "P@1"]))
    assert "In 80% of cases these 20 queries show, by a t-test at alpha 0.05, a true difference of MRR 0." in text
    assert "at 0.05/6, the correction's strictest step, MRR 0." in text


@pytest.mark.parametrize("test", ["randomization", "tukey"])
def test_what_is_detectable_is_a_t_test_s_and_says_so_under_another_test(test):
    text = render(compare([GOOD, BAD, COPY], QRELS, ["mrr"], test=test))
    assert "show, by a t-test, not the test above, at alpha 0.05, a true difference of MRR 0." in text


def test_a_difference_beyond_what_a_measure_can_take_is_none():
    # 2 queries: the t distribution with one degree of freedom asks for some 9 deviations.
    two = Qrels({"q0": {"yes": 1}, "q1": {"yes": 1}})
    text = render(compare([GOOD, Run({"q0": [("no", 2), ("yes", 1)]}, name="half")], two, ["mrr"]))
    assert "a true difference of MRR none." in text


def test_tasks_have_a_table_of_their_own():
    few = Qrels({f"q{i}": {"yes": 1} for i in range(5)})
    systems = [
        macro_average({"biology": evaluate(run, QRELS, ["mrr"]), "pony": evaluate(run, few, ["mrr"])}, name=run.name)
        for run in (GOOD, BAD)
    ]
    comparison = compare_scores(systems, qrels="biology, pony")
    text = render(comparison)
    # BAD: .45 of biology, as above, and 1/2 of pony.
    assert "MRR          biology    pony    mean" in text
    assert "bad           0.4500  0.5000  0.4750" in text
    assert "25 queries of biology, pony; means are over the 2 tasks, each counting the same" in text
    assert json.loads(render(comparison, "json"))["tasks"] == {"biology": 20, "pony": 5}


def test_many_tasks_are_the_rows_of_their_table():
    scored = {f"a task with a long name {i}": evaluate(GOOD, QRELS, ["mrr"]) for i in range(12)}
    text = render(compare_scores([macro_average(scored, name="x"), macro_average(scored, name="y")], qrels="all"))
    assert "a task with a long name 11  1.0000  1.0000" in text


def test_ranx_s_report_has_all_measures(crowded):
    text = render(crowded, "ranx")
    assert "NDCG@10" in text and "Recall@100" in text and "only" not in text


def test_ranx_s_report_is_a_style(comparison):
    text = render(comparison, "ranx")
    assert "Model" in text and "1.0000ᵇ" in text and "Holm correction over 6 comparisons" in text


def test_Tukey_and_t_intervals_are_named():
    text = render(compare([GOOD, BAD, COPY], QRELS, ["mrr", "P@1"], test="tukey", interval="t"))
    assert "two-way Tukey HSD over all pairs of runs, times 2 for the measures, over 6 comparisons" in text
    assert "95% t interval;" in text and "strictest step" not in text
