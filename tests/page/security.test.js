// What others write, send, or lead to cannot run here, or lead anywhere.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, it } from 'node:test';

import { ROOT } from '../k6/support/processes.js';
import { addressIsCleaned, framingIsForbidden, injectedScriptIsForbidden, markupIsText } from './support/checks.js';
import { TRACE, json } from './support/proxy.js';
import { credentials, signUp, startWorld, tokenOf } from './support/world.js';

let world;
before(async () => { world = await startWorld(); }, { timeout: 120_000 });
after(() => world?.stop());
afterEach(() => world.proxy.behave());

it('what others have written is text', () => markupIsText(world));
it('script that gets into the HTML does not run', () => injectedScriptIsForbidden(world));
it('nobody shows the pages in a frame', () => framingIsForbidden(world));
it('a one-time code is out of the address before anything else happens', () => addressIsCleaned(world));

it('an address that is markup is an account like any other', async () => {
  const { page, complaints, close } = await world.open();
  await page.goto('/');
  await credentials(page, 'Sign up', '<img/src=x/onerror=alert(1)>@example.com');
  await page.locator('#email-fault:not(:empty), #signed-in:not([hidden])').waitFor();
  assert.equal(await page.locator('main img').count(), 0);
  assert.deepEqual(complaints('status of 422'), []);
  await close();
});

it('what comes with the address is never shown as it is, and leads nowhere', async () => {
  const { page, complaints, close } = await world.open();
  for (const path of [
    '/#signin_error=access_denied',
    '/#signin_error=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E',
    '/#signin_error=Call%20%2B1%20555%20to%20unlock',
    '/#signin_error=internal&trace_id=call%20555',
    '/?next=https://evil.example/&redirect=//evil.example#//evil.example',
    '/?url=javascript:alert(1)#javascript:alert(1)',
  ]) {
    await page.goto('about:blank');
    await page.goto(path);
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    await page.waitForTimeout(200);
    assert.equal(new URL(page.url()).origin, world.url);
    const text = await page.locator('body').innerText();
    assert.ok(!/<img|555|evil/.test(text), text);
    assert.ok(!page.url().includes('signin_error'), page.url());
  }
  await page.goto('about:blank');
  await page.goto(`/#signin_error=internal&trace_id=${TRACE}`);
  await page.getByText(TRACE).waitFor();
  assert.equal(page.url(), `${world.url}/`);
  assert.deepEqual(complaints(), []);
  await close();
});

it('a code that comes to a page that is open is taken out of the address too', async () => {
  const { page, close } = await world.open();
  await page.goto('/');
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  await page.evaluate(() => { location.hash = '#signin_error=access_denied'; });
  await page.waitForFunction(() => location.hash === '');
  await page.locator('#notice:not(:empty)').waitFor();
  await close();
});

it('a provider that begins elsewhere is not offered', async () => {
  const { page, close } = await world.open();
  const provider = (name, start) => ({ name, display_name: name, start_url: start });
  world.proxy.rule('GET', /^\/v1\/oauth\/providers$/, json({
    providers: [
      provider('good', '/v1/oauth/good/start'), provider('script', 'javascript:alert(1)'), provider('away', 'https://evil.example/v1/oauth/x/start'),
      provider('slashes', '//evil.example/v1/oauth/x/start'), provider('other', '/docs'),
    ],
  }));
  await page.goto('/');
  const links = page.getByRole('link', { name: /^Sign in with/ });
  await links.first().waitFor();
  assert.deepEqual(await links.allTextContents(), ['Sign in with good']);
  await close();
});

it('the token is sent in a header only, to the service only, and no cookie is', async () => {
  const before = world.proxy.calls.length;
  const { page, close } = await world.open();
  await signUp(page);
  const token = await tokenOf(page);
  await page.getByRole('button', { name: 'Take a number' }).click();
  await page.getByText('1 is yours.').waitFor();
  await page.getByRole('link', { name: 'Reference' }).click();
  await page.getByText('A token is set.').waitFor();
  const calls = world.proxy.calls.slice(before);
  assert.ok(calls.some(({ headers }) => headers.authorization === `Bearer ${token}`));
  for (const { path, headers } of calls) {
    assert.ok(!path.includes(token) && !path.includes('token='), path);
    assert.equal(headers.cookie, undefined);
    assert.equal(headers.referer, undefined, 'an address was told');
  }
  await close();
});

it('the console has nothing to say, whatever page is loaded first', async () => {
  for (const path of ['/', '/docs', '/favicon.ico', '/openapi.json']) {
    const { page, complaints, close } = await world.open();
    await page.goto(path);
    await page.waitForLoadState('networkidle');
    assert.deepEqual(complaints(), [], path);
    await close();
  }
  const { page, close } = await world.open();
  await page.goto('/');
  const parts = await page.evaluate(async (names) => Promise.all(names.map(async (name) => (await fetch(`/ui/${name}`)).status)),
    readdirSync(join(ROOT, 'src/ui')).filter((name) => !name.endsWith('.html')));
  assert.deepEqual([...new Set(parts)], [200]);
  await close();
});
