// k6's notation of times.

/** @type {Record<string, number>} */
const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * `1m30s`, or a number of milliseconds; the result is in milliseconds.
 * @param {string | number | undefined} written
 * @param {string | number} [fallback]
 */
export function milliseconds(written, fallback = 0) {
  const value = written ?? fallback;
  if (typeof value === 'number') {
    return value;
  }
  const parts = [...value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  if (parts.map((part) => part[0]).join('') !== value) {
    throw new Error(`${value} is no time`);
  }
  return parts.reduce((sum, part) => sum + Number(part[1]) * UNITS[part[2]], 0);
}
