"""The real programs of the live run: a replica set behind proxies, replicas of the service, and Prometheus.

Everything listens on free ports of the loopback, keeps its files in one temporary folder, and dies with this process.
"""

import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pymongo
import yaml

from proxy import Proxies

ROOT = Path(__file__).resolve().parents[2]
MONGOD = ROOT / ".tools" / "mongod" / "bin" / "mongod"
PATIENCE = 180
# The windows and waiting times of the rules are divided by this, so that minutes of a run tell what hours tell elsewhere.
SCALE = 20
SCRAPE = 2


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what, check, patience=PATIENCE):
    """Waits until `check` gives something true, and gives it back."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            if found := check():
                return found
        except (OSError, ValueError, pymongo.errors.PyMongoError):
            pass
        time.sleep(0.1)
    raise SystemExit(f"{what} did not come within {patience} s")


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


class Program:
    """A process whose output goes to a file, and which does not outlive this one."""

    def __init__(self, name, command, folder, environment=None):
        self.name, self.command, self.environment = name, [str(word) for word in command], environment
        self.log = Path(folder) / f"{name}.log"
        self.start()

    def start(self):
        # PR_SET_PDEATHSIG: the kernel kills the child when its parent dies, however that ends.
        die_with_parent = lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                            env=self.environment, preexec_fn=die_with_parent)

    def alive(self):
        if self.process.poll() is not None:
            raise SystemExit(f"{self.name} has ended:\n{self.tail()}")

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


class ReplicaSet:
    """Three members, each behind a proxy that can be slow."""

    def __init__(self, folder, members=3):
        if not MONGOD.exists():
            raise SystemExit(f"{MONGOD} is missing: run scripts/install-mongod")
        ports = [free_port() for _ in range(members)]
        self.proxies = Proxies(ports)
        self.members = []
        for index, port in enumerate(ports):
            data = folder / f"db{index}"
            data.mkdir()
            self.members.append(Program(
                f"mongod{index}", [MONGOD, "--replSet", "rs0", "--bind_ip", "127.0.0.1", "--port", port, "--dbpath", data,
                                   "--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"],
                folder))
        self.ports, self.addresses = ports, [f"127.0.0.1:{port}" for port in self.proxies.ports]
        self.uri = f"mongodb://{','.join(self.addresses)}/?replicaSet=rs0"
        for port in ports:
            wait_for("mongod", lambda port=port: self.hello(port))
        config = {
            "_id": "rs0",
            "members": [{"_id": index, "host": address} for index, address in enumerate(self.addresses)],
            # An election takes some seconds, as it does with the defaults, long enough for every replica to be seen without a primary.
            "settings": {"electionTimeoutMillis": 6000, "heartbeatIntervalMillis": 500, "heartbeatTimeoutSecs": 6},
        }
        self.admin(ports[0], "replSetInitiate", config)
        self.healthy()

    def admin(self, port, command, value=1):
        with pymongo.MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=1000) as client:
            return client.admin.command(command, value)

    def hello(self, port):
        return self.admin(port, "hello")

    def primary(self):
        """The index of the primary."""
        def find():
            for index, port in enumerate(self.ports):
                try:
                    if self.hello(port).get("isWritablePrimary"):
                        return [index]
                except pymongo.errors.PyMongoError:
                    continue
            return None
        return wait_for("a primary", find)[0]

    def healthy(self):
        def states():
            found = [self.hello(port) for port in self.ports]
            return (sum(bool(hello.get("isWritablePrimary")) for hello in found) == 1
                    and sum(bool(hello.get("secondary")) for hello in found) == len(found) - 1)
        wait_for("a healthy replica set", states)

    def stop(self):
        for member in self.members:
            member.stop()
        self.proxies.stop()


class Service:
    """One replica."""

    def __init__(self, binary, name, folder, settings):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("COUNTER_", "OTEL_"))}
        environment |= {"COUNTER_LISTEN": "127.0.0.1:0", "COUNTER_ADMIN_LISTEN": "127.0.0.1:0", "COUNTER_LOG_FORMAT": "json",
                        **settings}
        self.program = Program(name, [binary], folder, environment)
        line = wait_for("the log line `listening`", self.listening)
        self.api, self.admin = line["address"], line["admin_address"]
        wait_for(f"200 from {name}'s /readyz", lambda: get(f"http://{self.api}/readyz"))

    def listening(self):
        self.program.alive()
        lines = [json.loads(line) for line in self.program.log.read_text().splitlines() if line.startswith("{")]
        return next((line.get("fields", line) for line in lines if line.get("message") == "listening"), None)


class Prometheus:
    """Prometheus with the shipped rules, which are only made faster."""

    def __init__(self, binary, folder, jobs):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        rules = folder / "rules"
        rules.mkdir(exist_ok=True)
        # Without jobs it only answers about what is there.
        for path in [] if not jobs else sorted((ROOT / "monitoring" / "prometheus" / "rules").glob("*.y*ml")):
            (rules / path.name).write_text(yaml.safe_dump(faster(yaml.safe_load(path.read_text())), sort_keys=False))
        config = {
            "global": {"scrape_interval": f"{SCRAPE}s", "scrape_timeout": f"{SCRAPE}s", "evaluation_interval": f"{SCRAPE}s"},
            "rule_files": [str(rules / "*.y*ml")] if jobs else [],
            "scrape_configs": jobs,
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        self.program = Program("prometheus", [
            binary, f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage", "--log.level=warn"], folder)
        wait_for("Prometheus", self.ready)

    def ready(self):
        self.program.alive()
        return get(f"{self.url}/-/ready")


class Blackbox:
    """The exporter that asks from outside, with the shipped modules, for every region."""

    def __init__(self, binary, folder, api):
        shipped = ROOT / "monitoring" / "blackbox" / "blackbox.yaml"
        token = folder / "canary.token"
        account = json.dumps({"email": "canary@example.com", "password": "the canary's password"}).encode()
        request = urllib.request.Request(f"http://{api}/v1/register", account, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            token.write_text(json.load(answer)["token"])
        config = yaml.safe_load(shipped.read_text())
        config["modules"]["http_next"]["http"]["authorization"]["credentials_file"] = str(token)
        (folder / "blackbox.yaml").write_text(yaml.safe_dump(config))
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self.program = Program("blackbox", [binary, f"--config.file={folder / 'blackbox.yaml'}",
                                            f"--web.listen-address={self.address}", "--log.level=error"], folder)
        wait_for("the blackbox exporter", lambda: get(f"http://{self.address}/-/healthy"))


DURATION = re.compile(r"(\d+)(s|m|h|d)\b")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def shorter(duration):
    return f"{max(1000, int(duration[1]) * SECONDS[duration[2]] * 1000 // SCALE)}ms"


def faster(rules):
    """The same rules with every window and waiting time divided by SCALE. Labels keep their words: `window=\"1h\"` is the
    series of three minutes then."""
    in_brackets = re.compile(r"\[[^\]]*\]|(?<=offset )\w+")
    for group in rules["groups"]:
        if "interval" in group:
            group["interval"] = DURATION.sub(shorter, group["interval"])
        for rule in group["rules"]:
            # Quoted texts are left alone: a regular expression has brackets of its own.
            parts = re.split(r'("(?:[^"\\]|\\.)*")', rule["expr"])
            parts[::2] = [in_brackets.sub(lambda part: DURATION.sub(shorter, part[0]), part) for part in parts[::2]]
            rule["expr"] = "".join(parts)
            for key in ("for", "keep_firing_for"):
                if key in rule:
                    rule[key] = DURATION.sub(shorter, rule[key])
    return rules
