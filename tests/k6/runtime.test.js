// The stand-in itself: what the tests of the scripts rest on.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { Registry } from './runtime/metrics.js';
import { run } from './runtime/run.js';
import { arrivals } from './runtime/schedule.js';
import { readThresholds } from './runtime/thresholds.js';
import { directory } from './support/processes.js';

const scripts = directory();
after(() => scripts.remove());

let written = 0;
/**
 * Runs a script that is written here.
 * @param {string} source
 * @param {Record<string, string>} [env]
 */
function runSource(source, env) {
  const path = join(scripts.path, `${++written}.js`);
  writeFileSync(path, source);
  return run(path, env);
}

/**
 * @param {object} scenario
 * @param {object} [thresholds]
 */
const options = (scenario, thresholds = {}) =>
  `export const options = ${JSON.stringify({ scenarios: { main: { gracefulStop: '5s', ...scenario } }, thresholds })};`;

/** Ten iterations, and a virtual user for each: a busy machine drops none. */
const brief = { executor: 'constant-arrival-rate', rate: 20, duration: '500ms', preAllocatedVUs: 10 };

describe('the schedule of arrivals', () => {
  it('spaces a constant rate evenly', () => {
    const due = [...arrivals({ executor: 'constant-arrival-rate', rate: 120, timeUnit: '1m', duration: '2s' })];
    assert.deepEqual(due, [0, 500, 1000, 1500]);
  });

  it('begins as many iterations in a ramp as the area below it', () => {
    const stages = [
      { target: 100, duration: '10s' },
      { target: 100, duration: '5s' },
      { target: 0, duration: '4s' },
    ];
    const due = [...arrivals({ executor: 'ramping-arrival-rate', startRate: 0, stages })];
    assert.equal(due.length, 500 + 500 + 200);
    assert.ok(due.every((time, index) => index === 0 || time >= due[index - 1]));
    // Half of the time of a ramp from nothing has a quarter of its iterations.
    assert.equal(due.filter((time) => time < 5000).length, 125);
    assert.equal(due.filter((time) => time >= 10_000 && time < 15_000).length, 500);
  });

  it('jumps where a stage takes no time', () => {
    const stages = [
      { target: 10, duration: '1s' },
      { target: 40, duration: '0s' },
      { target: 40, duration: '1s' },
    ];
    const due = [...arrivals({ executor: 'ramping-arrival-rate', startRate: 10, stages })];
    assert.deepEqual([due.filter((time) => time < 1000).length, due.length], [10, 50]);
  });
});

describe('metrics and thresholds', () => {
  it('takes percentiles between the nearest ranks', () => {
    const trend = new Registry().select('http_req_duration').sink;
    [4, 1, 3, 2, 5].forEach((value) => trend.add(value));
    const values = /** @type {any} */ (trend.values(1, ['min', 'med', 'avg', 'max', 'count', 'p(90)']));
    assert.ok(Math.abs(values['p(90)'] - 4.6) < 1e-9);
    assert.deepEqual({ ...values, 'p(90)': 0 }, { min: 1, med: 3, avg: 3, max: 5, count: 5, 'p(90)': 0 });
  });

  it('looks at the samples with the tags alone', () => {
    const registry = new Registry();
    const [all, part] = readThresholds(
      { http_req_duration: ['max<10'], 'http_req_duration{name:/v1/counters/{name}/next,status:200}': ['max<10'] },
      registry,
    );
    registry.add('http_req_duration', 50, { name: '/v1/counters/{name}/next', status: '503' });
    registry.add('http_req_duration', 5, { name: '/v1/counters/{name}/next', status: '200' });
    assert.deepEqual([all.holds(1), part.holds(1)], [false, true]);
  });

  it('takes nothing for 0, and judges no rate of nothing', () => {
    const options = { checks: ['rate==1'], iterations: ['count>0'], http_req_duration: ['p(99)<1'] };
    assert.deepEqual(readThresholds(options, new Registry()).map(({ holds }) => holds(1)), [true, false, true]);
  });

  for (const [metric, expression] of [
    ['http_req_duration', 'p(99)<<5'],
    ['http_req_duration', 'rate<1'],
    ['iterations', 'p(95)<1'],
    ['nothing_of_the_kind', 'count<1'],
  ]) {
    it(`refuses ${metric} ${expression}`, () => {
      assert.throws(() => readThresholds({ [metric]: [expression] }, new Registry()));
    });
  }
});

describe('a run', { concurrency: 4 }, () => {
  /** @type {import('node:http').Server} */
  let server;
  let base = '';
  /** @type {string[]} */
  let seen = [];
  before(async () => {
    server = createServer((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.traceparent || ''}`.trim());
      const answer = () => {
        response.writeHead(request.url === '/missing' ? 404 : 200, { etag: '"7"' });
        response.end('{"value":1}');
      };
      setTimeout(answer, request.url === '/slow' ? 300 : 0);
    });
    await new Promise((go) => server.listen(0, '127.0.0.1', () => go(undefined)));
    base = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`;
  });
  after(() => server.close());

  it('gives what setup returned to each iteration and to teardown, and each virtual user a memory of its own', async () => {
    const { code, log } = await runSource(`
      import { Counter } from 'k6/metrics';
      import exec from 'k6/execution';
      const mine = new Counter('mine');
      const told = new Counter('told');
      ${options(brief, { mine: ['count==10'], told: ['count==7'], iterations: ['count==10'] })}
      let memory = 0;
      export function setup() { return { seven: 7 }; }
      export default function (data) {
        memory += 1;
        if (memory !== exec.vu.iterationInInstance + 1 || data.seven !== 7 || __VU !== exec.vu.idInTest) throw new Error('wrong');
        mine.add(1);
      }
      export function teardown(data) { told.add(data.seven); }
    `);
    assert.deepEqual([code, log], [0, []]);
  });

  it('drops iterations when no virtual user is free', async () => {
    const { code, data } = await runSource(`
      import { sleep } from 'k6';
      ${options({ ...brief, preAllocatedVUs: 2 }, { dropped_iterations: ['count==0'] })}
      export default function () { sleep(1); }
    `);
    assert.equal(code, 99);
    assert.equal(data.metrics.iterations.values.count, 2);
    assert.equal(data.metrics.dropped_iterations.values.count, 8);
  });

  it('cuts off what lasts longer than the grace', async () => {
    const { data } = await runSource(`
      import { sleep } from 'k6';
      ${options({ ...brief, rate: 2, gracefulStop: '200ms' }, { iterations: ['count==0'] })}
      export default function () { sleep(60); }
    `);
    assert.equal(data.metrics.iterations.values.count, 0);
  });

  it('aborts where a threshold says so, and runs teardown', async () => {
    const begin = Date.now();
    const threshold = { threshold: 'count<5', abortOnFail: true, delayAbortEval: '500ms' };
    const { code, data, log } = await runSource(`
      import { Counter } from 'k6/metrics';
      const bad = new Counter('bad');
      const end = new Counter('end');
      ${options({ ...brief, duration: '30s' }, { bad: [threshold], end: ['count==1'] })}
      export default function () { bad.add(1); }
      export function teardown() { end.add(1); }
    `);
    assert.equal(code, 99);
    assert.ok(data.state.testRunDurationMs >= 500, 'not before its delay');
    assert.ok(Date.now() - begin < 10_000);
    assert.deepEqual(data.metrics.end.thresholds, { 'count==1': { ok: true } });
    assert.ok(log.some((line) => line.startsWith('error: aborted: bad')));
  });

  it('makes requests that block their virtual user alone, and tags what it measures', async () => {
    seen = [];
    const { code, data, requests } = await runSource(
      `
      import http from 'k6/http';
      import { check, group } from 'k6';
      import exec from 'k6/execution';
      ${options(
        { ...brief, rate: 10 },
        {
          'http_req_duration{name:slow,phase:one}': ['min>=290', 'max<5000'],
          'http_reqs{name:slow,status:200,scenario:main}': ['count==5'],
          'http_reqs{name:missing,expected_response:true}': ['count==10'],
          http_req_failed: ['rate==0'],
          checks: ['rate==1'],
        },
      )}
      export default function () {
        exec.vu.metrics.tags.phase = 'one';
        exec.vu.metrics.metadata.trace_id = 'abc';
        const tagged = (name) => ({ tags: { name }, headers: { traceparent: 'tp' } });
        group('calls', () => {
          const slow = http.request('POST', __ENV.BASE + '/slow', '{}', tagged('slow'));
          check(slow, { 'it answers': ({ status, headers, body }) => status === 200 && headers.Etag === '"7"' && JSON.parse(body).value === 1 });
        });
        const params = { ...tagged('missing'), responseCallback: http.expectedStatuses(404) };
        const both = http.batch([{ method: 'GET', url: __ENV.BASE + '/missing', params }, { method: 'GET', url: __ENV.BASE + '/missing', params }]);
        check(both, { 'both are missing': (all) => all.every(({ status }) => status === 404) });
      }
    `,
      { BASE: base },
    );
    assert.equal(code, 0, JSON.stringify(data.metrics, null, 1));
    assert.deepEqual(seen.slice(0, 1), ['POST /slow tp']);
    assert.equal(requests[0].metadata.trace_id, 'abc');
    const [calls] = data.root_group.groups;
    assert.deepEqual([calls.path, calls.checks[0].passes], ['::calls', 5]);
  });

  it('gives the status 0 to a request that cannot be made', async () => {
    const { code } = await runSource(`
      import http from 'k6/http';
      import { check } from 'k6';
      ${options({ ...brief, rate: 4 }, { checks: ['rate==1'], http_req_failed: ['rate==1'] })}
      export default function () {
        const answer = http.request('GET', 'http://127.0.0.1:1/', null, {});
        check(answer, { refused: ({ status, error_code }) => status === 0 && error_code === 1212 });
      }
    `);
    assert.equal(code, 0);
  });

  it('fails a check, and with it a threshold', async () => {
    const { code, data } = await runSource(`
      import { check } from 'k6';
      ${options({ ...brief, preAllocatedVUs: 2 }, { checks: ['rate==1'] })}
      export default function () { check(__ITER, { 'the first time': (time) => time === 0 }); }
    `);
    assert.equal(code, 99);
    const [{ name, passes, fails }] = data.root_group.checks;
    assert.equal(name, 'the first time');
    assert.ok(passes <= 2 && fails > 0, `${passes} and ${fails}`);
    assert.equal(passes + fails, data.metrics.iterations.values.count);
  });

  it('knows nothing of Node, and no module that k6 lacks', async () => {
    const source = (/** @type {string} */ body) => `${options(brief)}\nexport default function () { ${body} }`;
    const node = await runSource(source('process.exit(1)'));
    assert.ok(node.log.some((line) => line.includes('process is not defined')));
    const module = await runSource(`import 'node:fs';\n${source('')}`);
    assert.deepEqual([module.code, module.log.some((line) => line.includes('node:fs'))], [107, true]);
  });

  it('ends with k6’s codes where setup or the options are wrong', async () => {
    const setup = await runSource(`import { fail } from 'k6'; ${options(brief)} export function setup() { fail('no'); } export default () => {};`);
    assert.equal(setup.code, 107);
    const threshold = await runSource(`${options(brief, { checks: ['p(95)<1'] })} export default () => {};`);
    assert.equal(threshold.code, 104);
  });

  it('writes what handleSummary returns', async () => {
    const { outputs } = await runSource(`
      ${options(brief)}
      export default function () {}
      export function handleSummary(data) { return { stdout: String(data.metrics.iterations.values.count) }; }
    `);
    assert.deepEqual(outputs, { stdout: '10' });
  });
});
