"""The real programs: a collector, the service, a MongoDB replica set of one member."""

import atexit
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import pymongo
import yaml

import configurations
from back_end import eventually

ROOT = pathlib.Path(__file__).resolve().parents[2]
OTELCOL = ROOT / ".tools" / "collector" / "otelcol"
MONGOD = ROOT / ".tools" / "mongod" / "bin" / "mongod"
SERVICE = pathlib.Path(os.environ.get("COUNTER_API", ROOT / "target" / "release" / "counter-api"))

# A configuration that takes every span and passes it on, to BACK_END over HTTP: what arrives is what a collector understood.
PASSING_ON = {
    "extensions": {"health_check": {"endpoint": "${env:GATEWAY_HEALTH_LISTEN}"}},
    "receivers": {
        "otlp": {
            "protocols": {
                "grpc": {"endpoint": "${env:GATEWAY_GRPC_LISTEN}"},
                "http": {"endpoint": "${env:GATEWAY_HTTP_LISTEN}"},
            }
        }
    },
    "exporters": {"otlp_http": {"endpoint": "${env:BACK_END}"}},
    "service": {
        "extensions": ["health_check"],
        "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlp_http"]}},
        "telemetry": {"metrics": {"level": "none"}},
    },
}

# Whatever the programs write. It goes when the tests end.
FOLDERS = tempfile.TemporaryDirectory(prefix="collector-tests-")
atexit.register(FOLDERS.cleanup)


def new_folder():
    """One for somebody alone."""
    return pathlib.Path(tempfile.mkdtemp(dir=FOLDERS.name))


def free_port():
    """One that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Program:
    """A process that ends when the tests do, with its output in a file."""

    def __init__(self, arguments, environment=None):
        program = pathlib.Path(arguments[0])
        assert program.exists(), f"{program} is missing: make collector installs and builds what is needed"
        self.folder = new_folder()
        self.log = self.folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *map(str, arguments)],
                env={"PATH": os.environ["PATH"], **(environment or {})},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def output(self):
        return self.log.read_text()

    def runs(self):
        assert self.process.poll() is None, f"it has ended ({self.process.returncode}):\n{self.output()[-3000:]}"
        return True

    def stop(self, how=signal.SIGTERM):
        """Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.send_signal(signal.SIGCONT)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


class Collector(Program):
    """A collector, ready. It runs the configurations as they are, or without what it has not, and says so."""

    def __init__(self, configuration, environment=None):
        """`configuration` is the name of a composition, or a whole configuration."""
        self.ports = {name: free_port() for name in ("grpc", "http", "health", "metrics")}
        tier = "LOADBALANCER" if configuration == "loadbalancer" else "GATEWAY"
        listening = {
            f"{tier}_GRPC_LISTEN": f"127.0.0.1:{self.ports['grpc']}",
            f"{tier}_HTTP_LISTEN": f"127.0.0.1:{self.ports['http']}",
            f"{tier}_HEALTH_LISTEN": f"127.0.0.1:{self.ports['health']}",
            f"{tier}_METRICS_HOST": "127.0.0.1",
            f"{tier}_METRICS_PORT": str(self.ports["metrics"]),
        }
        self.notes = []
        self.arguments = self.configure(configuration)
        environment = {**listening, **(environment or {})}
        validated = subprocess.run(
            [OTELCOL, "validate", *self.arguments],
            env={"PATH": os.environ["PATH"], **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert validated.returncode == 0, f"it is not valid:\n{validated.stdout}{validated.stderr}"
        super().__init__([OTELCOL, *self.arguments, "--set=service.telemetry.logs.encoding=json"], environment)
        health = f"http://127.0.0.1:{self.ports['health']}"
        eventually("a collector that is ready", lambda: self.runs() and (text(health) or self.says("Everything is ready")))

    def configure(self, configuration):
        names = configurations.COMPOSITIONS.get(configuration) if isinstance(configuration, str) else None
        if names:
            left = configurations.reduced(configurations.composition(configuration), components())
            self.notes = left.notes
            if not self.notes:
                return [f"--config={configurations.path(name)}" for name in names]
            configuration = left.configuration
        file = new_folder() / "config.yaml"
        file.write_text(yaml.safe_dump(configuration, sort_keys=False))
        return [f"--config={file}"]

    @property
    def grpc(self):
        return f"http://127.0.0.1:{self.ports['grpc']}"

    @property
    def http(self):
        return f"http://127.0.0.1:{self.ports['http']}"

    def post(self, path, message):
        """Sends it a message over HTTP."""
        headers = {"Content-Type": "application/x-protobuf"}
        request = urllib.request.Request(self.http + path, message.SerializeToString(), headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def lines(self):
        """Its log. A line that is no JSON counts as a warning: something went wrong before there was a log."""
        for line in self.output().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                yield {"level": "warn", "msg": line}

    def warnings(self):
        return [line for line in self.lines() if line["level"] not in ("debug", "info")]

    def says(self, start):
        return any(line.get("msg", "").startswith(start) for line in self.lines())

    def metric(self, name, **labels):
        """The sum of its own series of this name with these labels."""
        return series(text(f"http://127.0.0.1:{self.ports['metrics']}/metrics") or "", name, **labels)


def components():
    """The types that the collector has, by section."""
    told = yaml.safe_load(subprocess.run([OTELCOL, "components"], capture_output=True, text=True, check=True).stdout)
    return {section: {each["name"] for each in told.get(section) or []} for section in configurations.SECTIONS}


class Service(Program):
    """The service, ready."""

    def __init__(self, store=None, **settings):
        super().__init__(
            [SERVICE, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
            {
                "COUNTER_LOG_FORMAT": "json",
                "COUNTER_AUTH_RATE_LIMIT": "off",
                "COUNTER_DRAIN_DELAY": "0s",
                "OTEL_BSP_SCHEDULE_DELAY": "200",
                **({"COUNTER_STORE_URL": store, "COUNTER_JWT_KEYS": "k1:" + "0" * 64} if store else {}),
                **settings,
            },
        )
        listening = eventually("a service that listens", self.listening)
        self.address, self.admin = listening["address"], listening["admin_address"]
        eventually("a service that is ready", lambda: self.runs() and text(f"http://{self.address}/readyz"))

    def listening(self):
        self.runs()
        found = re.search(r'.*"message":"listening".*', self.output())
        return found and json.loads(found.group())

    def metric(self, name, **labels):
        """The sum of its series of this name with these labels."""
        return series(text(f"http://{self.admin}/metrics") or "", name, **labels)

    def has_under_way(self, commits, queued):
        """Waits until so many commits are under way, and so many calls wait behind them."""
        names = ("counter_api_commits_in_flight", "counter_api_queue_depth")
        eventually(f"{queued} calls behind {commits} commits", lambda: tuple(map(self.metric, names)) == (commits, queued))

    def call(self, method, route, token=None, body=None, **headers):
        """Status and JSON of the answer."""
        request = urllib.request.Request(f"http://{self.address}{route}", method=method)
        for name, content in headers.items():
            request.add_header(name.replace("_", "-"), content)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as problem:
            return problem.code, json.loads(problem.read() or "null")

    def register(self, email="ada@example.com"):
        """A new user's token."""
        status, answer = self.call("POST", "/v1/register", body={"email": email, "password": "correct horse battery"})
        assert status == 201, answer
        return answer["token"]


class Mongod(Program):
    """A replica set of one member, which logs each command."""

    def __init__(self):
        self.port = free_port()
        arguments = ["--bind_ip", "127.0.0.1", "--port", self.port, "--replSet", "rs0", "--dbpath", new_folder()]
        super().__init__([MONGOD, *arguments, "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "64", "--slowms", "-1"])
        self.url = f"mongodb://127.0.0.1:{self.port}/?replicaSet=rs0"
        with pymongo.MongoClient("127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=30000) as client:
            member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
            eventually("a primary", lambda: client.admin.command("hello")["isWritablePrimary"])

    def pause(self):
        """From now on it answers nothing, and its connections stay."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def comments(self):
        """The comments of the commands that it has logged."""
        told = (json.loads(line) for line in self.output().splitlines() if '"comment"' in line)
        return [each["attr"]["command"]["comment"] for each in told if "command" in each.get("attr", {})]


def text(url, **headers):
    """What a URL answers with 200, or nothing."""
    try:
        request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read().decode() or " "
    except OSError:
        return None


def series(exposition, name, **labels):
    """The sum of the series of this name with these labels, in Prometheus' text."""
    total = 0
    for line in exposition.splitlines():
        found = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*?)\})? (\S+)", line)
        if found and found.group(1) == name:
            own = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found.group(2) or ""))
            if all(own.get(label) == value for label, value in labels.items()):
                total += float(found.group(3))
    return total


def settle(seconds):
    """Lets time pass where nothing is expected to happen, and so nothing can be waited for."""
    time.sleep(seconds)
