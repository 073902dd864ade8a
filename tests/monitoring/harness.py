"""Real programs for the tests of monitoring/: the service, MongoDB, Prometheus, the blackbox exporter.

Each is started on free ports of the loopback interface, with its files in a directory of its own, and stopped by its process id. A
program that is missing is a failure that says how to get it.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"


class Missing(Exception):
    """A program is not here."""


class Ended(Exception):
    """A program has ended that should run: no wait for what it does can help."""


def service_binary():
    """The newest build, or the one that COUNTER_API_BINARY names."""
    named = os.environ.get("COUNTER_API_BINARY")
    builds = [pathlib.Path(named)] if named else [ROOT / "target" / kind / "counter-api" for kind in ("debug", "release")]
    builds = [path for path in builds if path.is_file()]
    if not builds:
        raise Missing("no counter-api: run `cargo build --locked`, or name one in COUNTER_API_BINARY")
    return max(builds, key=lambda path: path.stat().st_mtime)


def tool(name, script):
    """A program that one of the project's scripts has put into .tools, or that the machine has."""
    found = next(iter(sorted(TOOLS.glob("*/bin/" + name))), None) or shutil.which(name)
    if not found:
        raise Missing("no %s: run scripts/%s" % (name, script))
    return str(found)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# How long anything may take that is waited for: on a machine that is busy with a build everything takes ten times as long, and whoever
# waits for a condition loses nothing where it is quick.
PATIENCE = 180.0


def wait_for(what, condition, seconds=PATIENCE, every=0.1):
    """What the condition answers, once it is true. Fails with `what`, and with the last exception or answer."""
    deadline, last = time.monotonic() + seconds, None
    while True:
        try:
            last = condition()
            if last:
                return last
        except (OSError, ValueError, AssertionError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError("not within %g s: %s (last: %r)" % (seconds, what, last))
        time.sleep(every)


def fetch(url, data=None, headers=None, timeout=30.0):
    """Status and body, whatever the status is."""
    request = urllib.request.Request(url, data, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Program:
    """A process with its output in a file."""

    def __init__(self, name, arguments, directory, environment=None):
        self.name = name
        self.log = pathlib.Path(directory) / (name + ".log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(argument) for argument in arguments], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, cwd=directory, env=environment)

    def running(self):
        if self.process.poll() is not None:
            raise Ended("%s ended with %s:\n%s" % (self.name, self.process.returncode, self.tail()))
        return True

    def tail(self):
        return self.log.read_text(errors="replace")[-3000:]

    def stop(self, how=signal.SIGTERM, patience=20.0):
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Stage(contextlib.ExitStack):
    """A directory and the programs in it. Leaving it stops them, the youngest first, and removes the directory."""

    def __init__(self):
        super().__init__()
        self.directory = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory(prefix="counter-api-")))

    def start(self, name, arguments, environment=None, end=signal.SIGTERM):
        """`end` ends it when the stage is left."""
        program = Program(name, arguments, self.directory, environment)
        self.callback(program.stop, end)
        return program

    def file(self, name, text, mode=0o600):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path


class ReplicaSet:
    """A MongoDB replica set of one member or more. In the end it is killed: asked to stop, each member would wait 15 s for the others."""

    def __init__(self, stage, members=1):
        self.stage, self.ports = stage, [free_port() for _ in range(members)]
        self.programs = [None] * members
        for member in range(members):
            self.start(member)
        hosts = ", ".join('{ _id: %d, host: "127.0.0.1:%d" }' % pair for pair in enumerate(self.ports))
        self.shell('rs.initiate({ _id: "rs0", members: [%s], settings: { electionTimeoutMillis: 2000 } })' % hosts, direct=True)

    @property
    def uri(self):
        return "mongodb://%s/?replicaSet=rs0" % ",".join("127.0.0.1:%d" % port for port in self.ports)

    def start(self, member):
        data = self.stage.directory / ("db%d" % member)
        data.mkdir(exist_ok=True)
        port = self.ports[member]
        self.programs[member] = self.stage.start("mongod%d" % member, [
            tool("mongod", "install-mongod"), "--replSet", "rs0", "--bind_ip", "127.0.0.1", "--port", port, "--dbpath", data,
            "--wiredTigerCacheSizeGB", "0.25"], end=signal.SIGKILL)
        program = self.programs[member]
        wait_for("mongod %d listens" % member, lambda: program.running() and socket.create_connection(("127.0.0.1", port), 1).close()
                 is None)

    def stop(self, member):
        """At once, as a lost machine: without a step-down."""
        self.programs[member].stop(signal.SIGKILL)

    def shell(self, script, direct=False):
        """Runs it in mongosh, and answers what it printed."""
        uri = "mongodb://127.0.0.1:%d/?directConnection=true" % self.ports[0] if direct else self.uri
        done = subprocess.run([tool("mongosh", "install-mongosh"), uri, "--quiet", "--norc", "--eval", script], capture_output=True, text=True,
                              timeout=PATIENCE, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise AssertionError("mongosh: %s%s" % (done.stdout, done.stderr))
        return done.stdout


class Service:
    """One replica of the service; on the embedded store, unless a replica set is given."""

    def __init__(self, stage, replica_set=None, name="counter-api", **settings):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("COUNTER_", "OTEL_", "RUST_LOG"))}
        environment.update(COUNTER_LISTEN="127.0.0.1:0", COUNTER_ADMIN_LISTEN="127.0.0.1:0", COUNTER_LOG_FORMAT="json",
                           COUNTER_AUTH_RATE_LIMIT="off", COUNTER_DRAIN_DELAY="0s")
        if replica_set:
            environment.update(COUNTER_STORE_URL=replica_set.uri, COUNTER_JWT_KEYS="k1:" + "0123456789abcdef" * 4)
        else:
            environment.update(COUNTER_STORE_URL="redb:%s" % (stage.directory / (name + ".redb")))
        environment.update(settings)
        self.program = stage.start(name, [service_binary()], environment)
        listening = wait_for("the service listens", self.listening)
        self.api, self.admin = ("http://" + listening[field] for field in ("address", "admin_address"))

    def listening(self):
        self.program.running()
        return next((line for line in self.lines() if line["message"] == "listening"), None)

    def lines(self):
        return [json.loads(line) for line in self.program.log.read_text().splitlines() if line.startswith("{")]

    def healthy(self):
        return fetch(self.api + "/health")[0] == 200

    def register(self, email, password="correct horse battery"):
        """A token of a new user."""
        body = urllib.parse.urlencode({"email": email, "password": password}).encode()
        status, answer = fetch(self.api + "/v1/register", body, {"Content-Type": "application/x-www-form-urlencoded"})
        assert status == 201, answer
        return json.loads(answer)["token"]

    def call(self, method, path, token):
        """The status; 0 without an answer."""
        request = urllib.request.Request(self.api + path, method=method, headers={"Authorization": "Bearer " + token})
        try:
            with urllib.request.urlopen(request, timeout=15) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


class Prometheus:
    """Scrapes every 2 s. `jobs` are scrape configurations, in YAML, which JSON is."""

    def __init__(self, stage, jobs, rule_files=(), alertmanager=None):
        config = {"global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"}, "scrape_configs": jobs,
                  "rule_files": [str(path) for path in rule_files]}
        if alertmanager:
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager.url[len("http://"):]]}]}]}
        self.url = "http://127.0.0.1:%d" % free_port()
        self.program = stage.start("prometheus", [
            tool("prometheus", "install-prometheus"), "--config.file", stage.file("prometheus.yaml", json.dumps(config)),
            "--storage.tsdb.path", stage.directory / "tsdb", "--web.listen-address", self.url[len("http://"):],
            "--web.enable-lifecycle", "--rules.alert.resend-delay", "5s", "--log.level", "warn"])
        wait_for("Prometheus is ready", lambda: self.program.running() and fetch(self.url + "/-/ready")[0] == 200)

    def query(self, expression):
        """The series, as Prometheus' HTTP API has them. An expression that it refuses is a ValueError."""
        status, body = fetch(self.url + "/api/v1/query", urllib.parse.urlencode({"query": expression}).encode())
        answer = json.loads(body)
        if status != 200 or answer["status"] != "success":
            raise ValueError(answer.get("error", status))
        data = answer["data"]
        return data["result"] if data["resultType"] == "vector" else [{"metric": {}, "value": data["result"]}]


class Alertmanager:
    """Takes alerts, and tells nobody."""

    def __init__(self, stage):
        config = {"route": {"receiver": "nobody", "group_wait": "0s"}, "receivers": [{"name": "nobody"}]}
        self.url = "http://127.0.0.1:%d" % free_port()
        self.program = stage.start("alertmanager", [
            tool("prometheus-alertmanager", "install-prometheus"), "--config.file", stage.file("alertmanager.yaml", json.dumps(config)),
            "--storage.path", stage.directory / "alertmanager", "--web.listen-address", self.url[len("http://"):],
            "--cluster.listen-address="])
        wait_for("Alertmanager is ready", lambda: self.program.running() and fetch(self.url + "/-/ready")[0] == 200)


class BlackboxExporter:
    """With the modules of monitoring/blackbox, their token's file and their trust replaced."""

    def __init__(self, stage, token_file, name="blackbox", certificate=None):
        text = (ROOT / "monitoring/blackbox/blackbox.yaml").read_text()
        for old, new in ([("/etc/blackbox_exporter/canary/token", str(token_file))] +
                         ([("insecure_skip_verify: false", "ca_file: %s" % certificate)] if certificate else [])):
            assert old in text, old
            text = text.replace(old, new)
        self.url = "http://127.0.0.1:%d" % free_port()
        self.program = stage.start(name, [
            tool("prometheus-blackbox-exporter", "install-prometheus"), "--config.file", stage.file(name + ".yaml", text),
            "--web.listen-address", self.url[len("http://"):]])
        wait_for("the exporter is ready", lambda: self.program.running() and fetch(self.url + "/-/healthy")[0] == 200)

    def probe(self, module, target):
        """The metrics of one probe, those without labels, by name."""
        status, body = fetch(self.url + "/probe?" + urllib.parse.urlencode({"module": module, "target": target}), timeout=20)
        assert status == 200, body
        pairs = (line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}
