// The fourth place: a table or a model of one's own, trained while one looks on, and then looked at from all sides.
import { read, token, write } from "../address.js";
import { errorChart } from "../chart.js";
import { button, choice, slider } from "../controls.js";
import { h } from "../elements.js";
import { colourAt, paint } from "../heat.js";
import { contourMap } from "../map.js";
import { counted, written } from "../numbers.js";
import { scatter } from "../scatter.js";
import { ask, connected, newest, on, session } from "../socket.js";
import { transport } from "../transport.js";

const HIDDEN = { auto: "chosen automatically", none: "none: a linear model", 2: "2", 5: "5", 10: "10", 20: "20", 40: "40" };
const STARTS = { auto: "as many as are quick", 1: "1", 3: "3", 10: "10" };
const DESCENTS = {
  auto: "chosen automatically", "levenberg-marquardt": "Levenberg–Marquardt", "l-bfgs": "L-BFGS", rprop: "Rprop", gradient: "Gradient descent", "mini-batch": "Mini-batches (Adam)",
};
const PLANES = { auto: "principal plane of the path", random: "random plane", curvature: "stiffest and softest" };
const DEFAULTS = { target: "", hidden: "10", starts: "1", descent: "auto", rate: 0.1, momentum: 0.9, seed: 0, trained: 0, plane: "auto", first: "", second: "" };
const WALKS = 8; // earlier walks that stay in sight

export function open(main) {
  const state = read(DEFAULTS);
  const save = () => write(state, DEFAULTS);
  const complaint = h("p", { class: "complaint", role: "alert", hidden: true });
  const complain = (words) => { complaint.textContent = words; complaint.hidden = !words; if (words) status.textContent = ""; };
  const status = h("p", { class: "says live", role: "status" });
  const setup = h("div");
  const live = h("div", { class: "stage", hidden: true });
  const results = h("div");
  const file = h("input", { type: "file", class: "unseen", id: "file", tabindex: -1, "aria-label": "A table or a model" });
  const chooser = button("Choose a file", () => file.click());
  const drop = h("div", { class: "drop" },
    h("p", { class: "drop-title" }, "Drop a table here"),
    h("p", {}, "CSV, Parquet or JSON lines, as it is; or a model that ", h("code", {}, "fallline fit"), " has written. It never leaves this machine."), chooser, file);
  main.replaceChildren(
    h("section", { class: "intro" }, h("h1", {}, "Your own mountain"),
      h("p", {}, "Choose what to predict and train: a network goes down the error of your rows, step by step. Then look at the ground it crossed, ask what kind of point it stopped at, and try what it predicts if …")),
    complaint, drop, setup, status, live, results);

  file.addEventListener("change", () => { if (file.files.length) bring(file.files[0]); });
  const over = (event) => { event.preventDefault(); drop.classList.add("over"); };
  const dropped = (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) bring(event.dataTransfer.files[0]);
  };
  const off = (event) => { if (!event.relatedTarget) drop.classList.remove("over"); };
  document.addEventListener("dragover", over);
  document.addEventListener("drop", dropped);
  document.addEventListener("dragleave", off);

  async function bring(given) {
    complain("");
    status.textContent = `Reading ${given.name} …`;
    await connected(); // the file goes to this page's own session
    try {
      const answer = await fetch(`/table?${new URLSearchParams({ token: token(), session, name: given.name })}`, { method: "POST", body: given });
      const said = await answer.json();
      if (said.error) return complain(said.error);
      Object.assign(state, { target: "", trained: 0, first: "", second: "" });
      results.replaceChildren();
      live.hidden = true;
      await refresh();
    } catch {
      complain("The file did not reach the server: wait until it answers again.");
    }
    status.textContent = "";
    file.value = "";
  }

  // What there is: a table to train on, a model, or nothing yet.
  let train = null;
  let stop = null;
  async function refresh() {
    const { said } = await ask("network columns");
    complain(said.note);
    drop.classList.toggle("small", said.columns.length > 0);
    drop.querySelector(".drop-title").textContent = said.columns.length ? `${said.table}, ${counted(said.rows, "row")}` : said.opened || "Drop a table here";
    chooser.textContent = said.columns.length ? "Another file" : "Choose a file";
    if (!said.columns.length) {
      setup.replaceChildren();
      if (said.trained) show(await ask("network"));
      return;
    }
    const names = said.columns.map(({ name }) => name);
    if (!names.includes(state.target)) state.target = said.target ?? names[names.length - 1];
    const pick = (key, label, options) => choice({ label, options, value: String(state[key]), change: (value) => { state[key] = value; if (key === "hidden") follow(value); descend(); save(); } });
    const starts = pick("starts", "Networks averaged", STARTS);
    // A single network is one way to look at; where the width is found, several belong to it.
    const follow = (hidden) => { state.starts = hidden === "auto" ? "auto" : "1"; starts.set(state.starts); };
    const rate = slider({ label: "Learning rate", low: 0.001, high: 3, log: true, value: state.rate, change: (value) => { state.rate = value; save(); } });
    const momentum = slider({ label: "Momentum", low: 0, high: 0.99, step: 0.01, value: state.momentum, show: (value) => value.toFixed(2), change: (value) => { state.momentum = value; save(); } });
    const byRate = h("div", { class: "row" }, rate.element, momentum.element);
    const descend = () => { byRate.hidden = state.descent !== "gradient"; };
    descend();
    train = button("Train", () => fit(), { class: "primary" });
    stop = button("Stop", () => ask("network stop").catch(() => {}), { hidden: true });
    setup.replaceChildren(h("div", { class: "setup" },
      h("div", { class: "row" },
        pick("target", "Predict", Object.fromEntries(said.columns.map(({ name }) => [name, name]))).element,
        pick("hidden", "Hidden units", HIDDEN).element, starts.element, pick("descent", "Descent", DESCENTS).element), byRate,
      ...(said.doubts ?? []).map((words) => h("p", { class: "muted" }, words)),
      h("div", { class: "actions" }, train, stop)));
    if (said.trained) show(await ask("network"));
    else if (state.trained) fit();
  }

  // Training, live.
  const map = contourMap({ title: "The way down, on a plane of the weights", labels: ["", ""], start: false, hovered: (found) => { if (found && shown) { steps.go(found.step); } } });
  map.element.classList.add("mountain");
  const chart = errorChart({ title: "The error on the way", name: "E per row", height: 260, hovered: (step) => { if (step !== null && shown) follow(step); } });
  const steps = transport((step) => along(step));
  const plane = choice({ label: "Plane", options: PLANES, value: state.plane, change: (value) => { state.plane = value; save(); mountain(); } });
  const caption = h("p", { class: "hint" });
  live.append(h("div", { class: "picture" }, map.element, caption), h("div", { class: "panel" }, h("div", { class: "together" }, chart.element, h("div", { class: "legend curves-legend" }, key("training"), key("held-out")), steps.element), plane.element));
  let walks = [];
  let shown = null; // the ground and way that are drawn
  function key(name) {
    return h("span", { class: `value ${name}` }, h("i", { class: "swatch", "aria-hidden": "true" }), name === "training" ? "training rows" : "held-out rows");
  }

  async function fit() {
    complain("");
    results.replaceChildren();
    walks = [];
    shown = null;
    map.element.dataset.drawn = "";
    train.disabled = true;
    stop.hidden = false;
    status.textContent = "Reading the columns …";
    try {
      const starts = state.starts === "auto" ? null : Number(state.starts);
      const found = await ask("network train", { target: state.target, hidden: String(state.hidden), starts, descent: state.descent, rate: state.rate, momentum: state.momentum, seed: state.seed });
      state.trained = 1;
      save();
      show(found, true);
    } catch (problem) {
      if (problem.message !== "lost") complain(problem.message);
    }
    train.disabled = false;
    stop.hidden = true;
  }

  const quiet = on("news", (said, arrays) => {
    if (!train?.disabled) return;
    if (said.news === "phase") status.textContent = `${said.phase[0].toUpperCase()}${said.phase.slice(1)} …`;
    if (said.news !== "step") return;
    live.hidden = false;
    const of = `${said.phase} ${said.start}`;
    if (walks[0]?.of !== of) walks.unshift({ of, steps: [], errors: {} });
    walks = walks.slice(0, WALKS);
    walks[0].steps.push(said.step);
    for (const [name, error] of Object.entries(said.errors)) (walks[0].errors[name] ??= []).push(error);
    const many = said.starts > 1 ? `, start ${said.start} of ${said.starts}` : "";
    status.textContent = `${said.phase ? `${said.phase[0].toUpperCase()}${said.phase.slice(1)}: step` : "Step"} ${said.step}${many}, E per row ${written(said.errors.training)}`;
    const curves = {};
    const at = {};
    walks.forEach((walk, i) => {
      for (const [name, errors] of Object.entries(walk.errors)) {
        const key = i ? `past past-${i}-${name}` : name;
        curves[key] = errors;
        at[key] = walk.steps;
      }
    });
    chart.draw(curves, at);
    if (arrays.way.length > 4) {
      const [xs, ys] = [0, 1].map((k) => Array.from(arrays.way).filter((_, i) => i % 2 === k));
      map.ground({ first: around(xs), second: around(ys), values: [0, 0, 0, 0], levels: [0, 1] });
      map.draw({ training: arrays.way });
    }
  });
  const around = (values) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = 0.12 * (high - low) || 1;
    return [low - room, high + room];
  };

  // The mountain: the ground under the way, and the error at every step.
  const mountain = () => {
    caption.textContent = "summing the error over a plane of the weights …";
    ground({ plane: state.plane });
  };
  const ground = newest("network surface", (said, arrays) => {
    map.name([said.labels[0], said.labels[1]]);
    map.ground({ first: arrays.first, second: arrays.second, values: arrays.error, levels: said.levels });
    map.mark([...said.others.map(({ at, error }) => ({ at, hollow: true, title: `a minimum of this plane, ${written(error)}` })), ...(said.minimum ? [{ at: said.minimum.at, title: `lowest of this plane, ${written(said.minimum.error)}` }] : [])]);
    caption.textContent = `${said.what[0].toUpperCase()}${said.what.slice(1)}, a sum over ${said.rows.toLocaleString("en")} rows. ${said.fidelity}`;
    map.draw(arrays.way ? { training: arrays.way } : {});
    shown = { ...shown, steps: arrays.way_steps ?? [0] };
    map.element.dataset.drawn = state.plane;
    steps.set(shown.steps[shown.steps.length - 1]);
    if (shown.fresh) { shown.fresh = false; steps.go(0); steps.start(); } else along(steps.step);
  }, (words) => { caption.textContent = words; });
  function along(step) {
    if (!shown?.steps) return;
    map.upTo(Math.max(Array.from(shown.steps).findLastIndex((each) => each <= step), 0));
    chart.point(step);
  }
  const follow = (step) => along(step);

  // All that is known of the fit.
  function show({ said, arrays }, fresh = false) {
    status.textContent = "";
    live.hidden = false;
    shown = { fresh };
    const curves = {};
    for (const name of ["training", "held-out"]) if (arrays[`curve ${name}`]) curves[name] = arrays[`curve ${name}`];
    chart.draw(curves, arrays.steps);
    mountain();
    const query = new URLSearchParams({ token: token(), session: session ?? "" });
    const get = (name, words) => h("a", { class: "button", href: `/file/${name}?${query}`, download: "" }, words);
    results.replaceChildren(
      h("div", { class: "beside" },
        h("section", { "aria-labelledby": "verdict" }, h("h2", { id: "verdict" }, "The verdict"),
          ...[said.verdict, said.stop, said.comparison, said.note].filter(Boolean).map((words) => h("p", {}, words)),
          h("p", { class: "muted" }, said.network, said.decay ? `. Weight decay: ${said.decay}` : ".")),
        h("section", { "aria-labelledby": "figures" }, h("h2", { id: "figures" }, `How good it is at ${said.target}`), figures(said), h("p", { class: "muted" }, said.rows))),
      h("div", { class: "beside" },
        h("section", { "aria-labelledby": "points" }, h("h2", { id: "points" }, said.classes.length ? "Predicted and actual class" : "Predicted against actual"),
          said.confusion ? confusion(said) : h("div", { class: "small-picture" }, scatter({ ...arrays, name: said.target, title: `Predicted against actual ${said.target} of ${said.of}` })),
          h("p", { class: "muted" }, said.confusion ? `Of ${said.of}; rows of the table are actual classes.` : `A point for each of ${said.of}; on the line a prediction is exact.${arrays.low ? " Bars are 95 % intervals." : ""}`)),
        h("section", { "aria-labelledby": "matters" }, h("h2", { id: "matters" }, "Which columns matter"), importance(said)),
      ),
      h("section", { class: "part", "aria-labelledby": "columns" }, h("h2", { id: "columns" }, "What became of each column"), columns(said), ...(said.doubts ?? []).map((words) => h("p", { class: "muted" }, words))),
      h("section", { class: "part", "aria-labelledby": "if" }, h("h2", { id: "if" }, "What if …"), whatIf(said)),
      h("section", { class: "part", "aria-labelledby": "others" }, h("h2", { id: "others" }, "Where other starts end"), others()),
      h("section", { class: "part", "aria-labelledby": "take" }, h("h2", { id: "take" }, "Take it with you"),
        h("div", { class: "actions" }, said.report ? get("report.html", "Report (HTML)") : null, get("model", "Model file"), get("surface.png", "Map (PNG)"), get("surface.svg", "Map (SVG)"),
          ...(said.confusion ? [] : [get("predicted.png", "Predictions (PNG)"), get("predicted.svg", "Predictions (SVG)")])),
        said.command ? h("p", { class: "muted command" }, "The same on the command line: ", h("code", {}, said.command)) : null));
    results.dataset.target = said.target;
  }

  function figures({ figures }) {
    const names = { network: "this network", ridge: "ridge regression", boosting: "gradient boosting", logistic: "logistic regression" };
    const sets = Object.entries(figures);
    const what = sets.some(([, [of]]) => of.network?.brier !== undefined) ? { brier: "Brier score", accuracy: "accuracy" } : { rmse: "RMSE", mae: "mean |error|", r2: "R²" };
    return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Figures" }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "rows"), h("th", { scope: "col", class: "words" }, "fit"), Object.values(what).map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, sets.flatMap(([name, [of]]) => Object.entries(names).filter(([fit]) => of[fit]).map(([fit, words]) =>
        h("tr", { class: fit === "network" ? "own-fit" : "" }, h("th", { scope: "row" }, `${name} (${of.rows.toLocaleString("en")})`), h("td", { class: "words" }, words), Object.keys(what).map((each) => h("td", { "data-figure": `${name} ${fit} ${each}` }, written(of[fit][each], 4)))))))));
  }

  function columns({ columns }) {
    return h("details", {}, h("summary", {}, columns.map(([name, role]) => `${name} (${role})`).join(", ")), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Columns" }, h("table", { class: "of-columns" },
      h("tbody", {}, columns.map(([name, role, says]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, role), h("td", { class: "words" }, says)))))));
  }

  function confusion({ confusion, classes }) {
    return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Predicted and actual classes" }, h("table", {},
      h("thead", {}, h("tr", {}, h("td", {}), classes.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, confusion.map((row, i) => h("tr", {}, h("th", { scope: "row" }, classes[i]), row.map((count, j) => h("td", { class: i === j ? "right" : "" }, String(count))))))));
  }

  function importance(said) {
    const place = h("div");
    const fill = (found) => {
      if (!found) return place.replaceChildren(h("p", { class: "muted" }, said.classes.length ? "This is told for targets that are numbers." : "There is one column only."));
      const most = Math.max(...found.rise, 1e-300);
      const row = (name, i) => {
        const bar = h("i", { "aria-hidden": "true" });
        bar.style.setProperty("--share", `${Math.max((100 * found.rise[i]) / most, 0)}%`);
        return h("li", {}, h("span", { class: "name" }, name), bar, h("span", { class: "number" }, `+${written(Math.max(found.rise[i], 0))}`));
      };
      place.replaceChildren(h("ol", { class: "bars-list" }, found.names.map(row)), h("p", { class: "muted" }, `By how much the RMSE of ${found.of} rises where one column is shuffled among them.`));
    };
    if (said.importance || said.report || said.classes.length) fill(said.importance);
    else {
      place.append(h("p", { class: "muted" }, "shuffling one column after the other …"));
      ask("network importance").then((answer) => fill(answer.said.importance), (problem) => place.replaceChildren(h("p", { class: "muted" }, problem.message)));
    }
    return place;
  }

  function others() {
    const place = h("div", {});
    const go = button("Go down from 20 other starts", async () => {
      go.disabled = true;
      place.replaceChildren(h("p", { class: "muted" }, "going down from 20 random starts, and following each to its minimum …"));
      try {
        const { said } = await ask("network minima", { starts: 20 });
        if (!said.dropped) place.replaceChildren(...stairs(said));
      } catch (problem) {
        place.replaceChildren(h("p", { class: "muted" }, problem.message));
      }
      go.disabled = false;
    });
    return h("div", {}, h("div", { class: "actions" }, go), place);
  }
  function stairs({ minima, own, own_error, own_figure, figure, says }) {
    const [least, most] = [minima[0]?.error ?? own_error, Math.max(...minima.slice(0, 12).map(({ error }) => error), own_error)];
    const line = (name, { error, count, figure, held }, here) => {
      const bar = h("i", { "aria-hidden": "true" });
      bar.style.setProperty("--share", `${(100 * (error - least)) / (most - least || 1)}%`);
      return h("tr", { class: here ? "own-fit" : "" }, h("th", { scope: "row" }, name), h("td", { class: "bar-cell" }, bar), h("td", {}, written(error, 4)), h("td", {}, count === null ? "" : String(count)), h("td", {}, written(figure, 4)), h("td", {}, held === null ? "" : written(held, 4)));
    };
    return [
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Minima" }, h("table", { class: "stairs" },
        h("thead", {}, h("tr", {}, ["minimum", "above the lowest", "error", "starts", figure, `${figure}, held-out`].map((name) => (name ? h("th", { scope: "col" }, name) : h("td"))))),
        h("tbody", {}, minima.slice(0, 12).map((each, i) => line(i === own ? `${i + 1}, that of this network` : String(i + 1), each, i === own)),
          line("this network", { error: own_error, count: null, figure: own_figure, held: null }, true)))),
      ...says.map((words) => h("p", { class: "muted" }, words)),
    ];
  }

  // The prediction over two inputs, and a control for every input.
  function whatIf(said) {
    const inputs = said.inputs;
    const numbers = inputs.filter(({ kind }) => kind === "number");
    const names = numbers.map(({ name }) => name);
    const order = said.importance ? said.importance.names.filter((name) => names.includes(name)) : names;
    const ordered = [...order, ...names.filter((name) => !order.includes(name))];
    if (!names.includes(state.first)) [state.first] = ordered;
    if (!names.includes(state.second) || state.second === state.first) state.second = ordered.find((name) => name !== state.first) ?? "";
    const values = Object.fromEntries(inputs.map(({ name, value }) => [name, value]));
    let output = said.outputs.length - 1 && said.classes.length === 2 ? 1 : 0;
    const flat = numbers.length > 1;
    const heat = contourMap({ title: `Prediction of ${said.target} over two inputs`, height: 460, moved: (at) => {
      [values[state.first], values[state.second]] = at;
      controls[state.first].set(at[0]); controls[state.second].set(at[1]);
      look();
    } });
    heat.element.classList.add("heat");
    const big = h("p", { class: "big", "aria-live": "polite" });
    const scale = h("div", { class: "scale" });
    const controls = {};
    const sliders = inputs.map((each) => {
      const change = (value) => { values[each.name] = Number(value); look(); };
      controls[each.name] = each.kind === "number"
        ? slider({ label: each.name, low: each.low, high: each.high === each.low ? each.low + 1 : each.high, value: each.value, change })
        : choice({ label: each.name, options: Object.fromEntries(each.choices.map((word, i) => [i, word])), value: String(each.value), change });
      return controls[each.name].element;
    });
    const look = () => fetchMap({ output, values, ...(flat ? { first: state.first, second: state.second } : {}) });
    let levels = null;
    const fetchMap = newest("network what-if", (found, arrays) => {
      big.replaceChildren(`${said.outputs[output]}: `, h("strong", { class: "slope-number" }, written(found.predicted, 4)), found.low === null ? "" : `95 % of such rows between ${written(found.low)} and ${written(found.high)}`);
      big.dataset.predicted = found.predicted;
      if (!arrays.map) return;
      let [low, high] = [Math.min(...arrays.map), Math.max(...arrays.map)];
      if (!(high > low)) high = low + 1;
      levels = Array.from({ length: 9 }, (_, i) => low + ((high - low) * i) / 8);
      heat.name([state.first, state.second]);
      heat.ground({ first: arrays.first, second: arrays.second, values: arrays.map, levels });
      paint(heat, arrays.map, arrays.first.length, arrays.second.length, [low, high]);
      heat.mark(Array.from({ length: arrays.points.length / 2 }, (_, i) => ({ at: [arrays.points[2 * i], arrays.points[2 * i + 1]], className: "row-dot" })));
      heat.put([values[state.first], values[state.second]]);
      scale.replaceChildren(h("span", {}, written(low)), bar(), h("span", {}, written(high)));
    }, complain);
    const bar = () => {
      const strip = h("i", { "aria-hidden": "true" });
      strip.style.background = `linear-gradient(to right, ${[0, 0.17, 0.33, 0.5, 0.67, 0.83, 1].map((share) => `rgb(${colourAt(share)})`).join(",")})`;
      return strip;
    };
    const axis = (key, label) => choice({ label, options: Object.fromEntries(names.map((name) => [name, name])), value: state[key], change: (value) => {
      if (value === state[key === "first" ? "second" : "first"]) return complain("The two axes need two different columns.");
      complain(""); state[key] = value; save(); look();
    } }).element;
    look();
    const outputs = said.outputs.length > 1 ? choice({ label: "Show", options: Object.fromEntries(said.outputs.map((name, i) => [i, name])), value: String(output), change: (value) => { output = Number(value); look(); } }).element : null;
    return h("div", { class: "stage" },
      flat ? h("div", { class: "picture" }, h("div", { class: "row" }, axis("first", "Across"), axis("second", "Up"), outputs), heat.element, scale, h("p", { class: "hint" }, "Small dots are rows of the table, whatever their other columns: far from them the network guesses.")) : h("div", {}, outputs),
      h("div", { class: "panel" }, big, h("div", { class: "sliders" }, sliders)));
  }

  return {
    connected() { refresh().catch((problem) => { if (problem.message !== "lost") complain(problem.message); }); },
    leave() {
      quiet();
      steps.go(steps.step);
      document.removeEventListener("dragover", over);
      document.removeEventListener("drop", dropped);
      document.removeEventListener("dragleave", off);
    },
  };
}
