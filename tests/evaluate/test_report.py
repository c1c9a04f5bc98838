import base64
import hashlib
import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from limrank.errors import LimrankError, Mismatch, Unknown
from limrank.evaluate import _report_figures as figures
from limrank.evaluate import average, compare, compare_scores, evaluate, macro_average
from limrank.evaluate._report_page import compact
from limrank.evaluate._report_reading import cut, cut_middle
from limrank.evaluate.report import Task, report, write
from limrank.manifest import Manifest, file_input
from limrank.qrels import Qrels
from limrank.records import Document, Query
from limrank.run import Run

BRIGHT = Path(__file__).parents[2].parent / "shared" / "data" / "bright"
PROGRAM = Path(figures.__file__).with_name("report_page")

QUERY_IDS = [f"q{i}" for i in range(12)]
QRELS = Qrels({query_id: {"d3": 2, "d7": 1, "d0": 0, "gone": 1} for query_id in QUERY_IDS}, name="pets")
FIRST = Run({q: [(f"d{i}", 9.0 - i) for i in range(10)] for q in QUERY_IDS}, name="first")
# The best document moves to the top in every second query; in the others it falls to the end.
GOOD = ["d3", "d7", "d0", "d1", "d2", "d4", "d5", "d6", "d8", "d9"]
POOR = ["d0", "d1", "d2", "d4", "d5", "d6", "d8", "d9", "d7", "d3"]
MODEL = Run(
    {q: [(d, 0.95 - 0.1 * i) for i, d in enumerate(GOOD if n % 2 else POOR)] for n, q in enumerate(QUERY_IDS)},
    name="model",
)
OTHER = Run({q: [(f"e{i}", -i) for i in range(3)] + [("d3", -9)] for q in QUERY_IDS}, name="other")
EVIL = "</script><script>alert(1)</script><!-- <script> ]]> & \u2028\u2029 \"'"


class Pets:
    """A dataset whose texts try to get out of where they are put."""

    name, revision = "pets", "1"

    def documents(self):
        yield from self.lookup([f"d{i}" for i in range(10)]).values()

    def lookup(self, doc_ids):
        if lost := [doc_id for doc_id in doc_ids if doc_id == "gone"]:
            raise Mismatch(f"pets lacks {lost[0]}")
        return {doc_id: Document(doc_id, f"text of {doc_id} {EVIL}") for doc_id in doc_ids}

    def queries(self):
        yield from (Query(query_id, f"question {query_id} {EVIL}") for query_id in QUERY_IDS)

    def qrels(self):
        return QRELS

    def excluded(self):
        return {}


class Page(html.parser.HTMLParser):
    """The elements of a page, refusing what is not nested; the text of every script by its id."""

    EMPTY = {"meta", "input", "br", "link", "img", "hr"}

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.scripts, self.texts = [], [], {}, {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)
        if tag == "script":
            self.script = dict(attrs).get("id", "program")
            self.scripts[self.script] = ""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[self.script] += data
        elif self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data

    def block(self, name):
        return json.loads(self.scripts[name])


def task_of(*runs, name="pets", dataset=None, paths=None, qrels=QRELS):
    return Task(name, qrels, {run.name: run for run in runs}, dataset=dataset, paths=paths or {})


def page_of(*runs, measures=("ndcg@10", "mrr"), dataset=None, paths=None, **options):
    comparison = compare(runs, QRELS, measures, baseline=runs[0].name if len(runs) > 1 else None, samples=200)
    text, _ = report(comparison, [task_of(*runs, dataset=dataset, paths=paths)], **options)
    return comparison, text


@pytest.fixture(scope="module")
def compared():
    return page_of(FIRST, MODEL, OTHER, dataset=Pets())


@pytest.fixture(scope="module")
def page(compared):
    return Page(compared[1])


@pytest.fixture(scope="module")
def two_tasks():
    """Two tasks with queries of the same ids, other judgments in the second."""
    swapped = Qrels({query_id: {"d0": 1} for query_id in QUERY_IDS[:5]}, name="cats")
    tasks = [task_of(FIRST, MODEL, name="pets"), task_of(FIRST, MODEL, name="cats", qrels=swapped)]
    scored = [
        macro_average({task.name: evaluate(task.runs[run.name], task.qrels, ["ndcg@10", "mrr"]) for task in tasks})
        for run in (FIRST, MODEL)
    ]
    comparison = compare_scores(scored, qrels="pets, cats", baseline="first", samples=200)
    return comparison, tasks, Page(report(comparison, tasks)[0]).block("overview")


def test_every_number_on_the_page_is_the_comparisons(compared, page):
    comparison, _ = compared
    overview = page.block("overview")
    for found, scores in zip(overview["comparison"]["runs"], comparison.runs):
        assert found["means"] == scores.means
        assert found["intervals"] == {name: list(ends) for name, ends in comparison.intervals[scores.name].items()}
    assert overview["comparison"]["differences"] == [vars(difference) for difference in comparison.differences]
    ids = [query["id"] for query in overview["queries"]]
    assert ids == QUERY_IDS
    for measure, by_run in overview["values"].items():
        for run, values in zip((FIRST, MODEL, OTHER), by_run):
            assert dict(zip(ids, values)) == evaluate(run, QRELS, [measure]).values[measure]


def test_a_depth_curve_begins_at_the_first_stage_and_ends_at_the_reranked_run(compared, page):
    comparison, _ = compared
    none, curve, other = page.block("overview")["curves"]
    assert (none, curve["depths"], other) == (None, [0, 10], None)
    first, model, _ = comparison.runs
    for measure in comparison.measures:
        assert curve["means"][measure] == [first.means[measure], model.means[measure]]


def test_a_curve_of_a_shorter_reranking_ends_where_the_first_stage_takes_over(tmp_path):
    # Only three documents were reranked: at depth 3 the run is what it is, whatever is behind it.
    run = Run({q: [("d2", 1.0), ("d0", 0.5), ("d1", 0.2), *((f"d{i}", -i) for i in range(3, 10))] for q in QUERY_IDS})
    paths = {"first": tmp_path / "first.trec", "run": tmp_path / "run.trec"}
    FIRST.write(paths["first"])
    run.write(paths["run"])
    inputs = {"run": file_input(paths["first"])}
    Manifest("rerank", parameters={"depth": 3}, inputs=inputs).write(paths["run"])
    comparison, text = page_of(FIRST, run, paths=paths)
    overview = Page(text).block("overview")
    assert overview["curves"][1]["depths"] == [0, 3]
    assert overview["curves"][1]["means"]["MRR"][1] == comparison.runs[1].means["MRR"]
    assert overview["systems"][1]["known_from"] == "by its manifest"


def test_the_same_comparison_gives_the_same_bytes(compared):
    assert page_of(FIRST, MODEL, OTHER, dataset=Pets())[1] == compared[1]


def test_the_page_is_well_formed_and_loads_nothing(compared, page):
    _, text = compared
    assert text.startswith("<!doctype html>") and page.elements[0] == ("html", {"lang": "en"})
    names = [attributes.get("id") for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert not {"src", "srcset", "style", "onclick", "onload"} & attributes.keys()
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"https?:|//\w+\.\w+/|@import|url\(|\bfetch\(|XMLHttpRequest|import\(", text)
    [policy] = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")


def test_only_the_programs_and_the_styles_own_bytes_are_allowed(page):
    [policy] = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    for text in (page.scripts["program"], page.texts["style"]):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy


def test_no_text_gets_out_of_where_it_is_put(page):
    # The overview, one program, one task: a passage that closes its script would open a fourth.
    assert list(page.scripts) == ["overview", "program", "task0"]
    block = page.block("task0")
    assert block["texts"][block["docs"].index("d3")] == f"text of d3 {EVIL}".strip()
    assert page.block("overview")["queries"][0]["text"] == f"question q0 {EVIL}"
    assert not re.search("[<>&\u2028\u2029]", page.scripts["overview"] + page.scripts["task0"])


def test_titles_and_names_are_text_too():
    _, text = page_of(FIRST, MODEL.renamed("<b>&model"), title=f'"{EVIL}')
    found = Page(text)
    # Any white space, the Unicode line separators too, is one blank in a title.
    assert found.texts["title"] == " ".join(f'"{EVIL}'.split()) == found.texts["h1"]
    assert found.block("overview")["systems"][1]["name"] == "<b>&model"
    assert list(found.scripts) == ["overview", "program", "task0"]


def test_the_program_makes_no_markup_of_text():
    program = "".join(path.read_text() for path in PROGRAM.glob("*.js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", program)


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_program_is_without_syntax_errors(page, tmp_path):
    (tmp_path / "program.js").write_text(page.scripts["program"])
    subprocess.run(["node", "--check", tmp_path / "program.js"], check=True)


def test_every_control_has_a_name_and_every_region_a_heading(page):
    labelled = {attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes}
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert labelled - {"reader-title"} <= ids
    assert sum(tag == "section" for tag, _ in page.elements) == len(labelled) - 1
    assert sum(tag == "label" for tag, _ in page.elements) == sum(
        tag in ("select", "input") for tag, _ in page.elements
    )
    assert ("a", {"class": "skip", "href": "#queries"}) in page.elements
    style = page.texts["style"]
    assert all(word in style for word in ("@media print", "color-scheme: light dark", ":focus-visible"))


def test_all_that_can_be_read_of_a_query_is_there(page):
    block = page.block("task0")
    rows = {block["docs"][row[0]]: row[1:] for row in block["queries"][0]["rows"]}
    # Relevance, then the ranks in first, model and other: the first query is a poor one.
    assert rows["d3"] == [2, 4, 10, 4]
    assert rows["d0"] == [0, 1, 1, 0]
    assert rows["gone"] == [1, 0, 0, 0]
    assert rows["e0"] == [None, 0, 0, 1]
    assert block["queries"][0]["scores"][1][:2] == [0.95, 0.85]
    assert block["texts"][block["docs"].index("gone")] == ""


def test_judged_documents_that_the_collection_lacks_are_told():
    comparison = compare([FIRST, MODEL], QRELS, ["mrr"])
    _, notes = report(comparison, [task_of(FIRST, MODEL, dataset=Pets())])
    assert notes == ["pets: 1 relevant documents are not in the collection, e.g. 'gone'"]


def test_without_a_dataset_there_are_ids_and_no_texts():
    block = Page(page_of(FIRST, MODEL)[1]).block("task0")
    assert block["texts"] == [] and "d3" in block["docs"]


def test_what_a_model_wrote_is_there_with_its_status(tmp_path):
    path = tmp_path / "model.trec"
    MODEL.write(path)
    answers = [
        {"query_id": "q0", "doc_ids": ["d0"], "text": "I think ", "finish_reason": "length"},
        {"query_id": "q0", "doc_ids": ["d0"], "status": "forced", "logprobs": [-0.5, -2.0]},
        {"query_id": "q0", "doc_ids": ["d1"], "status": "failed", "error": "out of memory"},
        {"query_id": "q0", "doc_ids": ["d0", "d1"], "text": "[2] > [1]"},
        {"query_id": "q1", "doc_ids": ["d0"], "text": "of another query"},
    ]
    lines = [
        json.dumps({"key": f"{i:02x}", **answer, "more": 0}, separators=(",", ":")) for i, answer in enumerate(answers)
    ]
    path.with_name("model.trec.calls.jsonl").write_text("\n".join(lines) + "\n")
    block = Page(page_of(FIRST, MODEL, paths={"model": path})[1]).block("task0")
    first = block["queries"][0]
    of_model = {block["docs"][int(place)]: said for place, said in first["said"][1].items()}
    assert of_model == {"d0": ["forced", 1.5, "I think"], "d1": ["failed", None, "out of memory"]}
    assert first["said"][0] == {}
    assert first["several"] == [[], [["ok", ["d0", "d1"], "[2] > [1]"]]]
    assert "said" not in block["queries"][2]


def test_a_system_of_several_runs_has_the_mean_s_curve_and_says_which_run_else_is_shown():
    seeds = [MODEL.renamed("seed1"), Run(dict(MODEL) | {q: FIRST[q] for q in QUERY_IDS[:8]}, name="seed2")]
    scored = [
        evaluate(FIRST, QRELS, ["mrr"]),
        average([evaluate(run, QRELS, ["mrr"]) for run in seeds], name="model"),
    ]
    comparison = compare_scores(scored, qrels="pets", samples=50)
    task = Task("pets", QRELS, {"first": FIRST, "model": seeds[0]}, seeds={"model": seeds})
    overview = Page(report(comparison, [task])[0]).block("overview")
    first, model = (scores.means["MRR"] for scores in comparison.runs)
    assert overview["curves"][1]["means"]["MRR"] == pytest.approx([first, model])
    assert (overview["systems"][1]["averaged"], overview["systems"][1]["shown"]) == (["seed1", "seed2"], "seed1")
    text, _ = report(comparison, [task], "markdown")
    assert "| model (mean of 2 runs) |" in text and "| model (its run seed1) | first | 12 | 0 | 12 |" in text
    # Which of the two a reranking of the model would have reranked, nobody knows.
    told = figures.first_stages(comparison, [task], told="model")
    assert [stage.name for stage in told.values()] == ["", ""]


@pytest.mark.parametrize("style", ["html", "markdown"])
def test_a_manifest_of_another_file_is_not_believed_and_told(tmp_path, style):
    path = tmp_path / "model.trec"
    FIRST.write(path)
    Manifest("rerank", parameters={"depth": 3, "method": {"options": {"scale": "probability"}}}).write(path)
    MODEL.write(path)
    comparison = compare([FIRST, MODEL], QRELS, ["mrr"], samples=50)
    task = task_of(FIRST, MODEL, paths={"model": path})
    _, notes = report(comparison, [task], style)
    assert notes == ["pets, model: without its manifest, which is of another file"]
    assert (task.manifests, task.reranked_depth("model")) == ({}, 10)
    path.with_name("model.trec.manifest.json").write_text('{"command": "rerank", "parameters": null}')
    _, [sentence] = report(comparison, [task_of(FIRST, MODEL, paths={"model": path})], style)
    assert sentence.startswith("pets, model: without its manifest: ") and "parameters" in sentence


def test_names_of_a_browser_s_own_are_names_like_any_other():
    overview = Page(page_of(FIRST.renamed("toString"), MODEL.renamed("constructor"))[1]).block("overview")
    # By place: on an object, these two names would find what every object has.
    assert [type(overview[key]) for key in ("systems", "curves", "calibration")] == [list] * 3
    assert overview["curves"][0] is None and overview["curves"][1]["depths"] == [0, 10]
    assert overview["calibration"][0] is None and len(overview["calibration"][1]["bins"]) == 1


@pytest.mark.parametrize("style", ["html", "markdown", "latex"])
def test_every_format_says_what_it_rests_on(style):
    comparison = compare([FIRST, MODEL], QRELS, ["ndcg@10"], baseline="first", samples=200)
    text, _ = report(comparison, [task_of(FIRST, MODEL)], style)
    for said in (
        QRELS.sha256(),
        "12 queries of pets",
        "Holm correction over 1 comparison",
        "nDCG@10",
        "first",
        "model",
    ):
        assert said in text


@pytest.mark.parametrize("suffix", [".html", ".md", ".tex"])
def test_the_suffix_decides_the_format(tmp_path, suffix):
    comparison = compare([FIRST, MODEL], QRELS, ["ndcg@10"], baseline="first", samples=200)
    write(tmp_path / f"report{suffix}", comparison, [task_of(FIRST, MODEL)])
    text = (tmp_path / f"report{suffix}").read_text()
    # d3 at rank 4 and d7 at rank 8 of the first stage; in both runs the documents are there.
    begin = {".html": "<!doctype html>", ".md": "# pets\n\n| run |", ".tex": "% pets\n\n\\begin{tabular}"}[suffix]
    assert text.startswith(begin)
    if suffix != ".html":
        curve, moved = text.split("had been reranked")
        assert re.search(r"model (\||&) first (\||&) \d\.\d{4} (\||&) \d\.\d{4}", curve)
        # d3 and d7 rise in six queries and fall in the other six.
        assert re.search(r"model (\||&) first (\||&) 12 (\||&) 0 (\||&) 12 (\||&) 0 (\||&) 0", moved)


def test_a_page_grows_with_its_queries_by_a_kilobyte_each_and_not_with_its_runs_depth():
    def size(count, depth):
        qrels = Qrels({f"q{i}": {"d3": 1} for i in range(count)}, name="pets")
        runs = [Run({q: [(f"d{i}", -i) for i in range(depth)] for q in qrels}, name=name) for name in ("a", "b")]
        return len(report(compare(runs, qrels, ["mrr"], samples=10), [task_of(*runs, qrels=qrels)])[0])

    assert size(200, 20) - size(100, 20) < 100 * 1000
    assert abs(size(100, 500) - size(100, 20)) < 1000
    assert size(1, 1) < 80_000


def test_several_tasks_are_kept_apart_and_averaged_as_the_comparison_has_it(two_tasks):
    comparison, tasks, overview = two_tasks
    assert [task["queries"] for task in overview["tasks"]] == [12, 5]
    assert [(query["task"], query["id"]) for query in overview["queries"]][11:13] == [(0, "q11"), (1, "q0")]
    for measure, by_run in overview["values"].items():
        for scores, values in zip(comparison.runs, by_run):
            assert values == list(scores.values[measure].values())
    curve = overview["curves"][1]
    assert curve["means"]["MRR"][1] == comparison.runs[1].means["MRR"]
    assert curve["by_task"]["cats"]["MRR"][1] == comparison.runs[1].by_task()["cats"].means["MRR"]
    lines = sorted(f"{task.qrels.sha256()} {task.name}\n" for task in tasks)
    assert overview["qrels"] == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_page_of_several_tasks_has_a_block_for_each(two_tasks):
    comparison, tasks, _ = two_tasks
    found = Page(report(comparison, tasks)[0])
    assert list(found.scripts) == ["overview", "program", "task0", "task1"]
    assert [len(found.block(f"task{i}")["queries"]) for i in (0, 1)] == [12, 5]


def test_skipped_queries_are_on_no_part_of_the_page():
    short = Run({q: FIRST[q] for q in QUERY_IDS[:7]}, name="short")
    comparison = compare([FIRST, MODEL, short], QRELS, ["mrr"], missing="skip", samples=50)
    found = Page(report(comparison, [task_of(FIRST, MODEL, short)])[0])
    assert [query["id"] for query in found.block("overview")["queries"]] == QUERY_IDS[:7]
    assert found.block("overview")["curves"][1]["means"]["MRR"][-1] == comparison.runs[1].means["MRR"]


def test_one_run_has_a_page_of_its_own():
    overview = Page(page_of(FIRST)[1]).block("overview")
    assert overview["comparison"]["differences"] == [] and overview["curves"] == [None]


def test_the_first_stage_is_what_is_told_or_what_has_the_same_documents(tmp_path):
    comparison = compare([FIRST, MODEL, OTHER], QRELS, ["mrr"], samples=10)
    tasks = [task_of(FIRST, MODEL, OTHER)]
    stages = figures.first_stages(comparison, tasks)
    assert {name: stage.name for name, stage in stages.items()} == {"first": "", "model": "first", "other": ""}
    stages = figures.first_stages(comparison, tasks, told="model")
    assert {name: stage.name for name, stage in stages.items()} == {"first": "model", "model": "", "other": ""}
    # A manifest that says otherwise is believed, although the documents are the same.
    paths = {name: tmp_path / f"{name}.trec" for name in ("first", "model", "other")}
    for run in (FIRST, MODEL, OTHER):
        run.write(paths[run.name])
    Manifest("retrieve").write(paths["model"])
    stages = figures.first_stages(comparison, [task_of(FIRST, MODEL, OTHER, paths=paths)])
    assert stages["model"].name == ""


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"first_stage": "frist"}, Unknown, "did you mean first"),
        ({"style": "pdf"}, Unknown, "format of a report 'pdf'"),
        ({"top": 0}, LimrankError, "top=0"),
        ({"characters": 0}, LimrankError, "characters=0"),
    ],
)
def test_options_out_of_range_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        page_of(FIRST, MODEL, **options)


def test_what_does_not_belong_together_is_refused(tmp_path, two_tasks):
    comparison = compare([FIRST, MODEL], QRELS, ["mrr"], samples=10)
    with pytest.raises(Mismatch, match="lacks a run of 'model'"):
        report(comparison, [task_of(FIRST)])
    with pytest.raises(Mismatch, match="'q11' of the comparison is not judged|'q0' of the comparison is not judged"):
        report(comparison, [task_of(FIRST, MODEL, qrels=Qrels({"q1": {"d3": 1}}))])
    with pytest.raises(Mismatch, match="of 2 tasks, and 1 are given"):
        report(two_tasks[0], [task_of(FIRST, MODEL)])
    with pytest.raises(LimrankError, match=r"report\.pdf: a report is written as \.html, \.md or \.tex"):
        write(tmp_path / "report.pdf", comparison, [task_of(FIRST, MODEL)])


def test_a_first_stage_with_its_best_three_reranked():
    # The model has d3 d7 d0 d1 d2 ...; of d0 d1 d2 it has d0 before d1 before d2; of the best eight also d3 and d7.
    first, model = Run({"q": FIRST["q1"]}), Run({"q": MODEL["q1"]})
    assert figures.at_depth(model, first, 3).doc_ids("q") == [f"d{i}" for i in range(10)]
    assert figures.at_depth(model, first, 8).doc_ids("q") == [
        "d3",
        "d7",
        "d0",
        "d1",
        "d2",
        "d4",
        "d5",
        "d6",
        "d8",
        "d9",
    ]
    assert figures.at_depth(model, first, 5).doc_ids("q") == [
        "d3",
        "d0",
        "d1",
        "d2",
        "d4",
        "d5",
        "d6",
        "d7",
        "d8",
        "d9",
    ]


def test_moves_worked_out_by_hand():
    comparison = compare([FIRST, MODEL], QRELS, ["mrr"], samples=10)
    # Both d3 (rank 4) and d7 (rank 8) rise in six queries, to 1 and 2, and fall in six, to 10 and 9; none leaves the
    # first ten; "gone" is nowhere.
    assert figures.moves(comparison, [task_of(FIRST, MODEL)], "model", "first") == (12, 0, 12, 0, 0)


def test_the_first_ten_end_at_rank_ten():
    # d9 is at rank 10 and d10 at rank 11; they change places.
    docs = [f"d{i}" for i in range(12)]
    first, model = (
        Run({"q": [(doc_id, -float(i)) for i, doc_id in enumerate(order)]}, name=name)
        for name, order in (("first", docs), ("model", [*docs[:9], "d10", "d9", "d11"]))
    )
    qrels = Qrels({"q": {"d0": 1, "d9": 1, "d10": 1}}, name="pets")
    task = task_of(first, model, qrels=qrels)
    found = figures.moves(compare([first, model], qrels, ["mrr"], samples=10), [task], "model", "first")
    assert found == (1, 1, 1, 1, 1)


def test_bins_worked_out_by_hand():
    # Scores .95 .85 ... .05, one in each bin of each query; d3 is first in six queries and last in six, d7 is second in
    # six and last but one in six. 1.0 belongs to the last bin, too.
    bins = figures.calibration(task_of(MODEL), "model", QUERY_IDS)
    assert [found.documents for found in bins] == [12] * 10
    assert [found.relevant for found in bins] == [6, 6, 0, 0, 0, 0, 0, 0, 6, 6]
    assert bins[9].total == pytest.approx(12 * 0.95)
    sure = Run({"q0": [("d3", 1.0), ("d1", 0.0)]}, name="sure")
    ends = figures.calibration(task_of(sure), "sure", ["q0", "q1"])
    assert (ends[9], ends[0]) == ((1, 1.0, 1), (1, 0.0, 0))


def test_scores_are_probabilities_only_between_0_and_1_and_where_no_manifest_says_otherwise(tmp_path):
    assert "no manifest" in figures.probabilities([task_of(MODEL)], "model")
    assert figures.probabilities([task_of(FIRST)], "first") == ""
    path = tmp_path / "model.trec"
    MODEL.write(path)
    for method, expected in (
        ({"name": "pointwise", "options": {"scale": "probability", "think": "auto"}}, "by the run's manifest"),
        ({"name": "pointwise", "options": {"scale": "probability", "think": "top:5"}}, ""),
        ({"name": "likelihood", "options": {}}, ""),
    ):
        Manifest("rerank", parameters={"method": method}).write(path)
        found = figures.probabilities([task_of(MODEL, paths={"model": path})], "model")
        assert (expected in found) if expected else found == ""


def test_texts_are_cut_at_a_word_and_thoughts_in_the_middle():
    assert cut("one two three", 13) == "one two three"
    assert cut("one two three", 10) == "one two …"
    assert cut("a" * 20, 10) == "a" * 10 + " …"
    # Six tenths of ten characters from the beginning, four from the end.
    assert cut_middle("0123456789abcdefghij", 10) == "012345\n[… 10 characters left out …]\nghij"
    assert cut_middle("short", 10) == "short"


def test_NaN_does_not_get_on_a_page():
    with pytest.raises(ValueError):
        compact(float("nan"))


@pytest.mark.skipif(not BRIGHT.is_dir(), reason="the shared collections are not here")
def test_the_runs_of_biology_have_the_depths_that_their_authors_reranked():
    folder = BRIGHT / "biology"
    runs = [Run.read(folder / "runs" / f"{name}.top100.trec.gz") for name in ("bm25", "bm25_rank1-7b")]
    qrels = Qrels.read(folder / "qrels.trec")
    comparison = compare(runs, qrels, ["ndcg@10"], baseline="bm25.top100", samples=50)
    task = task_of(*runs, name="biology", qrels=qrels)
    curve = Page(report(comparison, [task])[0]).block("overview")["curves"][1]
    assert curve["depths"] == [0, 10, 20, 50, 100]
    assert curve["means"]["nDCG@10"] == pytest.approx([0.1719, 0.2065, 0.2399, 0.2974, 0.3397], abs=0.00005)


def browser():
    """A Chromium page through Playwright, or a skipped test."""
    sync_api = pytest.importorskip("playwright.sync_api")
    where = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    play = sync_api.sync_playwright().start()
    try:
        return play, play.chromium.launch(executable_path=where, args=["--no-sandbox"])
    except sync_api.Error as error:
        play.stop()
        pytest.skip(f"no Chromium: {error}")


@pytest.fixture(scope="module")
def opened(compared, tmp_path_factory):
    play, chromium = browser()
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(compared[1])
    tab, faults = chromium.new_page(color_scheme="light"), []
    tab.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("dialog", lambda dialog: faults.append(f"a text was run: {dialog.message}"))
    tab.on("request", lambda request: faults.append(request.url) if not request.url.startswith("file:") else None)
    tab.goto(path.as_uri())
    yield tab, faults
    chromium.close()
    play.stop()


def test_a_browser_shows_it_without_a_fault_and_asks_no_network(opened):
    tab, faults = opened
    assert tab.locator("#means tbody tr").count() == 3
    assert tab.locator("#forest svg, #bars svg, #depth svg, #moves svg, #calibration svg").count() == 5
    for caption in tab.locator("figure .basis").all_inner_texts():
        for said in ("nDCG@10", "12 queries of pets", "documents deep", "first stage", "qrels sha256", "correction"):
            assert said in caption
    assert faults == []


def test_a_query_is_opened_read_and_closed_from_the_keyboard(opened):
    tab, faults = opened
    tab.locator("#rows tr").first.focus()
    tab.keyboard.press("ArrowDown")
    second = tab.evaluate("document.activeElement.dataset.query")
    tab.keyboard.press("Enter")
    assert tab.locator("#reader").evaluate("node => node.open")
    title = tab.locator("#reader-title").inner_text()
    assert "text of d3 </script><script>alert(1)</script>" in tab.locator("#reader").inner_text()
    tab.keyboard.press("ArrowRight")
    assert tab.locator("#reader-title").inner_text() != title
    tab.keyboard.press("ArrowLeft")
    assert tab.locator("#reader-title").inner_text() == title
    tab.keyboard.press("Escape")
    assert not tab.locator("#reader").evaluate("node => node.open")
    assert tab.evaluate("document.activeElement.dataset.query") == second
    tab.keyboard.press("/")
    tab.keyboard.type("q11")
    assert tab.locator("#rows tr").count() == 1 and tab.locator("#found").inner_text() == "1 query"
    tab.fill("#search", "")
    assert faults == []


def test_columns_sort_and_measures_change(opened):
    tab, faults = opened
    tab.locator("#list thead button", has_text="query").click()
    ids = tab.locator("#rows td:first-child").all_inner_texts()
    assert ids == QUERY_IDS
    assert tab.locator("#list th[aria-sort=ascending]").inner_text().startswith("query")
    tab.select_option("#measure", label="MRR")
    assert "MRR" in tab.locator("#forest figcaption").inner_text()
    tab.select_option("#measure", label="nDCG@10")
    assert faults == []


def test_dark_and_print_change_the_colours(opened):
    tab, faults = opened
    paper = "getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(paper)
    tab.emulate_media(color_scheme="dark")
    dark = tab.evaluate(paper)
    tab.emulate_media(color_scheme="dark", media="print")
    assert (tab.evaluate(paper) == light) and dark != light
    assert not tab.locator("header .controls").is_visible()
    tab.emulate_media(color_scheme="light", media="screen")
    for wanted in (light, dark, light):
        tab.locator("#theme").click()
        assert tab.evaluate(paper) == wanted
    assert faults == []


def test_on_paper_the_list_says_what_it_leaves_out(opened, tmp_path):
    qrels = Qrels({f"q{i}": {"d3": 1} for i in range(60)}, name="pets")
    runs = [Run({q: [("d3", 2.0), ("d1", 1.0)] for q in qrels}, name=name) for name in ("toString", "valueOf")]
    path = tmp_path / "report.html"
    path.write_text(report(compare(runs, qrels, ["mrr"], samples=10), [task_of(*runs, qrels=qrels)])[0])
    tab, faults = opened[0].context.browser.new_page(), []
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.goto(path.as_uri())
    tab.emulate_media(media="print")
    said = tab.locator("#drawn")
    assert said.is_visible() and said.inner_text() == "The first 50 of 60 queries by difference, descending."
    assert tab.locator("#rows tr").count() == 50 and faults == []
    tab.close()
