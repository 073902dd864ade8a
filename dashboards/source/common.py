"""What the dashboards share: variables, annotations, links, and the objectives."""

from pathlib import Path
from urllib.parse import quote

import yaml

from grafana import BAD, BLUE, DATASOURCE, OWN, WARN

ROOT = Path(__file__).resolve().parents[2]
TAG = JOB = "counter-api"
# What Explore opens with: a search for the service's traces. Grafana puts the data source and the dashboard's time in after it
# has been encoded; of the time behind an address, Explore takes no notice.
TRACES = quote('{"t":{"datasource":"TRACES","queries":[{"refId":"A","queryType":"search","service":"counter-api"}],'
               '"range":{"from":"BEGIN","to":"END"}}}')
TRACES = TRACES.replace("TRACES", "${traces}").replace("BEGIN", "${__from}").replace("END", "${__to}")
REPOSITORY = "https://github.com/counter-api/counter-api/blob/main"

UIDS = {
    "overview": "counter-api-overview",
    "mongodb": "counter-api-mongodb",
    "runtime": "counter-api-runtime",
    "accounts": "counter-api-accounts",
    "loadtest": "counter-api-loadtest",
}


class Slo:
    """An objective of `monitoring/slo.yaml`, the one place where objectives stand."""

    def __init__(self, name):
        data = yaml.safe_load((ROOT / "monitoring" / "slo.yaml").read_text())
        slo = next(slo for slo in data["slos"] if slo["name"] == name)
        self.name, self.title, self.alert = name, slo["title"], slo["alert"]
        self.objective = slo["objective"]
        # The share of events that may be bad. Rounded, for 1 - 0.999 is not quite 0.001 to a computer.
        self.budget = round(1 - self.objective, 9)
        self.seconds = slo.get("threshold_seconds")
        self.days = int(data["period"].removesuffix("d"))
        # The burn rates from which somebody is told by day, and from which somebody is woken.
        self.warns, self.pages = (
            min(alert["burn_rate"] for alert in data["burn_alerts"] if alert["severity"] == severity)
            for severity in ("warning", "critical")
        )
        # Which calls count. The job is the dashboard's variable.
        self.counted = slo["total"].partition("{")[2].rstrip("}").replace('job="counter-api", ', "")


def link(title, url, tooltip, icon):
    """A link of a dashboard or a panel."""
    return {"type": "link", "title": title, "url": url, "tooltip": tooltip, "icon": icon, "tags": [], "asDropdown": False,
            "includeVars": False, "keepTime": True, "targetBlank": True}


def runbook(alert):
    """A panel's link to what to do about it."""
    return link(f"Runbook: {alert}", f"{REPOSITORY}/monitoring/runbooks/{alert}.md", "What to do about it", "doc")


def drill_down(title, name):
    """A panel's link to the dashboard that says more, with the same variables and the same time."""
    url = f"/d/{UIDS[name]}?${{__url_time_range}}&${{__all_variables}}"
    return {**link(title, url, "More about it", "dashboard"), "targetBlank": False}


def _labels(name, series, label, matchers, everything=".+"):
    source = f"label_values({series}{{{matchers}}}, {label})" if matchers else f"label_values({series}, {label})"
    return {
        "type": "query",
        "name": name,
        "label": name,
        "datasource": DATASOURCE,
        "definition": source,
        "query": {"query": source, "refId": f"variable-{name}"},
        "regex": "",
        "multi": True,
        "includeAll": True,
        "allValue": everything,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        # On every change of the time range: a replica of last night has another name than today's.
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "skipUrlSync": False,
    }


def _datasource(name, kind, label, current):
    return {"type": "datasource", "name": name, "label": label, "query": kind, "regex": "", "multi": False,
            "includeAll": False, "current": {"text": current, "value": current},
            "options": [], "refresh": 1, "hide": 0, "skipUrlSync": False}


def variables(*more):
    """The variables of every dashboard, and its own after them."""
    of_ours = "counter_api_build_info"
    return [
        _datasource("datasource", "prometheus", "data source", "default"),
        # For the links to traces. With Tempo, write its type here.
        _datasource("traces", "jaeger", "traces", ""),
        _labels("namespace", of_ours, "namespace", ""),
        # All jobs are this one, and not `.+`: other programs serve process_… and http_server_… too.
        _labels("job", of_ours, "job", 'namespace=~"$namespace"', JOB),
        _labels("instance", of_ours, "instance", 'namespace=~"$namespace", job=~"$job"'),
        *more,
    ]


def label_variable(name, series, label, matchers=""):
    """A variable of a dashboard's own."""
    return _labels(name, series, label, matchers)


def _annotation(name, expr, color, title, text, tags, **more):
    return {"name": name, "datasource": DATASOURCE, "enable": True, "hide": False, "iconColor": color, "expr": expr,
            "titleFormat": title, "textFormat": text, "tagKeys": tags, "step": "15s", **more}


def _firing(severity):
    return f'max by (alertname) (ALERTS{{namespace=~"$namespace", alertstate="firing", severity="{severity}"}})'


ANNOTATIONS = [
    # A start is drawn at the moment that the process itself names, whenever it was scraped. A deployment is a row of starts
    # with another version.
    _annotation(
        "Starts and deployments",
        f"max by (instance, version, revision) (counter_api_build_info{{{OWN}}} * on (namespace, job, instance) "
        f"group_left () process_start_time_seconds{{{OWN}}}) * 1000",
        BLUE, "{{instance}} started", "version {{version}}, revision {{revision}}", "version,instance",
        useValueForTime=True),
    _annotation("Pages", _firing("critical"), BAD, "{{alertname}}", "somebody was woken", "alertname"),
    # Off until somebody wants them: on a bad day they would colour everything.
    _annotation("Warnings", _firing("warning"), WARN, "{{alertname}}", "a warning fires", "alertname", enable=False),
]


def dashboard(name, title, description, panels, *, more_variables=(), time="now-1h"):
    """A whole dashboard."""
    links = [
        {"type": "dashboards", "title": "Counter API", "tags": [TAG], "asDropdown": False, "includeVars": True,
         "keepTime": True, "targetBlank": False, "icon": "external link", "tooltip": "The other dashboards", "url": ""},
        link("Runbooks", f"{REPOSITORY}/monitoring/runbooks", "What to do about each alert", "doc"),
        link("Metrics", f"{REPOSITORY}/docs/metrics.md", "What each metric means", "doc"),
        link("Traces", f"/explore?schemaVersion=1&panes={TRACES}", "Search the traces of this time", "bolt"),
    ]
    return {
        "id": None,
        "uid": UIDS[name],
        "title": title,
        "description": " ".join(description.split()),
        "tags": [TAG],
        "schemaVersion": 38,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "weekStart": "",
        "timezone": "browser",
        "time": {"from": time, "to": "now"},
        "timepicker": {"refresh_intervals": ["5s", "15s", "30s", "1m", "5m", "15m"]},
        "refresh": "30s",
        "templating": {"list": variables(*more_variables)},
        "annotations": {"list": ANNOTATIONS},
        "links": links,
        "panels": panels,
    }
