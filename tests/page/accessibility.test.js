// Everybody can use the page: at every width, on both grounds, by ear, and with the keyboard alone.

import assert from 'node:assert/strict';
import { after, afterEach, before, it } from 'node:test';

import { LOOKS, picture } from './support/browser.js';
import { isAccessible } from './support/checks.js';
import { json, problem } from './support/proxy.js';
import { PASSWORD, credentials, newEmail, signUp, startWorld } from './support/world.js';

let world;
before(async () => { world = await startWorld(); }, { timeout: 120_000 });
after(() => world?.stop());
afterEach(() => world.proxy.behave());

const heading = (page, name) => page.getByRole('heading', { name }).waitFor();
const looks = LOOKS.map((look) => ({ ...look, after: picture }));

it('signed out', async () => {
  world.proxy.rule('GET', /^\/v1\/oauth\/providers$/, json({
    providers: ['GitHub', 'Google', 'Facebook'].map((name) => ({ name: name.toLowerCase(), display_name: name, start_url: `/v1/oauth/${name.toLowerCase()}/start` })),
  }));
  await isAccessible(world, {
    'signed-out': async (page) => {
      await page.goto('/');
      await page.getByRole('link', { name: 'Sign in with GitHub' }).waitFor();
    },
    'form-fault': async (page) => {
      await credentials(page, 'Sign up', newEmail(), 'short');
      await page.getByText('It must have 8 to 128 characters.').waitFor();
    },
    refused: async (page) => {
      await credentials(page, 'Sign in', newEmail());
      await page.getByText('The e-mail address or the password is wrong.').waitFor();
    },
    'sign-in-error': async (page) => {
      await page.goto('about:blank');
      await page.goto('/#signin_error=access_denied');
      await page.locator('#notice:not(:empty)').waitFor();
    },
  }, looks);
});

it('a question after a sign-in with a provider', async () => {
  world.proxy.rule('POST', /^\/v1\/oauth\/token$/, problem(409, 'link_required'));
  await isAccessible(world, {
    link: async (page) => {
      await page.goto('/#signin_code=code');
      await heading(page, 'You may have an account already');
    },
  }, looks);
});

it('signed in', async () => {
  const take = (page) => page.getByRole('button', { name: 'Take a number' });
  await isAccessible(world, {
    new: signUp,
    taken: async (page) => {
      await page.getByLabel('Name of a new counter').fill('invoices-2026');
      await page.getByRole('button', { name: 'Make' }).click();
      await page.getByText('invoices-2026 is made.').waitFor();
      await page.getByLabel('New value').fill('4710');
      await page.getByRole('button', { name: 'Set', exact: true }).click();
      await page.getByText('Set to 4710').waitFor();
      await take(page).click();
      await page.getByText('4711 is yours.').waitFor();
      await page.getByRole('button', { name: 'Take 10 numbers' }).click();
      await page.getByText('4712 to 4721 are yours.').waitFor();
    },
    largest: async (page) => {
      await page.getByLabel('New value').fill(String(Number.MAX_SAFE_INTEGER));
      await page.getByRole('button', { name: 'Set', exact: true }).click();
      await page.getByText(`Set to ${Number.MAX_SAFE_INTEGER}`).waitFor();
    },
    refusal: async (page) => {
      await take(page).click();
      await page.getByText('So many numbers are not left').waitFor();
    },
    'long-name': async (page) => {
      await page.getByLabel('Name of a new counter').fill('n'.repeat(64));
      await page.getByRole('button', { name: 'Make' }).click();
      await page.getByText('is made. Its first number is 1.').waitFor();
    },
    'delete-counter': async (page) => {
      await page.getByRole('button', { name: 'Delete counter' }).click();
      await page.getByRole('dialog').waitFor();
    },
    'delete-account': async (page) => {
      await page.getByRole('button', { name: 'Cancel' }).click();
      await page.getByRole('button', { name: 'Delete account' }).click();
      await page.getByRole('dialog').waitFor();
    },
  }, looks);
});

it('away', async () => {
  await isAccessible(world, {
    away: async (page) => {
      world.proxy.behave();
      await signUp(page);
      world.proxy.rule('GET', /^\/v1\/counters/, problem(503, 'store_unavailable'));
      // The values are asked for at once.
      await page.evaluate(() => dispatchEvent(new Event('online')));
      await page.getByText('Not up to date. The database does not answer.').waitFor();
    },
  }, looks);
});

it('the reference', async () => {
  await isAccessible(world, {
    reference: async (page) => {
      await page.goto('/docs');
      await page.getByRole('heading', { name: 'Token', exact: true }).waitFor();
    },
    call: async (page) => {
      await page.goto('/docs#post-v1-counters-name-next');
      await page.getByRole('form', { name: 'Try POST /v1/counters/{name}/next' }).getByRole('button', { name: 'Send' }).click();
      await page.locator('details[open] .outcome').getByText('401').waitFor();
    },
  }, looks);
});

/** Goes on with Tab until the focus is on what has this name; a user would hear it. */
async function tabTo(page, name) {
  for (let i = 0; i < 60; i += 1) {
    await page.keyboard.press('Tab');
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      const outline = getComputedStyle(element);
      return { name: element.labels?.[0]?.textContent ?? element.textContent.trim(), seen: outline.outlineStyle !== 'none' && parseFloat(outline.outlineWidth) >= 2 };
    });
    if (focused.name === name) {
      assert.ok(focused.seen, `the focus on ${name} cannot be seen`);
      return;
    }
  }
  assert.fail(`Tab does not lead to ${name}`);
}

it('the keyboard alone is enough', async () => {
  const { page, complaints, close } = await world.open();
  const email = newEmail();
  const { keyboard } = page;
  await page.goto('/');
  await page.getByRole('button', { name: 'Sign up' }).waitFor();
  await tabTo(page, 'Skip to the content');
  await keyboard.press('Enter');
  await tabTo(page, 'E-mail address');
  await keyboard.type(email);
  await tabTo(page, 'Password');
  await keyboard.type(PASSWORD);
  await tabTo(page, 'Sign up');
  await keyboard.press('Enter');
  await heading(page, 'Your counters');
  // From the heading, where the focus was put, on.
  await tabTo(page, 'Name of a new counter');
  await keyboard.type('orders');
  await keyboard.press('Enter');
  await page.getByText('orders is made.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'orders');
  await tabTo(page, 'Take a number');
  await keyboard.press('Space');
  await page.getByText('1 is yours.').waitFor();
  await tabTo(page, 'How many');
  await keyboard.press('Control+A');
  await keyboard.type('3');
  await keyboard.press('Enter');
  await page.getByText('2 to 4 are yours.').waitFor();
  await tabTo(page, 'New value');
  await keyboard.type('99');
  await keyboard.press('Enter');
  await page.getByText('Set to 99').waitFor();
  await tabTo(page, 'Delete counter');
  await keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  // What cannot be undone is not done by Enter, and Escape leads back.
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Cancel');
  await keyboard.press('Escape');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Delete counter');
  await keyboard.press('Enter');
  await tabTo(page, 'Delete');
  await keyboard.press('Enter');
  await page.getByText('orders is deleted.').waitFor();
  await tabTo(page, 'Delete account');
  await keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await keyboard.type(PASSWORD);
  await keyboard.press('Enter');
  await page.getByText('Your account is deleted.').waitFor();
  assert.deepEqual(complaints(), []);
  await close();
});

it('who wants little motion gets none, and text may be twice as large', async () => {
  const { page, close } = await world.open({ reducedMotion: 'reduce', width: 640 });
  await signUp(page);
  await page.getByRole('button', { name: 'Take a number' }).click();
  await page.getByText('1 is yours.').waitFor();
  const animations = await page.evaluate(() => document.getAnimations().filter((one) => one.animationName === 'changed').length);
  assert.equal(animations, 0);
  await page.evaluate(() => { document.documentElement.style.setProperty('font-size', '200%'); });
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 640);
  await close();
});
