// One query, read: its wording, its values, the documents of two runs side by side, and what a model said of them.
const reader = { query: 0, among: [], before: 0, after: 0, from: null };

function openReader(query, among) {
  const dialog = byId("reader");
  // The block may still be on its way: the file is shown before it is read to its end.
  if (!byId("task" + report.queries[query].task)) return;
  if (!dialog.open) {
    reader.from = document.activeElement;
    const stage = names.indexOf(systems[state.run].first_stage);
    reader.after = state.run;
    reader.before = state.against !== state.run || stage < 0 ? state.against : stage;
  }
  reader.query = query;
  reader.among = among;
  drawReader();
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  byId("reader-title").focus();
}
function neighbour(step) {
  const to = reader.among[reader.among.indexOf(reader.query) + step];
  if (to !== undefined) openReader(to, reader.among);
}
function alongReader(event) {
  // Left and right belong to what is being chosen or scrolled, too.
  if (event.target.closest("select, input, pre")) return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && !event.altKey && !event.ctrlKey && !event.metaKey) {
    neighbour(step);
    event.preventDefault();
  }
}
function closedReader() {
  const row = byId("rows").querySelector(`[data-query="${reader.query}"]`);
  if (reader.from?.closest("#rows") && row) focusRow(row);
  else if (reader.from?.isConnected) reader.from.focus();
}

// The query's part of its task's block: a task's queries stand there in the order of report.queries.
function recordOf(query) {
  const task = report.queries[query].task;
  const first = report.queries.findIndex((one) => one.task === task);
  return { block: reading(task), record: reading(task).queries[query - first] };
}

function drawReader() {
  const query = report.queries[reader.query];
  const { block, record } = recordOf(reader.query);
  const at = reader.among.indexOf(reader.query);
  const choice = (which, title) => el("label", {}, title + " ", el("select", { onchange: (event) => { reader[which] = Number(event.target.value); drawReader(); byId("reader").querySelector(`[data-which=${which}]`).focus(); }, "data-which": which },
    names.map((name, i) => el("option", { value: i, selected: i === reader[which] }, name))));
  const values = comparison.measures.map((measure) => [measure, ...names.map((_, i) => fixed(valueOf(i, reader.query, measure)))]);
  const runs = reader.before === reader.after ? [reader.after] : [reader.before, reader.after];
  byId("reader").replaceChildren(
    el("div", { class: "reader-head" },
      el("h2", { id: "reader-title", tabindex: "-1" }, `${several ? report.tasks[query.task].name + " · " : ""}query ${query.id}`),
      el("div", { class: "controls" }, names.length > 1 ? [choice("before", "before"), choice("after", "after")] : null,
        el("button", { type: "button", onclick: () => neighbour(-1), disabled: at <= 0, "aria-label": "previous query" }, "◀"),
        el("span", { class: "faint" }, `${at + 1} of ${reader.among.length}`),
        el("button", { type: "button", onclick: () => neighbour(1), disabled: at >= reader.among.length - 1, "aria-label": "next query" }, "▶"),
        el("button", { type: "button", onclick: () => byId("reader").close() }, "close"))),
    el("blockquote", { tabindex: "0" }, query.text || "The wording of the query is not in this report."),
    table([["measure", false], ...names.map((name) => [name, true])], values, "Values of this query"),
    el("p", { class: "hint" }, `${plural(query.relevant.length, "relevant document")}; the best ${report.top} of each run. qrels sha256 ${report.tasks[query.task].qrels.slice(0, 12)}.` + (block.texts.length ? " Texts are cut." : " The documents' texts are not here.")),
    el("div", { class: "pair" }, runs.map((system) => ranking(system, runs.find((one) => one !== system) ?? null, block, record))),
    furtherDown(runs, block, record) ?? "",
    ...runs.map((system) => answersAboutSeveral(system, record) ?? ""));
}

// The places of a row: document, relevance, then the rank in every run.
const rankIn = (row, system) => row[2 + system];
const isRelevant = (row) => row[1] !== null && row[1] > 0;

function ranking(system, other, block, record) {
  const rows = record.rows.filter((row) => rankIn(row, system) && rankIn(row, system) <= report.top).sort((a, b) => rankIn(a, system) - rankIn(b, system));
  return el("section", { "aria-label": `documents of ${names[system]}` }, el("h3", {}, shownName(system)),
    rows.length ? el("ol", { class: "docs" }, rows.map((row) => item(row, system, other, block, record))) : el("p", { class: "hint" }, "No documents."));
}
function moved(row, system, other) {
  if (other === null) return null;
  const from = rankIn(row, other), to = rankIn(row, system);
  if (!from) return el("span", { class: "tag faint" }, `not in ${names[other]}`);
  // Left of the two is what was before: there it is said where a document went, and right where it came from.
  const rose = system === reader.after ? from > to : to > from;
  const text = from === to ? "unmoved" : `${rose ? "↑" : "↓"} ${system === reader.after ? "from" : "to"} ${from}`;
  return el("span", { class: "tag " + (from === to ? "faint" : rose ? "more" : "less"), title: `rank in ${names[other]}: ${from}` }, text);
}
function relevanceTag(row) {
  if (isRelevant(row)) return el("span", { class: "tag more" }, `● relevant (${row[1]})`);
  return el("span", { class: "tag faint" }, row[1] === null ? "not judged" : `judged ${row[1]}`);
}
function item(row, system, other, block, record) {
  const rank = rankIn(row, system);
  const said = record.said?.[system]?.[row[0]];
  const score = record.scores[system][rank - 1];
  const text = block.texts[row[0]];
  const summary = [el("span", { class: "rank" }, String(rank)), " ", block.docs[row[0]], relevanceTag(row), moved(row, system, other),
    score === undefined ? null : el("span", { class: "tag faint" }, "score " + short(score)),
    said ? el("span", { class: "tag" + (said[0] === "ok" ? " faint" : " less") }, said[0] + (said[1] === null ? "" : `, log-odds ${signed(said[1], 2)}`)) : null];
  const body = [text ? el("div", { class: "text" }, text) : null,
    said && said[2] ? [el("div", { class: "faint" }, said[0] === "failed" ? "what went wrong" : "what the model wrote"), el("div", { class: "thought", tabindex: "0" }, said[2])] : null].flat().filter(Boolean);
  const twin = (on) => (event) => {
    for (const one of byId("reader").querySelectorAll(".twin")) one.classList.remove("twin");
    if (on) for (const one of byId("reader").querySelectorAll(`[data-doc="${event.currentTarget.dataset.doc}"]`)) one.classList.add("twin");
  };
  return el("li", { class: isRelevant(row) ? "relevant" : null, "data-doc": row[0], onmouseenter: twin(true), onmouseleave: twin(false), onfocusin: twin(true), onfocusout: twin(false), tabindex: body.length ? null : "0" },
    body.length ? el("details", { open: rank <= 3 && Boolean(text) }, el("summary", {}, summary), body) : summary);
}

function furtherDown(runs, block, record) {
  const rows = record.rows.filter((row) => isRelevant(row) && !runs.every((system) => rankIn(row, system) && rankIn(row, system) <= report.top));
  if (!rows.length) return null;
  const rank = (row, system) => (rankIn(row, system) ? String(rankIn(row, system)) : "not there");
  const cells = rows.map((row) => [block.docs[row[0]], String(row[1]), ...names.map((_, system) => rank(row, system)), (block.texts[row[0]] ?? "").slice(0, 160)]);
  const texts = block.texts.length > 0;
  return el("section", {}, el("h3", {}, `Relevant documents outside the first ${report.top}`),
    table([["document", false], ["relevance", true], ...names.map((name) => ["rank in " + name, true]), ...(texts ? [["text", false]] : [])], cells.map((row) => (texts ? row : row.slice(0, -1))), "Relevant documents further down"));
}
function answersAboutSeveral(system, record) {
  const answers = record.several?.[system] ?? [];
  if (!answers.length) return null;
  return el("section", {}, el("h3", {}, `What the model of ${names[system]} wrote about several documents at once`),
    answers.map(([status, ids, text]) => el("details", {}, el("summary", {}, plural(ids.length, "document"), el("span", { class: "tag" + (status === "ok" ? " faint" : " less") }, status)),
      el("div", { class: "faint" }, ids.join("  ")), el("div", { class: "thought", tabindex: "0" }, text))));
}
