"""The notification command, against a receiver of the Events API v2."""

import concurrent.futures
import contextlib
import importlib.machinery
import importlib.util
import io
import socket
import subprocess
import time
import unittest

from harness import PATIENCE, ROOT, Stage, free_port
from pagerduty import ROUTING_KEY, Receiver

COMMAND = ROOT / "monitoring/nagios/notify_pagerduty"


def notify(endpoint, key=ROUTING_KEY, **options):
    given = {"type": "PROBLEM", "instance": "eu", "host": "counter-api", "service": "health", "state": "CRITICAL", "output": "no answer",
             "since": "0d 0h 0m 45s", "attempt": "3", "runbook": "https://example.com/runbook"}
    given.update(options)
    with Stage() as stage:
        arguments = [str(COMMAND), "--endpoint=" + endpoint, "--routing-key-file=%s" % stage.file("key", key + "\n")]
        arguments += ["--%s=%s" % pair for pair in given.items()]
        assert not any(ROUTING_KEY in argument for argument in arguments)
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE)
    assert ROUTING_KEY not in done.stdout + done.stderr
    return done


class Events(unittest.TestCase):
    def test_a_problem_and_its_recovery_have_one_key(self):
        with Receiver() as receiver:
            for options in ({}, {"type": "ACKNOWLEDGEMENT"}, {"type": "RECOVERY", "state": "OK", "output": "passes"}):
                self.assertEqual(notify(receiver.endpoint, **options).returncode, 0)
            self.assertEqual(receiver.refused, [])
            events = receiver.of("nagios/eu/counter-api/health")
            self.assertEqual([event["event_action"] for event in events], ["trigger", "acknowledge", "resolve"])
            self.assertEqual(len(receiver.events), 3)
            payload = events[0]["payload"]
            self.assertEqual(payload["summary"], "eu: health on counter-api is CRITICAL: no answer")
            self.assertEqual((payload["severity"], payload["source"], payload["class"]), ("critical", "counter-api", "health"))
            self.assertEqual(payload["custom_details"]["attempt"], "3")
            self.assertEqual(events[0]["links"], [{"href": "https://example.com/runbook", "text": "Runbook"}])

    def test_severities(self):
        with Receiver() as receiver:
            for state in ("WARNING", "UNKNOWN", "CRITICAL"):
                notify(receiver.endpoint, state=state)
            notify(receiver.endpoint, state="DOWN", service="")
            self.assertEqual([event["payload"]["severity"] for _, event in receiver.events], ["warning", "warning", "critical", "critical"])
            self.assertEqual(receiver.events[-1][1]["dedup_key"], "nagios/eu/counter-api")

    def test_hosts_services_and_instances_have_keys_of_their_own(self):
        with Receiver() as receiver:
            for options in ({}, {"service": "next"}, {"service": ""}, {"host": "b"}, {"instance": "us"}):
                notify(receiver.endpoint, **options)
            self.assertEqual(len({event["dedup_key"] for _, event in receiver.events}), 5)

    def test_whatever_the_plugin_says_is_sent_within_the_limits(self):
        for output in ("x" * 5000, 'quote " backslash \\ é 🌊 \u2028', "--help", "-o", "$(id) `id`", "a\nb", ""):
            with Receiver() as receiver:
                done = notify(receiver.endpoint, output=output)
                self.assertEqual((done.returncode, receiver.refused, len(receiver.events)), (0, [], 1), (output[:20], done.stderr))
        with Receiver() as receiver:
            notify(receiver.endpoint, service="s" * 400)
            self.assertEqual((receiver.refused, len(receiver.events)), ([], 1))

    def test_other_notifications_are_no_events(self):
        with Receiver() as receiver:
            for kind in ("FLAPPINGSTART", "DOWNTIMESTART", "DOWNTIMEEND", "CUSTOM"):
                self.assertEqual(notify(receiver.endpoint, type=kind).returncode, 0)
            self.assertEqual(receiver.events, [])


class Failures(unittest.TestCase):
    def test_throttling_and_faults_over_there_are_tried_again(self):
        with Receiver(answers=[429, 500]) as receiver:
            self.assertEqual(notify(receiver.endpoint).returncode, 0)
            self.assertEqual(len(receiver.events), 1)

    def test_a_refusal_is_not(self):
        with Receiver(answers=[400]) as receiver:
            done = notify(receiver.endpoint)
            self.assertEqual((done.returncode, receiver.events), (1, []))
            self.assertIn("answered 400", done.stderr)

    def test_it_gives_up_before_nagios_kills_it(self):
        # Not as a process: on a busy machine its start alone may take seconds.
        loader = importlib.machinery.SourceFileLoader("notify_pagerduty", str(COMMAND))
        command = importlib.util.module_from_spec(importlib.util.spec_from_loader("notify_pagerduty", loader))
        loader.exec_module(command)
        complaints = io.StringIO()

        def send(port):
            started = time.monotonic()
            return command.send("http://127.0.0.1:%d/v2/enqueue" % port, {}), time.monotonic() - started

        # One port where nobody listens, and one where somebody does and says nothing.
        with socket.create_server(("127.0.0.1", 0)) as silent, contextlib.redirect_stderr(complaints), \
                concurrent.futures.ThreadPoolExecutor() as pool:
            sent = list(pool.map(send, (free_port(), silent.getsockname()[1])))
        for code, seconds in sent:
            self.assertEqual(code, 1)
            self.assertTrue(15 < seconds < 29, seconds)
        self.assertEqual(complaints.getvalue().count("cannot be reached"), 2)

    def test_a_key_that_is_none_is_not_sent(self):
        with Receiver() as receiver:
            for key in ("", "short", ROUTING_KEY + "0", "0123456789abcdef 123456789ABCDEF"):
                done = notify(receiver.endpoint, key=key)
                self.assertEqual(done.returncode, 1, key)
            self.assertEqual(notify(receiver.endpoint, **{"routing-key-file": "/no/such"}).returncode, 1)
            self.assertEqual((receiver.events, receiver.refused), ([], []))


if __name__ == "__main__":
    unittest.main()
