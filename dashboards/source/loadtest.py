"""A load test: what k6 offered and got, beside what the service says of itself.

k6 writes its series with `--out experimental-prometheus-rw` and `K6_PROMETHEUS_RW_TREND_STATS=p(95),p(99)`. It knows neither
job nor instance; the tag `testid` names the test. The gauge `offered_rate` is set by the scripts of `loadtest/`; with other
scripts, what was begun and what was dropped add up to it.
"""

from common import Slo, dashboard, drill_down, label_variable, runbook
from grafana import (BAD, BLUE, GOOD, GREY, PURPLE, WARN, named, or_none, or_zero, place, quantile, query, rate, stat, steps,
                     timeseries)

TEST = 'testid=~"$testid"'
REQUESTS = "http_server_request_duration_seconds"


def k6_rate(counter, matchers=TEST, by=""):
    return rate(f"k6_{counter}_total", matchers, by)


def build():
    availability, latency = Slo("availability"), Slo("latency")
    achieved, dropped = k6_rate("iterations"), k6_rate("dropped_iterations")
    return dashboard(
        "loadtest", "Counter API / Load test",
        """What k6 offered and what it got, beside what the service says of itself. Zero while no test writes to Prometheus; choose
        the test by its id.""",
        place(
            ("Does it hold?", 4,
             stat("Failed checks", """The share of k6's checks that failed, since the test began. Good is zero: a
                  check is about right answers.""",
                  "percentunit", or_zero(f"max(1 - k6_checks_rate{{{TEST}}})"), 6, thresholds=steps(GOOD, (1e-9, BAD)),
                  decimals=2),
             stat("Failed requests", """The share of k6's requests that failed, since the test began. Good is below
                  what the objective allows.""", "percentunit",
                  or_zero(f"max(k6_http_req_failed_rate{{{TEST}}})"), 6,
                  thresholds=steps(GOOD, (availability.budget, BAD)), decimals=2),
             stat("Dropped iterations", """Iterations that k6 could not begin in time, in the chosen time. Good is
                  zero: otherwise the offered rate was not offered, and the latencies are too good.""", "none",
                  or_zero(f"sum(increase(k6_dropped_iterations_total{{{TEST}}}[$__range]))"), 6,
                  thresholds=steps(GOOD, (0.5, BAD)), decimals=0, instant=True),
             stat("Virtual users", "Virtual users that are at work.", "none", or_zero(f"sum(k6_vus{{{TEST}}})"), 6, decimals=0)),
            ("What k6 saw", 8,
             timeseries("Offered and achieved", """Iterations a second that the test meant to begin, that it began,
                        and requests a second. Good is one line for offered and achieved.""", "reqps",
                        [query(f"(max(k6_offered_rate{{{TEST}}})) or ({achieved}) + ({dropped})", "offered"),
                         query(achieved, "achieved"),
                         query(k6_rate("http_reqs"), "requests")], 8,
                        overrides=[named("offered", GREY), named("achieved", BLUE), named("requests", GOOD)]),
             timeseries("p95 by route", f"""Seconds, as k6 measured them. Good is below the dashed line,
                        {latency.seconds} s, for next and current.""", "s",
                        [query(or_none(f"max by (name) (k6_http_req_duration_p95{{{TEST}}})", name="no test"), "{{name}}")], 8,
                        limit=latency.seconds),
             timeseries("p99 by route", f"""Seconds, as k6 measured them. Good is below the dashed line,
                        {latency.seconds} s, for next and current.""", "s",
                        [query(or_none(f"max by (name) (k6_http_req_duration_p99{{{TEST}}})", name="no test"), "{{name}}")], 8,
                        limit=latency.seconds)),
            ("", 7,
             timeseries("Failed checks by name", """The share of each check that failed, since the test began. Good
                        is zero.""", "percentunit",
                        [query(or_none(f"max by (check) (1 - k6_checks_rate{{{TEST}}})", check="no test"), "{{check}}")], 8),
             timeseries("Requests by status", """Requests a second by the status that k6 got. Good is 2xx alone,
                        unless the test asks for more.""",
                        "reqps", [query(or_none(k6_rate("http_reqs", by="status"), status="no test"), "{{status}}")], 8,
                        stacked=True),
             timeseries("Virtual users", """Virtual users at work, and the most that the test may use. At the most,
                        iterations are dropped.""",
                        "none", [query(or_zero(f"sum(k6_vus{{{TEST}}})"), "at work"),
                                 query(or_zero(f"sum(k6_vus_max{{{TEST}}})"), "most")], 8, decimals=0,
                        overrides=[named("at work", BLUE), named("most", GREY)])),
            ("What the service says meanwhile", 8,
             timeseries("Requests", """Calls of users a second, by route. Good is what k6 achieved, and as much again
                        from users.""", "reqps",
                        [query(rate(f"{REQUESTS}_count", '<own>, http_route=~"/v1/.+"', by="http_route"), "{{http_route}}")], 8,
                        many=True),
             timeseries("p99 by route", f"""Seconds, as the service measured them. Where k6's are far longer, the time
                        is lost on the way, or k6 is short of CPU. The dashed line is the objective of next and
                        current, {latency.seconds} s.""", "s",
                        [query(quantile(0.99, REQUESTS, '<own>, http_route=~"/v1/.+"', by="http_route"), "{{http_route}}")], 8,
                        many=True, limit=latency.seconds, links=[runbook(latency.alert)]),
             timeseries("Failed requests", """Calls of users a second that failed, by problem code. Good is zero.""",
             "reqps",
                        [query(rate(f"{REQUESTS}_count", '<own>, http_route=~"/v1/.+", http_response_status_code=~"5.."',
                                    by="error_type"), "{{error_type}}")], 8,
                        links=[runbook(availability.alert)])),
            ("", 7,
             timeseries("CPU", "Cores that each replica uses. Even shares, or the load is not spread.", "none",
                        [query("sum by (instance) (rate(process_cpu_seconds_total{<own>}[$__rate_interval]))",
                               "{{instance}}")], 6, links=[drill_down("Runtime and saturation", "runtime")]),
             timeseries("Queue and store (p99)", """Seconds that calls waited for their commit, and that a store
                        operation took.""", "s",
                        [query(quantile(0.99, "counter_api_queue_wait_seconds"), "queue"),
                         query(quantile(0.99, "db_client_operation_duration_seconds"), "store operation")], 6,
                        overrides=[named("queue", WARN), named("store operation", BAD)],
                        links=[drill_down("MongoDB", "mongodb")]),
             timeseries("Numbers and commits", """Numbers handed out and commits made, a second: the distance between
                        them is what group commit saves.""", "cps",
                        [query(rate("counter_api_numbers_issued_total"), "numbers"),
                         query(rate("counter_api_commit_duration_seconds_count"), "commits")], 6,
                        overrides=[named("numbers", BLUE), named("commits", PURPLE)]),
             timeseries("Refused for lack of room", """Calls a second that were refused for too many were waiting.
                        Good is zero below the stated capacity.""",
                        "reqps", [query(rate("counter_api_overload_rejections_total", by="reason"), "{{reason}}")], 6,
                        links=[runbook("CounterApiOverload")])),
        ),
        more_variables=(label_variable("testid", "k6_vus", "testid"),),
    )
