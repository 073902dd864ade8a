// Questions, asked in a <dialog>: the browser keeps the focus inside, closes it with Escape, and gives the focus back.

import { el } from "./dom.js";
import { busy, clearFaults, failForm } from "./message.js";

let count = 0;

/**
 * Asks before something is done, and does it: `act` gets the fields' values, and what it throws is shown in the dialog, which
 * stays. Resolves with whether it was done.
 */
export function ask({ title, text, confirm, fields = [], act }) {
  count += 1;
  const id = `dialog-${count}`;
  const inputs = Object.fromEntries(fields.map(({ name, ...attributes }) =>
    [name, el("input", { id: `${id}-${name}`, ...attributes, "aria-describedby": `${id}-${name}-fault` })]));
  const area = el("div", { class: "area", role: "status" });
  const cancel = el("button", { type: "button" }, "Cancel");
  const form = el("form", { novalidate: true },
    fields.map(({ name, label }) => el("div", { class: "field" },
      el("label", { for: inputs[name].id }, label), inputs[name], el("p", { id: `${inputs[name].id}-fault`, class: "fault" }))),
    area,
    el("div", { class: "row" }, cancel, el("button", { type: "submit", class: "danger" }, confirm)));
  const dialog = el("dialog", { "aria-labelledby": `${id}-title`, "aria-describedby": `${id}-text` },
    el("h2", { id: `${id}-title` }, title), el("p", { id: `${id}-text` }, text), form);

  return new Promise((settle) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      busy(form, async () => {
        clearFaults(form);
        try {
          await act(Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value])));
          dialog.close("done");
        } catch (problem) {
          failForm(area, problem, inputs);
        }
      });
    });
    cancel.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      settle(dialog.returnValue === "done");
    });
    document.body.append(dialog);
    dialog.showModal();
    // What cannot be undone is not what Enter does by itself.
    (Object.values(inputs)[0] ?? cancel).focus();
  });
}

/** Closes what is open: the session is over. */
export function closeAll() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}
