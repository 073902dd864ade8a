"""The blackbox exporter with the shipped modules, and the canary's token, against the service."""

import concurrent.futures
import json
import os
import subprocess
import time
import unittest

from certificates import certificate
from harness import PATIENCE, ROOT, BlackboxExporter, ReplicaSet, Service, Stage, tool, wait_for
from servers import Answer

SCRIPT = ROOT / "monitoring/blackbox/canary-token"
PASSWORD = "correct & horse=battery+staple %41 \"é\" \\"


def canary_token(stage, api, call, password=PASSWORD, shell="sh", password_file="password"):
    environment = {"PATH": os.environ["PATH"], "CANARY_API": api, "CANARY_EMAIL": "canary+eu@example.com",
                   "CANARY_PASSWORD_FILE": str(stage.file(password_file, password + "\n")), "CANARY_TOKEN_FILE": str(stage.directory / "token")}
    return subprocess.run([shell, str(SCRIPT)] + call.split(), capture_output=True, text=True, timeout=PATIENCE, env=environment)


HEALTH = json.dumps({"status": "pass", "version": "0.1.0", "checks": {}}, separators=(",", ":")).encode()
HEALTH_JSON = [("Content-Type", "application/health+json")]


class Configuration(unittest.TestCase):
    def test_the_exporter_takes_it(self):
        done = subprocess.run([tool("prometheus-blackbox-exporter", "install-prometheus"), "--config.check", "--config.file",
                               str(ROOT / "monitoring/blackbox/blackbox.yaml")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)


class Modules(unittest.TestCase):
    def test_health_passes_for_its_own_answer_alone(self):
        with Stage() as stage:
            exporter = BlackboxExporter(stage, stage.directory / "token")

            def probe(*arguments, **named):
                with Answer(*arguments, **named) as server:
                    return exporter.probe("http_health", server.url + "/health")

            self.assertEqual(probe(200, HEALTH, HEALTH_JSON)["probe_success"], 1)
            failing = HEALTH.replace(b"pass", b"fail")
            for status, body, headers in ((503, failing, HEALTH_JSON), (200, failing, HEALTH_JSON), (200, HEALTH, []), (204, b"", HEALTH_JSON),
                                          (200, b"<html>", HEALTH_JSON), (200, HEALTH, [("Content-Type", "text/html")]),
                                          (200, b'{"status":"fail","checks":{"a":{"status":"pass"}}}', HEALTH_JSON)):
                metrics = probe(status, body, headers)
                self.assertEqual((metrics["probe_success"], metrics["probe_http_status_code"]), (0, status), (status, body))
            with Answer(200, HEALTH, HEALTH_JSON) as elsewhere:
                metrics = probe(302, b"", [("Location", elsewhere.url)])
                self.assertEqual((metrics["probe_success"], metrics["probe_http_status_code"], elsewhere.requests), (0, 302, []))
            self.assertEqual(exporter.probe("http_health", "http://127.0.0.1:1/health")["probe_http_status_code"], 0)

    def test_a_certificate_is_verified_and_its_end_is_seen(self):
        with Stage() as stage:
            for days, success in ((10, 1), (-1, 0)):
                pem = certificate(stage, days)
                exporter = BlackboxExporter(stage, stage.directory / "token", "blackbox%d" % days, certificate=pem)
                with Answer(200, HEALTH, HEALTH_JSON, pem=pem) as server:
                    metrics = exporter.probe("http_health", server.url)
                self.assertEqual(metrics["probe_success"], success, days)
                if success:
                    left = (metrics["probe_ssl_earliest_cert_expiry"] - time.time()) / 86400
                    self.assertAlmostEqual(left, days, delta=0.1)
            untrusting = BlackboxExporter(stage, stage.directory / "token", "untrusting")
            with Answer(200, HEALTH, HEALTH_JSON, pem=certificate(stage, 20)) as server:
                self.assertEqual(untrusting.probe("http_health", server.url)["probe_success"], 0)

    def test_next_keeps_its_token_from_redirects(self):
        with Stage() as stage:
            exporter = BlackboxExporter(stage, stage.file("token", "t0ken\n"))
            with Answer(200, b'{"counter":"default","value":7,"previous":6}') as elsewhere:
                self.assertEqual(exporter.probe("http_next", elsewhere.url)["probe_success"], 1)
                self.assertEqual(elsewhere.requests, [("POST", "/", "Bearer t0ken")])
                for status in (302, 307, 308):
                    with Answer(status, b"", [("Location", elsewhere.url)]) as server:
                        self.assertEqual(exporter.probe("http_next", server.url)["probe_success"], 0)
                self.assertEqual(len(elsewhere.requests), 1)
            with Answer(200, b'{"status":"pass"}') as other:
                self.assertEqual(exporter.probe("http_next", other.url)["probe_success"], 0)


class TheService(unittest.TestCase):
    def test_both_modules_through_an_outage_of_the_database(self):
        with Stage() as stage:
            replica_set = ReplicaSet(stage)
            service = Service(stage, replica_set)
            wait_for("the service is healthy", service.healthy)
            self.assertEqual(canary_token(stage, service.api, "register").stderr, "")
            exporter = BlackboxExporter(stage, stage.directory / "token")

            def both():
                probes = (exporter.probe("http_health", service.api + "/health"), exporter.probe("http_next", service.api + "/v1/next"))
                return [(int(each["probe_success"]), int(each["probe_http_status_code"])) for each in probes]

            wait_for("both pass", lambda: both() == [(1, 200), (1, 200)])
            replica_set.stop(0)
            wait_for("both fail", lambda: both() == [(0, 503), (0, 503)])
            replica_set.start(0)
            wait_for("both pass again", lambda: both() == [(1, 200), (1, 200)])


class Token(unittest.TestCase):
    def test_its_life(self):
        with Stage() as stage:
            service = Service(stage)
            exporter = BlackboxExporter(stage, stage.directory / "token")
            file = stage.directory / "token"

            def status():
                return int(exporter.probe("http_next", service.api + "/v1/next")["probe_http_status_code"])

            self.assertEqual(status(), 0, "no token, no call")
            self.assertNotEqual(canary_token(stage, service.api, "renew").returncode, 0, "there is no account yet")
            done = canary_token(stage, service.api, "register", shell="dash")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
            first = file.read_text().strip()
            self.assertEqual((status(), file.stat().st_mode & 0o777), (200, 0o600))

            # A renewed token counts at once, and the one before goes on: other regions have it.
            self.assertEqual(canary_token(stage, service.api, "renew").returncode, 0)
            second = file.read_text().strip()
            self.assertNotEqual(first, second)
            self.assertEqual([status(), service.call("POST", "/v1/next", first)], [200, 200])

            # A logout ends them all; a login makes a new one.
            self.assertEqual(service.call("POST", "/v1/logout", first), 204)
            wait_for("the token is refused", lambda: status() == 401)
            self.assertEqual(canary_token(stage, service.api, "renew").returncode, 0)
            self.assertEqual(status(), 200)

    def test_a_failure_leaves_the_old_one_and_says_why(self):
        with Stage() as stage:
            service = Service(stage)
            canary_token(stage, service.api, "register")
            file = stage.directory / "token"
            before = file.read_text()
            with Answer(200, b'{"status":"pass"}') as other, Answer(302, b"", [("Location", service.api)]) as redirect:
                for api, call, password, words in (
                        (service.api, "renew", "wrong password", "login was answered 401 invalid_credentials"),
                        (service.api, "register", PASSWORD, "register was answered 409 email_taken"),
                        (service.api, "register", "short", "register was answered 422 invalid_field"),
                        ("http://127.0.0.1:1", "renew", PASSWORD, "does not answer"), (other.url, "renew", PASSWORD, "holds no token"),
                        (redirect.url, "renew", PASSWORD, "answered 302"), (service.api, "", PASSWORD, "register or renew"),
                        (service.api, "logout", PASSWORD, "register or renew")):
                    done = canary_token(stage, api, call, password)
                    self.assertEqual((done.returncode, words in done.stderr), (1, True), done.stderr)
                    self.assertNotIn(password, done.stderr)
            self.assertEqual(file.read_text(), before)
            self.assertEqual([path.name for path in stage.directory.glob("token*")], ["token"], "something was left behind")

    def test_a_service_that_is_busy_is_asked_again(self):
        with Stage() as stage:
            service = Service(stage, COUNTER_AUTH_RATE_LIMIT="1/s")
            self.assertEqual(canary_token(stage, service.api, "register").returncode, 0)
            # At once: one after the other, they are no more than one a second where a login takes that long.
            with concurrent.futures.ThreadPoolExecutor() as pool:
                calls = list(pool.map(lambda number: canary_token(stage, service.api, "renew", password_file="password%d" % number), range(3)))
            self.assertEqual([done.returncode for done in calls], [0, 0, 0], [done.stderr for done in calls])
            refused = [line for line in service.lines() if line.get("status") == 429]
            self.assertTrue(refused, "the limit was never met")
            self.assertEqual(service.call("POST", "/v1/next", (stage.directory / "token").read_text().strip()), 200)


if __name__ == "__main__":
    unittest.main()
