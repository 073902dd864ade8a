// A proxy before the replicas: each call goes to the next one in turn. It can do wrong where a test says so: lose answers,
// answer in the service's place, hold a call, or change what the service serves.

import { Agent, createServer, request } from 'node:http';

/**
 * What is done with a call: nothing (it is forwarded), or
 * - `'refuse'`: its connection breaks before the service has it
 * - `'lose'`: its connection breaks when the service has done it
 * - a function: it answers by itself, `{ status, headers, body }`, where it gives something; it gets `forward` too
 */
export async function startProxy(upstreams) {
  const agent = new Agent({ keepAlive: true });
  /** What came: `{ method, path, headers, body, upstream }`. */
  const calls = [];
  let rules = [];
  let turns = 0;

  const server = createServer(async (incoming, outgoing) => {
    const body = await whole(incoming);
    const call = { method: incoming.method, path: incoming.url, headers: incoming.headers, body: body.toString(), upstream: null };
    calls.push(call);
    const forward = async (headers = incoming.headers) => {
      call.upstream = upstreams[turns++ % upstreams.length];
      return forwarded(agent, call.upstream, call, headers, body);
    };
    try {
      const rule = rules.find((one) => one.method === call.method && one.path.test(call.path) && one.times > 0);
      if (rule) rule.times -= 1;
      if (rule?.what === 'refuse') throw new Error('refused');
      const own = typeof rule?.what === 'function' ? await rule.what(call, forward) : null;
      const answer = own ?? (await forward());
      if (rule?.what === 'lose') throw new Error('lost');
      const payload = typeof answer.body === 'string' ? Buffer.from(answer.body) : answer.body ?? Buffer.alloc(0);
      const headers = { ...answer.headers };
      delete headers['transfer-encoding'];
      if (answer.status !== 204 && answer.status !== 304) headers['content-length'] = String(payload.length);
      outgoing.writeHead(answer.status, headers);
      outgoing.end(payload);
    } catch {
      incoming.socket.destroy();
    }
  });
  await new Promise((settle) => server.listen(0, '127.0.0.1', settle));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    calls,
    /** Does something with the next calls of this method and path. */
    rule: (method, path, what, times = Infinity) => rules.unshift({ method, path, what, times }),
    /** Forwards everything from now on. */
    behave: () => { rules = []; },
    stop: () => {
      server.closeAllConnections();
      agent.destroy();
      return new Promise((settle) => server.close(settle));
    },
  };
}

function forwarded(agent, upstream, call, headers, body) {
  const { hostname, port } = new URL(upstream);
  return new Promise((settle, fail) => {
    const outgoing = request({ agent, host: hostname, port, method: call.method, path: call.path, headers });
    outgoing.on('error', fail);
    outgoing.on('response', async (answer) => settle({ status: answer.statusCode, headers: answer.headers, body: await whole(answer) }));
    outgoing.end(body);
  });
}

async function whole(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** An answer in the service's place: a problem as the service writes it. */
export function problem(status, code, more = {}, headers = {}) {
  const body = { type: `https://counter-api.dev/problems/${code}`, title: code, status, detail: code, code, trace_id: TRACE, ...more };
  return () => ({ status, headers: { 'content-type': 'application/problem+json', ...headers }, body: JSON.stringify(body) });
}

export const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
export const json = (value) => () => ({ status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) });
