// A contour map: bands that are darker where the value is larger, ways and dots on it, and a start that can be dragged.
import { axisBottom, axisLeft, contours, scaleLinear, select } from "../vendor/d3.js";
import { h, s, uniqueId } from "./elements.js";
import { label } from "./numbers.js";

export const SIZE = 560;
const EDGE = { left: 44, right: 4, top: 24, bottom: 38 };
const FAR = 1e5; // pixels: what is further off is cut
const DOTS = 40; // first steps of a way that are marked one by one
const NEAR = 16; // pixels from a way that count as on it

export function contourMap({ title, labels = ["w₁", "w₂"], height = SIZE, start = true, moved = null, hovered = null, left = null }) {
  const clip = uniqueId("frame");
  const inner = [EDGE.left, EDGE.top, SIZE - EDGE.left - EDGE.right, height - EDGE.top - EDGE.bottom];
  const x = scaleLinear([-1, 1], [inner[0], inner[0] + inner[2]]);
  const y = scaleLinear([-1, 1], [inner[1] + inner[3], inner[1]]);
  const layer = (name, of = clip) => s("g", { class: name, "clip-path": `url(#${of})` });
  const bands = layer("bands", `${clip}-ground`);
  const cells = layer("cells", `${clip}-ground`);
  const ways = layer("ways");
  const dots = layer("dots");
  const axes = [s("g", { class: "axis", transform: `translate(0,${inner[1] + inner[3]})` }), s("g", { class: "axis", transform: `translate(${inner[0]},0)` })];
  const names = [
    s("text", { class: "axis-name", x: inner[0] + inner[2], y: height - 3, "text-anchor": "end" }),
    s("text", { class: "axis-name", x: 4, y: 13, "text-anchor": "start" }),
  ];
  const box = (attributes) => s("rect", { ...attributes, x: inner[0], y: inner[1], width: inner[2], height: inner[3] });
  const view = { viewBox: `0 0 ${SIZE} ${height}` };
  // Two pictures, one on the other: the ground is not painted again while ways move over it.
  const under = s("svg", { ...view, class: "ground", "aria-hidden": "true" },
    s("clipPath", { id: `${clip}-ground` }, box({})), box({ class: "height-0 floor" }), cells, bands, box({ class: "frame" }), axes, names);
  const svg = s("svg", { ...view, class: "map", role: "group", "aria-label": title }, s("clipPath", { id: clip }, box({})), ways, dots);
  const handle = s("g", { class: "start", tabindex: 0, role: "slider", "aria-label": "Start of the descent; arrow keys move it", "aria-valuenow": 0 },
    s("circle", { class: "reach", r: 26 }), s("circle", { class: "ring", r: 9 }), s("circle", { class: "knob", r: 5.5 }));
  if (start) svg.append(handle);
  let spot = [0, 0];
  let grid = null;
  const drawn = new Map();

  function name(words) {
    names.forEach((text, i) => (text.textContent = words[i]));
  }
  name(labels);

  // The ground: values over first × second, row by row, and the levels of its bands.
  function ground({ first, second = first, values, levels }) {
    grid = { first, second };
    x.domain([first[0], first[first.length - 1]]);
    y.domain([second[0], second[second.length - 1]]);
    select(axes[0]).call(axisBottom(x).ticks(6).tickSize(4).tickFormat(label));
    select(axes[1]).call(axisLeft(y).ticks(6).tickSize(4).tickFormat(label));
    const finite = Array.from(values, (value) => (Number.isFinite(value) ? value : levels[levels.length - 1]));
    const place = ([i, j]) => {
      const at = [first[0] + (i - 0.5) * (first[1] - first[0]), second[0] + (j - 0.5) * (second[1] - second[0])];
      return `${x(at[0]).toFixed(1)},${y(at[1]).toFixed(1)}`;
    };
    const found = contours().size([first.length, second.length]).thresholds(levels.slice(1, -1))(finite);
    bands.replaceChildren(...found.map((band, i) => {
      const d = band.coordinates.map((polygon) => polygon.map((ring) => `M${ring.map(place).join("L")}Z`).join("")).join("");
      return s("path", { class: `height-${Math.min(Math.round(((i + 1) * 11) / found.length), 11)}`, d });
    }));
  }

  const cut = (pixel) => (pixel > FAR ? FAR : pixel < -FAR ? -FAR : Number.isFinite(pixel) ? pixel : FAR);
  const pixels = (weights) => {
    const found = new Float64Array(weights.length);
    for (let i = 0; i < weights.length; i += 2) {
      found[i] = cut(x(weights[i]));
      found[i + 1] = cut(y(weights[i + 1]));
    }
    return found;
  };
  const line = (points, until) => {
    const parts = new Array(until + 1);
    for (let i = 0; i <= until; i += 1) parts[i] = `${points[2 * i].toFixed(1)},${points[2 * i + 1].toFixed(1)}`;
    return `M${parts.join("L")}`;
  };
  const marks = (points, until) => {
    let d = "";
    for (let i = 1; i <= Math.min(until, DOTS); i += 1) d += `M${points[2 * i].toFixed(1)},${points[2 * i + 1].toFixed(1)}h0`;
    return d;
  };

  // Ways by name: {name: weights (k × 2)}; those that are not named any more go.
  function draw(given, step = Infinity) {
    for (const [key, { group }] of drawn) if (!(key in given)) { group.remove(); drawn.delete(key); }
    for (const [key, weights] of Object.entries(given)) {
      if (!drawn.has(key)) {
        const kinds = ["halo", "whole", "gone", "marks"].map((kind) => s("path", { class: kind }));
        const at = s("circle", { class: "at", r: 5 });
        const group = s("g", { class: `way ${key}` }, kinds, at);
        ways.append(group);
        drawn.set(key, { group, kinds, at });
      }
      const of = drawn.get(key);
      of.points = pixels(weights);
      of.last = weights.length / 2 - 1;
      const d = line(of.points, of.last);
      of.kinds[0].setAttribute("d", d);
      of.kinds[1].setAttribute("d", d);
    }
    upTo(step);
  }

  // Show the ways as far as a step.
  function upTo(step) {
    for (const { kinds, at, points, last } of drawn.values()) {
      const until = Math.min(step, last);
      kinds[2].setAttribute("d", line(points, until));
      kinds[3].setAttribute("d", marks(points, until));
      at.setAttribute("cx", points[2 * until]);
      at.setAttribute("cy", points[2 * until + 1]);
    }
  }

  // Dots: [{ at, hollow, title }].
  function mark(given) {
    dots.replaceChildren(...given.map(({ at, hollow, title, className }) =>
      s("circle", { class: `${hollow ? "dot hollow" : "dot"} ${className ?? ""}`, cx: x(at[0]), cy: y(at[1]), r: hollow ? 5.5 : 6 }, s("title", {}, title))));
  }

  function put(at) {
    spot = [...at];
    handle.setAttribute("transform", `translate(${cut(x(at[0]))},${cut(y(at[1]))})`);
    handle.setAttribute("aria-valuenow", at[0].toFixed(3));
    handle.setAttribute("aria-valuetext", `${labels[0]} ${label(at[0])}, ${labels[1]} ${label(at[1])}`);
  }

  const within = (value, scale) => Math.min(Math.max(value, scale.domain()[0]), scale.domain()[1]);
  function move(at, stamp) {
    put([within(at[0], x), within(at[1], y)]);
    moved?.(spot, stamp);
  }
  // Where the picture stands is looked up when a movement begins: a look lays out the page anew if anything on it has changed.
  let stands = null;
  function where(event) {
    stands ??= svg.getBoundingClientRect();
    return [((event.clientX - stands.left) * SIZE) / stands.width, ((event.clientY - stands.top) * height) / stands.height];
  }
  const moveOn = () => { if (!dragging) stands = null; };
  svg.addEventListener("pointerenter", () => { stands = null; });
  for (const what of ["scroll", "resize"]) window.addEventListener(what, moveOn, { passive: true });
  const weightsAt = ([px, py]) => [x.invert(px), y.invert(py)];
  let dragging = false;
  let offset = [0, 0];
  svg.addEventListener("pointerdown", (event) => {
    if (!moved || event.button !== 0) return;
    stands = null;
    const at = where(event);
    const onHandle = handle.contains(event.target);
    offset = onHandle ? [x(spot[0]) - at[0], y(spot[1]) - at[1]] : [0, 0];
    dragging = true;
    hovered?.(null);
    svg.setPointerCapture(event.pointerId);
    svg.classList.add("dragging");
    handle.focus({ preventScroll: true });
    event.preventDefault();
    move(weightsAt([at[0] + offset[0], at[1] + offset[1]]), event.timeStamp);
  });
  svg.addEventListener("pointermove", (event) => {
    const at = where(event);
    if (dragging) move(weightsAt([at[0] + offset[0], at[1] + offset[1]]), event.timeStamp);
    else if (hovered) hovered(nearest(at));
  });
  const end = () => { dragging = false; svg.classList.remove("dragging"); };
  svg.addEventListener("pointerup", end);
  svg.addEventListener("pointercancel", end);
  svg.addEventListener("pointerleave", () => { if (!dragging) { hovered?.(null); left?.(); } });
  handle.addEventListener("keydown", (event) => {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    if (!dx && !dy) return;
    event.preventDefault();
    const size = (event.shiftKey ? 0.1 : 0.01) * (x.domain()[1] - x.domain()[0]);
    move([spot[0] + dx * size, spot[1] + dy * size * ((y.domain()[1] - y.domain()[0]) / (x.domain()[1] - x.domain()[0]))], event.timeStamp);
  });

  // The way and the step nearest to a point of the picture, or null.
  function nearest([px, py]) {
    let found = null;
    let least = NEAR ** 2;
    for (const [key, { points, last }] of drawn) {
      for (let i = 0; i <= last; i += 1) {
        const away = (points[2 * i] - px) ** 2 + (points[2 * i + 1] - py) ** 2;
        if (away < least) { least = away; found = { name: key, step: i }; }
      }
    }
    return found;
  }

  return { element: h("div", { class: "map-box" }, under, svg), svg, cells, x, y, inner, ground, draw, upTo, mark, put, name, get start() { return spot; }, get grid() { return grid; } };
}
