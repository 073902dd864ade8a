"""Sees the quick checks fail: every metric and every label of the catalogue is renamed, one at a time, and every kind of fault
is planted into a dashboard. Each must be found, and the finding must name the panel.
"""

import copy
import sys

import board
import catalogue
import lint


def renamed():
    """The catalogue with one name changed, as if somebody had changed the code: what, and the findings."""
    original = catalogue.documented()
    for name in original:
        if name in catalogue.NOT_SHOWN:
            continue
        changed = {f"{key}_renamed" if key == name else key: metric for key, metric in original.items()}
        yield f"metric {name}", changed, name
    for name, metric in original.items():
        for label in sorted(metric.labels):
            if name in catalogue.NOT_SHOWN or not used(name, label):
                continue
            changed = copy.deepcopy(original)
            changed[name].labels = (metric.labels - {label}) | {f"{label}_renamed"}
            yield f"label {label} of {name}", changed, label


def used(metric, label):
    """Does any panel look at this label of this metric?"""
    for one in board.boards().values():
        for query in [*board.queries(one), *board.annotations(one)]:
            if metric in query.expr and label in query.expr.replace(metric, ""):
                return True
    return False


PLANTED = {
    "an overlap": lambda one: panel(one, 1)["gridPos"].update(y=0, x=0),
    "one id twice": lambda one: panel(one, 1).update(id=panel(one, 0)["id"]),
    "no description": lambda one: panel(one, 0).update(description=""),
    "an unknown unit": lambda one: panel(one, 0)["fieldConfig"]["defaults"].update(unit="fortnights"),
    "another unit": lambda one: panel(one, 6)["fieldConfig"]["defaults"].update(unit="bytes"),
    "a fixed data source": lambda one: target(one, 0).update(datasource={"type": "prometheus", "uid": "mine"}),
    "PromQL that does not parse": lambda one: target(one, 6).update(expr="sum(rate("),
    "a counter without a rate": lambda one: target(one, 6).update(expr=f"sum(counter_api_numbers_issued_total{{{OWN}}})"),
    "a fixed window": lambda one: change(one, 6, "$__rate_interval", "5m"),
    "a whole bucket": lambda one: target(one, 6).update(
        expr=f'sum(rate(http_server_request_duration_seconds_bucket{{{OWN}, le="1"}}[$__rate_interval]))'),
    "no instance": lambda one: change(one, 6, 'instance=~"$instance"', 'namespace=~"$namespace"'),
    "a label that is not there": lambda one: change(one, 6, "http_route=", "route="),
    "a variable that is not there": lambda one: change(one, 6, "$namespace", "$cluster"),
    "a legend without its label": lambda one: target(one, 6).update(legendFormat="{{http_route}}"),
    "an editable dashboard": lambda one: one.update(editable=True),
    "a schema that Grafana 10 does not load": lambda one: one.update(schemaVersion=43),
    "a link to nothing": lambda one: panel(one, 0)["links"][0].update(url="/d/nothing"),
    "an id of its own": lambda one: one.update(id=7),
}

OWN = 'namespace=~"$namespace", job=~"$job", instance=~"$instance"'


def panel(one, index):
    return list(board.panels(one))[index]


def target(one, index):
    return panel(one, index)["targets"][0]


def change(one, index, old, new):
    asked = target(one, index)
    assert old in asked["expr"], f"{old} is not in the expression that was to be changed"
    asked["expr"] = asked["expr"].replace(old, new)


def findings_with(documented=None, boards=None):
    """The findings with another catalogue or other dashboards in place."""
    true_documented, true_boards = catalogue.documented, board.boards
    try:
        if documented is not None:
            catalogue.documented = lint.documented = lambda: documented
        if boards is not None:
            board.boards = lint.boards = lambda: boards
        catalogue.selectable.cache_clear()
        return list(lint.findings())
    finally:
        catalogue.documented = lint.documented = true_documented
        board.boards = lint.boards = true_boards
        catalogue.selectable.cache_clear()


def main():
    missed = count = 0
    for what, documented, name in renamed():
        count += 1
        found = findings_with(documented=documented)
        if not any((", panel " in finding or ", annotation " in finding) and name in finding for finding in found):
            missed += 1
            print(f"nobody noticed: {what} renamed")
    for what, plant in PLANTED.items():
        count += 1
        boards = copy.deepcopy(board.boards())
        plant(boards["counter-api-overview.json"])
        if not findings_with(boards=boards):
            missed += 1
            print(f"nobody noticed: {what}")
    print(f"dashboard mutants: {count} planted, {missed} not noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
