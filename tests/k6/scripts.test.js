// Every script, run for real in seconds against three replicas on a replica set: it passes where the service is well, and fails
// where a proxy makes it do wrong.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { EXIT, run } from './runtime/run.js';
import { Cluster } from './support/cluster.js';
import { ROOT } from './support/processes.js';
import { startProxy } from './support/proxy.js';

/** @typedef {import('./runtime/run.js').Outcome} Outcome */

/** @type {Cluster} */
let cluster;
before(async () => {
  cluster = await Cluster.start();
});
after(() => cluster?.stop());

/**
 * @param {string} script
 * @param {Record<string, string>} settings
 * @param {() => void} [began]
 * @returns {Promise<Outcome>}
 */
function runScript(script, settings, began) {
  const usual = { BASE_URL: cluster.urls.join(','), SUMMARY_DIR: '/results' };
  return run(join(ROOT, 'loadtest', `${script}.js`), { ...usual, ...settings }, began);
}

/**
 * The same with a proxy between.
 * @param {import('./support/proxy.js').Fault} fault
 * @param {string} script
 * @param {Record<string, string>} settings
 */
async function runBehind(fault, script, settings) {
  const proxy = await startProxy(cluster.urls, fault);
  try {
    return await runScript(script, { ...settings, BASE_URL: proxy.url });
  } finally {
    await proxy.stop();
  }
}

/**
 * The metrics whose thresholds do not hold.
 * @param {Outcome} outcome
 */
function crossed({ data }) {
  return Object.entries(data.metrics)
    .filter(([, { thresholds }]) => Object.values(thresholds || {}).some(({ ok }) => !ok))
    .map(([name]) => name.split('{')[0]);
}

/** @param {Outcome} outcome */
const told = ({ outputs, log }) => `${outputs.stdout}\n${log.join('\n')}`;

/**
 * @param {Outcome} outcome
 * @param {string} metric
 */
const counted = ({ data }, metric) => data.metrics[metric]?.values.count || 0;

/**
 * Runs it again, a few times at most, where it was late: the machine may be busy with other things for some seconds. What is wrong
 * otherwise is never excused.
 * @param {() => Promise<Outcome>} start
 * @param {(outcome: Outcome) => boolean} [isLate]
 */
async function inTime(start, isLate = (outcome) => onlyLate(outcome, [])) {
  for (let attempt = 1; ; attempt++) {
    const outcome = await start();
    if (attempt === 4 || !isLate(outcome)) {
      return outcome;
    }
    console.log(`late, so once more: ${crossed(outcome).join(', ')}`);
  }
}

/**
 * Is nothing but lateness wrong, and is that not what is looked for?
 * @param {Outcome} outcome
 * @param {string[]} wanted
 */
function onlyLate(outcome, wanted) {
  const found = crossed(outcome);
  const late = ['http_req_duration', 'dropped_iterations'].filter((metric) => !wanted.includes(metric));
  return found.length > 0 && found.every((metric) => late.includes(metric));
}

/**
 * Everything that holds of a run where the service is well.
 * @param {string} script
 * @param {Outcome} outcome
 */
function passes(script, outcome) {
  assert.equal(outcome.code, 0, told(outcome));
  assert.match(outcome.outputs.stdout, new RegExp(`^\n${script}: passed\n`), told(outcome));
  assert.deepEqual(crossed(outcome), []);
  checkTags(outcome);
  checkTraces(outcome);
  checkSummary(script, outcome);
}

const LOAD = { RATE: '40', RAMP: '1s', DURATION: '3s', VUS: '15' };
const CONTENTION = { RATE: '40', DURATION: '3s', VUS: '15' };
const UNIQUENESS = { RATE: '40', DURATION: '3s', VUS: '20', COUNTERS: '2' };
const FAILOVER = { RATE: '8', DURATION: '6s', OUTAGE: '20s', VUS: '50', EXPECT_FAULT: 'on' };

/** One after the other: they are judged by their latencies, and each would disturb the others. */
describe('where the service is well', () => {
  /** @type {[string, Record<string, string>][]} */
  const runs = [
    ['soak', { RATE: '40', DURATION: '4s', VUS: '12' }],
    ['stress', { RATE: '40', TIMES: '2', BEFORE: '1s', CLIMB: '500ms', DURATION: '1s', RECOVERY: '300ms', AFTER: '1s', VUS: '40' }],
    ['spike', { RATE: '40', TIMES: '2', BEFORE: '1s', RISE: '200ms', SCALE_UP: '800ms', DURATION: '1s', AFTER: '1s', VUS: '40' }],
    ['breakpoint', { START: '40', STEPS: '1', DURATION: '1500ms', JUDGED_AFTER: '1s', VUS: '12' }],
  ];
  for (const [script, settings] of runs) {
    it(`${script} passes`, async () => passes(script, await inTime(() => runScript(script, settings))));
  }

  it('contention passes, behind a proxy', async () => {
    passes('contention', await inTime(() => runBehind('none', 'contention', CONTENTION)));
  });

  it('load passes, and offers the rate that it says', async () => {
    const outcome = await inTime(() => runScript('load', LOAD));
    passes('load', outcome);
    // A ramp from a tenth of the rate, then the rate.
    const wanted = 40 * 0.55 + 40 * 3;
    assert.ok(Math.abs(counted(outcome, 'iterations') - wanted) <= 1, told(outcome));
    const offered = outcome.data.metrics.offered_rate.values;
    assert.deepEqual([Math.round(offered.max), offered.min < 10], [40, true]);
  });

  it('they leave nothing behind', async () => {
    assert.deepEqual(Object.values(await cluster.leftovers()).filter((count) => count > 0), []);
  });
});

describe('where nobody answers', () => {
  it('load says so, and where', async () => {
    // The port is one that the system gives to nobody.
    const outcome = await runScript('load', { ...LOAD, BASE_URL: 'http://127.0.0.1:1' });
    assert.equal(outcome.code, EXIT.exception, told(outcome));
    assert.match(told(outcome), /nobody answers at http:\/\/127\.0\.0\.1:1: is the service running/);
  });
});

describe('where a proxy is narrow', () => {
  it('breakpoint finds the step that is too much for it', async () => {
    const settings = { START: '20', STEP: '100', STEPS: '3', DURATION: '1500ms', JUDGED_AFTER: '1s', VUS: '40' };
    const found = /it held at 20 calls\/s and broke at 120 calls\/s/;
    const earlier = (/** @type {Outcome} */ outcome) => !found.test(outcome.outputs.stdout);
    const outcome = await inTime(() => runBehind('narrow', 'breakpoint', settings), earlier);
    assert.equal(outcome.code, 99, told(outcome));
    assert.match(outcome.outputs.stdout, found, told(outcome));
    assert.equal(counted(outcome, 'answers_wrong'), 0);
  });
});

describe('failover', () => {
  it('fails where a fault is expected and there is none', async () => {
    const outcome = await runScript('failover', { ...FAILOVER, DURATION: '1s', VUS: '16' });
    assert.deepEqual([outcome.code, crossed(outcome)], [99, ['definite_after']], told(outcome));
  });

  it('passes while the primary is killed, with no number twice and none skipped', async () => {
    await cluster.database.electAfter(1000);
    /** @type {Promise<number> | undefined} */
    let killing;
    const outcome = await runScript('failover', FAILOVER, () => {
      killing = new Promise((go) => setTimeout(go, 2000)).then(() => cluster.database.killPrimary());
    });
    await cluster.database.restart(await /** @type {Promise<number>} */ (killing));
    await cluster.database.electAfter(5000);
    passes('failover', outcome);
    assert.equal(counted(outcome, 'numbers_taken'), counted(outcome, 'numbers_counted'));
    console.log(outcome.outputs.stdout.split('\n').slice(1, 7).join('\n'));
  });
});

/** Several at once: whether numbers are right does not depend on the time that they take. */
describe('whatever the latencies', { concurrency: 3 }, () => {
  it('smoke passes', async () => {
    passes('smoke', await inTime(() => runScript('smoke', { RATE: '1', DURATION: '1s', VUS: '5' })));
  });

  it('uniqueness passes', async () => {
    const outcome = await inTime(() => runScript('uniqueness', UNIQUENESS));
    passes('uniqueness', outcome);
    assert.ok(counted(outcome, 'numbers_taken') > counted(outcome, 'iterations'), 'there are blocks among them');
  });

  it('uniqueness loses nothing where answers are lost', async () => {
    const outcome = await inTime(() => runBehind('lost', 'uniqueness', UNIQUENESS));
    assert.ok(counted(outcome, 'calls_repeated') >= 3, told(outcome));
    assert.deepEqual(crossed(outcome), ['slo_available'], told(outcome));
  });

  /**
   * What a proxy does wrong, and the thresholds that must catch it; others may be crossed as well.
   * @type {[import('./support/proxy.js').Fault, string, Record<string, string>, string[]][]}
   */
  const faults = [
    ['duplicate', 'uniqueness', UNIQUENESS, ['numbers_fingerprint']],
    ['duplicate', 'contention', CONTENTION, ['numbers_fingerprint']],
    ['duplicate', 'load', { ...LOAD, DURATION: '4s' }, ['numbers_fingerprint']],
    ['gap', 'uniqueness', UNIQUENESS, ['numbers_fingerprint']],
    ['swap', 'contention', CONTENTION, ['numbers_fingerprint']],
    ['repeat', 'load', LOAD, ['answers_wrong', 'checks']],
    ['slow', 'load', LOAD, ['http_req_duration']],
    ['slow', 'contention', CONTENTION, ['http_req_duration']],
    ['broken', 'load', { ...LOAD, DURATION: '4s' }, ['answers_unexpected']],
  ];
  for (const [fault, script, settings, caught] of faults) {
    it(`${script} fails where a proxy does wrong: ${fault}`, async () => {
      const start = () => runBehind(fault, script, settings);
      const outcome = await inTime(start, (late) => onlyLate(late, caught));
      assert.equal(outcome.code, 99, told(outcome));
      const found = crossed(outcome);
      assert.deepEqual(caught.filter((metric) => !found.includes(metric)), [], told(outcome));
      const difference = counted(outcome, 'numbers_taken') - counted(outcome, 'numbers_counted');
      assert.equal(difference, { duplicate: 1, gap: -1 }[/** @type {string} */ (fault)] || 0, told(outcome));
      assert.match(outcome.outputs.stdout, /: FAILED/);
      assert.match(outcome.outputs[`/results/${script}.xml`], /<failure /);
    });
  }
});

/**
 * Few values of each tag, whatever the run does.
 * @param {Outcome} outcome
 */
function checkTags({ requests, options }) {
  const series = new Set(requests.map(({ tags }) => JSON.stringify(Object.entries(tags).sort())));
  assert.ok(series.size < 100, `${series.size} series of requests`);
  const names = new Set(requests.map(({ tags }) => tags.name));
  assert.deepEqual([...names].filter((name) => /\d{2,}|vu-|shared-/.test(name)), []);
  for (const tag of ['url', 'group', 'vu', 'iter', 'error', 'ip']) {
    assert.ok(!options.systemTags.includes(tag), `the tag ${tag} has too many values`);
  }
}

/**
 * Each call has a trace of its own, which the metadata name.
 * @param {Outcome} outcome
 */
function checkTraces({ requests }) {
  const headers = requests.map((request) => request.headers.traceparent);
  assert.ok(headers.every((header) => /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/.test(header)));
  assert.equal(new Set(headers).size, headers.length);
  const named = requests.filter(({ metadata }) => metadata.trace_id);
  assert.ok(named.every(({ metadata, headers: { traceparent } }) => traceparent.includes(metadata.trace_id)));
  assert.ok(named.length > requests.length / 2);
}

/**
 * @param {string} script
 * @param {Outcome} outcome
 */
function checkSummary(script, { outputs, options }) {
  const result = JSON.parse(outputs[`/results/${script}.json`]);
  assert.deepEqual([result.script, result.passed], [script, true]);
  assert.match(result.settings.BASE_URL, /^http:\/\/127\.0\.0\.1:/);
  assert.doesNotMatch(JSON.stringify(result), /eyJ|Bearer/, 'no token in a result');
  const asked = Object.values(options.thresholds).flat().length;
  const shown = Object.keys(options.thresholds).filter((metric) => metric.includes('{name:')).length;
  assert.equal(result.thresholds.length, asked - shown);
  const xml = outputs[`/results/${script}.xml`];
  assert.equal(xml.match(/<testcase /g)?.length, result.thresholds.length + result.checks.length);
  assert.match(xml, new RegExp(`<testsuites tests="${result.thresholds.length + result.checks.length}" failures="0"`));
}
