// Programs that tests start. They end with the test's process, whatever becomes of it.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
/** What renders as kubectl does, by scripts/install-kustomize. */
export const KUSTOMIZE = join(ROOT, '.tools/bin/kustomize');

/**
 * @param {string} program
 * @param {string[]} words
 * @param {Record<string, string>} [env] Nothing of the test's own environment but PATH is passed on.
 */
export function start(program, words, env = {}) {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...words], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  /** @type {string[]} The last lines, for a failure's message. */
  const lines = [];
  let rest = '';
  /** @type {((line: string) => void)[]} */
  const listeners = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (/** @type {string} */ text) => {
      const complete = (rest + text).split('\n');
      rest = complete.pop() || '';
      for (const line of complete) {
        lines.push(line);
        listeners.forEach((listen) => listen(line));
      }
      lines.splice(0, lines.length - 20);
    });
  }
  const ended = new Promise((settle) => child.on('exit', settle));
  return {
    pid: child.pid,
    running: () => child.exitCode === null && child.signalCode === null,
    output: () => lines.join('\n'),
    /** @param {(line: string) => void} listen */
    onLine: (listen) => listeners.push(listen),
    /** @param {NodeJS.Signals} signal */
    kill: async (signal = 'SIGKILL') => {
      child.kill(signal);
      await ended;
    },
  };
}

/** @typedef {ReturnType<typeof start>} Program */

/**
 * Asks until there is an answer.
 * @template T
 * @param {string} what
 * @param {() => Promise<T | undefined | false>} ask
 * @param {number} [within] In milliseconds.
 * @returns {Promise<T>}
 */
export async function eventually(what, ask, within = 60_000) {
  const deadline = Date.now() + within;
  for (;;) {
    const answer = await ask();
    if (answer) {
      return answer;
    }
    if (Date.now() > deadline) {
      throw new Error(`not within ${within} ms: ${what}`);
    }
    await new Promise((go) => setTimeout(go, 30));
  }
}

/** Ports that are free now. */
export async function freePorts(count = 1) {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise((settle) => server.listen(0, '127.0.0.1', () => settle(server)));
    }),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((settle) => server.close(settle))));
  return ports;
}

/** A directory below target/, removed by what it returns. */
export function directory() {
  const all = join(ROOT, 'target', 'tmp', 'k6');
  mkdirSync(all, { recursive: true });
  const path = mkdtempSync(join(all, 'run-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
