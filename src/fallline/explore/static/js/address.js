// The state of the page in its address, so that a link or a bookmark brings it back.
const WAIT = 300; // ms: browsers refuse too many changes of an address

let timer = null;
let pending = null;

const query = () => new URLSearchParams(location.search);

export const token = () => query().get("token") ?? "";
export const place = () => location.pathname.replace(/^\//, "");

// The address of a place, with the token and its fields.
export function addressOf(name, fields = {}) {
  const said = new URLSearchParams({ token: token() });
  for (const [key, value] of Object.entries(fields)) if (value !== null && value !== undefined) said.set(key, value);
  return `/${name}?${said}`;
}

// The fields of the address, as numbers, lists or words, each like its default.
export function read(defaults) {
  const given = query();
  const found = {};
  for (const [key, otherwise] of Object.entries(defaults)) {
    const text = given.get(key);
    found[key] = text === null ? otherwise : likeDefault(text, otherwise);
  }
  return found;
}

function likeDefault(text, otherwise) {
  if (typeof otherwise === "number") return Number.isFinite(Number(text)) && text !== "" ? Number(text) : otherwise;
  if (Array.isArray(otherwise)) {
    const parts = text === "" ? [] : text.split(",");
    if (typeof otherwise[0] !== "number") return parts;
    const numbers = parts.map(Number);
    return numbers.length === otherwise.length && numbers.every(Number.isFinite) ? numbers : otherwise;
  }
  return text;
}

// Write fields into the address, soon; those that are as by default are left out.
export function write(fields, defaults) {
  const said = {};
  for (const [key, value] of Object.entries(fields)) {
    const text = String(value);
    if (text !== String(defaults[key])) said[key] = text;
  }
  const path = location.pathname;
  pending = () => location.pathname === path && history.replaceState(null, "", addressOf(place(), said));
  timer ??= setTimeout(writeNow, WAIT);
}

export function writeNow() {
  clearTimeout(timer);
  timer = null;
  pending?.();
  pending = null;
}
