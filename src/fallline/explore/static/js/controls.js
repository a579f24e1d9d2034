// Controls: a slider with its number and marks, a choice, buttons.
import { h, uniqueId } from "./elements.js";
import { written } from "./numbers.js";

// A slider over [low, high], in equal steps or, with `log`, in equal factors. `set` moves it without a word to `change`.
export function slider({ label, low, high, value, log = false, step = null, show = written, change, hint = "" }) {
  const id = uniqueId("slider");
  const inner = log ? [0, 1000] : [low, high];
  const input = h("input", { type: "range", id, min: inner[0], max: inner[1], step: log ? 1 : (step ?? "any") });
  const output = h("output", { for: id, class: "number" });
  const marks = h("div", { class: "marks" });
  const said = h("p", { class: "hint" }, hint);
  const element = h("div", { class: "control" },
    h("div", { class: "control-head" }, h("label", { for: id }, label), output),
    h("div", { class: "track" }, input, marks), said);
  let bounds = [low, high];
  let now = value;
  const inside = (given) => {
    if (!log) return given;
    return 1000 * Math.log(given / bounds[0]) / Math.log(bounds[1] / bounds[0]);
  };
  const outside = (given) => (log ? rounded(bounds[0] * (bounds[1] / bounds[0]) ** (given / 1000)) : given);
  const share = (given) => (inside(given) - Number(input.min)) / (Number(input.max) - Number(input.min));
  const draw = () => {
    input.value = inside(now);
    output.textContent = show(now);
    input.setAttribute("aria-valuetext", show(now));
    input.style.setProperty("--filled", `${100 * Math.min(Math.max(share(now), 0), 1)}%`);
  };
  input.addEventListener("input", () => {
    now = outside(Number(input.value));
    draw();
    change(now);
  });
  draw();
  return {
    element,
    get value() { return now; },
    set(given) { now = given; draw(); },
    reach(from, to) {
      bounds = [from, to];
      if (!log) [input.min, input.max] = bounds;
      draw();
    },
    // Marks on the track: [{ at, name, className }].
    mark(given) {
      marks.replaceChildren(...given.filter(({ at }) => share(at) >= 0 && share(at) <= 1).map(({ at, name, className }) => {
        const mark = h("i", { class: `mark ${className ?? ""}`, title: `${name}: ${show(at)}` });
        mark.style.setProperty("--at", share(at));
        return mark;
      }));
    },
    say(...words) { said.replaceChildren(...words); },
  };
}

const rounded = (value) => Number(value.toPrecision(3));

export function choice({ label, options, value, change }) {
  const id = uniqueId("choice");
  const select = h("select", { id }, Object.entries(options).map(([key, name]) => h("option", { value: key, selected: key === value }, name)));
  select.addEventListener("change", () => change(select.value));
  return {
    element: h("div", { class: "control choice" }, h("label", { for: id }, label), select),
    set(given) { select.value = given; },
    get value() { return select.value; },
    refill(options, value) {
      select.replaceChildren(...Object.entries(options).map(([key, name]) => h("option", { value: key, selected: key === value }, name)));
    },
  };
}

// Buttons of which any may be on: { key: { name, className } }.
export function toggles({ label, options, value, change }) {
  const on = new Set(value);
  const buttons = Object.entries(options).map(([key, { name, className }]) => {
    const button = h("button", { type: "button", class: `chip ${className ?? ""}`, "aria-pressed": String(on.has(key)) },
      h("i", { class: "swatch", "aria-hidden": "true" }), name);
    button.addEventListener("click", () => {
      if (on.has(key)) on.delete(key);
      else on.add(key);
      button.setAttribute("aria-pressed", String(on.has(key)));
      change(Object.keys(options).filter((each) => on.has(each)));
    });
    return button;
  });
  return { element: h("div", { class: "chips", role: "group", "aria-label": label }, buttons) };
}

export const button = (name, click, attributes = {}) => h("button", { type: "button", onclick: click, ...attributes }, name);
