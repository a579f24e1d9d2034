// Predicted against actual: a point for each row, its interval as a bar, and the line on which a prediction is exact.
import { axisBottom, axisLeft, scaleLinear, select } from "../vendor/d3.js";
import { s } from "./elements.js";
import { label } from "./numbers.js";

const SIZE = 420;
const EDGE = { left: 52, right: 10, top: 22, bottom: 40 };

export function scatter({ actual, predicted, low, high, name, title }) {
  const known = [...actual, ...predicted].filter(Number.isFinite);
  const [from, to] = [Math.min(...known), Math.max(...known)];
  const room = 0.05 * (to - from) || 1;
  const x = scaleLinear([from - room, to + room], [EDGE.left, SIZE - EDGE.right]);
  const y = scaleLinear([from - room, to + room], [SIZE - EDGE.bottom, EDGE.top]);
  const axes = [s("g", { class: "axis", transform: `translate(0,${SIZE - EDGE.bottom})` }), s("g", { class: "axis", transform: `translate(${EDGE.left},0)` })];
  select(axes[0]).call(axisBottom(x).ticks(5).tickSize(4).tickFormat(label));
  select(axes[1]).call(axisLeft(y).ticks(5).tickSize(0).tickPadding(8).tickFormat(label));
  let bars = "";
  let points = "";
  const inside = (pixel) => Math.min(Math.max(pixel, EDGE.top), SIZE - EDGE.bottom);
  actual.forEach((value, i) => {
    if (!Number.isFinite(value) || !Number.isFinite(predicted[i])) return;
    if (low) bars += `M${x(value).toFixed(1)},${inside(y(low[i])).toFixed(1)}V${inside(y(high[i])).toFixed(1)}`;
    points += `M${x(value).toFixed(1)},${y(predicted[i]).toFixed(1)}h0`;
  });
  return s("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, class: "chart scatter", role: "img", "aria-label": title }, axes,
    s("path", { class: "bars", d: bars }), s("line", { class: "exact", x1: x(from), y1: y(from), x2: x(to), y2: y(to) }), s("path", { class: "rows", d: points }),
    s("text", { class: "axis-name", x: SIZE - EDGE.right, y: SIZE - 4, "text-anchor": "end" }, `actual ${name}`), s("text", { class: "axis-name", x: 4, y: 13 }, "predicted"));
}
