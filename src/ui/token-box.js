// The token that calls of the reference are made with. A session of the page at / is taken over, and the other way round.

import { byId, el } from "./dom.js";
import * as session from "./session.js";

export const token = () => byId("token").value.trim();

export function useTokenButton(value) {
  const button = el("button", { type: "button" }, "Use this token");
  button.addEventListener("click", () => {
    byId("token").value = value;
    keepToken();
    button.textContent = "In use";
  });
  return button;
}

function keepToken() {
  byId("token-state").textContent = token() ? "A token is set." : "No token is set.";
  if (!token()) session.end();
  else if (token() !== session.token()) session.begin({ token: token() });
}

export function startTokenBox() {
  const input = byId("token");
  const show = byId("token-show");
  input.value = session.token();
  keepToken();
  input.addEventListener("input", keepToken);
  byId("token-form").addEventListener("submit", (event) => event.preventDefault());
  byId("token-clear").addEventListener("click", () => {
    input.value = "";
    keepToken();
    input.focus();
  });
  show.addEventListener("click", () => {
    const hidden = input.type === "password";
    input.type = hidden ? "text" : "password";
    show.setAttribute("aria-pressed", String(hidden));
  });
  // The token ends by itself while the page is open.
  session.onEnd(() => {
    input.value = "";
    keepToken();
  });
  byId("token-box").hidden = false;
}
