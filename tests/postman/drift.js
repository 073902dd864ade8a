// What a Postman collection says that the description of the API does not, and the other way round.

/**
 * All findings, as sentences.
 * @param {any} collection
 * @param {any} environment
 * @param {any} openapi
 */
export function drift(collection, environment, openapi) {
  const findings = [];
  const items = leaves(collection.item);
  const asked = new Set();
  for (const item of items) {
    const found = operationOf(item.request, openapi);
    if (!found) {
      findings.push(`${item.name}: no such call: ${item.request.method} ${item.request.url.raw}`);
      continue;
    }
    asked.add(found.key);
    findings.push(...[...ofRequest(item, found, openapi), ...ofTests(item, found, openapi)].map((text) => `${item.name}: ${text}`));
  }
  findings.push(...operations(openapi).filter((key) => !asked.has(key)).map((key) => `no request for ${key}`));
  return [...findings, ...ofVariables(collection, environment)];
}

const leaves = (items) => items.flatMap((item) => (item.item ? leaves(item.item) : [item]));
const operations = ({ paths }) => Object.entries(paths).flatMap(([path, item]) => Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`));
const scriptOf = (item, kind) => (item.event ?? []).filter(({ listen }) => listen === kind).flatMap(({ script }) => script.exec).join('\n');

function operationOf({ method, url }, openapi) {
  for (const [path, item] of Object.entries(openapi.paths)) {
    const parts = path.slice(1).split('/');
    const fits = parts.length === url.path.length && parts.every((part, i) => part === url.path[i] || (part.startsWith('{') && url.path[i].startsWith('{{')));
    const operation = item[method.toLowerCase()];
    if (fits && operation) return { key: `${method} ${path}`, operation, parameters: [...(item.parameters ?? []), ...(operation.parameters ?? [])] };
  }
  return null;
}

/** Parameters, headers and fields that the description does not know, and such as are missing. */
function* ofRequest({ request }, { operation, parameters }, openapi) {
  const known = (place) => parameters.filter((one) => one.in === place).map(({ name }) => name.toLowerCase());
  for (const { key } of request.url.query ?? []) {
    if (!known('query').includes(key.toLowerCase())) yield `no query parameter ${key}`;
  }
  for (const { key } of request.header ?? []) {
    if (![...known('header'), 'content-type'].includes(key.toLowerCase())) yield `no header ${key}`;
  }
  const body = resolve(operation.requestBody, openapi);
  if (!request.body) {
    if (body?.required) yield 'it has no body';
    return;
  }
  const [type, sent] = bodyOf(request.body);
  const schema = resolve(body?.content?.[type]?.schema, openapi);
  if (!schema) {
    yield `it takes no ${type}`;
    return;
  }
  const fields = Object.keys(properties(schema, openapi));
  for (const name of sent) if (!fields.includes(name)) yield `no field ${name} in the body`;
  for (const name of schema.required ?? []) if (!sent.includes(name)) yield `the field ${name} is missing`;
}

function bodyOf({ mode, raw, urlencoded }) {
  return mode === 'raw' ? ['application/json', Object.keys(JSON.parse(raw))] : ['application/x-www-form-urlencoded', urlencoded.map(({ key }) => key)];
}

/** Statuses, fields and codes that the tests expect and the description does not know. */
function* ofTests(item, { operation }, openapi) {
  const tests = scriptOf(item, 'test');
  const [, status] = /to\.have\.status\((\d+)\)/.exec(tests) ?? [];
  if (!status) {
    yield 'its tests check no status';
    return;
  }
  const response = resolve(operation.responses[status], openapi);
  if (!response) {
    yield `no answer ${status}`;
    return;
  }
  const [media] = Object.values(response.content ?? {});
  for (const [path] of tests.matchAll(/\banswer(?:\.\w+|\[\d+\])+/g)) {
    const steps = path.replace(/\[\d+\]/g, '.[]').split('.').slice(1).filter((step) => !['map', 'length'].includes(step));
    if (!has(media?.schema, steps, openapi)) yield `no field ${path} in the answer ${status}`;
  }
  for (const [, code] of tests.matchAll(/answer\.code\)\.to\.eql\('(\w+)'\)/g)) {
    if (!media?.examples?.[code]) yield `the answer ${status} is never ${code}`;
  }
  const headers = Object.keys(response.headers ?? {}).map((name) => name.toLowerCase());
  for (const [, name] of tests.matchAll(/headers\.(?:get|has)\('([\w-]+)'\)/g)) {
    if (![...headers, 'content-type'].includes(name.toLowerCase())) yield `no header ${name} in the answer ${status}`;
  }
}

/** Is there such a field, in any form that the value can have? */
function has(schema, [step, ...rest], openapi) {
  if (step === undefined) return true;
  return forms(schema, openapi).some((form) => {
    if (step === '[]') return form.items && has(form.items, rest, openapi);
    const field = properties(form, openapi)[step];
    return field && has(field, rest, openapi);
  });
}

function forms(schema, openapi) {
  const whole = resolve(schema, openapi);
  if (!whole) return [];
  return [whole, ...(whole.oneOf ?? whole.anyOf ?? []).flatMap((form) => forms(form, openapi))];
}

function properties(schema, openapi) {
  const parts = (schema.allOf ?? []).map((part) => properties(resolve(part, openapi), openapi));
  return Object.assign({}, ...parts, schema.properties);
}

function resolve(node, openapi) {
  return node?.$ref ? node.$ref.slice(2).split('/').reduce((value, key) => value[key], openapi) : node;
}

/** Variables that nothing gives, and such as nothing uses. */
function ofVariables(collection, environment) {
  const text = JSON.stringify(collection);
  const given = environment.values.map(({ key }) => key);
  const used = [...text.matchAll(/\{\{([^$}]\w*)\}\}|environment\.(?:get|set|unset)\('(\w+)'/g)].map(([, braces, script]) => braces ?? script);
  return [
    ...[...new Set(used)].filter((name) => !given.includes(name)).map((name) => `the environment has no ${name}`),
    ...given.filter((name) => !used.includes(name)).map((name) => `nothing uses ${name} of the environment`),
  ];
}
