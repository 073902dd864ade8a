// The whole way of a user with a password, on two replicas that share a database, each call going to the next one.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, it } from 'node:test';
import { promisify } from 'node:util';

import { eventually } from '../k6/support/processes.js';
import { PASSWORD, credentials, newEmail, program, signUp, startWorld, tokenOf } from './support/world.js';

let world;
before(async () => {
  world = await startWorld({ replicas: 2 });
}, { timeout: 120_000 });
after(() => world?.stop());

it('a user signs up, uses counters, and deletes the account', async () => {
  const { page, complaints, context, close } = await world.open();
  const email = newEmail();
  await page.goto('/');
  assert.equal(await page.title(), 'Counter API');
  await credentials(page, 'Sign up', email);
  await page.getByText('Your account is made.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Your counters');

  const panel = page.getByRole('article');
  await panel.getByText('Never used').waitFor();
  for (const number of [1, 2, 3]) {
    await panel.getByRole('button', { name: 'Take a number' }).click();
    await panel.getByText(`${number} is yours.`).waitFor();
  }
  await panel.getByLabel('How many').fill('5');
  await panel.getByRole('button', { name: 'Take 5 numbers' }).click();
  await panel.getByText('4 to 8 are yours.').waitFor();
  assert.deepEqual(await panel.getByRole('listitem').allTextContents(), ['4 to 8', '3', '2', '1']);
  await panel.getByLabel('New value').fill('1000');
  await panel.getByRole('button', { name: 'Set' }).click();
  await panel.getByText('Set to 1000; it was 8.').waitFor();
  await panel.getByRole('button', { name: 'Undo' }).click();
  await panel.getByText('Set to 8; it was 1000. So 9 to 1000 come a second time.').waitFor();

  await page.getByLabel('Name of a new counter').fill('invoices-2026');
  await page.getByRole('button', { name: 'Make' }).click();
  await page.getByText('invoices-2026 is made. Its first number is 1.').waitFor();
  await panel.getByRole('heading', { name: 'invoices-2026' }).waitFor();
  await panel.getByRole('button', { name: 'Take a number' }).click();
  await panel.getByText('1 is yours.').waitFor();

  // The line does what it says when it is put into a shell.
  await panel.getByRole('button', { name: 'Copy curl line' }).click();
  const line = await page.evaluate(() => navigator.clipboard.readText());
  const token = await tokenOf(page);
  assert.ok(!line.includes(token), 'the token is in the line');
  assert.ok(!(await page.content()).includes(token), 'the token is on the page');
  const shell = await promisify(execFile)('bash', ['-c', `${line} --silent`], { env: { PATH: process.env.PATH, TOKEN: token } });
  assert.deepEqual(JSON.parse(shell.stdout), { counter: 'invoices-2026', value: 2, previous: 1 });
  await page.getByRole('button', { name: 'invoices-2026 2' }).waitFor();
  await panel.getByRole('button', { name: 'Copy token' }).click();
  await panel.getByText('The token is on the clipboard.').waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), token);

  await panel.getByRole('button', { name: 'Delete counter' }).click();
  await page.getByRole('dialog', { name: 'Delete invoices-2026?' }).getByRole('button', { name: 'Delete' }).click();
  await panel.getByText('invoices-2026 is deleted.').waitFor();
  const { data } = await program(world.url, 'GET', '/v1/counters', { token });
  assert.deepEqual(data.counters.map(({ name, value }) => [name, value]), [['default', 8]]);

  assert.deepEqual(await context.cookies(), []);
  assert.equal(await page.evaluate(() => JSON.stringify({ ...localStorage })), '{}');
  assert.equal(new URL(page.url()).href, `${world.url}/`);

  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByText('You are signed out: here now, and everywhere else within seconds.').waitFor();
  assert.equal(await tokenOf(page), null);
  const left = await page.evaluate(() => document.getElementById('signed-in').innerHTML + document.getElementById('who').innerHTML);
  assert.ok(!left.includes(email) && !/<li|\b1000\b/.test(left), 'something of the user is left on the page');
  await eventually('the token is worth nothing on both replicas', async () => {
    const answers = await Promise.all(world.replicas.map((url) => program(url, 'GET', '/v1/me', { token })));
    return answers.every(({ status }) => status === 401);
  }, 10_000);

  await credentials(page, 'Sign in', email);
  await page.getByRole('heading', { name: 'Your counters' }).waitFor();
  assert.equal(await page.locator('#value').textContent(), '8');
  await page.reload();
  await page.getByRole('heading', { name: 'Your counters' }).waitFor();
  assert.deepEqual(complaints(), []);

  await page.getByRole('button', { name: 'Delete account' }).click();
  const dialog = page.getByRole('dialog', { name: 'Delete the account?' });
  await dialog.getByLabel('Password').fill('another password');
  await dialog.getByRole('button', { name: 'Delete account' }).click();
  await dialog.getByText('The e-mail address or the password is wrong.').waitFor();
  await dialog.getByLabel('Password').fill(PASSWORD);
  await dialog.getByRole('button', { name: 'Delete account' }).click();
  await page.getByText('Your account is deleted.').waitFor();
  assert.equal((await program(world.url, 'POST', '/v1/login', { body: { email, password: PASSWORD } })).status, 401);
  assert.deepEqual(complaints('status of 401'), []);

  const used = new Set(world.proxy.calls.filter(({ path }) => path.startsWith('/v1/')).map(({ upstream }) => upstream));
  assert.deepEqual([...used].sort(), [...world.replicas].sort(), 'not both replicas were used');
  await close();
});

it('values are live, and nobody asks for them while the tab is hidden', async () => {
  const { page, complaints, close } = await world.open();
  await signUp(page);
  const token = await tokenOf(page);
  await program(world.url, 'POST', '/v1/next?count=41', { token });
  await page.locator('#value', { hasText: /^41$/ }).waitFor();
  await program(world.url, 'PUT', '/v1/counters/elsewhere/current', { token, body: { current: 7 } });
  await page.getByRole('button', { name: 'elsewhere 7' }).waitFor();

  const hide = (hidden) => page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  await hide(true);
  await page.getByText('Paused while this tab is hidden').waitFor();
  await page.waitForTimeout(300);
  const count = () => world.proxy.calls.filter(({ path }) => path.startsWith('/v1/counters?')).length;
  const before = count();
  await program(world.url, 'POST', '/v1/next', { token });
  await page.waitForTimeout(2500);
  assert.equal(count(), before, 'it was asked while hidden');
  await hide(false);
  await page.locator('#value', { hasText: /^42$/ }).waitFor();
  assert.deepEqual(complaints(), []);
  await close();
});

it('a tab that was signed out elsewhere says why', async () => {
  const { page, close } = await world.open();
  const email = await signUp(page);
  const { data } = await program(world.url, 'POST', '/v1/login', { body: { email, password: PASSWORD } });
  await program(world.url, 'POST', '/v1/logout', { token: data.token });
  await page.getByText('You were signed out, in another tab or program, or the account was deleted. Sign in again.').waitFor();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  assert.equal(await tokenOf(page), null);
  await close();
});

it('a counter that is chosen and deleted elsewhere gives way to the default one', async () => {
  const { page, complaints, close } = await world.open();
  await signUp(page);
  const token = await tokenOf(page);
  await page.getByLabel('Name of a new counter').fill('short-lived');
  await page.getByRole('button', { name: 'Make' }).click();
  await page.getByRole('article').getByRole('heading', { name: 'short-lived' }).waitFor();
  await program(world.url, 'DELETE', '/v1/counters/short-lived', { token });
  await page.getByText('short-lived was deleted elsewhere.').waitFor();
  await page.getByRole('article').getByRole('heading', { name: 'default' }).waitFor();
  assert.deepEqual(complaints(), []);
  await close();
});
