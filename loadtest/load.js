// Does the service keep its objectives at the rate that it is meant for?
//
// k6 run -e BASE_URL=http://127.0.0.1:8080 -e RATE=200 load.js

import { expectCallers } from './lib/callers.js';
import { inWords, objectives, openModel, virtualUsers } from './lib/open-model.js';
import { number, seconds } from './lib/settings.js';
import { SHARED_THRESHOLDS } from './lib/shared-counters.js';
import { summarize } from './lib/summary.js';

/** Calls a second, reached within RAMP and held for DURATION. */
const RATE = number('RATE', 200);
const phases = [
  { name: 'ramp', from: RATE / 10, rate: RATE, seconds: seconds('RAMP', '1m') },
  { name: 'held', rate: RATE, seconds: seconds('DURATION', '5m') },
];
const vus = virtualUsers(RATE, 1);
expectCallers(vus);

export const options = openModel({
  script: 'load',
  phases,
  vus,
  thresholds: { ...objectives('ramp'), ...objectives('held'), ...SHARED_THRESHOLDS },
});

export { setup, everydayCall as default, teardown } from './lib/callers.js';

/** @param {unknown} data */
export function handleSummary(data) {
  return summarize('load', data, () => [inWords(phases)]);
}
