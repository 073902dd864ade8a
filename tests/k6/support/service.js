// Replicas of the service, in front of one database.

import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { ROOT, eventually, start } from './processes.js';

/** What `make loadtest-test` has built, unless COUNTER_API names another binary. */
const BINARY = process.env.COUNTER_API || join(ROOT, 'target/debug/counter-api');

/**
 * @param {string} store
 * @param {Record<string, string>} [settings]
 */
export async function startReplica(store, settings = {}) {
  if (!existsSync(BINARY)) {
    throw new Error(`there is no ${BINARY}: run cargo build, or set COUNTER_API`);
  }
  const program = start(BINARY, [], {
    COUNTER_LISTEN: '127.0.0.1:0',
    COUNTER_ADMIN_LISTEN: '127.0.0.1:0',
    COUNTER_STORE_URL: store,
    COUNTER_JWT_KEYS: 'loadtest:a-secret-for-load-tests-of-32-bytes-or-more',
    COUNTER_AUTH_RATE_LIMIT: 'off',
    COUNTER_LOG_FORMAT: 'json',
    ...settings,
  });
  let address = '';
  program.onLine((line) => {
    if (!address && line.includes('"listening"')) {
      address = JSON.parse(line).address;
    }
  });
  await eventually('the service is ready', async () => {
    if (!program.running()) {
      throw new Error(`the service ended:\n${program.output()}`);
    }
    return address && (await fetch(`http://${address}/readyz`).then((answer) => answer.ok, () => false));
  });
  return { url: `http://${address}`, program };
}

/**
 * So many replicas on one store.
 * @param {string} store
 * @param {number} count
 */
export async function startReplicas(store, count) {
  const replicas = await Promise.all(Array.from({ length: count }, () => startReplica(store)));
  return {
    urls: replicas.map(({ url }) => url),
    stop: () => Promise.all(replicas.map(({ program }) => program.kill())),
  };
}
