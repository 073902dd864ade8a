// The Postman collection agrees with the description of the API, and newman runs it against the real service; and both are seen
// to fail where something is wrong.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { after, before, describe, it } from 'node:test';

import newman from 'newman';

import { ROOT, directory } from '../k6/support/processes.js';
import { startReplica } from '../k6/support/service.js';
import { startProxy } from '../page/support/proxy.js';
import { drift } from './drift.js';

const read = (name) => JSON.parse(readFileSync(join(ROOT, `docs/postman/counter-api.postman_${name}.json`), 'utf8'));
const [collection, environment] = [read('collection'), read('environment')];

const data = directory();
let service;
let openapi;
before(async () => {
  service = await startReplica(`redb:${join(data.path, 'counter.redb')}`);
  openapi = await (await fetch(`${service.url}/openapi.json`)).json();
});
after(async () => {
  await service?.program.kill();
  data.remove();
});

/** Runs the whole collection: the names of the tests that failed, and how many there were. */
async function run(url) {
  const { run: { stats, failures } } = await promisify(newman.run)({
    collection,
    environment,
    envVar: [{ key: 'base_url', value: url }],
    ignoreRedirects: true,
    timeoutRequest: 20_000,
    reporters: [],
  });
  return { assertions: stats.assertions.total, failed: failures.map(({ source, error }) => `${source?.name}: ${error.test ?? error.message}: ${error.message}`) };
}

describe('the collection', () => {
  it('is of version 2.1', () => {
    assert.equal(collection.info.schema, 'https://schema.getpostman.com/json/collection/v2.1.0/collection.json');
    assert.equal(environment._postman_variable_scope, 'environment');
  });

  it('holds no secret', () => {
    assert.deepEqual(environment.values.filter(({ key, value }) => ['token', 'email', 'key', 'etag', 'cursor'].includes(key) && value !== ''), []);
  });

  it('says what the description says', () => assert.deepEqual(drift(collection, environment, openapi), []));

  it('runs against the service', async () => {
    const { assertions, failed } = await run(service.url);
    assert.deepEqual(failed, []);
    assert.ok(assertions > 60, `${assertions} assertions`);
  });

  it('can be run again', async () => assert.deepEqual((await run(service.url)).failed, []));
});

describe('it is noticed when', () => {
  const changes = {
    'an operation is new': (api) => { api.paths['/v1/new'] = { get: { responses: {} } }; },
    'an operation is gone': (api) => { delete api.paths['/v1/logout']; },
    'a field of an answer is renamed': (api) => {
      const fields = api.components.schemas.SignedIn.properties;
      fields.access_token = fields.token;
      delete fields.token;
    },
    'a field of a body is renamed': (api) => {
      const { NewValue: schema } = api.components.schemas;
      schema.properties = { value: schema.properties.current };
      schema.required = ['value'];
    },
    'a status is another one': (api) => {
      const { responses } = api.paths['/v1/register'].post;
      responses['200'] = responses['201'];
      delete responses['201'];
    },
    'a code is gone': (api) => { delete api.paths['/v1/current'].put.responses['412'].content['application/problem+json'].examples.precondition_failed; },
    'a parameter is gone': (api) => { api.paths['/v1/counters'].get.parameters = []; },
  };
  for (const [name, change] of Object.entries(changes)) {
    it(name, () => {
      const changed = structuredClone(openapi);
      change(changed);
      assert.notDeepEqual(drift(collection, environment, changed), []);
    });
  }

  it('the service takes one number too many', async () => {
    const proxy = await startProxy([service.url]);
    proxy.rule('POST', /^\/v1\/next$/, async (_, forward) => {
      await forward();
      return forward();
    }, 1);
    const { failed } = await run(proxy.url);
    await proxy.stop();
    assert.ok(failed.some((text) => text.includes('Take a number')), failed.join('\n'));
  });
});
