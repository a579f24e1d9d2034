// The second place: one neuron with two weights, the whole of its error, and four descents from the same start.
import { read, write } from "../address.js";
import { errorChart } from "../chart.js";
import { choice, slider, toggles } from "../controls.js";
import { h } from "../elements.js";
import { contourMap } from "../map.js";
import { written } from "../numbers.js";
import { ask, newest } from "../socket.js";
import { transport } from "../transport.js";

export const METHODS = {
  plain: { name: "Plain", className: "plain" },
  momentum: { name: "Momentum", className: "momentum" },
  nesterov: { name: "Nesterov", className: "nesterov" },
  "levenberg-marquardt": { name: "Levenberg–Marquardt", className: "levenberg-marquardt" },
};
const DATA = { valley: "A narrow valley", clouds: "Two clouds, apart", wave: "A wave" };
const ACTIVATIONS = { identity: "identity", logistic: "logistic", tanh: "tanh", relu: "relu", softplus: "softplus", gaussian: "gaussian" };
const FORMULA = { identity: "", logistic: "σ", tanh: "tanh", relu: "relu", softplus: "softplus", gaussian: "gauss" };
const DEFAULTS = {
  data: "valley", activation: "tanh", w: [-1.4, 1.2], rate: 0, momentum: 0.8, steps: 200, step: -1, row: 1, look: "plain",
  methods: Object.keys(METHODS), first: "", second: "", target: "",
};

export function open(main) {
  const state = read(DEFAULTS);
  if (!(state.activation in ACTIVATIONS)) state.activation = DEFAULTS.activation;
  state.methods = state.methods.filter((each) => each in METHODS);
  let ground = null; // what the server said of the map
  let walked = null; // the ways, as they are drawn
  let hover = null; // a step that is pointed at
  const save = () => write({ ...state, w: state.w.map((each) => Number(each.toPrecision(5))) }, DEFAULTS);
  const complaint = h("p", { class: "complaint", role: "alert", hidden: true });
  const complain = (words) => {
    if (words !== complaint.textContent) { complaint.textContent = words; complaint.hidden = !words; }
  };

  const map = contourMap({
    title: "Map of the error over the two weights",
    moved: (at, stamp) => { state.w = [...at]; walk(stamp); save(); },
    hovered: (found) => { if (found) { state.look = found.name; looks.set(found.name); } pointAt(found?.step ?? null); },
  });
  const chart = errorChart({ title: "The error after each step", hovered: (step) => pointAt(step) });
  const steps = transport((step) => { state.step = steps.atEnd ? -1 : step; show(); save(); });

  const data = choice({ label: "Rows", options: DATA, value: state.data, change: (value) => { state.data = value; state.rate = 0; columns.hidden = value !== "table"; load(); } });
  const activation = choice({ label: "Activation", options: ACTIVATIONS, value: state.activation, change: (value) => { state.activation = value; state.rate = 0; load(); } });
  const columns = h("div", { class: "row", hidden: true });
  const rate = slider({ label: "Learning rate", low: 0.01, high: 10, value: state.rate || 1, log: true, change: (value) => { state.rate = value; walk(); save(); } });
  const momentum = slider({ label: "Momentum", low: 0, high: 0.99, value: state.momentum, step: 0.01, show: (value) => value.toFixed(2), change: (value) => { state.momentum = value; walk(); save(); } });
  const length = slider({ label: "Steps", low: 10, high: 400, value: state.steps, step: 10, show: String, change: (value) => { state.steps = value; walk(); save(); } });
  const methods = toggles({ label: "Descents", options: METHODS, value: state.methods, change: (value) => { state.methods = value; walk(); save(); } });
  const looks = choice({ label: "of", options: Object.fromEntries(Object.entries(METHODS).map(([key, { name }]) => [key, name])), value: state.look, change: (value) => { state.look = value; show(); save(); } });
  const table = h("table", { class: "steps" });
  const rowNumber = h("input", { type: "number", min: 1, max: 200, value: state.row, "aria-label": "Row", class: "small-number" });
  rowNumber.addEventListener("input", () => {
    const value = Number(rowNumber.value);
    if (Number.isInteger(value) && value >= 1 && value <= (ground?.rows ?? 1)) { state.row = value; show(); save(); }
  });
  const sum = h("div", { class: "sum" });

  main.replaceChildren(
    h("section", { class: "intro" },
      h("h1", {}, "Two weights, one mountain"),
      h("p", {}, "A neuron predicts from two inputs with two weights. Every point of the map is one choice of the two; the darker, the larger the error. ",
        h("strong", {}, "Drag the ring"), ": four descents walk down from it at once. Then raise the learning rate until a way leaves the map.")),
    complaint,
    h("div", { class: "stage" },
      h("div", { class: "picture" }, map.element),
      h("div", { class: "panel" },
        h("div", { class: "row" }, data.element, activation.element), columns,
        methods.element, rate.element, momentum.element, length.element,
        h("div", { class: "together" }, chart.element, steps.element))),
    h("div", { class: "beside" },
      h("section", { "aria-labelledby": "now" }, h("h2", { id: "now" }, "Where each of them stands"), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Numbers of the step" }, table)),
      h("section", { "aria-labelledby": "one-row" },
        h("div", { class: "title-row" }, h("h2", { id: "one-row" }, "The sum, for row"), rowNumber, looks.element), sum)));

  // The map.
  const fetchMap = newest("two-weights", (said, arrays, asked) => {
    ground = { ...said, x: arrays.x };
    complain("");
    map.name([`w₁ · ${said.inputs[0]}`, `w₂ · ${said.inputs[1]}`]);
    map.ground({ first: arrays.axis, values: arrays.error, levels: said.levels });
    map.mark([...said.others.map(({ at, error }) => ({ at, hollow: true, title: `local minimum, E = ${written(error)}` })),
      ...(said.minimum ? [{ at: said.minimum.at, title: `minimum, E = ${written(said.minimum.error)}` }] : [])]);
    rowNumber.max = said.rows;
    if (state.row > said.rows) { state.row = 1; rowNumber.value = 1; }
    rate.reach(Number((said.limit / 200).toPrecision(1)), Number((said.limit * 6).toPrecision(1)));
    if (!state.rate) state.rate = Number((0.45 * said.limit).toPrecision(1));
    rate.set(state.rate);
    const edge = arrays.axis[arrays.axis.length - 1];
    if (Math.max(...state.w.map(Math.abs)) > edge) state.w = state.w.map((each) => Math.min(Math.max(each, -0.8 * edge), 0.8 * edge));
    map.put(state.w);
    map.element.dataset.drawn = `${asked.data} ${asked.activation}`;
    walk();
    save();
  }, complain);
  const load = () => fetchMap(asking());
  function asking() {
    const chosen = { data: state.data, activation: state.activation };
    return state.data === "table" ? { ...chosen, first: state.first, second: state.second, target: state.target } : chosen;
  }

  // The ways.
  let count = 0;
  let stamps = []; // when the hand moved, and which request asks for it
  const send = newest("two-weights walk", (said, arrays, asked) => {
    complain("");
    walked = { said, arrays };
    const names = state.methods.filter((name) => `${name} weights` in arrays);
    const end = Math.max(1, ...names.map((name) => said.paths[name].steps));
    const first = state.step >= 0 && steps.atEnd;
    steps.set(end);
    if (first) steps.go(state.step);
    map.draw(pick("weights"), hover ?? steps.step);
    map.element.dataset.start = asked.start.map((each) => each.toFixed(3)).join(" ");
    chart.draw(pick("error"));
    chart.point(hover ?? steps.step);
    marks(said.limits);
    measured(asked.count);
    soon();
  }, complain);
  function walk(stamp) {
    if (!ground || !state.methods.length) {
      if (ground) { map.draw({}); chart.draw({}); walked = null; numbers(); }
      return;
    }
    count += 1;
    if (stamp) stamps.push({ stamp, count });
    send({ ...asking(), count, start: state.w, rate: state.rate, momentum: state.momentum, steps: state.steps, methods: state.methods });
  }
  // How long a movement takes until it is seen, for whoever looks into the browser's performance log.
  function measured(until) {
    const now = performance.now();
    const moved = stamps.filter((each) => each.count <= until);
    stamps = stamps.filter((each) => each.count > until);
    for (const { stamp } of moved) performance.measure("drawn", { start: stamp, end: now });
    const seen = () => moved.forEach(({ stamp }) => performance.measure("frame", { start: stamp, end: performance.now() }));
    requestAnimationFrame(() => setTimeout(seen)); // a task of its own: when the frame has been painted
  }
  const pick = (what) => Object.fromEntries(state.methods.filter((name) => walked && `${name} ${what}` in walked.arrays).map((name) => [name, walked.arrays[`${name} ${what}`]]));

  function marks(limits) {
    const stable = Object.entries(limits).filter(([name]) => state.methods.includes(name));
    rate.mark(stable.map(([name, at]) => ({ at, name: `largest stable rate, ${METHODS[name].name}`, className: name })));
    rate.say(...(stable.length ? ["stable below", ...stable.map(([name, at]) => dot(name, written(at)))] : ["no minimum here that a rate could be stable at"]));
    const best = Object.entries(ground.best).filter(([name]) => name !== "plain" && state.methods.includes(name));
    momentum.mark(best.map(([name, [, at]]) => ({ at, name: `best momentum, ${METHODS[name].name}`, className: name })));
    momentum.say(...(best.length ? ["soonest with", ...best.map(([name, [r, at]]) => dot(name, `${at.toFixed(2)} at rate ${written(r)}`))] : []));
  }
  const dot = (name, words) => h("span", { class: `value ${name}` }, h("i", { class: "swatch", "aria-hidden": "true" }), h("span", { class: "unseen" }, METHODS[name].name), words);

  function pointAt(step) {
    hover = step;
    show();
  }
  function show() {
    if (!walked) return;
    map.upTo(hover ?? steps.step);
    chart.point(hover ?? steps.step);
    soon();
  }

  // The numbers come with the next frame: the ways go first.
  let awaited = null;
  function soon() {
    awaited ??= requestAnimationFrame(() => { awaited = null; numbers(); });
  }

  // Numbers of the step that is shown.
  function numbers() {
    const at = hover ?? steps.step;
    const head = h("tr", {}, ["", "step", "E", "∂E/∂w₁", "∂E/∂w₂", "w₁", "w₂"].map((name) => h(name ? "th" : "td", name ? { scope: "col" } : {}, name)));
    const lines = state.methods.filter((name) => walked && `${name} error` in walked.arrays).map((name) => {
      const { said, arrays } = walked;
      const of = said.paths[name];
      const i = Math.min(at, of.steps);
      const pair = (what, k) => arrays[`${name} ${what}`][2 * i + k];
      const values = [String(i), written(arrays[`${name} error`][i], 4), ...[0, 1].map((k) => written(pair("gradient", k))), ...[0, 1].map((k) => written(pair("weights", k), 4))];
      const end = of.diverged !== null ? h("span", { class: "end bad" }, `diverged at step ${of.diverged}`) : of.arrived ? h("span", { class: "end" }, `arrived in ${of.steps} steps`) : null;
      return h("tr", { "data-method": name }, h("th", { scope: "row" }, h("span", { class: `value ${name}` }, h("i", { class: "swatch", "aria-hidden": "true" }), METHODS[name].name), end), values.map((value) => h("td", {}, value)));
    });
    table.replaceChildren(h("thead", {}, head), h("tbody", {}, lines));
    if (!state.methods.includes(state.look) && state.methods.length) { state.look = state.methods[0]; looks.set(state.look); }
    formula(at);
  }

  // The formula, with the numbers of one row in it.
  const askRow = newest("two-weights row", (said) => {
    const [w1, w2] = said.weights;
    const f = FORMULA[state.activation];
    const call = (inner) => (f ? `${f}(${inner})` : inner);
    const line = (name, ...parts) => h("p", {}, h("span", { class: "name" }, name), h("span", { class: "parts" }, ...parts.map((part, i) => h("span", {}, i ? " = " : "= ", part))));
    sum.replaceChildren(
      line("ŷ", call("w₁x₁ + w₂x₂"), call(`${written(w1)}·${bracketed(said.x[0])} + ${bracketed(w2)}·${bracketed(said.x[1])}`), ...(f ? [call(written(said.z))] : []), h("b", {}, written(said.predicted))),
      line("y − ŷ", `${written(said.y)} − ${bracketed(said.predicted)}`, h("b", {}, written(said.residual))),
      line("½(y − ŷ)²", `½ · ${bracketed(said.residual)}²`, h("b", {}, written(said.half_square))),
      line("∂/∂w₁", f ? "−(y − ŷ) f′ x₁" : "−(y − ŷ) x₁", `−${bracketed(said.residual)}${f ? ` · ${written(said.slope)}` : ""} · ${bracketed(said.x[0])}`, h("b", {}, written(said.gradient[0]))),
      line("∂/∂w₂", f ? "−(y − ŷ) f′ x₂" : "−(y − ŷ) x₂", `−${bracketed(said.residual)}${f ? ` · ${written(said.slope)}` : ""} · ${bracketed(said.x[1])}`, h("b", {}, written(said.gradient[1]))),
      h("p", { class: "total" }, `Summed over all ${said.rows} rows: E = `, h("b", {}, written(said.total, 4)), ", gradient (", h("b", {}, written(said.total_gradient[0])), ", ", h("b", {}, written(said.total_gradient[1])), ")."));
    sum.dataset.row = state.row;
  }, (words) => sum.replaceChildren(h("p", { class: "total" }, words)));
  const bracketed = (value) => (value < 0 ? `(${written(value)})` : written(value));
  let timer = null;
  function formula(at) {
    if (!walked || !(`${state.look} weights` in walked.arrays)) return sum.replaceChildren();
    const i = Math.min(at, walked.said.paths[state.look].steps);
    const weights = Array.from(walked.arrays[`${state.look} weights`].slice(2 * i, 2 * i + 2));
    // Beside the ways, which are asked for first.
    clearTimeout(timer);
    timer = setTimeout(() => askRow({ ...asking(), weights, row: state.row }), 60);
  }

  return {
    async connected() {
      await offerTable().catch(() => {});
      load();
    },
    leave() { clearTimeout(timer); steps.go(steps.step); },
  };

  async function offerTable() {
    const { said } = await ask("network columns");
    const names = said.columns.filter(({ kind }) => kind === "number").map(({ name }) => name);
    if (names.length < 3) {
      if (state.data === "table") { state.data = DEFAULTS.data; data.set(state.data); }
      return;
    }
    const target = names.includes(state.target) ? state.target : names.includes(said.target) ? said.target : names[names.length - 1];
    const others = names.filter((name) => name !== target);
    state.target = target;
    if (!others.includes(state.first)) [state.first] = others;
    if (!others.includes(state.second) || state.second === state.first) state.second = others.find((name) => name !== state.first);
    data.refill({ ...DATA, table: said.table }, state.data);
    const pickers = [["first", "x₁"], ["second", "x₂"], ["target", "y"]].map(([key, name]) =>
      choice({ label: name, options: Object.fromEntries(names.map((each) => [each, each])), value: state[key], change: (value) => { state[key] = value; state.rate = 0; load(); } }).element);
    columns.replaceChildren(...pickers);
    columns.hidden = state.data !== "table";
  }
}
