// What the runs say without any test: depth, movement of relevant documents, scores against relevance.
function showDepth() {
  const curved = names.map((_, i) => i).filter((i) => report.curves[i]);
  if (!curved.length) {
    put("depth", el("p", { class: "hint" }, "No run here is known to have reranked another one: give both, and say with --first-stage which one was first."));
    return;
  }
  const pointsOf = (i) => {
    const curve = report.curves[i];
    const means = state.task < 0 || !several ? curve.means : curve.by_task[report.tasks[state.task].name];
    return curve.depths.map((depth, k) => [depth, means[state.measure][k]]);
  };
  const all = curved.map(pointsOf);
  const depths = [...new Set(all.flat().map((point) => point[0]))].sort((a, b) => a - b);
  const values = all.flat().map((point) => point[1]);
  const low = Math.min(...values), high = Math.max(...values), margin = (high - low || 0.1) * 0.08;
  const width = 1000, right = 700, bottom = 300, left = 70;
  // Steps of equal width: the depths are chosen, not measured, and 10 to 20 matters as much as 50 to 100.
  const x = (depth) => left + 20 + (depths.indexOf(depth) / Math.max(1, depths.length - 1)) * (right - left - 40);
  const y = linear(low - margin, high + margin, bottom, 12);
  const ends = spread(all.map((points) => y(points[points.length - 1][1])), 15);
  const drawing = chart(width, 345, "Depth curves. " + curved.map((i, k) => `${names[i]}: ` + all[k].map(([depth, value]) => `${depth}: ${fixed(value)}`).join(", ")).join("; "),
    axisY(y, ticks(low - margin, high + margin), left, right, state.measure),
    svg("g", { "aria-hidden": "true" }, depths.map((depth) => label(x(depth), bottom + 18, depth === 0 ? "first stage" : String(depth), { class: "tick", "text-anchor": "middle" })),
      label((left + right) / 2, bottom + 38, "first-stage documents that are reranked", { class: "tick", "text-anchor": "middle" })),
    curved.map((i, k) => svg("g", {},
      svg("path", { class: "curve", stroke: seriesColour(i), "stroke-dasharray": DASHES[i % 7], d: "M" + all[k].map(([depth, value]) => `${x(depth)} ${y(value)}`).join("L") }),
      all[k].map(([depth, value]) => marker(i, x(depth), y(value))),
      line(right - 12, y(all[k][all[k].length - 1][1]), right + 8, ends[k], "grid"),
      marker(i, right + 18, ends[k]),
      label(right + 30, ends[k] + 4, `${names[i]} ${fixed(all[k][all[k].length - 1][1])}`))));
  const rows = curved.map((i, k) => [names[i], systems[i].first_stage, ...depths.map((depth) => {
    const point = all[k].find((one) => one[0] === depth);
    return point ? fixed(point[1]) : "";
  })]);
  const ways = [...new Set(curved.map((i) => systems[i].known_from))].join("; ");
  put("depth", figure(drawing, basis({ note: `Computed from the runs: the best documents of the first stage, this many, in the reranked order, the rest as they were. Exact for rerankers that judge each document by itself; for listwise, setwise and pairwise ones another depth is another question. First stage known: ${ways}.` }),
    `${state.measure} by depth of reranking`),
    table([["run", false], ["reranked", false], ...depths.map((depth) => [depth === 0 ? "0 (first stage)" : String(depth), true])], rows, "Depth curves as numbers"));
}

const BANDS = [[1, 10], [11, 20], [21, 50], [51, 100], [101, Infinity]];
const bandName = (band) => (band[1] === Infinity ? `over ${band[0] - 1}` : `${band[0]}–${band[1]}`);

function showMoves() {
  const after = state.run;
  const stage = names.indexOf(systems[after].first_stage);
  const before = stage >= 0 ? stage : state.against;
  const pairs = chosenQueries().flatMap((query) => report.queries[query].relevant.map((found) => [found[before], found[after], query]));
  const found = pairs.filter(([from, to]) => from && to);
  const deepest = Math.max(10, ...pairs.flatMap(([from, to]) => [from, to]));
  const size = 420, left = 60, bottom = size - 50;
  const place = (rank) => Math.log(rank || deepest * 1.6);
  const x = linear(0, place(0), left, size - 10), y = linear(0, place(0), 10, bottom);
  const at = [1, 3, 10, 30, 100, 300, 1000].filter((rank) => rank <= deepest);
  const text = (value) => (value === 0 ? "none" : String(value));
  const kind = ([from, to]) => (from === to ? "same" : to && (!from || to < from) ? "more" : "less");
  const counts = { more: 0, same: 0, less: 0 };
  for (const pair of found) counts[kind(pair)]++;
  const scale = (f) => (rank) => f(place(rank));
  const drawing = chart(size, size, `Ranks of relevant documents in ${names[before]} and ${names[after]}: ${counts.more} up, ${counts.same} unmoved, ${counts.less} down`,
    axisX(scale(x), [...at, 0], bottom, 10, "rank in " + names[before], text), axisY(scale(y), [...at, 0], left, size - 10, "rank in " + names[after], text),
    line(x(0), y(0), x(place(deepest)), y(place(deepest)), "axis"),
    pairs.filter(([from, to]) => from || to).map((pair) => dot(kind(pair), x(place(pair[0])), y(place(pair[1])))));
  const bands = BANDS.filter((band) => band[0] <= deepest);
  const cell = (rank) => (rank ? bands.findIndex((band) => rank >= band[0] && rank <= band[1]) : bands.length);
  const matrix = [...bands, null].map(() => [...bands, null].map(() => 0));
  for (const [from, to] of pairs) matrix[cell(from)][cell(to)]++;
  const titles = [...bands.map(bandName), "not there"];
  const rows = matrix.map((row, i) => [titles[i], ...row.map((count, k) => (count ? el("span", { class: k < i ? "more" : k > i ? "less" : null }, String(count)) : "·")), String(row.reduce((a, b) => a + b, 0))]);
  rows.push(["all", ...titles.map((_, k) => String(matrix.reduce((sum, row) => sum + row[k], 0))), String(pairs.length)]);
  const which = stage >= 0 ? "its first stage" : "not its first stage, only the run chosen above";
  const note = `Each mark is a relevant document: triangles up rose (${counts.more}), down fell (${counts.less}), circles stayed (${counts.same}), of ${found.length} that both runs have; ${pairs.length - found.length} of all ${pairs.length} are in one or none. ${names[before]} is ${which}.`;
  put("moves", figure(drawing, basis({ system: after, note }), `${shownName(before)} → ${shownName(after)}`),
    el("div", {}, el("h3", {}, `Ranks in ${names[before]} (rows) and ${names[after]} (columns)`), table([["", false], ...titles.map((title) => [title, true]), ["all", true]], rows, "Relevant documents by rank before and after"),
      el("p", { class: "hint" }, basis({ system: after, note: "Relevant documents; left of the diagonal they rose, right of it they fell." }))));
}
function dot(kind, x, y) {
  if (kind === "same") return svg("circle", { cx: x, cy: y, r: 3, class: "dot fill-same" });
  const up = kind === "more" ? -1 : 1;
  return svg("path", { class: "dot fill-" + kind, d: `M${x - 4} ${y - 3 * up}h8l-4 ${7 * up}z` });
}

// A share of fewer documents than these says next to nothing.
const FEW = 20;
function showCalibration() {
  const scored = names.map((_, i) => i).filter((i) => report.calibration[i]);
  if (!scored.length) {
    put("calibration", el("p", { class: "hint" }, "No run has scores that can be read as probabilities: all between 0 and 1."));
    return;
  }
  const small = scored.map((i) => calibrationOf(i));
  put("calibration", el("div", { class: "small" }, small),
    el("p", { class: "hint" }, basis({ note: "Documents in ten bins by score: the mean score of a bin against the share of its documents that is relevant; on the line, a score means what it says. A larger mark is more documents; one of fewer than " + FEW + " is faint, and the line leaves it out. Documents without a judgment count as not relevant, which lowers every share where judgments are few." })));
}
function calibrationOf(i) {
  const { why, bins } = report.calibration[i];
  const chosen = state.task < 0 ? bins : [bins[state.task]];
  const sums = bins[0].map((_, k) => chosen.reduce((sum, of) => sum.map((value, j) => value + of[k][j]), [0, 0, 0]));
  const full = sums.map(([documents, total, relevant], k) => ({ k, documents, score: total / documents, share: relevant / documents, relevant })).filter((bin) => bin.documents);
  const enough = full.filter((bin) => bin.documents >= FEW);
  const size = 260, left = 52, bottom = size - 44;
  const x = linear(0, 1, left, size - 8), y = linear(0, 1, bottom, 8);
  const most = Math.max(...full.map((bin) => bin.documents));
  const told = full.map((bin) => `score ${(bin.k / 10).toFixed(1)} to ${((bin.k + 1) / 10).toFixed(1)}: ${plural(bin.documents, "document")}, ${percent(bin.share)} relevant`);
  const drawing = chart(size, size, `Scores of ${shownName(i)}. ` + told.join("; "),
    axisX(x, [0, 0.25, 0.5, 0.75, 1], bottom, 8, "score"), axisY(y, [0, 0.25, 0.5, 0.75, 1], left, size - 8, "share relevant"),
    line(x(0), y(0), x(1), y(1), "axis", { "stroke-dasharray": "4 3" }),
    svg("path", { class: "curve", stroke: seriesColour(i), d: "M" + (enough.length ? enough : full.slice(0, 1)).map((bin) => `${x(bin.score)} ${y(bin.share)}`).join("L") }),
    full.map((bin, k) => svg("g", { opacity: bin.documents < FEW ? 0.35 : null }, marker(i, x(bin.score), y(bin.share), 3 + 5 * Math.sqrt(bin.documents / most)), svg("title", {}, told[k]))));
  const rows = full.map((bin) => [`${(bin.k / 10).toFixed(1)}–${((bin.k + 1) / 10).toFixed(1)}`, bin.documents.toLocaleString("en"), percent(bin.share)]);
  return el("figure", {}, el("h3", {}, shownName(i)), drawing, el("details", {}, el("summary", {}, "as numbers"), table([["score", false], ["documents", true], ["relevant", true]], rows, "Scores of " + names[i])), el("figcaption", {}, why));
}
