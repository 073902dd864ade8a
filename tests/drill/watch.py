"""Who watches: Prometheus with the shipped rules, Alertmanager with the shipped routing, a receiver. Fresh for each trial, so that what one
fault has burned of a budget is not put down to the next; with the same good past, so that a budget is not that of a service a minute old.
"""

import json
import signal
import subprocess
import time

import receiver
import scaling
import yaml
from harness import PATIENCE, ROOT, fetch, tool, wait_for
from world import RATE, lasting_port

SHIPPED = ROOT / "monitoring"
LABELS = 'namespace="counter-api",service="counter-api"'


class Watch:
    def __init__(self, stage, world, factor, intervals):
        self.world, self.factor, self.intervals = world, factor, intervals
        # The stage is this watch's own.
        self.directory = stage.directory / "watch"
        self.directory.mkdir()
        self.receiver = stage.enter_context(receiver.Receiver())
        self.rule_files = self.scaled_rules()
        # The warning and the page of one name are told apart by their severity.
        self.rules = {(rule["alert"], rule["labels"]["severity"]): rule for path in self.rule_files
                      for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"] if "alert" in rule}
        self.alertmanager = "127.0.0.1:%d" % lasting_port()
        self.start_alertmanager(stage)
        self.url = "http://127.0.0.1:%d" % lasting_port()
        self.start_prometheus(stage)

    def start_alertmanager(self, stage):
        for name, text in (("pagerduty-high.key", receiver.HIGH), ("pagerduty-low.key", receiver.LOW), ("dead-mans-switch.token", receiver.TOKEN)):
            (self.directory / name).write_text(text)
        text = scaling.alertmanager((SHIPPED / "alertmanager/alertmanager.yaml").read_text(), self.directory, self.receiver, self.factor)
        (self.directory / "alertmanager.yaml").write_text(text.replace("- templates/", "- %s/templates/" % (SHIPPED / "alertmanager")))
        program = stage.start("alertmanager", [
            tool("prometheus-alertmanager", "install-prometheus"), "--config.file", self.directory / "alertmanager.yaml",
            "--storage.path", self.directory / "alertmanager", "--web.listen-address", self.alertmanager, "--cluster.listen-address="])
        wait_for("Alertmanager is ready", lambda: program.running() and fetch("http://%s/-/ready" % self.alertmanager)[0] == 200, PATIENCE)

    def start_prometheus(self, stage):
        self.configure()
        self.past()
        self.prometheus = stage.start("prometheus", [
            tool("prometheus", "install-prometheus"), "--config.file", self.directory / "prometheus.yaml", "--storage.tsdb.path",
            self.directory / "data", "--storage.tsdb.retention.time=45d", "--web.listen-address", self.url[len("http://"):],
            # Its default, divided too, but for what a busy machine needs: what was told before Alertmanager was found is told again then.
            "--rules.alert.resend-delay", "%ds" % max(60 / self.factor, 5)])
        wait_for("Prometheus is ready", lambda: self.prometheus.running() and fetch(self.url + "/-/ready")[0] == 200, PATIENCE)

    def scaled_rules(self):
        files = []
        for shipped in sorted((SHIPPED / "prometheus/rules").glob("*.yaml")):
            files.append(self.directory / ("rules-" + shipped.name))
            files[-1].write_text(scaling.rules(shipped.read_text(), self.factor))
        return files

    def configure(self, **without):
        """Writes Prometheus' configuration, and has it read again where it runs."""
        text = scaling.prometheus((SHIPPED / "prometheus/prometheus.yaml").read_text(), self.rule_files, self.alertmanager,
                                  self.world.targets(**without), self.world.stand_in.address, self.intervals)
        (self.directory / "prometheus.yaml").write_text(text)
        if hasattr(self, "prometheus"):
            self.prometheus.process.send_signal(signal.SIGHUP)

    def past(self):
        """Six hours of good traffic at the load's rate, and three days of what the long windows add up; divided by the factor."""
        now = time.time()
        hour, lines = 3600 / self.factor, []
        for slo, share in (("availability", 1), ("latency", 5 / 6)):
            steps = range(720)
            step = 6.2 * hour / len(steps)
            for what, each in (("total", RATE * share * step), ("bad", 0)):
                lines.append("# TYPE instance:slo_%s_events:sum unknown" % what)
                lines += ['instance:slo_%s_events:sum{slo="%s",job="counter-api",instance="before",%s} %g %.3f' % (
                    what, slo, LABELS, each * turn, now - (len(steps) - turn) * step) for turn in steps]
            for what, count in (("total", RATE * share * hour), ("bad", 0)):
                lines += ['slo:%s_events:increase{slo="%s",window="1h",%s} %g %.3f' % (what, slo, LABELS, count, now - turn * hour / 4)
                          for turn in range(3 * 24 * 4 + 8, 0, -1)]
        # The format wants the samples of a metric together, and says each type once.
        ordered = sorted((line for line in lines if not line.startswith("#")), key=lambda line: line.split("{")[0])
        (self.directory / "past").write_text("\n".join(ordered) + "\n# EOF\n")
        done = subprocess.run([tool("promtool", "install-prometheus"), "tsdb", "create-blocks-from", "openmetrics", self.directory / "past",
                               self.directory / "data"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def query(self, expression):
        status, body = fetch(self.url + "/api/v1/query", ("query=" + quoted(expression)).encode(),
                             {"Content-Type": "application/x-www-form-urlencoded"})
        answer = json.loads(body)
        if status != 200:
            raise ValueError(answer)
        return answer["data"]["result"]

    def alerts(self, state="firing", within=None):
        """Name and severity of what is in this state now, or has been within so many seconds."""
        selector = 'ALERTS{alertstate="%s"}' % state
        expression = "max_over_time(%s[%ds])" % (selector, within) if within else selector
        return {(row["metric"]["alertname"], row["metric"]["severity"]) for row in self.query(expression)} - {("Watchdog", "none")}

    def rows(self):
        """The alerts whose expressions have rows at this moment; in one query, so that it is one moment."""
        counts = ['label_replace(label_replace(count(%s\n), "alertname", "%s", "", ""), "severity", "%s", "", "")' % (rule["expr"], *key)
                  for key, rule in self.rules.items() if key[0] != "Watchdog"]
        return {(row["metric"]["alertname"], row["metric"]["severity"]) for row in self.query("\nor\n".join(counts))}

    def trouble(self):
        """What fires, is about to, or has rows. A ValueError unless everything is scraped and seen, and the dead man's switch has had a sign."""
        ups = self.query('sum by (job) (up{job=~"counter-api.*"})')
        wanted = {job: len(targets) for job, targets in self.world.targets().items()}
        if {row["metric"]["job"]: float(row["value"][1]) for row in ups} != wanted:
            raise ValueError("up: %s" % ups)
        if not self.query("slo:current_burn_rate:ratio") or not self.receiver.signs:
            raise ValueError("no burn rates or no sign of life yet")
        return self.alerts() | self.alerts("pending") | self.rows()

    def incidents(self, since=0.0):
        """What was told for the first time since then."""
        return [told for told in self.receiver.incidents() if told.events[0][0] >= since]


def quoted(text):
    from urllib.parse import quote

    return quote(text, safe="")
