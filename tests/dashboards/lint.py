"""The rules of Grafana's dashboard-linter, made anew, and some more.

The linter itself is licensed as Grafana is, so it is not installed. Its rules keep their names here; each yields what is
wrong and where.
"""

import re

import promql_parser as promql

from board import FOLDER, LEGEND_LABEL, ROOT, VARIABLE, annotations, boards, panels, queries, selectors, variables, walk
from catalogue import FOREIGN, NOT_SHOWN, documented, selectable
from labels import misfits, survivors
import units

MAX_BYTES = 200_000
UNITS = {"s", "bytes", "reqps", "ops", "cps", "percentunit", "none"}
GRAFANA_VARIABLES = {"__rate_interval", "__range", "__url_time_range", "__all_variables"}
# Series that no replica of ours serves, or that stand for all of them: job and instance say nothing there.
OF_NO_REPLICA = ("slo:", "ALERTS", "probe_", "kube_", "k6_")
# A literal number of seconds has no unit of its own.
UNIT_EXCEPTIONS = {
    "Availability: exhausted in": "a share of the budget times the period's seconds",
    "Latency: exhausted in": "a share of the budget times the period's seconds",
}
# The linter wants `.+` of every variable. Of the job that would be every program of the cluster that serves process_….
ALL_VALUE = {"job": "counter-api"}
AGGREGATED = {"rate", "irate", "increase", "resets"}


def of_panels(board):
    """Rules about panels."""
    seen, placed = set(), []
    for panel in board["panels"]:
        where = f"{board['uid']}, panel {panel['title']!r}"
        if panel["id"] in seen:
            yield f"{where}: its id {panel['id']} is not unique"
        seen.add(panel["id"])
        box = panel["gridPos"]
        if box["x"] < 0 or box["x"] + box["w"] > 24 or box["w"] < 1 or box["h"] < 1:
            yield f"{where}: it stands outside of the 24 columns"
        for title, other in placed:
            if (box["x"] < other["x"] + other["w"] and other["x"] < box["x"] + box["w"]
                    and box["y"] < other["y"] + other["h"] and other["y"] < box["y"] + box["h"]):
                yield f"{where}: it overlaps panel {title!r}"
        placed.append((panel["title"], box))
    for panel in panels(board):
        where = f"{board['uid']}, panel {panel['title']!r}"
        if not panel.get("title") or not panel.get("description"):
            yield f"{where}: panel-title-description-rule: it has no title or no description"
        if panel["fieldConfig"]["defaults"].get("unit") not in UNITS:
            yield f"{where}: panel-units-rule: {panel['fieldConfig']['defaults'].get('unit')!r} is no unit that is used here"
        if not panel.get("targets"):
            yield f"{where}: panel-no-targets-rule: it asks nothing"
        for asked in (panel, *panel["targets"]):
            if asked.get("datasource", {}).get("uid") != "${datasource}":
                yield f"{where}: panel-datasource-rule: it does not use the variable"
        refs = [target["refId"] for target in panel["targets"]]
        if len(refs) != len(set(refs)):
            yield f"{where}: two queries have one refId"
        legends = {target["legendFormat"] for target in panel["targets"]}
        for override in panel["fieldConfig"]["overrides"]:
            name = override["matcher"]["options"]
            templated = any(LEGEND_LABEL.search(legend) for legend in legends)
            if panel["type"] == "timeseries" and name not in legends and not templated:
                yield f"{where}: the override of {name!r} matches no series"


def of_board(board, text):
    """Rules about a whole dashboard."""
    where = board["uid"]
    if board["editable"] is not False:
        yield f"{where}: uneditable-dashboard: it must not be editable"
    if board["id"] is not None:
        yield f"{where}: its id must be null, or it imports over another dashboard"
    if not 36 <= board["schemaVersion"] <= 42:
        yield f"{where}: Grafana 10 to 13 load schemaVersion 36 to 42"
    if len(text.encode()) > MAX_BYTES:
        yield f"{where}: it has more than {MAX_BYTES} bytes"
    by_name = {variable["name"]: variable for variable in board["templating"]["list"]}
    source = by_name.get("datasource", {})
    if source.get("type") != "datasource" or source.get("query") != "prometheus":
        yield f"{where}: template-datasource-rule: no variable `datasource`"
    for name in ("namespace", "job", "instance"):
        if name not in by_name:
            yield f"{where}: template-{name}-rule: no such variable"
    for name, variable in by_name.items():
        if variable["type"] != "query":
            continue
        if variable["datasource"]["uid"] != "${datasource}":
            yield f"{where}, variable {name!r}: it does not use the variable `datasource`"
        if variable["label"] not in (name, name.title()):
            yield f"{where}, variable {name!r}: its label should be {name!r}"
        everything = ALL_VALUE.get(name, ".+")
        if not variable["multi"] or not variable["includeAll"] or variable["allValue"] != everything:
            yield f"{where}, variable {name!r}: it should be multi, and all should be `{everything}`"
        if variable["refresh"] != 2:
            yield f"{where}, variable {name!r}: template-on-time-change-reload-rule"
        call = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        if not call:
            yield f"{where}, variable {name!r}: template-label-promql-rule: no label_values(…)"
            continue
        try:
            promql.parse(VARIABLE.sub(".+", call[1]))
        except ValueError as error:
            yield f"{where}, variable {name!r}: template-label-promql-rule: {error}"


def of_query(query):
    """Rules about one expression."""
    try:
        tree = query.parsed()
    except ValueError as error:
        yield f"{query.where}: target-promql-rule: {error}"
        return
    for variable in VARIABLE.findall(query.expr):
        if variable not in GRAFANA_VARIABLES and variable not in variables(query.board):
            yield f"{query.where}: there is no variable ${variable}"
    for interval in re.findall(r"\[([^\]]+)\]", strip_strings(query.expr)):
        instant_total = interval == "$__range" and query.target.get("instant")
        if interval != "$__rate_interval" and not instant_total:
            yield f"{query.where}: target-rate-interval-rule: [{interval}]"
    inside = {id(part) for call in walk(tree) if isinstance(call, promql.Call) and call.func.name in AGGREGATED
              for part in walk(call)}
    known = selectable()
    for part in walk(tree):
        if isinstance(part, promql.VectorSelector):
            metric = known.get(part.name)
            if metric and metric.kind in ("counter", "bucket") and id(part) not in inside:
                yield f"{query.where}: target-counter-agg-rule: {part.name} is a counter, and is not within rate or increase"
            if part.name.endswith("_total") and id(part) not in inside:
                yield f"{query.where}: target-counter-agg-rule: {part.name} outside of rate or increase"
    yield from of_selectors(query, tree, known)
    if query.panel.get("type") and query.panel["title"] not in UNIT_EXCEPTIONS:
        yield from of_units(query, tree)


def of_selectors(query, tree, known):
    """Every metric and every label of an expression exists."""
    for name, matchers in selectors(tree):
        if name not in known:
            yield f"{query.where}: the metric {name!r} is in no catalogue"
            continue
        matched = {matcher.name for matcher in matchers}
        for label in sorted(matched - known[name].labels):
            yield f"{query.where}: {name} has no label {label!r}"
        if not name.startswith(OF_NO_REPLICA):
            for label in ("namespace", "job", "instance"):
                if label not in matched:
                    yield f"{query.where}: target-{label}-rule: {name} is selected without {label}"
        for matcher in matchers:
            if matcher.name == "le" and "." not in matcher.value:
                yield f"{query.where}: le={matcher.value!r} is another text in OpenMetrics; take a fraction"
    yield from (f"{query.where}: {misfit}" for misfit in misfits(tree, known))
    left = survivors(tree, known) or set()
    for label in query.legend_labels:
        if label not in left:
            yield f"{query.where}: its legend names {label!r}, which its series do not have"


def of_units(query, tree):
    """The panel's unit is the expression's."""
    unit = query.panel["fieldConfig"]["defaults"]["unit"]
    if query.panel["type"] == "table":
        columns = next(step for step in query.panel["transformations"] if step["id"] == "organize")["options"]["renameByName"]
        column = columns.get(f"Value #{query.target['refId']}") or columns.get("Value")
        unit = next((prop["value"] for override in query.panel["fieldConfig"]["overrides"]
                     if override["matcher"]["options"] == column for prop in override["properties"]
                     if prop["id"] == "unit"), unit)
    try:
        dimension = units.of_values(tree) if query.panel["type"] == "heatmap" else units.of(tree)
    except units.Mismatch as mismatch:
        yield f"{query.where}: {mismatch}"
        return
    if not units.fits(unit, dimension):
        yield f"{query.where}: its unit is {unit!r}, but what it computes is {dimension}"


def of_links(board, uids):
    """Every link leads somewhere."""
    everything = [*board["links"], *(link for panel in panels(board) for link in panel["links"])]
    for link in everything:
        where, url = f"{board['uid']}, link {link['title']!r}", link["url"]
        if link.get("type") == "dashboards":
            if not link["tags"] or any(tag not in board["tags"] for tag in link["tags"]):
                yield f"{where}: no dashboard has its tags"
        elif url.startswith("/d/"):
            if url.removeprefix("/d/").split("?")[0] not in uids:
                yield f"{where}: there is no dashboard {url}"
        elif "/blob/main/" in url:
            path = url.partition("/blob/main/")[2].split("#")[0]
            if not (ROOT / path).exists():
                yield f"{where}: there is no file {path}"
        elif not url.startswith("/explore"):
            yield f"{where}: nobody checks where {url!r} leads"


def strip_strings(expr):
    """An expression without its quoted texts, in which brackets mean something else."""
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', expr)


def unshown():
    """Metrics of ours that no panel shows."""
    shown = set()
    for board in boards().values():
        for query in [*queries(board), *annotations(board)]:
            try:
                shown |= {name for name, _ in selectors(query.parsed())}
            except ValueError:
                continue
    known = selectable()
    families = {known[name].family for name in shown if name in known}
    for name in documented():
        if name not in families and name not in NOT_SHOWN:
            yield f"docs/metrics.md, {name}: no dashboard shows it, and tests/dashboards/catalogue.py does not say why"
        if name in families and name in NOT_SHOWN:
            yield f"tests/dashboards/catalogue.py, {name}: a dashboard shows it after all"
    for name in FOREIGN:
        if name not in families:
            yield f"tests/dashboards/catalogue.py, {name}: no dashboard uses it"


def findings():
    """Everything that is wrong."""
    all_boards = boards()
    uids = [board["uid"] for board in all_boards.values()]
    if len(uids) != len(set(uids)):
        yield "two dashboards have one uid"
    for name, board in all_boards.items():
        if name != f"{board['uid']}.json":
            yield f"{name}: its uid is {board['uid']!r}"
        yield from of_board(board, (FOLDER / name).read_text())
        yield from of_panels(board)
        yield from of_links(board, uids)
        for query in [*queries(board), *annotations(board)]:
            yield from of_query(query)
    yield from unshown()
