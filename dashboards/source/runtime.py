"""The process: is a replica short of anything, and does its telemetry arrive?"""

from common import dashboard, runbook
from grafana import (BAD, BLUE, BUSY, GOOD, GREY, WARN, filled, named, or_none, or_zero, place, quantile, query, rate,
                     stat, steps, timeseries)

KUBERNETES = 'namespace=~"$namespace"'


def each(expr):
    """One line for each replica."""
    return [query(expr, "{{instance}}")]


def build():
    return dashboard(
        "runtime", "Counter API / Runtime and saturation",
        "Is a replica short of CPU, memory, descriptors, threads or room, and does its telemetry arrive?",
        place(
            ("Is a replica in trouble?", 4,
             stat("Replicas scraped", "How many replicas answer Prometheus. Good is as many as you run.", "none",
                  or_zero("sum(up{<own>})"), 4, thresholds=steps(BAD, (1, WARN), (2, GOOD)), decimals=0,
                  links=[runbook("CounterApiAbsent"), runbook("CounterApiReplicasLow")]),
             stat("Starts", "Starts of replicas in the chosen time. Good is none that nobody planned.", "none",
                  or_zero("sum(changes(process_start_time_seconds{<own>}[$__range]))"), 4, decimals=0, instant=True,
                  links=[runbook("CounterApiRestarting")]),
             stat("Panics", """Requests that ended in a panic in the chosen time. Good is zero: each one is a bug.""",
             "none",
                  or_zero("sum(increase(counter_api_panics_total{<own>}[$__range]))"), 4, thresholds=steps(GOOD, (0.5, BAD)),
                  decimals=0, instant=True),
             stat("Latest timer (p99)", """How late a timer of the runtime fires: the worst replica's p99. Good is
                  below 10 ms; above 100 ms the runtime is blocked or the CPU is gone.""", "s",
                  or_zero("max(" + quantile(0.99, "counter_api_event_loop_delay_seconds", by="instance") + " >= 0)"), 4,
                  thresholds=steps(GOOD, (0.01, WARN), (0.1, BAD)), links=[runbook("CounterApiEventLoopStalled")]),
             stat("Most memory", "Resident memory of the largest replica. Good is flat.", "bytes",
                  or_zero("max(process_resident_memory_bytes{<own>})"), 4, links=[runbook("CounterApiMemoryHigh")]),
             stat("Most descriptors", """The share of its file descriptors that the fullest replica uses. Good is
                  below 80 %.""",
                  "percentunit", or_zero("max(process_open_fds{<own>} / process_max_fds{<own>})"), 4, decimals=1,
                  thresholds=steps(GOOD, (0.8, WARN), (0.9, BAD)), links=[runbook("CounterApiFileDescriptorsHigh")])),
            ("Process", 7,
             timeseries("CPU", "Cores that each replica uses. Good is an even share that follows the requests.", "none",
                        each("sum by (instance) (rate(process_cpu_seconds_total{<own>}[$__rate_interval]))"), 6),
             timeseries("Memory", """Resident memory of each replica. Good is flat; a slope that never ends is a
                        leak.""", "bytes",
                        each("sum by (instance) (process_resident_memory_bytes{<own>})"), 6,
                        links=[runbook("CounterApiMemoryHigh")]),
             timeseries("Virtual memory", """Address space of each replica. It says little by itself: compare its
                        steps.""", "bytes",
                        each("sum by (instance) (process_virtual_memory_bytes{<own>})"), 6),
             timeseries("File descriptors", """The share of its file descriptors that each replica uses. Good is
                        below 80 %.""",
                        "percentunit", each("max by (instance) (process_open_fds{<own>} / process_max_fds{<own>})"), 6,
                        limit=0.8, top=1, links=[runbook("CounterApiFileDescriptorsHigh")])),
            ("Async runtime", 7,
             timeseries("Busy threads", """The share of the runtime's worker threads that are busy. Good is below 80
                        %; one replica far above the others gets more than its share.""", "percentunit",
                        each(f"max by (instance) ({BUSY})"), 6, limit=0.8, top=1,
                        links=[runbook("CounterApiEventLoopStalled")]),
             timeseries("Timers are late by (p99)", """How late a timer fires, by replica. Good is below 10 ms.""", "s",
                        each(quantile(0.99, "counter_api_event_loop_delay_seconds", by="instance")), 6, limit=0.1,
                        links=[runbook("CounterApiEventLoopStalled")]),
             timeseries("Tasks", """Tasks that live, and those that wait in the global queue, of all replicas. Good
                        follows the connections; tasks that only grow are a leak.""", "none",
                        [query(or_zero("sum(tokio_alive_tasks{<own>})"), "alive"),
                         query(or_zero("sum(tokio_global_queue_depth{<own>})"), "waiting")], 6,
                        overrides=[named("alive", BLUE), named("waiting", BAD)]),
             timeseries("Threads", """Threads of each process: workers, blocking pool, and what libraries start. Good
                        is flat.""", "none",
                        each("sum by (instance) (process_threads{<own>})"), 6, decimals=0)),
            ("Room", 7,
             timeseries("Queue", """The share of its queue that each replica uses. Good is near zero; at 100 % calls are
                        refused.""", "percentunit",
                        each("max by (instance) (counter_api_queue_depth{<own>} / counter_api_queue_limit{<own>})"), 6,
                        limit=0.8, top=1, links=[runbook("CounterApiQueueBacklog"), runbook("CounterApiOverload")]),
             timeseries("Connections", """The share of the connections that each listener of each replica may have.
                        Good is below 80 %; at 100 % new clients wait.""", "percentunit",
                        [query("max by (instance, listener) (counter_api_http_connections{<own>} "
                               "/ counter_api_http_connections_limit{<own>})", "{{instance}} {{listener}}")], 6, many=True,
                        limit=0.8, top=1),
             timeseries("Requests under way", "By method. If it rises without falling, requests hang.", "none",
                        [query("sum by (http_request_method) (http_server_active_requests{<own>})",
                               "{{http_request_method}}")], 6, decimals=0),
             timeseries("Refused for lack of room", """Calls a second that were refused because too many waited for
                        the store, or for a password's hash. Good is zero.""", "reqps",
                        [query(rate("counter_api_overload_rejections_total", by="reason"), "{{reason}}")], 6,
                        links=[runbook("CounterApiOverload")])),
            ("", 7,
             timeseries("Connections ended by us", """Connections a second that the server ended: silent or slow
                        clients, and those that were cut off at a stop. Good is no drain_timeout.""", "cps",
                        [query(rate("counter_api_http_connections_ended_total", by="reason"), "{{reason}}")], 12),
             timeseries("Body size (p95)", """Declared size of request bodies, by route. Good is some hundred bytes;
                        near 16 KiB it is no call of ours.""", "bytes",
                        [query(quantile(0.95, "http_server_request_body_size_bytes", by="http_route"), "{{http_route}}")],
                        12, many=True)),
            ("Kubernetes (needs kube-state-metrics; zero elsewhere)", 7,
             timeseries("Replicas", "Pods that are wanted and pods that are ready. Good is the same.", "none",
                        [query(or_zero(f'sum(kube_deployment_spec_replicas{{{KUBERNETES}, deployment="counter-api"}})'),
                               "wanted"),
                         query(or_zero("sum(kube_deployment_status_replicas_ready"
                                       f'{{{KUBERNETES}, deployment="counter-api"}})'), "ready")], 8, stepped=True, decimals=0,
                        overrides=[named("wanted", GREY), named("ready", BLUE)],
                        links=[runbook("CounterApiReplicasLow")]),
             timeseries("Autoscaler", """What the autoscaler wants, within its bounds. Good is below the maximum; at
                        it for long there is no room for more load.""", "none",
                        [query(or_zero(f"max(kube_horizontalpodautoscaler_{series}{{{KUBERNETES}, "
                                       'horizontalpodautoscaler=~".*counter-api"})'), legend)
                         for series, legend in (("spec_max_replicas", "maximum"), ("spec_min_replicas", "minimum"),
                                                ("status_desired_replicas", "desired"),
                                                ("status_current_replicas", "current"))], 8, stepped=True, decimals=0,
                        overrides=[named("maximum", BAD), named("minimum", GREY), named("desired", WARN),
                                   named("current", BLUE)], links=[runbook("CounterApiHpaMaxedOut")]),
             timeseries("Container restarts", "Restarts by pod, in the interval of a point. Good is zero.", "none",
                        [query(or_none("sum by (pod) (increase(kube_pod_container_status_restarts_total"
                                       f'{{{KUBERNETES}, container="counter-api"}}[$__rate_interval]))', pod="none"),
                               "{{pod}}")], 8, decimals=0, links=[runbook("CounterApiRestarting")])),
            ("Does telemetry arrive?", 7,
             timeseries("Spans", """Spans a second that ended, that were dropped before export, and that were
                        exported. Good is no drop; without a collector all are zero.""", "cps",
                        [query(filled(rate("otel_sdk_processor_span_processed_total", by="error_type"),
                                      error_type="ended"), "{{error_type}}"),
                         query(filled(rate("otel_sdk_exporter_span_exported_total", by="error_type"),
                                      error_type="exported"), "{{error_type}}")], 6,
                        overrides=[named("ended", BLUE), named("exported", GOOD), named("queue_full", BAD),
                                   named("export_failed", WARN)], links=[runbook("CounterApiTelemetryLoss")]),
             timeseries("Log records", """Log records a second that leave by OTLP, and those that were lost on the
                        way. Good is no loss; all are zero where logs go to standard output alone.""", "cps",
                        [query(or_none(filled(rate("otel_sdk_processor_log_processed_total", by="error_type"),
                                              error_type="ended"), error_type="ended"), "{{error_type}}"),
                         query(or_none(filled(rate("otel_sdk_exporter_log_exported_total", by="error_type"),
                                              error_type="exported"), error_type="exported"), "{{error_type}}")], 6,
                        overrides=[named("ended", BLUE), named("exported", GOOD), named("queue_full", BAD),
                                   named("export_failed", WARN)], links=[runbook("CounterApiTelemetryLoss")]),
             timeseries("Log lines left out", """Lines a second that were dropped because the reader of standard
                        output is too slow, and repeated warnings that were left out of a flood. Good is zero of both.""",
                        "cps",
                        [query(rate("counter_api_log_lines_dropped_total"), "dropped"),
                         query(rate("counter_api_log_lines_suppressed_total"), "repeated warnings")], 6,
                        overrides=[named("dropped", BAD), named("repeated warnings", WARN)],
                        links=[runbook("CounterApiTelemetryLoss")]),
             timeseries("Scrapes", """Samples of a scrape, by replica. Good is flat and below the published ceiling
                        of 4,000; a slope is a label without bounds.""", "none",
                        each("max by (instance) (scrape_samples_scraped{<own>})"), 6, limit=4000)),
            ("", 7,
             timeseries("A scrape takes", """Seconds that Prometheus waited for /metrics, by replica. Good is below
                        0.1 s.""", "s",
                        each("max by (instance) (scrape_duration_seconds{<own>})"), 8),
             timeseries("Key reloads", """Times that the file of the token keys was read again, in the interval of a
                        point. Good is a rotation's 'applied', and never 'failed'.""", "none",
                        [query("sum by (outcome) (increase(counter_api_secret_reloads_total{<own>}[$__rate_interval]))",
                               "{{outcome}}")], 8),
             timeseries("Up for", "Seconds since each replica started. Good is lines that only rise.", "s",
                        each("time() - max by (instance) (process_start_time_seconds{<own>})"), 8)),
        ),
    )
