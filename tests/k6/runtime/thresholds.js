// What `options.thresholds` asks for, and whether it is so.

import { milliseconds } from './time.js';

/** @type {Record<string, RegExp>} */
const AGGREGATES = {
  counter: /^(count|rate)$/,
  gauge: /^value$/,
  rate: /^rate$/,
  trend: /^(avg|min|max|med|p\(\d+(\.\d+)?\))$/,
};

/** @type {Record<string, (one: number, other: number) => boolean>} */
const OPERATORS = {
  '<': (one, other) => one < other,
  '<=': (one, other) => one <= other,
  '>': (one, other) => one > other,
  '>=': (one, other) => one >= other,
  '==': (one, other) => one === other,
  '===': (one, other) => one === other,
  '!=': (one, other) => one !== other,
};

/**
 * @typedef {object} Threshold
 * @property {string} metric
 * @property {string} source The expression as it was written.
 * @property {boolean} abortOnFail
 * @property {number} delay In milliseconds.
 * @property {boolean} empty Has the metric no sample yet?
 * @property {(seconds: number) => boolean} holds
 */

/**
 * Reads all of them; throws where k6 would not start.
 * @param {Record<string, any[]>} options
 * @param {import('./metrics.js').Registry} registry
 * @returns {Threshold[]}
 */
export function readThresholds(options, registry) {
  return Object.entries(options).flatMap(([selector, expressions]) => {
    const { metric, sink } = registry.select(selector);
    return expressions.map((expression) => {
      const wanted = typeof expression === 'string' ? { threshold: expression } : expression;
      const source = wanted.threshold;
      const parts = /^\s*(\w+(?:\([\d.]+\))?)\s*(<=|>=|===|==|!=|<|>)\s*(-?[\d.]+)\s*$/.exec(source);
      if (!parts || !AGGREGATES[metric.type].test(parts[1])) {
        throw new Error(`${selector}: ${source} is no threshold of a ${metric.type}`);
      }
      const [, aggregate, operator, limit] = parts;
      return {
        metric: selector,
        source,
        abortOnFail: Boolean(wanted.abortOnFail),
        delay: milliseconds(wanted.delayAbortEval),
        get empty() {
          return sink.count === 0;
        },
        // As in k6, a rate of nothing is no number, and its threshold is not evaluated; all else counts as 0.
        holds: (seconds) =>
          (metric.type === 'rate' && sink.count === 0) ||
          OPERATORS[operator](/** @type {any} */ (sink.values(seconds, [aggregate]))[aggregate], Number(limit)),
      };
    });
  });
}
