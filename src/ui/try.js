// Trying a call: a form for what it takes, the same as a curl line, and its answer.

import { examplesOf, flatten } from "./description.js";
import { copyWith, el } from "./dom.js";
import { block, code, pretty, table } from "./prose.js";
import { token, useTokenButton } from "./token-box.js";

/** The headers of an answer that say something about the call; the others are transport. */
const SHOWN_HEADERS = [
  "content-type", "etag", "idempotency-replayed", "retry-after", "ratelimit", "ratelimit-policy", "www-authenticate",
  "allow", "location", "cache-control", "x-request-id", "traceresponse",
];

/** Headers that the page itself or the browser sets. */
const OWN_HEADERS = ["authorization", "accept", "content-type"];

const FORM = "application/x-www-form-urlencoded";

export function tryIt(operation) {
  const controls = operation.parameters
    .filter((parameter) => parameter.in !== "cookie" && !OWN_HEADERS.includes(parameter.name.toLowerCase()))
    .map((parameter) => parameterControl(operation, parameter));
  const body = bodyControl(operation);
  const curl = code("");
  const status = el("p", { class: "outcome", role: "status" });
  const result = el("div", { class: "result" });
  const send = el("button", { type: "submit", class: "primary" }, "Send");
  const form = el("form", { class: "try", "aria-label": `Try ${operation.method.toUpperCase()} ${operation.path}` },
    controls.map(({ node }) => node),
    body?.nodes,
    el("div", { class: "curl" },
      el("pre", { tabindex: "0", role: "region", "aria-label": "The same call with curl" }, curl),
      copyButton(() => curl.textContent)),
    send, status, result);

  const update = () => { curl.textContent = curlOf(requestOf(operation, controls, body), operation.secured); };
  form.addEventListener("input", update);
  form.addEventListener("change", update);
  update();

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (send.getAttribute("aria-disabled") === "true") return;
    send.setAttribute("aria-disabled", "true");
    status.replaceChildren("Waiting for the answer.");
    result.replaceChildren();
    try {
      const answer = await perform(requestOf(operation, controls, body));
      status.replaceChildren(...outcome(answer));
      result.replaceChildren(...renderResult(answer));
    } catch (error) {
      status.replaceChildren(`No answer: ${error.message}`);
    } finally {
      send.removeAttribute("aria-disabled");
    }
  });
  return form;
}

function labelled(id, label, hint, ...controls) {
  return el("div", { class: "field" },
    el("label", { for: id }, code(label), hint ? el("span", { class: "quiet" }, ` ${hint}`) : null),
    el("div", { class: "row" }, controls));
}

function parameterControl(operation, parameter) {
  const id = `${operation.id}--${parameter.in}-${parameter.name}`;
  const schema = flatten(parameter.schema);
  const options = schema.enum ?? (schema.type === "boolean" ? ["true", "false"] : null);
  const path = parameter.in === "path";
  const control = options
    ? el("select", { id }, path ? null : el("option", { value: "" }, "not sent"), options.map((o) => el("option", {}, String(o))))
    : el("input", { id, type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false", required: path });
  const example = parameter.example ?? schema.example;
  if (path && example !== undefined) control.value = String(example);

  const extra = [];
  if (parameter.name.toLowerCase() === "idempotency-key") {
    const button = el("button", { type: "button" }, "New key");
    button.addEventListener("click", () => {
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      control.value = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
      control.dispatchEvent(new Event("input", { bubbles: true }));
    });
    extra.push(button);
  }
  const hint = path ? "" : `${parameter.in}, optional`;
  return { parameter, control, node: labelled(id, parameter.name, hint, control, extra) };
}

/** The example of a body in the form of its media type. */
function bodyText(type, media) {
  const value = examplesOf(media)[0]?.[2] ?? "";
  return type === FORM && typeof value === "object" ? new URLSearchParams(value).toString() : pretty(value);
}

function bodyControl({ id, body }) {
  const types = Object.entries(body?.content ?? {});
  if (!types.length) return null;
  const text = el("textarea", { id: `${id}--body`, rows: "5", spellcheck: "false", autocapitalize: "off" });
  const type = el("select", { id: `${id}--type` }, types.map(([name]) => el("option", {}, name)));
  const fill = () => { text.value = bodyText(type.value, body.content[type.value]); };
  type.addEventListener("change", fill);
  fill();
  return {
    text,
    type,
    nodes: [labelled(type.id, "Content-Type", "", type), labelled(text.id, "Body", "", text)],
  };
}

/** The request as the form stands. */
function requestOf(operation, controls, body) {
  let path = operation.path;
  const query = new URLSearchParams();
  const headers = { Accept: "application/json" };
  for (const { parameter, control: { value } } of controls) {
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value !== "" && parameter.in === "query") query.append(parameter.name, value);
    else if (value !== "" && parameter.in === "header") headers[parameter.name] = value;
  }
  const request = {
    method: operation.method.toUpperCase(),
    url: location.origin + path + (query.size ? `?${query}` : ""),
    headers,
    withToken: operation.secured && token() !== "",
  };
  if (body && body.text.value !== "") {
    headers["Content-Type"] = body.type.value;
    request.body = body.text.value;
  }
  return request;
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The same request as a line for a shell. The token stays out of it. */
function curlOf({ method, url, headers, body }, secured) {
  const parts = [method === "GET" ? "curl -i" : method === "HEAD" ? "curl -I" : `curl -i -X ${method}`];
  if (secured) parts.push('-H "Authorization: Bearer $TOKEN"');
  for (const [name, value] of Object.entries(headers)) {
    if (name !== "Accept") parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  }
  if (body !== undefined) parts.push(`--data-raw ${quoted(body)}`);
  parts.push(quoted(url));
  return parts.join(" \\\n  ");
}

function copyButton(text) {
  const button = el("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", () => copyWith(button, text()));
  return button;
}

async function perform({ method, url, headers, body, withToken }) {
  const started = performance.now();
  const response = await fetch(url, {
    method,
    headers: withToken ? { ...headers, Authorization: `Bearer ${token()}` } : headers,
    body,
    cache: "no-store",
    credentials: "omit",
    referrerPolicy: "no-referrer",
    signal: AbortSignal.timeout(60_000),
  });
  const text = await response.text();
  return { response, text, milliseconds: performance.now() - started };
}

function outcome({ response, milliseconds }) {
  const status = String(response.status);
  return [
    el("span", { class: `status s${status[0]}` }, status), " ",
    `${response.statusText} in ${milliseconds.toFixed(0)} ms`,
  ];
}

function renderResult({ response, text }) {
  const headers = SHOWN_HEADERS.filter((name) => response.headers.has(name)).map((name) => [code(name), code(response.headers.get(name))]);
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined; // Not JSON: it is shown as it came.
  }
  return [
    headers.length ? table("Headers of the answer", ["Header", "Value"], headers) : null,
    text ? block(json === undefined ? text : pretty(json), "Body of the answer") : el("p", { class: "quiet" }, "No body."),
    typeof json?.token === "string" ? useTokenButton(json.token) : null,
  ].filter(Boolean);
}
