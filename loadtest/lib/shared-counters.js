// Counters that all virtual users take from at once. No number may be handed out twice, and none may be skipped.
//
// Virtual users share no memory, so none of them sees all numbers. What each knows, it checks: numbers that it gets rise, and
// each is one more than `previous`. What nobody knows is found by adding up: each number has a mark, a hash of 26 bits. Virtual
// users add the marks of what they got to one metric, and `teardown` subtracts the marks of all numbers that the counters stand
// for. The sum is 0 if each number was handed out exactly once. A number that came twice, or never, leaves its mark over; that
// two such faults cancel out has a chance of 1 in 67 million. `numbers_taken` and `numbers_counted` tell which it was.

import { check, fail } from 'k6';
import { Counter, Trend } from 'k6/metrics';

import { insist, tellWrong } from './client.js';
import { unique } from './trace.js';
import { deleteUsers, makeUsers, tokenOf } from './users.js';

const taken = new Counter('numbers_taken');
const counted = new Counter('numbers_counted');
const fingerprint = new Trend('numbers_fingerprint');
/** Calls without a definite answer in time: their numbers are neither here nor there. */
const undecided = new Counter('numbers_undecided');

/** What `options.thresholds` must hold where shared counters are used. */
export const SHARED_THRESHOLDS = {
  numbers_taken: ['count>0'],
  numbers_counted: ['count>0'],
  numbers_fingerprint: ['avg==0'],
  numbers_undecided: ['count==0'],
};

/** So long is a counter's final value asked for, in seconds: it may be that somebody kills things. */
const PATIENCE_AT_THE_END = 60;

/**
 * A number's mark: 1 to 2^26, so that the sum of 2^27 of them is still exact.
 * @param {number} counter
 * @param {number} number
 */
export function mark(counter, number) {
  let hash = Math.imul(counter + 1, 0x85ebca6b) ^ Math.imul(Math.floor(number / 0x100000000) + 1, 0xc2b2ae35);
  hash = Math.imul(hash ^ (number | 0), 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  return ((hash ^ (hash >>> 16)) >>> 6) + 1;
}

/**
 * The marks of all numbers from `first` to `last`.
 * @param {number} counter
 * @param {number} first
 * @param {number} last
 */
function marks(counter, first, last) {
  let sum = 0;
  for (let number = first; number <= last; number += 1) {
    sum += mark(counter, number);
  }
  return sum;
}

/**
 * @typedef {{ name: string, start: number }} Shared
 * @typedef {{ owner: import('./users.js').User, counters: Shared[] }} SharedCounters
 */

/**
 * Makes a user with so many counters, for all virtual users together. Called in `setup`.
 * @param {number} count
 * @returns {SharedCounters}
 */
export function makeShared(count) {
  const [owner] = makeUsers(1);
  // The default counter says where counters begin. It is not used for anything else here.
  const start = current(owner, 'default');
  return { owner, counters: Array.from({ length: count }, (_, index) => ({ name: `shared-${index}`, start })) };
}

/** The highest number that this virtual user has seen of each counter. */
/** @type {Record<string, number>} */
const seen = {};

/**
 * Takes from a shared counter, exactly once: the call has a key, and is repeated until its answer is definite.
 * @param {SharedCounters} shared
 * @param {number} which
 * @param {{ block?: number, method?: 'GET' | 'POST', patience: number }} how
 */
export function takeShared(shared, which, { block, method = 'POST', patience }) {
  const { name } = shared.counters[which];
  const answer = insist(
    {
      method,
      route: '/v1/counters/{name}/next',
      path: `/v1/counters/${name}/next${block ? `?count=${block}` : ''}`,
      token: tokenOf(shared.owner),
      headers: { 'Idempotency-Key': unique() },
    },
    patience,
  );
  if (answer.outcome !== 'ok') {
    undecided.add(1);
    return answer;
  }
  const { previous } = answer.body;
  const first = block ? answer.body.first : answer.body.value;
  const last = block ? answer.body.last : answer.body.value;
  const right = check(answer, {
    'a shared counter goes up': () => first > (seen[name] || 0),
    'a shared number is one more than the one before': () => first === previous + 1 && last - first === (block || 1) - 1,
  });
  if (!right) {
    tellWrong(`${name} had given ${seen[name] || 'nothing'} to this caller`, answer);
  }
  seen[name] = last;
  taken.add(last - first + 1);
  fingerprint.add(marks(which, first, last));
  return answer;
}

/**
 * Adds up, and deletes the user. Called in `teardown`.
 * @param {SharedCounters} shared
 */
export function settleShared(shared) {
  shared.counters.forEach(({ name, start }, index) => {
    const end = current(shared.owner, name);
    if (end > start) {
      counted.add(end - start);
      fingerprint.add(-marks(index, start + 1, end));
    }
  });
  deleteUsers([shared.owner]);
}

/**
 * @param {import('./users.js').User} owner
 * @param {string} name
 * @returns {number}
 */
function current(owner, name) {
  const answer = insist(
    {
      method: 'GET',
      route: '/v1/counters/{name}/current',
      path: `/v1/counters/${name}/current`,
      token: tokenOf(owner),
      refusals: [404],
    },
    PATIENCE_AT_THE_END,
  );
  if (answer.status === 404) {
    return 0;
  }
  if (answer.outcome !== 'ok') {
    fail(`${name} could not be read: ${answer.status} ${answer.code}, trace ${answer.trace}`);
  }
  return answer.body.value;
}
