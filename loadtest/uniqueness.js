// Is each number handed out once, and none skipped, whichever way it is taken?
//
// k6 run -e RATE=100 -e DURATION=10m uniqueness.js

import { takeNumbers } from './lib/exactly-once.js';
import { availabilityObjective, inWords, openModel, virtualUsers } from './lib/open-model.js';
import { count, number, seconds } from './lib/settings.js';
import { SHARED_THRESHOLDS } from './lib/shared-counters.js';
import { summarize } from './lib/summary.js';

const RATE = number('RATE', 100);
const COUNTERS = count('COUNTERS', 4);
/** Of a hundred calls, so many take a block of up to 50 numbers, and so many come by GET. */
const BLOCKS = number('BLOCKS', 20);
const GETS = number('GETS', 20);

takeNumbers({ counters: COUNTERS, blocks: BLOCKS, gets: GETS, patience: 20 });

const phases = [{ name: 'held', rate: RATE, seconds: seconds('DURATION', '3m') }];

export const options = openModel({
  script: 'uniqueness',
  phases,
  vus: virtualUsers(RATE, 1),
  thresholds: { ...availabilityObjective('held'), ...SHARED_THRESHOLDS },
});

export { setup, takeOne as default, teardown } from './lib/exactly-once.js';

/** @param {unknown} data */
export function handleSummary(data) {
  return summarize('uniqueness', data, () => [inWords(phases)]);
}
