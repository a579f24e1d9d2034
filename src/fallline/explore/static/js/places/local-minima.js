// The third place: a neuron whose error has several minima, the starts that lead to each, and whom momentum saves.
import { read, write } from "../address.js";
import { choice, slider } from "../controls.js";
import { h, s } from "../elements.js";
import { contourMap } from "../map.js";
import { label, written } from "../numbers.js";
import { newest } from "../socket.js";

const NEURONS = { two: "Two minima, twelve rows", four: "Four minima, four rows" };
const STARTS = { two: [-3, -2], four: [0.2, 2.6] }; // near a border
const NAMES = { plain: "Plain descent", momentum: "With momentum" };
const DEFAULTS = { neuron: "two", w: STARTS.two, rate: 1, momentum: 0.8 };
const COARSE = 25; // starts along each side while a slider moves
const FINE = 61;
const REST = 350; // ms until the fine picture is asked for

export function open(main) {
  const state = read(DEFAULTS);
  let minima = [];
  const save = () => write({ ...state, w: state.w.map((each) => Number(each.toPrecision(5))) }, DEFAULTS);
  const complaint = h("p", { class: "complaint", role: "alert", hidden: true });
  const complain = (words) => { complaint.textContent = words; complaint.hidden = !words; };
  const maps = {};
  const ends = {};
  for (const name of Object.keys(NAMES)) {
    maps[name] = contourMap({ title: `${NAMES[name]}: starts painted by the minimum they lead to`, moved: (at) => { state.w = [...at]; Object.values(maps).forEach((map) => map.put(at)); walk(); save(); } });
    maps[name].element.classList.add("basins");
    ends[name] = h("p", { class: "says", "aria-live": "polite" });
  }
  const saved = h("p", { class: "says" });
  const working = h("p", { class: "hint", role: "status" });
  const legend = h("div", { class: "legend" });
  const neuron = choice({ label: "Neuron", options: NEURONS, value: state.neuron, change: (value) => { state.neuron = value; state.w = [...STARTS[value]]; load(); save(); } });
  const again = () => { walk(); paint(true); save(); };
  const rate = slider({ label: "Learning rate", low: 0.05, high: 20, value: state.rate, log: true, change: (value) => { state.rate = value; again(); } });
  const momentum = slider({ label: "Momentum", low: 0, high: 0.97, step: 0.01, value: state.momentum, show: (value) => value.toFixed(2), change: (value) => { state.momentum = value; again(); } });

  main.replaceChildren(
    h("section", { class: "intro" }, h("h1", {}, "More than one valley"),
      h("p", {}, "Even a single neuron can have several minima, and a descent ends in the one whose ground it stands on. Every point is painted by the minimum that a start there leads to. ",
        h("strong", {}, "Drag the ring across a border"), ": the path falls the other way. On the right the same start has momentum, and rolls out of a shallow hollow.")),
    complaint,
    h("div", { class: "row controls" }, neuron.element, rate.element, momentum.element),
    h("div", { class: "pair" }, Object.keys(NAMES).map((name) =>
      h("section", { "aria-label": NAMES[name] }, h("h2", {}, NAMES[name]), maps[name].element, ends[name]))),
    h("div", { class: "under" }, legend, saved, working));

  const load = () => look({ neuron: state.neuron });
  const look = newest("local-minima", (said, arrays) => {
    complain("");
    minima = said.minima;
    for (const map of Object.values(maps)) {
      map.ground({ first: arrays.axis, values: arrays.error, levels: said.levels });
      map.mark(minima.map(({ at, error }, i) => ({ at, hollow: i > 0, title: `minimum ${i + 1}, E = ${written(error)}` })));
      const edges = [arrays.axis[0], arrays.axis[arrays.axis.length - 1]];
      state.w = state.w.map((each) => Math.min(Math.max(each, edges[0]), edges[1]));
      map.put(state.w);
    }
    const patch = (name) => h("i", { class: `patch ${name}`, "aria-hidden": "true" });
    legend.replaceChildren(
      ...minima.map(({ at, error }, i) => h("span", { class: "value" }, patch(`basin-${i}`),
        `${i ? `minimum ${i + 1}` : "the lowest minimum"}, E = ${written(error)} at (${at.map((each) => label(Number(each.toPrecision(3)))).join(", ")})`)),
      h("span", { class: "value" }, patch("lighter"), "lighter: saved by momentum"));
    walk();
    paint(false);
  }, complain);

  const send = newest("local-minima walk", (said, arrays) => {
    complain("");
    for (const [name, map] of Object.entries(maps)) {
      map.draw({ [name]: arrays[`${name} weights`] });
      const { ends: at, error } = said.paths[name];
      ends[name].textContent = at < 0 ? `Still on its way after ${said.paths[name].steps.toLocaleString("en")} steps, at E = ${written(error, 4)}.`
        : at === 0 ? `Ends in the lowest minimum, E = ${written(error, 4)}.` : `Caught in minimum ${at + 1}, E = ${written(error, 4)}.`;
      ends[name].dataset.ends = at;
    }
  }, complain);
  const walk = () => minima.length && send({ neuron: state.neuron, start: state.w, rate: state.rate, momentum: state.momentum });

  const basins = newest("local-minima basins", (said, arrays, asked) => {
    if (asked.neuron !== state.neuron) return;
    working.textContent = "";
    for (const [name, map] of Object.entries(maps)) colour(map, arrays[name], asked.points, name === "momentum" ? arrays.saved : null);
    const [n, plain, rolled] = [said.starts, said.counts.plain[0], said.counts.momentum[0]];
    const share = (count) => `${Math.round((100 * count) / n)} %`;
    saved.replaceChildren(`Of ${n.toLocaleString("en")} starts `, h("b", {}, share(plain)), " come to the lowest minimum with plain descent and ", h("b", {}, share(rolled)), ` with momentum, which saves ${said.helped.toLocaleString("en")} of them from a higher minimum and carries ${said.harmed.toLocaleString("en")} past a lower one.`);
    maps.plain.element.dataset.painted = `${asked.neuron} ${asked.points}`;
  }, complain);
  let timer = null;
  function paint(moving) {
    clearTimeout(timer);
    const asking = (points) => basins({ neuron: state.neuron, rate: state.rate, momentum: state.momentum, points });
    working.textContent = "finding out where every start leads …";
    asking(COARSE);
    timer = setTimeout(() => asking(FINE), moving ? REST : 50);
  }

  // A cell for each start: rows of one colour are one rectangle.
  function colour(map, index, points, better) {
    const [left, top, width, height] = map.inner;
    const [w, t] = [width / (points - 1), height / (points - 1)];
    const paths = {};
    const add = (key, i, from, to) => {
      const [x0, x1] = [Math.max(left + (from - 0.5) * w, left), Math.min(left + (to - 0.5) * w, left + width)];
      const [y0, y1] = [Math.max(top + height - (i + 0.5) * t, top), Math.min(top + height - (i - 0.5) * t, top + height)];
      paths[key] = `${paths[key] ?? ""}M${x0.toFixed(1)},${y0.toFixed(1)}H${x1.toFixed(1)}V${y1.toFixed(1)}H${x0.toFixed(1)}Z`;
    };
    const runs = (values, keyOf) => {
      for (let i = 0; i < points; i += 1) {
        for (let from = 0, j = 1; j <= points; j += 1) {
          if (j < points && values[i * points + j] === values[i * points + from]) continue;
          const key = keyOf(values[i * points + from]);
          if (key) add(key, i, from, j);
          from = j;
        }
      }
    };
    runs(index, (value) => (value < 0 ? "basin-none" : `basin-${value}`));
    if (better) runs(better, (value) => (value > 0 ? "saved" : null));
    map.cells.replaceChildren(...Object.entries(paths).map(([key, d]) => s("path", { class: key, d })));
  }

  return { connected() { load(); }, leave() { clearTimeout(timer); } };
}
