"""Every back end at once gets what it needs, in the form that it needs, from one gateway that the real service sends to."""

import re
import unittest

import spans
from back_end import LOGS, METRICS, TRACES, BackEnd, eventually
from programs import PASSING_ON, Collector, Service, free_port, series, text

CALLS = 20
RESOURCE = "deployment.environment.name=test,k8s.namespace.name=counters,k8s.pod.name=counter-api-0"
# Of spans, and made up by callers: no figure may bear them.
UNBOUNDED = {"url.path", "url.query", "client.address", "user.id", "db.query.text"}
# AGGREGATION_TEMPORALITY_DELTA
DELTA = 1

DATADOG_PATHS = {"/v1/traces": TRACES, "/api/v2/otlpmetrics": METRICS, "/v1/logs": LOGS}


class BackEnds(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.elastic = BackEnd(headers={"Authorization": "ApiKey elastic-key"})
        cls.datadog = BackEnd(DATADOG_PATHS, {"DD-API-KEY": "datadog-key"})
        cls.appdynamics = BackEnd({"/v1/traces": TRACES}, {"x-api-key": "appdynamics-key"}, encoding="")
        cls.jaeger = BackEnd()
        # One that is away for a moment: the others do not notice, and it gets everything in the end.
        cls.elastic.unavailable = 2
        # Jaeger takes OTLP over gRPC. Here it is a second collector, which passes on what it got.
        cls.sink = Collector(PASSING_ON, {"BACK_END": cls.jaeger.endpoint})
        prometheus = f"127.0.0.1:{free_port()}"
        cls.prometheus = f"http://{prometheus}/metrics"
        cls.gateway = Collector(
            "everything",
            {
                "GATEWAY_SAMPLING_PERCENTAGE": "100",
                "GATEWAY_DECISION_WAIT": "2s",
                "ELASTIC_OTLP_ENDPOINT": cls.elastic.endpoint,
                "ELASTIC_API_KEY": "elastic-key",
                "ELASTIC_METRICS_INTERVAL": "1s",
                "DD_OTLP_ENDPOINT": cls.datadog.endpoint,
                "DD_API_KEY": "datadog-key",
                "DD_METRICS_INTERVAL": "1s",
                "APPDYNAMICS_ENDPOINT": cls.appdynamics.endpoint,
                "APPDYNAMICS_API_KEY": "appdynamics-key",
                "APPDYNAMICS_ACCOUNT": "acme",
                "APPDYNAMICS_CONTROLLER_HOST": "acme.saas.appdynamics.com",
                "JAEGER_ENDPOINT": f"127.0.0.1:{cls.sink.ports['grpc']}",
                "JAEGER_INSECURE": "true",
                "PROMETHEUS_LISTEN": prometheus,
                "PROMETHEUS_FLUSH_INTERVAL": "1s",
            },
        )
        # As in production: through a load balancer, which is all that the service knows.
        cls.balancer = Collector("loadbalancer", {"GATEWAY_HOST": "127.0.0.1", "GATEWAY_PORT": str(cls.gateway.ports["grpc"])})
        cls.service = Service(
            OTEL_EXPORTER_OTLP_ENDPOINT=cls.balancer.http,
            OTEL_RESOURCE_ATTRIBUTES=RESOURCE,
            OTEL_LOGS_EXPORTER="otlp",
            OTEL_BLRP_SCHEDULE_DELAY="200",
        )
        cls.token = cls.service.register()
        cls.traces = {f"{number:032x}" for number in range(1, CALLS + 1)}
        for trace in sorted(cls.traces):
            status, _ = cls.service.call("POST", "/v1/next", cls.token, traceparent=f"00-{trace}-{'b2' * 8}-01")
            assert status == 200

    @classmethod
    def tearDownClass(cls):
        for program in (cls.service, cls.balancer, cls.gateway, cls.sink):
            program.stop()
        for back_end in (cls.elastic, cls.datadog, cls.appdynamics, cls.jaeger):
            back_end.close()

    def served(self, back_end):
        """The SERVER spans of the calls, once all are there."""

        def check():
            found = {span.trace: span for span in spans.of(back_end.received(TRACES)) if span.kind == "SERVER"}
            return found if found.keys() >= self.traces else None

        return [span for trace, span in eventually("the trace of each call", check).items() if trace in self.traces]

    def assert_resource(self, back_end, more=None):
        more = more or {}
        for span in self.served(back_end):
            self.assertEqual(span.resource["service.name"], "counter-api")
            self.assertTrue(span.resource["service.version"] and span.resource["service.instance.id"])
            for pair in RESOURCE.split(","):
                name, value = pair.split("=")
                self.assertEqual(span.resource[name], value)
            self.assertEqual({name: span.resource.get(name) for name in more}, more)
        self.assertEqual(back_end.refusals, [])

    def figures(self, back_end):
        """Name, temporality, attributes and data point of every figure so far."""
        for message in back_end.received(METRICS):
            for of_resource in message.resource_metrics:
                for of_scope in of_resource.scope_metrics:
                    for metric in of_scope.metrics:
                        data = getattr(metric, metric.WhichOneof("data"))
                        for point in data.data_points:
                            yield metric.name, data.aggregation_temporality, spans.attributes(point.attributes), point

    def assert_figures(self, back_end):
        """Deltas, whose sum is the number of calls, without what callers make up."""

        def counted():
            told = list(self.figures(back_end))
            of_call = [(name, point) for name, _, about, point in told if about.get("span.name") == "POST /v1/next"]
            calls = sum(point.as_int for name, point in of_call if name == "traces.span.metrics.calls")
            durations = sum(point.count for name, point in of_call if name == "traces.span.metrics.duration")
            return told if (calls, durations) == (CALLS, CALLS) else None

        told = eventually("figures of each call", counted)
        self.assertEqual({temporality for _, temporality, _, _ in told}, {DELTA})
        for _, _, about, _ in told:
            self.assertEqual(about.keys() & UNBOUNDED, set())
        about = next(about for _, _, about, _ in told if about.get("span.name") == "POST /v1/next")
        self.assertEqual((about["http.route"], str(about["http.response.status_code"])), ("/v1/next", "200"))
        self.assertEqual((about["span.kind"], about["status.code"]), ("SPAN_KIND_SERVER", "STATUS_CODE_UNSET"))

    def test_elastic(self):
        self.assert_resource(self.elastic)
        self.assert_figures(self.elastic)
        self.assertEqual(self.elastic.unavailable, 0)

    def test_datadog(self):
        self.assert_resource(self.datadog)
        self.assert_figures(self.datadog)
        configured = {request.headers["dd-otel-metric-config"] for request in self.datadog.requests}
        self.assertEqual(configured, {'{"resource_attributes_as_tags": true, "instrumentation_scope_metadata_as_tags": true}'})

    def test_appdynamics(self):
        controller = "appdynamics.controller."
        self.assert_resource(
            self.appdynamics,
            {
                f"{controller}account": "acme",
                f"{controller}host": "acme.saas.appdynamics.com",
                f"{controller}port": 443,
                "service.namespace": "counter-api",
            },
        )
        self.assertEqual(self.appdynamics.received(METRICS), [])

    def test_jaeger(self):
        self.assert_resource(self.jaeger)
        # What AppDynamics is told of itself is told to nobody else.
        self.assertNotIn("appdynamics", str(self.jaeger.received(TRACES)))

    def test_prometheus(self):
        labels = {"span_name": "POST /v1/next", "http_route": "/v1/next", "http_response_status_code": "200"}

        def scraped():
            told = text(self.prometheus, Accept="application/openmetrics-text; version=1.0.0") or ""
            return told if series(told, "traces_span_metrics_calls_total", **labels) == CALLS else None

        told = eventually("the calls in the gateway's figures", scraped)
        self.assertEqual(series(told, "traces_span_metrics_duration_seconds_count", **labels), CALLS)
        self.assertEqual(series(told, "traces_span_metrics_duration_seconds_bucket", le="10.0", **labels), CALLS)
        for name in (*UNBOUNDED, "collector.instance.id"):
            self.assertNotIn(name.replace(".", "_") + "=", told)

    def test_exemplars_lead_to_traces(self):
        """An exemplar is there until the figures change again, so it is looked for while calls go on."""
        trace = "e" * 32

        def exemplars():
            self.service.call("GET", "/v1/current", self.token, traceparent=f"00-{trace}-{'b2' * 8}-01")
            told = text(self.prometheus, Accept="application/openmetrics-text; version=1.0.0") or ""
            of_ours = [line for line in told.splitlines() if 'span_name="GET /v1/current"' in line]
            return re.search(rf'_bucket\{{.* # \{{[^}}]*trace_id="{trace}"', "\n".join(of_ours))

        eventually("an exemplar of our trace", exemplars)

    def test_log_records(self):
        """The line of each call, with its trace and the service's resource, to those that take logs."""

        def told(back_end):
            return {
                record.trace_id.hex(): spans.attributes(of_resource.resource.attributes)
                for message in back_end.received(LOGS)
                for of_resource in message.resource_logs
                for of_scope in of_resource.scope_logs
                for record in of_scope.log_records
                if record.body.string_value == "POST /v1/next 200"
            }

        for back_end in (self.elastic, self.datadog):
            eventually("a line of each call", lambda back_end=back_end: told(back_end).keys() >= self.traces)
            for resource in told(back_end).values():
                self.assertEqual((resource["service.name"], resource["k8s.pod.name"]), ("counter-api", "counter-api-0"))

    def test_a_namespace_of_its_own_is_kept(self):
        message = TRACES()
        of_resource = message.resource_spans.add()
        for name, value in (("service.name", "till"), ("service.namespace", "shop")):
            pair = of_resource.resource.attributes.add(key=name)
            pair.value.string_value = value
        span = of_resource.scope_spans.add().spans.add(name="sell", kind=2, trace_id=b"t" * 16, span_id=b"s" * 8)
        span.start_time_unix_nano, span.end_time_unix_nano = 1, 2
        self.balancer.post("/v1/traces", message)
        found = eventually(
            "the span", lambda: [span for span in spans.of(self.appdynamics.received(TRACES)) if span.name == "sell"]
        )
        self.assertEqual(found[0].resource["service.namespace"], "shop")

    def test_nobody_warns_but_of_the_one_that_was_away(self):
        self.served(self.elastic)
        self.assertEqual(self.sink.warnings() + self.balancer.warnings(), [])
        told = [line for line in self.gateway.warnings() if "otlp_http/elastic" not in str(line)]
        self.assertEqual(told, [])


if __name__ == "__main__":
    unittest.main()
