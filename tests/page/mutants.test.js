// The tests can fail: each is run against a page that is broken on purpose, by a proxy that changes what the service serves.

import assert from 'node:assert/strict';
import { after, afterEach, before, it } from 'node:test';

import { LOOKS } from './support/browser.js';
import * as checks from './support/checks.js';
import { signUp, startWorld } from './support/world.js';

let world;
before(async () => { world = await startWorld(); }, { timeout: 120_000 });
after(() => world?.stop());
afterEach(() => world.proxy.behave());

/** Changes a part of what is served. */
function change(part, from, to) {
  world.proxy.rule('GET', part, async (_, forward) => {
    const answer = await forward({});
    const body = answer.body.toString();
    const changed = body.replace(from, to);
    assert.notEqual(changed, body, `${part} has no ${from}`);
    return { ...answer, body: changed };
  });
}

function dropHeader(part, names) {
  world.proxy.rule('GET', part, async (_, forward) => {
    const answer = await forward({});
    const headers = Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !names.includes(name)));
    return { ...answer, headers };
  });
}

const signedIn = { 'signed-in': signUp };
const look = LOOKS.slice(0, 1);
const HOME = /^\/$/;
/** What is broken: the failure that must come of it, how it is broken, and the check. */
const mutants = {
  'no policy': [
    /it ran/,
    () => dropHeader(HOME, ['content-security-policy']),
    // The check changes the page itself, so both are done in one rule.
    async () => {
      const { rule } = world.proxy;
      const both = { ...world, proxy: { ...world.proxy, rule: (method, path, what, times) => rule(method, path, async (call, forward) => {
        const answer = await what(call, forward);
        delete answer.headers['content-security-policy'];
        return answer;
      }, times) } };
      await checks.injectedScriptIsForbidden(both);
    },
  ],
  'frames allowed': [
    /is shown in a frame/,
    () => dropHeader(/^\/(docs)?$/, ['content-security-policy', 'x-frame-options']),
    () => checks.framingIsForbidden(world),
  ],
  'the code stays in the address': [
    /waitForFunction: Timeout/,
    () => change(/arrival\.js$/, /history\.replaceState\(.*\);/, ''),
    () => checks.addressIsCleaned(world, 5_000),
  ],
  'no key': [
    /\d !== 1/,
    () => change(/api\.js$/, '"Idempotency-Key": kept.key', ''),
    () => checks.lostAnswerTakesOnce(world),
  ],
  'a new key each time': [
    /2 !== 1/,
    () => change(/api\.js$/, '"Idempotency-Key": kept.key', '"Idempotency-Key": newKey()'),
    () => checks.lostAnswerTakesOnce(world),
  ],
  'text becomes markup': [
    /it ran/,
    () => {
      dropHeader(HOME, ['content-security-policy']);
      change(/dom\.js$/, 'element.append(...children', 'if (children.length === 1 && typeof children[0] === "string") element.innerHTML = children[0]; else element.append(...children');
    },
    () => checks.markupIsText(world),
  ],
  'a field without its label': [
    /label: Form elements must have labels/,
    () => change(HOME, '<label for="count">', '<label>'),
    () => checks.isAccessible(world, signedIn, look),
  ],
  'grey on grey': [
    /color-contrast/,
    () => change(/base\.css$/, '--quiet: #566273', '--quiet: #aab2bd'),
    () => checks.isAccessible(world, signedIn, look),
  ],
  'wider than the screen': [
    /wider than the screen/,
    () => change(/home\.css$/, '.wide {\n', '.wide {\n  min-width: 30rem;\n'),
    () => checks.isAccessible(world, signedIn, look),
  ],
};

for (const [name, [reason, mutate, check]] of Object.entries(mutants)) {
  it(`${name}: is noticed`, async () => {
    mutate();
    let failure = null;
    await check().catch((error) => { failure = error; });
    assert.ok(failure, 'nothing failed');
    assert.match(failure.message, reason);
  });
}
