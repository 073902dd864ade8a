"""Asks a Prometheus what a panel would ask it, and judges the answers."""

import json
import math
import urllib.parse
import urllib.request
from dataclasses import dataclass

from board import LEGEND_LABEL, expand

@dataclass
class Answer:
    """What Prometheus said to one query: the times, and each series' labels and values (None where it has none)."""

    query: object
    times: list
    series: list


def ask(url, path, **parameters):
    try:
        with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(parameters)}", timeout=60) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise ValueError(json.load(error).get("error", str(error))) from error


def legend(template, labels):
    """A series' name as Grafana writes it."""
    if template == "__auto":
        return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()) if name != "__name__") or "Value"
    return LEGEND_LABEL.sub(lambda match: labels.get(match[1], match[1]), template)


class Asker:
    """Asks the queries of one dashboard over one range of time, with its variables expanded as Grafana expands them."""

    def __init__(self, url, start, end, step, scrape):
        self.url, self.start, self.end, self.step = url, start, end, step
        # Grafana's rule: four scrapes, or a step and a scrape, whichever is more.
        self.intervals = {
            "__rate_interval": f"{max(step + scrape, 4 * scrape)}s",
            "__interval": f"{step}s",
            "__range": f"{int(end - start)}s",
        }

    def variables(self, board):
        """The values of each variable: all that its query finds, each of which is asked for by itself as well."""
        found = {}
        for variable in board["templating"]["list"]:
            if variable["type"] != "query":
                continue
            definition = variable["query"]["query"].removeprefix("label_values(").removesuffix(")")
            series, _, label = definition.rpartition(", ")
            values = {name: "|".join(options) for name, options in found.items()}
            match = expand(series, {**self.intervals, **values})
            listed = ask(self.url, f"/api/v1/label/{label}/values", **{"match[]": match, "start": self.start, "end": self.end})
            found[variable["name"]] = listed
        return found

    def answer(self, query, values):
        expr = expand(query.expr, {**self.intervals, **values})
        if query.target.get("instant"):
            data = ask(self.url, "/api/v1/query", query=expr, time=self.end)
            series = [(result["metric"], [float(result["value"][1])]) for result in data["result"]]
            return Answer(query, [self.end], series)
        data = ask(self.url, "/api/v1/query_range", query=expr, start=self.start, end=self.end, step=self.step)
        count = int((self.end - self.start) / self.step) + 1
        times = [self.start + index * self.step for index in range(count)]
        series = []
        for result in data["result"]:
            values_at = {round((float(at) - self.start) / self.step): float(value) for at, value in result["values"]}
            series.append((result["metric"], [values_at.get(index) for index in range(count)]))
        return Answer(query, times, series)


def faults(answer, still=""):
    """What is wrong with an answer. `still` says why this query may stay at one value, and is empty where it may not."""
    query = answer.query
    finite = [value for _, values in answer.series for value in values if value is not None and math.isfinite(value)]
    if not answer.series or not finite:
        yield f"{query.where}: the answer is empty"
        return
    for labels, _ in answer.series:
        for label in query.legend_labels:
            if label not in labels:
                yield f"{query.where}: the legend names {label!r}, which the series {labels} does not have"
                return
    moves = any(len({value for value in values if value is not None and math.isfinite(value)}) > 1
                for _, values in answer.series)
    if not query.target.get("instant") and not moves and not still:
        yield f"{query.where}: it stays at {finite[0]} over the whole run"
    unit = query.panel["fieldConfig"]["defaults"]["unit"]
    # The numbers of a heat map are counts; its unit is that of the buckets.
    if query.panel["type"] not in ("table", "heatmap"):
        yield from implausible(query, unit, finite)


def implausible(query, unit, values):
    """Numbers that cannot be of this unit: the check that a name alone does not give."""
    low, high = min(values), max(values)
    if unit == "percentunit" and high > 1.0001:
        yield f"{query.where}: a share of {high}"
    if unit == "s" and "exhausted" not in query.panel["title"] and high > 3600:
        yield f"{query.where}: {high} s in a run of some minutes"
    if unit == "bytes" and "memory" in query.panel["title"].lower() and not 1e6 < high < 1e12:
        yield f"{query.where}: {high} bytes of memory"
    if low < 0 and "budget left" not in query.panel["title"] and query.panel["type"] != "state-timeline":
        yield f"{query.where}: a negative {low}"
