"""Grafana's own types read every dashboard, and nothing is lost on the way.

The Foundation SDK's types for Python are not strict: they pass over a key that they do not know. So each dashboard is read
and written again; a key or a value that does not come back is one that Grafana does not know. (`make verify` reads them
strictly, with the types for Go.)
"""

import json

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard, units

from board import boards, panels


def findings():
    plugins.register_default_plugins()
    for name, board in boards().items():
        again = json.loads(json.dumps(dashboard.Dashboard.from_json(board), cls=JSONEncoder))
        yield from (f"{name}: {loss}" for loss in losses(board, again, ""))
        known = {value for key, value in vars(units).items() if isinstance(value, str) and not key.startswith("_")}
        for panel in panels(board):
            unit = panel["fieldConfig"]["defaults"]["unit"]
            if unit not in known:
                yield f"{name}, panel {panel['title']!r}: Grafana has no unit {unit!r}"


def losses(before, after, path):
    """What was there and is not any more."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from losses(value, after[key], f"{path}.{key}")
            elif value is not None:
                yield f"Grafana's types do not know {path}.{key}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after)):
            yield from losses(one, other, f"{path}[{index}]")
    elif before != after:
        yield f"Grafana's types read {path} = {before!r} as {after!r}"
