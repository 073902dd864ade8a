// At which rate does it no longer keep its objectives?
//
// The rate climbs in steps until one breaks; then the run ends. It "fails" if the break was found (k6 ends with code 99), for
// thresholds are how k6 stops a run. The summary says which step was the last to hold.
//
// k6 run -e START=200 -e STEP=200 -e STEPS=20 breakpoint.js

import { expectCallers } from './lib/callers.js';
import { objectives, openModel, virtualUsers } from './lib/open-model.js';
import { count, number, seconds } from './lib/settings.js';
import { summarize } from './lib/summary.js';

const START = number('START', 200);
const STEP = number('STEP', 200);
const STEPS = count('STEPS', 20);
const DURATION = seconds('DURATION', '30s');
/** A step is judged from then on: before it, one slow call would decide. */
const JUDGED_AFTER = Math.min(seconds('JUDGED_AFTER', '10s'), DURATION);

const steps = Array.from({ length: STEPS }, (_, index) => ({
  name: `step_${index + 1}`,
  rate: START + STEP * index,
  seconds: DURATION,
}));
const vus = virtualUsers(steps[STEPS - 1].rate, 1);
expectCallers(vus);

/**
 * @param {Record<string, string[]>} thresholds
 * @param {number} after In seconds from the run's begin.
 */
function abort(thresholds, after) {
  return Object.entries(thresholds).map(([metric, expressions]) => [
    metric,
    expressions.map((threshold) => ({
      threshold,
      abortOnFail: true,
      delayAbortEval: `${Math.round(after * 1000)}ms`,
    })),
  ]);
}

export const options = openModel({
  script: 'breakpoint',
  phases: steps,
  vus,
  thresholds: Object.fromEntries([
    ...steps.flatMap(({ name }, index) => abort(objectives(name), index * DURATION + JUDGED_AFTER)),
    ...abort({ dropped_iterations: ['count==0'] }, 0),
  ]),
});

export { setup, everydayCall as default, teardown } from './lib/callers.js';

/** @param {unknown} data */
export function handleSummary(data) {
  return summarize('breakpoint', data, ({ thresholds }) => {
    /** @param {string} name */
    const broken = (name) => thresholds.filter(({ metric, ok }) => !ok && metric.includes(`phase:${name}}`));
    const first = steps.findIndex(({ name }) => broken(name).length > 0);
    if (first < 0) {
      return [`  no step broke: raise STEP or STEPS, or VUS if iterations were dropped`];
    }
    const why = broken(steps[first].name)
      .map(({ metric, expression }) => `${metric.split('{')[0]} ${expression}`)
      .join(', ');
    const held = first > 0 ? `it held at ${steps[first - 1].rate} calls/s and` : 'it';
    return [`  ${held} broke at ${steps[first].rate} calls/s: not ${why}`];
  });
}
