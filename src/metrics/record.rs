//! The functions that record what happens, one for each thing that can.

use std::time::Duration;

use metrics::{Gauge, Histogram, Key, KeyName, Label, Metadata, counter, gauge, histogram, with_recorder};

use super::catalogue::*;
use super::exemplars::{self, SpanIds};
use super::labels::*;
use crate::domain::ProviderName;

const METADATA: Metadata<'static> = Metadata::new(module_path!(), metrics::Level::INFO, Some(module_path!()));

/// A series of a histogram. Its key is at hand for the exemplars, which the macros would not give.
fn series<const N: usize>(metric: &Metric, labels: [Label; N]) -> Key {
    Key::from_parts(KeyName::from_const_str(metric.name), labels.to_vec())
}

fn registered(series: &Key) -> Histogram {
    with_recorder(|recorder| recorder.register_histogram(series, &METADATA))
}

fn record(metric: &Metric, series: &Key, duration: Duration, of: Option<SpanIds>) {
    registered(series).record(duration.as_secs_f64());
    if let Some(of) = of {
        exemplars::keep(metric, series, of, duration);
    }
}

fn http_series(method: &'static str, route: &str, status: u16, error_type: &'static str) -> Key {
    series(
        &HTTP_DURATION,
        [
            Label::from_static_parts("http_request_method", method),
            Label::new("http_route", route.to_owned()),
            Label::new("http_response_status_code", status.to_string()),
            Label::from_static_parts("error_type", error_type),
            Label::from_static_parts("url_scheme", "http"),
        ],
    )
}

pub(super) fn register_http_duration(method: &'static str, route: &str, status: u16, error_type: &'static str) {
    drop(registered(&http_series(method, route, status, error_type)));
}

/// One request that ended.
#[derive(Debug, Clone, Copy)]
pub struct HttpRequest<'a> {
    /// Its method, or `_OTHER`.
    pub method: &'static str,
    /// Its route's template, or `unmatched`.
    pub route: &'a str,
    /// The answer's status.
    pub status: u16,
    /// The problem's code, or empty.
    pub code: &'static str,
}

/// Records a request that ended, as an exemplar too where its span is sampled. A problem is counted by its code; the label
/// `error_type` has it where something other than the request is wrong, as the conventions say: 5xx, and calls that were
/// given up.
pub fn http_request(request: HttpRequest<'_>, duration: Duration, of: Option<SpanIds>) {
    let HttpRequest { method, route, status, code } = request;
    let error_type = if status >= 499 { code } else { "" };
    record(&HTTP_DURATION, &http_series(method, route, status, error_type), duration, of);
    if status != 499 && !code.is_empty() {
        counter!(PROBLEMS.name, "code" => code).increment(1);
    }
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

/// Counts a connection that the server ended.
pub fn connection_ended(reason: ConnectionEnd) {
    counter!(HTTP_CONNECTIONS_ENDED.name, "reason" => reason.as_str()).increment(1);
}

/// Counts a panic, in a request or in a task.
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

/// A server's error code, if it is one that somebody may ask for: there are hundreds, and each would be a series of every
/// operation. The log and the span have the others.
fn code_label(code: i32) -> String {
    /// Unauthorized, AuthenticationFailed, MaxTimeMSExpired, WriteConcernFailed, NotWritablePrimary, ShutdownInProgress,
    /// WriteConflict, PrimarySteppedDown, NoSuchTransaction, DuplicateKey, InterruptedAtShutdown, InterruptedDueToReplStateChange.
    const KNOWN: [i32; 12] = [13, 18, 50, 64, 91, 112, 189, 251, 10_107, 11_000, 11_600, 11_602];
    if KNOWN.contains(&code) { code.to_string() } else { "other".to_owned() }
}

/// Records one attempt of one store operation, as an exemplar too where its span is sampled.
pub fn store_attempt(attempt: StoreAttempt<'_>, duration: Duration, of: Option<SpanIds>) {
    let series = series(
        &DB_DURATION,
        [
            Label::from_static_parts("db_system_name", attempt.system),
            Label::from_static_parts("db_operation_name", attempt.operation),
            Label::from_static_parts("db_collection_name", attempt.collection),
            Label::new("db_namespace", attempt.namespace.to_owned()),
            Label::new("db_response_status_code", attempt.code.map(code_label).unwrap_or_default()),
            Label::from_static_parts("error_type", attempt.error_type),
        ],
    );
    record(&DB_DURATION, &series, duration, of);
}

/// Says whether the last health probe succeeded.
pub fn store_up(system: &'static str, up: bool) {
    gauge!(STORE_UP.name, "db_system_name" => system).set(if up { 1.0 } else { 0.0 });
}

/// Counts a transaction that met another writer.
pub fn store_conflict(system: &'static str) {
    counter!(STORE_CONFLICTS.name, "db_system_name" => system).increment(1);
}

/// Counts transactions that were aborted because their owners are gone.
pub fn orphans_aborted(transactions: u64) {
    counter!(ORPHANS_ABORTED.name).increment(transactions);
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

/// Counts an account that was made: with a password, or through this provider.
pub fn user_registered(provider: Option<&ProviderName>) {
    let provider = provider.map_or_else(|| "password".to_owned(), ProviderName::to_string);
    counter!(USERS_REGISTERED.name, "provider" => provider).increment(1);
}

/// Counts a sign-in through a provider that ended well.
pub fn signed_in(provider: &ProviderName, outcome: SignIn) {
    counter!(OAUTH_SIGN_INS.name, "provider" => provider.to_string(), "outcome" => outcome.as_str()).increment(1);
}

/// Counts a sign-in through a provider that did not come about, by its [`SignInFailure`] or as [`ANSWER_REFUSED`].
pub fn sign_in_failed(provider: &ProviderName, outcome: &'static str) {
    counter!(OAUTH_SIGN_INS.name, "provider" => provider.to_string(), "outcome" => outcome).increment(1);
}

/// One call to a provider of sign-ins, as the labels of its histogram.
#[derive(Debug, Clone, Copy)]
pub struct ProviderCall<'a> {
    /// Which provider.
    pub provider: &'a ProviderName,
    /// What it was asked for.
    pub endpoint: Endpoint,
    /// The request's method.
    pub method: &'static str,
    /// The answer's status, if one came.
    pub status: Option<u16>,
    /// Empty for success.
    pub error_type: &'static str,
}

/// A status that somebody may ask for. Others are as good as each other, and each would be a series.
fn status_label(status: u16) -> String {
    const KNOWN: [u16; 12] = [200, 201, 302, 400, 401, 403, 404, 429, 500, 502, 503, 504];
    if KNOWN.contains(&status) { status.to_string() } else { "other".to_owned() }
}

/// Records one call to a provider of sign-ins, as an exemplar too where its span is sampled.
pub fn provider_call(call: ProviderCall<'_>, duration: Duration, of: Option<SpanIds>) {
    let series = series(
        &HTTP_CLIENT_DURATION,
        [
            Label::new("provider", call.provider.to_string()),
            Label::from_static_parts("endpoint", call.endpoint.as_str()),
            Label::from_static_parts("http_request_method", call.method),
            Label::new("http_response_status_code", call.status.map(status_label).unwrap_or_default()),
            Label::from_static_parts("error_type", call.error_type),
        ],
    );
    record(&HTTP_CLIENT_DURATION, &series, duration, of);
}

/// Counts a change of the token keys' file.
pub fn secret_reloaded(applied: bool) {
    counter!(SECRET_RELOADS.name, "outcome" => if applied { "applied" } else { "failed" }).increment(1);
}

/// Connections to one server: how many are idle and used, and how many operations wait for one.
#[derive(Debug)]
pub struct Pool {
    name: String,
    idle: Gauge,
    used: Gauge,
    pending: Gauge,
    wait: Histogram,
    create: Histogram,
    timeouts: metrics::Counter,
}

impl Pool {
    /// The pool of this name, of at most `max` connections.
    pub fn new(name: String, max: u32) -> Self {
        let connections = |state: &'static str| {
            gauge!(DB_CONNECTIONS.name,
                "db_client_connection_pool_name" => name.clone(), "db_client_connection_state" => state)
        };
        gauge!(DB_CONNECTIONS_MAX.name, "db_client_connection_pool_name" => name.clone()).set(max);
        let pool = Self {
            idle: connections("idle"),
            used: connections("used"),
            pending: gauge!(DB_CONNECTIONS_PENDING.name, "db_client_connection_pool_name" => name.clone()),
            wait: histogram!(DB_CONNECTION_WAIT.name, "db_client_connection_pool_name" => name.clone()),
            create: histogram!(DB_CONNECTION_CREATE.name, "db_client_connection_pool_name" => name.clone()),
            timeouts: counter!(DB_CONNECTION_TIMEOUTS.name, "db_client_connection_pool_name" => name.clone()),
            name,
        };
        pool.set(0, 0, 0);
        pool.timeouts.increment(0);
        pool
    }

    /// Connections that are idle and used, and operations that wait for one.
    pub fn set(&self, idle: u32, used: u32, pending: u32) {
        self.idle.set(idle);
        self.used.set(used);
        self.pending.set(pending);
    }

    /// An operation has waited so long for its connection.
    pub fn waited(&self, duration: Duration) {
        self.wait.record(duration.as_secs_f64());
    }

    /// A connection was ready after so long.
    pub fn created(&self, duration: Duration) {
        self.create.record(duration.as_secs_f64());
    }

    /// So many operations gave up waiting.
    pub fn timed_out(&self, operations: u64) {
        self.timeouts.increment(operations);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // A server that left the replica set has no connections.
        self.set(0, 0, 0);
        gauge!(DB_CONNECTIONS_MAX.name, "db_client_connection_pool_name" => self.name.clone()).set(0);
    }
}

/// How many servers of a kind there are.
pub fn db_servers(kind: ServerKind, count: u32) {
    gauge!(DB_SERVERS.name, "type" => kind.as_str()).set(count);
}

/// Counts a server that became something else.
pub fn db_topology_changed() {
    counter!(DB_TOPOLOGY_CHANGES.name).increment(1);
}

/// Records how long a server took to answer a heartbeat.
pub fn db_heartbeat(server: String, duration: Duration) {
    histogram!(DB_HEARTBEAT.name, "server_address" => server).record(duration.as_secs_f64());
}

/// Counts heartbeats that a server did not answer. None, to begin with, makes its series exist.
pub fn db_heartbeat_failed(server: String, heartbeats: u64) {
    counter!(DB_HEARTBEAT_FAILURES.name, "server_address" => server).increment(heartbeats);
}

/// Calls that may wait for the store.
pub fn queue_limit(calls: u32) {
    gauge!(QUEUE_LIMIT.name).set(calls);
}

/// Connections that a listener may have.
pub fn http_connections_limit(listener: &'static str, connections: u32) {
    gauge!(HTTP_CONNECTIONS_LIMIT.name, "listener" => listener).set(connections);
}

/// Records how late a timer of the runtime fired.
pub fn event_loop_delay(duration: Duration) {
    histogram!(EVENT_LOOP_DELAY.name).record(duration.as_secs_f64());
}

/// How many log lines were dropped so far.
pub fn log_lines_dropped(total: u64) {
    counter!(LOG_LINES_DROPPED.name).absolute(total);
}

/// Counts warnings and errors of a flood that were left out of the log.
pub fn log_lines_suppressed(lines: u64) {
    counter!(LOG_LINES_SUPPRESSED.name).increment(lines);
}

impl Signal {
    pub(super) fn metrics(self) -> (&'static Metric, &'static Metric) {
        match self {
            Self::Spans => (&SPANS_PROCESSED, &SPANS_EXPORTED),
            Self::Logs => (&LOGS_PROCESSED, &LOGS_EXPORTED),
        }
    }

    /// Counts one that came: kept, or dropped for the queue was full.
    pub fn processed(self, dropped: bool) {
        let (processed, _) = self.metrics();
        counter!(processed.name, "error_type" => if dropped { "queue_full" } else { "" }).increment(1);
    }

    /// Counts those that were exported or lost.
    pub fn exported(self, count: u64, failed: bool) {
        let (_, exported) = self.metrics();
        counter!(exported.name, "error_type" => if failed { "export_failed" } else { "" }).increment(count);
    }
}
