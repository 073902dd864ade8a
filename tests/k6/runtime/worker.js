// The thread of one virtual user: a JavaScript context of its own, with nothing in it but the language and what k6 offers.
//
// k6's requests block their virtual user. Here the main thread makes them, and this thread sleeps until the answer is there.

import { dirname, resolve } from 'node:path';
import { createContext, runInContext } from 'node:vm';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';

import { makeModules } from './modules.js';

const { entry, files, env, id, replies, bell } = workerData;
const main = /** @type {import('node:worker_threads').MessagePort} */ (parentPort);
const woken = new Int32Array(bell);

/** @type {import('./modules.js').State} */
const state = {
  scenarioTags: {},
  samples: [],
  groups: [],
  checks: new Map(),
  execution: {
    started: false,
    vu: { idInInstance: id, idInTest: id, iterationInInstance: 0, metrics: { tags: {}, metadata: {} } },
    scenario: {},
  },
};
/** @type {{ name: string, type: string, isTime: boolean }[]} */
const defined = [];

const told = () => ({ samples: state.samples.splice(0), checks: [...state.checks.values()] });

/**
 * @param {string} operation
 * @param {any} payload
 */
function ask(operation, payload) {
  Atomics.store(woken, 0, 0);
  main.postMessage({ operation, payload, ...told() });
  Atomics.wait(woken, 0, 0);
  return receiveMessageOnPort(replies)?.message;
}

const modules = makeModules(state, ask, (name, type, isTime) => defined.push({ name, type, isTime }));
const context = createContext({
  __ENV: env,
  __VU: id,
  __ITER: 0,
  console: Object.fromEntries(
    ['debug', 'info', 'log', 'warn', 'error'].map((level) => [
      level,
      (/** @type {unknown[]} */ ...words) => main.postMessage({ operation: 'log', payload: { level, text: words.join(' ') } }),
    ]),
  ),
});

/** @type {Record<string, any>} */
const loaded = {};

/** @param {string} path */
function load(path) {
  if (!(path in loaded)) {
    /** @type {Record<string, any>} */
    const module = { exports: {} };
    loaded[path] = module;
    const run = runInContext(`(function (exports, require, module) {${files[path]}\n})`, context, { filename: path });
    run(module.exports, (/** @type {string} */ name) => find(name, path), module);
  }
  return loaded[path].exports;
}

/**
 * @param {string} name
 * @param {string} from
 */
function find(name, from) {
  if (name in modules) {
    return modules[name];
  }
  const path = resolve(dirname(from), name);
  if (!name.startsWith('.') || !(path in files)) {
    throw new Error(`${from} imports ${name}, which is not there`);
  }
  return load(path);
}

/**
 * Errors of the context are no `Error` of this thread.
 * @param {any} error
 */
const inWords = (error) => error?.stack || String(error);

/** @type {any} */
let data;

main.on('message', ({ run, argument, scenario, iteration }) => {
  /** @type {any} */
  const end = { operation: 'done' };
  try {
    if (scenario) {
      Object.assign(state.execution.scenario, scenario);
      state.scenarioTags = { scenario: scenario.name };
      state.execution.vu.iterationInInstance = iteration;
      context.__ITER = iteration;
    }
    if (run === 'keep') {
      // What `setup` returned: each virtual user has a copy of its own.
      data = argument === undefined ? undefined : JSON.parse(argument);
    } else if (run in exported) {
      end.result = exported[run](run === 'handleSummary' ? argument : data);
      end.result = run === 'setup' && end.result !== undefined ? JSON.stringify(end.result) : end.result;
    }
  } catch (error) {
    end.error = inWords(error);
  }
  state.groups.length = 0;
  if (run === 'default') {
    end.result = undefined;
  }
  main.postMessage({ ...end, ...told() });
});

/** @type {Record<string, any>} */
let exported = {};
try {
  exported = load(entry);
  state.execution.started = true;
  main.postMessage({ operation: 'ready', payload: { options: exported.options || {}, exports: Object.keys(exported), defined } });
} catch (error) {
  main.postMessage({ operation: 'broken', payload: inWords(error) });
}
