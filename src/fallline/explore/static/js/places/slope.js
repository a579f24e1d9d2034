// The first place: a curve, its slope at a point, and a descent along it.
import { axisBottom, axisLeft, pointer, scaleLinear, select } from "../../vendor/d3.js";
import { read, write } from "../address.js";
import { choice, slider } from "../controls.js";
import { h, s, uniqueId } from "../elements.js";
import { label, signed, written } from "../numbers.js";
import { newest } from "../socket.js";

const CURVES = {
  "x^2": { name: "x²", window: [-3.2, 4], x: 2, rate: 0.1 },
  "x^4/4 - x^2 + x/5": { name: "Two valleys", window: [-2.3, 2.3], x: 2.1, rate: 0.05 },
  "sin(2*x) + x/3": { name: "A sine on a slope", window: [-6, 6], x: 4.4, rate: 0.2 },
};
const OWN = "own";
const DEFAULTS = { curve: "x^2", formula: "x^2 + 3*cos(3*x)", x: 2, rate: 0.1, momentum: 0, steps: 20, from: -3.2, to: 4 };
const NARROW = matchMedia("(max-width: 40rem)");
const EDGE = { left: 52, right: 12, top: 26, bottom: 40 };

export function open(main) {
  const [WIDE, HIGH] = NARROW.matches ? [560, 460] : [860, 520];
  const state = read(DEFAULTS);
  let said = null; // what the server said last
  const save = () => write({ ...state, x: Number(state.x.toPrecision(5)) }, DEFAULTS);
  const formulaOf = () => (state.curve === OWN ? state.formula : state.curve);
  const x = scaleLinear([state.from, state.to], [EDGE.left, WIDE - EDGE.right]);
  const y = scaleLinear([0, 1], [HIGH - EDGE.bottom, EDGE.top]);
  const clip = uniqueId("frame");
  const axes = [s("g", { class: "axis", transform: `translate(0,${HIGH - EDGE.bottom})` }), s("g", { class: "axis", transform: `translate(${EDGE.left},0)` })];
  const arrow = uniqueId("arrow");
  const grid = s("g", { class: "grid" });
  const curve = s("path", { class: "graph" });
  const tangent = s("line", { class: "tangent" });
  const triangle = s("path", { class: "triangle" });
  const run = s("text", { class: "side", "text-anchor": "middle" });
  const rise = s("text", { class: "side" });
  const way = s("path", { class: "way-line" });
  const stones = s("path", { class: "stones" });
  const next = s("path", { class: "next", "marker-end": `url(#${arrow})` });
  const minimum = s("circle", { class: "dot", r: 6 });
  const handle = s("g", { class: "start", tabindex: 0, role: "slider", "aria-label": "Point on the curve; arrow keys move it", "aria-valuenow": 0 },
    s("circle", { class: "reach", r: 28 }), s("circle", { class: "ring", r: 10 }), s("circle", { class: "knob", r: 6 }));
  const layer = s("g", { "clip-path": `url(#${clip})` }, grid, curve, triangle, tangent, way, stones, minimum, next, run, rise);
  const svg = s("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "map slope", role: "group", "aria-label": "The curve, its tangent and the descent along it" },
    s("clipPath", { id: clip }, s("rect", { x: EDGE.left, y: EDGE.top - 8, width: WIDE - EDGE.left - EDGE.right, height: HIGH - EDGE.top - EDGE.bottom + 8 })),
    s("marker", { id: arrow, viewBox: "0 0 10 10", refX: 8.5, refY: 5, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" }, s("path", { class: "arrow", d: "M0 0.8 10 5 0 9.2z" })),
    axes, layer, handle, s("text", { class: "axis-name", x: WIDE - EDGE.right, y: HIGH - 4, "text-anchor": "end" }, "x"), s("text", { class: "axis-name", x: 4, y: 14 }, "f(x)"));

  const big = h("p", { class: "big" });
  const tells = h("p", { class: "says" });
  const complaint = h("p", { class: "complaint", role: "alert", hidden: true });
  const own = h("input", { type: "text", value: state.formula, maxlength: 120, "aria-label": "Formula in x", spellcheck: "false", autocapitalize: "off" });
  const window_ = [["from", "from"], ["to", "to"]].map(([key, name]) => {
    const input = h("input", { type: "number", value: state[key], step: "any", "aria-label": `Window ${name}`, class: "small-number" });
    input.addEventListener("change", () => {
      const value = Number(input.value);
      if (Number.isFinite(value)) { state[key] = value; ask(); save(); }
    });
    return input;
  });
  const ownRow = h("div", { class: "own", hidden: state.curve !== OWN }, own, h("span", { class: "label" }, "for x from"), window_[0], h("span", { class: "label" }, "to"), window_[1]);
  own.addEventListener("input", () => { state.formula = own.value; ask(); save(); });
  const kind = choice({
    label: "Curve", value: state.curve,
    options: { ...Object.fromEntries(Object.entries(CURVES).map(([key, { name }]) => [key, name])), [OWN]: "Your own …" },
    change: (value) => {
      state.curve = value;
      ownRow.hidden = value !== OWN;
      if (value in CURVES) {
        [state.from, state.to] = CURVES[value].window;
        ({ x: state.x, rate: state.rate } = CURVES[value]);
        rate.set(state.rate);
      } else own.focus();
      window_.forEach((input, i) => (input.value = i ? state.to : state.from));
      ask(); save();
    },
  });
  const rate = slider({ label: "Learning rate", low: 0.005, high: 2.5, value: state.rate, log: true, change: (value) => { state.rate = value; ask(); save(); } });
  const momentum = slider({ label: "Momentum", low: 0, high: 0.99, step: 0.01, value: state.momentum, show: (value) => value.toFixed(2), change: (value) => { state.momentum = value; ask(); save(); } });
  const steps = slider({ label: "Steps", low: 1, high: 40, step: 1, value: state.steps, show: String, change: (value) => { state.steps = value; ask(); save(); } });

  main.replaceChildren(
    h("section", { class: "intro" }, h("h1", {}, "Which way is down?"),
      h("p", {}, "The slope says how much the curve rises when x grows by one. Gradient descent steps against it, and further where it is steep. ",
        h("strong", {}, "Drag the point."), " Then raise the learning rate: the steps arrive, jump across the valley, and at last climb out of it.")),
    complaint,
    h("div", { class: "stage wide-stage" }, h("div", { class: "picture" }, svg),
      h("div", { class: "panel" }, kind.element, ownRow, big, rate.element, momentum.element, steps.element, tells)));

  const send = newest("slope", (answer, arrays, asked) => {
    complain("");
    said = { ...answer, ...arrays };
    draw(asked);
  }, complain);
  function complain(words) {
    complaint.textContent = words;
    complaint.hidden = !words;
  }
  function ask() {
    send({ formula: formulaOf(), x: state.x, rate: state.rate, momentum: state.momentum, steps: state.steps, window: [state.from, state.to] });
  }

  function draw({ formula, window }) {
    const values = Array.from(said.curve).filter(Number.isFinite).sort((a, b) => a - b);
    const [low, high] = [values[Math.floor(0.01 * values.length)] ?? -1, values[Math.floor(0.99 * values.length)] ?? 1];
    const room = 0.12 * (high - low) || 1;
    x.domain(window);
    y.domain([low - room, high + room]);
    svg.dataset.formula = formula;
    select(axes[0]).call(axisBottom(x).ticks(8).tickSize(4).tickFormat(label));
    select(axes[1]).call(axisLeft(y).ticks(6).tickSize(0).tickPadding(8).tickFormat(label));
    grid.replaceChildren(...y.ticks(6).map((value) => s("line", { x1: EDGE.left, x2: WIDE - EDGE.right, y1: y(value), y2: y(value) })));
    let d = "";
    let down = false;
    said.curve.forEach((value, i) => {
      const there = Number.isFinite(value);
      if (there) d += `${down ? "L" : "M"}${x(said.x_values[i]).toFixed(1)},${cut(y(value)).toFixed(1)}`;
      down = there;
    });
    curve.setAttribute("d", d);
    const at = [said.x, said.value];
    // The tangent, over a fixed length of the picture, and the triangle of a run of one, or less where that would leave it.
    const reach = 0.22 * (window[1] - window[0]);
    const ends = [-reach, reach].map((away) => [x(at[0] + away), cut(y(at[1] + said.slope * away))]);
    set(tangent, { x1: ends[0][0], y1: ends[0][1], x2: ends[1][0], y2: ends[1][1] });
    const unit = 1 <= 0.3 * (window[1] - window[0]) ? 1 : 10 ** Math.floor(Math.log10(0.3 * (window[1] - window[0])));
    const [x0, y0, x1, y1] = [x(at[0]), y(at[1]), x(at[0] + unit), cut(y(at[1] + said.slope * unit))];
    triangle.setAttribute("d", `M${x0},${y0}L${x1},${y0}L${x1},${y1}Z`);
    set(run, { x: (x0 + x1) / 2, y: y0 + (y1 < y0 ? 16 : -7) });
    run.textContent = label(unit);
    set(rise, { x: x1 + 6, y: (y0 + y1) / 2 + 4 });
    rise.textContent = signed(said.slope * unit, 3);
    const points = Array.from(said.way_x, (each, i) => [cut(x(each)), cut(y(said.way_value[i]))]);
    way.setAttribute("d", `M${points.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`).join("L")}`);
    stones.setAttribute("d", points.slice(1).map(([a, b]) => `M${a.toFixed(1)},${b.toFixed(1)}h0`).join(""));
    next.setAttribute("d", points.length > 1 ? `M${points[0]}L${points[1]}` : "");
    next.classList.toggle("short", points.length < 2 || Math.hypot(points[1][0] - points[0][0], points[1][1] - points[0][1]) < 14);
    minimum.setAttribute("visibility", said.minimum ? "visible" : "hidden");
    if (said.minimum) set(minimum, { cx: x(said.minimum[0]), cy: y(said.minimum[1]) });
    handle.setAttribute("transform", `translate(${x0},${y0})`);
    handle.setAttribute("aria-valuenow", at[0].toFixed(3));
    handle.setAttribute("aria-valuetext", `x ${label(at[0])}, slope ${label(said.slope)}`);
    big.replaceChildren("slope at x = ", h("b", {}, written(at[0])), " is ", h("strong", { class: "slope-number" }, written(said.slope)));
    tells.replaceChildren(h("span", { class: said.diverged ? "bad" : "" }, said.says));
    const limit = said.minimum && said.bottom > 0 ? (2 * (1 + state.momentum)) / said.bottom : null;
    rate.mark(limit ? [{ at: limit, name: "largest stable rate at the minimum", className: "plain" }] : []);
    rate.say(limit ? `stable below ${written(limit)} at the minimum` : "");
  }
  const cut = (pixel) => Math.min(Math.max(Number.isFinite(pixel) ? pixel : 1e4, -1e4), 1e4);
  const set = (element, attributes) => Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));

  function moveTo(value) {
    state.x = Math.min(Math.max(value, x.domain()[0]), x.domain()[1]);
    ask(); save();
  }
  let dragging = false;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    dragging = true;
    svg.setPointerCapture(event.pointerId);
    svg.classList.add("dragging");
    handle.focus({ preventScroll: true });
    event.preventDefault();
    moveTo(x.invert(pointer(event, svg)[0]));
  });
  svg.addEventListener("pointermove", (event) => { if (dragging) moveTo(x.invert(pointer(event, svg)[0])); });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { dragging = false; svg.classList.remove("dragging"); });
  handle.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    moveTo(state.x + way * (event.shiftKey ? 0.1 : 0.01) * (state.to - state.from));
  });

  return { connected: ask, leave() {} };
}
