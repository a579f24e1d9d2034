// Curves over the steps of a descent, the value on a logarithmic scale, with a cursor that can be led by hand.
import { axisBottom, axisLeft, scaleLinear, scaleLog, select } from "../vendor/d3.js";
import { h, s } from "./elements.js";
import { label } from "./numbers.js";

const WIDE = 520;
const EDGE = { left: 54, right: 10, top: 24, bottom: 34 };

export function errorChart({ title, name = "error E", height = 230, hovered = null }) {
  const x = scaleLinear([0, 1], [EDGE.left, WIDE - EDGE.right]);
  const y = scaleLog([0.1, 1], [height - EDGE.bottom, EDGE.top]);
  const axes = [s("g", { class: "axis", transform: `translate(0,${height - EDGE.bottom})` }), s("g", { class: "axis", transform: `translate(${EDGE.left},0)` })];
  const grid = s("g", { class: "grid" });
  const lines = s("g", { class: "curves" });
  const cursor = s("line", { class: "cursor", y1: EDGE.top, y2: height - EDGE.bottom });
  const points = s("g", { class: "points" });
  const svg = s("svg", { viewBox: `0 0 ${WIDE} ${height}`, class: "chart", role: "img", "aria-label": title }, grid, axes, lines, cursor, points,
    s("text", { class: "axis-name", x: WIDE - EDGE.right, y: height - 2, "text-anchor": "end" }, "step"),
    s("text", { class: "axis-name", x: 4, y: 12 }, name));
  let shown = {};
  let steps = null;
  let scaled = "";

  // Curves by name: {name: values}, at steps 0, 1, …, at those given, or at those given for each by its name.
  const stepsOf = (key) => (!steps ? null : steps.length === undefined ? steps[key] : steps);
  function draw(given, at = null) {
    shown = given;
    steps = at;
    let last = 1;
    let low = Infinity;
    let high = 0;
    for (const [key, values] of Object.entries(given)) {
      last = Math.max(last, stepsOf(key)?.[values.length - 1] ?? values.length - 1);
      const first = values[0];
      for (const value of values) {
        if (value > 0 && value < low) low = value;
        if (value > high && value < 30 * first) high = value;
      }
    }
    if (!(low < Infinity)) low = 0.1;
    low = Math.max(low, high * 1e-9);
    if (!(high > low)) high = 10 * low;
    x.domain([0, last]);
    y.domain([10 ** (Math.floor(4 * Math.log10(low)) / 4), 10 ** (Math.ceil(4 * Math.log10(high)) / 4)]);
    const key = `${x.domain()}|${y.domain()}`;
    if (key !== scaled) {
      scaled = key;
      const decades = Math.log10(y.domain()[1] / y.domain()[0]);
      const values = ticks(y.domain(), decades);
      select(axes[0]).call(axisBottom(x).ticks(6).tickSize(4).tickFormat(label));
      select(axes[1]).call(axisLeft(y).tickValues(values).tickSize(0).tickPadding(6).tickFormat(label));
      grid.replaceChildren(...values.map((value) => s("line", { x1: EDGE.left, x2: WIDE - EDGE.right, y1: y(value), y2: y(value) })));
    }
    const [top, bottom] = [EDGE.top, height - EDGE.bottom];
    const place = (value) => (value > 0 ? Math.min(Math.max(y(value), top - 4), bottom) : value === 0 ? bottom : top - 4);
    lines.replaceChildren(...Object.entries(given).map(([key, values]) => {
      const parts = new Array(values.length);
      const own = stepsOf(key);
      for (let i = 0; i < values.length; i += 1) parts[i] = `${x(own ? own[i] : i).toFixed(1)},${place(values[i]).toFixed(1)}`;
      return s("path", { class: `curve ${key}`, d: `M${parts.join("L")}` });
    }));
  }

  function point(step) {
    const at = Math.min(Math.max(step, 0), x.domain()[1]);
    cursor.setAttribute("x1", x(at));
    cursor.setAttribute("x2", x(at));
    points.replaceChildren(...Object.entries(shown).map(([key, values]) => {
      const own = stepsOf(key);
      const i = own ? Math.max(own.findLastIndex((each) => each <= at), 0) : Math.min(Math.round(at), values.length - 1);
      const value = values[i];
      const up = value > 0 ? Math.min(Math.max(y(value), EDGE.top), height - EDGE.bottom) : height - EDGE.bottom;
      return s("circle", { class: `point ${key}`, r: 3.5, cx: x(own ? own[i] : i), cy: up });
    }));
  }

  if (hovered) {
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const at = x.invert(((event.clientX - box.left) * WIDE) / box.width);
      hovered(Math.min(Math.max(Math.round(at), 0), x.domain()[1]));
    });
    svg.addEventListener("pointerleave", () => hovered(null));
  }
  return { element: h("div", { class: "chart-box" }, svg), draw, point, x, y };
}

function ticks([low, high], decades) {
  const times = decades > 3 ? [1] : decades > 1.4 ? [1, 3] : decades > 0.6 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1)
    for (const each of times) {
      const value = each * 10 ** power;
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  const every = Math.ceil(found.length / 6);
  return found.filter((_, i) => i % every === 0);
}
