"""The month before a run, made up: the error budgets are of 30 days, and a run has minutes, of which the first fault would use up
everything. So there was a quiet month, with as many calls a second as the run has, and few of them bad. The pictures say so.
"""

import subprocess

from stack import SCALE

DAY = 86_400
# What the rules of monitoring/prometheus/rules/slo.yaml add up to the period: counts of an hour, every 15 minutes.
PERIOD, WINDOW, EVERY = 30 * DAY / SCALE, 3600 / SCALE, 900 / SCALE
# Calls a second, and the share of bad ones.
QUIET = {"availability": (92, 0.0002), "latency": (80, 0.002)}


def write(promtool, folder, data, end):
    """Puts the counts of the month that ends now into Prometheus' data, before it starts."""
    times = [end - PERIOD + number * EVERY for number in range(int(PERIOD / EVERY))]
    lines = []
    for metric, share in (("total", lambda bad: 1), ("bad", lambda bad: bad)):
        name = f"slo:{metric}_events:increase"
        lines.append(f"# TYPE {name} gauge")
        for slo, (rate, bad) in QUIET.items():
            labels = f'namespace="counter-api",service="counter-api",slo="{slo}",window="1h"'
            lines += [f"{name}{{{labels}}} {rate * WINDOW * share(bad)} {at}" for at in times]
    source = folder / "month.txt"
    source.write_text("\n".join([*lines, "# EOF", ""]))
    subprocess.run([promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", source, data], check=True)
