// The reference: every call is there, and can be tried with the session of the page.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';

import { program, signUp, startWorld, tokenOf } from './support/world.js';

let world;
before(async () => { world = await startWorld(); }, { timeout: 120_000 });
after(() => world?.stop());

it('has every operation of the description', async () => {
  const { page, complaints, close } = await world.open();
  await page.goto('/docs');
  await page.getByRole('heading', { name: 'Token', exact: true }).waitFor();
  const { data } = await program(world.url, 'GET', '/openapi.json');
  const operations = Object.entries(data.paths).flatMap(([path, item]) => Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`));
  assert.ok(operations.length > 15);
  const shown = await page.locator('details.call h3').evaluateAll((all) => all.map((one) => one.textContent));
  assert.deepEqual(shown.sort(), operations.sort());
  assert.deepEqual(complaints(), []);
  await close();
});

it('tries calls with the token of the page, and gives it back', async () => {
  const { page, complaints, close } = await world.open();
  const email = await signUp(page);
  const token = await tokenOf(page);
  await page.getByRole('link', { name: 'Reference' }).click();
  await page.getByText('A token is set.').waitFor();
  await page.getByRole('navigation', { name: 'Calls' }).getByRole('link', { name: 'GET /v1/me', exact: true }).click();
  const me = page.getByRole('form', { name: 'Try GET /v1/me' });
  assert.ok(!(await me.textContent()).includes(token));
  await me.getByRole('button', { name: 'Send' }).click();
  await me.getByText(email).waitFor();

  await page.goto('/docs#post-v1-next');
  const next = page.getByRole('form', { name: 'Try POST /v1/next' });
  await next.getByLabel('count').fill('3');
  await next.getByRole('button', { name: 'New key' }).click();
  for (const replayed of [0, 1]) {
    await next.getByRole('button', { name: 'Send' }).click();
    await next.getByText('"last": 3').waitFor();
    await next.getByText('idempotency-replayed').nth(1 - replayed).waitFor({ state: replayed ? 'attached' : 'detached' });
  }
  await page.getByRole('link', { name: 'Counters', exact: true }).click();
  await page.getByRole('heading', { name: 'Your counters' }).waitFor();
  assert.equal(await page.locator('#value').textContent(), '3');
  await page.getByRole('link', { name: 'Reference' }).click();
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.getByText('No token is set.').waitFor();
  await page.getByRole('link', { name: 'Counters', exact: true }).click();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  assert.deepEqual(complaints(), []);
  await close();
});

it('a token that is got in the reference is one for the page', async () => {
  const { page, close } = await world.open();
  await page.goto('/docs#post-v1-register');
  const form = page.getByRole('form', { name: 'Try POST /v1/register' });
  await form.getByRole('button', { name: 'Send' }).click();
  await form.getByRole('button', { name: 'Use this token' }).click();
  await page.getByRole('link', { name: 'Counters', exact: true }).click();
  await page.getByRole('heading', { name: 'Your counters' }).waitFor();
  await close();
});
