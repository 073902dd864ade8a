"""What is watched: three replicas of the service on a replica set of three, a load balancer, three regions, callers, a collector."""

import concurrent.futures
import contextlib
import itertools
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys

import pymongo
from certificates import certificate
from harness import PATIENCE, BlackboxExporter, Program, Service, tool, wait_for
from servers import Handler, Server

HERE = os.path.dirname(os.path.abspath(__file__))
REGIONS = ("europe", "america", "asia")
REPLICAS = 3
# How many there may be, where a fault wants to see more of them.
MOST = 5
# Calls a second of the mixed load.
RATE = 8
# Minutes that it may go on: more than all faults take.
LONGEST = 180
USERS = 40
KEYS = "k1:" + "0123456789abcdef" * 4
# So small that a drill fills them without a large machine.
SETTINGS = {"COUNTER_JWT_KEYS": "", "COUNTER_MAX_QUEUE": "20", "COUNTER_MAX_CONNECTIONS": "200", "COUNTER_RATE_LIMIT": "30/s",
            "COUNTER_DRAIN_DELAY": "1s"}
# Eight are kept for commits and pings; this many more are there for other calls.
POOL = 16


class Pipe(Program):
    """A program of ours that ends with its standard input, and does what it reads there."""

    def __init__(self, stage, name, *arguments):
        self.name, self.log = name, stage.directory / (name + ".log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([sys.executable, os.path.join(HERE, name.split("-")[0] + ".py"), *map(str, arguments)],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        stage.callback(self.stop)

    def tell(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def end(self):
        """What it has to say in the end."""
        return self.process.communicate(timeout=PATIENCE)[0].strip()


class Members:
    """The replica set: each member behind a proxy of the network, whose address is the one that all others know."""

    def __init__(self, stage):
        self.stage, self.count, self.starts = stage, 3, 0
        self.ports, self.proxies = [lasting_port() for _ in range(3)], [lasting_port() for _ in range(3)]
        self.programs = [None] * 3
        for member in range(3):
            self.start(member)

    @property
    def uri(self):
        return "mongodb://%s/?replicaSet=rs0&maxPoolSize=%d" % (",".join("127.0.0.1:%d" % port for port in self.proxies), POOL)

    def start(self, member):
        self.starts += 1
        data = self.stage.directory / ("db%d" % member)
        data.mkdir(exist_ok=True)
        port = self.ports[member]
        program = self.programs[member] = self.stage.start("mongod%d-%d" % (member, self.starts), [
            tool("mongod", "install-mongod"), "--replSet", "rs0", "--bind_ip", "127.0.0.1", "--port", port, "--dbpath", data,
            "--nounixsocket", "--quiet", "--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"],
            # Asked to stop, each would wait 15 s for the others.
            end=signal.SIGKILL)
        wait_for("mongod %d listens" % member, lambda: program.running() and reached(port), PATIENCE)

    def kill(self, member):
        self.programs[member].stop(signal.SIGKILL)

    def ask(self, member, command):
        with pymongo.MongoClient("127.0.0.1", self.ports[member], directConnection=True, serverSelectionTimeoutMS=2000) as client:
            return client.admin.command(command)

    def initiate(self):
        members = [{"_id": index, "host": "127.0.0.1:%d" % port} for index, port in enumerate(self.proxies)]
        self.ask(0, {"replSetInitiate": {"_id": "rs0", "members": members, "settings": {"electionTimeoutMillis": 5000}}})

    def states(self):
        """What each member says it is."""
        said = []
        for member in range(3):
            try:
                hello = self.ask(member, "hello")
                said.append("primary" if hello.get("isWritablePrimary") else "secondary" if hello.get("secondary") else "other")
            except pymongo.errors.PyMongoError:
                said.append("down")
        return said

    def primary(self):
        return wait_for("there is a primary", lambda: [member for member, state in enumerate(self.states()) if state == "primary"], PATIENCE)[0]

    def settle(self):
        wait_for("all members are well", lambda: sorted(self.states()) == ["primary", "secondary", "secondary"], PATIENCE)


class Collector:
    """Takes spans, while it is there."""

    def __init__(self):
        self.port, self.server = lasting_port(), None
        self.start()

    def start(self):
        class Spans(Handler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.body()
                # So that no connection goes on to be served when it is gone.
                self.reply(200, headers=[("Content-Type", "application/x-protobuf"), ("Connection", "close")])

        self.server = Server(Spans, self.port).start()

    def stop(self):
        self.server.stop()


class StandIn:
    """Says what kube-state-metrics would say of a healthy deployment, and what no fault of a drill can bring about in a real process."""

    WELL = {
        'kube_deployment_spec_replicas{namespace="counter-api",deployment="counter-api"}': 3,
        'kube_deployment_status_replicas_ready{namespace="counter-api",deployment="counter-api"}': 3,
        'kube_horizontalpodautoscaler_status_current_replicas{namespace="counter-api",horizontalpodautoscaler="counter-api"}': 3,
        'kube_horizontalpodautoscaler_spec_max_replicas{namespace="counter-api",horizontalpodautoscaler="counter-api"}': 10,
        'kube_horizontalpodautoscaler_spec_min_replicas{namespace="counter-api",horizontalpodautoscaler="counter-api"}': 3,
        'counter_api_panics_total{job="counter-api",namespace="counter-api",service="counter-api",instance="stand-in"}': 0,
        'counter_api_oauth_sign_ins_total{job="counter-api",namespace="counter-api",service="counter-api",instance="stand-in",provider="local",'
        'outcome="provider_unavailable"}': 0,
        'process_resident_memory_bytes{job="counter-api",namespace="counter-api",service="counter-api",instance="stand-in"}': 30e6,
    }

    def __init__(self):
        self.values = values = dict(self.WELL)

        class Metrics(Handler):
            def do_GET(self):
                body = "".join("%s %g\n" % pair for pair in values.items()).encode()
                self.reply(200, body, [("Content-Type", "text/plain; version=0.0.4")])

        self.server = Server(Metrics).start()
        self.address = "127.0.0.1:%d" % self.server.server_port

    def say(self, metric, value):
        self.values[next(name for name in self.values if name.startswith(metric + "{"))] = value

    def recover(self):
        self.values.update(self.WELL)


class World:
    def __init__(self, stage):
        self.stage = stage
        self.api, self.admin = [lasting_port() for _ in range(MOST)], [lasting_port() for _ in range(MOST)]
        self.http, self.https = lasting_port(), lasting_port()
        self.certificates = {days: certificate(stage, days) for days in (90, 10)}
        self.keys = stage.file("jwt-keys", KEYS)
        self.collector, self.stand_in, self.members = Collector(), StandIn(), Members(stage)
        self.network = Pipe(stage, "network")
        self.network.tell({"certificate": str(self.certificates[90]), "replicas": self.api, "http": self.http, "https": self.https,
                           "members": list(zip(self.members.proxies, self.members.ports))})
        for port in (*self.members.proxies, self.http, self.https):
            wait_for("the network is there", lambda port=port: self.network.running() and reached(port), PATIENCE)
        self.members.initiate()
        self.members.settle()
        self.replicas, self.starts = [None] * MOST, 0
        # Which of them are meant to run: what Prometheus is told to scrape.
        self.deployed = set()
        self.scale(REPLICAS)
        self.sign_up()
        # Both certificates are their own authorities, and the regions trust both.
        trusted = stage.file("authorities.pem", "".join(map(public_part, self.certificates.values())))
        self.regions = {region: BlackboxExporter(stage, self.canary, region, certificate=trusted) for region in REGIONS}
        self.load = self.callers("--rate", RATE, "--minutes", LONGEST)

    def sign_up(self):
        """Users for the load, and the canary."""
        attempts = itertools.count()

        def register(name):
            """Somebody's address and token. A service that is too slow just now is asked again, for somebody else."""
            address = "%s-%d@example.com" % (name, next(attempts))
            return address, self.replicas[0].register(address)

        def signed_up(name):
            return wait_for("%s is signed up" % name, lambda: register(name))

        # At once, as many as the machine has cores for: a password's hash takes long, in a debug build above all.
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            self.tokens = self.stage.file("tokens", "\n".join(token for _, token in pool.map(signed_up, ["user"] * USERS)))
        self.flooder = self.stage.file("flooder", signed_up("flooder")[1])
        self.victim = signed_up("victim")[0]
        self.canary_address, token = signed_up("canary")
        self.canary = self.stage.file("canary", token)

    def callers(self, *arguments, tokens=None):
        """A load of its own process; `end` ends it."""
        self.starts += 1
        return Pipe(self.stage, "load-%d" % self.starts, "--api", self.http, "--tokens", tokens or self.tokens, *arguments)

    def weather(self, **change):
        self.network.tell(change)
        assert self.network.process.stdout.readline() == "changed\n", self.network.tail()

    def start_replicas(self, which):
        for replica in which:
            self.starts += 1
            self.replicas[replica] = Service(
                self.stage, self.members, "replica%d-%d" % (replica, self.starts), COUNTER_LISTEN="127.0.0.1:%d" % self.api[replica],
                COUNTER_ADMIN_LISTEN="127.0.0.1:%d" % self.admin[replica], COUNTER_JWT_KEYS_FILE=str(self.keys),
                OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:%d" % self.collector.port, **SETTINGS)
        for replica in which:
            wait_for("replica %d is healthy" % replica, lambda replica=replica: self.replicas[replica].healthy(), PATIENCE)
        self.weather(watched=[self.pid(replica) for replica in self.deployed])

    def scale(self, count):
        """As a deployment does it: the youngest go, in order, and Prometheus' list of targets follows."""
        before, self.deployed = self.deployed, set(range(count))
        self.kill_replicas(before - self.deployed, signal.SIGTERM)
        self.start_replicas(self.deployed - before)

    def kill_replicas(self, which, how=signal.SIGKILL):
        for replica in which:
            self.replicas[replica].program.process.send_signal(how)
        for replica in which:
            self.replicas[replica].program.process.wait(PATIENCE)

    def pid(self, replica):
        return self.replicas[replica].program.process.pid

    def limit_descriptors(self, replica, share):
        """So that what is open now is this share of what may be. Answers the limits there were."""
        before = resource.prlimit(self.pid(replica), resource.RLIMIT_NOFILE)
        opened = len(os.listdir("/proc/%d/fd" % self.pid(replica)))
        resource.prlimit(self.pid(replica), resource.RLIMIT_NOFILE, (int(opened / share), before[1]))
        return before

    def targets(self, without_jobs=()):
        """What Prometheus scrapes, by job: (target, labels)."""
        exporters = {region: {"region": region, "__blackbox": exporter.url[len("http://"):]} for region, exporter in self.regions.items()}
        jobs = {
            "counter-api": [("127.0.0.1:%d" % self.admin[replica], {}) for replica in sorted(self.deployed)],
            "counter-api-probe": [("https://localhost:%d/health" % self.https, labels) for labels in exporters.values()],
            "counter-api-canary": [("https://localhost:%d/v1/next" % self.https, labels) for labels in exporters.values()],
        }
        return {job: targets for job, targets in jobs.items() if job not in without_jobs}


def lasting_port():
    """One that stays free while its server is down: below those that the system gives to whoever connects somewhere."""
    while True:
        port = random.randrange(12000, 32000)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            return port


def reached(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2):
        return True
    return False


def public_part(pem):
    text = pem.read_text()
    return text[text.index("-----BEGIN CERTIFICATE"):]
