//! GitHub's and Facebook's own dialects, spoken by small local servers.

mod server;

use serde_json::{Value, json};

use super::{Browser, for_each_store, me, redeem, start};
use crate::support::client::{Answer, Client};
use crate::support::mongod::free_port;
use crate::support::prometheus::Scrape;
use crate::support::service::Service;
use crate::support::stores::{Kind, Store};
use server::{Dialect, Mode, Server};

for_each_store![
    github_is_asked_who_it_is_and_which_address_is_verified,
    facebook_may_give_an_address_or_none,
    the_same_subject_elsewhere_is_somebody_else,
];

/// A service where people sign in through both.
struct World {
    github: Server,
    facebook: Server,
    client: Client,
    service: Service,
}

impl World {
    async fn over(kind: Kind) -> Self {
        let (github, facebook) = (Server::start(Dialect::GitHub).await, Server::start(Dialect::Facebook).await);
        let port = free_port();
        let timeout = vec![("COUNTER_OAUTH_TIMEOUT".to_owned(), "1s".to_owned())];
        let settings = [github.settings(), facebook.settings(), timeout].concat();
        let service = start(&Store::fresh(kind).await, port, port, &settings).await;
        let client = service.client().await;
        Self { github, facebook, client, service }
    }

    fn browser(&self) -> Browser {
        Browser::new([&self.client])
    }

    async fn sign_in(&self, server: &Server, person: Value) -> Answer {
        server.person(person);
        let browser = self.browser();
        let code = browser.sign_in(&self.client, server.dialect.name(), "").await.code();
        redeem(&browser, &self.client, &json!({ "code": code })).await
    }
}

fn octocat(id: u64, emails: Value) -> Value {
    json!({"user": {"id": id, "login": "octocat", "email": "public@example.com"}, "emails": emails})
}

fn address(email: &str, primary: bool, verified: bool) -> Value {
    json!({"email": email, "primary": primary, "verified": verified, "visibility": null})
}

async fn github_is_asked_who_it_is_and_which_address_is_verified(kind: Kind) {
    let world = World::over(kind).await;
    let list = world.client.get("/v1/oauth/providers").send().await.expect(200).json;
    assert_eq!(list["providers"][1]["display_name"], "GitHub");
    let emails = json!([address("other@example.com", false, true), address("octocat@example.com", true, true)]);
    let first = world.sign_in(&world.github, octocat(583_231, emails)).await.expect(200);
    assert_eq!(first.json["user"]["email"], "octocat@example.com");
    assert_eq!(me(&world.client, &first).await["user"]["providers"], json!(["github"]));
    // The number is who it is, whatever the name and the address are by then.
    let renamed =
        json!({"user": {"id": 583_231, "login": "somebody"}, "emails": [address("new@example.com", true, true)]});
    let second = world.sign_in(&world.github, renamed).await.expect(200);
    assert_eq!(second.json["user"], first.json["user"]);
    // The name is free then, and whoever takes it is somebody else.
    let heir = world.sign_in(&world.github, octocat(2, json!([]))).await.expect(200);
    assert_ne!(heir.json["user"]["id"], first.json["user"]["id"]);

    let unverified = json!([address("victim@example.com", true, false), address("spare@example.com", false, true)]);
    for (id, emails) in [(3, unverified), (4, json!([])), (5, Value::Null)] {
        let signed_in = world.sign_in(&world.github, octocat(id, emails)).await.expect(200);
        assert!(signed_in.json["user"]["email"].is_null(), "{}", signed_in.body);
    }
}

async fn facebook_may_give_an_address_or_none(kind: Kind) {
    let world = World::over(kind).await;
    let with =
        world.sign_in(&world.facebook, json!({"user": {"id": "10", "email": "ada@example.com"}})).await.expect(200);
    assert_eq!(with.json["user"]["email"], "ada@example.com");
    let without = world.sign_in(&world.facebook, json!({"user": {"id": "11"}})).await.expect(200);
    assert!(without.json["user"]["email"].is_null());
    let again = world.sign_in(&world.facebook, json!({"user": {"id": "10"}})).await.expect(200);
    assert_eq!(again.json["user"], with.json["user"]);
}

async fn the_same_subject_elsewhere_is_somebody_else(kind: Kind) {
    let world = World::over(kind).await;
    let there = world.sign_in(&world.github, octocat(7, json!([]))).await.expect(200);
    let here = world.sign_in(&world.facebook, json!({"user": {"id": "7"}})).await.expect(200);
    assert_ne!(there.json["user"]["id"], here.json["user"]["id"]);
}

async fn world() -> World {
    World::over(Kind::Redb).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flow_is_kept_to_in_every_dialect() {
    let world = world().await;
    let person = json!({"user": {"id": 1}, "emails": []});
    for server in [&world.github, &world.facebook] {
        let (browser, name) = (world.browser(), server.dialect.name());
        server.says_no();
        assert_eq!(browser.sign_in(&world.client, name, "").await.error(), "access_denied");
        server.person(if name == "github" { person.clone() } else { json!({"user": {"id": "1"}}) });

        // The last step by hand: with another state, then right, then again.
        let start = world.client.get(&format!("/v1/oauth/{name}/start")).send().await.expect(302);
        browser.keep(&start.headers, "/");
        let flow = browser.cookie("counter_oauth_flow").unwrap();
        let asked = crate::support::service::http_client().get(start.header("location").unwrap()).send().await.unwrap();
        let answer: reqwest::Url = asked.headers()["location"].to_str().unwrap().parse().unwrap();
        let forged = answer.as_str().replace("state=", "state=x").parse().unwrap();
        assert_eq!(browser.end(forged).await.error(), "flow_mismatch");
        browser.end(answer.clone()).await.code();
        assert_eq!(browser.end(answer.clone()).await.error(), "flow_expired");
        browser.plant("counter_oauth_flow", &flow);
        assert_eq!(browser.end(answer).await.error(), "provider_refused");
        let scrape = Scrape::of(&world.service).await;
        let count =
            |outcome| scrape.sum("counter_api_oauth_sign_ins_total", &[("provider", name), ("outcome", outcome)]);
        assert_eq!((count("answer_refused"), count("provider_refused")), (1.0, 0.0), "{name}");

        // An answer of this provider to a sign-in through the other one.
        let other = if name == "github" { "facebook" } else { "github" };
        browser.plant("counter_oauth_flow", &flow);
        let mixed = world.client.url(&format!("/v1/oauth/{other}/callback?code=x&state=y"));
        assert_eq!(browser.end(mixed).await.error(), "flow_mismatch");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_in_trouble_troubles_nobody_else() {
    let world = world().await;
    for server in [&world.github, &world.facebook] {
        server.person(json!({"user": {"id": "1"}, "emails": []}));
        for (mode, error) in [
            (Mode::Slow, "provider_unavailable"),
            (Mode::Failing, "provider_unavailable"),
            (Mode::Redirecting, "provider_refused"),
            (Mode::Huge, "provider_invalid"),
            (Mode::NoJson, "provider_invalid"),
        ] {
            server.mode(mode);
            let end = world.browser().sign_in(&world.client, server.dialect.name(), "").await;
            assert_eq!(end.error(), error, "{:?} {mode:?}", server.dialect);
        }
        assert_eq!(server.strayed(), 0, "a redirect was followed");
    }
    world.client.register().await.next().await;
    assert_eq!(world.service.exit_status(), None);
}
