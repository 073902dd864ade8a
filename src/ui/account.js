// Who is signed in: what the account is, signing out, deleting it.

import { call } from "./api.js";
import { ask } from "./dialog.js";
import { byId, el } from "./dom.js";
import { action, busy, clear, fail, say } from "./message.js";
import { words } from "./problems.js";
import * as session from "./session.js";

const PASSWORD = "password";

/** The account as it was read last. */
let account = null;
/** What providers are called. */
let names = {};
/** Is told in words how the session was ended by the user. */
let left = () => {};

export function startAccount(onLeft) {
  left = onLeft;
  byId("sign-out").addEventListener("click", () => busy(byId("sign-out"), signOut));
  byId("delete-account").addEventListener("click", remove);
}

/** Reads the account and shows it. */
export async function showAccount(providers) {
  names = Object.fromEntries(providers.map(({ name, display_name: display }) => [name, display]));
  const { data } = await call("GET", "/v1/me");
  account = data.user;
  const email = account.email ?? "";
  byId("who-email").textContent = email;
  byId("who").hidden = false;
  byId("account-email").textContent = email || "none";
  byId("account-since").textContent = new Date(account.created_at).toLocaleDateString();
  byId("account-expiry").textContent = session.expiry()?.toLocaleString() ?? "";
  byId("expiry-box").hidden = !session.expiry();
  byId("account-providers").replaceChildren(...account.providers.map(provider));
}

function provider(name) {
  if (name === PASSWORD) return el("li", {}, "Password");
  const button = action(`Remove ${names[name] ?? name}`, () => busy(button, () => unlink(name)));
  return el("li", {}, names[name] ?? name, " ", button);
}

async function unlink(name) {
  try {
    await call("DELETE", `/v1/oauth/${encodeURIComponent(name)}`);
    account.providers = account.providers.filter((other) => other !== name);
    byId("account-providers").replaceChildren(...account.providers.map(provider));
    say(byId("account-message"), `You no longer sign in with ${names[name] ?? name}.`);
    byId("account-message").scrollIntoView({ block: "nearest" });
  } catch (problem) {
    fail(byId("account-message"), problem);
  }
}

/** Forgets who was here. */
export function clearAccount() {
  account = null;
  byId("who").hidden = true;
  for (const id of ["who-email", "account-email", "account-since", "account-expiry", "account-providers"]) byId(id).textContent = "";
  clear(byId("account-message"));
}

async function signOut() {
  const until = session.expiry();
  let told = "You are signed out: here now, and everywhere else within seconds.";
  try {
    await call("POST", "/v1/logout");
  } catch (problem) {
    // The token is not kept here in any case: that is what was asked for. That it still works elsewhere is said.
    told = `${words(problem)} You are signed out in this tab only; the token works until ${until ? until.toLocaleString() : "its end"}.`;
  }
  session.end();
  left(told);
}

async function remove() {
  const withPassword = account.providers.includes(PASSWORD);
  const isDone = await ask({
    title: "Delete the account?",
    text: "The account and all its counters are lost. Nobody can bring them back.",
    confirm: "Delete account",
    fields: withPassword ? [{ name: "password", label: "Password", type: "password", autocomplete: "current-password" }] : [],
    act: ({ password }) => call("DELETE", "/v1/me", { body: withPassword ? { password } : {} }),
  });
  if (!isDone) return;
  session.end();
  left("Your account is deleted.");
}
