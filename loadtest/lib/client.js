// One call of the API: its tags, its trace, and what its answer means to the caller.

import http from 'k6/http';
import exec from 'k6/execution';
import { sleep } from 'k6';
import { Counter, Rate, Trend } from 'k6/metrics';

import { BASE_URLS, number } from './settings.js';
import { LATENCY_SECONDS } from './slo.js';
import { Trace } from './trace.js';

/** Was the call to /v1/ served, as the availability objective counts it? No answer at all is a failure too. */
const available = new Rate('slo_available');
/** Answers that no caller should ever get here: a 500, or a refusal that is not the load's doing. */
const unexpected = new Counter('answers_unexpected');
/** Answers that contradict what the caller knows. */
const wrong = new Counter('answers_wrong');
/** From a call's first attempt to its definite answer. */
const definiteAfter = new Trend('definite_after', true);
/** Attempts beyond the first. */
const repeated = new Counter('calls_repeated');

/** A call that took longer than this is told with its trace: a few of each virtual user. */
const SLOW_MS = number('SLOW_MS', LATENCY_SECONDS * 1000 * 5);
let slowToTell = 3;

/** Longer than the service's own deadline (10 s), so that callers get its answer. */
const TIMEOUT = '15s';
const JSON_BODY = { 'Content-Type': 'application/json' };

/**
 * `ok` is a 2xx. `refused` is a definite refusal: nothing was done. `unknown` may have been done: the connection broke, or the
 * service itself does not know.
 * @typedef {'ok' | 'refused' | 'unknown'} Outcome
 * @typedef {{ outcome: Outcome, status: number, code: string, body: any, etag: string, retryAfter: number,
 *   replayed: boolean, trace: string }} Answer
 */

/**
 * A call. `route` is the template, such as `/v1/counters/{name}/next`: it is the tag `name`, spelled as the service's
 * `http_route`, so that no counter's name becomes a label.
 * @typedef {object} Call
 * @property {'GET' | 'POST' | 'PUT' | 'DELETE'} method
 * @property {string} route
 * @property {string} [path] The route with its parameters filled in.
 * @property {string} [token]
 * @property {object} [body]
 * @property {Record<string, string>} [headers]
 * @property {number[]} [refusals] Statuses from 400 on that this call may well get, beyond those that load explains.
 * @property {Trace} [trace]
 */

/**
 * Is it a call whose latency the objective counts?
 * @param {string} route
 */
function hasLatencyObjective(route) {
  return /\/(next|current)$/.test(route);
}

/** What load and failures explain: too many requests, or a dependency that does not answer. */
const LOAD = [408, 429, 502, 503, 504];

/**
 * @param {Call} call
 * @param {number} turn Which of the addresses.
 */
function request(call, turn) {
  const trace = call.trace || new Trace();
  /** @type {Record<string, string>} */
  const headers = { ...call.headers, traceparent: trace.traceparent() };
  if (call.token) {
    headers.Authorization = `Bearer ${call.token}`;
  }
  if (call.body) {
    Object.assign(headers, JSON_BODY);
  }
  /** @type {Record<string, string>} */
  const tags = { name: call.route };
  if (hasLatencyObjective(call.route)) {
    tags.slo = 'latency';
  }
  const base = BASE_URLS[turn % BASE_URLS.length];
  return {
    trace,
    method: call.method,
    url: base + (call.path || call.route),
    body: call.body ? JSON.stringify(call.body) : null,
    params: {
      headers,
      tags,
      timeout: TIMEOUT,
      redirects: 0,
      responseCallback: http.expectedStatuses({ min: 200, max: 399 }, ...(call.refusals || [])),
    },
  };
}

/**
 * @param {Call} call
 * @param {import('k6/http').RefinedResponse<'text' | undefined>} response
 * @param {Trace} trace
 * @returns {Answer}
 */
function answer(call, response, trace) {
  const { status } = response;
  let body = null;
  try {
    body = response.body ? JSON.parse(response.body) : null;
  } catch {
    // A page of some proxy: the status says enough.
  }
  const code = (status >= 400 && body && body.code) || '';
  /** @type {Outcome} */
  let outcome = 'unknown';
  if (status >= 200 && status < 400) {
    outcome = 'ok';
  } else if ((status >= 400 && status < 500) || (status === 503 && code && code !== 'outcome_unknown')) {
    outcome = 'refused';
  }
  if (call.route.startsWith('/v1/')) {
    available.add(status > 0 && status < 500);
  }
  const foreseen = status < 400 || LOAD.includes(status) || (call.refusals || []).includes(status);
  if (!foreseen && code !== 'idempotency_key_in_flight') {
    unexpected.add(1, { name: call.route, status: String(status) });
    console.error(`unexpected: ${call.method} ${call.route} ${status} ${code}, trace ${trace.id}`);
  }
  if (response.timings.duration > SLOW_MS && slowToTell > 0) {
    slowToTell -= 1;
    console.warn(`slow: ${call.method} ${call.route} ${status} ${Math.round(response.timings.duration)} ms, trace ${trace.id}`);
  }
  // k6 spells the names of headers as Go does.
  const header = (/** @type {string} */ name) => response.headers[name] || '';
  return {
    outcome,
    status,
    code,
    body,
    etag: header('Etag'),
    retryAfter: Number(header('Retry-After')) || 0,
    replayed: header('Idempotency-Replayed') === 'true',
    trace: trace.id,
  };
}

/**
 * Tells of an answer that cannot be true.
 * @param {string} what
 * @param {Answer} answer
 */
export function tellWrong(what, answer) {
  wrong.add(1);
  const answered = answer.status === 0 ? 'there was no answer' : `answered ${answer.status} ${JSON.stringify(answer.body)}`;
  console.error(`wrong: ${what}; ${answered}, trace ${answer.trace}`);
}

let turns = 0;

/**
 * Calls once.
 * @param {Call} call
 * @returns {Answer}
 */
export function send(call) {
  const prepared = request(call, exec.vu.idInTest + turns++);
  // Metadata goes with each sample into k6's JSON output, and is no label anywhere.
  exec.vu.metrics.metadata.trace_id = prepared.trace.id;
  const response = http.request(prepared.method, prepared.url, prepared.body, { ...prepared.params, responseType: 'text' });
  delete exec.vu.metrics.metadata.trace_id;
  return answer(call, response, prepared.trace);
}

/**
 * Makes all of these calls at once.
 * @param {Call[]} calls
 * @returns {Answer[]}
 */
export function sendAll(calls) {
  const prepared = calls.map((call) => request(call, turns++));
  const responses = http.batch(
    prepared.map(({ method, url, body, params }) => ({ method, url, body, params: { ...params, responseType: 'text' } })),
  );
  return calls.map((call, index) => answer(call, responses[index], prepared[index].trace));
}

/**
 * Calls, and repeats it until the answer is definite or `patience` is over: safe for what has an `Idempotency-Key`, or does no
 * harm when it is done twice. The pause grows, and one that the service asks for is kept.
 * @param {Call} call
 * @param {number} patience In seconds.
 * @returns {Answer}
 */
export function insist(call, patience) {
  const trace = new Trace();
  const begin = Date.now();
  let pause = 0.05;
  for (;;) {
    const got = send({ ...call, trace });
    const again =
      got.outcome === 'unknown' || LOAD.includes(got.status) || got.code === 'idempotency_key_in_flight';
    const wait = got.retryAfter || pause * (0.5 + Math.random());
    if (!again || (Date.now() - begin) / 1000 + wait > patience) {
      definiteAfter.add(Date.now() - begin);
      return got;
    }
    repeated.add(1);
    sleep(wait);
    pause = Math.min(pause * 2, 1);
  }
}
