"""What exists: the metrics of docs/metrics.md, the series that the rules record, and a short list of what others serve."""

import re
from dataclasses import dataclass, field
from functools import cache

import promql_parser as promql
import yaml

from board import ROOT
from labels import survivors

# A scraped series bears these whatever it is called.
TARGET_LABELS = {"namespace", "service", "job", "instance", "pod"}

FOREIGN = {
    # Prometheus itself.
    "up": ("gauge", set()),
    "scrape_duration_seconds": ("gauge", set()),
    "scrape_samples_scraped": ("gauge", set()),
    "ALERTS": ("gauge", {"alertname", "alertstate", "severity", "slo", "region"}),
    # blackbox exporter
    "probe_success": ("gauge", {"region"}),
    # kube-state-metrics
    "kube_deployment_spec_replicas": ("gauge", {"deployment"}),
    "kube_deployment_status_replicas_ready": ("gauge", {"deployment"}),
    "kube_horizontalpodautoscaler_spec_max_replicas": ("gauge", {"horizontalpodautoscaler"}),
    "kube_horizontalpodautoscaler_spec_min_replicas": ("gauge", {"horizontalpodautoscaler"}),
    "kube_horizontalpodautoscaler_status_current_replicas": ("gauge", {"horizontalpodautoscaler"}),
    "kube_horizontalpodautoscaler_status_desired_replicas": ("gauge", {"horizontalpodautoscaler"}),
    "kube_pod_container_status_restarts_total": ("counter", {"pod", "container", "uid"}),
    # k6, written by its output experimental-prometheus-rw
    "k6_vus": ("gauge", {"testid"}),
    "k6_vus_max": ("gauge", {"testid"}),
    "k6_offered_rate": ("gauge", {"testid", "scenario"}),
    "k6_iterations_total": ("counter", {"testid", "scenario"}),
    "k6_dropped_iterations_total": ("counter", {"testid", "scenario"}),
    "k6_http_reqs_total": ("counter", {"testid", "scenario", "name", "method", "status", "expected_response"}),
    "k6_http_req_duration_p95": ("gauge", {"testid", "scenario", "name", "method", "status", "expected_response"}),
    "k6_http_req_duration_p99": ("gauge", {"testid", "scenario", "name", "method", "status", "expected_response"}),
    "k6_http_req_failed_rate": ("gauge", {"testid", "scenario", "name", "method", "status", "expected_response"}),
    "k6_checks_rate": ("gauge", {"testid", "scenario", "check", "group"}),
}

# Metrics that are on no dashboard, each with the reason.
NOT_SHOWN = {
    "target_info": "joins metrics to traces in other queries; there is nothing to look at",
}


@dataclass
class Metric:
    """A name that a query may select."""

    kind: str
    labels: set = field(default_factory=set)
    family: str = ""


def documented():
    """The metrics of docs/metrics.md by name, as they are written there."""
    found = {}
    for name, kind, labels in re.findall(
            r"^## `(\w+)`\n\nA (counter|gauge|histogram)[^;\n]*; (no labels|labels [^\n]*)\.$",
            (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE):
        found[name] = Metric(kind, set(re.findall(r"`(\w+)`", labels)), name)
    assert len(found) > 20, "docs/metrics.md is not read rightly: the pattern here and its form have parted"
    return found


def recorded(scraped):
    """The series that the rules record, with the labels that their expressions leave and those that the rules add."""
    found = {}
    for path in sorted((ROOT / "monitoring" / "prometheus" / "rules").glob("*.y*ml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    metric = found.setdefault(rule["record"], Metric("gauge", set(), rule["record"]))
                    metric.labels |= survivors(promql.parse(rule["expr"]), scraped | found) | set(rule.get("labels", {}))
    assert found, "the rules record nothing"
    return found


@cache
def selectable():
    """Every name that a query may select, a histogram's three series among them."""
    found = {name: Metric(kind, labels | TARGET_LABELS, name) for name, (kind, labels) in FOREIGN.items()}
    for name, metric in documented().items():
        labels = metric.labels | TARGET_LABELS
        if metric.kind == "histogram":
            found[f"{name}_bucket"] = Metric("bucket", labels | {"le"}, name)
            found[f"{name}_sum"] = found[f"{name}_count"] = Metric("counter", labels, name)
        else:
            found[name] = Metric(metric.kind, labels, name)
    return found | recorded(found)
