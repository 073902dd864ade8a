// Nodes of the reference: code, tables, and the texts of the description.

import { el } from "./dom.js";

export const badge = (method) => el("span", { class: `method ${method}` }, method.toUpperCase());
export const code = (text, attributes) => el("code", attributes, text);
/** A block of code; it can be focused, so that the keyboard can scroll it. */
export const block = (text, label) => el("pre", { tabindex: "0", role: "region", "aria-label": label }, code(text));
export const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
/** A path that may break after each slash. */
export const breakable = (path) => path.split(/(?<=\/)/).flatMap((part) => [part, el("wbr")]);

export function table(caption, headings, rows) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {},
      el("thead", {}, el("tr", {}, headings.map((heading) => el("th", { scope: "col" }, heading)))),
      el("tbody", {}, rows.map(([first, ...others]) =>
        el("tr", {}, el("th", { scope: "row" }, first), others.map((cell) => el("td", {}, cell)))))));
}

/** The little of Markdown that descriptions use: paragraphs, lists, code, bold, links. */
export function prose(text) {
  return (text ?? "").trim().split(/\n\s*\n/).filter(Boolean).map((paragraph) => {
    const items = paragraph.split(/^\s*[-*] +/m);
    const lead = items.shift().trim();
    const list = items.length ? el("ul", {}, items.map((item) => el("li", {}, inline(item.trim())))) : null;
    return [lead ? el("p", {}, inline(lead.replace(/^#+ /, ""))) : null, list];
  });
}

export function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)\s]+\))/).map((part) => {
    if (/^`[^`]+`$/.test(part)) return code(part.slice(1, -1));
    if (/^\*\*[^*]+\*\*$/.test(part)) return el("strong", {}, part.slice(2, -2));
    const link = /^\[([^\]]+)\]\(((?:https?:\/\/|\/|#)[^)\s]*)\)$/.exec(part);
    return link ? el("a", { href: link[2], rel: "noreferrer" }, link[1]) : part;
  });
}
