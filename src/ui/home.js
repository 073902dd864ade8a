// The page at /: who is signed in decides what is shown.

import { arrival, onArrival } from "./arrival.js";
import { clearAccount, showAccount, startAccount } from "./account.js";
import { Problem } from "./api.js";
import { clearCounter, loseCounter, showCounter, startCounter } from "./counter.js";
import { closeAll } from "./dialog.js";
import { byId } from "./dom.js";
import { clearList, refresh, startList } from "./list.js";
import { action, clear, fail, say } from "./message.js";
import { Poll } from "./poll.js";
import { words } from "./problems.js";
import * as session from "./session.js";
import { readProviders, showLink, showProviders, startSignIn, withCode } from "./sign-in.js";

const VIEWS = { "signed-out": "welcome", link: "link-title", "signed-in": "yours" };
const notice = byId("notice");
const poll = new Poll(refresh, showLive);
let providers = [];

/** Shows a part of the page, and leads to its heading; not at first, for who comes begins at the top, unless there is a question. */
function view(id) {
  const isFirst = !byId("starting").hidden;
  byId("starting").hidden = true;
  for (const other of Object.keys(VIEWS)) byId(other).hidden = other !== id;
  if (!isFirst || id === "link") byId(VIEWS[id]).focus();
}

/** How the values are kept up to date. Only a change between well and not well is read out. */
function showLive({ state, problem, wait }) {
  const before = byId("live").dataset.state;
  const seconds = Math.max(1, Math.round((wait ?? 0) / 1000));
  const text = {
    live: () => `Live, read every ${seconds === 1 ? "second" : `${seconds} seconds`}`,
    failing: () => `Not up to date. ${words(problem)} Next try in ${seconds} s`,
    paused: () => "Paused while this tab is hidden",
  }[state]();
  byId("live").dataset.state = state;
  byId("live-text").textContent = text;
  if (state === "failing" && before !== "failing") byId("live-change").textContent = "The values are not up to date.";
  if (state === "live" && before === "failing") byId("live-change").textContent = "The values are up to date again.";
}

/** Shows the account and its counters. */
async function enter() {
  try {
    await Promise.all([showAccount(providers), refresh()]);
  } catch (problem) {
    // A token that is refused has ended the session, which is said by whoever hears of that.
    if (!session.token()) return;
    fail(notice, problem, action("Try again", () => {
      clear(notice);
      enter();
    }));
    return;
  }
  poll.start();
  view("signed-in");
}

function leave() {
  poll.stop();
  closeAll();
  clearAccount();
  clearCounter();
  clearList();
  showProviders(providers);
  view("signed-out");
}

/** Ends a sign-in with a provider. */
async function arrive({ code, error, trace }) {
  const failed = (problem) => {
    if (!session.token()) leave();
    fail(notice, problem);
  };
  clear(notice);
  if (error !== undefined) failed(new Problem({ code: error, trace_id: trace }));
  else await withCode(code, ask, failed);

  function ask(pending) {
    showLink(pending, failed);
    view("link");
  }
}

async function start() {
  startList(showCounter, loseCounter);
  startCounter(() => {
    clear(notice);
    poll.soon();
  });
  startSignIn(async (isNew) => {
    clear(notice);
    await enter();
    if (isNew) say(notice, "Your account is made. You have a counter, default, and can make others.");
  });
  startAccount((told) => say(notice, told));
  session.onEnd((reason) => {
    leave();
    if (reason) fail(notice, new Problem({ code: reason }));
    else clear(notice);
  });
  onArrival(() => arrive(arrival()));

  const arrived = arrival();
  if (!session.token() && !arrived?.code) view("signed-out");
  providers = await readProviders();
  showProviders(providers);
  if (session.token()) await enter();
  if (arrived) await arrive(arrived);
}

start();
