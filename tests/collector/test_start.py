"""Each combination of configurations is valid, and starts and stops without a warning, on a real collector."""

import unittest

import configurations
import programs
from programs import PASSING_ON, Collector

# Addresses where nobody listens: an exporter over HTTP connects when it has something to send.
SETTINGS = {
    "GATEWAY_HOST": "127.0.0.1",
    "ELASTIC_OTLP_ENDPOINT": "http://127.0.0.1:9",
    "ELASTIC_API_KEY": "elastic-key",
    "DD_API_KEY": "datadog-key",
    "APPDYNAMICS_ENDPOINT": "http://127.0.0.1:9",
    "APPDYNAMICS_API_KEY": "appdynamics-key",
    "APPDYNAMICS_ACCOUNT": "acme",
    "APPDYNAMICS_CONTROLLER_HOST": "acme.saas.appdynamics.com",
    "JAEGER_INSECURE": "true",
}

class Start(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        # One over gRPC connects at once, as does the one that stands in for load_balancing.
        cls.listening = Collector(PASSING_ON, {"BACK_END": "http://127.0.0.1:9"})

    @classmethod
    def tearDownClass(cls):
        cls.listening.stop()

    def settings(self):
        port = str(self.listening.ports["grpc"])
        listening = {"JAEGER_ENDPOINT": f"127.0.0.1:{port}", "GATEWAY_PORT": port}
        return {**SETTINGS, **listening, "PROMETHEUS_LISTEN": f"127.0.0.1:{programs.free_port()}"}

    def test_each_composition_starts_and_stops_without_a_warning(self):
        for name in configurations.COMPOSITIONS:
            with self.subTest(composition=name):
                collector = Collector(name, self.settings())
                try:
                    for note in collector.notes:
                        print(f"  {name}: {note}")
                    self.assertTrue(collector.says("Everything is ready"))
                    self.assertEqual(collector.warnings(), [])
                finally:
                    code = collector.stop()
                self.assertEqual(code, 0)
                # A connection that is just being made when the end comes is told by gRPC's own log.
                self.assertEqual([line for line in collector.warnings() if not line.get("grpc_log")], [])

    def test_only_what_cannot_be_had_is_left_out(self):
        available = programs.components()
        named = {
            (section, configurations.type_of(name))
            for composition in configurations.COMPOSITIONS
            for section in configurations.SECTIONS
            for name in configurations.composition(composition).get(section, {})
        }
        missing = {each for each in named if each[1] not in available[each[0]]}
        self.assertEqual(missing, {("exporters", "load_balancing")})

    def test_a_former_name_would_be_seen(self):
        configuration = configurations.composition("elastic")
        configuration["exporters"]["otlphttp/elastic"] = configuration["exporters"].pop("otlp_http/elastic")
        configurations.replace(configuration["service"]["pipelines"], "otlp_http/elastic", ["otlphttp/elastic"])
        collector = Collector(configuration, self.settings())
        collector.stop()
        self.assertTrue(any("deprecated" in str(line) for line in collector.warnings()), collector.warnings())

    def test_a_missing_key_is_told(self):
        environment = self.settings()
        del environment["ELASTIC_API_KEY"]
        collector = Collector("elastic", environment)
        collector.stop()
        told = [line for line in collector.warnings() if "ELASTIC_API_KEY" in str(line)]
        self.assertTrue(told and "unset environment variable" in str(told[0]), collector.warnings())


if __name__ == "__main__":
    unittest.main()
