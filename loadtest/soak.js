// Does it still keep its objectives after hours, or does something fill up, leak or slow down?
//
// k6 run -e RATE=100 -e DURATION=4h soak.js

import { expectCallers } from './lib/callers.js';
import { inWords, latencyMetric, objectives, openModel, virtualUsers } from './lib/open-model.js';
import { number, seconds } from './lib/settings.js';
import { SHARED_THRESHOLDS } from './lib/shared-counters.js';
import { summarize } from './lib/summary.js';

const RATE = number('RATE', 100);
const DURATION = seconds('DURATION', '4h');
/** The end may be so many times as slow as the beginning before the summary says so; the objectives hold besides. */
const DRIFT = number('DRIFT', 2);
const phases = [
  { name: 'begin', rate: RATE, seconds: DURATION * 0.1 },
  { name: 'middle', rate: RATE, seconds: DURATION * 0.8 },
  { name: 'end', rate: RATE, seconds: DURATION * 0.1 },
];
const vus = virtualUsers(RATE, 1);
expectCallers(vus);

export const options = openModel({
  script: 'soak',
  phases,
  vus,
  thresholds: { ...objectives('begin'), ...objectives('middle'), ...objectives('end'), ...SHARED_THRESHOLDS },
});

export { setup, everydayCall as default, teardown } from './lib/callers.js';

/** @param {unknown} data */
export function handleSummary(data) {
  return summarize('soak', data, ({ metrics }) => {
    const drift = metrics[latencyMetric('end')].values.med / metrics[latencyMetric('begin')].values.med;
    const verdict = drift > DRIFT ? ': look at memory, the queue and the database' : '';
    return [inWords(phases), `  median latency at the end: ${drift.toFixed(2)} times that of the beginning${verdict}`];
  });
}
