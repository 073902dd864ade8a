// What a run says at its end: text for people on standard output (or what SUMMARY asks for), and all forms in SUMMARY_DIR.

import { SHOWN } from './open-model.js';
import { settings, text } from './settings.js';

const DIRECTORY = text('SUMMARY_DIR', '');
/** `text`, `json` or `junit`: where only standard output is at hand, as in a pod. */
const FORM = text('SUMMARY', 'text');

/**
 * @typedef {{ type: string, contains: string, values: Record<string, number>, thresholds?: Record<string, { ok: boolean }> }} Metric
 * @typedef {{ metric: string, expression: string, ok: boolean, value: number | null }} Threshold
 * @typedef {{ name: string, passes: number, fails: number }} Check
 * @typedef {{ script: string, passed: boolean, seconds: number, settings: Record<string, any>, thresholds: Threshold[],
 *   checks: Check[], metrics: Record<string, Metric> }} Result
 */

/**
 * To be called by a script's `handleSummary`.
 * @param {string} script
 * @param {any} data What k6 gives to `handleSummary`.
 * @param {(result: Result) => string[]} [more] Lines of this script's own.
 * @returns {Record<string, string>}
 */
export function summarize(script, data, more = () => []) {
  const result = resultOf(script, data);
  const forms = {
    text: inText(result, more(result)),
    json: `${JSON.stringify(result, null, 2)}\n`,
    junit: inJUnit(result),
  };
  /** @type {Record<string, string>} */
  const outputs = { stdout: FORM === 'json' || FORM === 'junit' ? forms[FORM] : forms.text };
  if (DIRECTORY) {
    outputs[`${DIRECTORY}/${script}.txt`] = forms.text;
    outputs[`${DIRECTORY}/${script}.json`] = forms.json;
    outputs[`${DIRECTORY}/${script}.xml`] = forms.junit;
  }
  return outputs;
}

/**
 * @param {string} script
 * @param {any} data
 * @returns {Result}
 */
function resultOf(script, data) {
  if (!data.metrics || !data.root_group) {
    throw new Error('unknown form of summary: run k6 with K6_NEW_MACHINE_READABLE_SUMMARY=false');
  }
  /** @type {Record<string, Metric>} */
  const metrics = data.metrics;
  const thresholds = Object.entries(metrics).flatMap(([name, metric]) =>
    Object.entries(metric.thresholds || {})
      .filter(([expression]) => expression !== SHOWN)
      .map(([expression, { ok }]) => ({ metric: name, expression, ok, value: valueOf(metric, expression) })),
  );
  return {
    script,
    passed: thresholds.every(({ ok }) => ok),
    seconds: data.state.testRunDurationMs / 1000,
    settings: settings(),
    thresholds,
    checks: checksOf(data.root_group),
    metrics,
  };
}

/**
 * What a threshold looked at, where the summary has it.
 * @param {Metric} metric
 * @param {string} expression
 */
function valueOf(metric, expression) {
  const aggregate = expression.split(/[<>=!]/)[0].trim();
  const value = metric.values[aggregate];
  return value === undefined ? null : value;
}

/**
 * @param {any} group
 * @returns {Check[]}
 */
function checksOf(group) {
  // Newer versions of k6 give lists, older ones objects.
  const checks = Object.values(group.checks || []);
  const groups = Object.values(group.groups || []);
  return [
    ...checks.map(({ name, passes, fails }) => ({ name: group.name ? `${group.name}: ${name}` : name, passes, fails })),
    ...groups.flatMap(checksOf),
  ];
}

/**
 * @param {Result} result
 * @param {string[]} more
 */
function inText(result, more) {
  const { script, passed, thresholds, checks } = result;
  const failed = thresholds.filter(({ ok }) => !ok).length;
  const lines = ['', `${script}: ${passed ? 'passed' : `FAILED, ${failed} of ${thresholds.length} thresholds`}`, ''];
  lines.push(`  against ${result.settings.BASE_URL}`, ...more, ...rates(result), '', ...routes(result), '');
  lines.push(
    ...thresholds.map(
      ({ metric, expression, ok, value }) =>
        `  ${ok ? 'ok  ' : 'FAIL'} ${metric} ${expression}${value === null ? '' : `  (${figure(value)})`}`,
    ),
    '',
    ...checks.map(({ name, passes, fails }) =>
      fails ? `  FAIL ${name}: ${fails} of ${passes + fails}` : `  ok   ${name}: ${passes}`,
    ),
    '',
  );
  return `${lines.join('\n')}\n`;
}

/** @param {Result} result */
function rates({ metrics, seconds }) {
  /** @param {string} name */
  const total = (name) => (metrics[name] ? metrics[name].values.count : 0);
  const lines = [
    `  ${total('iterations')} iterations in ${figure(seconds)} s, ${total('dropped_iterations')} dropped; ` +
      `${total('http_reqs')} requests, ${total('calls_repeated')} of them repeats`,
  ];
  if (total('numbers_taken') > 0) {
    const difference = total('numbers_taken') - total('numbers_counted');
    const verdict =
      difference > 0 ? `, ${difference} too many: handed out twice` : difference < 0 ? `, ${-difference} missing` : '';
    lines.push(
      `  ${total('numbers_taken')} numbers of shared counters taken, which stand for ${total('numbers_counted')}${verdict}`,
    );
  }
  return lines;
}

/** @param {Result} result */
function routes({ metrics }) {
  const rows = Object.entries(metrics).flatMap(([name, { values }]) => {
    const route = /^http_req_duration\{name:(.*)\}$/.exec(name);
    return route && values.count > 0 ? [[route[1], ...['count', 'med', 'p(95)', 'p(99)', 'max'].map((key) => figure(values[key]))]] : [];
  });
  const table = [['milliseconds', 'calls', 'p50', 'p95', 'p99', 'max'], ...rows];
  return table.map((row) => `  ${row[0].padEnd(32)}${row.slice(1).map((cell) => cell.padStart(10)).join('')}`);
}

/** @param {number} value */
function figure(value) {
  return Number.isInteger(value) ? String(value) : value.toPrecision(4);
}

/** @param {Result} result */
function inJUnit({ script, thresholds, checks, seconds }) {
  const cases = [
    ...thresholds.map(({ metric, expression, ok, value }) => ({
      group: 'thresholds',
      name: `${metric} ${expression}`,
      failure: ok ? '' : `is ${value === null ? 'not so' : figure(value)}`,
    })),
    ...checks.map(({ name, passes, fails }) => ({
      group: 'checks',
      name,
      failure: fails ? `${fails} of ${passes + fails} failed` : '',
    })),
  ];
  const failures = cases.filter(({ failure }) => failure).length;
  const attributes = `tests="${cases.length}" failures="${failures}" time="${seconds.toFixed(3)}"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites ${attributes}>`,
    `  <testsuite name="${escape(script)}" ${attributes}>`,
    ...cases.map(({ group, name, failure }) => {
      const open = `    <testcase classname="${escape(script)}.${group}" name="${escape(name)}"`;
      return failure ? `${open}><failure message="${escape(failure)}"/></testcase>` : `${open}/>`;
    }),
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

/** @param {string} written */
function escape(written) {
  return written.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}
