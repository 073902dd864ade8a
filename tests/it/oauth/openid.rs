//! The flow at a real OpenID provider, and everything that can go wrong on its way.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::{World, redeem};
use crate::support::eventually;
use crate::support::stores::Kind;

async fn world() -> World {
    World::over(Kind::Redb).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_no_is_told_so_and_may_say_yes_after_all() {
    let world = world().await;
    let browser = world.browser();
    assert_eq!(browser.decline(&world.client, "local").await.error(), "access_denied");
    assert_eq!(browser.cookie("counter_oauth_flow"), None, "a flow that is over leaves no cookie");
    world.sign_in(&browser, "ada").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_state_ends_nothing() {
    let world = world().await;
    let browser = world.browser();
    let answer = browser.answer(&world.client, "local", "ada").await;
    for state in ["", "x", "of-somebody-else"] {
        let mut forged = answer.clone();
        let pairs: Vec<(String, String)> = answer.query_pairs().into_owned().collect();
        forged.query_pairs_mut().clear().extend_pairs(pairs.iter().map(|(name, value)| {
            let value = if name == "state" { state } else { value };
            (name, value)
        }));
        assert_eq!(browser.end(forged).await.error(), "flow_mismatch");
    }
    // The flow is still under way.
    let code = browser.end(answer).await.code();
    redeem(&browser, &world.client, &json!({ "code": code })).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_led_to_the_page_whatever_it_brings_and_wants() {
    let world = world().await;
    let get = |path: &str| world.client.get(path).header("accept", "text/html");
    get("/v1/oauth/local/start?%zz").send().await.expect(302);
    for query in ["code=%zz", "error=%ff", "state=%", ""] {
        let browser = world.browser();
        let callback = format!("/v1/oauth/local/callback?{query}");
        assert_eq!(browser.end(world.client.url(&callback)).await.error(), "flow_expired", "{query}");
        browser.start(&world.client, "local").await;
        assert_eq!(browser.end(world.client.url(&callback)).await.error(), "flow_mismatch", "{query}");
        get(&callback).send().await.expect(302);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_once() {
    let world = world().await;
    let browser = world.browser();
    let answer = browser.answer(&world.client, "local", "ada").await;
    let flow = browser.cookie("counter_oauth_flow").expect("the flow's cookie");
    browser.end(answer.clone()).await.code();
    assert_eq!(browser.end(answer.clone()).await.error(), "flow_expired");
    // Whoever has kept the cookie meets the provider, which takes a code once.
    browser.plant("counter_oauth_flow", &flow);
    assert_eq!(browser.end(answer).await.error(), "provider_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_not_made_for_this_flow_is_worth_nothing() {
    let world = world().await;
    let ways = [
        "nonce",
        "no_nonce",
        "aud",
        "several_aud",
        "azp",
        "iss",
        "exp",
        "iat",
        "no_sub",
        "none",
        "hs256_secret",
        "hs256_public",
        "signature",
        "unknown_key",
        "embedded_key",
        "userinfo_sub",
    ];
    for way in ways {
        world.provider.change(json!({ "tamper": way })).await;
        let browser = world.browser();
        assert_eq!(world.visit(&browser, "ada").await.error(), "provider_invalid", "{way}");
        assert_eq!(browser.cookie("counter_oauth_code"), None, "{way}");
    }
    world.provider.change(json!({ "tamper": null })).await;
    world.sign_in(&world.browser(), "ada").await.expect(200);
    let causes = world.service.logs(|line| line["failure"] == "provider_invalid");
    assert_eq!(causes.len(), ways.len());
    assert!(causes[0]["cause"].as_str().unwrap().contains("nonce"), "{}", causes[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_claims_to_be_another_is_not_believed() {
    let world = world().await;
    world.provider.change(json!({ "tamper": "issuer" })).await;
    assert_eq!(world.visit(&world.browser(), "ada").await.error(), "provider_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_asked_for_again_when_they_have_changed_but_not_at_every_call() {
    let world = world().await;
    world.sign_in(&world.browser(), "ada").await.expect(200);
    world.sign_in(&world.browser(), "ada").await.expect(200);
    assert_eq!(asked(&world, "/jwks").await, 1, "keys are remembered");
    world.provider.change(json!({ "rotate": true })).await;
    world.sign_in(&world.browser(), "ada").await.expect(200);
    assert_eq!(asked(&world, "/jwks").await, 2);
    // A provider whose tokens name ever new keys does not make us ask for each.
    world.provider.change(json!({ "tamper": "unknown_key" })).await;
    for _ in 0..3 {
        assert_eq!(world.visit(&world.browser(), "ada").await.error(), "provider_invalid");
    }
    assert_eq!(asked(&world, "/jwks").await, 2);
    assert_eq!(asked(&world, "/.well-known/openid-configuration").await, 1, "discovery is remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_do_not_come_are_waited_for_once() {
    let world = World::with(Kind::Redb, &[("COUNTER_OAUTH_TIMEOUT", "1s")]).await;
    world.provider.change(json!({"delay_ms": 30_000, "delay_path": "/jwks"})).await;
    let mut answers = Vec::new();
    for login in ["a", "b", "c", "d", "e", "f", "g"] {
        let browser = world.browser();
        answers.push((browser.answer(&world.client, "local", login).await, browser));
    }
    let mut arrivals = JoinSet::new();
    let begun = Instant::now();
    for (answer, browser) in answers {
        arrivals.spawn(async move { browser.end(answer).await.error() });
    }
    let errors = arrivals.join_all().await;
    assert!(errors.iter().all(|error| error == "provider_unavailable"), "{errors:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "one waited for the other: {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_key_is_known_does_not_wait_for_who_seeks_another() {
    let world = world().await;
    world.sign_in(&world.browser(), "ada").await.expect(200);
    let (known, other) = (world.browser(), world.browser());
    let answers =
        (known.answer(&world.client, "local", "ada").await, other.answer(&world.client, "local", "bob").await);
    world.provider.change(json!({"tamper": "unknown_key", "delay_ms": 4_000, "delay_path": "/jwks"})).await;
    let seeking = async {
        assert_eq!(other.end(answers.1).await.error(), "provider_invalid");
        Instant::now()
    };
    let finding = async {
        eventually("the question for keys", async || (asked(&world, "/jwks").await == 2).then_some(())).await;
        world.provider.change(json!({ "tamper": null })).await;
        known.end(answers.0).await.code();
        Instant::now()
    };
    let (sought, found) = tokio::join!(seeking, finding);
    assert!(found < sought, "it came {:?} later", found - sought);
}

async fn asked(world: &World, path: &str) -> usize {
    world.provider.seen().await.iter().filter(|request| request["path"] == path).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_sign_and_to_authenticate_is_spoken() {
    for settings in [
        json!({"alg": "PS256"}),
        json!({"alg": "ES256", "auth": "client_secret_post"}),
        json!({"alg": "EdDSA", "id_token_email": true, "iss": false}),
    ] {
        let world = world().await;
        world.provider.change(json!({ "settings": settings })).await;
        let signed_in = world.sign_in(&world.browser(), "ada@example.com").await.expect(200);
        assert_eq!(signed_in.json["user"]["email"], "ada@example.com", "{settings}");
        let userinfo = asked(&world, "/me").await;
        assert_eq!(userinfo, usize::from(settings["id_token_email"] != true), "userinfo is asked where it is needed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_is_said_to_be_and_found_when_it_is_back() {
    let world = world().await;
    let browser = world.browser();
    world.provider.change(json!({ "down": true })).await;
    assert_eq!(world.visit(&browser, "ada").await.error(), "provider_unavailable");
    world.provider.change(json!({ "down": false })).await;
    let form = eventually("the provider's form", async || {
        let page = browser.start(&world.client, "local").await;
        page.url.fragment().is_none().then_some(page)
    })
    .await;
    let answer = browser.answer_to(&form, "ada").await;
    world.provider.change(json!({ "down": true })).await;
    assert_eq!(browser.end(answer).await.error(), "provider_unavailable");
    // Everything else goes on as ever.
    world.client.register().await.next().await;
    world.provider.change(json!({ "down": false })).await;
    world.sign_in(&browser, "ada").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_slow_is_given_up_in_time() {
    let world = World::with(Kind::Redb, &[("COUNTER_OAUTH_TIMEOUT", "500ms")]).await;
    let browser = world.browser();
    let answer = browser.answer(&world.client, "local", "ada").await;
    world.provider.change(json!({ "delay_ms": 10_000 })).await;
    let begun = Instant::now();
    assert_eq!(browser.end(answer).await.error(), "provider_unavailable");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_slow_at_everything_does_not_outlast_the_request() {
    let settings = [("COUNTER_OAUTH_TIMEOUT", "5s"), ("COUNTER_REQUEST_TIMEOUT", "1s")];
    let world = World::with(Kind::Redb, &settings).await;
    let browser = world.browser();
    let answer = browser.answer(&world.client, "local", "ada").await;
    world.provider.change(json!({ "delay_ms": 700 })).await;
    // Two calls are too many for the deadline, which ends on the page as well.
    assert_eq!(browser.end(answer).await.error(), "provider_unavailable");
}
