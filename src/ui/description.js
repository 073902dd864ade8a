// Reading the description of the API: references, schemas put together, examples, operations.

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];

let spec = {};

/** Reads it from the service. */
export async function readDescription() {
  const response = await fetch("/openapi.json", { credentials: "omit" });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  spec = await response.json();
  return spec;
}

/** Follows `$ref` inside of the document. */
export function resolve(node) {
  for (let hops = 0; node?.$ref?.startsWith("#/") && hops < 20; hops += 1) {
    const { $ref, ...siblings } = node;
    const keys = $ref.slice(2).split("/").map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
    node = { ...keys.reduce((value, key) => value?.[key], spec), ...siblings };
  }
  return node ?? {};
}

/** A schema with its references and `allOf` parts put together; of alternatives the first that is not null. */
export function flatten(schema) {
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

export function typeName(schema) {
  const types = [schema.type ?? []].flat();
  const named = types.map((type) =>
    type === "array" ? `array of ${typeName(flatten(schema.items))}` : type === "string" && schema.format ? schema.format : type);
  return named.join(" or ") || (schema.enum ? "one of a list" : "any");
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
export function examplesOf(media) {
  const named = Object.entries(media.examples ?? {}).map(([name, example]) => {
    const { summary, description, value, dataValue } = resolve(example);
    return [name, summary || description || "", value ?? dataValue];
  });
  if (named.length) return named;
  if (media.example !== undefined) return [["", "", media.example]];
  return media.schema ? [["", "", sample(media.schema)]] : [];
}

export function operationsByTag() {
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
