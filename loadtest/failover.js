// While somebody kills the database's primary, or replicas of the service: is each number still handed out once, none skipped,
// and how long do callers wait?
//
// k6 run -e RATE=20 -e DURATION=5m failover.js        and meanwhile: kubectl delete pod mongodb-0, kill -9, rs.stepDown()

import { takeNumbers } from './lib/exactly-once.js';
import { inWords, openModel, virtualUsers } from './lib/open-model.js';
import { flag, number, seconds } from './lib/settings.js';
import { SHARED_THRESHOLDS } from './lib/shared-counters.js';
import { summarize } from './lib/summary.js';

const RATE = number('RATE', 20);
/** No call may wait longer for its definite answer, repeats included. */
const OUTAGE = seconds('OUTAGE', '30s');
/** Fail if no call had to wait: then nobody killed anything, and the run shows nothing. */
const EXPECT_FAULT = flag('EXPECT_FAULT', false);
/** The service hides short outages from its callers, but for the wait; in milliseconds. */
const NOTICED = 500;

takeNumbers({ counters: 2, blocks: 20, gets: 0, patience: OUTAGE });

const phases = [{ name: 'held', rate: RATE, seconds: seconds('DURATION', '3m') }];

export const options = openModel({
  script: 'failover',
  // During an outage all calls wait, and new ones keep coming.
  phases,
  grace: OUTAGE + 20,
  vus: virtualUsers(RATE, OUTAGE),
  thresholds: {
    'definite_after{phase:held}': [`max<${OUTAGE * 1000}`, ...(EXPECT_FAULT ? [`max>${NOTICED}`] : [])],
    ...SHARED_THRESHOLDS,
  },
});

export { setup, takeOne as default, teardown } from './lib/exactly-once.js';

/** @param {unknown} data */
export function handleSummary(data) {
  return summarize('failover', data, ({ metrics }) => {
    const waited = metrics['definite_after{phase:held}'].values;
    const repeats = metrics.calls_repeated ? metrics.calls_repeated.values.count : 0;
    return [
      inWords(phases),
      `  ${repeats} attempts were repeated; the longest wait for a definite answer was ${(waited.max / 1000).toFixed(1)} s` +
        ` (p99 ${(waited['p(99)'] / 1000).toFixed(2)} s)`,
    ];
  });
}
