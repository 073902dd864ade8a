// Checks that are made of the service as it is, and of one that is broken on purpose (mutants.test.js), where they must fail.

import assert from 'node:assert/strict';

import { LOOKS, overflow, violations } from './browser.js';
import { startProxy } from './proxy.js';
import { program, signUp, tokenOf } from './world.js';

/**
 * An answer that gets lost costs no number: the page repeats the call with its key. It is lost until the page itself repeats it, for
 * Chromium does so too, POST or not, where nothing came back on a connection that was open already.
 */
export async function lostAnswerTakesOnce(world) {
  const { page, close } = await world.open();
  await signUp(page);
  const token = await tokenOf(page);
  world.proxy.rule('POST', /^\/v1\/next/, 'lose');
  await page.getByRole('button', { name: 'Take a number' }).click();
  await page.getByText('Trying again with the same key, so that it is done once (try 2 of 6).').waitFor();
  world.proxy.behave();
  await page.getByText('is yours.').waitFor();
  const { data } = await program(world.replicas[0], 'GET', '/v1/current', { token });
  assert.equal(data.value, 1);
  await page.getByText('1 is yours. The first try had arrived: it was taken once.').waitFor();
  await close();
}

/** What a provider's sign-in leaves in the address is out of it before anything else of the page has run. */
export async function addressIsCleaned(world, within = 60_000) {
  const { page, close } = await world.open();
  let release;
  const held = new Promise((go) => { release = go; });
  world.proxy.rule('GET', /^\/ui\/home\.js$/, async () => {
    await held;
    return null;
  });
  try {
    await page.goto('/#signin_code=once-only', { waitUntil: 'commit' });
    await page.waitForFunction(() => location.hash === '', null, { timeout: within });
    assert.equal(page.url(), `${world.url}/`);
    assert.equal(await page.evaluate(() => history.length), 2);
  } finally {
    release();
    world.proxy.behave();
    await close();
  }
}

const EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>';

/** What others have written is shown as text. It comes with the account, the list, a problem, and a provider's name. */
export async function markupIsText(world) {
  const { page, complaints, close } = await world.open();
  await signUp(page);
  const answer = (body, status = 200) => () => ({ status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  world.proxy.rule('GET', /^\/v1\/me$/, answer({ user: { id: EVIL, email: EVIL, created_at: EVIL, providers: [EVIL] }, counters: 1 }));
  world.proxy.rule('GET', /^\/v1\/counters/, answer({ counters: [{ name: EVIL, value: EVIL, updated_at: EVIL }, { name: 'default', value: 1, updated_at: EVIL }], next: null }));
  world.proxy.rule('POST', /^\/v1\/next$/, answer({ title: EVIL, detail: EVIL, code: EVIL, trace_id: EVIL, errors: [{ field: EVIL, message: EVIL }] }, 400));
  world.proxy.rule('GET', /^\/v1\/oauth\/providers$/, answer({ providers: [{ name: EVIL, display_name: EVIL, start_url: `/v1/oauth/x/start?${EVIL}` }] }));
  try {
    await page.reload();
    await page.getByRole('heading', { name: 'Your counters' }).waitFor();
    await page.locator('#list').getByRole('button', { name: 'onerror' }).click();
    await page.locator('#list').getByRole('button', { name: 'default' }).click();
    await page.getByRole('button', { name: 'Take a number' }).click();
    await page.getByText('It did not work').waitFor();
    await page.waitForTimeout(300);
    assert.equal(await page.evaluate(() => window.hacked), undefined, 'it ran');
    assert.equal(await page.locator('main img, body script').count(), 0, 'it became markup');
    assert.deepEqual(complaints('status of 400'), []);
  } finally {
    world.proxy.behave();
    await close();
  }
}

/** Script that gets into the HTML all the same does not run: the policy forbids it. */
export async function injectedScriptIsForbidden(world) {
  const { page, complaints, close } = await world.open();
  world.proxy.rule('GET', /^\/$/, async (_, forward) => {
    const answer = await forward();
    const body = answer.body.toString().replace('</main>', '<script>window.hacked = 1</script><img src="x" onerror="window.hacked = 1"></main>');
    return { ...answer, body };
  }, 1);
  await page.goto('/');
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  await page.waitForTimeout(300);
  assert.equal(await page.evaluate(() => window.hacked), undefined, 'it ran');
  assert.ok(complaints().some((text) => text.startsWith('policy: script-src')), 'nothing was reported');
  // Not even a script of the page itself can make markup of text.
  await assert.rejects(page.evaluate(() => { document.body.innerHTML += '<p>markup</p>'; }), /TrustedHTML/);
  await close();
}

/** No page of anybody else shows this one within itself. */
export async function framingIsForbidden(world) {
  const other = await startProxy([]);
  const { page, close } = await world.open();
  try {
    for (const path of ['/', '/docs']) {
      const body = `<iframe src="${world.url}${path}"></iframe>`;
      other.rule('GET', /^\/$/, () => ({ status: 200, headers: { 'content-type': 'text/html' }, body }), 1);
      await page.goto(other.url);
      await page.waitForTimeout(500);
      const text = await page.frames()[1].evaluate(() => document.body?.textContent ?? '').catch(() => '');
      assert.ok(!text.includes('Counter API'), `${path} is shown in a frame`);
    }
  } finally {
    await close();
    await other.stop();
  }
}

/** Everybody can use it: no finding of axe-core, and nothing wider than the screen, at every look. */
export async function isAccessible(world, states, looks = LOOKS) {
  for (const look of looks) {
    const tab = await world.open(look);
    for (const [name, reach] of Object.entries(states)) {
      await reach(tab.page);
      const at = `${name} at ${look.width}, ${look.scheme}`;
      assert.deepEqual(await violations(tab.page), [], at);
      assert.ok((await overflow(tab.page)) <= 0, `${at} is wider than the screen`);
      await look.after?.(tab.page, `${name}-${look.width}-${look.scheme}`);
    }
    await tab.close();
  }
}
