// What people type: `make loadtest`, and `loadtest/kubernetes/run`. k6 and the cluster are played by scripts that say how they were
// called.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';

import { KUSTOMIZE, ROOT, directory } from './support/processes.js';

const SYSTEM = '/usr/local/bin:/usr/bin:/bin';
const work = directory();
after(() => work.remove());

/**
 * @param {string} name
 * @param {string} body
 */
function program(name, body) {
  const path = join(work.path, name);
  writeFileSync(path, `#!/bin/bash\n${body}\n`, { mode: 0o755 });
  return path;
}

/**
 * @param {string[]} words
 * @param {Record<string, string>} [env]
 */
function call([command, ...words], env = {}) {
  return spawnSync(command, words, { cwd: ROOT, env: { PATH: SYSTEM, ...env }, encoding: 'utf8' });
}

const scripts = readdirSync(join(ROOT, 'loadtest'))
  .filter((name) => name.endsWith('.js'))
  .map((name) => name.replace('.js', ''));

describe('make loadtest', () => {
  it('says how to get k6 where there is none', () => {
    const { status, stderr } = call(['make', 'loadtest', 'SCRIPT=smoke', 'K6=no-such-k6'], { K6: 'no-such-k6' });
    assert.equal(status, 2);
    assert.match(stderr, /there is no k6 here/);
    assert.match(stderr, /grafana\.com\/docs\/k6\/latest\/set-up\/install-k6/);
  });

  it('runs k6 where it is, with the settings of the environment', () => {
    const k6 = program('k6', 'echo "$PWD: $* RATE=$RATE $K6_NEW_MACHINE_READABLE_SUMMARY"; exit 99');
    const { status, stdout } = call(['scripts/run-k6', 'load', '--out', 'json=numbers.json'], { K6: k6, RATE: '300' });
    assert.equal(status, 99, 'k6’s exit code');
    const results = join(ROOT, 'target/loadtest');
    assert.equal(
      stdout.trim(),
      `${join(ROOT, 'loadtest')}: run -e SUMMARY_DIR=${results} --out json=numbers.json load.js RATE=300 false`,
    );
  });

  it('lists the scripts where none is named', () => {
    for (const words of [[], ['no-such-script']]) {
      const { status, stderr } = call(['scripts/run-k6', ...words]);
      assert.equal(status, 64);
      assert.deepEqual(scripts.filter((script) => !stderr.includes(script)), []);
    }
  });
});

describe('loadtest/kubernetes/run', () => {
  const kubectl = (/** @type {string} */ body = '') =>
    program('kubectl', `if [[ $1 == kustomize ]]; then exec '${KUSTOMIZE}' build "$2"; fi\n${body}`);
  const PATH = `${work.path}:${SYSTEM}`;

  for (const script of ['load', 'spike']) {
    it(`renders ${script}`, () => {
      kubectl();
      const { status, stdout } = call(['loadtest/kubernetes/run', '--render', script], { PATH });
      assert.equal(status, 0);
      assert.match(stdout, new RegExp(`localFile: /loadtest/${script}\\.js\n`));
      assert.match(stdout, new RegExp(`arguments: --tag testid=${script}\n`));
    });
  }

  it('tags a run with its TEST_ID', () => {
    const { stdout } = call(['loadtest/kubernetes/run', '--render', 'spike', 'TEST_ID=spike-2026-11-27']);
    assert.match(stdout, /arguments: --tag testid=spike-2026-11-27\n/);
    for (const id of ['two words', 'a#b']) {
      assert.equal(call(['loadtest/kubernetes/run', '--render', 'spike', `TEST_ID=${id}`]).status, 64, id);
    }
  });

  it('applies, follows the log, and ends with k6’s exit code', () => {
    const calls = join(work.path, 'calls');
    kubectl(
      `echo "$*" >>'${calls}'
case "$*" in
*"apply --filename -") cat >>'${calls}.applied' ;;
*"get pods"*jsonpath*) printf '0\\n99\\n' ;;
*"get pods"*) echo pod/loadtest-1 ;;
*logs*) echo 'spike: FAILED' ;;
*configmap*) echo "$*" ;;
esac`,
    );
    const { status, stdout } = call(['loadtest/kubernetes/run', 'spike', 'RATE=200', 'TIMES=5'], { PATH });
    assert.equal(status, 99);
    assert.match(stdout, /spike: FAILED/);
    const applied = readFileSync(`${calls}.applied`, 'utf8');
    assert.match(applied, /localFile: \/loadtest\/spike\.js/);
    assert.match(applied, /--from-literal=RATE=200 --from-literal=TIMES=5/);
    assert.match(readFileSync(calls, 'utf8'), /delete testrun loadtest --ignore-not-found/);
  });

  it('refuses what is no script or no setting', () => {
    assert.equal(call(['loadtest/kubernetes/run', 'no-such-script']).status, 64);
    assert.equal(call(['loadtest/kubernetes/run', 'load', 'RATE']).status, 64);
  });
});
