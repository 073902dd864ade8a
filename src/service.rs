//! Start and stop: puts the parts together, and takes them apart in the order that loses nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng as _;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::admin::{self, Admin};
use crate::auth::keyring::Keyring;
use crate::auth::oauth::Providers;
use crate::auth::token::Tokens;
use crate::config::{AuthConfig, Config, HttpConfig, KeySource, StoreConfig, StoreTarget};
use crate::lifecycle::{Lifecycle, StopSignals};
use crate::router;
use crate::sequencer::Sequencer;
use crate::server::{Bounds, Server};
use crate::state::AppState;
use crate::store::mongo::{MongoSettings, MongoStore};
use crate::store::redb::RedbStore;
use crate::store::{PrepareError, Store};
use crate::telemetry::Telemetry;

/// How long the store may take to let go.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the last answers may take to leave.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Pauses between attempts to prepare a store that does not answer yet: doubled each time, up to the second.
const PREPARE_PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Connections of the admin listener: a scraper or two, and somebody who looks.
const ADMIN_CONNECTIONS: usize = 64;

/// Why the service ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// An address cannot be bound.
    #[error("{setting} {address} cannot be bound: {error}")]
    Bind {
        /// Which setting names it.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The store cannot be opened, or refuses us.
    #[error("{0}")]
    Store(String),
    /// The keys of the tokens cannot be had.
    #[error("{0}")]
    Keys(String),
    /// Providers of sign-ins cannot be spoken to.
    #[error("{0}")]
    Providers(String),
    /// Signals cannot be caught.
    #[error("signals cannot be caught: {0}")]
    Signals(#[from] std::io::Error),
    /// A second signal came: what was under way is lost.
    #[error("a second {0} came during the stop: what was under way was cut off")]
    Aborted(&'static str),
}

/// Serves until a signal comes, then stops in order.
pub async fn run(config: Config, telemetry: &Telemetry) -> Result<(), ServiceError> {
    let started = Instant::now();
    let mut signals = StopSignals::catch()?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let listeners = bind(&config.http).await?;
    let oauth = Providers::new(&config.oauth).map_err(ServiceError::Providers)?;
    let store = open(&config.store).await?;

    let life = Life::default();
    let result = serve_on(&store, oauth, listeners, config, telemetry, &mut signals, (&life, started)).await;
    // However it ended: what is open is closed.
    life.api.abort.cancel();
    life.background.cancel();
    if tokio::time::timeout(CLOSE_TIMEOUT, store.close()).await.is_err() {
        tracing::error!("the store did not let go in time");
    }
    life.admin.drain.cancel();
    tracing::info!("stopped");
    result
}

/// What ends the parts of the service.
#[derive(Default)]
struct Life {
    api: Lifecycle,
    admin: Lifecycle,
    background: CancellationToken,
}

/// Serves on a store that is open, until a signal comes or the store refuses us, and finishes what is under way.
async fn serve_on(
    store: &Arc<dyn Store>,
    oauth: Providers,
    (api, admin): (Server, Server),
    config: Config,
    telemetry: &Telemetry,
    signals: &mut StopSignals,
    (life, started): (&Life, Instant),
) -> Result<(), ServiceError> {
    let addresses = (api.address()?, admin.address()?);
    let tokens = tokens(config.auth, &life.background)?;
    let sequencer = Sequencer::new(store.clone(), config.store.max_queue, Handle::current());
    let state = AppState::new(
        store.clone(),
        sequencer.clone(),
        tokens,
        oauth,
        life.api.clone(),
        config.http.clone(),
        &config.limits,
        config.store.rules,
    );
    telemetry.keep_up();
    tokio::spawn(state.limits.clone().forget(life.background.clone()));

    // The embedded store is ready at once. A database that is down is waited for, unready, with everything else at work.
    let preparing = prepare(store.clone());
    tokio::pin!(preparing);
    let mut prepared = false;
    if matches!(config.store.target, StoreTarget::Redb(_)) {
        preparing.as_mut().await?;
        prepared = true;
    }

    let routes = admin::routes(Admin { metrics: telemetry.metrics.clone(), log_filter: telemetry.log_filter.clone() });
    tokio::spawn(admin.serve(routes, life.admin.clone()));
    let serving = tokio::spawn(api.serve(router::api(state), life.api.clone()));
    tracing::info!(
        address = %addresses.0,
        admin_address = %addresses.1,
        store = store.system(),
        version = crate::build_info::BUILD.version,
        start_s = started.elapsed().as_secs_f64(),
        "listening"
    );

    let mut http = config.http;
    let mut result = Ok(());
    loop {
        tokio::select! {
            ready = preparing.as_mut(), if !prepared => match ready {
                Ok(()) => {
                    prepared = true;
                    tracing::info!("the store is ready");
                }
                Err(error) => {
                    // It never was in any load balancer's rotation.
                    http.drain_delay = Duration::ZERO;
                    result = Err(error);
                    break;
                }
            },
            signal = signals.next() => {
                tracing::info!(signal, "stopping");
                break;
            }
        }
    }

    // The second signal cuts short whatever stage the stop is in.
    tokio::select! {
        () = drain(&http, &life.api, serving, &sequencer) => result,
        signal = signals.next() => result.and(Err(ServiceError::Aborted(signal))),
    }
}

/// Unready but serving, until the load balancers have noticed; then no new connections, and what is under way is finished;
/// then no new calls, and what was answered last gets a moment to leave.
async fn drain(http: &HttpConfig, lifecycle: &Lifecycle, mut serving: JoinHandle<()>, sequencer: &Sequencer) {
    lifecycle.begin_stopping();
    tokio::time::sleep(http.drain_delay).await;
    lifecycle.drain.cancel();
    let finished = tokio::time::timeout(http.drain_timeout, &mut serving).await.is_ok();
    if !finished {
        let timeout_s = http.drain_timeout.as_secs_f64();
        tracing::error!(timeout_s, "requests are still under way: calls are refused from now on");
    }
    if !sequencer.close(CLOSE_TIMEOUT).await {
        tracing::error!("calls were still under way when the store was closed: their outcome is unknown");
    }
    if !finished && tokio::time::timeout(LAST_ANSWERS, serving).await.is_err() {
        tracing::error!("requests were still under way at the end: they are cut off");
    }
}

async fn bind(http: &HttpConfig) -> Result<(Server, Server), ServiceError> {
    let bounds = Bounds {
        header_timeout: http.header_timeout,
        idle_timeout: http.idle_timeout,
        max_connections: http.max_connections,
    };
    let failed = |setting, address| move |error| ServiceError::Bind { setting, address, error };
    let api = Server::bind("api", http.listen, bounds).await.map_err(failed("COUNTER_LISTEN", http.listen))?;
    let bounds = Bounds { max_connections: ADMIN_CONNECTIONS, ..bounds };
    let admin = Server::bind("admin", http.admin_listen, bounds)
        .await
        .map_err(failed("COUNTER_ADMIN_LISTEN", http.admin_listen))?;
    Ok((api, admin))
}

async fn open(config: &StoreConfig) -> Result<Arc<dyn Store>, ServiceError> {
    let refused = |error: &dyn std::fmt::Display| ServiceError::Store(error.to_string());
    match &config.target {
        StoreTarget::Redb(path) => {
            let (path, rules, timeout) = (path.clone(), config.rules, config.timeout);
            let opened = tokio::task::spawn_blocking(move || RedbStore::open(&path, rules, timeout)).await;
            Ok(Arc::new(opened.map_err(|error| refused(&error))?.map_err(|error| refused(&error))?))
        }
        StoreTarget::MongoDb { uri, database, linearizable_reads, comment } => {
            let settings = MongoSettings {
                uri,
                database: database.clone(),
                rules: config.rules,
                timeout: config.timeout,
                linearizable_reads: *linearizable_reads,
                comment: *comment,
            };
            Ok(Arc::new(MongoStore::new(settings).map_err(|error| refused(&error))?))
        }
    }
}

fn tokens(config: AuthConfig, background: &CancellationToken) -> Result<Arc<Tokens>, ServiceError> {
    let (keys, followed) = match config.keys {
        KeySource::Fixed(keys) => (keys, None),
        KeySource::File(path, keys) => (keys, Some(path)),
        KeySource::Generated(path) => (Keyring::load_or_generate(&path).map_err(ServiceError::Keys)?, Some(path)),
    };
    let tokens = Arc::new(Tokens::new(keys, config.issuer, config.audience, config.token_ttl));
    if let Some(path) = followed {
        tokio::spawn(tokens.clone().follow(path, background.clone()));
    }
    Ok(tokens)
}

/// Tries until the store is ready, or says that it never will be.
async fn prepare(store: Arc<dyn Store>) -> Result<(), ServiceError> {
    let mut pause = PREPARE_PAUSES.0;
    loop {
        match store.prepare().await {
            Ok(()) => return Ok(()),
            Err(PrepareError::Refused(what)) => return Err(ServiceError::Store(what)),
            Err(PrepareError::NotYet(error)) => {
                tracing::warn!(%error, retry_in_s = pause.as_secs_f64(), "the store is not ready yet");
            }
        }
        // Replicas that start together must not ask together for ever.
        tokio::time::sleep(pause.mul_f64(rand::rng().random_range(0.5..1.0))).await;
        pause = (pause * 2).min(PREPARE_PAUSES.1);
    }
}
