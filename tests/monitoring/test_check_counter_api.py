"""The Nagios plugin, against small servers with every kind of answer, and against the service itself."""

import json
import re
import socket
import subprocess
import threading
import time
import unittest

from harness import PATIENCE, ROOT, Service, Stage, fetch, free_port
from certificates import certificate
from servers import Answer

PLUGIN = ROOT / "monitoring/nagios/check_counter_api"
OK, WARNING, CRITICAL, UNKNOWN = range(4)

PASS = {"status": "pass", "version": "0.1.0", "checks": {"store:mongodb": {"status": "pass", "latency_ms": 1.5, "time": "…"}}}
FAIL = {"status": "fail", "version": "0.1.0", "checks": {"store:mongodb": {"status": "fail", "latency_ms": 2000.1, "time": "…"}}}


class Raw:
    """Speaks bytes instead of HTTP, one piece each half second, then hangs up or stays silent."""

    def __init__(self, pieces, hang_up=True):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.pieces, self.hang_up, self.open = pieces, hang_up, []
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def serve(self):
        try:
            while True:
                connection, _ = self.listener.accept()
                self.open.append(connection)
                connection.recv(4096)
                for piece in self.pieces:
                    connection.sendall(piece)
                    time.sleep(0.5 if len(self.pieces) > 1 else 0)
                if self.hang_up:
                    connection.close()
        except OSError:
            return  # The test is over, or the plugin has hung up.

    def __exit__(self, *_):
        for each in [self.listener, *self.open]:
            each.close()


def run(*arguments):
    """The exit code, and the one line that Nagios would read."""
    done = subprocess.run([str(PLUGIN), *arguments], capture_output=True, text=True, timeout=PATIENCE)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == UNKNOWN or done.stdout.count("\n") == 1, done.stdout
    return done.returncode, done.stdout.strip()


class Answers(unittest.TestCase):
    def check(self, expected, words, answer, *arguments):
        with answer as server:
            state, line = run("--url", server.url, *arguments)
        self.assertEqual(state, expected, line)
        self.assertIn(words, line)
        self.assertTrue(line.startswith("COUNTER " + ("OK", "WARNING", "CRITICAL", "UNKNOWN")[expected] + " - "), line)
        return line

    def test_pass_is_ok_with_perfdata(self):
        line = self.check(OK, "/health passes", Answer(200, PASS), "-w", "9")
        self.assertRegex(line, r"\| time=\d\.\d{6}s;9;10;0;10 'store:mongodb'=1\.5ms;;;0$")

    def test_slow_is_a_warning_and_slower_is_critical(self):
        line = self.check(WARNING, "slow", Answer(200, PASS, delay=1.2))
        self.assertIn("s;1;10;0;10 ", line, "the thresholds without options")
        self.check(OK, "passes", Answer(200, PASS, delay=1.2), "-w", "9")
        self.check(WARNING, "slow", Answer(200, PASS, delay=0.6), "-w", "0.5")
        line = self.check(CRITICAL, "slow", Answer(200, PASS, delay=0.6), "-w", "0.1", "-c", "0.5")
        self.assertRegex(line, r"time=\d+\.\d+s;0\.1;0\.5;0;10")

    def test_fail_is_critical_whatever_the_status(self):
        self.check(CRITICAL, "store:mongodb (503)", Answer(503, FAIL))
        self.check(CRITICAL, "store:mongodb (200)", Answer(200, FAIL))

    def test_a_proxy_without_a_service_behind_it_is_critical(self):
        for status in (502, 503, 504):
            self.check(CRITICAL, str(status), Answer(status, b"<html>Bad Gateway</html>"))

    def test_no_connection_is_critical(self):
        state, line = run("--url", "http://127.0.0.1:%d" % free_port())
        self.assertEqual(state, CRITICAL)
        self.assertIn("Connection refused", line)
        state, line = run("--url", "http://no-such-name.invalid")
        self.assertEqual(state, CRITICAL)
        self.check(CRITICAL, "without an answer", Raw([]))
        self.check(CRITICAL, "broke off", Raw([b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"]))

    def test_no_answer_in_time_is_critical_at_that_time(self):
        for silent in (Raw([], hang_up=False), Answer(200, PASS, delay=60),
                       # A byte now and then never lets a socket's own time-out pass.
                       Raw([b"HTTP/1.1 200 OK\r\n"] + [b"x: y\r\n"] * 120)):
            started = time.monotonic()
            self.check(CRITICAL, "no answer within 1.5 s", silent, "-t", "1.5")
            self.assertLess(time.monotonic() - started, 45)

    def test_another_answer_is_unknown(self):
        for status, body in ((200, b"<html>welcome</html>"), (200, {"status": "pass"}), (200, {"status": "ok", "checks": {}}), (200, b""),
                             (200, [1]), (200, b"\xff\xfe"), (200, {"status": "pass", "checks": {"a": 1}}), (404, {"code": "not_found"}),
                             (500, {"code": "internal"}), (204, b""), (200, b"{" * 100_000)):
            self.check(UNKNOWN, "no answer of /health", Answer(status, body))
        self.check(UNKNOWN, "not HTTP", Raw([b"SSH-2.0-OpenSSH_9.2\r\n"]))

    def test_a_redirect_is_not_followed(self):
        with Answer(200, PASS) as elsewhere:
            self.check(UNKNOWN, "302", Answer(302, b"", headers=[("Location", elsewhere.url + "/health")]))
            self.assertEqual(elsewhere.requests, [])

    def test_no_answer_breaks_the_line(self):
        line = self.check(UNKNOWN, "no answer of /health", Answer(200, b"one\ntwo | time=0s \xc3\xa9\x1b[31m"))
        self.assertEqual(line.count("|"), 0)
        odd = {"status": "pass", "version": "1|2\n", "checks": {"a'b c|": {"status": "pass", "latency_ms": 1}}}
        line = self.check(OK, "version 1?2?", Answer(200, odd), "-w", "9")
        self.assertTrue(line.endswith("'a_b_c_'=1ms;;;0"), line)

    def test_a_certificate_that_is_not_trusted_is_critical(self):
        with Stage() as stage:
            path = certificate(stage, days=30)
            self.check(OK, "passes", Answer(200, PASS, pem=path), "--ca-file", str(path), "-w", "9")
            self.check(CRITICAL, "the certificate is refused", Answer(200, PASS, pem=path))


class Arguments(unittest.TestCase):
    def test_wrong_ones_are_unknown(self):
        url = ["--url", "http://localhost"]
        for arguments in ([], ["--url"], ["--url", "localhost:80"], ["--url", "ftp://localhost"], ["--url", "http://localhost:port"],
                          ["--url", "http://localhost/?token=x"], url + ["-w", "x"], url + ["-w", "-1"], url + ["-w", "0"], url + ["-w", "nan"],
                          url + ["-w", "5", "-c", "2"], url + ["-c", "20"], url + ["-t", "inf"], url + ["--next", "default"],
                          url + ["--token-file", "/dev/null"], url + ["--next", "a/b", "--token-file", "x"], url + ["more"],
                          url + ["--warn", "1"], url + ["--ca-file", "/no/such"]):
            with self.subTest(arguments=arguments):
                state, line = run(*arguments)
                self.assertEqual(state, UNKNOWN)
                self.assertTrue(line.startswith("COUNTER UNKNOWN - "), line)

    def test_help_is_not_ok(self):
        state, text = run("--help")
        self.assertEqual(state, UNKNOWN)
        self.assertIn("--token-file", text)


class Next(unittest.TestCase):
    def run_next(self, server, token="t0ken"):
        with Stage() as stage, server as server:
            file = stage.file("token", token)
            return run("--url", server.url, "--next", "default", "--token-file", str(file), "-w", "9")

    def test_a_number_is_ok(self):
        server = Answer(200, {"counter": "default", "value": 43, "previous": 42})
        state, line = self.run_next(server, "t0ken\n")
        self.assertEqual(state, OK, line)
        self.assertRegex(line, r"next took 43 in \d\.\d+ s \| time=\d\.\d{6}s;9;10;0;10 value=43c$")
        self.assertEqual(server.requests, [("POST", "/v1/counters/default/next", "Bearer t0ken")])

    def test_a_refusal_is_critical_and_says_its_code(self):
        for code in ("store_unavailable", "overloaded", "outcome_unknown"):
            state, line = self.run_next(Answer(503, {"code": code}))
            self.assertEqual((state, code in line), (CRITICAL, True), line)
        self.assertEqual(self.run_next(Answer(502, b"Bad Gateway"))[0], CRITICAL)

    def test_what_is_wrong_with_the_check_is_unknown(self):
        state, line = self.run_next(Answer(401, {"code": "token_expired"}))
        self.assertEqual((state, "token_expired" in line), (UNKNOWN, True), line)
        for status, body in ((200, {"counter": "other", "value": 1}), (200, {"counter": "default", "value": True}), (200, PASS), (401, b""),
                             (429, {"code": "rate_limited"}), (404, {"code": "not_found"})):
            self.assertEqual(self.run_next(Answer(status, body))[0], UNKNOWN)

    def test_a_token_that_cannot_be_sent_is_unknown(self):
        for token in ("", "two words", "line\nbreak", "é"):
            server = Answer(200, {"counter": "default", "value": 1})
            self.assertEqual(self.run_next(server, token)[0], UNKNOWN)
            self.assertEqual(server.requests, [])
        self.assertEqual(run("--url", "http://localhost:1", "--next", "a", "--token-file", "/no/such")[0], UNKNOWN)


class TheService(unittest.TestCase):
    """The plugin knows what the service really answers."""

    def test_health_and_next(self):
        with Stage() as stage:
            service = Service(stage)
            state, line = run("--url", service.api, "-w", "9")
            self.assertEqual(state, OK, line)
            version = json.loads(fetch(service.admin + "/version")[1])["version"]
            self.assertRegex(line, re.escape("version %s, store:redb " % version))
            self.assertIn("'store:redb'=", line)

            token = stage.file("token", service.register("canary@example.com"))
            for number in (1, 2):
                state, line = run("--url", service.api + "/", "--next", "default", "--token-file", str(token), "-w", "9")
                self.assertEqual((state, "value=%dc" % number in line), (OK, True), line)
            token.write_text("not.a.token")
            state, line = run("--url", service.api, "--next", "default", "--token-file", str(token))
            self.assertEqual((state, "token_invalid" in line), (UNKNOWN, True), line)
            # Another page of the same service is no answer of /health.
            self.assertEqual(run("--url", service.api + "/v1")[0], UNKNOWN)
            self.assertEqual(run("--url", service.admin)[0], UNKNOWN)


if __name__ == "__main__":
    unittest.main()
