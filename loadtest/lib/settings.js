// What a run is told, through environment variables (`k6 run -e RATE=300 load.js`). A wrong value stops the run before it
// begins, and everything that was read is repeated in the summary, so that a result says how it was made.

/** @type {Record<string, string | number | boolean>} */
const read = {};

/** All settings that the script has read, with the values in use. */
export function settings() {
  return { ...read };
}

/**
 * @param {string} name
 * @param {string} fallback
 */
export function text(name, fallback) {
  return (read[name] = __ENV[name] || fallback);
}

/**
 * A whole number of at least `least`.
 * @param {string} name
 * @param {number} fallback
 * @param {number} [least]
 */
export function count(name, fallback, least = 1) {
  const value = number(name, fallback);
  if (!Number.isInteger(value) || value < least) {
    throw new Error(`${name}=${value} must be a whole number of at least ${least}`);
  }
  return value;
}

/**
 * A number of 0 or more.
 * @param {string} name
 * @param {number} fallback
 */
export function number(name, fallback) {
  const value = Number(__ENV[name] || fallback);
  if (!Number.isFinite(value) || value < 0) {
    throw new Error(`${name}=${__ENV[name]} must be a number of 0 or more`);
  }
  read[name] = value;
  return value;
}

/**
 * @param {string} name
 * @param {boolean} fallback
 */
export function flag(name, fallback) {
  const value = (__ENV[name] || (fallback ? 'on' : 'off')).toLowerCase();
  if (value !== 'on' && value !== 'off') {
    throw new Error(`${name}=${__ENV[name]} must be on or off`);
  }
  return (read[name] = value === 'on');
}

/**
 * A time in k6's notation (`90s`, `1h30m`, `500ms`), in seconds.
 * @param {string} name
 * @param {string} fallback
 */
export function seconds(name, fallback) {
  const written = text(name, fallback);
  const parts = [...written.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join('') !== written) {
    throw new Error(`${name}=${written} must be a time such as 90s, 5m or 1h30m`);
  }
  /** @type {Record<string, number>} */
  const units = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };
  return parts.reduce((sum, part) => sum + Number(part[1]) * units[part[2]], 0);
}

/**
 * The service's addresses. Several can be named, separated by commas: each call goes to the next, and a call that is repeated
 * goes to another.
 */
export const BASE_URLS = text('BASE_URL', 'http://127.0.0.1:8080')
  .split(',')
  .map((url) => url.trim().replace(/\/+$/, ''));
