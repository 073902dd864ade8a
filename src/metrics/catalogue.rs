//! Every metric once: its name, kind, labels, help and buckets, and what to do when it looks wrong.

use std::fmt::Write as _;

/// What kind of metric it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only rises; a restart sets it to zero.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Observations in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// One metric of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The name under which `/metrics` shows it.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it measures, with its unit.
    pub help: &'static str,
    /// What to do when it looks wrong.
    pub action: &'static str,
}

/// The convention's advice for requests, begun where most of our answers are, and without its 75 ms, 750 ms, 2.5, 7.5 and 10 s:
/// each bound is a line for each of some 160 series, and those answer no question.
const REQUEST_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
const STORE_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// For what is well when it is short, and where nobody asks for more than the size of the trouble.
const COARSE_SECONDS: &[f64] = &[0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5];
const BYTES: &[f64] = &[0.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0];
const BATCH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

macro_rules! catalogue {
    ($($id:ident = $name:literal $kind:expr, [$($label:literal),*], $help:literal, $action:literal;)*) => {
        $(pub(super) const $id: Metric =
            Metric { name: $name, kind: $kind, labels: &[$($label),*], help: $help, action: $action };)*
        /// Every metric, in the order of the documentation.
        pub const CATALOGUE: &[Metric] = &[$($id),*];
    };
}

catalogue! {
    HTTP_DURATION = "http_server_request_duration_seconds" Kind::Histogram(REQUEST_SECONDS),
        ["http_request_method", "http_route", "http_response_status_code", "error_type", "url_scheme"],
        "Seconds from a request's head to its answer's head (http.server.request.duration, stable). Its _count is the rate.",
        "Split by http_route and error_type (set for 5xx and for calls whose client hung up): one route alone points at a caller or a counter, all of them at the store.";
    PROBLEMS = "counter_api_problems_total" Kind::Counter, ["code"],
        "Answers that were problems, by their code (docs/errors.md), on all routes; `unhealthy` is the 503 of a health check.",
        "Look the code up in docs/errors.md: it says what the caller met and should do. internal is always a bug.";
    HTTP_ACTIVE = "http_server_active_requests" Kind::Gauge, ["http_request_method"],
        "Requests under way (http.server.active_requests, in development).",
        "If it rises without falling, requests hang: compare db_client_operation_duration_seconds.";
    HTTP_BODY = "http_server_request_body_size_bytes" Kind::Histogram(BYTES), ["http_route"],
        "Declared size of request bodies in bytes (http.server.request.body.size, in development).",
        "Bodies near 16 KiB are no calls of ours: look for a client that sends something else.";
    HTTP_CONNECTIONS = "counter_api_http_connections" Kind::Gauge, ["listener"],
        "Open connections.",
        "At COUNTER_MAX_CONNECTIONS new clients wait: look for clients that open one connection for each call.";
    HTTP_CONNECTIONS_LIMIT = "counter_api_http_connections_limit" Kind::Gauge, ["listener"],
        "Connections that may be open; beyond it new ones wait to be accepted.",
        "Lower than COUNTER_MAX_CONNECTIONS: the limit of open files (ulimit -n) is too low.";
    HTTP_CONNECTIONS_ENDED = "counter_api_http_connections_ended_total" Kind::Counter, ["reason"],
        "Connections that the server ended because the client was too slow or the server was stopping.",
        "no_request and idle are slow or silent clients; drain_timeout means that answers were cut off at a stop.";
    PANICS = "counter_api_panics_total" Kind::Counter, [],
        "Panics, in requests and in background tasks: always a bug.",
        "Find the log line with the panic's message and report it with the trace id.";
    DB_DURATION = "db_client_operation_duration_seconds" Kind::Histogram(STORE_SECONDS),
        ["db_system_name", "db_operation_name", "db_collection_name", "db_namespace", "db_response_status_code", "error_type"],
        "Seconds of one attempt of one store operation, time-outs included (db.client.operation.duration, stable).",
        "Slow everywhere: the database or its disk. Slow in commitTransaction and findAndModify only: the majority, so a slow secondary.";
    STORE_UP = "counter_api_store_up" Kind::Gauge, ["db_system_name"],
        "1 while the last health probe of the store succeeded, else 0.",
        "Ask /health on each replica: all of them at 0 is the database, one alone is its network.";
    DB_CONNECTIONS = "db_client_connections" Kind::Gauge,
        ["db_client_connection_pool_name", "db_client_connection_state"],
        "Connections of the pool to one server, idle or used (db.client.connection.count, in development).",
        "All used and none idle: see db_client_connection_pending_requests.";
    DB_CONNECTIONS_MAX = "db_client_connection_max" Kind::Gauge, ["db_client_connection_pool_name"],
        "Connections that the pool to one server may have (db.client.connection.max, in development).",
        "It is maxPoolSize of the connection string, or 32.";
    DB_CONNECTIONS_PENDING = "db_client_connection_pending_requests" Kind::Gauge, ["db_client_connection_pool_name"],
        "Operations that wait for a connection (db.client.connection.pending_requests, in development).",
        "Above 0 for long: the server is slow, or unreachable so that no connection can be made.";
    DB_CONNECTION_WAIT = "db_client_connection_wait_time_seconds" Kind::Histogram(COARSE_SECONDS),
        ["db_client_connection_pool_name"],
        "Seconds that an operation waited for a connection (db.client.connection.wait_time, in development).",
        "Long waits come before time-outs: look at the pool's connections, then at the server.";
    DB_CONNECTION_TIMEOUTS = "db_client_connection_timeouts_total" Kind::Counter, ["db_client_connection_pool_name"],
        "Operations that gave up waiting for a connection (db.client.connection.timeouts, in development).",
        "Any: the pool is exhausted, or the server takes no connections.";
    DB_CONNECTION_CREATE = "db_client_connection_create_time_seconds" Kind::Histogram(COARSE_SECONDS),
        ["db_client_connection_pool_name"],
        "Seconds from the start of a connection to its use, handshake and authentication included (db.client.connection.create_time, in development).",
        "Slow: the network, TLS or authentication. Many in a short time: connections break.";
    DB_SERVERS = "counter_api_db_servers" Kind::Gauge, ["type"],
        "Servers of the replica set by what they are, as this replica sees it.",
        "No primary: an election, or no majority. unknown: a member that is down or cannot be reached from here.";
    DB_TOPOLOGY_CHANGES = "counter_api_db_topology_changes_total" Kind::Counter, [],
        "Times that a server of the replica set changed what it is.",
        "A few at an election. Steadily: a member that flaps, or a network that does.";
    DB_HEARTBEAT = "counter_api_db_heartbeat_duration_seconds" Kind::Histogram(COARSE_SECONDS), ["server_address"],
        "Seconds that a server took to answer a heartbeat, beyond the second that it may hold it back.",
        "One server alone: that member, or the way to it, is slow.";
    DB_HEARTBEAT_FAILURES = "counter_api_db_heartbeat_failures_total" Kind::Counter, ["server_address"],
        "Heartbeats that a server did not answer.",
        "The member is down, or cannot be reached from this replica.";
    STORE_CONFLICTS = "counter_api_store_conflicts_total" Kind::Counter, ["db_system_name"],
        "Transactions that met another writer and were repeated.",
        "A steady high rate means that several replicas serve the same hot counters.";
    ORPHANS_ABORTED = "counter_api_orphaned_transactions_total" Kind::Counter, [],
        "Transactions of replicas that are gone, which held up others and were aborted.",
        "Some after a replica was killed. Otherwise a replica is frozen, or cut off from the database.";
    NUMBERS_ISSUED = "counter_api_numbers_issued_total" Kind::Counter, [],
        "Numbers handed out. A replayed answer does not count again.",
        "Compare with the rate of next: a gap between them is refusals.";
    BATCH_SIZE = "counter_api_commit_batch_size" Kind::Histogram(BATCH), [],
        "Calls served by one commit.",
        "Grows with load, as it should; 1 under heavy load means that combining does not work.";
    COMMIT_DURATION = "counter_api_commit_duration_seconds" Kind::Histogram(STORE_SECONDS), ["outcome"],
        "Seconds from a batch's start to its definite or unknown end, retries included; `split` is one that went on in two halves.",
        "Far above db_client_operation_duration_seconds means retries: look at conflicts and elections.";
    COMMITS_IN_FLIGHT = "counter_api_commits_in_flight" Kind::Gauge, [],
        "Batches under way.",
        "Stuck at its maximum with a growing queue: the store is the bottleneck.";
    QUEUE_DEPTH = "counter_api_queue_depth" Kind::Gauge, [],
        "Calls that wait for their commit to begin.",
        "Rising steadily: more load than the store takes; at COUNTER_MAX_QUEUE calls are refused.";
    QUEUE_LIMIT = "counter_api_queue_limit" Kind::Gauge, [],
        "Calls that may wait for the store (COUNTER_MAX_QUEUE).",
        "Compare counter_api_queue_depth with it.";
    QUEUE_WAIT = "counter_api_queue_wait_seconds" Kind::Histogram(STORE_SECONDS), [],
        "Seconds that a call waited for its commit to begin.",
        "Near the request timeout: scale the database, or spread the load over more counters.";
    UNKNOWN_OUTCOMES = "counter_api_unknown_outcomes_total" Kind::Counter, ["db_system_name"],
        "Calls on counters that were answered outcome_unknown: a number may be skipped.",
        "Expected in small numbers at an election; otherwise look at the store's errors. Clients should send an Idempotency-Key.";
    REPLAYS = "counter_api_idempotent_replays_total" Kind::Counter, [],
        "Answers given again to a repeated Idempotency-Key.",
        "Many of them: a client repeats without need, or answers get lost between it and us.";
    OVERLOAD = "counter_api_overload_rejections_total" Kind::Counter, ["reason"],
        "Calls refused for too many were waiting.",
        "queue: more load than the store takes. password: a login storm, see counter_api_auth_attempts_total.";
    AUTH_ATTEMPTS = "counter_api_auth_attempts_total" Kind::Counter, ["kind", "outcome"],
        "Registrations, logins, checks of tokens, and sign-ins through a provider (failed: somebody proved nothing; not the provider's failures).",
        "Many failed logins from few users: credential stuffing, lower COUNTER_AUTH_RATE_LIMIT.";
    HASH_DURATION = "counter_api_password_hash_duration_seconds" Kind::Histogram(STORE_SECONDS), [],
        "Seconds of hashing or verifying one password, without the wait for a place.",
        "It is CPU time: if it grows, the machine is short of it.";
    HASH_PENDING = "counter_api_password_hash_pending" Kind::Gauge, [],
        "Passwords that are hashed or wait for it.",
        "High: a login storm, or an attack. Counters are not slowed by it.";
    RATE_LIMITED = "counter_api_rate_limited_requests_total" Kind::Counter, ["http_route"],
        "Requests answered 429.",
        "On login and register: an attack, or many users behind one address that is not in COUNTER_TRUSTED_PROXIES.";
    USERS_REGISTERED = "counter_api_users_registered_total" Kind::Counter, ["provider"],
        "Accounts made.",
        "A burst of them from nowhere is abuse.";
    OAUTH_SIGN_INS = "counter_api_oauth_sign_ins_total" Kind::Counter, ["provider", "outcome"],
        "Sign-ins through a provider by how they ended; `link_required` goes on with another outcome, or with none.",
        "provider_unavailable, provider_refused and provider_invalid are the provider's, or a wrong client secret: see docs/sign-in.md. answer_refused: codes that are made up, used or too old, or a provider that sends people back with an error. flow_expired: people who take long, or a proxy that drops cookies.";
    HTTP_CLIENT_DURATION = "http_client_request_duration_seconds" Kind::Histogram(COARSE_SECONDS),
        ["provider", "endpoint", "http_request_method", "http_response_status_code", "error_type"],
        "Seconds of one call to a provider of sign-ins (http.client.request.duration, stable), its answer's body included.",
        "Slow or failing for one provider alone: its status page. For all of them: our way out, DNS, a firewall, CA certificates.";
    SECRET_RELOADS = "counter_api_secret_reloads_total" Kind::Counter, ["outcome"],
        "Times that the token keys' file changed and was read again.",
        "failed: the new file is wrong and the old keys stay in use; the log line says what is wrong.";
    LOG_LINES_DROPPED = "counter_api_log_lines_dropped_total" Kind::Counter, [],
        "Log lines that were dropped for whoever reads standard output is too slow.",
        "Look at what collects the logs of this replica; the service itself goes on.";
    LOG_LINES_SUPPRESSED = "counter_api_log_lines_suppressed_total" Kind::Counter, [],
        "Warnings and errors that were left out of the log because the same one had been written many times that second.",
        "The log says which; what it warns of happens very often.";
    EVENT_LOOP_DELAY = "counter_api_event_loop_delay_seconds" Kind::Histogram(COARSE_SECONDS), [],
        "Seconds by which a timer of the async runtime was late, measured ten times a second.",
        "Above 25 ms the process is short of CPU (look for throttling), or something blocks the runtime.";
    SPANS_PROCESSED = "otel_sdk_processor_span_processed_total" Kind::Counter, ["error_type"],
        "Spans that ended; error_type=queue_full were dropped (otel.sdk.processor.span.processed, in development).",
        "Drops mean that the collector is slow or OTEL_BSP_MAX_QUEUE_SIZE small.";
    SPANS_EXPORTED = "otel_sdk_exporter_span_exported_total" Kind::Counter, ["error_type"],
        "Spans handed to the exporter; those with an error_type were lost (otel.sdk.exporter.span.exported, in development).",
        "Failures mean that the collector is down or refuses us. Callers do not notice.";
    LOGS_PROCESSED = "otel_sdk_processor_log_processed_total" Kind::Counter, ["error_type"],
        "Log records for OTLP; error_type=queue_full were dropped (otel.sdk.processor.log.processed, in development).",
        "Drops mean that the collector is slow or OTEL_BLRP_MAX_QUEUE_SIZE small. Standard output has every line.";
    LOGS_EXPORTED = "otel_sdk_exporter_log_exported_total" Kind::Counter, ["error_type"],
        "Log records handed to the exporter; those with an error_type were lost (otel.sdk.exporter.log.exported, in development).",
        "Failures mean that the collector is down or refuses us. Standard output has every line.";
    PROCESS_CPU = "process_cpu_seconds_total" Kind::Counter, [],
        "Seconds of CPU, user and system.",
        "Near the limit: scale out. Compare with the request rate for the price of a call.";
    PROCESS_OPEN_FDS = "process_open_fds" Kind::Gauge, [],
        "Open file descriptors.",
        "Near process_max_fds connections are refused: raise the limit, or look for clients that keep connections.";
    PROCESS_MAX_FDS = "process_max_fds" Kind::Gauge, [],
        "Limit of open file descriptors.",
        "It should be COUNTER_MAX_CONNECTIONS and some hundred more.";
    PROCESS_VIRTUAL_MEMORY = "process_virtual_memory_bytes" Kind::Gauge, [],
        "Virtual memory in bytes.",
        "Of little use: resident memory is what costs.";
    PROCESS_RESIDENT_MEMORY = "process_resident_memory_bytes" Kind::Gauge, [],
        "Resident memory in bytes.",
        "It grows with connections and calls under way and stays flat otherwise; steady growth is a leak.";
    PROCESS_START_TIME = "process_start_time_seconds" Kind::Gauge, [],
        "When the process started, in seconds since 1970.",
        "Changes mean restarts: find out what ended the process.";
    PROCESS_THREADS = "process_threads" Kind::Gauge, [],
        "Threads of the process.",
        "Many more than cores: blocking work piles up.";
    TOKIO_WORKERS = "tokio_workers" Kind::Gauge, [],
        "Worker threads of the async runtime.",
        "It is the number of cores that the process may use; 1 on a larger machine means a CPU limit.";
    TOKIO_ALIVE_TASKS = "tokio_alive_tasks" Kind::Gauge, [],
        "Tasks of the async runtime: connections, and what they do.",
        "Growing without connections growing: tasks hang.";
    TOKIO_GLOBAL_QUEUE_DEPTH = "tokio_global_queue_depth" Kind::Gauge, [],
        "Tasks in the runtime's injection queue.",
        "Growing: the workers are behind.";
    TOKIO_BUSY = "tokio_worker_busy_seconds_total" Kind::Counter, [],
        "Seconds that the workers were busy, all of them together.",
        "Its rate near tokio_workers: the runtime is saturated.";
    BUILD_INFO = "counter_api_build_info" Kind::Gauge, ["version", "revision", "rustc", "store"],
        "Always 1; its labels say what runs.",
        "Two versions for long: a rolling update is stuck.";
    TARGET_INFO = "target_info" Kind::Gauge, ["service_name", "service_version", "service_instance_id"],
        "Always 1; the resource that the traces bear as well.",
        "It joins metrics to traces; nothing to do.";
}

/// `docs/metrics.md`.
pub fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         <!-- Printed by `counter-api reference metrics`; change src/metrics/catalogue.rs, then `make reference`. -->\n\n\
         Served as `/metrics` on the admin listener: text 0.0.4, or OpenMetrics 1.0 with exemplars where `Accept` asks for\n\
         `application/openmetrics-text`. One replica shows at most 4,000 sample lines, whatever its callers send; each way in which a\n\
         command of the database fails adds 17. Names are OpenTelemetry's semantic conventions (v1.44) in Prometheus'\n\
         spelling; what is ours alone begins with `counter_api_`. Durations are in seconds.\n",
    );
    for metric in CATALOGUE {
        let kind = match metric.kind {
            Kind::Counter => "counter".to_owned(),
            Kind::Gauge => "gauge".to_owned(),
            Kind::Histogram(buckets) => {
                let bounds: Vec<_> = buckets.iter().map(f64::to_string).collect();
                format!("histogram with the bounds {}", bounds.join(", "))
            }
        };
        let labels = match metric.labels {
            [] => "no labels".to_owned(),
            labels => format!("labels `{}`", labels.join("`, `")),
        };
        let (name, help, action) = (metric.name, metric.help, metric.action);
        let _ = write!(text, "\n## `{name}`\n\nA {kind}; {labels}.\n\n{help}\n\nWhen it looks wrong: {action}\n");
    }
    text
}
