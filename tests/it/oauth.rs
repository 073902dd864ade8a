//! Sign-in through providers, against a real one (`oidc-provider`, which is certified) and against small ones that speak GitHub's
//! and Facebook's dialects; by honest people, and by attackers.

mod accounts;
mod attacks;
mod browser;
mod dialects;
mod linking;
mod openid;
mod provider;
mod replicas;
mod telemetry;

use serde_json::{Value, json};

use crate::support::client::{Answer, Client};
use crate::support::mongod::free_port;
use crate::support::service::{Service, launch};
use crate::support::stores::{Kind, Store};
use browser::{Browser, End};
use provider::Provider;

/// Makes a test for each store out of each function.
macro_rules! for_each_store {
    ($($test:ident),+ $(,)?) => { crate::each_store::over_each_store!(|kind| kind; $($test),+); };
}
use for_each_store;

/// A service where people sign in through one provider, which is called `local`.
struct World {
    provider: Provider,
    service: Service,
    client: Client,
}

impl World {
    async fn over(kind: Kind) -> Self {
        Self::with(kind, &[]).await
    }

    async fn with(kind: Kind, settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let provider = Provider::start(&[port]).await;
        let service =
            start(&Store::fresh(kind).await, port, port, &[provider.settings(), owned(settings)].concat()).await;
        let client = service.client().await;
        Self { provider, service, client }
    }

    /// A browser that knows nobody yet.
    fn browser(&self) -> Browser {
        Browser::new([&self.client])
    }

    /// Lets a browser sign in at the provider, up to the page.
    async fn visit(&self, browser: &Browser, login: &str) -> End {
        browser.sign_in(&self.client, "local", login).await
    }

    /// The same, and the code is redeemed.
    async fn sign_in(&self, browser: &Browser, login: &str) -> Answer {
        let code = self.visit(browser, login).await.code();
        redeem(browser, &self.client, &json!({ "code": code })).await
    }
}

/// A service on `port` whose browsers reach it by `public_port`.
async fn start(store: &Store, port: u16, public_port: u16, settings: &[(String, String)]) -> Service {
    let launch = launch(store)
        .set("COUNTER_LISTEN", format!("127.0.0.1:{port}"))
        .set("COUNTER_PUBLIC_URL", format!("http://127.0.0.1:{public_port}"));
    let launch = settings.iter().fold(launch, |launch, (name, value)| launch.set(name, value));
    Service::start(&launch, store).await
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// `POST /v1/oauth/token` from this browser.
async fn redeem(browser: &Browser, client: &Client, body: &Value) -> Answer {
    let call = client.post("/v1/oauth/token").json(body);
    let answer = match browser.cookies("/") {
        cookies if cookies.is_empty() => call.send().await,
        cookies => call.header("cookie", &cookies).send().await,
    };
    browser.keep(&answer.headers, "/");
    answer
}

/// Who a token is.
async fn me(client: &Client, signed_in: &Answer) -> Value {
    let token = signed_in.json["token"].as_str().unwrap();
    client.get("/v1/me").token(token).send().await.expect(200).json
}
