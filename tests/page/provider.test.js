// The whole way of a user with a provider: a certified OpenID provider, and two replicas that take turns, so that each step of a
// sign-in meets another one.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';

import { PASSWORD, newEmail, program, signUp, startWorld, tokenOf } from './support/world.js';

let world;
before(async () => { world = await startWorld({ replicas: 2, provider: true }); }, { timeout: 120_000 });
after(() => world?.stop());

/** Goes to the provider, says who one is there, and comes back. */
async function signIn(page, login, choice = 'Continue') {
  await page.getByRole('link', { name: 'Sign in with Example ID' }).click();
  await page.getByRole('heading', { name: 'Sign in at the provider' }).waitFor();
  await page.getByLabel('Login').fill(login);
  await page.getByRole('button', { name: choice }).click();
}

/** The provider knows this browser by now, and sends it back at once. */
const signInAgain = (page) => page.getByRole('link', { name: 'Sign in with Example ID' }).click();

const yours = (page) => page.getByRole('heading', { name: 'Your counters' }).waitFor();
const take = async (page, number) => {
  await page.getByRole('button', { name: 'Take a number' }).click();
  await page.getByText(`${number} is yours.`).waitFor();
};

/** Has an account with a password and one number, and signs in at the provider with the same address. */
async function signInWithTakenAddress(page) {
  const email = await signUp(page);
  await take(page, 1);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await signIn(page, email);
}

/** Answers whose account it is. */
async function join(page, password) {
  await page.getByLabel('Password of that account').fill(password);
  await page.getByRole('button', { name: 'Join the accounts' }).click();
}

/** What the browser complained of, but for the provider, which has no icon and is another host. */
const complaints = (tab, ...expected) => tab.complaints(world.provider.issuer, ...expected);

it('the first sign-in makes the account, the second finds it, and without a password it is deleted', async () => {
  const tab = await world.open();
  const { page, context } = tab;
  const email = newEmail();
  await page.goto('/');
  await signIn(page, email);
  await yours(page);
  assert.equal(page.url(), `${world.url}/`);
  await page.getByText(email).first().waitFor();
  await page.getByRole('button', { name: 'Remove Example ID' }).waitFor();
  await take(page, 1);

  assert.equal(await page.evaluate(() => document.cookie), '', 'a script can read a cookie');
  const token = await tokenOf(page);
  assert.ok((await context.cookies()).every(({ httpOnly, value }) => httpOnly && !value.includes(token)));
  const redeemed = world.proxy.calls.filter(({ path }) => path === '/v1/oauth/token');
  assert.equal(redeemed.length, 1);
  const { code } = JSON.parse(redeemed[0].body);
  for (const { path, headers } of world.proxy.calls) {
    assert.ok(!path.includes(code) && !(headers.referer ?? '').includes(code), 'the code is in an address');
  }

  await page.getByRole('button', { name: 'Remove Example ID' }).click();
  await page.getByText('You could not sign in any more: it is the last way that is left.').waitFor();
  assert.deepEqual(complaints(tab, 'status of 409'), []);

  await page.getByRole('button', { name: 'Sign out' }).click();
  await signInAgain(page);
  await yours(page);
  await take(page, 2);
  assert.deepEqual(complaints(tab), []);

  // Neither going back nor a reload uses the code again.
  await page.reload();
  await yours(page);
  await page.goBack();
  await page.waitForTimeout(300);
  assert.ok(!page.url().includes('signin_code'), page.url());
  await page.goto('/');
  await yours(page);

  await page.getByRole('button', { name: 'Delete account' }).click();
  const dialog = page.getByRole('dialog', { name: 'Delete the account?' });
  assert.equal(await dialog.getByLabel('Password').count(), 0);
  await dialog.getByRole('button', { name: 'Delete account' }).click();
  await page.getByText('Your account is deleted.').waitFor();
  await signInAgain(page);
  await yours(page);
  await take(page, 1);

  const used = new Set(world.proxy.calls.filter(({ path }) => path.startsWith('/v1/oauth/')).map(({ upstream }) => upstream));
  assert.equal(used.size, 2, 'not both replicas were used');
  await tab.close();
});

it('who says no there is told so here', async () => {
  const tab = await world.open();
  const { page } = tab;
  await page.goto('/');
  await signIn(page, newEmail(), 'Cancel');
  await page.getByText('You said no there, so you are not signed in.').waitFor();
  assert.equal(page.url(), `${world.url}/`);
  assert.equal(await tokenOf(page), null);
  assert.deepEqual(complaints(tab), []);
  await tab.close();
});

it('an account with a password and the same address is joined by its password', async () => {
  const tab = await world.open();
  const { page } = tab;
  await signInWithTakenAddress(page);
  await page.getByRole('heading', { name: 'You may have an account already' }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), 'link-title');
  await join(page, 'not the password');
  await page.getByText('The e-mail address or the password is wrong.').waitFor();
  await join(page, PASSWORD);
  await yours(page);
  await take(page, 2);
  await page.getByRole('button', { name: 'Remove Example ID' }).click();
  await page.getByText('You no longer sign in with Example ID.').waitFor();
  const { data } = await program(world.url, 'GET', '/v1/me', { token: await tokenOf(page) });
  assert.deepEqual(data.user.providers, ['password']);
  assert.deepEqual(complaints(tab, 'status of 409', 'status of 401'), []);
  await tab.close();
});

it('whoever does not know the password gets another account, and three tries at most', async () => {
  const tab = await world.open();
  const { page } = tab;
  await signInWithTakenAddress(page);
  for (const guess of ['first guess', 'second guess', 'third guess']) {
    await join(page, guess);
    await page.waitForFunction(() => document.getElementById('link-form').getAttribute('aria-busy') === null);
    await page.getByText(/wrong\.|too many tries/).waitFor();
  }
  if (await page.getByLabel('Password of that account').isVisible()) {
    await join(page, PASSWORD);
    await page.getByText('That took longer than a minute, or had too many tries').waitFor();
  }
  assert.equal(await tokenOf(page), null);

  await signInAgain(page);
  await page.getByRole('button', { name: 'Make an account of its own' }).click();
  await yours(page);
  await take(page, 1);
  assert.deepEqual(complaints(tab, 'status of 409', 'status of 401'), []);
  await tab.close();
});

it('a link with the code of somebody else signs nobody in', async () => {
  const thief = await world.open();
  await thief.page.goto('/');
  // The thief signs in, and keeps the code for the victim.
  await thief.page.route('**/v1/oauth/token', (route) => route.abort());
  await signIn(thief.page, newEmail());
  await thief.page.getByText('The service does not answer.').waitFor();
  await thief.page.unroute('**/v1/oauth/token');
  const [code] = await Promise.all([
    thief.page.waitForRequest('**/v1/oauth/token').then((request) => request.postDataJSON().code),
    thief.page.route('**/v1/oauth/token', (route) => route.abort()).then(() => signInAgain(thief.page)),
  ]);

  const victim = await world.open();
  await victim.page.goto(`/#signin_code=${code}`);
  await victim.page.getByText('That took longer than a minute, or had too many tries, or began in another browser.').waitFor();
  assert.equal(await tokenOf(victim.page), null);
  assert.deepEqual(victim.complaints('status of 401'), []);
  await thief.close();
  await victim.close();
});

it('an answer to a sign-in that this browser has not begun is refused', async () => {
  const tab = await world.open();
  await tab.page.goto('/v1/oauth/local/callback?code=stolen&state=made-up');
  await tab.page.getByText('No sign-in is under way in this browser').waitFor();
  assert.equal(tab.page.url(), `${world.url}/`);
  assert.deepEqual(complaints(tab), []);
  await tab.close();
});

it('a provider that lies, or is too slow, is no dead end', async () => {
  const tab = await world.open();
  const { page } = tab;
  await page.goto('/');
  await world.provider.control({ tamper: 'nonce' });
  await signIn(page, newEmail());
  await page.getByText('What the other side said cannot be believed.').waitFor();
  await world.provider.control({ tamper: null, delay_ms: 8000 });
  await signInAgain(page);
  await page.getByText('The other side does not answer. Try again later, or sign in another way.').waitFor();
  await world.provider.control({ delay_ms: 0 });
  await signInAgain(page);
  await yours(page);
  assert.deepEqual(complaints(tab), []);
  await tab.close();
});

it('every way in which a sign-in can fail has words', async () => {
  const { data } = await program(world.url, 'GET', '/openapi.json');
  const { description } = data.paths['/v1/oauth/{provider}/callback'].get;
  const codes = [...description.slice(description.indexOf('#signin_error')).matchAll(/`([a-z_]+)`/g)].map(([, code]) => code);
  assert.ok(codes.length >= 9, `${codes}`);
  const tab = await world.open();
  for (const code of codes) {
    await tab.page.goto('about:blank');
    await tab.page.goto(`/#signin_error=${code}`);
    await tab.page.locator('#notice:not(:empty)').waitFor();
    const text = await tab.page.locator('#notice').innerText();
    assert.ok(!text.includes('It did not work'), `${code}: ${text}`);
  }
  await tab.close();
});
