// What the page does when something fails: nothing is taken twice, and what it says is true.

import assert from 'node:assert/strict';
import { after, afterEach, before, it } from 'node:test';

import { eventually } from '../k6/support/processes.js';
import { lostAnswerTakesOnce } from './support/checks.js';
import { TRACE, problem } from './support/proxy.js';
import { PASSWORD, credentials, newEmail, program, signUp, startWorld, tokenOf } from './support/world.js';

const NEXT = /^\/v1\/next/;
const SET = /^\/v1\/current/;
const REFUSED = 'Failed to load resource';

let world;
before(async () => { world = await startWorld(); }, { timeout: 120_000 });
after(() => world?.stop());
afterEach(() => world.proxy.behave());

const current = async (token) => (await program(world.replicas[0], 'GET', '/v1/current', { token })).data.value;
const panel = (page) => page.getByRole('article');
const take = (page) => panel(page).getByRole('button', { name: 'Take a number' }).click();

it('an answer that is lost is asked for again with the same key, and the number is taken once', () => lostAnswerTakesOnce(world));

it('a call that stays without an answer goes on when the user tries again', async () => {
  const { page, close } = await world.open();
  await signUp(page);
  const token = await tokenOf(page);
  world.proxy.rule('POST', NEXT, 'lose');
  await take(page);
  await page.getByText('Trying again with the same key, so that it is done once (try 2 of 6).').waitFor();
  const again = panel(page).getByRole('button', { name: 'Try again' });
  await again.waitFor();
  await page.getByText('It may or may not have been done. If you take again, the same call goes on: it is done once.').waitFor();
  world.proxy.behave();
  await again.click();
  await page.getByText('1 is yours. The first try had arrived: it was taken once.').waitFor();
  assert.equal(await current(token), 1);
  const keys = world.proxy.calls.filter(({ method, path }) => method === 'POST' && NEXT.test(path)).map(({ headers }) => headers['idempotency-key']);
  assert.equal(new Set(keys.slice(-7)).size, 1);
  // The next number is another call.
  await take(page);
  await page.getByText('2 is yours.').waitFor();
  await close();
});

it('an outcome that is unknown is asked for until it is known', async () => {
  const { page, close } = await world.open();
  await signUp(page);
  world.proxy.rule('POST', NEXT, async (call, forward) => {
    await forward();
    return problem(503, 'outcome_unknown', {}, { 'retry-after': '1' })();
  }, 1);
  await take(page);
  await page.getByText('Nobody knows whether it was done. Trying again').waitFor();
  await page.getByText('1 is yours. The first try had arrived').waitFor();
  await close();
});

it('a refusal that is definite is said with its trace, and nothing is repeated', async () => {
  const { page, context, close } = await world.open();
  await signUp(page);
  for (const [status, code, words] of [
    [409, 'counter_exhausted', 'So many numbers are not left'],
    [500, 'internal', 'Something is wrong in the service.'],
    [422, 'idempotency_key_reused', 'This page and the service do not understand each other.'],
    [418, 'from_the_future', 'It did not work (from_the_future).'],
  ]) {
    const before = world.proxy.calls.length;
    world.proxy.rule('POST', NEXT, problem(status, code), 1);
    await take(page);
    await panel(page).getByText(words).waitFor();
    await panel(page).getByText(TRACE).waitFor();
    await page.waitForTimeout(700);
    assert.equal(world.proxy.calls.slice(before).filter(({ path }) => NEXT.test(path)).length, 1, code);
  }
  await panel(page).getByRole('button', { name: 'Copy trace' }).click();
  await panel(page).getByRole('button', { name: 'Copied' }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), TRACE);
  assert.equal(context.pages().length, 1);
  await close();
});

it('a proxy that answers in the place of the service is not believed', async () => {
  const { page, close } = await world.open();
  await signUp(page);
  world.proxy.rule('POST', NEXT, () => ({ status: 502, headers: { 'content-type': 'text/html' }, body: '<h1>Bad gateway</h1>' }), 1);
  await take(page);
  await page.getByText('Something between this page and the service answered in its place. Trying again').waitFor();
  await page.getByText('1 is yours.').waitFor();
  await close();
});

it('without a connection the page says so, and recovers by itself', async () => {
  const { page, context, complaints, close } = await world.open();
  await signUp(page);
  await context.setOffline(true);
  await page.getByText('Not up to date. This device is offline.').waitFor();
  await take(page);
  await panel(page).getByText('This device is offline. Trying again').waitFor();
  await context.setOffline(false);
  await panel(page).getByText('1 is yours.').waitFor();
  await page.getByText(/^Live, read every/).waitFor();
  assert.deepEqual(complaints(REFUSED), []);
  await close();
});

it('a service that is away is asked more and more seldom', async () => {
  const { page, close } = await world.open();
  await signUp(page);
  const times = [];
  world.proxy.rule('GET', /^\/v1\/counters/, () => {
    times.push(Date.now());
    return problem(503, 'store_unavailable', {}, { 'retry-after': '1' })();
  });
  await page.getByText('Not up to date. The database does not answer. Nothing was done. Next try in').waitFor();
  await eventually('three more tries', async () => times.length >= 3, 30_000);
  const gaps = times.slice(1).map((time, i) => time - times[i]);
  assert.ok(gaps[0] > 1500 && gaps[1] > gaps[0], `${gaps}`);
  await close();
});

it('somebody who was faster is not overwritten without being asked', async () => {
  const { page, close } = await world.open();
  await signUp(page);
  const token = await tokenOf(page);
  await panel(page).getByLabel('New value').fill('500');
  await page.waitForTimeout(300);
  await program(world.url, 'PUT', '/v1/current', { token, body: { current: 77 } });
  await panel(page).getByRole('button', { name: 'Set', exact: true }).click();
  await page.getByText('Somebody else changed it meanwhile, from 0 to 77. Nothing was set.').waitFor();
  assert.equal(await current(token), 77);
  await panel(page).getByRole('button', { name: 'Set to 500 all the same' }).click();
  await page.getByText('Set to 500; it was 77.').waitFor();
  assert.equal(await current(token), 500);
  await close();
});

it('a set whose answer is lost is done once', async () => {
  const { page, close } = await world.open();
  await signUp(page);
  world.proxy.rule('PUT', SET, 'lose', 1);
  await panel(page).getByLabel('New value').fill('12');
  await panel(page).getByRole('button', { name: 'Set', exact: true }).click();
  await page.getByText('Set to 12; it was 0.').waitFor();
  await close();
});

it('what is wrong in a form stands at its field', async () => {
  const { page, complaints, close } = await world.open();
  await page.goto('/');
  const password = page.getByLabel('Password');
  const email = page.getByLabel('E-mail address');
  const state = () => page.evaluate(() => document.activeElement.id);
  await page.getByRole('button', { name: 'Sign up' }).click();
  await page.getByText('Give an e-mail address.').waitFor();
  assert.equal(await state(), 'email');
  await credentials(page, 'Sign up', newEmail(), 'short');
  await page.getByText('It must have 8 to 128 characters.').waitFor();
  assert.equal(await state(), 'password');
  assert.equal(await password.getAttribute('aria-invalid'), 'true');
  await credentials(page, 'Sign up', 'no address', PASSWORD);
  await page.locator('#email-fault', { hasText: /^It / }).waitFor();
  assert.equal(await state(), 'email');
  assert.equal(await password.getAttribute('aria-invalid'), null);
  assert.equal(await email.getAttribute('aria-invalid'), 'true');

  const taken = await signUp(page);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await credentials(page, 'Sign up', taken);
  await page.getByText('This e-mail address has an account.').waitFor();
  await credentials(page, 'Sign in', taken, 'another password');
  await page.getByText('The e-mail address or the password is wrong.').waitFor();
  await credentials(page, 'Sign in', taken);
  await page.getByRole('heading', { name: 'Your counters' }).waitFor();

  for (const [label, value, words] of [
    ['How many', '0', 'A whole number from 1 to 10000.'],
    ['New value', '-1', 'A whole number from 0 to 9007199254740991.'],
    ['New value', '9007199254740992', 'A whole number from 0 to 9007199254740991.'],
    ['Name of a new counter', 'No Such Name', '1 to 64 lower-case letters'],
    ['Name of a new counter', 'default', 'default is there already.'],
  ]) {
    await page.getByLabel(label).fill(value);
    await page.getByLabel(label).press('Enter');
    await page.getByText(words).waitFor();
    assert.equal(await page.getByLabel(label).getAttribute('aria-invalid'), 'true');
    await page.getByLabel(label).fill('');
  }
  assert.deepEqual(complaints(REFUSED), []);
  await close();
});

it('a quota that is reached is said', async () => {
  const { page, close } = await world.open();
  await signUp(page);
  world.proxy.rule('PUT', /^\/v1\/counters\/one-more\/current$/, problem(409, 'quota_reached'));
  await page.getByLabel('Name of a new counter').fill('one-more');
  await page.getByRole('button', { name: 'Make' }).click();
  await page.getByText('You have as many counters as you may have.').waitFor();
  await close();
});

it('who leaves while the service is away is told that the token still works', async () => {
  const { page, close } = await world.open();
  await signUp(page);
  world.proxy.rule('POST', /^\/v1\/logout$/, 'refuse');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByText(/The service does not answer. You are signed out in this tab only; the token works until \d/).waitFor();
  assert.equal(await tokenOf(page), null);
  await close();
});

it('a service that does not answer at first can be tried again', async () => {
  const { page, close } = await world.open();
  await signUp(page);
  world.proxy.rule('GET', /^\/v1\/me$/, problem(503, 'overloaded'), 1);
  await page.reload();
  await page.getByText('The service has too much to do. Nothing was done.').waitFor();
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('heading', { name: 'Your counters' }).waitFor();
  assert.equal(await page.getByText('The service has too much to do.').count(), 0);
  await close();
});

it('a page that does not come in full says so', async () => {
  world.proxy.rule('GET', /^\/ui\/problems\.js$/, 'refuse');
  const { page, close } = await world.open();
  await page.goto('/');
  await page.getByText('This takes long. If nothing comes, reload the page.').waitFor();
  world.proxy.behave();
  await page.reload();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  await close();
});

it('a limit of calls is left to the user, and not used up by looking', async () => {
  const limited = await startWorld({ settings: { COUNTER_RATE_LIMIT: '30/m' } });
  try {
    const { page, complaints, close } = await limited.open();
    await signUp(page);
    await page.waitForTimeout(12_000);
    for (const number of [1, 2, 3]) {
      await take(page);
      await panel(page).getByText(`${number} is yours.`).waitFor();
    }
    assert.deepEqual(complaints(), []);
    await close();
  } finally {
    await limited.stop();
  }
});

it('tries that are too many are told how long to wait, and a session that ends says why', async () => {
  const short = await startWorld({ settings: { COUNTER_AUTH_RATE_LIMIT: '2/m', COUNTER_TOKEN_TTL: '8s' } });
  try {
    const { page, complaints, close } = await short.open();
    await signUp(page);
    await page.getByText('Your time is over: tokens end by themselves. Sign in again.').waitFor();
    assert.equal(await tokenOf(page), null);
    await credentials(page, 'Sign in', newEmail());
    await page.getByText('The e-mail address or the password is wrong.').waitFor();
    await credentials(page, 'Sign in', newEmail());
    await page.getByText(/Too many tries. Try again in \d+ seconds?\./).waitFor();
    assert.deepEqual(complaints(REFUSED), []);
    await close();
  } finally {
    await short.stop();
  }
});
