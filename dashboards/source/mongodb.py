"""MongoDB as the service sees it: is it there, is it slow, and does group commit keep up?"""

from common import dashboard, runbook
from grafana import (BAD, BLUE, GOOD, GREY, PURPLE, WARN, filled, heatmap, mean, named, or_none, or_zero, place, quantile,
                     query, rate, stat, steps, timeseries)

OPERATION = "db_client_operation_duration_seconds"
POOL = "db_client_connection_pool_name"


def servers(which, how="max"):
    return or_zero(f'{how}(counter_api_db_servers{{<own>, type="{which}"}})')


def build():
    return dashboard(
        "mongodb", "Counter API / MongoDB as the service sees it",
        """Is the database there, is it slow, and does group commit keep up? All of it is what the replicas measure themselves:
        there is no exporter. On the embedded store, pool and servers are zero, operations and commits are not.""",
        place(
            ("Is it there?", 4,
             stat("Replicas that reach it", """The share of replicas whose last probe of the store succeeded. Good is
                  100 %.""",
                  "percentunit", or_zero("sum(counter_api_store_up{<own>}) / count(counter_api_store_up{<own>})"), 6,
                  thresholds=steps(BAD, (0.5, WARN), (1, GOOD)), decimals=0, links=[runbook("CounterApiStoreDown")]),
             stat("Replicas that see a primary", """The share of replicas that know a primary. Good is 100 %; below
                  it an election is under way, or a network is cut.""", "percentunit",
                  or_zero('sum(counter_api_db_servers{<own>, type="primary"}) '
                          '/ count(counter_api_db_servers{<own>, type="primary"})'), 6,
                  thresholds=steps(BAD, (0.5, WARN), (1, GOOD)), decimals=0, links=[runbook("CounterApiNoPrimary")]),
             stat("Members not reached", """Members of the set that some replica does not reach. Good is zero.""", "none",
                  servers("unknown"), 6, thresholds=steps(GOOD, (1, WARN), (2, BAD)), decimals=0,
                  links=[runbook("CounterApiDatabaseMemberDown")]),
             stat("Topology changes", """Changes of the set that one replica saw in the chosen time: elections,
                  members that went or came. Good is none that nobody planned.""", "none",
                  or_zero("max(increase(counter_api_db_topology_changes_total{<own>}[$__range]))"), 6, decimals=0,
                  instant=True)),
            ("", 7,
             timeseries("Servers by role", """The replica set as the replicas see it, the most that any of them sees.
                        Good is one primary, two secondaries and nothing else.""", "none",
                        [query(servers("primary"), "primary"), query(servers("secondary"), "secondary"),
                         query(servers("unknown"), "not reached"), query(servers("arbiter"), "arbiter"),
                         query(servers("other"), "other")],
                        8, stepped=True, top=3, decimals=0,
                        overrides=[named("primary", BLUE), named("secondary", GOOD), named("not reached", BAD),
                                   named("arbiter", PURPLE), named("other", GREY)],
                        links=[runbook("CounterApiNoPrimary"), runbook("CounterApiDatabaseMemberDown")]),
             timeseries("Heartbeat (p99)", """Seconds that a member took to answer the driver's heartbeat, by member.
                        Good is some milliseconds. One slow member is that machine, all of them the network.""", "s",
                        [query(quantile(0.99, "counter_api_db_heartbeat_duration_seconds", by="server_address"),
                               "{{server_address}}")], 8),
             timeseries("Failed heartbeats and topology changes", """Heartbeats a second that failed, by member, and
                        changes of the topology a second. Good is zero of both.""", "cps",
                        [query(rate("counter_api_db_heartbeat_failures_total", by="server_address"),
                               "failed: {{server_address}}"),
                         query(rate("counter_api_db_topology_changes_total"), "topology changes")], 8,
                        overrides=[named("topology changes", BAD)])),
            ("Is it slow?", 8,
             heatmap("Every store operation", """Each attempt of each operation, by how long it took. Good is one
                     dark band below 10 ms. A dot is an exemplar, and leads to its trace.""", OPERATION, 12,
                     links=[runbook("CounterApiStoreLatencyHigh")]),
             timeseries("p99 by operation", """Seconds of one attempt, by operation. Slow everywhere: the database or
                        its disk. Slow in findAndModify and commitTransaction only: the majority, so a slow secondary.""",
                        "s",
                        [query(quantile(0.99, OPERATION, by="db_operation_name"), "{{db_operation_name}}")], 12, many=True,
                        links=[runbook("CounterApiStoreLatencyHigh")])),
            ("", 7,
             timeseries("Operations", """Attempts a second, by operation. Good follows the requests, far below them:
                        one commit serves many calls.""", "ops",
                        [query(rate(f"{OPERATION}_count", by="db_operation_name"), "{{db_operation_name}}")], 8, many=True),
             timeseries("Failed operations", """Attempts a second that failed, by the kind of error and the server's
                        code. Good is zero; conflicts are repeated and cost only time.""", "ops",
                        [query(or_none(filled(rate(f"{OPERATION}_count", '<own>, error_type!=""',
                                                   by="error_type, db_response_status_code"),
                                              db_response_status_code="(no code)"),
                                       error_type="none", db_response_status_code="(no code)"),
                               "{{error_type}} {{db_response_status_code}}")], 8, many=True,
                        links=[runbook("CounterApiStoreDown")]),
             timeseries("Mean by collection", """The mean seconds of an attempt, by collection. Good is steady. One
                        slow collection is an index that is missing, or a document that everybody wants.""", "s",
                        [query(filled(mean(OPERATION, by="db_collection_name"), db_collection_name="(none)"),
                               "{{db_collection_name}}")], 8)),
            ("Is the pool large enough?", 7,
             timeseries("Connections in use", """The share of each server's pool that is in use, of the fullest
                        replica. Good is below 65 %: of the usual 32, 8 are kept for commits and pings.""", "percentunit",
                        [query(f"max by ({POOL}) (sum without (db_client_connection_state) (db_client_connections"
                               '{<own>, db_client_connection_state="used"}) / db_client_connection_max{<own>})',
                               f"{{{{{POOL}}}}}")], 6, limit=0.65, top=1, links=[runbook("CounterApiPoolSaturated")]),
             timeseries("Connections by state", """Connections to the database of all replicas. Good is a steady
                        number; idle ones that vanish all at once are a failover.""", "none",
                        [query("sum by (db_client_connection_state) (db_client_connections{<own>})",
                               "{{db_client_connection_state}}")], 6, stacked=True, decimals=0),
             timeseries("Waiting for a connection (p99)", """Seconds that an operation waited for a connection, by
                        server, and how many wait. Good is close to zero; what waits here is not yet seen as an
                        operation.""", "s",
                        [query(quantile(0.99, "db_client_connection_wait_time_seconds", by=POOL), f"wait {{{{{POOL}}}}}"),
                         query(quantile(0.99, "db_client_connection_create_time_seconds", by=POOL),
                               f"create {{{{{POOL}}}}}")], 6),
             timeseries("Requests for a connection", """Those that wait at this moment, and those a second that gave
                        up. Good is zero of both.""", "none",
                        [query(or_zero("sum(db_client_connection_pending_requests{<own>})"), "waiting"),
                         query(or_zero("sum(increase(db_client_connection_timeouts_total{<own>}[$__rate_interval]))"),
                               "gave up")], 6,
                        overrides=[named("waiting", BLUE), named("gave up", BAD)],
                        links=[runbook("CounterApiPoolSaturated")])),
            ("Does group commit keep up?", 7,
             timeseries("Calls that wait", """Calls that wait for their commit, by replica. Good is near zero; a
                        steady rise is more load than the store takes.""", "none",
                        [query("sum by (instance) (counter_api_queue_depth{<own>})", "{{instance}}")], 6, stacked=True,
                        links=[runbook("CounterApiQueueBacklog")]),
             timeseries("Queue and commit (p99)", """Seconds that a call waited for its commit to begin, and that a
                        commit took, retries included. A commit far above a store operation means retries: look at
                        conflicts.""", "s",
                        [query(quantile(0.99, "counter_api_queue_wait_seconds"), "queue"),
                         query(quantile(0.99, "counter_api_commit_duration_seconds"), "commit"),
                         query(quantile(0.99, OPERATION), "store operation")], 6,
                        overrides=[named("queue", WARN), named("commit", BLUE), named("store operation", BAD)]),
             timeseries("Calls in a commit", """The mean number of calls that one commit serves, and its p95. Good
                        grows with load; 1 under heavy load means that combining does not work.""", "none",
                        [query(mean("counter_api_commit_batch_size"), "mean"),
                         query(quantile(0.95, "counter_api_commit_batch_size"), "p95")], 6,
                        overrides=[named("mean", BLUE), named("p95", GOOD)]),
             timeseries("Commits under way", """Commits under way, by replica. Stuck at its top while calls wait: the
                        store is the bottleneck.""", "none",
                        [query("sum by (instance) (counter_api_commits_in_flight{<own>})", "{{instance}}")], 6,
                        stacked=True, decimals=0)),
            ("", 7,
             timeseries("Commits by outcome", """Commits a second by how they ended. Good is committed alone; unknown
                        is a lost answer, split a batch that met another writer again and again.""", "ops",
                        [query(rate("counter_api_commit_duration_seconds_count", by="outcome"), "{{outcome}}")], 8),
             timeseries("Conflicts", """Transactions a second that met another writer and were repeated, and those of
                        dead owners that were aborted. A steady high rate of conflicts means that several replicas
                        serve the same hot counters; it costs time, and no number. Orphans come when a replica or its
                        network dies, and otherwise not.""", "cps",
                        [query(rate("counter_api_store_conflicts_total"), "conflicts"),
                         query(rate("counter_api_orphaned_transactions_total"), "orphans aborted")], 8,
                        overrides=[named("conflicts", PURPLE), named("orphans aborted", BAD)]),
             timeseries("Unknown outcomes", """Calls a second whose outcome nobody knows. Expected in small numbers
                        at an election, and otherwise zero.""", "cps",
                        [query(rate("counter_api_unknown_outcomes_total"), "unknown outcomes")], 8,
                        overrides=[named("unknown outcomes", BAD)], links=[runbook("CounterApiUnknownOutcomes")])),
        ),
    )
