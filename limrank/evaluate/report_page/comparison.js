// The comparison's own numbers: means, differences, the forest of one measure, tasks side by side. Computes no test.
const groups = comparison.runs.map((run) => run.tasks ?? null);

function showMeans() {
  const best = {};
  for (const measure of comparison.measures) best[measure] = Math.max(...comparison.runs.map((run) => run.means[measure]));
  const rows = comparison.runs.map((run, i) => [
    run.name + (run.averaged ? ` (mean of ${run.averaged.length} runs)` : ""),
    ...comparison.measures.map((measure) => {
      const [low, high] = run.intervals[measure];
      const value = run.means[measure];
      return [el("span", { class: value === best[measure] ? "best" : null }, fixed(value)),
        el("small", {}, ` [${fixed(low, 3)}, ${fixed(high, 3)}]`)];
    }),
    systems[i].first_stage || "–",
  ]);
  const columns = [["run", false], ...comparison.measures.map((measure) => [measure, true]), ["first stage", false]];
  put("means", table(columns, rows, "Means of every run"),
    el("p", { class: "hint" }, report.describe + " The best mean of a measure is bold, whatever the tests say."));
  put("warnings", comparison.warnings.map((text) => el("li", {}, text)));
  byId("warnings").hidden = comparison.warnings.length === 0;
}

function verdict(difference) {
  if (!difference.significant) return el("span", {}, "not significant");
  return el("strong", { class: difference.difference > 0 ? "more" : "less" }, difference.difference > 0 ? "▲ significant" : "▼ significant");
}

function showDifferences() {
  const shown = comparison.differences.filter((found) => found.measure === state.measure);
  if (!shown.length) {
    put("forest");
    put("differences", el("p", { class: "hint" }, "One run: there is nothing to compare it with."));
    return;
  }
  const rows = shown.map((found) => [
    found.run, found.baseline,
    [signed(found.difference), el("small", {}, ` [${signed(found.low, 3)}, ${signed(found.high, 3)}]`)],
    chance(found.p), chance(found.corrected_p),
    found.effect_size === null ? "–" : signed(found.effect_size, 2),
    `${found.wins}/${found.ties}/${found.losses}`,
    verdict(found),
  ]);
  const columns = [["run", false], ["against", false], ["difference", true], ["p", true], ["corrected p", true],
    ["Cohen's d", true], ["win/tie/loss", true], ["verdict", false]];
  const others = comparison.differences.length - shown.length;
  const hidden = others ? ` ${plural(others, "more comparison")} of other measures ${others === 1 ? "is" : "are"} in the correction; choose the measure above to see them.` : "";
  put("differences", table(columns, rows, "Differences in " + state.measure),
    el("p", { class: "hint" }, "d is the mean difference over the deviation of the queries' differences. Intervals are not corrected." + hidden));
  put("forest", figure(forest(shown), basis({ tested: true, whole: true,
    note: `Difference in ${state.measure} with its ${100 * comparison.confidence} % ${comparison.interval} interval; filled: significant after correction (alpha ${comparison.alpha}), hollow: not.` }),
    "Difference in " + state.measure + (comparison.baseline === null ? "" : " to " + comparison.baseline)));
}

function forest(shown) {
  const pairwise = comparison.baseline === null;
  const titles = shown.map((found) => (pairwise ? `${found.run} − ${found.baseline}` : found.run));
  const left = Math.min(430, 30 + 6.6 * Math.max(...titles.map((text) => text.length)));
  const width = 1000, right = 790, row = 26, bottom = 14 + row * shown.length;
  const low = Math.min(0, ...shown.map((found) => found.low)), high = Math.max(0, ...shown.map((found) => found.high));
  const margin = (high - low || 0.1) * 0.05;
  const x = linear(low - margin, high + margin, left, right);
  const said = shown.map((found, i) => `${titles[i]}: ${signed(found.difference)}, ${found.significant ? "significant" : "not significant"}`);
  return chart(width, bottom + 40, "Forest plot. " + said.join("; "),
    axisX(x, ticks(low - margin, high + margin), bottom, 6, "difference in " + state.measure),
    line(x(0), 6, x(0), bottom, "axis"),
    shown.map((found, i) => {
      const y = 6 + row * (i + 0.5);
      const kind = direction(found.difference);
      return svg("g", {},
        label(left - 12, y + 4, titles[i], { "text-anchor": "end" }),
        line(x(found.low), y, x(found.high), y, "line-" + kind, { "stroke-width": 2 }),
        line(x(found.low), y - 4, x(found.low), y + 4, "line-" + kind, { "stroke-width": 2 }),
        line(x(found.high), y - 4, x(found.high), y + 4, "line-" + kind, { "stroke-width": 2 }),
        svg("circle", { cx: x(found.difference), cy: y, r: 5.5, class: found.significant ? "fill-" + kind : "hollow line-" + kind }),
        label(right + 14, y + 4, `${signed(found.difference)}  p ${chance(found.corrected_p)}` + (found.effect_size === null ? "" : `  d ${signed(found.effect_size, 2)}`)));
    }));
}

function showTasks() {
  byId("by-task").hidden = !several;
  if (!several) return;
  const of = (i, task) => groups[i][task.name].means[state.measure];
  const rows = report.tasks.map((task) => {
    const best = Math.max(...names.map((_, i) => of(i, task)));
    return [task.name, String(task.queries), ...names.map((_, i) => el("span", { class: of(i, task) === best ? "best" : null }, fixed(of(i, task)))),
      names.length > 1 ? taskDelta(of(state.run, task) - of(state.against, task)) : ""];
  });
  rows.push(["mean of tasks", String(report.queries.length), ...comparison.runs.map((run) => fixed(run.means[state.measure])),
    taskDelta(comparison.runs[state.run].means[state.measure] - comparison.runs[state.against].means[state.measure])]);
  const columns = [["task", false], ["queries", true], ...names.map((name) => [name, true]), [`${names[state.run]} − ${names[state.against]}`, true]];
  put("tasks", table(columns, rows, "Means by task"), el("p", { class: "hint" },
    basis({ whole: true, note: "Means only: no test was made within a task, and the last column is no claim about one." })));
}
const taskDelta = (value) => el("span", { class: direction(value) }, signed(value));

function showBars() {
  const queries = chosenQueries().sort((a, b) => deltaOf(b) - deltaOf(a) || a - b);
  const deltas = queries.map(deltaOf);
  const width = 1000, height = 250, left = 60, bottom = 225;
  const y = linear(Math.min(-0.05, ...deltas), Math.max(0.05, ...deltas), bottom, 10);
  const step = (width - left - 10) / queries.length;
  const counts = { more: 0, less: 0, same: 0 };
  for (const delta of deltas) counts[direction(delta)]++;
  const bars = queries.map((query, i) => {
    const delta = deltas[i];
    // A tie is a tick on the axis: a bar of no height could be neither seen nor reached.
    const top = Math.min(y(delta), y(0) - 1), bottomOf = Math.max(y(delta), y(0) + 1);
    const name = `${report.queries[query].id}: ${signed(delta)}`;
    return svg("rect", { x: left + step * i, y: top, width: Math.max(0.5, step * (step > 3 ? 0.85 : 1)), height: bottomOf - top, class: "bar fill-" + direction(delta),
      role: "button", tabindex: i === 0 ? "0" : "-1", "aria-label": name, "data-query": query, onclick: () => openReader(query, queries),
      onkeydown: (event) => alongBars(event, query, queries) }, svg("title", {}, name));
  });
  const drawing = svg("svg", { class: "chart wide", viewBox: `0 0 ${width} ${height}`, role: "group",
    "aria-label": `Differences by query, sorted: ${counts.more} better, ${counts.same} equal, ${counts.less} worse` },
    axisY(y, ticks(...[Math.min(-0.05, ...deltas), Math.max(0.05, ...deltas)]), left, width - 10, "difference"), bars, line(left, y(0), width - 10, y(0), "axis"));
  const said = `${names[state.run]} less ${names[state.against]}: better on ${counts.more}, equal on ${counts.same}, worse on ${counts.less}. Left and right move along the bars, Enter opens a query.`;
  put("bars", figure(drawing, basis({ system: state.run, note: said }), `${state.measure} of ${names[state.run]} less that of ${names[state.against]}`));
}
function alongBars(event, query, queries) {
  const bars = [...event.currentTarget.parentNode.querySelectorAll(".bar")];
  const at = bars.indexOf(event.currentTarget);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: bars.length - 1 }[event.key];
  if (event.key === "Enter" || event.key === " ") openReader(query, queries);
  else if (to === undefined) return;
  else if (bars[to]) {
    bars[at].setAttribute("tabindex", "-1");
    bars[to].setAttribute("tabindex", "0");
    bars[to].focus();
  }
  event.preventDefault();
}
