"""A stage for whatever looks at a service in trouble: everything that can go wrong within a minute has gone wrong, and is seen."""

import pathlib
import threading
import time

from certificates import certificate
from harness import ROOT, Alertmanager, BlackboxExporter, Prometheus, ReplicaSet, Service, fetch, free_port, tool, wait_for


def perform(stage):
    """A service that has had a bad time: refusals, a majority that was lost, a record that somebody else wrote, wrong keys, no
    collector, and a provider of sign-ins that is gone."""
    replica_set = ReplicaSet(stage, members=3)
    keys = "k1:" + "0123456789abcdef" * 4
    key_file = stage.file("jwt-keys", keys)
    service = Service(stage, replica_set, COUNTER_AUTH_RATE_LIMIT="3/m", COUNTER_MAX_QUEUE="2", COUNTER_STORE_TIMEOUT="1s", COUNTER_JWT_KEYS="",
                      COUNTER_JWT_KEYS_FILE=str(key_file), OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:%d" % free_port(),
                      COUNTER_PUBLIC_URL="http://127.0.0.1:8080", COUNTER_OAUTH_GONE_CLIENT_ID="counter-api", COUNTER_OAUTH_GONE_CLIENT_SECRET="none",
                      COUNTER_OAUTH_GONE_ISSUER="http://127.0.0.1:%d" % free_port())
    wait_for("the service is healthy", service.healthy)
    token = stage.file("token", service.register("ada@example.com"))
    prometheus, overrides, secure = watch(stage, replica_set, service, token)
    text = token.read_text()

    def call(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for path in ("/v1/oauth/gone/start", "/v1/oauth/gone/callback"):
                service.call("GET", path, "")
            for method, path in (("POST", "/v1/next"), ("GET", "/v1/current"), ("POST", "/v1/counters/orders/next"), ("GET", "/v1/counters")):
                service.call(method, path, text)
            service.call("GET", "/v1/current", "no.such.token")
            time.sleep(0.05)

    def crowd(seconds):
        callers = [threading.Thread(target=call, args=(seconds,)) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()

    key_file.write_text("k1:short")
    for _ in range(6):
        try:
            service.register("ada@example.com")
        except AssertionError:
            pass  # 409, then 429, which is what is wanted.
    call(5)
    for member in (1, 2):
        replica_set.stop(member)
    crowd(4)
    for member in (1, 2):
        replica_set.start(member)
    wait_for("the service is healthy again", service.healthy)
    replica_set.shell('db.getSiblingDB("thinkific_challenge").incremental_counter.updateOne({ name: "orders" }, '
                      '{ $set: { value: "seven" } }, { bypassDocumentValidation: true })')
    call(5)
    wait_for("the keys are refused", lambda: any("token keys" in line["message"] for line in service.lines()))
    key_file.write_text(keys)
    wait_for("the database is up", lambda: prometheus.query('counter_api_store_up{job="counter-api"} == 1'))
    return prometheus, overrides, secure


def watch(stage, replica_set, service, token):
    """Prometheus with the shipped rules, Alertmanager, an exporter; and the words that tell the commands where all of it is."""
    exporter, alertmanager = BlackboxExporter(stage, token), Alertmanager(stage)
    labels = {"namespace": "counter-api", "service": "counter-api"}

    def probe(job, module, path):
        return {"job_name": job, "metrics_path": "/probe", "params": {"module": [module], "target": [service.api + path]},
                "static_configs": [{"targets": [exporter.url[len("http://"):]], "labels": dict(labels, region="eu")}]}

    # The second replica is one that is down.
    replicas = [service.admin[len("http://"):], "127.0.0.1:%d" % free_port()]
    prometheus = Prometheus(stage, [
        {"job_name": "counter-api", "static_configs": [{"targets": replicas, "labels": labels}]},
        probe("counter-api-probe", "http_health", "/health"), probe("counter-api-canary", "http_next", "/v1/next"),
    ], sorted((ROOT / "monitoring/prometheus/rules").glob("*.yaml")), alertmanager)
    wait_for("the watchdog is heard", lambda: "Watchdog" in fetch(alertmanager.url + "/api/v2/alerts")[1].decode())

    pem = certificate(stage, 30)
    stage.file("tls.crt", pem.read_text())
    stage.file("tls.key", pem.with_suffix(".key").read_text())
    tls = free_port()
    stage.start("tls", ["openssl", "s_server", "-accept", str(tls), "-cert", pem, "-www"])

    programs = {str(pathlib.Path(tool(*pair)).parent) for pair in (("mongosh", "install-mongosh"), ("promtool", "install-prometheus"))}
    overrides = "\n".join([
        "PROM=%s ALERTMANAGER=%s API=%s ADMIN=%s EXPORTER=%s OTLP=%s" % (
            prometheus.url, alertmanager.url, service.api, service.admin, exporter.url, prometheus.url),
        "MONGO='%s'" % replica_set.uri, "logs() { cat %s; }" % service.program.log, "PATH=%s:$PATH" % ":".join(sorted(programs))])
    return prometheus, overrides, "API=https://localhost:%d" % tls
