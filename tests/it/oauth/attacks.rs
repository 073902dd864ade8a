//! What an attacker would try. `docs/sign-in.md` has the list, and what stops each.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::browser::End;
use super::{World, redeem, start};
use crate::support::client::PASSWORD;
use crate::support::mongod::free_port;
use crate::support::service::{KEY_ID, KEY_SECRET};
use crate::support::stores::{Kind, Store};

async fn world() -> World {
    World::over(Kind::Redb).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_victims_address_opens_nothing() {
    let world = world().await;
    let victim = world.client.register().await;
    victim.set(41).await;
    // The provider has let the attacker have the address, verified or not.
    for (login, verified) in [("mallory", true), ("trudy", false)] {
        let person = json!({"sub": login, "email": victim.email, "email_verified": verified});
        world.provider.person(login, person).await;
        let browser = world.browser();
        let code = world.visit(&browser, login).await.code();
        let send = async |body: Value| redeem(&browser, &world.client, &body).await;
        if verified {
            send(json!({ "code": code })).await.problem(409, "link_required");
            for guess in ["password", &victim.email, ""] {
                send(json!({"code": code, "password": guess})).await.problem(401, "invalid_credentials");
            }
            send(json!({"code": code, "password": PASSWORD})).await.problem(401, "signin_code_invalid");
        } else {
            // An address that is not verified is not even asked about.
            let own = send(json!({ "code": code })).await.expect(200);
            assert_ne!(own.json["user"]["id"], victim.id);
            assert!(own.json["user"]["email"].is_null());
        }
    }
    let browser = world.browser();
    let code = world.visit(&browser, "mallory").await.code();
    let own = redeem(&browser, &world.client, &json!({"code": code, "separate": true})).await.expect(200);
    let token = own.json["token"].as_str().unwrap();
    assert_ne!(own.json["user"]["id"], victim.id);
    assert_eq!(world.client.get("/v1/current").token(token).send().await.expect(200).number("value"), 0);
    assert_eq!(victim.current().await, 41);
    victim.log_in_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_registers_a_victims_address_first_gets_nothing_and_shuts_nobody_out() {
    let world = world().await;
    // Before the victim comes, somebody registers the address with a password.
    let squatter = world.client.register().await;
    let browser = world.browser();
    let code = world.visit(&browser, &squatter.email).await.code();
    redeem(&browser, &world.client, &json!({ "code": code })).await.problem(409, "link_required");
    let victim = redeem(&browser, &world.client, &json!({"code": code, "separate": true})).await.expect(200);
    assert_ne!(victim.json["user"]["id"], squatter.id);
    // And afterwards: a password that is registered later opens the account of whoever registered it.
    let other = world.sign_in(&world.browser(), "late@example.com").await.expect(200);
    let body = json!({"email": "late@example.com", "password": PASSWORD});
    let later = world.client.post("/v1/register").json(&body).send().await.expect(201);
    assert_ne!(later.json["user"]["id"], other.json["user"]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_somebody_else_made_signs_nobody_in() {
    let world = world().await;
    let (attacker, victim) = (world.browser(), world.browser());
    // The attacker stops before the last step, and lets the victim take it.
    let answer = attacker.answer(&world.client, "local", "mallory").await;
    assert_eq!(victim.end(answer.clone()).await.error(), "flow_expired");
    // Also where the victim is about to sign in, which goes on as if nothing had been.
    let own = victim.answer(&world.client, "local", "victim").await;
    assert_eq!(victim.end(answer.clone()).await.error(), "flow_mismatch");
    let code = victim.end(own).await.code();
    let signed_in = redeem(&victim, &world.client, &json!({ "code": code })).await.expect(200);
    assert_eq!(signed_in.json["user"]["email"], "victim@example.com");

    // Or the attacker takes it, and hands on what came of it.
    let code = attacker.end(answer).await.code();
    for browser in [&victim, &world.browser()] {
        redeem(browser, &world.client, &json!({ "code": code })).await.problem(401, "signin_code_invalid");
    }
    // Nor with an other half of the victim's own.
    victim.start(&world.client, "local").await;
    let second = world.visit(&victim, "victim").await.code();
    redeem(&victim, &world.client, &json!({ "code": code })).await.problem(401, "signin_code_invalid");
    redeem(&victim, &world.client, &json!({ "code": second })).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_code_of_the_provider_is_worth_nothing_elsewhere() {
    let world = world().await;
    let (attacker, victim) = (world.browser(), world.browser());
    let stolen = victim.answer(&world.client, "local", "victim").await;
    let own = attacker.answer(&world.client, "local", "mallory").await;
    let part = |url: &reqwest::Url, name: &str| {
        url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned()).unwrap()
    };
    // The victim's code with the attacker's state: the provider asks for the verifier, which the victim's browser has.
    let mut injected = own.clone();
    injected.query_pairs_mut().clear().extend_pairs([
        ("code", part(&stolen, "code")),
        ("state", part(&own, "state")),
        ("iss", part(&own, "iss")),
    ]);
    assert_eq!(attacker.end(injected).await.error(), "provider_refused");
}

fn same(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_who_gives_it_and_says_nothing_twice() {
    let world = world().await;
    let browser = world.browser();
    let answer = browser.answer(&world.client, "local", "ada").await;
    let pairs: Vec<(String, String)> = answer.query_pairs().into_owned().collect();
    let changed = |change: fn(&str, &str) -> Vec<(String, String)>| {
        let mut url = answer.clone();
        url.query_pairs_mut().clear().extend_pairs(pairs.iter().flat_map(|(name, value)| change(name, value)));
        url
    };
    let flow = browser.cookie("counter_oauth_flow").unwrap();
    let attempts = [
        changed(
            |name, value| {
                if name == "iss" { same(name, "https://accounts.google.com") } else { same(name, value) }
            },
        ),
        changed(|name, value| if name == "iss" { vec![] } else { same(name, value) }),
        changed(
            |name, value| {
                if name == "code" { [same(name, value), same(name, "x")].concat() } else { same(name, value) }
            },
        ),
        changed(
            |name, value| {
                if name == "state" { [same(name, value), same(name, value)].concat() } else { same(name, value) }
            },
        ),
    ];
    for attempt in attempts {
        browser.plant("counter_oauth_flow", &flow);
        assert_eq!(browser.end(attempt.clone()).await.error(), "flow_mismatch", "{attempt}");
    }
    // Whatever else a provider says is its own affair.
    browser.plant("counter_oauth_flow", &flow);
    let mut chatty = answer;
    chatty.query_pairs_mut().append_pair("session_state", "x").append_pair("next", "https://evil.example");
    browser.end(chatty).await.code();
}

/// A flow's cookie as only the service can make it, for the tests know its keys.
fn sealed(claims: &Value) -> String {
    let key = EncodingKey::from_secret(KEY_SECRET.as_bytes());
    let derived = jsonwebtoken::crypto::sign(b"counter-api sealed cookies 1", &key, Algorithm::HS256).unwrap();
    signed(claims, derived.as_bytes())
}

fn signed(claims: &Value, key: &[u8]) -> String {
    let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::HS256) };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(key)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_flow_of_ours_of_this_provider_and_of_the_last_ten_minutes_is_finished() {
    let world = world().await;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = |provider: &str, exp: u64| json!({"provider": provider, "state": "s", "nonce": "n", "verifier": "v", "exp": exp});
    let good = claims("local", now + 60);
    let user = world.client.register().await;
    for (cookie, error) in [
        // It goes as far as the provider, which does not know the code.
        (sealed(&good), "provider_refused"),
        (sealed(&claims("local", now - 1)), "flow_expired"),
        (sealed(&claims("github", now + 60)), "flow_mismatch"),
        (signed(&good, KEY_SECRET.as_bytes()), "flow_mismatch"),
        (signed(&good, b"another key of 32 bytes or more....."), "flow_mismatch"),
        (user.token.clone(), "flow_mismatch"),
        ("nonsense".to_owned(), "flow_mismatch"),
    ] {
        let browser = world.browser();
        browser.plant("counter_oauth_flow", &cookie);
        let mut answer = world.client.url("/v1/oauth/local/callback");
        let issuer = world.provider.facts["issuer"].as_str().unwrap();
        answer.query_pairs_mut().append_pair("code", "c").append_pair("state", "s").append_pair("iss", issuer);
        assert_eq!(browser.end(answer).await.error(), error);
    }
    // Nor is what is sealed a token.
    world.client.get("/v1/me").token(&sealed(&good)).send().await.problem(401, "token_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_are_for_this_host_and_no_script() {
    let world = world().await;
    let plain = world.client.get("/v1/oauth/local/start").send().await.expect(302);
    let cookie = plain.header("set-cookie").unwrap();
    assert!(cookie.starts_with("counter_oauth_flow=") && !cookie.contains("Secure"), "{cookie}");
    for attribute in ["; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=600"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    assert_eq!(plain.header("cache-control"), Some("no-store"));
    assert_eq!(plain.header("referrer-policy"), Some("no-referrer"));

    let (port, store) = (free_port(), Store::fresh(Kind::Redb).await);
    let public = ("COUNTER_PUBLIC_URL".to_owned(), "https://counter.example.com".to_owned());
    let settings = [world.provider.settings(), vec![public]].concat();
    let service = start(&store, port, port, &settings).await;
    let behind_tls = service.client().await.get("/v1/oauth/local/start").send().await.expect(302);
    let cookie = behind_tls.header("set-cookie").unwrap();
    // The browser then takes it from this very host alone: no other host of the domain can plant one.
    assert!(cookie.starts_with("__Host-counter_oauth_flow=") && cookie.contains("; Secure"), "{cookie}");
    let location = behind_tls.header("location").unwrap();
    assert!(location.contains("redirect_uri=https%3A%2F%2Fcounter.example.com%2Fv1%2Foauth%2Flocal%2Fcallback"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_leads_to_the_provider_and_nowhere_else() {
    let world = world().await;
    let issuer = world.provider.facts["issuer"].as_str().unwrap();
    for path in ["/v1/oauth/local/start", "/v1/oauth/local/start?next=//evil.example&redirect_uri=https://evil.example"]
    {
        let answer = world.client.get(path).header("x-forwarded-host", "evil.example").send().await.expect(302);
        let location = answer.header("location").unwrap();
        assert!(location.starts_with(&format!("{issuer}/auth?")) && !location.contains("evil"), "{location}");
        for part in [
            "response_type=code",
            "code_challenge_method=S256",
            "code_challenge=",
            "state=",
            "nonce=",
            "scope=openid+email",
        ] {
            assert!(location.contains(part), "{part} is not in {location}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_may_not_have_many() {
    let world = World::with(Kind::Redb, &[("COUNTER_AUTH_RATE_LIMIT", "3/h")]).await;
    let browser = world.browser();
    let code = world.visit(&browser, "ada").await.code();
    redeem(&browser, &world.client, &json!({"code": "wrong"})).await.problem(401, "signin_code_invalid");
    redeem(&browser, &world.client, &json!({ "code": code })).await.expect(200);
    redeem(&browser, &world.client, &json!({ "code": code })).await.problem(429, "rate_limited");
    world.client.login("ada@example.com", PASSWORD).await.problem(429, "rate_limited");
    // A browser is told on the page.
    assert!(matches!(world.visit(&browser, "ada").await, End::Error(error) if error == "rate_limited"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_on_another_page_use_nothing_up() {
    let world = World::with(Kind::Redb, &[("COUNTER_AUTH_RATE_LIMIT", "2/h")]).await;
    let victim = world.browser();
    let forged = || world.client.url("/v1/oauth/local/callback?code=x&state=y");
    for _ in 0..3 {
        assert_eq!(victim.end(forged()).await.error(), "flow_expired");
    }
    let answer = victim.answer(&world.client, "local", "victim").await;
    for _ in 0..3 {
        assert_eq!(victim.end(forged()).await.error(), "flow_mismatch");
    }
    let code = victim.end(answer).await.code();
    redeem(&victim, &world.client, &json!({ "code": code })).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_takes_as_long_with_an_account_as_without() {
    let world = world().await;
    let victim = world.client.register().await;
    let time = async |login: &str| {
        let mut quickest = Duration::MAX;
        for _ in 0..3 {
            let browser = world.browser();
            let code = world.visit(&browser, login).await.code();
            let begun = std::time::Instant::now();
            let wrong = json!({"code": code, "password": "not the password"});
            redeem(&browser, &world.client, &wrong).await.problem(401, "invalid_credentials");
            quickest = quickest.min(begun.elapsed());
        }
        quickest
    };
    let (known, unknown) = (time(&victim.email).await, time("nobody@example.com").await);
    assert!(unknown > known / 3, "known {known:?}, unknown {unknown:?}");
}
