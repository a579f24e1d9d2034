// The connection: requests and their answers, news, and a new connection where one was lost.
import { readFrame } from "./frame.js";
import { token } from "./address.js";

const waiting = new Map(); // requests under way, by number
const listeners = { news: new Set(), opened: new Set(), state: new Set() };
let socket = null;
let number = 0;
let pause = 250; // ms until the next try

export let session = null; // what the server calls this page

export const on = (what, listener) => {
  listeners[what].add(listener);
  return () => listeners[what].delete(listener);
};
const tell = (what, ...said) => listeners[what].forEach((listener) => listener(...said));

// Waits until the server has named this page: at once, or when there is a connection (again).
export const connected = () => new Promise((go) => {
  if (session) return go();
  const off = on("opened", () => { off(); go(); });
});

export function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/socket?token=${encodeURIComponent(token())}`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => heard(readFrame(data));
  socket.onclose = ({ code }) => {
    session = null;
    for (const { refuse } of waiting.values()) refuse(new Error("lost"));
    waiting.clear();
    if (code === 4401) return tell("state", "This address is of an earlier run: open the one that fallline has printed.");
    if (code === 4429) return tell("state", "Too many pages are open: close one of them and load this one anew.");
    tell("state", "The server does not answer. Trying again …");
    setTimeout(connect, pause);
    pause = Math.min(2 * pause, 4000);
  };
}

function heard({ number: of, said, arrays }) {
  if (said.session) {
    session = said.session;
    pause = 250;
    tell("state", "");
    tell("opened", said);
  } else if (of === null) {
    tell("news", said, arrays);
  } else if (waiting.has(of)) {
    const { answer, refuse } = waiting.get(of);
    waiting.delete(of);
    if (said.error) refuse(new Error(said.error));
    else answer({ said, arrays });
  }
}

// What the server answers to a request: a promise. It fails with the server's sentence, or with "lost" where the connection was.
export function ask(what, fields = {}) {
  if (!session) return Promise.reject(new Error("lost"));
  number += 1;
  const id = number;
  return new Promise((answer, refuse) => {
    waiting.set(id, { answer, refuse });
    socket.send(JSON.stringify({ id, do: what, ...fields }));
  });
}

// A kind of request of which only the newest counts: one is under way, and what is asked meanwhile waits, the newest alone.
export function newest(what, then, otherwise) {
  let busy = false;
  let next = null;
  const send = async (fields) => {
    busy = true;
    const answer = await ask(what, fields).catch((problem) => ({ problem }));
    busy = false;
    const further = next;
    next = null;
    if (further) send(further);
    if (!answer.problem && !answer.said.dropped) then(answer.said, answer.arrays, fields);
    else if (answer.problem && answer.problem.message !== "lost") otherwise(answer.problem.message, fields);
  };
  return (fields) => {
    if (busy) next = fields;
    else send(fields);
  };
}
