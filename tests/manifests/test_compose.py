"""compose.yaml as docker compose understands it, and the files that it names."""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml
from rendered import ROOT

CONFIG = ROOT / ".tools/bin/compose-config"
# Files in the folders that are mounted, which the commands and settings name.
NAMED = (
    "monitoring/prometheus/rules/slo.yaml",
    "monitoring/otel-collector/gateway.yaml",
    "monitoring/otel-collector/jaeger.yaml",
    "dashboards/counter-api-overview.json",
    "dashboards/provisioning/datasources/counter-api.yaml",
    "kubernetes/components/mongodb/init.js",
)


def config(path):
    # Without what the caller's environment would put in.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COUNTER_")}
    return subprocess.run([CONFIG, path], capture_output=True, text=True, env=environment)


class Compose(unittest.TestCase):
    def setUp(self):
        done = config(ROOT / "compose.yaml")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.services = yaml.safe_load(done.stdout)["services"]

    def test_a_fault_is_found(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write("name: x\nservices: {api: {image: x, replicas: 3}}\n")
            file.flush()
            self.assertIn("replicas", config(file.name).stderr)

    def test_three_replicas_and_three_members(self):
        self.assertEqual(self.services["api"]["deploy"]["replicas"], 3)
        self.assertEqual(len([name for name in self.services if re.fullmatch(r"mongodb-\d", name)]), 3)

    def test_nothing_listens_beyond_this_machine(self):
        for name, service in self.services.items():
            for port in service.get("ports", []):
                self.assertEqual(port["host_ip"], "127.0.0.1", name)

    def test_what_is_mounted_is_there(self):
        for service in self.services.values():
            for volume in service.get("volumes", []):
                if volume["type"] == "bind":
                    self.assertTrue(Path(volume["source"]).exists(), volume["source"])
        for path in NAMED:
            self.assertTrue((ROOT / path).exists(), path)

    def test_the_links_of_the_head_are_published(self):
        text = (ROOT / "compose.yaml").read_text()
        linked = set(re.findall(r"^#.*?http://127\.0\.0\.1:(\d+)", text, re.M)) | set(re.findall(r"http://127\.0\.0\.1:(\d+) Alertmanager", text))
        published = {port["published"] for service in self.services.values() for port in service.get("ports", [])}
        self.assertEqual(linked, published)

    def test_every_container_is_restricted(self):
        for name, service in self.services.items():
            self.assertTrue(service.get("read_only"), name)
            self.assertEqual(service.get("cap_drop"), ["ALL"], name)

    def test_sign_in_is_off_until_its_settings_are_given(self):
        environment = self.services["api"]["environment"]
        # Empty counts as not given.
        self.assertEqual(environment["COUNTER_OAUTH_GITHUB_CLIENT_ID"], "")
        self.assertEqual(environment["COUNTER_OAUTH_GITHUB_CLIENT_SECRET"], "")
        published = self.services["proxy"]["ports"][0]
        self.assertEqual(environment["COUNTER_PUBLIC_URL"], f"http://{published['host_ip']}:{published['published']}")

    def test_nobody_chooses_the_address_that_limits_it(self):
        self.assertIn("COUNTER_TRUSTED_PROXIES", self.services["api"]["environment"])
        proxy = (ROOT / "compose/haproxy.cfg").read_text()
        self.assertRegex(proxy, r"(?m)^ +http-request set-header X-Forwarded-For %\[src\]$")
        self.assertNotIn("option forwardfor", proxy)

    def test_prometheus_has_the_rules_but_those_on_probes(self):
        named = yaml.safe_load((ROOT / "compose/prometheus.yaml").read_text())["rule_files"]
        there = {path.name for path in (ROOT / "monitoring/prometheus/rules").glob("*.yaml")}
        self.assertEqual({Path(path).name for path in named}, there - {"probes.yaml"})

    def test_prometheus_takes_what_load_tests_write(self):
        self.assertIn("--web.enable-remote-write-receiver", self.services["prometheus"]["command"])

    def test_a_stop_has_the_time_that_it_takes(self):
        # COUNTER_DRAIN_DELAY and COUNTER_DRAIN_TIMEOUT are the defaults, 5 s and 25 s.
        self.assertEqual(self.services["api"]["stop_grace_period"], "1m0s")


if __name__ == "__main__":
    unittest.main()
