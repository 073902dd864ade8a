// Metrics, their sub-metrics by tags, and what they add up to.

/** @typedef {'counter' | 'gauge' | 'rate' | 'trend'} Type */
/** @typedef {Record<string, string>} Tags */

class Counter {
  value = 0;
  count = 0;
  /** @param {number} value */
  add(value) {
    this.value += value;
    this.count += 1;
  }
  /** @param {number} seconds */
  values(seconds) {
    return { count: this.value, rate: seconds > 0 ? this.value / seconds : 0 };
  }
}

class Gauge {
  value = 0;
  min = 0;
  max = 0;
  count = 0;
  /** @param {number} value */
  add(value) {
    this.min = this.count ? Math.min(this.min, value) : value;
    this.max = this.count ? Math.max(this.max, value) : value;
    this.value = value;
    this.count += 1;
  }
  values() {
    return { value: this.value, min: this.min, max: this.max };
  }
}

class Rate {
  trues = 0;
  count = 0;
  /** @param {number} value */
  add(value) {
    this.trues += value ? 1 : 0;
    this.count += 1;
  }
  values() {
    return { rate: this.trues / this.count, passes: this.trues, fails: this.count - this.trues };
  }
}

class Trend {
  /** @type {number[]} */
  #samples = [];
  #sorted = true;
  #sum = 0;
  /** @param {number} value */
  add(value) {
    this.#samples.push(value);
    this.#sum += value;
    this.#sorted = false;
  }
  get count() {
    return this.#samples.length;
  }
  /** @param {number} part From 0 to 1. */
  percentile(part) {
    if (!this.#sorted) {
      this.#samples.sort((one, other) => one - other);
      this.#sorted = true;
    }
    if (this.count === 0) {
      return 0;
    }
    // Between the two nearest ranks, in proportion.
    const rank = part * (this.count - 1);
    const below = this.#samples[Math.floor(rank)];
    return below + (this.#samples[Math.ceil(rank)] - below) * (rank - Math.floor(rank));
  }
  /**
   * @param {number} _seconds
   * @param {string[]} wanted
   */
  values(_seconds, wanted) {
    return Object.fromEntries(wanted.map((name) => [name, this.statistic(name)]));
  }
  /** @param {string} name */
  statistic(name) {
    const percentile = /^p\((\d+(?:\.\d+)?)\)$/.exec(name);
    if (percentile) {
      return this.percentile(Number(percentile[1]) / 100);
    }
    switch (name) {
      case 'min':
        return this.percentile(0);
      case 'med':
        return this.percentile(0.5);
      case 'max':
        return this.percentile(1);
      case 'avg':
        return this.count ? this.#sum / this.count : 0;
      case 'count':
        return this.count;
      default:
        throw new Error(`there is no statistic ${name}`);
    }
  }
}

const SINKS = { counter: Counter, gauge: Gauge, rate: Rate, trend: Trend };

export class Metric {
  /** @type {{ name: string, tags: Tags, sink: Counter | Gauge | Rate | Trend }[]} */
  parts = [];

  /**
   * @param {string} name
   * @param {Type} type
   * @param {string} contains
   */
  constructor(name, type, contains) {
    this.name = name;
    this.type = type;
    this.contains = contains;
    this.sink = new SINKS[type]();
  }

  /**
   * @param {number} value
   * @param {Tags} tags
   */
  add(value, tags) {
    this.sink.add(value);
    for (const part of this.parts) {
      if (Object.entries(part.tags).every(([key, wanted]) => tags[key] === wanted)) {
        part.sink.add(value);
      }
    }
  }
}

/** @type {[string, Type, string][]} */
const BUILT_IN = [
  ['checks', 'rate', 'default'],
  ['data_received', 'counter', 'data'],
  ['data_sent', 'counter', 'data'],
  ['dropped_iterations', 'counter', 'default'],
  ['group_duration', 'trend', 'time'],
  ['iteration_duration', 'trend', 'time'],
  ['iterations', 'counter', 'default'],
  ['vus', 'gauge', 'default'],
  ['vus_max', 'gauge', 'default'],
  ['http_reqs', 'counter', 'default'],
  ['http_req_failed', 'rate', 'default'],
  ...['duration', 'blocked', 'connecting', 'tls_handshaking', 'sending', 'waiting', 'receiving'].map(
    (part) => /** @type {[string, Type, string]} */ ([`http_req_${part}`, 'trend', 'time']),
  ),
];

/** All metrics of a run. */
export class Registry {
  /** @type {Map<string, Metric>} */
  #metrics = new Map(BUILT_IN.map(([name, type, contains]) => [name, new Metric(name, type, contains)]));

  /**
   * A metric that a script makes; each virtual user makes it again.
   * @param {string} name
   * @param {Type} type
   * @param {boolean} isTime
   */
  define(name, type, isTime) {
    const known = this.#metrics.get(name);
    if (known && known.type !== type) {
      throw new Error(`the metric ${name} is a ${known.type}, and no ${type}`);
    }
    if (!known) {
      this.#metrics.set(name, new Metric(name, type, isTime ? 'time' : 'default'));
    }
  }

  /** @param {string} name */
  get(name) {
    const metric = this.#metrics.get(name);
    if (!metric) {
      throw new Error(`there is no metric ${name}`);
    }
    return metric;
  }

  /**
   * @param {string} name
   * @param {number} value
   * @param {Tags} tags
   */
  add(name, value, tags) {
    this.get(name).add(value, tags);
  }

  /**
   * What `metric{tag:value,…}` stands for; a sub-metric is made if it is new.
   * @param {string} selector
   */
  select(selector) {
    const parts = /^([^{]+)(?:\{(.*)\})?$/.exec(selector);
    if (!parts) {
      throw new Error(`${selector} selects no metric`);
    }
    const metric = this.get(parts[1]);
    if (parts[2] === undefined) {
      return { metric, sink: metric.sink };
    }
    const tags = Object.fromEntries(
      parts[2].split(',').map((pair) => {
        const colon = pair.indexOf(':');
        if (colon < 0) {
          throw new Error(`${selector}: ${pair} is no tag with a value`);
        }
        return [pair.slice(0, colon).trim(), pair.slice(colon + 1).trim()];
      }),
    );
    const sink = new SINKS[metric.type]();
    metric.parts.push({ name: selector, tags, sink });
    return { metric, sink };
  }

  /** @returns {Iterable<Metric>} */
  all() {
    return this.#metrics.values();
  }
}
