"""Who comes in, who is turned away, and is somebody trying doors?"""

from common import dashboard, runbook
from grafana import (BAD, BLUE, GOOD, PURPLE, WARN, named, or_none, or_zero, place, quantile, query, rate, stat, steps,
                     timeseries)

ATTEMPTS = "counter_api_auth_attempts_total"
SIGN_INS = "counter_api_oauth_sign_ins_total"
# The problem codes that are no caller's fault; the last is what a health check says.
OURS = "internal|store_unavailable|overloaded|draining|outcome_unknown|unhealthy"
REQUESTS = "http_server_request_duration_seconds"


def attempts(kind, outcome):
    return rate(ATTEMPTS, f'<own>, kind="{kind}", outcome="{outcome}"')


def build():
    return dashboard(
        "accounts", "Counter API / Accounts and abuse",
        """Who signs up and logs in, who is turned away, and is somebody guessing passwords or making accounts by the thousand?""",
        place(
            ("Is somebody trying doors?", 4,
             stat("Wrong passwords", """The share of logins that fail now. Good is below a fifth: people mistype.
                  Near 100 % at a high rate is somebody who guesses.""", "percentunit",
                  or_zero(f'sum(rate({ATTEMPTS}{{<own>, kind="login", outcome="failure"}}[$__rate_interval])) / '
                          f'clamp_min(sum(rate({ATTEMPTS}{{<own>, kind="login"}}[$__rate_interval])), 1e-9)'), 6,
                  thresholds=steps(GOOD, (0.2, WARN), (0.5, BAD)), decimals=0,
                  links=[runbook("CounterApiAuthFailuresHigh")]),
             stat("Rate limited", "Calls that are answered 429, a second. Good is near zero.", "reqps",
                  rate("counter_api_rate_limited_requests_total"), 6,
                  thresholds=steps(GOOD, (0.1, WARN), (10, BAD)), links=[runbook("CounterApiRateLimiting")]),
             stat("New accounts", "Accounts made in the chosen time. A burst from nowhere is abuse.", "none",
                  or_zero("sum(increase(counter_api_users_registered_total{<own>}[$__range]))"), 6, decimals=0, instant=True),
             stat("Passwords that wait", """Passwords that are hashed or wait for it. Good is fewer than a replica
                  has cores; a hundred is a storm.""",
                  "none", or_zero("sum(counter_api_password_hash_pending{<own>})"), 6,
                  thresholds=steps(GOOD, (20, WARN), (100, BAD)), decimals=0, links=[runbook("CounterApiOverload")])),
            ("Who comes in", 7,
             timeseries("Sign-ups", "Accounts made a second, by provider. Good follows your marketing.", "cps",
                        [query(rate("counter_api_users_registered_total", by="provider"), "{{provider}}")], 8, stacked=True),
             timeseries("Logins and registrations", "Attempts a second that were accepted and refused.", "cps",
                        [query(attempts("login", "success"), "logins"),
                         query(attempts("login", "failure"), "wrong passwords"),
                         query(attempts("register", "success"), "registrations"),
                         query(attempts("register", "failure"), "refused registrations")], 8,
                        overrides=[named("logins", BLUE), named("wrong passwords", BAD), named("registrations", GOOD),
                                   named("refused registrations", WARN)],
                        links=[runbook("CounterApiAuthFailuresHigh")]),
             timeseries("Logouts and deletions", "Users a second that leave. Good is a trickle.", "reqps",
                        [query(rate(f"{REQUESTS}_count", '<own>, http_route="/v1/logout", http_response_status_code="204"'),
                               "logouts"),
                         query(rate(f"{REQUESTS}_count", '<own>, http_route="/v1/me", http_request_method="DELETE", '
                                    'http_response_status_code="204"'), "deleted accounts")], 8,
                        overrides=[named("logouts", BLUE), named("deleted accounts", WARN)])),
            ("Sign-in through providers", 7,
             timeseries("Sign-ins through providers", """Sign-ins a second by provider and how they ended. Good is sign_in and
                        sign_up; a provider_… that rises is that provider, or our secret there; answer_refused
                        is what browsers bring, which anybody can make up.""", "cps",
                        [query(or_none(rate(SIGN_INS, by="provider, outcome"), provider="no", outcome="sign-ins"),
                               "{{provider}} {{outcome}}")], 8, many=True,
                        links=[runbook("CounterApiOAuthProviderFailing")]),
             timeseries("Failed by the provider", """The share of decided sign-ins that failed at the provider. Good is near
                        zero; above a half somebody is told.""", "percentunit",
                        [query(or_none(f'sum by (provider) (rate({SIGN_INS}{{<own>, outcome=~"provider_.+"}}[$__rate_interval])) / '
                                       f'clamp_min(sum by (provider) (rate({SIGN_INS}{{<own>, '
                                       f'outcome=~"provider_.+|sign_up|sign_in|linked"}}[$__rate_interval])), 1e-9)',
                                       provider="none"), "{{provider}}")], 8,
                        links=[runbook("CounterApiOAuthProviderFailing")]),
             timeseries("Providers take (p95)", """Seconds that one call to a provider takes. Good is below a second; at
                        COUNTER_OAUTH_TIMEOUT it is given up.""", "s",
                        [query(or_none(quantile(0.95, "http_client_request_duration_seconds", by="provider"), provider="none"),
                               "{{provider}}")], 8)),
            ("Who is turned away", 8,
             timeseries("Rate limited by route", """Calls a second that were answered 429. On register and login: an
                        attack, or many users behind one address that is not a trusted proxy.""", "reqps",
                        [query(rate("counter_api_rate_limited_requests_total", by="http_route"), "{{http_route}}")], 8, many=True,
                        links=[runbook("CounterApiRateLimiting")]),
             timeseries("Refused by reason", """Calls a second that were the caller's fault, by problem code. Good is
                        a low and steady level; one code that rises is one client.""", "reqps",
                        [query(or_none(rate("counter_api_problems_total", f'<own>, code!~"{OURS}"', by="code"), code="none"),
                               "{{code}}")], 8, many=True),
             timeseries("Tokens", """Tokens checked a second, accepted and refused. A rise of refused ones is a
                        client with an old token, or a key that was rotated too soon.""", "cps",
                        [query(attempts("token", "success"), "accepted"), query(attempts("token", "failure"), "refused")], 8,
                        overrides=[named("accepted", GOOD), named("refused", BAD)])),
            ("What it costs", 7,
             timeseries("Hashing a password", """Seconds of CPU that one password takes. Good is flat: if it grows,
                        the machine is short of CPU.""", "s",
                        [query(quantile(0.5, "counter_api_password_hash_duration_seconds"), "p50"),
                         query(quantile(0.99, "counter_api_password_hash_duration_seconds"), "p99")], 8,
                        overrides=[named("p50", GOOD), named("p99", PURPLE)]),
             timeseries("Passwords that wait", """Passwords that are hashed or wait, by replica. Counters are not
                        slowed by it.""", "none",
                        [query("sum by (instance) (counter_api_password_hash_pending{<own>})", "{{instance}}")], 8,
                        decimals=0, links=[runbook("CounterApiOverload")]),
             timeseries("Login and register take (p95)", """Seconds until the answer, the wait for a place included.
                        Good is below a second.""", "s",
                        [query(quantile(0.95, REQUESTS, '<own>, http_route=~"/v1/(login|register)"', by="http_route"),
                               "{{http_route}}")], 8)),
        ),
    )
