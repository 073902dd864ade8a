// Does every endpoint work? One user, who registers, does everything once, and is deleted. Run it after each deployment.
//
// k6 run -e BASE_URL=http://127.0.0.1:8080 smoke.js

import { check, group, sleep } from 'k6';

import { send, tellWrong } from './lib/client.js';
import { availabilityObjective, beginIteration, openModel, virtualUsers } from './lib/open-model.js';
import { number, seconds } from './lib/settings.js';
import { summarize } from './lib/summary.js';
import { unique } from './lib/trace.js';

/**
 * Journeys a second. Each has seven calls that the limit by address counts: two of them, half a minute apart, stay below the
 * 10/m of a service in production.
 */
const RATE = number('RATE', 1 / 30);
const DURATION = seconds('DURATION', '45s');
/** Every replica knows of a logout within so many seconds. */
const LOGOUT = 5;

export const options = openModel({
  script: 'smoke',
  phases: [{ name: 'smoke', rate: RATE, seconds: DURATION }],
  vus: virtualUsers(RATE, 15),
  // A handful of calls, the first after a deployment among them, says nothing about the 99th percentile.
  thresholds: availabilityObjective('smoke'),
});

/**
 * Calls, and checks the status and what the answer says.
 * @param {import('./lib/client.js').Call} call
 * @param {number} status
 * @param {(answer: import('./lib/client.js').Answer) => boolean} [right]
 */
function step(call, status, right = () => true) {
  const answer = send({ ...call, refusals: status >= 400 ? [status] : [] });
  const name = `${call.method} ${call.route} answers ${status}`;
  if (!check(answer, { [name]: () => answer.status === status && right(answer) })) {
    tellWrong(name, answer);
  }
  return answer;
}

/** @type {(field: string, wanted: unknown) => (answer: import('./lib/client.js').Answer) => boolean} */
const has = (field, wanted) => (answer) => answer.body[field] === wanted;

/** @type {(code: string) => (answer: import('./lib/client.js').Answer) => boolean} */
const code = (wanted) => (answer) => answer.code === wanted;

export default function () {
  beginIteration();
  const email = `k6-${unique()}@loadtest.invalid`;
  const password = unique();
  const body = { email, password };

  group('health', () => {
    step({ method: 'GET', route: '/health' }, 200, has('status', 'pass'));
    step({ method: 'GET', route: '/readyz' }, 200);
    step({ method: 'GET', route: '/livez' }, 200);
    step({ method: 'GET', route: '/openapi.json' }, 200, (answer) => answer.body.openapi.startsWith('3.1'));
    step({ method: 'GET', route: '/docs' }, 200);
  });

  let token = '';
  group('account', () => {
    token = step({ method: 'POST', route: '/v1/register', body }, 201, has('token_type', 'Bearer')).body?.token;
    step({ method: 'POST', route: '/v1/register', body }, 409, code('email_taken'));
    token = step({ method: 'POST', route: '/v1/login', body }, 200, has('token_type', 'Bearer')).body?.token;
    step({ method: 'GET', route: '/v1/me', token }, 200, (answer) => answer.body.user.email === email);
  });

  // To go all the way needs a provider and a browser. Without them, every call has an answer that says so.
  group('sign-in through providers', () => {
    const path = (/** @type {string} */ rest) => `/v1/oauth/no-such-provider${rest}`;
    step({ method: 'GET', route: '/v1/oauth/providers' }, 200, (answer) => Array.isArray(answer.body.providers));
    step({ method: 'GET', route: '/v1/oauth/{provider}/start', path: path('/start') }, 404, code('not_found'));
    step({ method: 'GET', route: '/v1/oauth/{provider}/callback', path: path('/callback') }, 404, code('not_found'));
    step({ method: 'POST', route: '/v1/oauth/token', body: { code: unique() } }, 401, code('signin_code_invalid'));
    step({ method: 'DELETE', route: '/v1/oauth/{provider}', path: path(''), token }, 404, code('not_found'));
  });

  group('default counter', () => {
    const start = step({ method: 'GET', route: '/v1/current', token }, 200, has('counter', 'default')).body?.value;
    step({ method: 'POST', route: '/v1/next', token }, 200, has('value', start + 1));
    step({ method: 'GET', route: '/v1/next', token }, 200, has('value', start + 2));
    step({ method: 'POST', route: '/v1/next', path: '/v1/next?count=5', token }, 200, has('last', start + 7));
    const { etag } = step({ method: 'GET', route: '/v1/current', token }, 200, has('value', start + 7));
    const set = { method: /** @type {const} */ ('PUT'), route: '/v1/current', token, body: { current: 1000 } };
    const headers = { 'If-Match': etag };
    step({ ...set, headers }, 200, has('previous', start + 7));
    step({ ...set, headers }, 412, code('precondition_failed'));
  });

  group('named counter', () => {
    const path = (/** @type {string} */ rest) => `/v1/counters/smoke${rest}`;
    const next = { route: '/v1/counters/{name}/next', path: path('/next'), token };
    const current = { route: '/v1/counters/{name}/current', path: path('/current'), token };
    step({ method: 'GET', ...current }, 404, code('not_found'));
    const first = step({ method: 'POST', ...next }, 200).body?.value;
    step({ method: 'GET', ...next }, 200, has('value', first + 1));
    step({ method: 'GET', ...current }, 200, has('value', first + 1));
    step({ method: 'PUT', ...current, body: { current: 7 } }, 200, has('previous', first + 1));
    step({ method: 'GET', route: '/v1/counters', token }, 200, (answer) => answer.body.counters.length === 2);
    step({ method: 'DELETE', route: '/v1/counters/{name}', path: path(''), token }, 204);
  });

  group('exactly once', () => {
    const headers = { 'Idempotency-Key': unique() };
    const { body: once } = step({ method: 'POST', route: '/v1/next', token, headers }, 200, has('value', 1001));
    step({ method: 'POST', route: '/v1/next', token, headers }, 200, (answer) => answer.replayed && answer.body.value === once?.value);
    step({ method: 'GET', route: '/v1/next', token, headers }, 422, code('idempotency_key_reused'));
  });

  group('refusals', () => {
    step({ method: 'POST', route: '/v1/next' }, 401, code('token_missing'));
    step({ method: 'POST', route: '/v1/next', token: 'not-one-of-ours' }, 401, code('token_invalid'));
    step({ method: 'PUT', route: '/v1/current', token, body: { current: -1 } }, 422, code('invalid_field'));
    step({ method: 'DELETE', route: '/v1/next', token }, 405, code('method_not_allowed'));
    step({ method: 'GET', route: 'unmatched', path: '/v1/nothing', token }, 404, code('not_found'));
  });

  group('farewell', () => {
    step({ method: 'POST', route: '/v1/logout', token }, 204);
    // The replica that answered knows at once; the next call may meet another.
    sleep(LOGOUT);
    step({ method: 'GET', route: '/v1/me', token }, 401, code('token_revoked'));
    const fresh = step({ method: 'POST', route: '/v1/login', body }, 200).body?.token;
    step({ method: 'DELETE', route: '/v1/me', token: fresh, body: { password } }, 204);
    step({ method: 'POST', route: '/v1/login', body }, 401, code('invalid_credentials'));
  });
}

/** @param {unknown} data */
export function handleSummary(data) {
  return summarize('smoke', data);
}
