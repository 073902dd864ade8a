// Signing in and up: with a password, or with a provider.

import { call } from "./api.js";
import { byId, el } from "./dom.js";
import { busy, clear, clearFaults, fail, failForm, fault } from "./message.js";
import * as session from "./session.js";

const CALLS = { "sign-in": "/v1/login", "sign-up": "/v1/register" };

/** Is told that a session has begun, and whether with a new account. */
let begun = () => {};

export function startSignIn(onBegun) {
  begun = onBegun;
  const show = byId("show");
  show.addEventListener("click", () => reveal(byId("password").type === "password"));
  byId("credentials").addEventListener("submit", (event) => {
    event.preventDefault();
    const way = event.submitter?.value ?? "sign-in";
    busy(byId("credentials"), () => withPassword(way));
  });
}

function reveal(shown) {
  byId("password").type = shown ? "text" : "password";
  byId("show").setAttribute("aria-pressed", String(shown));
}

async function withPassword(way) {
  const fields = { email: byId("email"), password: byId("password") };
  const message = byId("credentials-message");
  clearFaults(byId("credentials"));
  clear(message);
  const missing = Object.values(fields).filter(({ value }) => value === "");
  for (const input of missing.reverse()) fault(input, input === fields.email ? "Give an e-mail address." : "Give a password.");
  if (missing.length) return;
  try {
    const { data } = await call("POST", CALLS[way], { body: { email: fields.email.value, password: fields.password.value } });
    fields.password.value = "";
    reveal(false);
    session.begin(data);
    begun(way === "sign-up");
  } catch (problem) {
    failForm(message, problem, fields);
    if (problem.code === "email_taken") fields.email.focus();
    if (problem.code === "invalid_credentials") fields.password.focus();
  }
}

// --- Providers

/** The providers that are configured; none where the service knows of none. */
export async function readProviders() {
  try {
    const { data } = await call("GET", "/v1/oauth/providers");
    return data.providers.filter(({ start_url: start }) => isOurs(start));
  } catch {
    // A service that does not answer says so at the next call; a password may do all the same.
    return [];
  }
}

/** A start is a path of the service itself; whatever else comes is not followed. */
function isOurs(start) {
  const url = new URL(start, location.href);
  return url.origin === location.origin && url.pathname.startsWith("/v1/oauth/");
}

export function showProviders(providers) {
  byId("providers").hidden = providers.length === 0;
  byId("provider-links").replaceChildren(...providers.map(({ display_name: name, start_url: start }) =>
    el("li", {}, el("a", { class: "button", href: start }, `Sign in with ${name}`))));
}

/** Ends a sign-in that a provider has agreed to. `ask` shows the question where the account is not certain yet. */
export async function withCode(code, ask, failed) {
  try {
    await redeem({ code });
  } catch (problem) {
    if (problem.code === "link_required") ask(code);
    else failed(problem);
  }
}

async function redeem(body) {
  // The code is worth something in the browser only that began: a cookie says that it did.
  const { data } = await call("POST", "/v1/oauth/token", { body, credentials: "same-origin" });
  session.begin(data);
  begun(false);
}

/** Asks whether an account with a password, that has the same address, is the user's too. */
export function showLink(code, failed) {
  const password = el("input", { id: "link-password", type: "password", autocomplete: "current-password", "aria-describedby": "link-password-fault" });
  const separate = el("button", { type: "submit", value: "separate" }, "Make an account of its own");
  const form = byId("link-form");
  form.replaceChildren(
    el("div", { class: "field" },
      el("label", { for: "link-password" }, "Password of that account"), password, el("p", { id: "link-password-fault", class: "fault" })),
    el("div", { class: "row actions" }, el("button", { type: "submit", class: "primary", value: "join" }, "Join the accounts"), separate));
  clear(byId("link-message"));
  form.onsubmit = (event) => {
    event.preventDefault();
    clearFaults(form);
    const apart = event.submitter === separate;
    if (!apart && password.value === "") {
      fault(password, "Give the password of that account.");
      return;
    }
    busy(form, async () => {
      try {
        await redeem(apart ? { code, separate: true } : { code, password: password.value });
        form.replaceChildren();
      } catch (problem) {
        // After three tries, or a minute, the code is worth nothing: then all begins anew.
        if (["invalid_credentials", "rate_limited"].includes(problem.code) || problem.isOpen || problem.errors.length) {
          failForm(byId("link-message"), problem, { password });
        } else {
          form.replaceChildren();
          failed(problem);
        }
      }
    });
  };
}
