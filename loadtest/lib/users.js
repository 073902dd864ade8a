// The users of a run. `setup` makes them and `teardown` deletes them, with all of their counters, so that a run leaves nothing.

import { fail } from 'k6';

import { insist, sendAll } from './client.js';
import { BASE_URLS } from './settings.js';
import { unique } from './trace.js';

/**
 * A token, since when it is good and for how long, in milliseconds.
 * @typedef {{ token: string, since: number, lasts: number }} Session
 * @typedef {{ email: string, password: string } & Session} User
 */

/** Passwords are hashed on purpose slowly; the service refuses a crowd of them. */
const AT_ONCE = 4;
/** A token is renewed after this part of its time: not by all virtual users at once, for logins are slow on purpose. */
const RENEW_AFTER = 0.5 + Math.random() * 0.3;

/**
 * @param {{ token: string, expires_in: number }} body What register and login answer.
 * @returns {Session}
 */
function session({ token, expires_in: seconds }) {
  return { token, since: Date.now(), lasts: seconds * 1000 };
}

/**
 * @param {number} count
 * @returns {User[]}
 */
export function makeUsers(count) {
  const run = unique();
  const people = Array.from({ length: count }, (_, index) => ({
    email: `k6-${run}-${index}@loadtest.invalid`,
    password: unique(),
  }));
  return inBatches(people, (person) => ({ method: 'POST', route: '/v1/register', body: person })).map((answer, index) => {
    if (answer.status === 0) {
      fail(`nobody answers at ${BASE_URLS.join(', ')}: is the service running, and BASE_URL right?`);
    }
    if (answer.status === 429) {
      fail('the service limits registrations: run it with COUNTER_AUTH_RATE_LIMIT=off for load tests');
    }
    if (answer.status !== 201) {
      fail(`a user could not be registered: ${answer.status} ${answer.code}, trace ${answer.trace}`);
    }
    return { ...people[index], ...session(answer.body) };
  });
}

/**
 * Deletes them with their counters. What cannot be deleted is told, and nothing else.
 * @param {User[]} users
 */
export function deleteUsers(users) {
  const answers = inBatches(users, (user) => ({
    method: 'DELETE',
    route: '/v1/me',
    token: tokenOf(user),
    body: { password: user.password },
    refusals: [401],
  }));
  const left = answers.filter((answer) => answer.status !== 204).length;
  if (left > 0) {
    console.warn(`${left} of ${users.length} users could not be deleted`);
  }
}

/**
 * The first attempts in small crowds; what was refused for the crowd is repeated one by one.
 * @template T
 * @param {T[]} items
 * @param {(item: T) => import('./client.js').Call} call
 */
function inBatches(items, call) {
  /** @type {import('./client.js').Answer[]} */
  const answers = [];
  for (let at = 0; at < items.length; at += AT_ONCE) {
    const calls = items.slice(at, at + AT_ONCE).map(call);
    sendAll(calls).forEach((answer, index) => {
      const again = answer.outcome === 'refused' && answer.status === 503;
      answers.push(again ? insist(calls[index], 30) : answer);
    });
  }
  return answers;
}

/** Sessions that this virtual user has renewed. */
/** @type {Record<string, Session>} */
const renewed = {};

/**
 * A token that is good for some time: long runs outlive the first one.
 * @param {User} user
 */
export function tokenOf(user) {
  const known = renewed[user.email] || user;
  if (Date.now() < known.since + known.lasts * RENEW_AFTER) {
    return known.token;
  }
  const { email, password } = user;
  const answer = insist({ method: 'POST', route: '/v1/login', body: { email, password } }, 30);
  if (answer.outcome === 'ok') {
    renewed[email] = session(answer.body);
  }
  return (renewed[email] || user).token;
}
