// The object that k6 gives to `handleSummary`.

/**
 * @param {import('./metrics.js').Registry} registry
 * @param {import('./thresholds.js').Threshold[]} thresholds
 * @param {any} options
 * @param {number} seconds
 * @param {import('./virtual-user.js').VirtualUser[]} users
 */
export function summaryData(registry, thresholds, options, seconds, users) {
  const statistics = options.summaryTrendStats || ['avg', 'min', 'med', 'max', 'p(90)', 'p(95)'];
  /** @type {Record<string, any>} */
  const metrics = {};
  for (const { name, type, contains, sink, parts } of registry.all()) {
    for (const part of [{ name, sink }, ...parts]) {
      const asked = thresholds.filter(({ metric }) => metric === part.name);
      // A metric without a sample is there only if a threshold asks for it.
      if (part.sink.count > 0 || asked.length > 0) {
        metrics[part.name] = { type, contains, values: part.sink.values(seconds, statistics) };
        if (asked.length > 0) {
          metrics[part.name].thresholds = Object.fromEntries(
            asked.map((threshold) => [threshold.source, { ok: threshold.holds(seconds) }]),
          );
        }
      }
    }
  }
  return {
    root_group: groups(users.flatMap((user) => user.checks)),
    options: { summaryTrendStats: statistics, summaryTimeUnit: '', noColor: false },
    state: { isStdOutTTY: false, isStdErrTTY: false, testRunDurationMs: seconds * 1000 },
    metrics,
  };
}

/**
 * @typedef {{ name: string, path: string, groups: Group[], checks: any[] }} Group
 * @param {{ group: string[], name: string, passes: number, fails: number }[]} checks
 */
function groups(checks) {
  /** @type {Group} */
  const root = { name: '', path: '', groups: [], checks: [] };
  for (const { group, name, passes, fails } of checks) {
    let at = root;
    for (const step of group) {
      let next = at.groups.find((known) => known.name === step);
      if (!next) {
        next = { name: step, path: `${at.path}::${step}`, groups: [], checks: [] };
        at.groups.push(next);
      }
      at = next;
    }
    const known = at.checks.find((one) => one.name === name);
    if (known) {
      known.passes += passes;
      known.fails += fails;
    } else {
      at.checks.push({ name, path: `${at.path}::${name}`, passes, fails });
    }
  }
  return root;
}
