// What callers of the service do, in the proportions of everyday: most take the next number of a counter of their own.

import exec from 'k6/execution';
import { check } from 'k6';

import { send } from './client.js';
import { beginIteration } from './open-model.js';
import { OwnCounter } from './own-counter.js';
import { count } from './settings.js';
import { makeShared, settleShared, takeShared } from './shared-counters.js';
import { deleteUsers, makeUsers, tokenOf } from './users.js';

/** Each virtual user has a counter of its own, and a user of the service may have 100 unless its operator says otherwise. */
const VIRTUAL_USERS_PER_USER = 50;
/** A shared call is repeated so long, in seconds, if the service refuses it. */
const PATIENCE = 20;

/**
 * @typedef {{ users: import('./users.js').User[], start: number, shared: import('./shared-counters.js').SharedCounters }} Callers
 */

let accounts = 0;

/**
 * Says how many virtual users there will be, before the run.
 * @param {number} virtualUsers
 */
export function expectCallers(virtualUsers) {
  accounts = count('USERS', Math.max(3, Math.ceil(virtualUsers / VIRTUAL_USERS_PER_USER)));
}

/** @returns {Callers} */
export function setup() {
  const shared = makeShared(1);
  return { users: makeUsers(accounts), start: shared.counters[0].start, shared };
}

/** @param {Callers} callers */
export function teardown({ users, shared }) {
  settleShared(shared);
  deleteUsers(users);
}

/** @type {OwnCounter | undefined} */
let own;

/**
 * The virtual user's own counter: the default one of its account for the first of them, else a named one.
 * @param {Callers} callers
 */
function caller({ users, start }) {
  const me = exec.vu.idInTest - 1;
  own = own || new OwnCounter(me < users.length ? 'default' : `vu-${me}`, start);
  return { own, token: tokenOf(users[me % users.length]) };
}

/**
 * One call of the everyday mix: an iteration.
 * @param {Callers} callers
 */
export function everydayCall(callers) {
  beginIteration();
  const { own: mine, token } = caller(callers);
  const dice = Math.random() * 100;
  if (dice < 60) {
    mine.next(token);
  } else if (dice < 75) {
    takeShared(callers.shared, 0, { patience: PATIENCE });
  } else if (dice < 90) {
    mine.read(token);
  } else if (dice < 94) {
    mine.next(token, 1 + Math.floor(Math.random() * 20));
  } else if (dice < 96) {
    mine.jump(token);
  } else if (dice < 98) {
    list(mine, token);
  } else {
    me(token);
  }
}

/**
 * @param {OwnCounter} mine
 * @param {string} token
 */
function list(mine, token) {
  const answer = send({ method: 'GET', route: '/v1/counters', path: '/v1/counters?limit=1000', token });
  if (answer.outcome === 'ok' && mine.used) {
    check(answer, {
      'the list has the own counter': () =>
        answer.body.counters.some((/** @type {{ name: string }} */ counter) => counter.name === mine.name),
    });
  }
}

/** @param {string} token */
function me(token) {
  const answer = send({ method: 'GET', route: '/v1/me', token });
  if (answer.outcome === 'ok') {
    check(answer, { 'a user is itself': () => answer.body.user.email.endsWith('@loadtest.invalid') });
  }
}
