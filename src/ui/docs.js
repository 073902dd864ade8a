// The page at /docs: reads /openapi.json and shows every call, to read and to try.
//
// Whatever comes from the description or from an answer becomes a text node, never markup, so that nothing in it can
// run. The token lives in sessionStorage only, and is sent nowhere but to this origin.

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];

/** The headers of an answer that say something about the call; the others are transport. */
const SHOWN_HEADERS = [
  "content-type", "etag", "idempotency-replayed", "retry-after", "ratelimit", "ratelimit-policy", "www-authenticate",
  "allow", "location", "cache-control", "x-request-id", "traceresponse",
];

/** Headers that the page itself or the browser sets. */
const OWN_HEADERS = ["authorization", "accept", "content-type"];

const FORM = "application/x-www-form-urlencoded";

let spec = {};

// --- Building nodes

/** An element with attributes and children; strings become text, null children are left out. */
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null));
  return element;
}

const byId = (id) => document.getElementById(id);
const badge = (method) => el("span", { class: `method ${method}` }, method.toUpperCase());
const code = (text, attributes) => el("code", attributes, text);
/** A block of code; it can be focused, so that the keyboard can scroll it. */
const block = (text, label) => el("pre", { tabindex: "0", role: "region", "aria-label": label }, code(text));
const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
/** A path that may break after each slash. */
const breakable = (path) => path.split(/(?<=\/)/).flatMap((part) => [part, el("wbr")]);

function table(caption, headings, rows) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {},
      el("thead", {}, el("tr", {}, headings.map((heading) => el("th", { scope: "col" }, heading)))),
      el("tbody", {}, rows.map(([first, ...others]) =>
        el("tr", {}, el("th", { scope: "row" }, first), others.map((cell) => el("td", {}, cell)))))));
}

/** The little of Markdown that descriptions use: paragraphs, lists, code, bold, links. */
function prose(text) {
  return (text ?? "").trim().split(/\n\s*\n/).filter(Boolean).map((paragraph) => {
    const items = paragraph.split(/^\s*[-*] +/m);
    const lead = items.shift().trim();
    const list = items.length ? el("ul", {}, items.map((item) => el("li", {}, inline(item.trim())))) : null;
    return [lead ? el("p", {}, inline(lead.replace(/^#+ /, ""))) : null, list];
  });
}

function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)\s]+\))/).map((part) => {
    if (/^`[^`]+`$/.test(part)) return code(part.slice(1, -1));
    if (/^\*\*[^*]+\*\*$/.test(part)) return el("strong", {}, part.slice(2, -2));
    const link = /^\[([^\]]+)\]\(((?:https?:\/\/|\/|#)[^)\s]*)\)$/.exec(part);
    return link ? el("a", { href: link[2], rel: "noreferrer" }, link[1]) : part;
  });
}

// --- Reading the description

/** Follows `$ref` inside of the document. */
function resolve(node) {
  for (let hops = 0; node?.$ref?.startsWith("#/") && hops < 20; hops += 1) {
    const { $ref, ...siblings } = node;
    const keys = $ref.slice(2).split("/").map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
    node = { ...keys.reduce((value, key) => value?.[key], spec), ...siblings };
  }
  return node ?? {};
}

/** A schema with its references and `allOf` parts put together; of alternatives the first that is not null. */
function flatten(schema) {
  const whole = resolve(schema);
  const parts = (whole.allOf ?? []).map(flatten);
  const alternative = (whole.oneOf ?? whole.anyOf ?? []).map(resolve).find((option) => option.type !== "null");
  if (alternative) parts.push(flatten(alternative));
  return parts.concat(whole).reduce((sum, part) => ({
    ...sum,
    ...part,
    properties: { ...sum.properties, ...part.properties },
    required: [...(sum.required ?? []), ...(part.required ?? [])],
  }), {});
}

function typeName(schema) {
  const types = [schema.type ?? []].flat();
  const named = types.map((type) =>
    type === "array" ? `array of ${typeName(flatten(schema.items))}` : type === "string" && schema.format ? schema.format : type);
  return named.join(" or ") || (schema.enum ? "one of a list" : "any");
}

/** What a value must be, beyond its type. */
function limits(schema) {
  const { minimum: least, maximum: most, minLength: shortest, maxLength: longest } = schema;
  const range = (from, to, unit) =>
    from != null && to != null ? `${from} to ${to}${unit}` : from != null ? `at least ${from}${unit}` : `at most ${to}${unit}`;
  const found = [];
  if (least != null || most != null) found.push(range(least, most, ""));
  if (shortest != null || longest != null) found.push(range(shortest, longest, " characters"));
  if (schema.pattern) found.push(code(schema.pattern));
  if (schema.enum) found.push(["one of ", schema.enum.flatMap((value, i) => [i ? ", " : "", code(String(value))])]);
  if (schema.default !== undefined) found.push(["default ", code(JSON.stringify(schema.default))]);
  return found.flatMap((limit, i) => [i ? "; " : "", limit]);
}

function typeCell(schema) {
  const more = limits(schema);
  return [typeName(schema), more.length ? el("span", { class: "quiet" }, " (", more, ")") : null];
}

/** One row for each field, nested ones under the whole of their name. */
function fieldRows(schema, prefix = "", depth = 0) {
  const { properties, required } = flatten(schema);
  return Object.entries(properties).flatMap(([name, property]) => {
    const field = flatten(property);
    const array = [field.type].flat().includes("array");
    const row = [
      [code(prefix + name), required.includes(name) ? null : el("span", { class: "quiet" }, " optional")],
      typeCell(field),
      prose(field.description),
    ];
    const nested = depth < 4 ? fieldRows(array ? field.items : field, `${prefix}${name}${array ? "[]" : ""}.`, depth + 1) : [];
    return [row, ...nested];
  });
}

/** A table of the fields; one for each form where a value has one of several. */
function fieldTables(caption, schema) {
  const { oneOf, anyOf } = resolve(schema);
  const forms = (oneOf ?? anyOf ?? []).filter((form) => resolve(form).type !== "null");
  if (forms.length > 1) {
    return forms.map((form, i) => [
      el("p", { class: "quiet" }, i ? "or" : "Either"),
      fieldTables(`${caption}, form ${i + 1}`, form),
    ]);
  }
  const whole = flatten(schema);
  const rows = fieldRows([whole.type].flat().includes("array") ? whole.items : whole);
  return rows.length ? table(caption, ["Field", "Type", "Meaning"], rows) : null;
}

/** A value that fits a schema: its own example where it has one. */
function sample(schema, depth = 0) {
  const whole = flatten(schema);
  const given = whole.example ?? whole.examples?.[0] ?? whole.default ?? whole.const ?? whole.enum?.[0];
  if (given !== undefined || depth > 6) return given ?? null;
  switch ([whole.type].flat().find((type) => type !== "null")) {
    case "array": return [sample(whole.items, depth + 1)];
    case "integer":
    case "number": return whole.minimum ?? 0;
    case "boolean": return false;
    case "string": return "text";
    default:
      return Object.fromEntries(Object.entries(whole.properties).map(([name, field]) => [name, sample(field, depth + 1)]));
  }
}

/** The examples of a media type as `[name, summary, value]`. */
function examplesOf(media) {
  const named = Object.entries(media.examples ?? {}).map(([name, example]) => {
    const { summary, description, value, dataValue } = resolve(example);
    return [name, summary || description || "", value ?? dataValue];
  });
  if (named.length) return named;
  if (media.example !== undefined) return [["", "", media.example]];
  return media.schema ? [["", "", sample(media.schema)]] : [];
}

function operationsByTag() {
  const groups = new Map((spec.tags ?? []).map((tag) => [tag.name, { ...tag, operations: [] }]));
  for (const [path, item] of Object.entries(spec.paths ?? {})) {
    for (const method of METHODS.filter((method) => item[method])) {
      const operation = item[method];
      const tag = operation.tags?.[0] ?? "Other";
      if (!groups.has(tag)) groups.set(tag, { name: tag, operations: [] });
      groups.get(tag).operations.push({
        ...operation,
        id: `${method}${path.replace(/[^a-z0-9]+/gi, "-").replace(/-$/, "")}`,
        method,
        path,
        parameters: [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolve),
        body: operation.requestBody ? resolve(operation.requestBody) : null,
        secured: (operation.security ?? spec.security ?? []).some((scheme) => Object.keys(scheme).length > 0),
      });
    }
  }
  return [...groups.values()].filter((group) => group.operations.length > 0);
}

// --- The parts of a call

function renderParameters({ parameters }) {
  if (!parameters.length) return null;
  const rows = parameters.map((parameter) => {
    const schema = flatten(parameter.schema);
    // A parameter that is optional is left out, never sent as null.
    const type = [schema.type ?? []].flat().filter((name) => name !== "null");
    return [
      [code(parameter.name), el("span", { class: "quiet" }, ` ${parameter.in}${parameter.required ? ", required" : ""}`)],
      typeCell({ ...schema, type }),
      prose(parameter.description),
    ];
  });
  return [el("h4", {}, "Parameters"), table("Parameters", ["Name", "Type", "Meaning"], rows)];
}

function renderBody({ body }) {
  if (!body) return null;
  const types = Object.entries(body.content ?? {});
  const [[, first] = ["", {}]] = types;
  return [
    el("h4", {}, "Body", body.required ? null : el("span", { class: "quiet" }, " optional")),
    prose(body.description),
    el("p", { class: "quiet" }, "Sent as ", types.flatMap(([type], i) => [i ? " or " : "", code(type)]), "."),
    fieldTables("Fields of the body", first.schema),
    examplesOf(first).map(([name, summary, value]) => [
      name ? el("p", { class: "quiet" }, summary || name) : null,
      block(pretty(value), "Example of the body"),
    ]),
  ];
}

function renderAnswer(status, answer) {
  const headers = Object.entries(answer.headers ?? {}).map(([name, header]) => {
    const { schema, description } = resolve(header);
    return [code(name), typeCell(flatten(schema)), prose(description)];
  });
  const contents = Object.entries(answer.content ?? {}).map(([type, media]) => {
    const examples = examplesOf(media);
    return [
      el("p", { class: "quiet" }, code(type)),
      type.includes("problem") ? null : fieldTables(`Fields of the answer ${status}`, media.schema),
      examples.length > 1
        ? examples.map(([name, summary, value]) =>
          el("details", { class: "example" },
            el("summary", {}, code(name), " ", el("span", { class: "quiet" }, summary)),
            block(pretty(value), `Example ${name}`)))
        : examples.map(([name, summary, value]) => [
          name ? el("p", {}, code(name), " ", el("span", { class: "quiet" }, summary)) : null,
          block(pretty(value), `Example of the answer ${status}`),
        ]),
    ];
  });
  // Several paragraphs are one for each problem: the codes say enough until they are looked at.
  const description = (answer.description ?? "").trim();
  const codes = Object.values(answer.content ?? {}).flatMap((media) => Object.keys(media.examples ?? {}));
  const long = description.includes("\n\n") && codes.length > 0;
  const about = long ? codes.flatMap((name, i) => [i ? ", " : "", code(name)]) : inline(description);
  return el("details", { class: "answer" },
    el("summary", {}, el("span", { class: `status s${status[0]}` }, status), " ", about),
    long ? prose(description) : null,
    headers.length ? table(`Headers of the answer ${status}`, ["Header", "Type", "Meaning"], headers) : null,
    contents,
    headers.length || contents.length ? null : el("p", { class: "quiet" }, "No body."));
}

function renderOperation(operation) {
  const { id, method, path, summary, description, responses, secured, deprecated } = operation;
  const answers = Object.entries(responses ?? {}).map(([status, answer]) => renderAnswer(status, resolve(answer)));
  return el("details", { class: "card call", id },
    el("summary", {},
      el("h3", {}, badge(method), " ", code(breakable(path))),
      el("span", { class: "about" }, summary, deprecated ? el("strong", {}, " Deprecated.") : null)),
    el("div", { class: "detail" },
      prose(description),
      el("p", { class: "quiet" }, secured ? "Needs a token." : "Needs no token."),
      renderParameters(operation),
      renderBody(operation),
      el("h4", {}, "Answers"),
      answers,
      el("h4", {}, "Try it"),
      operation["x-takes-numbers"] ? el("p", { class: "quiet" }, "It is a real call: its numbers are taken for good.") : null,
      tryIt(operation)));
}

// --- Trying a call

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
  const button = el("button", { type: "button", class: "copy", hidden: !navigator.clipboard }, "Copy");
  button.addEventListener("click", async () => {
    const done = await navigator.clipboard.writeText(text()).then(() => true, () => false);
    button.textContent = done ? "Copied" : "Not allowed";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return button;
}

function tryIt(operation) {
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

// --- The token

const token = () => byId("token").value.trim();

function useTokenButton(value) {
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
  try {
    if (token()) sessionStorage.setItem("token", token());
    else sessionStorage.removeItem("token");
  } catch {
    // Storage is switched off in this browser: the token then lasts as long as the page.
  }
}

function startTokenBox() {
  const input = byId("token");
  const show = byId("token-show");
  try {
    input.value = sessionStorage.getItem("token") ?? "";
  } catch {
    input.value = "";
  }
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
  byId("token-box").hidden = false;
}

// --- The page

function render() {
  const groups = operationsByTag();
  const { title, version, description } = spec.info ?? {};
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
  byId("contents").open = matchMedia("(min-width: 60rem)").matches;
  try {
    const response = await fetch("/openapi.json", { credentials: "omit" });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    spec = await response.json();
  } catch (error) {
    byId("state").textContent = `The description of the API cannot be read: ${error.message}. Reload the page to try again.`;
    return;
  }
  startTokenBox();
  render();
  openTarget();
  addEventListener("hashchange", openTarget);
  // A link to the call that the address already names changes nothing there, yet is to open it again.
  byId("index").addEventListener("click", () => setTimeout(openTarget));
}

start();
