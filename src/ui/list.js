// The user's counters: their values as last known, and the list of them.

import { call } from "./api.js";
import { byId, el } from "./dom.js";

/** The counter that everybody has. */
export const DEFAULT = "default";
/** So many pages of a thousand are read. */
const PAGES = 10;

/** Name to `{ name, value, updated_at }`. */
let counters = new Map();
/** Name to what shows it. */
const rows = new Map();
let chosen = DEFAULT;
/** When a call of this page last changed something. */
let written = 0;
/** Is told of the chosen counter. */
let tell = () => {};
/** Is told that the chosen one was deleted by somebody else. */
let lose = () => {};

export function startList(onCounter, onLost) {
  tell = onCounter;
  lose = onLost;
}

export const counter = (name = chosen) => counters.get(name);
export const has = (name) => counters.has(name);
export const pathOf = (name) => (name === DEFAULT ? "/v1" : `/v1/counters/${encodeURIComponent(name)}`);

/** Forgets everything: another user may come. */
export function clearList() {
  counters = new Map();
  chosen = DEFAULT;
  written = performance.now();
  render();
}

/** Reads all values. Says whether any has changed, and how long to leave the service in peace. */
export async function refresh() {
  const began = performance.now();
  const found = new Map();
  let cursor = "";
  let spare = 0;
  for (let page = 0; page < PAGES && cursor !== null; page += 1) {
    const { data, headers } = await call("GET", `/v1/counters?limit=1000${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    for (const one of data.counters) found.set(one.name, one);
    cursor = data.next;
    // Many pages are not read each second.
    spare = Math.max(spareOf(headers), page * 2000);
  }
  if (!found.has(DEFAULT)) {
    const { data } = await call("GET", "/v1/current");
    found.set(DEFAULT, { name: DEFAULT, value: data.value, updated_at: null });
  }
  // A call of this page came between: what was read may be older than what is shown.
  if (began < written) return { changed: true, spare };
  const changed = [...found.values()].some(({ name, value }) => counters.get(name)?.value !== value) || found.size !== counters.size;
  counters = found;
  const gone = counters.has(chosen) ? null : chosen;
  if (gone) chosen = DEFAULT;
  render();
  if (gone) lose(gone);
  return { changed, spare };
}

/** How long to wait where the service limits calls (`RateLimit`) and few are left: the user's own need them. */
function spareOf(headers) {
  const quota = /;\s*q=(\d+)/.exec(headers.get("ratelimit-policy") ?? "");
  const left = /;\s*r=(\d+)\s*;\s*t=(\d+)/.exec(headers.get("ratelimit") ?? "");
  return quota && left && Number(left[1]) < Number(quota[1]) / 2 ? Number(left[2]) * 1000 : 0;
}

/** A call of this page has set a value. */
export function know(name, value) {
  written = performance.now();
  counters.set(name, { name, value, updated_at: new Date().toISOString() });
  render();
}

/** A call of this page has deleted a counter. The default one begins anew. */
export function forget(name) {
  written = performance.now();
  counters.delete(name);
  if (name === DEFAULT) counters.set(DEFAULT, { name: DEFAULT, value: 0, updated_at: null });
  if (chosen === name) chosen = DEFAULT;
  render();
}

/** Shows a counter, and leads there. */
export function choose(name) {
  chosen = name;
  render();
  byId("counter-name").focus();
  byId("counter").scrollIntoView({ block: "nearest" });
}

function render() {
  const names = [...counters.keys()].sort((a, b) => (b === DEFAULT) - (a === DEFAULT) || (a < b ? -1 : 1));
  for (const [name, { item }] of rows) {
    if (counters.has(name)) continue;
    item.remove();
    rows.delete(name);
  }
  names.forEach((name, i) => {
    if (!rows.has(name)) rows.set(name, row(name));
    const { item, button, number } = rows.get(name);
    button.setAttribute("aria-current", String(name === chosen));
    change(number, String(counters.get(name).value));
    if (byId("list").children[i] !== item) byId("list").insertBefore(item, byId("list").children[i] ?? null);
  });
  if (counters.has(chosen)) tell(counters.get(chosen));
}

function row(name) {
  const number = el("span", { class: "number" });
  const button = el("button", { type: "button" }, el("span", {}, name), " ", number);
  button.addEventListener("click", () => choose(name));
  return { item: el("li", {}, button), button, number };
}

/** Shows a value, and makes a change of it seen. */
export function change(element, value) {
  if (element.textContent === value) return;
  const isFirst = element.textContent === "";
  element.textContent = value;
  element.classList.remove("changed");
  if (isFirst) return;
  // Read, so that the animation begins anew.
  void element.offsetWidth;
  element.classList.add("changed");
}
