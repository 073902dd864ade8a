// A virtual user as the main thread sees it.

import { setFlagsFromString } from 'node:v8';
import { MessageChannel, Worker } from 'node:worker_threads';

import { connections, request } from './http.js';

/** @typedef {import('./metrics.js').Tags} Tags */

// Eight seconds after their start, all virtual users would tidy their memory at once, and nobody else would get the processor.
setFlagsFromString('--no-memory-reducer');

/**
 * @typedef {object} Listener What becomes of what a virtual user tells.
 * @property {(samples: { name: string, value: number, tags: Tags }[]) => void} measured
 * @property {(wanted: any, got: import('./http.js').Got) => { status: number }} answered
 * @property {(level: string, text: string) => void} logged
 */

export class VirtualUser {
  #agent = connections();
  /** @type {((message: any) => void) | null} */
  #waiting = null;
  iterations = 0;
  /** All checks so far. */
  /** @type {any[]} */
  checks = [];

  /**
   * @param {number} id
   * @param {{ entry: string, files: Record<string, string> }} sources
   * @param {Record<string, string>} env
   * @param {Listener} listener
   */
  constructor(id, sources, env, listener) {
    const { port1, port2 } = new MessageChannel();
    const bell = new SharedArrayBuffer(4);
    this.id = id;
    this.userAgent = 'k6';
    this.#listener = listener;
    this.#replies = port1;
    this.#bell = new Int32Array(bell);
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: { ...sources, env, id, replies: port2, bell },
      transferList: [port2],
    });
    this.#worker.on('message', (message) => this.#hear(message));
    this.#worker.on('error', (error) => this.#settle({ operation: 'broken', payload: error.stack, error: error.stack }));
    /** @type {Promise<any>} */
    this.ready = this.#next().then((message) => {
      if (message.operation === 'broken') {
        throw new Error(message.payload);
      }
      return message.payload;
    });
  }

  /** @type {NodeJS.Timeout | undefined} */
  #sleep;
  #listener;
  #replies;
  #bell;
  #worker;

  #next() {
    return new Promise((settle) => (this.#waiting = settle));
  }

  /** @param {any} message */
  #settle(message) {
    const settle = this.#waiting;
    this.#waiting = null;
    settle?.(message);
  }

  /** @param {any} message */
  #hear(message) {
    const { operation, payload, samples, checks } = message;
    if (samples) {
      this.#listener.measured(samples);
      this.checks = checks;
    }
    switch (operation) {
      case 'log':
        this.#listener.logged(payload.level, payload.text);
        break;
      case 'sleep':
        this.#sleep = setTimeout(() => this.#reply(undefined), payload.seconds * 1000);
        break;
      case 'http':
        this.#request(payload).then((answers) => this.#reply(answers));
        break;
      default:
        this.#settle(message);
    }
  }

  /** @param {any[]} all */
  #request(all) {
    return Promise.all(
      all.map(async (wanted) => this.#listener.answered(wanted, await request(wanted, this.#agent, this.userAgent))),
    );
  }

  /** @param {any} message */
  #reply(message) {
    this.#replies.postMessage(message);
    Atomics.store(this.#bell, 0, 1);
    Atomics.notify(this.#bell, 0);
  }

  /**
   * Runs one of the script's functions.
   * @param {string} run
   * @param {{ argument?: any, scenario?: any }} [how]
   * @returns {Promise<{ result?: any, error?: string }>}
   */
  run(run, { argument, scenario } = {}) {
    const end = this.#next();
    this.#worker.postMessage({ run, argument, scenario, iteration: this.iterations });
    if (scenario) {
      this.iterations += 1;
    }
    return end;
  }

  /** Whatever it is at. */
  async stop() {
    this.#settle({ operation: 'stopped', interrupted: true });
    clearTimeout(this.#sleep);
    this.#agent.destroy();
    await this.#worker.terminate();
  }
}
