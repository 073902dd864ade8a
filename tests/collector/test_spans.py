"""What the service sends, as a real collector receives it over gRPC and over http/protobuf: whole trees, links, attributes and
resource, in one trace from the client through the service to the database."""

import signal
import threading
import unittest

import spans
from back_end import TRACES, BackEnd, eventually
from programs import PASSING_ON, Collector, Mongod, Service, settle

# How a call looks. Below each span: `|` what it says of itself, `>` where its links lead; `…` is not the same each time.
# The first one is the client's own, and has the id that the client made up.

A_NEXT = """\
CLIENT till
  SERVER POST /v1/next
    | client.address = "127.0.0.1"
    | http.request.method = "POST"
    | http.response.status_code = 200
    | http.route = "/v1/next"
    | url.path = "/v1/next"
    | url.query = "count=1"
    | url.scheme = "http"
"""
WAITED = """\
    INTERNAL check token
    INTERNAL queue
"""
COMMIT_OF_ONE = """\
    INTERNAL commit
      | counter_api.batch.size = 1
"""


def command(operation, collection, outcome=""):
    """What the database is asked within a commit, or the check of a token."""
    return f"""\
      CLIENT {operation} {collection}{outcome}
        | db.collection.name = "{collection}"
        | db.namespace = "thinkific_challenge"
        | db.operation.name = "{operation}"
        | db.system.name = "mongodb"
"""


TAKE = command("findAndModify", "incremental_counter")
NEXT = A_NEXT + WAITED + COMMIT_OF_ONE + TAKE

# A token is looked up again after three seconds.
LOOKED_UP_AFTER = 3.1
LOOKED_UP = command("find", "users")

# A caller's own fault: the status of no span is an error.
NOT_FOUND = """\
CLIENT till
  SERVER GET /v1/counters/{name}/current
    | client.address = "127.0.0.1"
    | error.type = "not_found"
    | http.request.method = "GET"
    | http.response.status_code = 404
    | http.route = "/v1/counters/{name}/current"
    | url.path = "/v1/counters/nothing/current"
    | url.scheme = "http"
""" + WAITED + COMMIT_OF_ONE + command("find", "incremental_counter")

# The database is gone: told once, by the command that failed, and by the call that failed with it.
STORE_DOWN = """\
CLIENT till
  SERVER POST /v1/next ERROR
    | client.address = "127.0.0.1"
    | error.type = "store_unavailable"
    | http.request.method = "POST"
    | http.response.status_code = 503
    | http.route = "/v1/next"
    | url.path = "/v1/next"
    | url.query = "count=1"
    | url.scheme = "http"
""" + WAITED + COMMIT_OF_ONE + command("findAndModify", "incremental_counter", " ERROR") + """\
        | error.type = …
"""
# How it is gone depends on what the driver noticed first: a connection that broke, or no server to choose.
HOW_IT_IS_GONE = [("CLIENT", "error.type")]

# Of calls that wait while another is under way, the first has the commit that serves them all …
FIRST_OF_BATCH = A_NEXT + WAITED + """\
    INTERNAL commit
      | counter_api.batch.size = 5
      > SERVER POST /v1/next of another trace
      > SERVER POST /v1/next of another trace
      > SERVER POST /v1/next of another trace
""" + TAKE

# … and the others a link to it.
OTHER_OF_BATCH = A_NEXT + """\
    > INTERNAL commit of another trace
""" + WAITED

RESOURCE = {
    "service.name": "counter-api",
    "service.version": "…",
    "service.instance.id": "counters.counter-api-0.counter-api",
    "deployment.environment.name": "test",
    "k8s.namespace.name": "counters",
    "k8s.pod.name": "counter-api-0",
    "k8s.node.name": "node-1",
    "telemetry.sdk.language": "rust",
    "telemetry.sdk.name": "opentelemetry",
    "telemetry.sdk.version": "…",
}


class Sent:
    """The tests, for one protocol."""

    maxDiff = None
    protocol = None

    @classmethod
    def setUpClass(cls):
        cls.mongod = Mongod()
        cls.back_end = BackEnd()
        cls.collector = Collector(PASSING_ON, {"BACK_END": cls.back_end.endpoint})
        own = {name: value for name, value in RESOURCE.items() if name.startswith(("service.instance", "deployment", "k8s"))}
        cls.service = Service(
            cls.mongod.url,
            OTEL_EXPORTER_OTLP_ENDPOINT=cls.collector.grpc if cls.protocol == "grpc" else cls.collector.http,
            OTEL_EXPORTER_OTLP_PROTOCOL=cls.protocol,
            OTEL_RESOURCE_ATTRIBUTES=",".join(f"{name}={value}" for name, value in own.items()),
            # So that a call on a database that is gone ends soon.
            COUNTER_STORE_TIMEOUT="2s",
        )
        cls.token = None
        cls.made = cls.users = 0

    @classmethod
    def tearDownClass(cls):
        for program in (cls.service, cls.collector, cls.mongod):
            program.stop()
        cls.back_end.close()
        assert cls.collector.warnings() == [], cls.collector.warnings()

    def call(self, method="POST", route="/v1/next?count=1", sampled=True):
        """A call in a trace that begins at the client, which sends its own span as well. Status and trace."""
        type(self).made += 1
        trace, span = f"{self.protocol_number}{self.made:031x}", f"{self.protocol_number}{self.made:015x}"
        traceparent = f"00-{trace}-{span}-{'01' if sampled else '00'}"
        status, _ = self.service.call(method, route, self.token, traceparent=traceparent)
        if sampled:
            message = TRACES()
            own = message.resource_spans.add().scope_spans.add().spans.add(name="till", kind=3)
            own.trace_id, own.span_id = bytes.fromhex(trace), bytes.fromhex(span)
            own.start_time_unix_nano, own.end_time_unix_nano = 1, 2
            self.collector.post("/v1/traces", message)
        return status, trace

    @property
    def protocol_number(self):
        return "1" if self.protocol == "grpc" else "2"

    def received(self):
        return spans.of(self.back_end.received(TRACES))

    def assert_tree(self, trace, expected, volatile=()):
        """The tree as it is in the end."""
        expected = expected.rstrip("\n")

        def tree():
            return spans.tree(self.received(), trace, volatile)

        try:
            eventually("the tree", lambda: tree() == expected, 10)
        except AssertionError:
            # It says what is different.
            self.assertEqual(tree(), expected)

    def warm_up(self):
        """A user whose counter is there, and whose token need not be looked up for the next three seconds."""
        type(self).users += 1
        type(self).token = self.service.register(f"user-{self.users}@example.com")
        self.assertEqual(self.call(sampled=False)[0], 200)

    def test_a_next(self):
        self.warm_up()
        status, trace = self.call()
        self.assertEqual(status, 200)
        self.assert_tree(trace, NEXT)
        # The last of the chain: the database's own log names the span that asked it.
        asked = next(span for span in self.received() if span.trace == trace and span.name.startswith("findAndModify"))
        comment = f"00-{trace}-{asked.id}-01"
        eventually("the span in MongoDB's log", lambda: comment in self.mongod.comments())

    def test_the_resource(self):
        self.warm_up()
        _, trace = self.call()

        def served():
            return [span for span in self.received() if span.trace == trace and span.kind == "SERVER"]

        resource = eventually("the call's span", served)[0].resource
        self.assertTrue(resource["service.version"] and resource["telemetry.sdk.version"])
        volatile = {name: value for name, value in RESOURCE.items() if value == "…"}
        self.assertEqual({**resource, **volatile}, RESOURCE)

    def test_what_is_not_sampled_is_not_sent(self):
        self.warm_up()
        _, unsampled = self.call(sampled=False)
        _, trace = self.call()
        eventually("the next trace", lambda: any(span.trace == trace and span.kind == "SERVER" for span in self.received()))
        self.assertEqual([span for span in self.received() if span.trace == unsampled], [])

    def test_a_token_that_is_looked_up(self):
        self.warm_up()
        settle(LOOKED_UP_AFTER)
        _, trace = self.call()
        self.assert_tree(trace, NEXT.replace("    INTERNAL check token\n", "    INTERNAL check token\n" + LOOKED_UP))

    def test_a_call_that_its_caller_got_wrong(self):
        self.warm_up()
        status, trace = self.call("GET", "/v1/counters/nothing/current")
        self.assertEqual(status, 404)
        self.assert_tree(trace, NOT_FOUND)

    def test_a_batch(self):
        self.warm_up()
        traces, calling = [], []
        self.mongod.pause()
        try:
            # The first is under way; the others wait for it. One of them is nobody's business.
            for sampled in (True, True, False, True, True, True):
                thread = threading.Thread(target=lambda sampled=sampled: traces.append(self.call(sampled=sampled)))
                thread.start()
                calling.append(thread)
                self.service.has_under_way(1, len(calling) - 1)
        finally:
            self.mongod.resume()
        for thread in calling:
            thread.join()
        self.assertEqual({status for status, _ in traces}, {200})
        of_calls = sorted(trace for _, trace in traces)
        alone, first, unsampled, *others = of_calls
        self.assert_tree(alone, NEXT)
        self.assert_tree(first, FIRST_OF_BATCH)
        for other in others:
            self.assert_tree(other, OTHER_OF_BATCH)
        # Each link leads to the very span: the commit's to each of the calls, and theirs to the commit.
        every = {span.id: span for span in self.received()}
        commit = next(span for span in every.values() if span.trace == first and span.name == "commit")
        servers = {span.id for span in every.values() if span.kind == "SERVER" and span.trace in others}
        self.assertEqual({span for _, span in commit.links}, servers)
        self.assertEqual({link for server in servers for link in every[server].links}, {(first, commit.id)})
        self.assertEqual([span for span in every.values() if span.trace == unsampled], [])

    def test_z_a_database_that_is_gone(self):
        """The last one, for nothing works after it."""
        self.warm_up()
        self.mongod.stop(signal.SIGKILL)
        status, trace = self.call()
        self.assertEqual(status, 503)
        self.assert_tree(trace, STORE_DOWN, HOW_IT_IS_GONE)


class OverGrpc(Sent, unittest.TestCase):
    protocol = "grpc"


class OverHttp(Sent, unittest.TestCase):
    protocol = "http/protobuf"


if __name__ == "__main__":
    unittest.main()
