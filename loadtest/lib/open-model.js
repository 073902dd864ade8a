// Options of a run in the open model: iterations begin at a rate, whether or not the service keeps up, as callers do who do not
// know of each other. One iteration is one call (and its repeats), so a rate of iterations is a rate of calls.

import exec from 'k6/execution';
import { Gauge } from 'k6/metrics';

import { count, text } from './settings.js';
import { AVAILABILITY, LATENCY, LATENCY_SECONDS } from './slo.js';

/** The rate that is asked for now. k6 itself tells only what it achieved. */
const offered = new Gauge('offered_rate');

/**
 * A part of a run: it goes from the rate `from` (`rate`, if none is given) to `rate`. Its name is a tag, `phase`, of all that its
 * iterations measure, so that each has objectives of its own. Rates are calls a second.
 * @typedef {{ name: string, from?: number, rate: number, seconds: number }} Phase
 */

/** How long iterations may go on after the last one began, in seconds: longer than calls and their repeats take. */
const GRACE = 40;

/**
 * So many virtual users keep up with a rate as long as calls take no longer than `seconds` (Little's law). All of them are made
 * before the run: k6 drops iterations while it makes more.
 * @param {number} rate
 * @param {number} seconds
 */
export function virtualUsers(rate, seconds) {
  return count('VUS', Math.max(5, Math.ceil(rate * seconds)));
}

/** @param {number} seconds */
const inMilliseconds = (seconds) => `${Math.round(seconds * 1000)}ms`;

/**
 * Rates are told as whole numbers a minute, so that slow ones can be told as well.
 * @param {number} rate
 */
const aMinute = (rate) => Math.round(rate * 60);

/**
 * @param {Phase[]} phases
 * @param {number} vus
 * @param {number} grace
 */
function scenario(phases, vus, grace) {
  const common = { timeUnit: '1m', preAllocatedVUs: vus, gracefulStop: inMilliseconds(grace) };
  const [first] = phases;
  const startRate = aMinute(first.from ?? first.rate);
  if (phases.length === 1 && startRate === aMinute(first.rate)) {
    const duration = inMilliseconds(first.seconds);
    return { executor: 'constant-arrival-rate', ...common, rate: startRate, duration };
  }
  const stages = phases.flatMap(({ from, rate, seconds }) => [
    { target: aMinute(from ?? rate), duration: '0ms' },
    { target: aMinute(rate), duration: inMilliseconds(seconds) },
  ]);
  return { executor: 'ramping-arrival-rate', ...common, startRate, stages };
}

/** @type {Phase[]} */
let phasesOfThisRun = [];

/** Says which phase the iteration belongs to, and what rate is asked for. Called at the begin of each iteration. */
export function beginIteration() {
  let at = (Date.now() - exec.scenario.startTime) / 1000;
  const last = phasesOfThisRun[phasesOfThisRun.length - 1];
  const phase = phasesOfThisRun.find(({ seconds }) => at < seconds || ((at -= seconds), false)) || last;
  const from = phase.from ?? phase.rate;
  exec.vu.metrics.tags.phase = phase.name;
  offered.add(from + (phase.rate - from) * Math.min(at / phase.seconds, 1));
}

/**
 * The objectives, for one phase.
 * @param {string} phase
 */
export function objectives(phase) {
  return { ...availabilityObjective(phase), ...latencyObjective(phase) };
}

/** @param {string} phase */
export function availabilityObjective(phase) {
  return { [`slo_available{phase:${phase}}`]: [`rate>=${AVAILABILITY}`] };
}

/** @param {string} phase */
export function latencyObjective(phase) {
  return { [latencyMetric(phase)]: [`p(${round(LATENCY * 100)})<${round(LATENCY_SECONDS * 1000)}`] };
}

/**
 * The metric that the latency objective is about: 2xx answers to `next` and `current`.
 * @param {string} phase
 */
export function latencyMetric(phase) {
  return `http_req_duration{slo:latency,expected_response:true,phase:${phase}}`;
}

/**
 * Without the last digits that binary fractions add.
 * @param {number} value
 */
const round = (value) => Number(value.toFixed(6));

/** k6 keeps the times of a route only if a threshold asks for them; this one asks for nothing else. */
export const SHOWN = 'max>=0';

const ROUTES = [
  '/v1/next',
  '/v1/current',
  '/v1/counters/{name}/next',
  '/v1/counters/{name}/current',
  '/v1/counters',
  '/v1/me',
  '/v1/register',
];

/**
 * @param {object} run
 * @param {string} run.script
 * @param {Phase[]} run.phases
 * @param {number} run.vus
 * @param {number} [run.grace] In seconds.
 * @param {Record<string, (string | import('k6/options').ObjectThreshold)[]>} run.thresholds
 * @returns {import('k6/options').Options}
 */
export function openModel({ script, phases, vus, grace = GRACE, thresholds }) {
  phasesOfThisRun = phases;
  const shown = ROUTES.map((route) => [`http_req_duration{name:${route}}`, [SHOWN]]);
  return {
    scenarios: { [script]: /** @type {any} */ (scenario(phases, vus, grace)) },
    thresholds: {
      checks: ['rate==1'],
      dropped_iterations: ['count==0'],
      iterations: ['count>0'],
      answers_wrong: ['count==0'],
      answers_unexpected: ['count==0'],
      ...Object.fromEntries(shown),
      ...thresholds,
    },
    // Labels of few values: no URL, no group, no virtual user, no error text with a port in it.
    systemTags: ['name', 'method', 'status', 'scenario', 'expected_response', 'check', 'error_code'],
    tags: { testid: text('TEST_ID', script) },
    summaryTrendStats: ['count', 'med', 'p(95)', 'p(99)', 'max', 'avg'],
    setupTimeout: '5m',
    teardownTimeout: '5m',
    userAgent: `counter-api-loadtest/${script}`,
  };
}

/**
 * What a summary says about what was asked for.
 * @param {Phase[]} phases
 */
export function inWords(phases) {
  const parts = phases.map(({ name, from, rate, seconds }) => {
    const rates = from === undefined ? `${rate}` : `${from} to ${rate}`;
    return `${name}: ${rates} calls/s for ${seconds} s`;
  });
  return `  ${parts.join('; ')}`;
}
