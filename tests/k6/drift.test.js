// The scripts, the objectives, the API, the manifests and the documents say the same.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { parse, parseAllDocuments } from 'yaml';

import { run } from './runtime/run.js';
import { KUSTOMIZE, ROOT, directory } from './support/processes.js';
import { startReplica } from './support/service.js';

const LOADTEST = join(ROOT, 'loadtest');
const read = (/** @type {string} */ path) => readFileSync(join(ROOT, path), 'utf8');
const javascript = (/** @type {string} */ path) => readdirSync(join(LOADTEST, path)).filter((name) => name.endsWith('.js'));
const scripts = javascript('.');
const sources = [...scripts, ...javascript('lib').map((name) => `lib/${name}`)];

describe('the objectives', () => {
  it('are those of monitoring/slo.yaml', async () => {
    const slo = await import(`data:text/javascript,${encodeURIComponent(read('loadtest/lib/slo.js'))}`);
    const { slos } = parse(read('monitoring/slo.yaml'));
    const named = Object.fromEntries(slos.map((/** @type {any} */ one) => [one.name, one]));
    assert.deepEqual(
      { availability: slo.AVAILABILITY, latency: slo.LATENCY, within: slo.LATENCY_SECONDS },
      { availability: named.availability.objective, latency: named.latency.objective, within: named.latency.threshold_seconds },
    );
  });
});

describe('the API', () => {
  const data = directory();
  /** @type {Awaited<ReturnType<typeof startReplica>>} */
  let service;
  before(async () => {
    service = await startReplica(`redb:${join(data.path, 'counter.redb')}`);
  });
  after(async () => {
    await service.program.kill();
    data.remove();
  });

  it('has no operation that smoke leaves out', async () => {
    const { requests, code, outputs } = await run(join(LOADTEST, 'smoke.js'), { BASE_URL: service.url, RATE: '1', DURATION: '1s' });
    assert.equal(code, 0, outputs.stdout);
    const called = new Set(requests.map(({ tags }) => `${tags.method} ${tags.name}`));
    const { paths } = /** @type {any} */ (await (await fetch(`${service.url}/openapi.json`)).json());
    const operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(/** @type {object} */ (methods)).map((method) => `${method.toUpperCase()} ${path}`),
    );
    assert.ok(operations.length > 20);
    assert.deepEqual(operations.filter((operation) => !called.has(operation)), []);
  });

  it('answers a call with the trace that the script began', async () => {
    const { requests } = await run(join(LOADTEST, 'smoke.js'), { BASE_URL: service.url, RATE: '1', DURATION: '1s' });
    const { headers } = requests[0];
    const answer = await fetch(`${service.url}/v1/next`, { method: 'POST', headers });
    const { trace_id: trace } = /** @type {any} */ (await answer.json());
    assert.ok(headers.traceparent.includes(trace), `${headers.traceparent} is not ${trace}`);
  });
});

describe('a long run', () => {
  it('outlives its tokens', async () => {
    const data = directory();
    const service = await startReplica(`redb:${join(data.path, 'counter.redb')}`, { COUNTER_TOKEN_TTL: '6s' });
    const settings = { BASE_URL: service.url, RATE: '5', DURATION: '6s', VUS: '16' };
    const { code, outputs, requests } = await run(join(LOADTEST, 'uniqueness.js'), settings);
    await service.program.kill();
    data.remove();
    assert.equal(code, 0, outputs.stdout);
    assert.ok(requests.some(({ tags }) => tags.name === '/v1/login'), 'nobody logged in again');
  });
});

describe('the options', { concurrency: 4 }, () => {
  for (const [script, name, value] of [
    ['load', 'RATE', 'many'],
    ['load', 'VUS', '1.5'],
    ['soak', 'DURATION', '4 hours'],
    ['failover', 'EXPECT_FAULT', 'perhaps'],
  ]) {
    it(`of ${script} refuse ${name}=${value}`, async () => {
      const { code, log } = await run(join(LOADTEST, `${script}.js`), { [name]: value });
      assert.notEqual(code, 0);
      assert.ok(log.some((line) => line.includes(`${name}=${value} must be`)), log.join('\n'));
    });
  }

  for (const script of scripts) {
    it(`of ${script} are those of the open model`, async () => {
      // Without a service, setup fails, or no call is answered; the options are read before.
      const { options } = await run(join(LOADTEST, script), { BASE_URL: 'http://127.0.0.1:1', VUS: '5', DURATION: '1s', RATE: '1' });
      const name = script.replace('.js', '');
      assert.deepEqual(Object.keys(options.scenarios), [name]);
      assert.match(options.scenarios[name].executor, /-arrival-rate$/);
      const [dropped] = options.thresholds.dropped_iterations;
      assert.equal(dropped.threshold || dropped, 'count==0');
      assert.deepEqual(options.thresholds.checks, ['rate==1']);
      assert.equal(options.tags.testid, name);
    });
  }
});

describe('Kubernetes', () => {
  const rendered = parseAllDocuments(execFileSync(KUSTOMIZE, ['build', LOADTEST], { encoding: 'utf8' })).map((one) => one.toJS());
  /** @param {string} kind */
  const one = (kind) => rendered.filter((resource) => resource.kind === kind);

  it('gets every script and every file of the library as they are', () => {
    const [testRun] = one('TestRun');
    const { sources: projected } = testRun.spec.runner.volumes.find((/** @type {any} */ volume) => volume.name === 'scripts').projected;
    const maps = Object.fromEntries(one('ConfigMap').map(({ metadata, data }) => [metadata.name, data]));
    /** @type {Record<string, string>} */
    const files = {};
    for (const { configMap } of projected) {
      for (const { key, path } of configMap.items) {
        files[path] = maps[configMap.name][key];
      }
    }
    assert.deepEqual(Object.keys(files).sort(), [...sources].sort());
    for (const path of sources) {
      assert.equal(files[path], read(`loadtest/${path}`), path);
    }
  });

  it('gets a TestRun of the fields that the operator knows', () => {
    const [{ apiVersion, spec }] = one('TestRun');
    assert.equal(apiVersion, 'k6.io/v1alpha1');
    assert.deepEqual(unknown(spec, ['parallelism', 'script', 'arguments', 'quiet', 'cleanup', 'runner', 'initializer', 'starter', 'separate']), []);
    assert.deepEqual(Object.keys(spec.script), ['localFile']);
    for (const part of [spec.runner, spec.starter, spec.initializer]) {
      const known = [
        ...['image', 'env', 'envFrom', 'resources', 'securityContext', 'containerSecurityContext', 'volumes', 'volumeMounts'],
        ...['metadata', 'automountServiceAccountToken', 'nodeSelector', 'tolerations', 'topologySpreadConstraints', 'imagePullPolicy'],
      ];
      assert.deepEqual(unknown(part || {}, known), []);
    }
    const mount = spec.runner.volumeMounts.find((/** @type {any} */ one) => one.name === 'scripts').mountPath;
    assert.ok(scripts.map((script) => `${mount}/${script}`).includes(spec.script.localFile));
  });

  /**
   * @param {object} object
   * @param {string[]} known
   */
  const unknown = (object, known) => Object.keys(object).filter((key) => !known.includes(key));
});

describe('the README', () => {
  const readme = read('loadtest/README.md');
  it('names every script', () => {
    assert.deepEqual(scripts.filter((script) => !readme.includes(`\`${script.replace('.js', '')}\``)), []);
  });

  it('names every setting, with its default', () => {
    const settings = sources.flatMap((path) =>
      [...read(`loadtest/${path}`).matchAll(/\b(?:number|seconds|count|flag|text)\(\s*'([A-Z_]+)'/g)].map(([, name]) => name),
    );
    assert.ok(settings.length > 20);
    assert.deepEqual([...new Set(settings)].filter((name) => !readme.includes(`\`${name}\``)), []);
  });

  it('names every metric of the scripts', () => {
    const metrics = sources.flatMap((path) =>
      [...read(`loadtest/${path}`).matchAll(/new (?:Counter|Gauge|Rate|Trend)\('(\w+)'/g)].map(([, name]) => name),
    );
    assert.ok(metrics.length >= 8);
    assert.deepEqual(metrics.filter((name) => !readme.includes(`\`${name}\``)), []);
  });
});
