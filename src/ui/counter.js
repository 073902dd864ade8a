// The counter that is chosen: take, set, make, delete.

import { call, callOnce } from "./api.js";
import { ask } from "./dialog.js";
import { byId, copy, copyWith, el } from "./dom.js";
import { DEFAULT, change, choose, counter, forget, has, know, pathOf, refresh } from "./list.js";
import { action, busy, clear, clearFaults, fail, failForm, fault, say, waitFor } from "./message.js";
import { words } from "./problems.js";
import { token } from "./session.js";

const TOP = Number.MAX_SAFE_INTEGER;
const MOST = 10_000;
const NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/;
/** So many of the numbers taken last are shown. */
const SHOWN = 8;

const area = () => byId("counter-message");
let shown = "";
/** The chosen counter as it was when the user began to type a new value: `{ name, value, tag }`. */
let seen = null;
/** Is told that something was done here, so that values are read again soon. */
let done = () => {};

export function startCounter(onDone) {
  done = onDone;
  byId("take").addEventListener("click", () => busy(byId("take"), () => take()));
  onSubmit("take-many", takeMany);
  onSubmit("set", set);
  onSubmit("make", make);
  byId("count").addEventListener("input", nameTakeMany);
  byId("set").addEventListener("focusin", look);
  byId("copy-curl").addEventListener("click", () => copyWith(byId("copy-curl"), byId("curl").textContent));
  byId("copy-token").addEventListener("click", copyToken);
  byId("delete").addEventListener("click", remove);
  nameTakeMany();
}

function onSubmit(id, act) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    clearFaults(byId(id));
    busy(byId(id), act);
  });
}

/** Shows the chosen counter. */
export function showCounter({ name, value, updated_at: updated }) {
  if (shown !== name) {
    shown = name;
    seen = null;
    byId("counter-name").textContent = name;
    byId("curl").textContent = `curl -X POST '${location.origin}${pathOf(name)}/next' -H "Authorization: Bearer $TOKEN"`;
    byId("value").textContent = "";
    byId("taken").replaceChildren();
    byId("taken-box").hidden = true;
    clearFaults(byId("set"));
    byId("current").value = "";
    clear(area());
    clear(byId("copy-message"));
  }
  change(byId("value"), String(value));
  byId("counter-about").textContent = updated ? `Last changed ${new Date(updated).toLocaleString()}` : "Never used";
}

/** The counter that was shown was deleted, by somebody else. */
export function loseCounter(name) {
  say(area(), `${name} was deleted elsewhere.`);
}

/** Forgets it: another user may come. */
export function clearCounter() {
  showCounter({ name: "", value: "", updated_at: null });
  clear(byId("make-message"));
  for (const id of ["make", "set", "take-many"]) {
    byId(id).reset();
    clearFaults(byId(id));
  }
  nameTakeMany();
}

// --- Take

async function take(count = null) {
  const name = shown;
  const path = `${pathOf(name)}/next${count === null ? "" : `?count=${count}`}`;
  waitFor(area(), "Taking.");
  try {
    const { data, headers } = await callOnce("POST", path, { onRepeat: repeating });
    const { first = data.value, last = data.value } = data;
    seen = null;
    know(name, last);
    // Another counter may be chosen by now.
    if (name === shown) note(first, last);
    const from = name === shown ? "" : ` from ${name}`;
    say(area(), el("strong", {}, first === last ? String(first) : `${first} to ${last}`), from, first === last ? " is yours." : " are yours.",
      headers.has("idempotency-replayed") ? " The first try had arrived: it was taken once." : "");
    done();
  } catch (problem) {
    failOpen(problem, "take", () => byId(count === null ? "take" : "take-many"), () => take(count));
  }
}

function takeMany() {
  const count = whole(byId("count"), 1, MOST);
  return count === null ? undefined : take(count);
}

function nameTakeMany() {
  const text = byId("count").value.trim();
  const count = /^\d{1,5}$/.test(text) ? Number(text) : null;
  byId("take-many").querySelector("button").textContent = count === null ? "Take N numbers" : `Take ${count} ${count === 1 ? "number" : "numbers"}`;
}

function note(first, last) {
  byId("taken").prepend(el("li", {}, first === last ? String(first) : `${first} to ${last}`));
  while (byId("taken").children.length > SHOWN) byId("taken").lastChild.remove();
  byId("taken-box").hidden = false;
}

function repeating(problem, attempt, attempts) {
  waitFor(area(), `${words(problem)} Trying again with the same key, so that it is done once (try ${attempt} of ${attempts}).`);
}

/** A call that failed, perhaps left open: then it can go on, and is done once all the same. */
function failOpen(problem, verb, element, again) {
  if (!problem.isOpen) {
    fail(area(), problem);
    return;
  }
  fail(area(), problem, action("Try again", () => busy(element(), again)));
  if (problem.undecided) area().firstChild.append(` It may or may not have been done. If you ${verb} again, the same call goes on: it is done once.`);
}

// --- Set

/** Reads what the user sees while typing a new value. If that is not what is there when it is set, somebody else was faster. */
async function look() {
  const name = shown;
  if (seen?.name === name) return;
  try {
    seen = await read(name);
  } catch {
    // It is read again when the value is set, and what fails then is said.
    seen = null;
  }
}

async function read(name) {
  const { data, headers } = await call("GET", `${pathOf(name)}/current`);
  return { name, value: data.value, tag: headers.get("etag") };
}

async function set() {
  const value = whole(byId("current"), 0, TOP);
  if (value === null) return;
  const name = shown;
  try {
    if (seen?.name !== name) seen = await read(name);
    await put(name, value, seen);
  } catch (problem) {
    failForm(area(), problem, { current: byId("current") });
  }
}

/** Sets the counter if it is as it was seen, or in any case where that is nothing. */
async function put(name, value, before) {
  waitFor(area(), "Setting.");
  try {
    const headers = before ? { "If-Match": before.tag } : {};
    const { data, headers: told } = await callOnce("PUT", `${pathOf(name)}/current`, { body: { current: value }, headers, onRepeat: repeating });
    seen = null;
    know(name, data.value);
    byId("current").value = "";
    isSet(name, data, told.get("etag"));
    done();
  } catch (problem) {
    if (problem.code === "precondition_failed") await wasChanged(name, value, before);
    else if (problem.isOpen) failOpen(problem, "set it", () => byId("set"), () => put(name, value, before));
    else throw problem;
  }
}

function isSet(name, { value, previous }, tag) {
  const back = value < previous;
  const again = value + 1 === previous ? `${previous} comes` : `${value + 1} to ${previous} come`;
  const undo = action("Undo", () => busy(byId("set"), () => put(name, previous, { tag })));
  say(area(), "Set to ", el("strong", {}, String(value)), `; it was ${previous}.`, back ? ` So ${again} a second time.` : "");
  if (value !== previous) area().append(el("div", { class: "row" }, undo));
}

/** Somebody else changed it after the user had begun: nothing is lost without being asked. */
async function wasChanged(name, value, before) {
  const now = await read(name);
  seen = now;
  know(name, now.value);
  const anyway = action(`Set to ${value} all the same`, () => busy(byId("set"), () => put(name, value, null)));
  say(area(), `Somebody else changed it meanwhile, from ${before.value ?? "what it was"} to `, el("strong", {}, String(now.value)), ". Nothing was set.");
  area().classList.add("bad");
  area().append(el("div", { class: "row" }, anyway));
}

/** A whole number from a field; what is wrong with it is said there. */
function whole(input, least, most) {
  const text = input.value.trim();
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (value >= least && value <= most) return value;
  fault(input, `A whole number from ${least} to ${most}.`);
  return null;
}

// --- Make and delete

async function make() {
  const message = byId("make-message");
  const name = byId("name").value.trim();
  clear(message);
  if (!NAME.test(name)) {
    fault(byId("name"), "1 to 64 lower-case letters, digits, - or _, and a letter or digit first.");
    return;
  }
  try {
    // Somebody else may have made it: it must not be set back.
    await refresh();
    if (has(name)) {
      fault(byId("name"), `${name} is there already.`);
      return;
    }
    const { data } = await callOnce("PUT", `${pathOf(name)}/current`, { body: { current: 0 } });
    know(name, data.value);
    byId("name").value = "";
    choose(name);
    say(message, `${name} is made. Its first number is ${data.value + 1}.`);
    done();
  } catch (problem) {
    failForm(message, problem, { name: byId("name") });
  }
}

async function remove() {
  const name = shown;
  const { value } = counter(name);
  const isDone = await ask({
    title: `Delete ${name}?`,
    text: `Its value, ${value}, is lost.${name === DEFAULT ? " The default counter begins anew" : " If it is used again, it begins anew"}: numbers that it gave come a second time.`,
    confirm: "Delete",
    act: async () => {
      try {
        await call("DELETE", `/v1/counters/${encodeURIComponent(name)}`);
      } catch (problem) {
        // Gone is gone, whoever did it: an earlier try, or somebody else.
        if (problem.code !== "not_found") throw problem;
      }
    },
  });
  if (!isDone) return;
  forget(name);
  say(area(), `${name} is deleted.`);
  byId("counter-name").focus();
  done();
}

// --- Copy

async function copyToken() {
  const message = byId("copy-message");
  const done = await copy(token());
  if (done) say(message, "The token is on the clipboard. Put it into TOKEN: ", el("code", {}, "read -rs TOKEN"), " asks for it and shows nothing.");
  else say(message, "This browser does not give the clipboard to pages here.");
}
