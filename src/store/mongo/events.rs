//! What the driver tells of its pools and of the servers that it watches, as metrics and log lines.
//!
//! A pool's numbers are kept here by its events: the driver has them for itself. All of it is cheap, for each operation of
//! the database takes a connection and gives it back.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mongodb::ServerType;
use mongodb::event::cmap::{CmapEvent, ConnectionCheckoutFailedReason};
use mongodb::event::sdam::{SdamEvent, TopologyDescriptionChangedEvent};
use mongodb::options::ServerAddress;

use super::error::{self, Effect};
use crate::metrics::{self, Pool, ServerKind};

/// Connections of a pool where its options name no other limit: the driver's default.
const DEFAULT_MAX_POOL_SIZE: u32 = 10;

tokio::task_local! {
    /// How many connections the driver has taken for the command that this task waits for.
    static ATTEMPTS: Cell<u32>;
}

/// Runs one command of the driver, and says how often it was sent, or about to be: for each attempt the driver takes a
/// connection, and tells of that in the task that waits for the command.
pub(super) async fn counting_attempts<T>(command: impl Future<Output = T>) -> (T, u32) {
    let counted = async { (command.await, ATTEMPTS.with(Cell::get)) };
    ATTEMPTS.scope(Cell::new(0), counted).await
}

/// Hears the driver's events.
#[derive(Debug)]
pub(super) struct Events {
    /// How long a server may hold back the answer to a heartbeat while nothing changes.
    heartbeat: Duration,
    /// How long an operation can wait for a connection at all. The driver does not tell of those that are given up.
    patience: Duration,
    pools: Mutex<HashMap<ServerAddress, PoolState>>,
    /// Servers that do not answer, and why.
    silent: Mutex<HashMap<ServerAddress, String>>,
}

/// The connections of one server.
#[derive(Debug)]
struct PoolState {
    metrics: Pool,
    /// Whether each connection that is ready is in use.
    used: HashMap<u32, bool>,
    /// When those began to wait that wait for a connection.
    waiting: VecDeque<Instant>,
}

impl PoolState {
    fn new(address: &ServerAddress, max: u32) -> Self {
        let metrics = Pool::new(address.to_string(), max);
        Self { metrics, used: HashMap::new(), waiting: VecDeque::new() }
    }

    /// Shows the numbers as they are now, without those who cannot be waiting any more.
    fn show(&mut self, patience: Duration) {
        while self.waiting.front().is_some_and(|since| since.elapsed() > patience) {
            self.waiting.pop_front();
            self.metrics.timed_out(1);
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let used = self.used.values().filter(|used| **used).count();
        self.metrics.set(count(self.used.len() - used), count(used), count(self.waiting.len()));
    }
}

impl Events {
    pub(super) fn new(heartbeat: Duration, patience: Duration) -> Self {
        metrics::servers_at_zero();
        Self { heartbeat, patience, pools: Mutex::default(), silent: Mutex::default() }
    }

    /// Brings up to date what no event tells of: operations that gave up waiting.
    pub(super) fn refresh(&self) {
        self.pools().values_mut().for_each(|pool| pool.show(self.patience));
    }

    fn pools(&self) -> MutexGuard<'_, HashMap<ServerAddress, PoolState>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn silent(&self) -> MutexGuard<'_, HashMap<ServerAddress, String>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event of a pool.
    pub(super) fn of_pool(&self, event: CmapEvent) {
        if matches!(event, CmapEvent::ConnectionCheckedOut(_)) {
            // Most commands are not counted.
            let _ = ATTEMPTS.try_with(|attempts| attempts.set(attempts.get() + 1));
        }
        let mut pools = self.pools();
        match event {
            CmapEvent::PoolCreated(event) => {
                let max = event.options.and_then(|options| options.max_pool_size).unwrap_or(DEFAULT_MAX_POOL_SIZE);
                pools.insert(event.address.clone(), PoolState::new(&event.address, max));
            }
            CmapEvent::PoolClosed(event) => drop(pools.remove(&event.address)),
            CmapEvent::PoolCleared(event) => {
                tracing::warn!(server = %event.address, "the connections to a MongoDB server are given up");
            }
            event => {
                let Some(address) = address_of(&event) else { return };
                let Some(pool) = pools.get_mut(address) else { return };
                pool.heed(&event);
                pool.show(self.patience);
            }
        }
    }

    /// An event of the servers that the driver watches.
    pub(super) fn of_servers(&self, event: SdamEvent) {
        match event {
            SdamEvent::ServerOpening(event) => metrics::db_heartbeat_failed(event.address.to_string(), 0),
            SdamEvent::ServerDescriptionChanged(event) => {
                let server = event.new_description.server_type();
                let former = event.previous_description.server_type();
                if former != server {
                    metrics::db_topology_changed();
                    let (from, to) = (kind_of(former).as_str(), kind_of(server).as_str());
                    tracing::info!(server = %event.address, from, to, "a MongoDB server is {to}, it was {from}");
                }
            }
            SdamEvent::TopologyDescriptionChanged(event) => show_servers(&event),
            SdamEvent::ServerHeartbeatSucceeded(event) => {
                let held_back = if event.awaited { self.heartbeat } else { Duration::ZERO };
                metrics::db_heartbeat(event.server_address.to_string(), event.duration.saturating_sub(held_back));
                self.silent().remove(&event.server_address);
            }
            SdamEvent::ServerHeartbeatFailed(event) => {
                metrics::db_heartbeat_failed(event.server_address.to_string(), 1);
                let error = error::classify(&event.failure, Effect::None).to_string();
                // It fails once a second: told when it begins, and when the reason is another.
                let former = self.silent().insert(event.server_address.clone(), error.clone());
                if former.as_ref() != Some(&error) {
                    tracing::warn!(server = %event.server_address, error, "a MongoDB server does not answer");
                }
            }
            _ => {}
        }
    }
}

impl PoolState {
    fn heed(&mut self, event: &CmapEvent) {
        match event {
            CmapEvent::ConnectionReady(event) => {
                self.used.insert(event.connection_id, false);
                self.metrics.created(event.duration);
            }
            CmapEvent::ConnectionClosed(event) => drop(self.used.remove(&event.connection_id)),
            CmapEvent::ConnectionCheckoutStarted(_) => self.waiting.push_back(Instant::now()),
            CmapEvent::ConnectionCheckedOut(event) => {
                self.waiting.pop_front();
                self.used.insert(event.connection_id, true);
                self.metrics.waited(event.duration);
            }
            CmapEvent::ConnectionCheckoutFailed(event) => {
                self.waiting.pop_front();
                self.metrics.waited(event.duration);
                if matches!(event.reason, ConnectionCheckoutFailedReason::Timeout) {
                    self.metrics.timed_out(1);
                }
            }
            CmapEvent::ConnectionCheckedIn(event) => drop(self.used.insert(event.connection_id, false)),
            _ => {}
        }
    }
}

fn address_of(event: &CmapEvent) -> Option<&ServerAddress> {
    match event {
        CmapEvent::ConnectionReady(event) => Some(&event.address),
        CmapEvent::ConnectionClosed(event) => Some(&event.address),
        CmapEvent::ConnectionCheckoutStarted(event) => Some(&event.address),
        CmapEvent::ConnectionCheckedOut(event) => Some(&event.address),
        CmapEvent::ConnectionCheckoutFailed(event) => Some(&event.address),
        CmapEvent::ConnectionCheckedIn(event) => Some(&event.address),
        _ => None,
    }
}

fn show_servers(event: &TopologyDescriptionChangedEvent) {
    let mut counts: HashMap<&str, u32> = HashMap::new();
    for server in event.new_description.servers().values() {
        *counts.entry(kind_of(server.server_type()).as_str()).or_default() += 1;
    }
    for kind in ServerKind::ALL {
        metrics::db_servers(*kind, counts.get(kind.as_str()).copied().unwrap_or(0));
    }
}

fn kind_of(server: ServerType) -> ServerKind {
    match server {
        ServerType::RsPrimary => ServerKind::Primary,
        ServerType::RsSecondary => ServerKind::Secondary,
        ServerType::RsArbiter => ServerKind::Arbiter,
        ServerType::Unknown => ServerKind::Unknown,
        _ => ServerKind::Other,
    }
}
