// The page has words for every problem that the service knows, and its parts are small.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';

import { ROOT } from '../k6/support/processes.js';

const read = (path) => readFileSync(join(ROOT, path), 'utf8');
const { KNOWN, words } = await import(`data:text/javascript,${encodeURIComponent(read('src/ui/problems.js'))}`);

const codes = [...read('docs/errors.md').matchAll(/^\| \d+ \| `(\w+)` \|/gm)].map(([, code]) => code);

it('every code has words of its own', () => {
  assert.ok(codes.length > 20);
  assert.deepEqual(codes.filter((code) => !KNOWN.includes(code)), []);
  for (const code of codes) {
    assert.match(words({ code }), /^[A-Z].*\.$/, code);
  }
});

it('nothing has words that nobody says', () => {
  // What the page says itself, and what a browser comes back with from a provider.
  const elsewhere = read('src/ui/api.js') + read('src/api/oauth/browser.rs');
  const said = (code) => codes.includes(code) || new RegExp(`["\`]${code}["\`]`).test(elsewhere);
  assert.deepEqual(KNOWN.filter((code) => !said(code)), []);
});

it('seconds are said where there are any', () => {
  assert.equal(words({ code: 'rate_limited', after: 12 }), 'Too many tries. Try again in 12 seconds.');
  assert.equal(words({ code: 'rate_limited', after: 1 }), 'Too many tries. Try again in 1 second.');
});

it('a code of the address is not shown unless it is a word', () => {
  assert.equal(words({ code: 'future_code' }), 'It did not work (future_code).');
  assert.equal(words({ code: '<b>', status: 400 }), 'It did not work (400).');
});

it('the parts of the pages have few lines, and no markup is made of text', () => {
  for (const name of readdirSync(join(ROOT, 'src/ui'))) {
    const text = read(`src/ui/${name}`);
    if (name.endsWith('.js')) {
      assert.ok(text.split('\n').length < 300, `${name} is long`);
      assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/, name);
    }
    if (name.endsWith('.html')) {
      assert.doesNotMatch(text, /<script>|<style|\son\w+=|\sstyle=/, name);
    }
  }
});
