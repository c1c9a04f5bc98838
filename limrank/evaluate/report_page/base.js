// The page's data and state, and the few ways in which elements are made. Content only ever becomes text nodes.
const byId = (id) => document.getElementById(id);
const SVG = byId("canvas").namespaceURI;
const report = JSON.parse(byId("overview").textContent);
const comparison = report.comparison;
const systems = report.systems;
const names = systems.map((system) => system.name);
// What a figure is about that looks into one of the runs that a system averages.
const shownName = (i) => names[i] + (systems[i].averaged.length ? ` (one of its runs: ${systems[i].shown})` : "");
const several = report.tasks.length > 1;
const baseline = comparison.baseline ?? names[0];

// What is looked at first: the best run but the baseline, preferably one that reranked another.
function bestOther() {
  const mean = (i) => comparison.runs[i].means[comparison.measures[0]];
  const others = names.map((_, i) => i).filter((i) => names[i] !== baseline);
  others.sort((a, b) => Boolean(systems[b].first_stage) - Boolean(systems[a].first_stage) || mean(b) - mean(a));
  return others[0] ?? 0;
}
// `task` is a place in report.tasks, or -1 for all of them.
const state = {
  measure: comparison.measures[0],
  task: several ? -1 : 0,
  run: bestOther(),
  against: names.indexOf(baseline),
};

const blocks = new Map();
// What can be read of a task's queries is parsed when it is first looked at: it is most of the file.
function reading(task) {
  if (!blocks.has(task)) blocks.set(task, JSON.parse(byId("task" + task).textContent));
  return blocks.get(task);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const fixed = (value, digits = 4) => value.toFixed(digits).replace("-", "−");
function signed(value, digits = 4) {
  const text = Math.abs(value).toFixed(digits);
  return (Number(text) === 0 ? "±" : value > 0 ? "+" : "−") + text;
}
const chance = (p) => (p < 0.0001 ? "<0.0001" : p.toFixed(4));
const percent = (share) => (100 * share).toFixed(1) + " %";
const plural = (count, word) => count.toLocaleString("en") + " " + (count === 1 ? word : word.endsWith("y") ? word.slice(0, -1) + "ies" : word + "s");
const direction = (value) => (value > comparison.tolerance ? "more" : value < -comparison.tolerance ? "less" : "same");

// The queries of the chosen task, as places in report.queries.
function chosenQueries() {
  const all = report.queries.map((_, place) => place);
  return state.task < 0 ? all : all.filter((place) => report.queries[place].task === state.task);
}
const valueOf = (system, query, measure = state.measure) => report.values[measure][system][query];
const deltaOf = (query) => valueOf(state.run, query) - valueOf(state.against, query);
const taskName = () => (state.task < 0 ? "all " + report.tasks.length + " tasks" : report.tasks[state.task].name);

function correction() {
  const count = comparison.comparisons;
  if (!count) return "nothing to test";
  return report.correction + " correction over " + plural(count, "comparison");
}
// What every figure says of itself; `tested` where it shows the comparison's tests.
function basis({ measure = state.measure, system = null, tested = false, whole = false, note = "" } = {}) {
  const queries = whole ? report.queries.length : chosenQueries().length;
  const where = whole ? (several ? "all " + report.tasks.length + " tasks" : report.tasks[0].name) : taskName();
  const digest = whole || state.task < 0 ? report.qrels : report.tasks[state.task].qrels;
  const chosen = system === null ? systems : [systems[system]];
  const depths = [...new Set(chosen.map((one) => one.depth))].sort((a, b) => a - b);
  const stages = [...new Set(chosen.map((one) => one.first_stage).filter(Boolean))];
  const said = [
    measure,
    plural(queries, "query") + " of " + where,
    depths.join(" or ") + " documents deep",
    stages.length ? "first stage " + stages.join(", ") : "no first stage known",
    "qrels sha256 " + digest.slice(0, 12),
    tested ? report.test + ", " + correction() : "nothing is tested in this figure (table: " + correction() + ")",
  ];
  return [note, el("span", { class: "basis" }, said.join(" · "))];
}

function figure(drawing, caption, title = "") {
  return el("figure", {}, title ? el("h3", {}, title) : null, el("div", { class: "drawing" }, drawing), el("figcaption", {}, caption));
}
// A name that may be broken where its parts meet: runs are called after all that made them.
const breakable = (text) => (typeof text === "string" ? text.split(/(?<=[._+/-])/).flatMap((part, i) => (i ? [el("wbr"), part] : [part])) : text);
function put(id, ...children) {
  byId(id).replaceChildren(...children.flat().filter(Boolean));
}

// A table; columns are [heading, numeric]. Cells are text, nodes, or arrays of them.
function table(columns, rows, caption) {
  const cell = (tag, content, column, extra = {}) => el(tag, { class: column[1] ? "n" : null, ...extra }, content);
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {},
      el("thead", {}, el("tr", {}, columns.map((column) => cell("th", breakable(column[0]), column, { scope: "col" })))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((content, i) => cell("td", i ? content : breakable(content), columns[i])))))));
}
