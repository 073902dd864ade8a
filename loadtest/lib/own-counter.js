// A counter that nobody but one virtual user touches: it knows what each answer must say.

import { check } from 'k6';

import { send, tellWrong } from './client.js';

const TOP = 2 ** 53 - 1;

export class OwnCounter {
  /** What it can stand at: one value, until a call ends unknown. */
  #low = 0;
  #high = 0;
  /** Has a call that makes it been answered? */
  used = false;

  /**
   * @param {string} name `default`, or any other.
   * @param {number} start
   */
  constructor(name, start) {
    this.name = name;
    this.#low = start;
    this.#high = start;
  }

  /**
   * @param {'next' | 'current'} what
   * @param {string} [query]
   */
  #paths(what, query = '') {
    if (this.name === 'default') {
      return { route: `/v1/${what}`, path: `/v1/${what}${query}` };
    }
    return { route: `/v1/counters/{name}/${what}`, path: `/v1/counters/${this.name}/${what}${query}` };
  }

  /**
   * Takes a number, or a block, and checks that it is the one after the last.
   * @param {string} token
   * @param {number} [block]
   */
  next(token, block) {
    const answer = send({ method: 'POST', ...this.#paths('next', block ? `?count=${block}` : ''), token });
    if (answer.outcome === 'unknown') {
      // It may have been taken: the only way in which a number may be skipped.
      this.#high = Math.min(this.#high + (block || 1), TOP);
    }
    if (answer.outcome !== 'ok') {
      return answer;
    }
    const { previous } = answer.body;
    const first = block ? answer.body.first : answer.body.value;
    const last = block ? answer.body.last : answer.body.value;
    const right = check(answer, {
      'an own counter goes up by one': () =>
        previous >= this.#low && previous <= this.#high && first === previous + 1 && last - first === (block || 1) - 1,
    });
    if (!right) {
      tellWrong(`${this.name} stood at ${this.#stands()}`, answer);
    }
    this.#low = this.#high = last;
    this.used = true;
    return answer;
  }

  /**
   * Reads it, and checks that it stands where it was left.
   * @param {string} token
   */
  read(token) {
    // A named counter that was never used is not there.
    const refusals = this.used ? [] : [404];
    const answer = send({ method: 'GET', ...this.#paths('current'), token, refusals });
    if (answer.outcome === 'ok') {
      const { value } = answer.body;
      const right = check(answer, {
        'an own counter stands where it was left': () => value >= this.#low && value <= this.#high,
      });
      if (!right) {
        tellWrong(`${this.name} stood at ${this.#stands()}`, answer);
      }
      this.#low = this.#high = value;
    }
    return answer;
  }

  /**
   * Sets it higher, and checks what it stood at before.
   * @param {string} token
   */
  jump(token) {
    const to = this.#high + 1000;
    const answer = send({ method: 'PUT', ...this.#paths('current'), token, body: { current: to } });
    if (answer.outcome === 'unknown') {
      this.#high = to;
    }
    if (answer.outcome === 'ok') {
      const { previous, value } = answer.body;
      const right = check(answer, {
        'a set counter says what it stood at': () => previous >= this.#low && previous <= this.#high && value === to,
      });
      if (!right) {
        tellWrong(`${this.name} stood at ${this.#stands()} and was set to ${to}`, answer);
      }
      this.#low = this.#high = to;
      this.used = true;
    }
    return answer;
  }

  #stands() {
    return this.#low === this.#high ? this.#low : `${this.#low} to ${this.#high}`;
  }
}
