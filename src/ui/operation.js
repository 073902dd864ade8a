// A call as it can be read: parameters, body, answers.

import { examplesOf, flatten, resolve, typeName } from "./description.js";
import { el } from "./dom.js";
import { badge, block, breakable, code, inline, pretty, prose, table } from "./prose.js";
import { tryIt } from "./try.js";

export function renderOperation(operation) {
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

// --- Fields

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
