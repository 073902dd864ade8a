// One run of a script, from its options to its exit code: a stand-in for `k6 run`, for the part of k6 that our scripts use.

import { Registry } from './metrics.js';
import { arrivals, lengthOf } from './schedule.js';
import { load } from './sources.js';
import { summaryData } from './summary.js';
import { readThresholds } from './thresholds.js';
import { milliseconds } from './time.js';
import { VirtualUser } from './virtual-user.js';

/** k6's exit codes. */
export const EXIT = { passed: 0, thresholds: 99, setupTimeout: 100, teardownTimeout: 101, badOptions: 104, exception: 107 };

/** Tags that k6 adds by itself, and `systemTags` can leave out. */
const SYSTEM_TAGS = ['name', 'method', 'status', 'scenario', 'expected_response', 'check', 'error', 'error_code', 'group', 'url'];

/** Thresholds that can end a run are looked at so often, in milliseconds; k6 does it every 2 s, for its runs are longer. */
const LOOK = 250;

/**
 * @typedef {object} Outcome
 * @property {number} code The exit code.
 * @property {any} options
 * @property {any} [data] What `handleSummary` got.
 * @property {Record<string, string>} outputs What it returned: `stdout`, and files by their paths.
 * @property {string[]} log Lines of the script's console and of the run.
 * @property {{ tags: Record<string, string>, metadata: Record<string, string>, headers: Record<string, string>, status: number,
 *   duration: number, at: number }[]} requests Each request, for tests to look at.
 */

/**
 * @param {string} script
 * @param {Record<string, string>} env
 * @param {() => void} [began] Called when the first iterations begin.
 * @returns {Promise<Outcome>}
 */
export async function run(script, env = {}, began = () => {}) {
  const test = new TestRun(script, env, began);
  try {
    return await test.run();
  } finally {
    await test.stop();
  }
}

class TestRun {
  #registry = new Registry();
  /** @type {VirtualUser[]} */
  #users = [];
  /** @type {VirtualUser[]} */
  #idle = [];
  /** @type {import('./thresholds.js').Threshold[]} */
  #thresholds = [];
  /** @type {any} */
  #options = {};
  #begin = 0;
  #active = 0;
  #aborted = false;
  /** @type {string[]} */
  #log = [];
  /** @type {Outcome['requests']} */
  #requests = [];

  /**
   * @param {string} script
   * @param {Record<string, string>} env
   * @param {() => void} began
   */
  constructor(script, env, began) {
    this.sources = load(script);
    this.env = env;
    this.began = began;
  }

  /** @returns {Promise<Outcome>} */
  async run() {
    const conductor = this.#user(0);
    let exports;
    try {
      const ready = await conductor.ready;
      exports = ready.exports;
      this.#options = ready.options;
      ready.defined.forEach((/** @type {any} */ { name, type, isTime }) => this.#registry.define(name, type, isTime));
      this.#thresholds = readThresholds(this.#options.thresholds || {}, this.#registry);
      this.#check();
    } catch (error) {
      this.#tell('error', String(error));
      return this.#end(String(error).includes('threshold') ? EXIT.badOptions : EXIT.exception);
    }
    conductor.userAgent = this.#options.userAgent || 'k6';
    this.#begin = performance.now();

    const [scenario] = Object.values(this.#options.scenarios);
    await this.#hire(scenario.preAllocatedVUs);
    const setup = await this.#conduct(conductor, 'setup', this.#options.setupTimeout);
    if (setup.error) {
      return this.#end(setup.late ? EXIT.setupTimeout : EXIT.exception);
    }
    for (const user of [conductor, ...this.#users]) {
      await user.run('keep', { argument: setup.result });
    }
    this.began();
    await this.#execute();
    const teardown = await this.#conduct(conductor, 'teardown', this.#options.teardownTimeout);

    const seconds = this.#seconds();
    const failed = this.#thresholds.filter((threshold) => !threshold.holds(seconds));
    failed.forEach(({ metric, source }) => this.#tell('error', `threshold crossed: ${metric} ${source}`));
    const data = summaryData(this.#registry, this.#thresholds, this.#options, seconds, [conductor, ...this.#users]);
    /** @type {Record<string, string>} */
    let outputs = {};
    if (exports.includes('handleSummary')) {
      const { result, error } = await conductor.run('handleSummary', { argument: data });
      if (error) {
        this.#tell('error', error);
      }
      outputs = result || {};
    }
    const code = teardown.error
      ? teardown.late
        ? EXIT.teardownTimeout
        : EXIT.exception
      : failed.length
        ? EXIT.thresholds
        : EXIT.passed;
    return { ...this.#end(code), data, outputs };
  }

  async stop() {
    await Promise.all(this.#everybody.map((user) => user.stop()));
  }

  /** @type {VirtualUser[]} */
  #everybody = [];

  /** @param {number} id */
  #user(id) {
    const user = new VirtualUser(id, this.sources, this.env, {
      measured: (samples) => samples.forEach(({ name, value, tags }) => this.#measure(name, value, tags)),
      answered: (wanted, got) => this.#answer(wanted, got),
      logged: (level, text) => this.#tell(level, text),
    });
    this.#everybody.push(user);
    return user;
  }

  /** @param {number} count */
  async #hire(count) {
    for (let id = 1; id <= count; id += 1) {
      const user = this.#user(id);
      user.userAgent = this.#options.userAgent || 'k6';
      this.#users.push(user);
      // One after the other: a crowd of starting threads makes all of them slow.
      await user.ready;
    }
    this.#idle = [...this.#users];
    this.#registry.add('vus_max', count, {});
  }

  /** k6 would refuse it, or do something that this stand-in does not know. */
  #check() {
    const scenarios = Object.values(this.#options.scenarios || {});
    if (scenarios.length !== 1) {
      throw new Error('this stand-in runs one scenario');
    }
    const [scenario] = scenarios;
    if (!['constant-arrival-rate', 'ramping-arrival-rate'].includes(scenario.executor)) {
      throw new Error(`this stand-in knows no executor ${scenario.executor}`);
    }
    const numbers = [scenario.preAllocatedVUs, scenario.rate ?? scenario.startRate];
    if (!numbers.every((number) => Number.isInteger(number) && number >= 0) || (scenario.maxVUs ?? numbers[0]) !== numbers[0]) {
      throw new Error('rates and virtual users are whole numbers, and this stand-in makes no more of them during a run');
    }
  }

  /** The scenario, until its last iteration has ended. */
  async #execute() {
    const [[name, scenario]] = Object.entries(this.#options.scenarios);
    const start = performance.now();
    const startTime = Date.now();
    const tags = { scenario: name };
    const looks = setInterval(() => this.#look(performance.now() - start), LOOK);
    const gauge = setInterval(() => this.#registry.add('vus', this.#active, {}), 1000);
    /** @type {Promise<void>[]} */
    const running = [];
    let iteration = 0;
    for (const due of arrivals(scenario)) {
      const early = start + due - performance.now();
      if (early > 0) {
        await new Promise((go) => setTimeout(go, early));
      }
      if (this.#aborted) {
        break;
      }
      const user = this.#idle.shift();
      if (user) {
        running.push(this.#iterate(user, { name, executor: scenario.executor, startTime, iterationInTest: iteration++ }, tags));
      } else {
        this.#measure('dropped_iterations', 1, tags);
      }
    }
    const grace = milliseconds(scenario.gracefulStop, '30s');
    const left = start + lengthOf(scenario) - performance.now();
    if (!this.#aborted && left > 0) {
      await new Promise((go) => setTimeout(go, left));
    }
    await Promise.race([Promise.all(running), new Promise((go) => setTimeout(go, this.#aborted ? 0 : grace).unref())]);
    clearInterval(looks);
    clearInterval(gauge);
    this.#registry.add('vus', this.#active, {});
    // What still runs now is cut off.
    await Promise.all(this.#users.filter((user) => !this.#idle.includes(user)).map((user) => user.stop()));
  }

  /**
   * @param {VirtualUser} user
   * @param {any} scenario
   * @param {Record<string, string>} tags
   */
  async #iterate(user, scenario, tags) {
    const begin = performance.now();
    this.#active += 1;
    const { error, interrupted } = /** @type {any} */ (await user.run('default', { scenario }));
    this.#active -= 1;
    if (interrupted) {
      return;
    }
    if (error) {
      // As in k6: an exception ends the iteration, and is no failure of the run by itself.
      this.#tell('error', error);
    }
    this.#measure('iterations', 1, tags);
    this.#measure('iteration_duration', performance.now() - begin, tags);
    this.#idle.push(user);
  }

  /**
   * @param {VirtualUser} conductor
   * @param {'setup' | 'teardown'} what
   * @param {string} timeout
   */
  async #conduct(conductor, what, timeout) {
    const late = new Promise((settle) => {
      const time = milliseconds(timeout, '60s');
      setTimeout(() => settle({ late: true, error: `${what} took longer than ${time} ms` }), time).unref();
    });
    const end = /** @type {any} */ (await Promise.race([conductor.run(what), late]));
    if (end.error) {
      this.#tell('error', end.error);
    }
    return end;
  }

  /**
   * Ends the run where a threshold says so.
   * @param {number} time Since the scenario's start.
   */
  #look(time) {
    const crossed = this.#thresholds.find(
      (threshold) => threshold.abortOnFail && time >= threshold.delay && !threshold.empty && !threshold.holds(this.#seconds()),
    );
    if (crossed && !this.#aborted) {
      this.#aborted = true;
      this.#tell('error', `aborted: ${crossed.metric} ${crossed.source}`);
    }
  }

  /**
   * @param {any} wanted
   * @param {import('./http.js').Got} got
   */
  #answer(wanted, got) {
    const expected = wanted.expected.some((/** @type {any} */ one) =>
      typeof one === 'number' ? one === got.status : got.status >= one.min && got.status <= one.max,
    );
    const tags = {
      url: wanted.url,
      name: wanted.url,
      method: wanted.method,
      status: String(got.status),
      expected_response: String(expected),
      ...(got.error ? { error: got.error, error_code: String(got.error_code) } : {}),
      ...wanted.tags,
    };
    this.#measure('http_reqs', 1, tags);
    this.#measure('http_req_failed', expected ? 0 : 1, tags);
    Object.entries(got.timings).forEach(([part, time]) => this.#measure(`http_req_${part}`, time, tags));
    this.#measure('data_sent', got.sent, {});
    this.#measure('data_received', got.received, {});
    const { headers, metadata } = wanted;
    this.#requests.push({ tags: this.#tags(tags), metadata, headers, status: got.status, duration: got.timings.duration, at: performance.now() });
    const { status, body, error, error_code, timings } = got;
    return { status, body, headers: got.headers, error, error_code, timings, url: wanted.url };
  }

  /**
   * @param {string} name
   * @param {number} value
   * @param {Record<string, string>} tags
   */
  #measure(name, value, tags) {
    this.#registry.add(name, value, this.#tags(tags));
  }

  /**
   * Without the system tags that the options leave out.
   * @param {Record<string, string>} tags
   */
  #tags(tags) {
    const kept = this.#options.systemTags || SYSTEM_TAGS;
    const all = Object.entries({ ...this.#options.tags, ...tags });
    return Object.fromEntries(all.filter(([tag]) => !SYSTEM_TAGS.includes(tag) || kept.includes(tag)));
  }

  #seconds() {
    return (performance.now() - this.#begin) / 1000;
  }

  /**
   * @param {string} level
   * @param {string} text
   */
  #tell(level, text) {
    this.#log.push(`${level}: ${text}`);
  }

  /**
   * @param {number} code
   * @returns {Outcome}
   */
  #end(code) {
    return { code, options: this.#options, outputs: {}, log: this.#log, requests: this.#requests };
  }
}
