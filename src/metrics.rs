//! THE catalogue: every metric's name, kind, labels, help and buckets, and the functions that record them.
//!
//! Nothing else in the crate names a metric (`clippy.toml` sees to it). Names are OpenTelemetry's semantic conventions
//! (v1.44) in Prometheus' spelling; what is ours alone begins with `counter_api_`. Labels are bounded by construction:
//! enums, route templates, words of this crate; never a user, an e-mail address or a raw path. Durations are seconds
//! from a monotonic clock.
#![expect(clippy::disallowed_macros, reason = "this is the home of the metrics macros")]

use std::fmt::Write as _;
use std::time::Duration;

use metrics::{Gauge, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

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

/// The convention's buckets for requests, and 1 and 2.5 ms, where most of our answers are.
const REQUEST_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const STORE_SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const BYTES: &[f64] = &[0.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0];
const BATCH: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

macro_rules! catalogue {
    ($($id:ident = $name:literal $kind:expr, [$($label:literal),*], $help:literal, $action:literal;)*) => {
        $(const $id: Metric =
            Metric { name: $name, kind: $kind, labels: &[$($label),*], help: $help, action: $action };)*
        /// Every metric, in the order of the documentation.
        pub const CATALOGUE: &[Metric] = &[$($id),*];
    };
}

catalogue! {
    HTTP_DURATION = "http_server_request_duration_seconds" Kind::Histogram(REQUEST_SECONDS),
        ["http_request_method", "http_route", "http_response_status_code", "error_type", "url_scheme"],
        "Seconds from a request's head to its answer's head (http.server.request.duration, stable). Its _count is the rate.",
        "Split by http_route and error_type: one route alone points at a caller or a counter, all of them at the store.";
    HTTP_ACTIVE = "http_server_active_requests" Kind::Gauge, ["http_request_method"],
        "Requests under way (http.server.active_requests, in development).",
        "If it rises without falling, requests hang: compare db_client_operation_duration_seconds.";
    HTTP_BODY = "http_server_request_body_size_bytes" Kind::Histogram(BYTES), ["http_route"],
        "Declared size of request bodies in bytes (http.server.request.body.size, in development).",
        "Bodies near 16 KiB are no calls of ours: look for a client that sends something else.";
    HTTP_CONNECTIONS = "counter_api_http_connections" Kind::Gauge, ["listener"],
        "Open connections.",
        "At COUNTER_MAX_CONNECTIONS new clients wait: look for clients that open one connection for each call.";
    HTTP_CONNECTIONS_ENDED = "counter_api_http_connections_ended_total" Kind::Counter, ["reason"],
        "Connections that the server ended because the client was too slow or the server was stopping.",
        "no_request and idle are slow or silent clients; drain_timeout means that answers were cut off at a stop.";
    PANICS = "counter_api_panics_total" Kind::Counter, [],
        "Requests that ended in a panic: always a bug.",
        "Find the log line with the panic's message and report it with the trace id.";
    DB_DURATION = "db_client_operation_duration_seconds" Kind::Histogram(STORE_SECONDS),
        ["db_system_name", "db_operation_name", "db_collection_name", "db_namespace", "db_response_status_code", "error_type"],
        "Seconds of one attempt of one store operation, time-outs included (db.client.operation.duration, stable).",
        "Slow everywhere: the database or its disk. Slow in commitTransaction and findAndModify only: the majority, so a slow secondary.";
    STORE_UP = "counter_api_store_up" Kind::Gauge, ["db_system_name"],
        "1 while the last health probe of the store succeeded, else 0.",
        "Ask /health on each replica: all of them at 0 is the database, one alone is its network.";
    STORE_CONFLICTS = "counter_api_store_conflicts_total" Kind::Counter, ["db_system_name"],
        "Transactions that met another writer and were repeated.",
        "A steady high rate means that several replicas serve the same hot counters.";
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
    QUEUE_WAIT = "counter_api_queue_wait_seconds" Kind::Histogram(STORE_SECONDS), [],
        "Seconds that a call waited for its commit to begin.",
        "Near the request timeout: scale the database, or spread the load over more counters.";
    UNKNOWN_OUTCOMES = "counter_api_unknown_outcomes_total" Kind::Counter, ["db_system_name"],
        "Calls that were answered outcome_unknown: a number may be skipped.",
        "Expected in small numbers at an election; otherwise look at the store's errors. Clients should send an Idempotency-Key.";
    REPLAYS = "counter_api_idempotent_replays_total" Kind::Counter, [],
        "Answers given again to a repeated Idempotency-Key.",
        "Many of them: a client repeats without need, or answers get lost between it and us.";
    OVERLOAD = "counter_api_overload_rejections_total" Kind::Counter, ["reason"],
        "Calls refused for too many were waiting.",
        "queue: more load than the store takes. password: a login storm, see counter_api_auth_attempts_total.";
    AUTH_ATTEMPTS = "counter_api_auth_attempts_total" Kind::Counter, ["kind", "outcome"],
        "Registrations, logins and checks of tokens.",
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
    SECRET_RELOADS = "counter_api_secret_reloads_total" Kind::Counter, ["outcome"],
        "Times that the token keys' file changed and was read again.",
        "failed: the new file is wrong and the old keys stay in use; the log line says what is wrong.";
    LOG_LINES_DROPPED = "counter_api_log_lines_dropped_total" Kind::Counter, [],
        "Log lines that were dropped for whoever reads standard output is too slow.",
        "Look at what collects the logs of this replica; the service itself goes on.";
    SPANS_PROCESSED = "otel_sdk_processor_span_processed_total" Kind::Counter, ["error_type"],
        "Spans that ended; error_type=queue_full were dropped (otel.sdk.processor.span.processed, in development).",
        "Drops mean that the collector is slow or OTEL_BSP_MAX_QUEUE_SIZE small.";
    SPANS_EXPORTED = "otel_sdk_exporter_span_exported_total" Kind::Counter, ["error_type"],
        "Spans handed to the exporter; those with an error_type were lost (otel.sdk.exporter.span.exported, in development).",
        "Failures mean that the collector is down or refuses us. Callers do not notice.";
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
         <!-- Printed by `counter-api reference metrics`; change src/metrics.rs, then `make reference`. -->\n\n\
         Served as `/metrics` on the admin listener. Names are OpenTelemetry's semantic conventions (v1.44) in Prometheus'\n\
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

/// Installs the recorder, describes every metric and sets those that plausibly move to zero, so that a rule or a
/// dashboard never meets an absent series. `run_upkeep` of the handle must be called every few seconds.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new().with_recommended_naming(true);
    for metric in CATALOGUE {
        if let Kind::Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
    }
    let handle = builder.install_recorder()?;
    for metric in CATALOGUE {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram(_) => describe_histogram!(metric.name, metric.help),
        }
        // What has no labels exists at once; the rest where its label values are known (`start_at_zero` and others).
        if metric.labels.is_empty() {
            match metric.kind {
                Kind::Counter => counter!(metric.name).increment(0),
                Kind::Gauge => gauge!(metric.name).set(0.0),
                Kind::Histogram(_) => drop(histogram!(metric.name)),
            }
        }
    }
    start_at_zero();
    Ok(handle)
}

fn start_at_zero() {
    for kind in AuthKind::ALL {
        for outcome in [AuthOutcome::Success, AuthOutcome::Failure] {
            counter!(AUTH_ATTEMPTS.name, "kind" => kind.as_str(), "outcome" => outcome.as_str()).increment(0);
        }
    }
    for reason in Overload::ALL {
        counter!(OVERLOAD.name, "reason" => reason.as_str()).increment(0);
    }
    for reason in ConnectionEnd::ALL {
        counter!(HTTP_CONNECTIONS_ENDED.name, "reason" => reason.as_str()).increment(0);
    }
    for outcome in ["applied", "failed"] {
        counter!(SECRET_RELOADS.name, "outcome" => outcome).increment(0);
    }
    for outcome in CommitOutcome::ALL {
        drop(histogram!(COMMIT_DURATION.name, "outcome" => outcome.as_str()));
    }
    counter!(USERS_REGISTERED.name, "provider" => "password").increment(0);
    counter!(SPANS_PROCESSED.name, "error_type" => "").increment(0);
    counter!(SPANS_PROCESSED.name, "error_type" => "queue_full").increment(0);
    counter!(SPANS_EXPORTED.name, "error_type" => "").increment(0);
    counter!(SPANS_EXPORTED.name, "error_type" => "export_failed").increment(0);
}

/// Registers the series of a route that plausibly move, at zero: its success status, 500 and 503.
pub fn route_at_zero(method: &'static str, route: &str, success: u16) {
    for (status, error_type) in [(success, ""), (500, "internal"), (503, "store_unavailable")] {
        drop(http_duration(method, route, status, error_type));
    }
}

/// Registers a limited route's count of refusals at zero.
pub fn rate_limited_at_zero(route: &str) {
    counter!(RATE_LIMITED.name, "http_route" => route.to_owned()).increment(0);
}

/// Registers a store's series at zero.
pub fn store_at_zero(system: &'static str) {
    gauge!(STORE_UP.name, "db_system_name" => system).set(0.0);
    counter!(STORE_CONFLICTS.name, "db_system_name" => system).increment(0);
    counter!(UNKNOWN_OUTCOMES.name, "db_system_name" => system).increment(0);
}

/// Says what runs.
pub fn build_info(version: &'static str, revision: &'static str, rustc: &'static str, store: &'static str) {
    gauge!(BUILD_INFO.name, "version" => version, "revision" => revision, "rustc" => rustc, "store" => store).set(1.0);
}

/// Says which resource the traces bear.
pub fn target_info(service_name: String, service_version: String, service_instance_id: String) {
    gauge!(TARGET_INFO.name, "service_name" => service_name, "service_version" => service_version,
        "service_instance_id" => service_instance_id)
    .set(1.0);
}

fn http_duration(method: &'static str, route: &str, status: u16, error_type: &'static str) -> metrics::Histogram {
    histogram!(HTTP_DURATION.name,
        "http_request_method" => method,
        "http_route" => route.to_owned(),
        "http_response_status_code" => status.to_string(),
        "error_type" => error_type,
        "url_scheme" => "http")
}

/// Records a request that ended. `error_type` is the problem's code, or empty.
pub fn http_request(method: &'static str, route: &str, status: u16, error_type: &'static str, duration: Duration) {
    http_duration(method, route, status, error_type).record(duration.as_secs_f64());
}

/// Records the declared size of a request's body.
pub fn http_request_body(route: &str, bytes: u32) {
    histogram!(HTTP_BODY.name, "http_route" => route.to_owned()).record(f64::from(bytes));
}

/// Requests under way. The guard counts one down when it is dropped, however the request ends.
pub fn http_active(method: &'static str) -> Held {
    Held::new(gauge!(HTTP_ACTIVE.name, "http_request_method" => method))
}

/// Open connections of a listener, counted down when the guard is dropped.
pub fn http_connection(listener: &'static str) -> Held {
    Held::new(gauge!(HTTP_CONNECTIONS.name, "listener" => listener))
}

/// Passwords being hashed or waiting for it.
pub fn password_hash_pending() -> Held {
    Held::new(gauge!(HASH_PENDING.name))
}

/// Batches under way.
pub fn commit_in_flight() -> Held {
    Held::new(gauge!(COMMITS_IN_FLIGHT.name))
}

/// A gauge that was raised by one and falls again when this is dropped.
pub struct Held(Gauge);

impl Held {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// An enum whose values are the values of a label.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value of the label.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The label's value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

label! {
    /// Why the server ended a connection.
    ConnectionEnd {
        /// No request came within the header deadline.
        NoRequest = "no_request",
        /// No request for longer than the idle deadline.
        Idle = "idle",
        /// It was still busy when the drain timeout passed.
        DrainTimeout = "drain_timeout",
    }
}

label! {
    /// What was refused for too many were waiting.
    Overload {
        /// The sequencer's queue.
        Queue = "queue",
        /// The password hashes.
        Password = "password",
    }
}

label! {
    /// What somebody proved, or tried to prove.
    AuthKind {
        /// A registration.
        Register = "register",
        /// A login with a password.
        Login = "login",
        /// A token.
        Token = "token",
    }
}

label! {
    /// How an attempt ended.
    AuthOutcome {
        /// It was accepted.
        Success = "success",
        /// It was refused.
        Failure = "failure",
    }
}

label! {
    /// How a commit ended.
    CommitOutcome {
        /// It was applied.
        Committed = "committed",
        /// It was definitely not applied.
        Refused = "refused",
        /// Nobody knows.
        Unknown = "unknown",
        /// It met another writer again and again, was not applied, and went on in two halves.
        Split = "split",
    }
}

/// Counts a connection that the server ended.
pub fn connection_ended(reason: ConnectionEnd) {
    counter!(HTTP_CONNECTIONS_ENDED.name, "reason" => reason.as_str()).increment(1);
}

/// Counts a request that ended in a panic.
pub fn panicked() {
    counter!(PANICS.name).increment(1);
}

/// One attempt of one store operation, as the labels of its histogram.
#[derive(Debug, Clone, Copy)]
pub struct StoreAttempt<'a> {
    /// `mongodb` or `redb`.
    pub system: &'static str,
    /// The command's name.
    pub operation: &'static str,
    /// The collection or table.
    pub collection: &'static str,
    /// The database.
    pub namespace: &'a str,
    /// The server's error code, if it gave one.
    pub code: Option<i32>,
    /// Empty for success.
    pub error_type: &'static str,
}

/// Records one attempt of one store operation.
pub fn store_attempt(attempt: StoreAttempt<'_>, duration: Duration) {
    histogram!(DB_DURATION.name,
        "db_system_name" => attempt.system,
        "db_operation_name" => attempt.operation,
        "db_collection_name" => attempt.collection,
        "db_namespace" => attempt.namespace.to_owned(),
        "db_response_status_code" => attempt.code.map(|code| code.to_string()).unwrap_or_default(),
        "error_type" => attempt.error_type)
    .record(duration.as_secs_f64());
}

/// Says whether the last health probe succeeded.
pub fn store_up(system: &'static str, up: bool) {
    gauge!(STORE_UP.name, "db_system_name" => system).set(if up { 1.0 } else { 0.0 });
}

/// Counts a transaction that met another writer.
pub fn store_conflict(system: &'static str) {
    counter!(STORE_CONFLICTS.name, "db_system_name" => system).increment(1);
}

/// Counts numbers that were handed out.
pub fn numbers_issued(count: u64) {
    counter!(NUMBERS_ISSUED.name).increment(count);
}

/// Records a batch that begins: how many calls it serves.
pub fn commit_started(calls: u32) {
    histogram!(BATCH_SIZE.name).record(f64::from(calls));
}

/// Records a batch that ended.
pub fn commit_ended(outcome: CommitOutcome, duration: Duration) {
    histogram!(COMMIT_DURATION.name, "outcome" => outcome.as_str()).record(duration.as_secs_f64());
}

/// How many calls wait for their commit to begin.
pub fn queue_depth(calls: u32) {
    gauge!(QUEUE_DEPTH.name).set(f64::from(calls));
}

/// How long a call waited for its commit to begin.
pub fn queue_wait(duration: Duration) {
    histogram!(QUEUE_WAIT.name).record(duration.as_secs_f64());
}

/// Counts a call that was answered `outcome_unknown`.
pub fn unknown_outcome(system: &'static str) {
    counter!(UNKNOWN_OUTCOMES.name, "db_system_name" => system).increment(1);
}

/// Counts an answer that was given again.
pub fn idempotent_replay() {
    counter!(REPLAYS.name).increment(1);
}

/// Counts a call that was refused for too many were waiting.
pub fn overloaded(reason: Overload) {
    counter!(OVERLOAD.name, "reason" => reason.as_str()).increment(1);
}

/// Counts a registration, a login or the check of a token.
pub fn auth_attempt(kind: AuthKind, outcome: AuthOutcome) {
    counter!(AUTH_ATTEMPTS.name, "kind" => kind.as_str(), "outcome" => outcome.as_str()).increment(1);
}

/// Records the hashing of one password.
pub fn password_hashed(duration: Duration) {
    histogram!(HASH_DURATION.name).record(duration.as_secs_f64());
}

/// Counts a request that was answered 429.
pub fn rate_limited(route: &str) {
    counter!(RATE_LIMITED.name, "http_route" => route.to_owned()).increment(1);
}

/// Counts an account that was made.
pub fn user_registered(provider: &'static str) {
    counter!(USERS_REGISTERED.name, "provider" => provider).increment(1);
}

/// Counts a change of the token keys' file.
pub fn secret_reloaded(applied: bool) {
    counter!(SECRET_RELOADS.name, "outcome" => if applied { "applied" } else { "failed" }).increment(1);
}

/// How many log lines were dropped so far.
pub fn log_lines_dropped(total: u64) {
    counter!(LOG_LINES_DROPPED.name).absolute(total);
}

/// Counts spans that ended: kept, or dropped for the queue was full.
pub fn span_processed(dropped: bool) {
    counter!(SPANS_PROCESSED.name, "error_type" => if dropped { "queue_full" } else { "" }).increment(1);
}

/// Counts spans that were exported or lost.
pub fn spans_exported(count: u64, failed: bool) {
    counter!(SPANS_EXPORTED.name, "error_type" => if failed { "export_failed" } else { "" }).increment(count);
}
