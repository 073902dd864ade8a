"""The gateway keeps what somebody will want to see: errors, slow calls, and one in a hundred of the rest; whole traces, and
figures of all of them."""

import random
import threading
import time
import unittest

import spans
from back_end import METRICS, TRACES, BackEnd, eventually
from programs import Collector, Mongod, Service, settle

SUCCESSES = 600
# Calls that take longer than this, seen from here, may have been slow for the gateway.
SURELY_FAST = 0.08
KEY = {"Authorization": "ApiKey elastic-key"}


class Sampling(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.mongod = Mongod()
        cls.back_end = BackEnd(headers=KEY)
        cls.gateway = Collector(
            "elastic",
            {
                "ELASTIC_OTLP_ENDPOINT": cls.back_end.endpoint,
                "ELASTIC_API_KEY": "elastic-key",
                "ELASTIC_METRICS_INTERVAL": "1s",
                "GATEWAY_DECISION_WAIT": "4s",
            },
        )
        # One call may wait: the third that comes while the database is silent is refused at once, with an error.
        cls.service = Service(
            cls.mongod.url,
            COUNTER_MAX_QUEUE="1",
            OTEL_EXPORTER_OTLP_ENDPOINT=cls.gateway.grpc,
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        )
        cls.token = cls.service.register()

    @classmethod
    def tearDownClass(cls):
        for program in (cls.service, cls.gateway, cls.mongod):
            program.stop()
        cls.back_end.close()

    def next(self, trace):
        """Status and seconds of a call that belongs to this trace."""
        begun = time.monotonic()
        status, _ = self.service.call("POST", "/v1/next", self.token, traceparent=f"00-{trace}-{'a1' * 8}-01")
        return status, time.monotonic() - begun

    def kept(self):
        """The traces that have come through."""
        return {span.trace for span in spans.of(self.back_end.received(TRACES))}

    def test_errors_and_slow_calls_are_kept_and_of_the_rest_one_in_a_hundred(self):
        # The same traces each time, so that the ratio keeps the same ones of them.
        numbers = random.Random(4711)
        traces = [f"{numbers.getrandbits(128):032x}" for _ in range(SUCCESSES + 3)]
        slow, error, quick = traces[:2], traces[2], traces[3:]

        statuses = {}
        self.next(f"{numbers.getrandbits(128):032x}")
        self.mongod.pause()
        try:
            waiting = [threading.Thread(target=lambda trace=trace: statuses.update({trace: self.next(trace)})) for trace in slow]
            for thread, queued in zip(waiting, (0, 1)):
                thread.start()
                self.service.has_under_way(1, queued)
            # As long as it takes to be slow.
            settle(0.2)
            statuses[error] = self.next(error)
        finally:
            self.mongod.resume()
        for thread in waiting:
            thread.join()
        self.assertEqual([statuses[trace][0] for trace in (*slow, error)], [200, 200, 503])
        self.assertLess(statuses[error][1], SURELY_FAST, "the error is not to be kept for its slowness")

        for trace in quick:
            statuses[trace] = self.next(trace)
        fast = {trace for trace in quick if statuses[trace][0] == 200 and statuses[trace][1] < SURELY_FAST}
        self.assertGreater(len(fast), SUCCESSES * 0.5)

        decided = SUCCESSES + 3
        eventually(
            "a decision on each trace",
            lambda: self.gateway.metric("otelcol_processor_tail_sampling_global_count_traces_sampled") >= decided,
        )
        eventually("the error and the slow calls", lambda: self.kept() >= {*slow, error})
        settle(2)

        of_fast = self.kept() & fast
        print(f"  kept: the error, both slow calls, {len(of_fast)} of {len(fast)} fast successes")
        self.assertLessEqual(len(of_fast), len(fast) * 0.03)
        self.assertGreaterEqual(len(of_fast), 1, "a ratio of one in a hundred of 600 keeps some")
        failed = {span.trace for span in spans.of(self.back_end.received(TRACES)) if span.failed}
        self.assertTrue(error in failed and failed.isdisjoint(slow), "each is kept for its own reason")
        self.the_kept_are_whole(of_fast)
        self.figures_are_of_all()
        self.assertEqual(self.gateway.warnings(), [])

    def the_kept_are_whole(self, traces):
        every = spans.of(self.back_end.received(TRACES))
        for trace in traces:
            names = {str(span) for span in every if span.trace == trace}
            # Now and then a check of the token asks the database as well.
            self.assertLessEqual({"SERVER POST /v1/next", "INTERNAL commit", "CLIENT findAndModify incremental_counter"}, names)

    def figures_are_of_all(self):
        def calls(status):
            return sum(
                point.as_int
                for message in self.back_end.received(METRICS)
                for of_resource in message.resource_metrics
                for of_scope in of_resource.scope_metrics
                for metric in of_scope.metrics
                if metric.name == "traces.span.metrics.calls"
                for point in metric.sum.data_points
                for about in [spans.attributes(point.attributes)]
                if (about["span.name"], str(about.get("http.response.status_code"))) == ("POST /v1/next", str(status))
            )

        # One call went before.
        eventually("figures of each call", lambda: (calls(200), calls(503)) == (SUCCESSES + 3, 1))


if __name__ == "__main__":
    unittest.main()
