//! What every handler can reach: parts that are cheap to clone.

use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use crate::api::health::Health;
use crate::auth::password::Passwords;
use crate::auth::session::Sessions;
use crate::auth::token::Tokens;
use crate::config::{HttpConfig, LimitsConfig};
use crate::domain::CounterValue;
use crate::lifecycle::Lifecycle;
use crate::middleware::limits::Limits;
use crate::sequencer::Sequencer;
use crate::store::Store;

/// The parts of the service.
#[derive(Clone)]
pub struct AppState {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The queue before it.
    pub sequencer: Sequencer,
    /// Issues tokens.
    pub tokens: Arc<Tokens>,
    /// Tells valid tokens from revoked ones.
    pub sessions: Arc<Sessions>,
    /// Hashes passwords.
    pub passwords: Arc<Passwords>,
    /// Asks the database whether it works.
    pub health: Arc<Health>,
    /// Rate limits.
    pub limits: Arc<Limits>,
    /// Proxies whose word about the client's address is believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Is the service serving or stopping?
    pub lifecycle: Lifecycle,
    /// Deadlines and origins.
    pub http: Arc<HttpConfig>,
    /// What a counter that was never used stands at.
    pub initial_value: CounterValue,
}

/// When a request must have been answered.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

impl AppState {
    /// Puts the parts together.
    pub fn new(
        store: Arc<dyn Store>,
        sequencer: Sequencer,
        tokens: Arc<Tokens>,
        lifecycle: Lifecycle,
        http: HttpConfig,
        limits: &LimitsConfig,
        initial_value: CounterValue,
    ) -> Self {
        Self {
            sessions: Arc::new(Sessions::new(tokens.clone(), store.clone())),
            health: Arc::new(Health::new(store.clone())),
            passwords: Arc::new(Passwords::new()),
            limits: Arc::new(Limits::new(limits)),
            trusted_proxies: limits.trusted_proxies.clone().into(),
            store,
            sequencer,
            tokens,
            lifecycle,
            http: Arc::new(http),
            initial_value,
        }
    }
}
