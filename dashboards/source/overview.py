"""Are users well, and if not, why not? For everyone, and the first that anybody opens."""

from common import Slo, dashboard, drill_down, runbook
from grafana import (BAD, BLUE, BUSY, GOOD, GREY, PURPLE, WARN, heatmap, named, or_none, or_zero, place, quantile, query,
                     range_text, rate, stat, states, steps, table, texts, timeseries)

AVAILABILITY, LATENCY = Slo("availability"), Slo("latency")
ATTEMPTS = "counter_api_auth_attempts_total"
REQUESTS = "http_server_request_duration_seconds"
YEAR = 31_536_000


def budget(slo):
    """Three numbers that say whether an objective is kept: what is left, how fast it goes, and how long that lasts. Before the
    first call all of the budget is there."""
    series = f'namespace=~"$namespace", slo="{slo.name}"'
    left = f"min(slo:period_error_budget_remaining:ratio{{{series}}})"
    burn = f'max(slo:current_burn_rate:ratio{{{series}, window="1h"}})'
    links = [runbook(slo.alert)]
    return [
        stat(f"{slo.title}: budget left", f"""How much of the {slo.days} days' budget is left: {slo.budget:.1%} of the
             calls may miss the objective. Good is blue; below a quarter, hold risky releases; below zero, the
             objective is missed.""",
             "percentunit", or_zero(left, 1), 4, thresholds=steps(BAD, (0, WARN), (0.25, GOOD)), decimals=1, links=links),
        stat(f"{slo.title}: burn rate", f"""How fast the budget went in the last hour. At 1 it is just used up after
             {slo.days} days. Good is below {slo.warns}; from there on somebody is told by day, from {slo.pages} on
             somebody is woken.""",
             "none", or_zero(burn), 4, thresholds=steps(GOOD, (slo.warns, WARN), (slo.pages, BAD)), decimals=2,
             links=links),
        stat(f"{slo.title}: exhausted in", """How long the rest of the budget lasts at the present burn rate. Good is
             'not in sight'; less than a week deserves attention today.""",
             "s", or_zero(f"clamp_min(clamp_max({left} * {slo.days * 86_400} / clamp_min({burn}, 1e-9), {YEAR}), 0)",
                          YEAR), 4,
             thresholds=steps(BAD, (86_400, WARN), (604_800, GOOD)), links=links, graph=False,
             mappings=[range_text(YEAR, None, "not in sight", GOOD), range_text(None, 0, "exhausted", BAD, 1)]),
    ]


def share(matchers, by):
    """The share of users' requests that match."""
    total = f"sum(rate({REQUESTS}_count{{<own>, {AVAILABILITY.counted}}}[$__rate_interval]))"
    return (f"sum by ({by}) (rate({REQUESTS}_count{{<own>, {AVAILABILITY.counted}, {matchers}}}[$__rate_interval])) "
            f"/ ignoring ({by}) group_left () clamp_min({total}, 1e-9)")


def outcome(matchers):
    """Calls of users a second that ended so."""
    return rate(f"{REQUESTS}_count", f'<own>, http_route=~"/v1/.+", {matchers}')


def servers(which):
    return or_zero(f'max(counter_api_db_servers{{<own>, type="{which}"}})')


def shares(**limits):
    """The shares to which a replica's limits are used, the largest of each replica. Each gets a label of its own, or else
    `or` would take them for the same series."""
    parts = [f'label_replace({expr}, "limit", "{name}", "", "")' for name, expr in limits.items()]
    return f"max by (instance) ({' or '.join(parts)})"


FULLEST = shares(
    queue="counter_api_queue_depth{<own>} / counter_api_queue_limit{<own>}",
    connections="sum by (namespace, job, instance) (counter_api_http_connections{<own>}) "
                "/ sum by (namespace, job, instance) (counter_api_http_connections_limit{<own>})",
    descriptors="process_open_fds{<own>} / process_max_fds{<own>}",
    pool="max without (db_client_connection_pool_name) (sum without (db_client_connection_state) "
         '(db_client_connections{<own>, db_client_connection_state="used"}) / db_client_connection_max{<own>})',
    threads=BUSY,
)


def build():
    return dashboard(
        "overview", "Counter API / Overview",
        "Are users well? The first row says so within seconds. If they are not, the second says why within a minute.",
        place(
            ("Are users well?", 3, *budget(AVAILABILITY), *budget(LATENCY)),
            ("", 6,
             timeseries("Requests", """What users' calls ended in, in requests a second. Good is a blue area that
                        follows the time of day. A sudden rise of it is more load; what is refused is the caller's
                        own doing, what failed is ours.""",
                        "reqps",
                        [query(outcome('http_response_status_code=~"5.."'), "failed (5xx)"),
                         query(outcome('http_response_status_code=~"4..", http_response_status_code!="499"'),
                               "refused (4xx)"),
                         query(outcome('http_response_status_code="499"'), "client left"),
                         query(outcome('http_response_status_code=~"2.."'), "answered")],
                        8, stacked=True,
                        overrides=[named("answered", GOOD), named("refused (4xx)", WARN), named("failed (5xx)", BAD),
                                   named("client left", GREY)],
                        links=[drill_down("Accounts and abuse", "accounts")]),
             timeseries("Failed requests by reason", f"""The share of users' requests that failed, by problem code.
                        Good is zero; the dashed line is what the objective allows ({AVAILABILITY.budget:.1%}).""",
                        "percentunit", [query(share('http_response_status_code=~"5.."', "error_type"), "{{error_type}}")],
                        8, limit=AVAILABILITY.budget, top=0.002,
                        links=[runbook(AVAILABILITY.alert)]),
             timeseries("Latency of next and current", f"""Seconds that {LATENCY.objective:.0%} (and half, and 95 %)
                        of the calls that take or read a number waited at most. Good is p99 below the dashed line,
                        {LATENCY.seconds} s.""",
                        "s", [query(quantile(0.5, REQUESTS, f"<own>, {LATENCY.counted}"), "p50"),
                              query(quantile(0.95, REQUESTS, f"<own>, {LATENCY.counted}"), "p95"),
                              query(quantile(0.99, REQUESTS, f"<own>, {LATENCY.counted}"), "p99")],
                        8, limit=LATENCY.seconds, top=LATENCY.seconds * 1.2,
                        overrides=[named("p50", GOOD), named("p95", BLUE), named("p99", PURPLE)],
                        links=[runbook(LATENCY.alert)])),
            ("If not, why not?", 5,
             table("Firing alerts", """What the rules say is wrong now. Good is one line that says 'none'.""",
                   [query(or_none('sum by (alertname, severity) (ALERTS{namespace=~"$namespace", alertstate="firing", '
                                  'severity=~"critical|warning"})', alertname="none", severity="-"), table=True)],
                   8, {"alertname": ("Alert", None), "severity": ("Severity", None), "Value": ("Firing", "none")},
                   sort="Firing"),
             states("Replicas", """Each replica: whether it is scraped, and whether its database answers. Good is all
                    light blue. One in another colour is that replica alone; all of them at once is the database.""",
                    [query("sum by (instance) (up{<own>}) + sum by (instance) (counter_api_store_up{<own>}) "
                           "or sum by (instance) (up{<own>})", "{{instance}}")],
                    8, [texts(_0=("down", BAD), _1=("no database", WARN), _2=("serving", GOOD))],
                    links=[runbook("CounterApiReplicasLow"), drill_down("Runtime and saturation", "runtime")]),
             timeseries("Database servers by role", """The MongoDB replica set as the replicas see it. Good is one
                        primary and two secondaries without a step. Primary at 0 is an election or worse; 'not
                        reached' is a member that is down. On the embedded store all are zero.""",
                        "none", [query(servers("primary"), "primary"), query(servers("secondary"), "secondary"),
                                 query(servers("unknown"), "not reached")],
                        8, stepped=True, top=3, decimals=0,
                        overrides=[named("primary", BLUE), named("secondary", GOOD), named("not reached", BAD)],
                        links=[runbook("CounterApiNoPrimary"), drill_down("MongoDB", "mongodb")])),
            ("", 6,
             timeseries("Where the time goes (p99)", """What a slow call waited for. The line that rises with
                        'request' is the reason: 'store operation' is MongoDB or the way to it, 'queue' alone is more
                        load than one commit after the other can take, 'password' is CPU. Good is all of them far
                        below the latency's objective; a password takes a steady tenth of a second of CPU by design.""",
                        "s", [query(quantile(0.99, REQUESTS, f"<own>, {LATENCY.counted}"), "request"),
                              query(quantile(0.99, "counter_api_queue_wait_seconds"), "queue"),
                              query(quantile(0.99, "db_client_operation_duration_seconds"), "store operation"),
                              query(quantile(0.99, "counter_api_password_hash_duration_seconds"), "password")],
                        8, overrides=[named("request", PURPLE), named("store operation", BAD), named("queue", WARN),
                                      named("password", GREY)],
                        links=[runbook("CounterApiStoreLatencyHigh"), drill_down("MongoDB", "mongodb")]),
             timeseries("Fullest limit of each replica", """How near each replica is to the nearest of its limits:
                        waiting calls, connections, file descriptors, database connections, runtime threads. Good is
                        below 80 %. One line far above the others is a replica that gets more than its share.""",
                        "percentunit", [query(FULLEST, "{{instance}}")], 8, limit=0.8, top=1,
                        links=[runbook("CounterApiQueueBacklog"), drill_down("Runtime and saturation", "runtime")]),
             timeseries("Refused", """Calls that were turned away, in calls a second: wrong passwords, bad tokens,
                        rate limits, and more load than there is room for. Good is a low and steady level. A peak of
                        wrong passwords with rate limits beside it is somebody who guesses.""",
                        "reqps",
                        [query(rate(ATTEMPTS, '<own>, kind="login", outcome="failure"'), "wrong passwords"),
                         query(rate(ATTEMPTS, '<own>, kind="token", outcome="failure"'), "bad tokens"),
                         query(rate("counter_api_rate_limited_requests_total"), "rate limits"),
                         query(rate("counter_api_overload_rejections_total"), "overload")],
                        8, overrides=[named("wrong passwords", BAD), named("bad tokens", BLUE), named("rate limits", WARN),
                                      named("overload", PURPLE)],
                        links=[runbook("CounterApiAuthFailuresHigh"), drill_down("Accounts and abuse", "accounts")])),
            ("For whom, and since when?", 8,
             heatmap("Latency of all calls", """Every call of a user, by how long it took. Good is one dark band at
                     the bottom. A second band is a group of calls that waits for something; a dot is an exemplar, and
                     leads to its trace.""",
                     REQUESTS, 12, matchers='<own>, http_route=~"/v1/.+"'),
             table("Routes", """Each route now: rate, share that failed, and p99. Good is no failure anywhere; one
                   bad route points at a caller or a counter, all of them at the store.""",
                   [query(f"sum by (http_request_method, http_route) (rate({REQUESTS}_count{{<own>, "
                          'http_route=~"/v1/.+"}[$__rate_interval]))', table=True),
                    query("sum by (http_request_method, http_route) (rate("
                          f'{REQUESTS}_count{{<own>, http_route=~"/v1/.+", http_response_status_code=~"5.."}}'
                          "[$__rate_interval])) / clamp_min(sum by (http_request_method, http_route) (rate("
                          f'{REQUESTS}_count{{<own>, http_route=~"/v1/.+"}}[$__rate_interval])), 1e-9)', table=True),
                    query("histogram_quantile(0.99, sum by (le, http_request_method, http_route) (rate("
                          f'{REQUESTS}_bucket{{<own>, http_route=~"/v1/.+"}}[$__rate_interval]))) >= 0', table=True)],
                   12, {"http_request_method": ("Method", None), "http_route": ("Route", None),
                        "Value #A": ("Rate", "reqps"), "Value #B": ("Failed", "percentunit"), "Value #C": ("p99", "s")},
                   sort="Rate")),
            ("", 6,
             timeseries("Numbers issued", """Numbers handed out a second, by replica. Good is an even share for each;
                        it follows the calls of next, a block counts as many.""",
                        "cps", [query(rate("counter_api_numbers_issued_total", by="instance"), "{{instance}}")], 6,
                        stacked=True),
             timeseries("Unsure and repeated", """Calls that ended without a definite outcome, and answers that were
                        given again to a repeated Idempotency-Key, in a second. Good is zero unknown outside of an
                        election.""",
                        "cps",
                        [query(rate("counter_api_unknown_outcomes_total"), "unknown outcomes"),
                         query(rate("counter_api_idempotent_replays_total"), "replayed answers")],
                        6, overrides=[named("unknown outcomes", BAD), named("replayed answers", BLUE)],
                        links=[runbook("CounterApiUnknownOutcomes")]),
             states("Regions", """Whether each region of the outside checks reaches /health. Good is all light blue;
                    one that is unreachable is the way from there, all of them is us.""",
                    [query('min by (region) (min_over_time(probe_success{job="counter-api-probe"}[$__rate_interval])) or on () '
                           'label_replace(vector(-1), "region", "no outside checks", "", "")', "{{region}}")],
                    6, [texts(_minus1=("none set up", GREY), _0=("unreachable", BAD), _1=("reached", GOOD))],
                    links=[runbook("CounterApiHealthDown"), runbook("CounterApiRegionUnreachable")]),
             table("Versions", """What runs. Good is one line; two are a rolling update, and two for long one that is
                   stuck.""",
                   [query("count by (version, revision, store) (counter_api_build_info{<own>})", table=True)],
                   6, {"version": ("Version", None), "revision": ("Revision", None), "store": ("Store", None),
                       "Value": ("Replicas", "none")})),
        ),
        time="now-3h",
    )
