"""The check of the structure finds what it is there to find: each fault is made, and must be told."""

import copy
import unittest

import configurations
import structure


def changed(name, change):
    """A file, or a composition, with something else in it."""
    whole = name in ("everything", "loadbalancer whole")
    configuration = copy.deepcopy(
        configurations.composition(name.split()[0]) if whole else configurations.load(name)
    )
    change(configuration)
    return configuration


def rename(section, old, new):
    def change(configuration):
        configuration[section][new] = configuration[section].pop(old)

    return change


def put(*place_and_value):
    *place, last, value = place_and_value

    def change(configuration):
        for key in place:
            configuration = configuration[key]
        configuration[last] = value

    return change


def drop(*place):
    def change(configuration):
        for key in place[:-1]:
            configuration = configuration[key]
        del configuration[place[-1]]

    return change


POLICIES = ("processors", "tail_sampling", "policies")

# A file, what is done to it, and what must be said.
OF_A_FILE = [
    ("elastic", rename("exporters", "otlp_http/elastic", "otlphttp/elastic"), "use otlp_http"),
    ("jaeger", rename("exporters", "otlp_grpc/jaeger", "otlp/jaeger"), "use otlp_grpc"),
    ("loadbalancer", rename("exporters", "load_balancing", "loadbalancing"), "use load_balancing"),
    ("elastic", rename("connectors", "span_metrics/elastic", "spanmetrics/elastic"), "use span_metrics"),
    ("gateway", rename("processors", "memory_limiter", "batch"), "use sending_queue.batch"),
    ("datadog", put("connectors", "span_metrics/datadog", "dimensions_cache_size", 1), "aggregation_cardinality_limit"),
    ("prometheus", put("exporters", "prometheus", "add_metric_suffixes", True), "use translation_strategy"),
    ("gateway", put("service", "telemetry", "metrics", "address", ":8888"), "use readers"),
    ("elastic", put("exporters", "otlp_http/elastic", "headers", "Authorization", "ApiKey abc"), "from the environment"),
    ("elastic", put("exporters", "otlp_http/elastic", "headers", "Authorization", "ApiKey ${env:K:-abc}"), "no default"),
    ("datadog", put("exporters", "otlp_http/datadog", "headers", "DD-API-KEY", "abc${env:K}"), "from the environment"),
    ("appdynamics", put("exporters", "otlp_http/appdynamics", "headers", "x-other", "abc"), "from the environment"),
    ("jaeger", put("exporters", "otlp_grpc/jaeger", "endpoint", "${JAEGER}"), "no variable of the environment"),
    ("jaeger", put("exporters", "otlp_grpc/jaeger", "endpoint", "$JAEGER"), "no variable of the environment"),
    ("jaeger", put("exporters", "otlp_grpc/jaeger", "endpoint", "${file:/secret}"), "no variable of the environment"),
    ("jaeger", drop("exporters", "otlp_grpc/jaeger", "sending_queue", "batch"), "no sending_queue.batch"),
    ("datadog", put("connectors", "span_metrics/datadog", "dimensions", 0, "name", "url.path"), "not bounded"),
    ("prometheus", put("connectors", "span_metrics/prometheus", "dimensions", 0, {"glob": "http.**"}), "not bounded"),
    ("gateway", drop(*POLICIES, 2, "latency"), "must have settings for latency"),
    ("gateway", put(*POLICIES, 0, "latency", {"threshold_ms": 1}), "and no others"),
    ("gateway", drop(*POLICIES, 1, "and", "and_sub_policy", 0, "latency"), "must have settings for latency"),
    ("gateway", put(*POLICIES, 1, "and", "and_sub_policy", 0, "latency", "threshold_ms", 250), "100 ms of monitoring/slo.yaml"),
    ("gateway", put(*POLICIES, 2, "name", "errors"), "one name"),
    ("gateway", put(*POLICIES, 1, "and", "and_sub_policy", 1, "string_attribute", "invert_match", True), "deprecated"),
    ("loadbalancer", put("exporters", "load_balancing", "routing_key", "streamID"), "routed by"),
    ("loadbalancer", put("exporters", "load_balancing", "resolver", "dns", "host", "x"), "no setting resolver.dns.host"),
    ("loadbalancer", put("exporters", "load_balancing", "resolver", "dns", "port", 4317), "must be a string"),
    ("loadbalancer", put("exporters", "load_balancing", "resolver", "k8s", {}), "one resolver"),
    ("loadbalancer", put("exporters", "load_balancing", "protocol", "otlp", "endpoint", "x"), "overwritten"),
]

OF_A_WHOLE = [
    ("everything", drop("exporters", "otlp_http/elastic"), "otlp_http/elastic is not defined"),
    ("everything", put("exporters", "otlp_http/other", {}), "used nowhere"),
    ("everything", put("extensions", "health_check/2", {}), "used nowhere"),
    ("everything", drop("extensions", "health_check"), "extension health_check is not defined"),
    ("everything", put("service", "pipelines", "traces/jaeger", "receivers", ["otlp"]), "begin with memory_limiter"),
    ("everything", put("service", "pipelines", "traces/jaeger", "exporters", []), "has no exporters"),
    ("everything", drop("service", "pipelines", "metrics/elastic"), "an exporter of one pipeline and a receiver"),
    ("everything", put("service", "pipelines", "logs/elastic", "receivers", ["forward/all"]), "cannot make logs"),
    ("everything", put("service", "pipelines", "traces/elastic-figures", "receivers", ["forward/sampled"]), "left over"),
    ("loadbalancer whole", drop("processors", "memory_limiter"), "memory_limiter is not defined"),
]

# Lines of a page that must not be changed alone.
OF_A_PAGE = [
    ("jaeger", "| `JAEGER_ENDPOINT` ", "| `JAEGER_ADDRESS` ", "JAEGER_ENDPOINT is not in its table"),
    ("jaeger", "| `JAEGER_ENDPOINT` ", "| `JAEGER_ADDRESS` ", "JAEGER_ADDRESS is in its table, and in no file"),
    ("jaeger", "| `false` |", "| `true` |", "the default of JAEGER_INSECURE is false"),
]


class Structure(unittest.TestCase):
    def test_the_configurations_have_no_fault(self):
        self.assertEqual(structure.faults(), [])

    def assert_told(self, told, expected):
        self.assertTrue(any(expected in fault for fault in told), f"{expected!r} is not in {list(told)}")

    def test_faults_of_a_file(self):
        for name, change, expected in OF_A_FILE:
            with self.subTest(file=name, expected=expected):
                self.assert_told(list(structure.faults_of_file(changed(name, change))), expected)

    def test_faults_of_a_whole(self):
        for name, change, expected in OF_A_WHOLE:
            with self.subTest(composition=name, expected=expected):
                self.assert_told(list(structure.faults_of_whole(changed(name, change))), expected)

    def test_faults_of_a_merge(self):
        files = {"gateway": configurations.load("gateway"), "jaeger": configurations.load("jaeger")}
        files["jaeger"]["service"]["extensions"] = ["other"]
        self.assert_told(list(structure.faults_of_merge(files)), "service.extensions is set by gateway.yaml and by jaeger")

    def test_faults_of_a_page(self):
        for name, old, new, expected in OF_A_PAGE:
            with self.subTest(page=name, expected=expected):
                page = (configurations.FOLDER / f"{name}.md").read_text()
                self.assertIn(old, page)
                told = list(structure.faults_of_page(page.replace(old, new), [configurations.load(name)]))
                self.assert_told(told, expected)

    def test_a_reduction_drops_what_is_missing_and_says_so(self):
        available = {
            section: {configurations.type_of(name) for name in configurations.composition("everything").get(section, {})}
            for section in configurations.SECTIONS
        }
        for name in configurations.COMPOSITIONS:
            if name != "loadbalancer":
                self.assertEqual(configurations.reduced(configurations.composition(name), available).notes, [])
        # A fault of the configuration is no reason to leave anything out: the collector shall see it.
        faulty = changed("everything", put("service", "pipelines", "traces/jaeger", "exporters", []))
        self.assertEqual(configurations.reduced(faulty, available).configuration, faulty)
        available["connectors"] -= {"span_metrics"}
        left = configurations.reduced(configurations.composition("elastic"), available)
        gone = ["traces/elastic-figures", "metrics/elastic"]
        self.assertEqual(left.notes, ["span_metrics/elastic left out", *(f"{name} left out with it" for name in gone)])
        self.assertEqual(list(structure.faults_of_whole(left.configuration)), [])
        balancer = configurations.reduced(configurations.composition("loadbalancer"), available)
        self.assertEqual(balancer.notes, ["load_balancing replaced by otlp_grpc/load_balancing, to one gateway"])
        self.assertEqual(list(structure.faults_of_whole(balancer.configuration)), [])


if __name__ == "__main__":
    unittest.main()
