"""Grafana's classic dashboard JSON, as far as these dashboards need it: panels, and a layout that cannot overlap.

Plain dictionaries of the standard library. Everything that is the same for every panel stands here once; what a panel
asks and what good looks like stands in the file of its dashboard.
"""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# The matchers that every query of the service's own series bears. Queries write `<own>` for them.
OWN = 'namespace=~"$namespace", job=~"$job", instance=~"$instance"'

# Okabe and Ito's colours, which a colour-blind person can tell apart. Good is blue, never green against red.
GOOD, WARN, BAD = "#56B4E9", "#E69F00", "#D55E00"
BLUE, GREEN, PURPLE, YELLOW, GREY = "#0072B2", "#009E73", "#CC79A7", "#F0E442", "#999999"
SERIES = [BLUE, WARN, GREEN, PURPLE, GOOD, BAD, YELLOW, GREY]

# Colours of words that labels have, so that a word has one colour wherever it stands. What no list can know, the names of
# replicas and servers, gets Grafana's palette.
WORDS = {
    "error_type": {"internal": BAD, "store_unavailable": WARN, "outcome_unknown": PURPLE, "overloaded": BLUE, "draining": GREY,
                   "unhealthy": YELLOW},
    "outcome": {"committed": GOOD, "refused": WARN, "unknown": BAD, "split": PURPLE, "applied": BLUE, "failed": BAD},
    "reason": {"queue": WARN, "password": PURPLE, "no_request": GREY, "idle": GOOD, "drain_timeout": BAD},
    "provider": {"password": BLUE, "github": PURPLE, "google": WARN, "facebook": GOOD},
    "http_request_method": {"GET": BLUE, "POST": WARN, "PUT": PURPLE, "DELETE": BAD, "_OTHER": GREY},
    "db_client_connection_state": {"used": WARN, "idle": GOOD},
    "name": {"/v1/next": BLUE, "/v1/current": GOOD, "/v1/counters/{name}/next": PURPLE, "/v1/counters/{name}/current": WARN},
}


# The share of the runtime's threads that are busy. A rate over uneven scrapes can be a little more than all of them.
BUSY = "clamp_max(rate(tokio_worker_busy_seconds_total{<own>}[$__rate_interval]) / tokio_workers{<own>}, 1)"


def query(expr, legend="", *, instant=False, table=False, heatmap=False, exemplar=False):
    """One query. `legend` names a series by its labels, as `{{http_route}}`."""
    return {
        "expr": " ".join(expr.replace("<own>", OWN).split()),
        "legendFormat": legend or "__auto",
        "format": "table" if table else "heatmap" if heatmap else "time_series",
        "instant": instant or table,
        "range": not (instant or table),
        "exemplar": exemplar,
        "editorMode": "code",
        "datasource": DATASOURCE,
    }


def or_zero(expr, otherwise=0):
    """The same, but zero where there is nothing to add up: a healthy system shows 0, and never 'No data'."""
    return f"({expr}) or vector({otherwise})"


def or_none(expr, **labels):
    """The same, but one series of these labels at zero where there is none: for what is split by a label."""
    zero = "vector(0)"
    for label, text in labels.items():
        zero = f'label_replace({zero}, "{label}", "{text}", "", "")'
    return f"{expr} or on () {zero}"


def filled(expr, **labels):
    """The same with a word for labels that are empty, which Prometheus takes for missing ones."""
    for label, text in labels.items():
        expr = f'label_replace({expr}, "{label}", "{text}", "{label}", "")'
    return expr


def rate(metric, matchers="<own>", by=""):
    """Events a second of a counter. With no label to split by, it is zero where there are none."""
    expr = f"sum{f' by ({by})' if by else ''} (rate({metric}{{{matchers}}}[$__rate_interval]))"
    return expr if by else or_zero(expr)


def quantile(q, histogram, matchers="<own>", by=""):
    """A quantile of a histogram. Without `by` it is zero while nothing is observed, where Prometheus would say NaN."""
    labels = f"le, {by}" if by else "le"
    expr = f"histogram_quantile({q}, sum by ({labels}) (rate({histogram}_bucket{{{matchers}}}[$__rate_interval])))"
    return expr if by else f"({expr} >= 0) or vector(0)"


def mean(histogram, matchers="<own>", by=""):
    """The mean of a histogram's observations, zero while nothing is observed."""
    total, count = (
        f"sum{f' by ({by})' if by else ''} (rate({histogram}_{part}{{{matchers}}}[$__rate_interval]))"
        for part in ("sum", "count")
    )
    return f"{total} / clamp_min({count}, 1e-9)"


def steps(base, *rest):
    """Thresholds: the colour below the first bound, then (bound, colour) upwards."""
    return {
        "mode": "absolute",
        "steps": [{"color": base, "value": None}, *({"color": color, "value": value} for value, color in rest)],
    }


def named(name, color, **more):
    """The colour (and more properties) of the series of this name."""
    properties = [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}]
    properties += [{"id": key.replace("__", "."), "value": value} for key, value in more.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}


def texts(**words):
    """What a number is called, and its colour: `texts(_0=("down", BAD))`."""
    options = {
        key.lstrip("_").replace("minus", "-"): {"text": text, "color": color, "index": index}
        for index, (key, (text, color)) in enumerate(words.items())
    }
    return {"type": "value", "options": options}


def range_text(start, end, text, color, index=0):
    """What the numbers of a range are called."""
    return {
        "type": "range",
        "options": {"from": start, "to": end, "result": {"text": text, "color": color, "index": index}},
    }


def _panel(kind, title, description, unit, queries, width, *, options, defaults=None, overrides=(), links=(),
           transformations=(), **more):
    field = {"unit": unit, "color": {"mode": "palette-classic"}, "thresholds": steps(GOOD)}
    panel = {
        "type": kind,
        "title": title,
        "description": " ".join(description.split()),
        "datasource": DATASOURCE,
        "gridPos": {"w": width},
        "targets": [dict(target, refId=chr(ord("A") + index)) for index, target in enumerate(queries)],
        "fieldConfig": {"defaults": {**field, **(defaults or {})}, "overrides": list(overrides)},
        "options": options,
        "links": [dict(link) for link in links],
        **more,
    }
    if transformations:
        panel["transformations"] = list(transformations)
    return panel


def timeseries(title, description, unit, queries, width, *, stacked=False, stepped=False, limit=None, top=None, many=False,
               overrides=(), links=(), decimals=None):
    """Lines over time. `limit` draws a threshold; `top` is the least upper end of the axis. With `many` series the legend is a
    list beside the graph, the highest first. Series that have no colour of their own get the palette's in their order."""
    custom = {
        "drawStyle": "line",
        "lineInterpolation": "stepAfter" if stepped else "linear",
        "lineWidth": 1 if stacked else 2,
        "fillOpacity": 60 if stacked else 8,
        "gradientMode": "none",
        "showPoints": "never",
        "pointSize": 5,
        "spanNulls": False,
        "axisPlacement": "auto",
        "axisLabel": "",
        "scaleDistribution": {"type": "linear"},
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if limit is not None else "off"},
    }
    defaults = {"custom": custom, "min": 0}
    if top is not None:
        custom["axisSoftMax"] = top
    if decimals is not None:
        defaults["decimals"] = decimals
    if limit is not None:
        defaults["thresholds"] = steps("transparent", (limit, BAD))
    named_already = {override["matcher"]["options"] for override in overrides}
    plain = [target["legendFormat"] for target in queries]
    plain = [legend for legend in plain if "{{" not in legend and legend != "__auto" and legend not in named_already]
    used = {prop["value"].get("fixedColor") for override in overrides for prop in override["properties"]
            if prop["id"] == "color"}
    free = [color for color in SERIES if color not in used]
    overrides = [*overrides, *(named(legend, color) for legend, color in zip(plain, free))]
    for target in queries:
        words = WORDS.get(target["legendFormat"].strip("{}"), {})
        overrides += [named(word, color) for word, color in words.items() if word not in named_already]
    below = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
    beside = {"displayMode": "table", "placement": "right", "showLegend": True, "calcs": ["max"], "sortBy": "Max",
              "sortDesc": True}
    return _panel(
        "timeseries", title, description, unit, queries, width, defaults=defaults, overrides=overrides, links=links,
        options={
            "legend": beside if many else below,
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )


def stat(title, description, unit, expr, width, *, thresholds=None, mappings=(), decimals=None, links=(), graph=True,
         instant=False):
    """One number, coloured by its thresholds, over a faint line of its past."""
    defaults = {"thresholds": thresholds or steps(BLUE), "color": {"mode": "thresholds"}, "mappings": list(mappings)}
    if decimals is not None:
        defaults["decimals"] = decimals
    return _panel(
        "stat", title, description, unit, [query(expr, title, instant=instant)], width, defaults=defaults, links=links,
        options={
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "orientation": "auto",
            "textMode": "value",
            "wideLayout": True,
            "colorMode": "background_solid" if thresholds else "value",
            "graphMode": "area" if graph and not instant else "none",
            "justifyMode": "auto",
            "showPercentChange": False,
            "percentChangeColorMode": "standard",
        },
    )


def states(title, description, queries, width, mappings, *, links=()):
    """Which state each thing was in, as a band of colours over time."""
    return _panel(
        "state-timeline", title, description, "none", queries, width, links=links,
        defaults={
            "color": {"mode": "thresholds"},
            "mappings": list(mappings),
            "custom": {"fillOpacity": 85, "lineWidth": 0},
        },
        options={
            "mergeValues": True,
            "showValue": "never",
            "alignValue": "left",
            "rowHeight": 0.8,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        },
    )


def heatmap(title, description, histogram, width, *, matchers="<own>", links=()):
    """How many observations fell into which bucket, over time. The dots are exemplars: each leads to its trace."""
    rate = f"sum by (le) (increase({histogram}_bucket{{{matchers}}}[$__rate_interval]))"
    return _panel(
        "heatmap", title, description, "s", [query(rate, "{{le}}", heatmap=True, exemplar=True)], width, links=links,
        defaults={"custom": {"scaleDistribution": {"type": "linear"}}},
        options={
            "calculate": False,
            # Cividis reads the same for people with and without colour blindness.
            "color": {"mode": "scheme", "scheme": "Cividis", "fill": "dark-orange", "scale": "exponential",
                      "exponent": 0.5, "steps": 64, "reverse": False},
            "cellGap": 1,
            "filterValues": {"le": 1e-9},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "yAxis": {"axisPlacement": "left", "unit": "s", "reverse": False},
            "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": True},
            "legend": {"show": True},
            "exemplars": {"color": BAD},
        },
    )


def table(title, description, queries, width, columns, *, unit="none", sort=None, links=(), mappings=()):
    """Rows of labels and numbers. `columns` maps a field to its title and unit, in their order. The numbers are
    `Value #A`, `Value #B`, … or `Value` where there is one query."""
    overrides = [
        {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": column_unit}]}
        for name, column_unit in columns.values() if column_unit
    ]
    organize = {
        "renameByName": {field: name for field, (name, _) in columns.items()},
        "indexByName": {field: index for index, field in enumerate(columns)},
        "excludeByName": {"Time": True},
    }
    transformations = [{"id": "merge", "options": {}}] if len(queries) > 1 else []
    transformations.append({"id": "organize", "options": organize})
    return _panel(
        "table", title, description, unit, queries, width, overrides=overrides, links=links,
        transformations=transformations,
        defaults={"custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False},
                  "mappings": list(mappings)},
        options={
            "showHeader": True,
            "cellHeight": "sm",
            "frameIndex": 0,
            "sortBy": [{"displayName": sort, "desc": True}] if sort else [],
            "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""},
        },
    )


def place(*rows):
    """Puts rows of panels below each other, and the panels of a row beside each other. A row is a title, a height and its
    panels, whose widths fill the 24 columns; a row without a title has no heading of its own."""
    placed, y, number = [], 0, 0
    for title, height, *panels in rows:
        if title:
            number += 1
            placed.append({"type": "row", "title": title, "id": number, "collapsed": False, "panels": [],
                           "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
            y += 1
        x = 0
        for panel in panels:
            number += 1
            placed.append({"id": number, **panel, "gridPos": {"x": x, "y": y, "w": panel["gridPos"]["w"], "h": height}})
            x += panel["gridPos"]["w"]
        assert x == 24, f"the row {title!r} is {x} columns wide: its panels fill 24"
        y += height
    return placed
