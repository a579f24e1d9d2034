// Play, step and rewind along the steps of a descent.
import { h } from "./elements.js";

const SECONDS = 5; // for a way from its start to its end
const FEWEST = 12; // steps a second

const ICONS = {
  rewind: "M6 5v14 M19 5 9 12l10 7z",
  back: "M15 6l-7 6 7 6z",
  play: "M7 4.5v15l12-7.5z",
  pause: "M8 5v14 M16 5v14",
  forward: "M9 6l7 6-7 6z",
};

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

// `move(step)` is called with every step that is to be shown; `set(last, step)` says how many there are.
export function transport(move) {
  let last = 1;
  let now = 1;
  let playing = null;
  const input = h("input", { type: "range", min: 0, max: 1, step: 1, "aria-label": "Step" });
  const output = h("output", { class: "number", "aria-hidden": "true" });
  const make = (name, said, click) => h("button", { type: "button", class: "icon", "aria-label": said, title: said, onclick: click }, icon(name));
  const play = make("play", "Play", () => (playing ? stop() : start()));
  const element = h("div", { class: "transport", role: "group", "aria-label": "Steps of the descent" },
    make("rewind", "Rewind", () => go(0)), make("back", "One step back", () => go(now - 1)), play,
    make("forward", "One step forward", () => go(now + 1)), input, output);

  function show() {
    input.max = last;
    input.value = now;
    input.style.setProperty("--filled", `${(100 * now) / Math.max(last, 1)}%`);
    input.setAttribute("aria-valuetext", `step ${now} of ${last}`);
    output.textContent = `step ${now} of ${last}`;
  }
  function go(step, keep = false) {
    if (!keep) stop();
    now = Math.min(Math.max(Math.round(step), 0), last);
    show();
    move(now);
  }
  function start() {
    if (now >= last) go(0);
    const from = now;
    const began = performance.now();
    const speed = Math.max(last / SECONDS, FEWEST);
    play.replaceChildren(icon("pause"));
    play.setAttribute("aria-label", "Pause");
    const tick = (clock) => {
      const step = from + ((clock - began) / 1000) * speed;
      go(step, true);
      if (step >= last) stop();
      else playing = requestAnimationFrame(tick);
    };
    playing = requestAnimationFrame(tick);
  }
  function stop() {
    if (!playing) return;
    cancelAnimationFrame(playing);
    playing = null;
    play.replaceChildren(icon("play"));
    play.setAttribute("aria-label", "Play");
  }
  input.addEventListener("input", () => go(Number(input.value)));
  show();
  return {
    element, go, stop, start,
    get step() { return now; },
    get atEnd() { return now >= last; },
    // Another way: who stood at its end stands at the end of the new one.
    set(count, keep = false) {
      const end = now >= last && !playing;
      last = Math.max(count, 1);
      now = end && !keep ? last : Math.min(now, last);
      show();
    },
  };
}
