#!/usr/bin/env node
// node tests/k6/runtime/cli.js [-e NAME=VALUE]... SCRIPT: runs a script, prints its summary, writes its files, and ends as k6 would.

import { writeFileSync } from 'node:fs';

import { run } from './run.js';

/** @type {Record<string, string>} */
const env = {};
let script = '';
const words = process.argv.slice(2);
for (let word = words.shift(); word !== undefined; word = words.shift()) {
  if (word === '-e') {
    const [name, ...value] = (words.shift() || '').split('=');
    env[name] = value.join('=');
  } else {
    script = word;
  }
}
if (!script) {
  console.error('usage: cli.js [-e NAME=VALUE]... SCRIPT');
  process.exit(64);
}
const { code, outputs, log } = await run(script, env);
log.forEach((line) => console.error(line));
for (const [path, text] of Object.entries(outputs)) {
  if (path === 'stdout') {
    process.stdout.write(text);
  } else {
    writeFileSync(path, text);
  }
}
process.exitCode = code;
