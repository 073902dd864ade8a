// The modules that scripts import, as a virtual user's thread sees them: `k6`, `k6/http`, `k6/metrics`, `k6/execution`. Only
// what the scripts use is here; anything else is missing, and a script that uses it fails.

/**
 * What a virtual user is at, for `k6/execution` and for the tags of what it measures.
 * @typedef {object} State
 * @property {Record<string, string>} scenarioTags
 * @property {{ name: string, value: number, tags: Record<string, string> }[]} samples Measured, and not yet told.
 * @property {string[]} groups
 * @property {Map<string, { group: string[], name: string, passes: number, fails: number }>} checks
 * @property {Record<string, any>} execution
 */

/**
 * @param {State} state
 * @param {(operation: string, payload: any) => any} ask Waits for the main thread.
 * @param {(name: string, type: string, isTime: boolean) => void} define
 */
export function makeModules(state, ask, define) {
  const tagsNow = () => ({
    ...state.scenarioTags,
    ...state.execution.vu.metrics.tags,
    ...(state.groups.length ? { group: ['', ...state.groups].join('::') } : {}),
  });

  /**
   * @param {string} name
   * @param {number} value
   * @param {Record<string, string>} [tags]
   */
  const add = (name, value, tags) => state.samples.push({ name, value, tags: { ...tagsNow(), ...tags } });

  /** @param {string} type */
  const metricOf = (type) =>
    class {
      /**
       * @param {string} name
       * @param {boolean} [isTime]
       */
      constructor(name, isTime) {
        if (state.execution.started) {
          throw new Error('metrics must be declared in the init context');
        }
        this.name = name;
        define(name, type, Boolean(isTime));
      }
      /**
       * @param {number | boolean} value
       * @param {Record<string, string>} [tags]
       */
      add(value, tags) {
        const number = Number(value);
        if (Number.isNaN(number)) {
          throw new Error(`${this.name}: ${value} is no value of a metric`);
        }
        add(this.name, number, tags);
      }
    };

  /**
   * @param {any} value
   * @param {Record<string, (value: any) => unknown>} sets
   */
  const check = (value, sets) => {
    let all = true;
    for (const [name, holds] of Object.entries(sets)) {
      const key = JSON.stringify([...state.groups, name]);
      const found = state.checks.get(key) || { group: [...state.groups], name, passes: 0, fails: 0 };
      state.checks.set(key, found);
      let passed = false;
      try {
        passed = Boolean(holds(value));
      } finally {
        found[passed ? 'passes' : 'fails'] += 1;
        add('checks', passed ? 1 : 0, { check: name });
      }
      all = all && passed;
    }
    return all;
  };

  /**
   * @param {string} name
   * @param {() => any} run
   */
  const group = (name, run) => {
    const begin = performance.now();
    state.groups.push(name);
    try {
      return run();
    } finally {
      add('group_duration', performance.now() - begin);
      state.groups.pop();
    }
  };

  const k6 = {
    check,
    group,
    /** @param {number} seconds */
    sleep: (seconds) => void ask('sleep', { seconds }),
    /** @param {string} message */
    fail: (message) => {
      throw new Error(message);
    },
  };

  /** @param {any} request */
  const http = ({ method, url, body = null, params = {} }) => ({
    method,
    url,
    body,
    headers: params.headers || {},
    timeout: params.timeout,
    expected: (params.responseCallback || expectedStatuses({ min: 200, max: 399 })).expected,
    tags: { ...tagsNow(), ...params.tags },
    metadata: { ...state.execution.vu.metrics.metadata },
  });
  /** @param {(number | { min: number, max: number })[]} expected */
  const expectedStatuses = (...expected) => ({ expected });
  /** @param {any[]} requests */
  const batch = (requests) => {
    if (!state.execution.started) {
      throw new Error('requests cannot be made in the init context');
    }
    return ask('http', requests.map(http));
  };
  const httpModule = {
    expectedStatuses,
    batch,
    /**
     * @param {string} method
     * @param {string} url
     * @param {string | null} body
     * @param {any} params
     */
    request: (method, url, body, params) => batch([{ method, url, body, params }])[0],
  };

  /** @type {Record<string, any>} */
  const modules = {
    k6: withDefault(k6),
    'k6/http': withDefault(httpModule),
    'k6/metrics': {
      Counter: metricOf('counter'),
      Gauge: metricOf('gauge'),
      Rate: metricOf('rate'),
      Trend: metricOf('trend'),
    },
    'k6/execution': withDefault(state.execution),
  };
  return modules;
}

/** @param {any} module */
function withDefault(module) {
  return { __esModule: true, default: module, ...module };
}
