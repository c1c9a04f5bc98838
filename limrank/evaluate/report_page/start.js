// The controls, what is drawn again when one of them changes, the theme, and where everything comes from.
function showBasis() {
  const tasks = report.tasks.map((task) => [task.name, String(task.queries), el("code", {}, task.qrels)]);
  if (several) tasks.push(["all together", String(report.queries.length), el("code", {}, report.qrels)]);
  const runs = systems.map((system) => el("details", {}, el("summary", {}, system.name, " ", el("span", { class: "faint" },
    [`${system.depth} documents deep`, system.first_stage ? `first stage ${system.first_stage} (${system.known_from}), ${system.reranked} reranked` : "no first stage known",
      system.averaged.length ? `mean of ${system.averaged.join(", ")}` : "", system.made.command ? `made by limrank ${system.made.command}` : "no manifest beside it"].filter(Boolean).join(" · "))),
    system.made.command ? el("pre", { tabindex: "0" }, JSON.stringify(system.made, null, 2)) : null));
  const detectable = Object.entries(comparison.detectable).map(([measure, found]) => [measure, fixed(found.single), fixed(found.corrected)]);
  put("basis", el("p", {}, report.describe), table([["task", false], ["queries", true], ["sha256 of the judgments", false]], tasks, "Judgments"),
    detectable.length ? [el("h3", {}, `The difference that these queries can show (power ${comparison.power}, the pair with the median error)`),
      table([["measure", false], ["one test", true], ["corrected", true]], detectable, "Detectable differences")] : null,
    report.notes.length ? [el("h3", {}, "What is not here"), el("ul", {}, report.notes.map((text) => el("li", {}, text)))] : null,
    el("h3", {}, "Runs"), runs, el("p", { class: "hint" }, `limrank ${report.limrank}. This file holds everything it shows and loads nothing.`));
}

function showAll() {
  showDifferences();
  showTasks();
  if (names.length > 1) showBars();
  else put("bars", el("p", { class: "hint" }, "One run: the list below has its value of every query."));
  showDepth();
  showMoves();
  showCalibration();
  showQueries();
}
function choices(id, titles, key, shift = 0) {
  const select = byId(id);
  select.replaceChildren(...titles.map((title, i) => el("option", { value: i + shift, selected: i + shift === (key === "measure" ? comparison.measures.indexOf(state.measure) : state[key]) }, title)));
  select.addEventListener("change", () => {
    state[key] = key === "measure" ? comparison.measures[Number(select.value)] : Number(select.value);
    showAll();
  });
}

const THEMES = ["system", "light", "dark"];
function useTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = "theme: " + theme;
  // A page opened from a file may not be allowed to remember.
  try { localStorage.setItem("limrank-theme", theme); } catch { /* then it does not */ }
}
function remembered() {
  try { return localStorage.getItem("limrank-theme") ?? "system"; } catch { return "system"; }
}

showMeans();
showBasis();
choices("measure", comparison.measures, "measure");
choices("task", [...(several ? ["all, each the same weight"] : []), ...report.tasks.map((task) => task.name)], "task", several ? -1 : 0);
choices("run", names, "run");
choices("against", names, "against");
byId("task").parentNode.hidden = !several;
byId("run").parentNode.hidden = byId("against").parentNode.hidden = names.length < 2;
useTheme(THEMES.includes(remembered()) ? remembered() : "system");
byId("theme").addEventListener("click", () => useTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % 3]));
byId("search").addEventListener("input", (event) => { list.words = event.target.value; showQueries(); });
byId("search").addEventListener("keydown", (event) => { if (event.key === "ArrowDown" && byId("rows").firstElementChild) { focusRow(byId("rows").firstElementChild); event.preventDefault(); } });
byId("reader").addEventListener("keydown", alongReader);
byId("reader").addEventListener("close", closedReader);
byId("reader").addEventListener("click", (event) => { if (event.target === byId("reader")) byId("reader").close(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !byId("reader").open && !event.target.closest("input, select")) { byId("search").focus(); event.preventDefault(); }
});
showAll();
