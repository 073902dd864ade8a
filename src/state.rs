//! What every handler can reach. It is cloned several times for each request, so it is one pointer.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;

use crate::auth::oauth::Providers;
use crate::auth::password::Passwords;
use crate::auth::session::Sessions;
use crate::auth::token::Tokens;
use crate::config::{HttpConfig, LimitsConfig};
use crate::health::Health;
use crate::lifecycle::Lifecycle;
use crate::limits::Limits;
use crate::sequencer::Sequencer;
use crate::store::{Rules, Store};

/// The parts of the service, shared.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The parts of the service.
pub struct Parts {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The queue before it.
    pub sequencer: Sequencer,
    /// Issues tokens.
    pub tokens: Arc<Tokens>,
    /// Tells valid tokens from revoked ones.
    pub sessions: Sessions,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Signs people in through others.
    pub oauth: Providers,
    /// Asks the database whether it works.
    pub health: Health,
    /// Rate limits.
    pub limits: Arc<Limits>,
    /// Proxies whose word about the client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Is the service serving or stopping?
    pub lifecycle: Lifecycle,
    /// Deadlines and origins.
    pub http: HttpConfig,
    /// What operations on counters do.
    pub rules: Rules,
}

/// When a request must have been answered.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

impl AppState {
    /// Puts the parts together.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is another part, and a struct for them would be Parts once more"
    )]
    pub fn new(
        store: Arc<dyn Store>,
        sequencer: Sequencer,
        tokens: Arc<Tokens>,
        oauth: Providers,
        lifecycle: Lifecycle,
        http: HttpConfig,
        limits: &LimitsConfig,
        rules: Rules,
    ) -> Self {
        Self(Arc::new(Parts {
            sessions: Sessions::new(tokens.clone(), store.clone()),
            health: Health::new(store.clone()),
            passwords: Passwords::new(),
            limits: Arc::new(Limits::new(limits)),
            trusted_proxies: limits.trusted_proxies.clone(),
            store,
            sequencer,
            tokens,
            oauth,
            lifecycle,
            http,
            rules,
        }))
    }
}
