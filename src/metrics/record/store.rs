//! The database: what it is asked, the connections to it, and what its servers are.

use std::time::Duration;

use metrics::{Gauge, Histogram, Label, counter, gauge, histogram};

use super::{record, series};
use crate::metrics::catalogue::*;
use crate::metrics::exemplars::SpanIds;
use crate::metrics::labels::{ErrorType, ServerKind};

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
    /// The codes that are told apart.
    pub known_codes: &'static [i32],
    /// Nothing for success.
    pub error_type: Option<ErrorType>,
}

/// Records one attempt of one store operation, as an exemplar too where its span is sampled.
pub fn store_attempt(attempt: StoreAttempt<'_>, duration: Duration, of: Option<SpanIds>) {
    let code = attempt.code.map(|code| code_label(code, attempt.known_codes));
    let series = series(
        &DB_DURATION,
        [
            Label::from_static_parts("db_system_name", attempt.system),
            Label::from_static_parts("db_operation_name", attempt.operation),
            Label::from_static_parts("db_collection_name", attempt.collection),
            Label::new("db_namespace", attempt.namespace.to_owned()),
            Label::new("db_response_status_code", code.unwrap_or_default()),
            Label::from_static_parts("error_type", attempt.error_type.map_or("", ErrorType::as_str)),
        ],
    );
    record(&DB_DURATION, &series, duration, of);
}

/// A server's error code, if it is one that somebody may ask for: there are hundreds, and each would be a series of every
/// operation. The log and the span have the others.
fn code_label(code: i32, known: &[i32]) -> String {
    if known.contains(&code) { code.to_string() } else { "other".to_owned() }
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
