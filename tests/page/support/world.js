// A service behind a proxy, a browser, and users.

import { randomUUID } from 'node:crypto';
import { join } from 'node:path';

import { ROOT, directory, eventually, start } from '../../k6/support/processes.js';
import { ReplicaSet } from '../../k6/support/replica-set.js';
import { startReplica } from '../../k6/support/service.js';
import { openTab, startBrowser } from './browser.js';
import { startProxy } from './proxy.js';

export const PASSWORD = 'correct horse battery';

/** One replica on a file, or two on a MongoDB replica set, behind a proxy; and a browser. `provider`: with one to sign in at. */
export async function startWorld({ replicas = 1, settings = {}, provider: hasProvider = false } = {}) {
  const ends = [];
  const later = (end) => ends.unshift(end);
  const stop = async () => {
    for (const end of ends) await end();
  };
  try {
    let store;
    if (replicas > 1) {
      const database = await ReplicaSet.start();
      later(() => database.stop());
      store = database.url;
    } else {
      const data = directory();
      later(() => data.remove());
      store = `redb:${join(data.path, 'counter.redb')}`;
    }
    const upstreams = [];
    const proxy = await startProxy(upstreams);
    later(() => proxy.stop());
    const provider = hasProvider ? await startProvider(`${proxy.url}/v1/oauth/local/callback`) : null;
    if (provider) later(() => provider.kill());
    const all = { ...settings, ...(provider && settingsOf(provider, proxy.url)) };
    const services = await Promise.all(Array.from({ length: replicas }, () => startReplica(store, all)));
    for (const { program } of services) later(() => program.kill());
    upstreams.push(...services.map(({ url }) => url));
    const browser = await startBrowser();
    later(() => browser.close());
    return { proxy, provider, url: proxy.url, replicas: upstreams, browser, open: (look) => openTab(browser, proxy.url, look), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A real OpenID provider, which sends browsers back to this address. */
async function startProvider(redirect) {
  const program = start('node', [join(ROOT, 'tests/oauth/provider.js'), '--redirect-uri', redirect]);
  let told;
  program.onLine((line) => {
    if (line.startsWith('{')) told = JSON.parse(line);
  });
  await eventually('the provider is ready', async () => {
    if (!program.running()) throw new Error(`the provider ended:\n${program.output()}`);
    return told;
  });
  return {
    ...told,
    kill: program.kill,
    control: (change) => fetch(told.control, { method: 'POST', body: JSON.stringify(change) }),
  };
}

const settingsOf = ({ issuer, client_id: id, client_secret: secret }, url) => ({
  COUNTER_PUBLIC_URL: url,
  COUNTER_OAUTH_LOCAL_ISSUER: issuer,
  COUNTER_OAUTH_LOCAL_CLIENT_ID: id,
  COUNTER_OAUTH_LOCAL_CLIENT_SECRET: secret,
  COUNTER_OAUTH_LOCAL_DISPLAY_NAME: 'Example ID',
});

export const newEmail = () => `${randomUUID()}@example.com`;

/** Calls the API as a program does: `{ status, data, headers }`. */
export async function program(url, method, path, { token, body, headers = {} } = {}) {
  const sent = { ...headers };
  if (token) sent.authorization = `Bearer ${token}`;
  if (body) sent['content-type'] = 'application/json';
  const answer = await fetch(`${url}${path}`, { method, headers: sent, body: body && JSON.stringify(body) });
  const text = await answer.text();
  return { status: answer.status, data: text ? JSON.parse(text) : null, headers: answer.headers };
}

export const tokenOf = (page) => page.evaluate(() => sessionStorage.getItem('token'));

/** Fills the form and presses one of its buttons. */
export async function credentials(page, button, email, password = PASSWORD) {
  await page.getByLabel('E-mail address').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: button }).click();
}

/** Signs a new user up: its address. */
export async function signUp(page) {
  const email = newEmail();
  await page.goto('/');
  await credentials(page, 'Sign up', email);
  await page.getByRole('heading', { name: 'Your counters' }).waitFor();
  return email;
}
