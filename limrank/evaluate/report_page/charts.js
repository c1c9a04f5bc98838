// Scales, axes and marks; they know numbers and places, nothing of runs and queries.
function linear(from, to, start, end) {
  const span = to - from || 1;
  return (value) => start + ((value - from) / span) * (end - start);
}
function ticks(from, to, count = 7) {
  const rough = (to - from) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}
const short = (value) => String(Number(value.toPrecision(6))).replace("-", "−");

function chart(width, height, label, ...children) {
  return svg("svg", { class: width > 900 ? "chart wide" : "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...children);
}
const line = (x1, y1, x2, y2, kind, extra = {}) => svg("line", { x1, y1, x2, y2, class: kind, ...extra });
const label = (x, y, text, extra = {}) => svg("text", { x, y, ...extra }, text);

function axisX(scale, values, bottom, top, title, text = short) {
  return svg("g", { "aria-hidden": "true" },
    values.map((value) => [line(scale(value), top, scale(value), bottom, "grid"),
      label(scale(value), bottom + 16, text(value), { class: "tick", "text-anchor": "middle" })]).flat(),
    title ? label((scale(values[0]) + scale(values[values.length - 1])) / 2, bottom + 33, title, { class: "tick", "text-anchor": "middle" }) : null);
}
function axisY(scale, values, left, right, title, text = short) {
  const middle = (scale(values[0]) + scale(values[values.length - 1])) / 2;
  return svg("g", { "aria-hidden": "true" },
    values.map((value) => [line(left, scale(value), right, scale(value), "grid"),
      label(left - 6, scale(value) + 4, text(value), { class: "tick", "text-anchor": "end" })]).flat(),
    title ? label(0, 0, title, { class: "tick", "text-anchor": "middle", transform: `translate(${left - 42} ${middle}) rotate(-90)` }) : null);
}

// Seven colours, and as many shapes and dashes, so that colour is never needed.
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "12 4", "4 2", "1 2"];
const seriesColour = (i) => `var(--s${i % 7})`;
function marker(i, x, y, size = 4.5) {
  const common = { fill: seriesColour(i) };
  const path = (d) => svg("path", { d, ...common });
  switch (i % 7) {
    case 0: return svg("circle", { cx: x, cy: y, r: size, ...common });
    case 1: return svg("rect", { x: x - size, y: y - size, width: 2 * size, height: 2 * size, ...common });
    case 2: return path(`M${x} ${y - size * 1.3}l${size * 1.3} ${size * 2.2}h${-size * 2.6}z`);
    case 3: return path(`M${x} ${y - size * 1.4}l${size * 1.4} ${size * 1.4}l${-size * 1.4} ${size * 1.4}l${-size * 1.4} ${-size * 1.4}z`);
    case 4: return path(`M${x} ${y + size * 1.3}l${size * 1.3} ${-size * 2.2}h${-size * 2.6}z`);
    case 5: return path(`M${x - size} ${y - size / 3}h${size * 0.67}v${-size * 0.67}h${size * 0.67}v${size * 0.67}h${size * 0.67}v${size * 0.67}h${-size * 0.67}v${size * 0.67}h${-size * 0.67}v${-size * 0.67}h${-size * 0.67}z`);
    default: return svg("circle", { cx: x, cy: y, r: size, fill: "none", stroke: seriesColour(i), "stroke-width": 2.5 });
  }
}

// Places at least `gap` apart, in the same order, as near to where they were as that allows.
function spread(places, gap) {
  const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b]);
  const found = [...places];
  for (let k = 1; k < order.length; k++) found[order[k]] = Math.max(found[order[k]], found[order[k - 1]] + gap);
  return found;
}
