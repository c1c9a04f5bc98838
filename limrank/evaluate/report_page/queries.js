// The list of queries: sorted, searched, and drawn a page at a time, because a thousand rows make a browser wait.
const PAGE = 50;
const list = { sort: "delta", down: true, words: "", shown: [], drawn: 0 };

const COLUMNS = [
  { key: "task", title: "task", of: (query) => report.queries[query].task, cell: (query) => report.tasks[report.queries[query].task].name, only: () => several },
  { key: "id", title: "query", of: (query) => report.queries[query].id, cell: (query) => report.queries[query].id },
  { key: "text", title: "wording", kind: "wording", of: (query) => report.queries[query].text, cell: (query) => report.queries[query].text.slice(0, 200), only: () => report.queries.some((query) => query.text) },
  { key: "against", title: () => names[state.against], number: true, of: (query) => valueOf(state.against, query), cell: (query) => fixed(valueOf(state.against, query)), only: () => names.length > 1 },
  { key: "run", title: () => names[state.run], number: true, of: (query) => valueOf(state.run, query), cell: (query) => fixed(valueOf(state.run, query)) },
  { key: "delta", title: "difference", number: true, of: deltaOf, cell: (query) => el("span", { class: direction(deltaOf(query)) }, signed(deltaOf(query))), only: () => names.length > 1 },
  { key: "first", title: () => "first relevant at" + (systems[state.run].averaged.length || systems[state.against].averaged.length ? " (in one run)" : ""), number: true, of: (query) => -bestRank(query, state.run), cell: (query) => firstRanks(query) },
];
const columns = () => COLUMNS.filter((column) => !column.only || column.only());
const titleOf = (column) => (typeof column.title === "function" ? column.title() : column.title);

function bestRank(query, system) {
  return Math.min(...report.queries[query].relevant.map((ranks) => ranks[system] || Infinity), Infinity);
}
function firstRanks(query) {
  const text = (system) => (bestRank(query, system) === Infinity ? "none" : String(bestRank(query, system)));
  return names.length > 1 ? `${text(state.against)} → ${text(state.run)}` : text(state.run);
}

function compareValues(a, b) {
  if (typeof a === "string") return a.localeCompare(b, "en", { numeric: true });
  return a === b ? 0 : a - b;
}
function showQueries() {
  const column = columns().find((one) => one.key === list.sort) ?? columns()[0];
  const words = list.words.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (query) => {
    const { id, text, task } = report.queries[query];
    const all = `${id} ${text} ${report.tasks[task].name}`.toLowerCase();
    return words.every((word) => all.includes(word));
  };
  const sign = list.down ? -1 : 1;
  list.shown = chosenQueries().filter((query) => !words.length || matches(query))
    .sort((a, b) => sign * compareValues(column.of(a), column.of(b)) || a - b);
  list.drawn = 0;
  const head = columns().map((one) => el("th", { scope: "col", class: one.number ? "n" : null, "aria-sort": one.key === column.key ? (list.down ? "descending" : "ascending") : "none" },
    el("button", { type: "button", onclick: () => sortBy(one.key) }, breakable(titleOf(one)), one.key === column.key ? (list.down ? " ▾" : " ▴") : "")));
  const body = el("tbody", { id: "rows", onkeydown: alongRows, onclick: (event) => openRow(event.target.closest("tr")) });
  put("list", el("div", { class: "scroll" }, el("table", { "aria-label": "Queries" }, el("thead", {}, el("tr", {}, head)), body)),
    el("button", { type: "button", id: "more-rows", class: "more-rows", onclick: drawRows }, ""),
    el("p", { class: "faint", id: "drawn" }), el("p", { class: "hint" }, basis({ system: state.run })));
  byId("found").textContent = plural(list.shown.length, "query");
  drawRows();
}
function drawRows() {
  const next = list.shown.slice(list.drawn, list.drawn + PAGE);
  byId("rows").append(...next.map((query, i) => el("tr", { tabindex: list.drawn + i === 0 ? "0" : "-1", "data-query": query },
    columns().map((one) => el("td", { class: one.number ? "n" : one.kind ?? null }, one.cell(query))))));
  list.drawn += next.length;
  const left = list.shown.length - list.drawn;
  byId("more-rows").hidden = left === 0;
  // On paper there is no button and no search box: what is missing has to be said.
  const column = columns().find((one) => one.key === list.sort) ?? columns()[0];
  byId("drawn").textContent = left ? `The first ${list.drawn} of ${plural(list.shown.length, "query")} by ${titleOf(column)}, ${list.down ? "descending" : "ascending"}.` : "";
  byId("more-rows").textContent = `show ${Math.min(PAGE, left)} more of ${left}`;
}
function sortBy(key) {
  list.down = list.sort === key ? !list.down : !["task", "id", "text"].includes(key);
  list.sort = key;
  showQueries();
  [...byId("list").querySelectorAll("thead button")][columns().findIndex((one) => one.key === key)].focus();
}
function openRow(row) {
  if (row) openReader(Number(row.dataset.query), list.shown);
}
function focusRow(row) {
  for (const one of byId("rows").children) one.tabIndex = -1;
  row.tabIndex = 0;
  row.focus();
}
function alongRows(event) {
  const row = event.target.closest("tr");
  if (!row) return;
  if (event.key === "ArrowDown" && !row.nextElementSibling) drawRows();
  const to = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling, Home: row.parentNode.firstElementChild, End: row.parentNode.lastElementChild }[event.key];
  if (event.key === "Enter" || event.key === " ") openRow(row);
  else if (to) focusRow(to);
  else return;
  event.preventDefault();
}
