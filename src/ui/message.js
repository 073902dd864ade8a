// Messages to the user, in areas that screen readers read out when they change. A form's faults stand at its fields.

import { copyWith, el } from "./dom.js";
import { words } from "./problems.js";

const show = (area, state, ...children) => {
  area.className = `area ${state}`;
  area.replaceChildren(...children.filter(Boolean));
};

export const clear = (area) => show(area, "");
export const say = (area, ...content) => show(area, "", el("p", {}, content));
export const waitFor = (area, text) => show(area, "waiting", el("p", {}, text));

/** Says what went wrong, with the trace to name when asking for help, and with what can be done. */
export function fail(area, problem, ...actions) {
  show(area, "bad", el("p", {}, words(problem)), trace(problem), actions.length ? el("div", { class: "row" }, actions) : null);
}

function trace({ trace: id }) {
  // One that comes with the address could be anything.
  if (!/^[0-9a-f]{32}$/.test(id) || /^0*$/.test(id)) return null;
  const button = el("button", { type: "button" }, "Copy trace");
  button.addEventListener("click", () => copyWith(button, id));
  return el("p", { class: "quiet trace" }, "For support: trace ", el("code", {}, id), " ", button);
}

/** A button that does something once. */
export function action(name, act, attributes = {}) {
  const button = el("button", { type: "button", ...attributes }, name);
  button.addEventListener("click", act);
  return button;
}

/** Takes the faults of a form away. */
export function clearFaults(form) {
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const fault of form.querySelectorAll(".fault")) fault.textContent = "";
}

/** Says at its field what is wrong, and leads there. */
export function fault(input, text) {
  const [id] = input.getAttribute("aria-describedby").split(" ");
  input.setAttribute("aria-invalid", "true");
  document.getElementById(id).textContent = text;
  input.focus();
}

/** Shows a Problem: what concerns a field there, all else in the area. `fields` are inputs by the names of the API. */
export function failForm(area, problem, fields, ...actions) {
  const rest = [];
  for (const { field, message } of [...problem.errors].reverse()) {
    if (fields[field]) fault(fields[field], `It ${message}.`);
    else rest.push({ field, message });
  }
  if (problem.errors.length && !rest.length) clear(area);
  else fail(area, { ...problem, errors: rest }, ...actions);
}

/** Runs what a form or button does, once at a time: a second press meanwhile does nothing. */
export async function busy(element, act) {
  if (element.getAttribute("aria-busy") === "true") return;
  const buttons = element.matches("button") ? [element] : [...element.querySelectorAll("button[type=submit]")];
  element.setAttribute("aria-busy", "true");
  for (const button of buttons) button.setAttribute("aria-disabled", "true");
  try {
    await act();
  } finally {
    element.removeAttribute("aria-busy");
    for (const button of buttons) button.removeAttribute("aria-disabled");
  }
}
