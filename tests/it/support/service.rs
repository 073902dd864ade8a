//! The service as a running process, ready to be called.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::OnceCell;

use super::client::Client;
use super::openapi::Contract;
use super::process::{Launch, Process};
use super::stores::{Kind, Store};
use super::{PATIENCE, eventually};

/// The keys with which the services under test sign, unless a test says otherwise: known, so that tests can forge.
pub(crate) const KEY_ID: &str = "it";
pub(crate) const KEY_SECRET: &str = "a-secret-for-the-tests-of-32-bytes-or-more";

/// A service that serves, on free ports of the loopback. It is killed when it is dropped.
pub(crate) struct Service {
    process: Process,
    api: SocketAddr,
    admin: SocketAddr,
    contract: OnceCell<Arc<Contract>>,
    store: Store,
}

/// The usual settings for a service on this store. Rate limits are off: all tests come from one address.
pub(crate) fn launch(store: &Store) -> Launch {
    let launch = Launch::bare()
        .set("COUNTER_LISTEN", "127.0.0.1:0")
        .set("COUNTER_ADMIN_LISTEN", "127.0.0.1:0")
        .set("COUNTER_LOG_FORMAT", "json")
        .set("COUNTER_AUTH_RATE_LIMIT", "off")
        .set("COUNTER_JWT_KEYS", format!("{KEY_ID}:{KEY_SECRET}"));
    store.configure(launch)
}

impl Service {
    /// A service on an empty store of this kind.
    pub(crate) async fn fresh(kind: Kind, settings: &[(&str, &str)]) -> Self {
        Self::on(&Store::fresh(kind).await, settings).await
    }

    /// A service on this store with these settings besides the usual ones.
    pub(crate) async fn on(store: &Store, settings: &[(&str, &str)]) -> Self {
        let launch = settings.iter().fold(launch(store), |launch, (name, value)| launch.set(name, *value));
        Self::start(&launch, store).await
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start(launch: &Launch, store: &Store) -> Self {
        let service = Self::start_unready(launch, store).await;
        service.ready().await;
        service
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start_unready(launch: &Launch, store: &Store) -> Self {
        let process = launch.spawn();
        let (api, admin) = eventually("the log line `listening`", async || {
            assert_eq!(process.exit_status(), None, "the service has ended:\n{}", process.output());
            let line = process.stdout.records(|line| line["message"] == "listening").pop()?;
            let address = |name: &str| line[name].as_str().and_then(|text| text.parse().ok());
            Some((address("address").expect("an address"), address("admin_address").expect("an address")))
        })
        .await;
        Self { process, api, admin, contract: OnceCell::new(), store: store.clone() }
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&self) {
        let http = http_client();
        eventually("200 from /readyz", async || {
            assert_eq!(self.exit_status(), None, "the service has ended:\n{}", self.output());
            http.get(self.url("/readyz")).send().await.ok().filter(|answer| answer.status() == 200)
        })
        .await;
    }

    /// The API's address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.api
    }

    /// The admin listener's address.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// A URL of the API.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.api)
    }

    /// A URL of the admin listener.
    pub(crate) fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// The store behind it.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// A client for it that checks every answer against the service's OpenAPI document.
    pub(crate) async fn client(&self) -> Client {
        let contract = self.contract.get_or_init(|| async {
            let document = http_client().get(self.url("/openapi.json")).send().await.unwrap();
            Arc::new(Contract::new(json_of(document).await))
        });
        Client::new(self.url(""), contract.await.clone(), self.process.stdout.clone())
    }

    /// Its log lines so far that `wanted` likes.
    pub(crate) fn logs(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.process.stdout.records(wanted)
    }

    /// Asks it to stop.
    pub(crate) fn sigterm(&self) {
        self.signal("TERM");
    }
}

impl Deref for Service {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

/// A plain HTTP client without proxies and redirects. Each test has its own: a pool of connections belongs to a runtime.
pub(crate) fn http_client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .timeout(PATIENCE)
        .build()
        .unwrap()
}

/// The body of an answer that is JSON.
pub(crate) async fn json_of(answer: reqwest::Response) -> Value {
    let body = answer.bytes().await.unwrap();
    serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body)))
}
