// The page at /docs: reads /openapi.json and shows every call, to read and to try.

import { operationsByTag, readDescription } from "./description.js";
import { byId, el } from "./dom.js";
import { renderOperation } from "./operation.js";
import { badge, breakable, code, prose } from "./prose.js";
import { startTokenBox } from "./token-box.js";

function render({ info }) {
  const groups = operationsByTag();
  const { title, version, description } = info ?? {};
  byId("intro").replaceChildren(
    el("h1", {}, title ?? "Reference", version ? el("span", { class: "version" }, ` ${version}`) : null),
    ...prose(description).flat().filter(Boolean));
  byId("index").replaceChildren(...groups.flatMap(({ name, operations }) => [
    el("p", { class: "group" }, name),
    el("ul", {}, operations.map(({ id, method, path }) =>
      el("li", {}, el("a", { href: `#${id}` }, badge(method), " ", code(breakable(path)))))),
  ]));
  byId("calls").replaceChildren(...groups.map(({ name, description: about, operations }, i) =>
    el("section", { "aria-labelledby": `group-${i}` },
      el("h2", { id: `group-${i}` }, name),
      prose(about),
      operations.map(renderOperation))));
}

/** Opens the call that the address names, and brings it into view. */
function openTarget() {
  const target = byId(decodeURIComponent(location.hash.slice(1)));
  if (!target?.matches("details.call")) return;
  target.open = true;
  target.scrollIntoView();
  target.querySelector("summary").focus({ preventScroll: true });
}

async function start() {
  let description;
  byId("contents").open = matchMedia("(min-width: 60rem)").matches;
  try {
    description = await readDescription();
  } catch (error) {
    byId("state").textContent = `The description of the API cannot be read: ${error.message}. Reload the page to try again.`;
    return;
  }
  startTokenBox();
  render(description);
  openTarget();
  addEventListener("hashchange", openTarget);
  // A link to the call that the address already names changes nothing there, yet is to open it again.
  byId("index").addEventListener("click", () => setTimeout(openTarget));
}

start();
