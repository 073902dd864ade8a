// When the iterations of the arrival-rate executors are due.

import { milliseconds } from './time.js';

/**
 * Times from the scenario's start, in milliseconds, in order.
 * @param {any} scenario
 * @returns {Generator<number>}
 */
export function* arrivals(scenario) {
  const unit = milliseconds(scenario.timeUnit, '1s');
  const stages =
    scenario.executor === 'constant-arrival-rate'
      ? [{ target: scenario.rate, duration: scenario.duration }]
      : scenario.stages;
  let rate = (scenario.executor === 'constant-arrival-rate' ? scenario.rate : scenario.startRate || 0) / unit;
  let begin = 0;
  // So many iterations were due before this stage, as a fraction; so many have been given out.
  let due = 0;
  let given = 0;
  for (const stage of stages) {
    const length = milliseconds(stage.duration);
    const target = stage.target / unit;
    const inStage = ((rate + target) / 2) * length;
    while (given < due + inStage - 1e-9) {
      yield begin + reach(Math.max(0, given - due), rate, target, length);
      given += 1;
    }
    due += inStage;
    begin += length;
    rate = target;
  }
}

/** @param {any} scenario */
export function lengthOf(scenario) {
  return scenario.executor === 'constant-arrival-rate'
    ? milliseconds(scenario.duration)
    : scenario.stages.reduce((/** @type {number} */ sum, /** @type {any} */ stage) => sum + milliseconds(stage.duration), 0);
}

/**
 * After how long have so many iterations been due, if the rate goes from `from` to `to` within `length`?
 * @param {number} count
 * @param {number} from
 * @param {number} to
 * @param {number} length
 */
function reach(count, from, to, length) {
  if (count === 0) {
    return 0;
  }
  const slope = (to - from) / length;
  if (Math.abs(slope) < 1e-15) {
    return count / from;
  }
  // count = from * t + slope * t² / 2, in the form that loses no digits.
  return (2 * count) / (from + Math.sqrt(Math.max(0, from * from + 2 * slope * count)));
}
