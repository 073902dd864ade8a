// A round-robin proxy before the replicas, that can do wrong: it shows that the scripts notice.
//
// It runs in a thread of its own, so that its work is no part of the latencies that are measured.

import { Agent, createServer, request } from 'node:http';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { fileURLToPath } from 'node:url';

/**
 * What it does wrong:
 * - `none`: nothing
 * - `duplicate`: one call gets an answer that another one got before, and takes nothing
 * - `gap`: one number is taken and given to nobody
 * - `swap`: one answer says one number more than was taken: that one comes twice, the one taken never
 * - `repeat`: one caller gets the number again that its own counter gave it last
 * - `slow`: each call takes 150 ms longer
 * - `narrow`: one call at a time, 10 ms each, so that 100 a second is the most
 * - `lost`: each tenth answer is lost after its call was done
 * - `broken`: one call gets a 500
 * @typedef {'none' | 'duplicate' | 'gap' | 'swap' | 'repeat' | 'slow' | 'narrow' | 'lost' | 'broken'} Fault
 */

/**
 * @param {string[]} upstreams
 * @param {Fault} fault
 * @returns {Promise<{ url: string, stop: () => Promise<number> }>}
 */
export async function startProxy(upstreams, fault = 'none') {
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { upstreams, fault } });
  const port = await new Promise((settle, fail) => {
    worker.once('message', settle);
    worker.once('error', fail);
  });
  return { url: `http://127.0.0.1:${port}`, stop: () => worker.terminate() };
}

/** The call that goes wrong where one does: by then, all virtual users are at work. */
const VICTIM = 12;

if (!isMainThread && workerData?.upstreams) {
  serve(workerData.upstreams, workerData.fault);
}

/**
 * @param {string[]} upstreams
 * @param {Fault} fault
 */
function serve(upstreams, fault) {
  const agent = new Agent({ keepAlive: true });
  let turns = 0;
  let takes = 0;
  /** @type {Promise<any>} */
  let line = Promise.resolve();
  let done = false;
  /** @type {Record<string, Buffer>} The first answer of each shared counter. */
  const earlier = {};
  /** @type {Record<string, Buffer>} The last answer of each counter that one virtual user has for itself. */
  const own = {};

  /**
   * @param {import('node:http').IncomingMessage} incoming
   * @param {Buffer} body
   * @param {Record<string, string>} [headers]
   * @returns {Promise<{ status: number, headers: any, body: Buffer }>}
   */
  const forward = (incoming, body, headers = {}) =>
    new Promise((settle, fail) => {
      const upstream = new URL(upstreams[turns++ % upstreams.length]);
      const outgoing = request({
        agent,
        host: upstream.hostname,
        port: upstream.port,
        method: incoming.method,
        path: incoming.url,
        headers: { ...incoming.headers, ...headers },
      });
      outgoing.on('error', fail);
      outgoing.on('response', async (answer) => {
        settle({ status: answer.statusCode || 502, headers: answer.headers, body: await whole(answer) });
      });
      outgoing.end(body);
    });

  const server = createServer(async (incoming, outgoing) => {
    const body = await whole(incoming);
    const isTake = incoming.method === 'POST' && /^\/v1\/counters\/shared-\d+\/next$/.test(incoming.url || '');
    takes += isTake ? 1 : 0;
    const isLost = fault === 'lost' && isTake && takes % 10 === 0;
    const first = isTake ? earlier[incoming.url || ''] : undefined;
    const isVictim = first && takes >= VICTIM && !done;
    done ||= Boolean(isVictim);
    /** @param {{ status: number, headers: any, body: Buffer }} answer */
    const send = (answer) => {
      outgoing.writeHead(answer.status, { ...answer.headers, 'content-length': String(answer.body.length) });
      outgoing.end(answer.body);
    };
    try {
      if (fault === 'duplicate' && isVictim) {
        send({ status: 200, headers: { 'content-type': 'application/json' }, body: first });
        return;
      }
      if (fault === 'gap' && isVictim) {
        await forward(incoming, body, { 'idempotency-key': 'nobodys' });
      }
      if (fault === 'broken' && isVictim) {
        const problem = JSON.stringify({ status: 500, code: 'internal', title: 'An error of ours' });
        send({ status: 500, headers: { 'content-type': 'application/problem+json' }, body: Buffer.from(problem) });
        return;
      }
      if (fault === 'slow') {
        await pause(150);
      }
      if (fault === 'narrow') {
        await (line = line.then(() => pause(10)));
      }
      const answer = await forward(incoming, body);
      const ownCounter = incoming.method === 'POST' && /^\/v1\/(counters\/vu-\d+\/)?next$/.test(incoming.url || '');
      if (fault === 'repeat' && ownCounter) {
        const key = `${incoming.url} ${incoming.headers.authorization}`;
        const last = own[key];
        own[key] = answer.body;
        if (last && !done) {
          done = true;
          answer.body = last;
        }
      }
      if (isLost) {
        incoming.socket.destroy();
        return;
      }
      if (isTake && answer.status === 200) {
        if (fault === 'swap' && isVictim) {
          const { counter, value } = JSON.parse(answer.body.toString());
          answer.body = Buffer.from(JSON.stringify({ counter, value: value + 1, previous: value }));
        }
        earlier[incoming.url || ''] ??= answer.body;
      }
      send(answer);
    } catch {
      incoming.socket.destroy();
    }
  });
  server.keepAliveTimeout = 75_000;
  server.listen(0, '127.0.0.1', () => {
    parentPort?.postMessage(/** @type {import('node:net').AddressInfo} */ (server.address()).port);
  });
}

/** @param {import('node:stream').Readable} stream */
async function whole(stream) {
  /** @type {Buffer[]} */
  const chunks = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** @param {number} time */
function pause(time) {
  return new Promise((go) => setTimeout(go, time));
}
