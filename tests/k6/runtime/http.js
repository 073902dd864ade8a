// The requests of the virtual users, made in the main thread: theirs wait, as k6's do.

import { Agent, request as begin } from 'node:http';

import { milliseconds } from './time.js';

/**
 * @typedef {{ method: string, url: string, body: string | null, headers: Record<string, string>, timeout?: string | number }} Wanted
 * @typedef {{ status: number, body: string, headers: Record<string, string>, error: string, error_code: number,
 *   timings: Record<string, number>, sent: number, received: number }} Got
 */

/** The connections of one virtual user: kept, and not shared with others. */
export function connections() {
  return new Agent({ keepAlive: true, maxSockets: 6 });
}

/**
 * Never fails: an answer that did not come has the status 0.
 * @param {Wanted} wanted
 * @param {Agent} agent
 * @param {string} userAgent
 * @returns {Promise<Got>}
 */
export function request({ method, url, body, headers, timeout }, agent, userAgent) {
  return new Promise((done) => {
    const at = { begin: performance.now(), socket: 0, connected: 0, sent: 0, answered: 0 };
    const length = body ? { 'Content-Length': String(Buffer.byteLength(body)) } : {};
    const outgoing = begin(url, { method, agent, headers: { 'User-Agent': userAgent, ...length, ...headers } });
    const timer = setTimeout(
      () => outgoing.destroy(Object.assign(new Error('request timeout'), { code: 'TIMEOUT' })),
      milliseconds(timeout, '60s'),
    );
    let sent = 0;
    outgoing.on('socket', (socket) => {
      at.socket = at.connected = performance.now();
      const before = socket.bytesWritten;
      if (socket.connecting) {
        socket.once('connect', () => (at.connected = performance.now()));
      }
      outgoing.on('finish', () => {
        at.sent = performance.now();
        sent = socket.bytesWritten - before;
      });
    });
    /** @param {Omit<Got, 'timings' | 'sent'>} got */
    const finish = (got) => {
      clearTimeout(timer);
      const end = performance.now();
      const since = (/** @type {number} */ from, /** @type {number} */ to) => (from && to ? Math.max(0, to - from) : 0);
      const timings = {
        blocked: since(at.begin, at.socket),
        connecting: since(at.socket, at.connected),
        tls_handshaking: 0,
        sending: since(at.connected, at.sent),
        waiting: since(at.sent, at.answered || end),
        receiving: since(at.answered, end),
        duration: 0,
      };
      timings.duration = timings.sending + timings.waiting + timings.receiving;
      done({ ...got, timings, sent });
    };
    outgoing.on('error', (/** @type {NodeJS.ErrnoException} */ error) =>
      finish({ status: 0, body: '', headers: {}, error: error.message, error_code: codeOf(error), received: 0 }),
    );
    outgoing.on('response', (incoming) => {
      at.answered = performance.now();
      /** @type {Buffer[]} */
      const chunks = [];
      incoming.on('data', (chunk) => chunks.push(chunk));
      incoming.on('error', (error) => outgoing.destroy(error));
      incoming.on('end', () => {
        const all = Buffer.concat(chunks);
        const status = incoming.statusCode || 0;
        const text = all.toString('utf8');
        finish({ status, body: text, headers: inGoSpelling(incoming.headers), error: '', error_code: 0, received: all.length });
      });
    });
    outgoing.end(body || undefined);
  });
}

/** @param {NodeJS.ErrnoException} error */
function codeOf({ code }) {
  return { TIMEOUT: 1050, ECONNREFUSED: 1212, ECONNRESET: 1220, EPIPE: 1220, ENOTFOUND: 1101 }[code || ''] || 1000;
}

/**
 * `etag` is `Etag` to a script: that is how Go spells it.
 * @param {import('node:http').IncomingHttpHeaders} headers
 */
function inGoSpelling(headers) {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase()),
      Array.isArray(value) ? value.join(', ') : String(value),
    ]),
  );
}
