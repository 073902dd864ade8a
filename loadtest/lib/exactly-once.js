// All virtual users take from the same counters, each number exactly once: what `contention`, `uniqueness` and `failover` share.

import { beginIteration } from './open-model.js';
import { makeShared, settleShared, takeShared } from './shared-counters.js';

/**
 * How numbers are taken: from how many counters, how many of a hundred as blocks and by GET, and how long a call is repeated,
 * in seconds.
 * @type {{ counters: number, blocks: number, gets: number, patience: number }}
 */
let manner = { counters: 1, blocks: 0, gets: 0, patience: 20 };

/** @param {typeof manner} wanted */
export function takeNumbers(wanted) {
  manner = wanted;
}

export function setup() {
  return makeShared(manner.counters);
}

/** @param {import('./shared-counters.js').SharedCounters} shared */
export function takeOne(shared) {
  beginIteration();
  takeShared(shared, Math.floor(Math.random() * manner.counters), {
    block: Math.random() * 100 < manner.blocks ? 1 + Math.floor(Math.random() * 50) : undefined,
    method: Math.random() * 100 < manner.gets ? 'GET' : 'POST',
    patience: manner.patience,
  });
}

/** @param {import('./shared-counters.js').SharedCounters} shared */
export function teardown(shared) {
  settleShared(shared);
}
