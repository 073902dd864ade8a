"""Nagios itself, with the shipped objects, watches the service on a replica set and tells PagerDuty.

Only what belongs to a place is replaced: the address, the files of keys and token, PagerDuty's endpoint, and the seconds above which an
answer is slow, for the machine of a test may be. One of Nagios' minutes lasts 8 s.
"""

import re
import subprocess
import time
import unittest

from harness import PATIENCE, ROOT, ReplicaSet, Service, Stage, tool, wait_for
from pagerduty import ROUTING_KEY, Receiver

OBJECTS = ROOT / "monitoring/nagios"
# The plugin's own time is not scaled. Where this is too short, `next` is told before `health` has failed three times.
MINUTE = 8


class Nagios:
    """Nagios with the shipped objects, in a directory of its own."""

    def __init__(self, stage, replacements=()):
        self.stage = stage
        self.status_file = stage.directory / "nagios/status.dat"
        for directory in ("nagios", "nagios/results"):
            (stage.directory / directory).mkdir()
        files = []
        left = dict(replacements)
        for path in sorted(OBJECTS.glob("*.cfg")):
            text = path.read_text()
            for old, new in replacements:
                if old in text:
                    left.pop(old, None)
                    text = text.replace(old, new)
            files.append(stage.file("nagios/" + path.name, text))
        assert files and not left, "not in the objects: %s" % list(left)
        stage.file("nagios/resource.cfg", "$USER1$=%s\n" % OBJECTS)
        self.config = stage.file("nagios/nagios.cfg", "\n".join(["cfg_file=%s" % path for path in files] + MAIN.format(
            directory=stage.directory / "nagios", user=subprocess.check_output(["id", "-un"], text=True).strip(),
            group=subprocess.check_output(["id", "-gn"], text=True).strip(), minute=MINUTE).splitlines()) + "\n")

    def verify(self):
        return subprocess.run([tool("nagios4", "install-nagios"), "-v", str(self.config)], capture_output=True, text=True, timeout=PATIENCE)

    def start(self):
        self.program = self.stage.start("nagios", [tool("nagios4", "install-nagios"), self.config])
        return self

    def services(self):
        """Each service's facts by its name, from Nagios' own status file."""
        blocks = re.findall(r"^servicestatus \{\n(.*?)^\t\}", self.status_file.read_text(), re.M | re.S)
        facts = [dict(line.strip().split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]
        return {each["service_description"]: each for each in facts}

    def state(self, name):
        """0 to 3 once Nagios has checked it, and only when it is sure (a hard state)."""
        self.program.running()
        facts = self.services().get(name, {})
        return int(facts["current_state"]) if facts.get("has_been_checked") == "1" and facts["state_type"] == "1" else None


# As Debian's nagios.cfg where it matters, apart from the files and the length of a minute.
MAIN = """
resource_file={directory}/resource.cfg
log_file={directory}/nagios.log
object_cache_file={directory}/objects.cache
precached_object_file={directory}/objects.precache
status_file={directory}/status.dat
status_update_interval=1
temp_file={directory}/nagios.tmp
temp_path={directory}
check_result_path={directory}/results
lock_file={directory}/nagios.pid
command_file={directory}/nagios.cmd
query_socket={directory}/nagios.qh
state_retention_file={directory}/retention.dat
nagios_user={user}
nagios_group={group}
interval_length={minute}
execute_service_checks=1
enable_notifications=1
check_external_commands=0
use_syslog=0
log_notifications=1
notification_timeout=30
service_check_timeout=60
illegal_macro_output_chars=`~$&|'<>
illegal_object_name_chars=`~!$%^&*|'"<>?,()=
"""


class Objects(unittest.TestCase):
    def test_nagios_takes_them_without_a_warning(self):
        with Stage() as stage:
            done = Nagios(stage).verify()
            self.assertEqual(done.returncode, 0, done.stdout)
            for words in ("Total Warnings: 0", "Total Errors:   0", "Checked 2 services", "Checked 1 hosts", "Checked 2 contacts",
                          "Checked 4 commands"):
                self.assertIn(words, done.stdout)

    def test_each_runbook_is_there(self):
        urls = re.findall(r"^\s*notes_url\s+\S+/blob/main/(\S+)", (OBJECTS / "services.cfg").read_text(), re.M)
        self.assertEqual(len(urls), 2)
        for path in urls:
            self.assertTrue((ROOT / path).is_file(), path)


class Outage(unittest.TestCase):
    def test_critical_while_mongodb_is_down_and_ok_again_with_one_incident(self):
        with Stage() as stage, Receiver() as receiver:
            replica_set = ReplicaSet(stage)
            service = Service(stage, replica_set)
            wait_for("the service is healthy", service.healthy)
            low = ROUTING_KEY[::-1]
            nagios = Nagios(stage, [
                ("https://counter.example.com", service.api),
                ("/etc/nagios4/counter-api/canary.token", str(stage.file("token", service.register("canary@example.com")))),
                ("/etc/nagios4/counter-api/pagerduty-high.key", str(stage.file("high.key", ROUTING_KEY))),
                ("/etc/nagios4/counter-api/pagerduty-low.key", str(stage.file("low.key", low))),
                ("https://events.pagerduty.com/v2/enqueue", receiver.endpoint),
                ("health!1!10", "health!9!10"), ("next!1!12", "next!11!12"),
            ]).start()
            for name in ("health", "next"):
                wait_for("%s is OK" % name, lambda: nagios.state(name) == 0)
            time.sleep(MINUTE)
            self.assertEqual(receiver.events, [], "told although all is well")

            down = time.monotonic()
            replica_set.stop(0)
            for name in ("health", "next"):
                wait_for("%s is CRITICAL" % name, lambda: nagios.state(name) == 2)
            critical = nagios.services()["health"]
            self.assertIn("store:mongodb (503)", critical["plugin_output"])
            self.assertIn("time=", critical["performance_data"])
            wait_for("PagerDuty is told", lambda: receiver.events)
            told = time.monotonic() - down
            # Long enough for `next` to be told as well, if the dependency did not hold it back.
            time.sleep(3 * MINUTE)
            self.assertEqual({event["dedup_key"] for _, event in receiver.events}, {"nagios/nagios-1/counter-api/health"})
            self.assertEqual({event["routing_key"] for _, event in receiver.events}, {ROUTING_KEY}, "an outage is no matter of the desk")
            trigger = receiver.of("nagios/nagios-1/counter-api/health")[0]
            self.assertEqual((trigger["event_action"], trigger["payload"]["severity"]), ("trigger", "critical"))
            self.assertIn("the service says that it does not work", trigger["payload"]["summary"])
            self.assertTrue(trigger["links"][0]["href"].endswith("/CounterApiHealthDown.md"))

            up = time.monotonic()
            replica_set.start(0)
            for name in ("health", "next"):
                wait_for("%s is OK again" % name, lambda: nagios.state(name) == 0)
            resolved = wait_for("PagerDuty is told", lambda: [event for _, event in receiver.events if event["event_action"] == "resolve"])
            self.assertEqual([event["dedup_key"] for event in resolved], ["nagios/nagios-1/counter-api/health"])
            self.assertEqual(receiver.refused, [])
            log = (stage.directory / "nagios/nagios.log").read_text()
            self.assertNotIn(ROUTING_KEY, log)
            print("\nnagios: told %.1f s after MongoDB stopped, resolved %.1f s after it was back (a minute of Nagios is %d s)"
                  % (told, time.monotonic() - up, MINUTE))


if __name__ == "__main__":
    unittest.main()
