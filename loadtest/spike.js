// Does it bear a sudden crowd, and does the autoscaler catch up in time?
//
// k6 run -e RATE=100 -e TIMES=10 spike.js

import { expectCallers } from './lib/callers.js';
import { availabilityObjective, inWords, objectives, openModel, virtualUsers } from './lib/open-model.js';
import { number, seconds } from './lib/settings.js';
import { SHARED_THRESHOLDS } from './lib/shared-counters.js';
import { summarize } from './lib/summary.js';

/** Calls a second before and after, and how many times as many come within RISE. */
const RATE = number('RATE', 100);
const TIMES = number('TIMES', 10);
const phases = [
  { name: 'before', rate: RATE, seconds: seconds('BEFORE', '1m') },
  { name: 'rise', from: RATE, rate: RATE * TIMES, seconds: seconds('RISE', '5s') },
  // So long the autoscaler may take to add replicas: calls may be slow, and none may fail.
  { name: 'scale_up', rate: RATE * TIMES, seconds: seconds('SCALE_UP', '2m') },
  { name: 'held', rate: RATE * TIMES, seconds: seconds('DURATION', '3m') },
  { name: 'after', rate: RATE, seconds: seconds('AFTER', '1m') },
];
const vus = virtualUsers(RATE * TIMES, 2);
expectCallers(vus);

export const options = openModel({
  script: 'spike',
  phases,
  vus,
  thresholds: {
    ...objectives('before'),
    ...availabilityObjective('rise'),
    ...availabilityObjective('scale_up'),
    ...objectives('held'),
    ...objectives('after'),
    ...SHARED_THRESHOLDS,
  },
});

export { setup, everydayCall as default, teardown } from './lib/callers.js';

/** @param {unknown} data */
export function handleSummary(data) {
  return summarize('spike', data, () => [inWords(phases)]);
}
