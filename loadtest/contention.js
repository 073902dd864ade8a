// One hot counter that everybody takes from: does it keep the objectives, and hand out each number once?
//
// k6 run -e RATE=200 contention.js

import { takeNumbers } from './lib/exactly-once.js';
import { inWords, objectives, openModel, virtualUsers } from './lib/open-model.js';
import { number, seconds } from './lib/settings.js';
import { SHARED_THRESHOLDS } from './lib/shared-counters.js';
import { summarize } from './lib/summary.js';

const RATE = number('RATE', 200);

takeNumbers({ counters: 1, blocks: 0, gets: 0, patience: 20 });

const phases = [{ name: 'held', rate: RATE, seconds: seconds('DURATION', '3m') }];

export const options = openModel({
  script: 'contention',
  phases,
  vus: virtualUsers(RATE, 1),
  thresholds: { ...objectives('held'), ...SHARED_THRESHOLDS },
});

export { setup, takeOne as default, teardown } from './lib/exactly-once.js';

/** @param {unknown} data */
export function handleSummary(data) {
  return summarize('contention', data, () => [inWords(phases)]);
}
