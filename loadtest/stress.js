// What happens beyond the rate that it is meant for: does it refuse in good order, keep its numbers right, and recover at once?
//
// k6 run -e RATE=200 -e TIMES=10 stress.js

import { expectCallers } from './lib/callers.js';
import { inWords, objectives, openModel, virtualUsers } from './lib/open-model.js';
import { number, seconds } from './lib/settings.js';
import { SHARED_THRESHOLDS } from './lib/shared-counters.js';
import { summarize } from './lib/summary.js';

/** Calls a second before and after, and how many times as many in between. */
const RATE = number('RATE', 200);
const TIMES = number('TIMES', 10);
const phases = [
  { name: 'calm', rate: RATE, seconds: seconds('BEFORE', '1m') },
  { name: 'climb', from: RATE, rate: RATE * TIMES, seconds: seconds('CLIMB', '2m') },
  { name: 'stress', rate: RATE * TIMES, seconds: seconds('DURATION', '3m') },
  // So long the service may take to recover before the objectives hold again.
  { name: 'recovery', rate: RATE, seconds: seconds('RECOVERY', '15s') },
  { name: 'after', rate: RATE, seconds: seconds('AFTER', '2m') },
];
// Calls wait longer under stress.
const vus = virtualUsers(RATE * TIMES, 2);
expectCallers(vus);

export const options = openModel({
  script: 'stress',
  phases,
  vus,
  // While it is stressed it may be slow and refuse. It may neither skip a number nor hand one out twice, nor answer a 500.
  thresholds: { ...objectives('calm'), ...objectives('after'), ...SHARED_THRESHOLDS },
});

export { setup, everydayCall as default, teardown } from './lib/callers.js';

/** @param {unknown} data */
export function handleSummary(data) {
  return summarize('stress', data, () => [inWords(phases)]);
}
