// The page: which place is shown, the links between them, and what is said of the connection.
import { addressOf, place, writeNow } from "./address.js";
import { h } from "./elements.js";
import { connect, on } from "./socket.js";

const PLACES = {
  slope: ["Slope", () => import("./places/slope.js")],
  "two-weights": ["Two weights", () => import("./places/two-weights.js")],
  "local-minima": ["Local minima", () => import("./places/local-minima.js")],
  "your-network": ["Your network", () => import("./places/your-network.js")],
};
const main = document.querySelector("main");
const nav = document.querySelector("nav");
const state = document.querySelector("#state");
const left = {}; // the address in which each place was left
let shown = null;
let reached = false; // whether the server was

for (const [name, [title]] of Object.entries(PLACES)) nav.append(h("a", { href: addressOf(name), "data-place": name }, title));
document.querySelector(".brand").setAttribute("href", addressOf("two-weights"));

async function show() {
  const name = place() in PLACES ? place() : "two-weights";
  const [title, load] = PLACES[name];
  shown?.leave?.();
  document.title = `${title} – fallline`;
  for (const link of nav.children) {
    if (link.dataset.place === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const { open } = await load();
  if (place() !== name && place() in PLACES) return;
  shown = open(main);
  if (reached) shown.connected();
}

function go(address) {
  writeNow();
  left[place()] = location.pathname + location.search;
  history.pushState(null, "", left[address.split("?")[0].slice(1)] ?? address);
  show();
  main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='/']");
  if (!link || link.hasAttribute("download") || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});
window.addEventListener("popstate", show);

on("state", (words) => {
  state.textContent = words;
  state.hidden = words === "";
});
on("opened", () => {
  reached = true;
  shown?.connected();
});
show().then(connect);
