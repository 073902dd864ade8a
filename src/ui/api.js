// Calls to the service. What fails is a Problem, whether the service refused, something in between did, or nobody answered.

import * as session from "./session.js";

/** How long a call may take. The service gives up sooner by itself. */
const PATIENCE = 20_000;
/** How often a call with a key is made until its answer is definite. */
const ATTEMPTS = 6;

/** Codes after which a call with a key is repeated: a moment later it may be done, or it was done already. */
const OPEN = [
  "no_answer", "offline", "strange_answer", "store_unavailable", "overloaded", "draining", "outcome_unknown",
  "idempotency_key_in_flight",
];
/** Those of them that say of one attempt that it did nothing. One before it may have done it. */
const NOTHING_DONE = ["store_unavailable", "overloaded", "draining"];
/** Codes that end the session. */
const ENDED = ["token_missing", "token_invalid", "token_expired", "token_revoked"];

export class Problem extends Error {
  /** @param {object} told the body (RFC 9457), or as much as is known of it */
  constructor({ code, status = 0, detail = "", errors = [], trace_id: trace = "" }, after = null) {
    super(`${code}: ${detail}`);
    Object.assign(this, { code, status, detail, errors, trace, after });
  }

  /** Is it open whether the call was, or will be, done? */
  get isOpen() {
    return OPEN.includes(this.code);
  }
}

/** Makes a call: `{ data, headers }`, or a Problem is thrown. */
export async function call(method, path, { body, headers = {}, credentials = "omit" } = {}) {
  const token = session.token();
  const sent = { Accept: "application/json", ...headers };
  if (token) sent.Authorization = `Bearer ${token}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  let text;
  try {
    answer = await fetch(path, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials,
      redirect: "error",
      signal: AbortSignal.timeout(PATIENCE),
    });
    text = await answer.text();
  } catch {
    throw new Problem({ code: navigator.onLine ? "no_answer" : "offline" });
  }
  const data = parsed(text);
  if (answer.ok && (text === "" || data)) return { data, headers: answer.headers };
  const problem = refusal(answer, data);
  // Another session may have begun meanwhile: a refusal of the old token says nothing of it.
  if (ENDED.includes(problem.code) && token && token === session.token()) session.end(problem.code);
  throw problem;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function refusal(answer, data) {
  const after = Number.parseInt(answer.headers.get("retry-after"), 10);
  // A proxy that answers by itself knows nothing of our codes.
  const told = typeof data?.code === "string" ? data : { code: answer.status === 429 ? "rate_limited" : "strange_answer" };
  return new Problem({ ...told, status: answer.status }, Number.isNaN(after) ? null : after);
}

/** A key for one call. */
export function newKey() {
  // randomUUID is not there in pages by plain HTTP.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The calls that were left open, by what they ask for: their keys, and whether an attempt may have done something. */
const left = new Map();
session.onEnd(() => left.clear());

/**
 * Makes a call under an `Idempotency-Key`, again and again until its answer is definite: whatever gets lost on the way, it is
 * done once. A call that is left open all the same goes on under its key when the user makes it again.
 */
export async function callOnce(method, path, { onRepeat = () => {}, headers, ...options } = {}) {
  const asked = JSON.stringify([method, path, headers, options]);
  const kept = left.get(asked) ?? { key: newKey(), undecided: false };
  left.set(asked, kept);
  const holder = session.token();
  for (let attempt = 1; ; attempt += 1) {
    try {
      const answer = await call(method, path, { ...options, headers: { ...headers, "Idempotency-Key": kept.key } });
      left.delete(asked);
      return answer;
    } catch (problem) {
      if (!problem.isOpen) left.delete(asked);
      kept.undecided ||= !NOTHING_DONE.includes(problem.code);
      problem.undecided = kept.undecided;
      if (!problem.isOpen || attempt === ATTEMPTS || session.token() !== holder) throw problem;
      onRepeat(problem, attempt + 1, ATTEMPTS);
      await pause(Math.max(500 * 2 ** (attempt - 1), (problem.after ?? 0) * 1000));
    }
  }
}

function pause(milliseconds) {
  return new Promise((go) => { setTimeout(go, milliseconds); });
}
