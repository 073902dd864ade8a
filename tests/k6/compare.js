// node tests/k6/compare.js FILE: runs `load` on the stand-in and the same mix of calls with vegeta, at the same constant rate, one
// after the other and again, and writes a table of their latencies. Both begin calls when they are due, whatever the service does.
// Then it runs other scripts, one of them while the primary is killed, and writes what they measured: so looks a healthy service.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';

import { run } from './runtime/run.js';
import { Cluster } from './support/cluster.js';
import { ROOT, directory } from './support/processes.js';

const GO = join(ROOT, '.tools/go/bin/go');
const VEGETA = join(ROOT, '.tools/bin/vegeta');
/** Calls a second: that of `load`, unless RATE says otherwise. */
const RATE = Number(process.env.RATE || /number\('RATE', (\d+)\)/.exec(readFileSync(join(ROOT, 'loadtest/load.js'), 'utf8'))?.[1]);
const SECONDS = Number(process.env.SECONDS || 20);
/** Left out at the begin: connections are opened, counters are made. */
const WARM_UP = 3;
/** Three, so that a moment in which something else had the machine is one of three. */
const ROUNDS = 3;
const USERS = 4;
const COUNTERS = 100;

/** @typedef {{ route: string, milliseconds: number, status: number }} Call */

/**
 * @param {Cluster} cluster
 * @returns {Promise<Call[]>}
 */
async function standIn(cluster) {
  const settings = { BASE_URL: cluster.urls.join(','), RATE: String(RATE), RAMP: `${WARM_UP}s`, DURATION: `${SECONDS}s` };
  const { requests, outputs } = await run(join(ROOT, 'loadtest/load.js'), { ...settings, VUS: '60', USERS: String(USERS) });
  process.stdout.write(outputs.stdout);
  return requests
    .filter(({ tags }) => tags.phase === 'held')
    .map(({ tags, status, duration }) => ({ route: tags.name, milliseconds: duration, status }));
}

/** @type {[string, Record<string, string>][]} */
const HEALTHY = [
  ['contention', { RATE: '200', DURATION: '10s', VUS: '50' }],
  ['uniqueness', { RATE: '100', DURATION: '10s', VUS: '40' }],
  ['spike', { RATE: '40', TIMES: '5', BEFORE: '5s', RISE: '1s', SCALE_UP: '4s', DURATION: '5s', AFTER: '5s', VUS: '60' }],
  ['failover', { RATE: '20', DURATION: '15s', OUTAGE: '20s', VUS: '200', EXPECT_FAULT: 'on' }],
];

/**
 * A line of the table for one script.
 * @param {Cluster} cluster
 * @param {string} script
 * @param {Record<string, string>} settings
 */
async function healthy(cluster, script, settings) {
  const kill = () => void setTimeout(() => script === 'failover' && cluster.database.killPrimary(), 5000);
  const outcome = await run(join(ROOT, 'loadtest', `${script}.js`), { BASE_URL: cluster.urls.join(','), ...settings }, kill);
  process.stdout.write(outcome.outputs.stdout);
  const calls = outcome.requests
    .filter(({ tags }) => tags.phase && tags.slo)
    .map(({ tags, status, duration }) => ({ route: tags.name, milliseconds: duration, status }));
  const count = (/** @type {string} */ metric) => outcome.data.metrics[metric]?.values.count || 0;
  const shown = Object.entries(settings).filter(([name]) => name !== 'VUS').map(([name, value]) => `${name}=${value}`);
  const numbers = `${count('numbers_taken')} of ${count('numbers_counted')}`;
  const longest = (outcome.data.metrics['definite_after']?.values.max || 0) / 1000;
  const verdict = outcome.code === 0 ? 'passed' : 'failed';
  return `| \`${script}\`, ${shown.join(' ')} | ${calls.length} | ${cells(figures(calls, 'all'))} | ${longest.toFixed(2)} | ${numbers} | ${verdict} |`;
}

/**
 * @param {Cluster} cluster
 * @returns {Promise<Call[]>}
 */
async function vegeta(cluster) {
  const work = directory();
  try {
    const targets = join(work.path, 'targets.json');
    writeFileSync(targets, (await everydayCalls(cluster)).map((target) => `${JSON.stringify(target)}\n`).join(''));
    const attack = ['attack', '-format=json', `-targets=${targets}`, `-rate=${RATE}/s`, `-duration=${WARM_UP + SECONDS}s`];
    const output = join(work.path, 'results.bin');
    execFileSync(VEGETA, [...attack, `-output=${output}`]);
    const lines = execFileSync(VEGETA, ['encode', '-to=json', output], { maxBuffer: 1 << 30, encoding: 'utf8' }).trim().split('\n');
    const calls = lines.map((line) => JSON.parse(line));
    const begin = Math.min(...calls.map(({ timestamp }) => Date.parse(timestamp)));
    return calls
      .filter(({ timestamp }) => Date.parse(timestamp) >= begin + WARM_UP * 1000)
      .map(({ url, latency, code }) => ({ route: routeOf(url), milliseconds: latency / 1e6, status: code }));
  } finally {
    work.remove();
  }
}

/**
 * The mix of loadtest/lib/callers.js, as vegeta's targets.
 * @param {Cluster} cluster
 */
async function everydayCalls(cluster) {
  /** @type {string[]} */
  const tokens = [];
  for (let user = 0; user < USERS; user += 1) {
    const answer = await fetch(`${cluster.urls[0]}/v1/register`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ email: `vegeta-${Date.now()}-${user}@loadtest.invalid`, password: 'correct horse battery' }),
    });
    tokens.push(/** @type {any} */ (await answer.json()).token);
  }
  return Array.from({ length: RATE * (WARM_UP + SECONDS) }, (_, index) => {
    const base = cluster.urls[index % cluster.urls.length];
    const counter = Math.floor(Math.random() * COUNTERS);
    const own = `/v1/counters/vu-${counter}`;
    const dice = Math.random() * 100;
    /** @type {[string, string, object?, string?]} */
    const [method, path, body, key] =
      dice < 60
        ? ['POST', `${own}/next`]
        : dice < 75
          ? ['POST', '/v1/counters/shared-0/next', undefined, `vegeta-${Date.now()}-${index}`]
          : dice < 90
            ? ['GET', `${own}/current`]
            : dice < 94
              ? ['POST', `${own}/next?count=10`]
              : dice < 96
                ? ['PUT', `${own}/current`, { current: 1_000_000 + index }]
                : dice < 98
                  ? ['GET', '/v1/counters?limit=1000']
                  : ['GET', '/v1/me'];
    const shared = path.includes('shared');
    const header = {
      Authorization: [`Bearer ${tokens[shared ? 0 : counter % USERS]}`],
      ...(body ? { 'Content-Type': ['application/json'] } : {}),
      ...(key ? { 'Idempotency-Key': [key] } : {}),
    };
    return { method, url: base + path, header, ...(body ? { body: Buffer.from(JSON.stringify(body)).toString('base64') } : {}) };
  });
}

/** @param {string} url */
function routeOf(url) {
  return new URL(url).pathname.replace(/^\/v1\/counters\/[^/]+\//, '/v1/counters/{name}/');
}

/**
 * The default counter's routes are counted with the named ones: the stand-in's callers use both.
 * @param {string} route
 */
const kind = (route) => route.replace('/v1/counters/{name}/', '/v1/…/').replace(/^\/v1\/(next|current)$/, '/v1/…/$1');

/**
 * @param {number[]} sorted
 * @param {number} part
 */
const percentile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];

/**
 * @param {Call[]} calls
 * @param {string} route
 */
function figures(calls, route) {
  const times = calls
    .filter((call) => route === 'all' || kind(call.route) === route)
    .map(({ milliseconds }) => milliseconds)
    .sort((one, other) => one - other);
  return [0.5, 0.95, 0.99].map((part) => percentile(times, part));
}

const cells = (/** @type {number[]} */ values) => values.map((value) => value.toFixed(2)).join(' | ');

const [file] = process.argv.slice(2);
const cluster = await Cluster.start();
const before = loadavg()[0];
/** @type {[Call[], Call[]][]} */
const rounds = [];
for (let round = 0; round < ROUNDS; round += 1) {
  rounds.push([await standIn(cluster), await vegeta(cluster)]);
}
const healthyRows = [];
for (const [script, settings] of HEALTHY) {
  healthyRows.push(await healthy(cluster, script, settings));
}
await cluster.stop();

const bad = rounds.flat(2).filter(({ status }) => status >= 400 && status !== 404);
const ROUTES = ['all', '/v1/…/next', '/v1/…/current'];
const rows = rounds.flatMap(([ours, theirs], round) =>
  ROUTES.map((route) => ({ round: String(round + 1), route, ours: figures(ours, route), theirs: figures(theirs, route) })),
);
/** @param {number[]} values */
const middle = (values) => percentile([...values].sort((one, other) => one - other), 0.5);
const medians = ROUTES.map((route) => {
  const own = rows.filter((row) => row.route === route);
  return {
    round: 'median of the rounds',
    route,
    ours: [0, 1, 2].map((index) => middle(own.map(({ ours }) => ours[index]))),
    theirs: [0, 1, 2].map((index) => middle(own.map(({ theirs }) => theirs[index]))),
  };
});
/**
 * By how much the two differ at most.
 * @param {typeof rows} which
 * @param {number} column
 */
const factor = (which, column) =>
  Math.max(...which.map(({ ours, theirs }) => Math.max(ours[column] / theirs[column], theirs[column] / ours[column]))).toFixed(2);
const tail = medians.every(({ ours, theirs }) => ours[2] > theirs[2])
  ? " At p99 the stand-in's are the longer: take them for upper bounds."
  : '';
// The scheduling policy of this process: 0 is the normal one, 1 and 2 are real time.
const policy = Number(readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ')[38]);
/** @param {typeof rows[number]} row */
const line = ({ round, route, ours, theirs }) =>
  `| ${round} | ${route} | ${cells(ours)} | ${cells(theirs)} | ${cells(ours.map((value, index) => value / theirs[index]))} |`;
const commit = execFileSync('git', ['-C', ROOT, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
const version = execFileSync(GO, ['version', '-m', VEGETA], { encoding: 'utf8' }).match(/vegeta\/v12\s+(v\S+)/)?.[1];
const text = `# Latencies of the open loop, by two generators

<!-- Written by \`make loadtest-compare\`. -->

The \`load\` script on the stand-in for k6, and the same mix of calls with vegeta, an independent generator of open-loop load: ${RATE}
calls a second for ${SECONDS} s after ${WARM_UP} s to warm up, at three replicas on a replica set of three, ${ROUNDS} rounds by turns. If the
stand-in were late with calls, or slow to see answers, its latencies would be longer than vegeta's.

**By the medians of the rounds the two differ by a factor of ${factor(medians, 0)} at most at p50, ${factor(medians, 1)} at p95 and ${factor(medians, 2)} at p99**, in single rounds by
${factor(rows, 0)}, ${factor(rows, 1)} and ${factor(rows, 2)}.${tail} ${bad.length} of ${rounds.flat(2).length} calls failed.

| round | route | stand-in p50 ms | p95 | p99 | vegeta p50 ms | p95 | p99 | stand-in ÷ vegeta p50 | p95 | p99 |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|
${[...rows, ...medians].map(line).join('\n')}

## A healthy service

The same replicas under other scripts. \`failover\` ran while the primary was killed (this set elects after 5 s without a primary; MongoDB's
default is 10 s). Milliseconds are those of \`next\` and \`current\`; the longest wait is from a call's first attempt to its definite answer,
repeats included; numbers are those of shared counters that callers got, of those that the counters stand for.

| script | calls | p50 ms | p95 | p99 | longest wait s | numbers | thresholds |
|---|---:|---:|---:|---:|---:|---:|---|
${healthyRows.join('\n')}

| fact | |
|---|---|
| date | ${new Date().toISOString()} |
| commit | ${commit} |
| CPU | ${cpus()[0].model.trim()}, ${cpus().length} cores, shared by generator, service and databases |
| load average before | ${before.toFixed(2)}, the replica set's start included |
| scheduling | ${policy === 0 ? 'normal' : 'real time, for other programs used the machine'} |
| vegeta | ${version} |
| Node | ${process.version} |
`;
if (file) {
  writeFileSync(file, text);
}
process.stdout.write(text);
