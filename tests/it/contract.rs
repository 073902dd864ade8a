//! The contract of the API, over each store. A test is written once, as `async fn name(env: &Env)`, and runs for both.

mod accounts;
mod current;
mod deleting;
mod hanging_up;
mod headers;
mod idempotency;
mod limits;
mod listing;
mod next;
mod problems;
mod served;
mod tokens;

use tokio::sync::OnceCell;

use crate::support::client::{Client, User};
use crate::support::service::Service;
use crate::support::stores::Kind;

/// Every route that is described, and its methods: what callers rely on does not come or go unnoticed.
const ROUTES: [(&str, &str); 18] = [
    ("/v1/register", "POST"),
    ("/v1/login", "POST"),
    ("/v1/logout", "POST"),
    ("/v1/me", "DELETE GET HEAD"),
    ("/v1/oauth/providers", "GET HEAD"),
    ("/v1/oauth/{provider}", "DELETE"),
    ("/v1/oauth/{provider}/start", "GET"),
    ("/v1/oauth/{provider}/callback", "GET"),
    ("/v1/oauth/token", "POST"),
    ("/v1/next", "GET POST"),
    ("/v1/current", "GET HEAD PUT"),
    ("/v1/counters", "GET HEAD"),
    ("/v1/counters/{name}", "DELETE"),
    ("/v1/counters/{name}/next", "GET POST"),
    ("/v1/counters/{name}/current", "GET HEAD PUT"),
    ("/health", "GET HEAD"),
    ("/readyz", "GET HEAD"),
    ("/livez", "GET HEAD"),
];

/// Where a contract test runs.
pub(crate) struct Env {
    /// The store behind it.
    kind: Kind,
    /// A caller of the one service that all tests over this store share: each has users of its own.
    client: Client,
}

impl Env {
    async fn over(kind: Kind) -> Self {
        static REDB: OnceCell<Service> = OnceCell::const_new();
        static MONGODB: OnceCell<Service> = OnceCell::const_new();
        let shared = match kind {
            Kind::Redb => &REDB,
            Kind::Mongodb => &MONGODB,
        };
        let client = shared.get_or_init(|| Service::fresh(kind, &[])).await.client().await;
        Self { kind, client }
    }

    /// A new user of the shared service.
    async fn user(&self) -> User {
        self.client.register().await
    }

    /// A service of this test's own, with these settings.
    async fn service(&self, settings: &[(&str, &str)]) -> Service {
        Service::fresh(self.kind, settings).await
    }
}

/// Makes a test for each store out of each function.
macro_rules! for_each_store {
    ($($test:ident),+ $(,)?) => {
        crate::each_store::over_each_store!(|kind| &crate::contract::Env::over(kind).await; $($test),+);
    };
}
use for_each_store;
