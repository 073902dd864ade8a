// Building nodes, and putting text on the clipboard.
//
// Whatever comes from the service becomes a text node or an attribute, never markup, so that nothing in it can run.

/** An element with attributes and children; strings become text, null children are left out. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Puts text on the clipboard, and says whether that worked. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyOldWay(text);
  }
}

/** Browsers give the clipboard to pages by HTTPS and on this machine only; this works with plain HTTP too. */
function copyOldWay(text) {
  const focused = document.activeElement;
  const box = el("textarea", { class: "unseen", readonly: true, "aria-hidden": "true", tabindex: "-1" });
  box.value = text;
  document.body.append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  focused?.focus();
  return done;
}

/** Says on a button that it was done, for a moment. */
export async function copyWith(button, text) {
  const name = button.dataset.name ?? button.textContent;
  button.dataset.name = name;
  button.textContent = (await copy(text)) ? "Copied" : "Not allowed";
  setTimeout(() => { button.textContent = name; }, 2000);
}
