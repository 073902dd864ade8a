//! Which tokens are taken, from where, and what is said of those that are not.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{Env, for_each_store};
use crate::support::client::{Answer, User};
use crate::support::eventually;
use crate::support::service::{KEY_ID, KEY_SECRET};

for_each_store![
    every_call_that_needs_a_token_says_so,
    a_token_is_taken_from_the_header_or_the_query,
    two_different_tokens_conflict,
    what_is_no_token_is_invalid,
    an_expired_token_says_so,
    a_forged_token_is_invalid,
    a_token_holds_what_it_must_and_nothing_personal,
];

async fn every_call_that_needs_a_token_says_so(env: &Env) {
    for (method, path) in [
        ("POST", "/v1/logout"),
        ("GET", "/v1/me"),
        ("DELETE", "/v1/me"),
        ("DELETE", "/v1/oauth/github"),
        ("GET", "/v1/next"),
        ("POST", "/v1/next"),
        ("GET", "/v1/current"),
        ("PUT", "/v1/current"),
        ("GET", "/v1/counters"),
        ("GET", "/v1/counters/orders/next"),
        ("POST", "/v1/counters/orders/next"),
        ("GET", "/v1/counters/orders/current"),
        ("PUT", "/v1/counters/orders/current"),
        ("DELETE", "/v1/counters/orders"),
    ] {
        let call = || env.client.call(method, path);
        let missing = call().send().await.problem(401, "token_missing");
        assert!(!challenge(&missing).contains("error"), "RFC 6750 section 3: no error where no token came");
        call().header("authorization", "Basic YWRhOmFkYQ==").send().await.problem(401, "token_missing");
        let invalid = call().token("no-token-at-all").send().await.problem(401, "token_invalid");
        assert!(challenge(&invalid).contains("error=\"invalid_token\""));
    }
}

fn challenge(answer: &Answer) -> &str {
    answer.header("www-authenticate").unwrap()
}

async fn a_token_is_taken_from_the_header_or_the_query(env: &Env) {
    let user = env.user().await;
    let in_query = format!("/v1/next?token={}", user.token);
    let value = async |call: crate::support::client::Call| call.send().await.expect(200).number("value");
    assert_eq!(value(user.post("/v1/next")).await, 1);
    assert_eq!(value(env.client.post(&in_query)).await, 2);
    assert_eq!(value(env.client.get(&in_query)).await, 3);
    assert_eq!(value(user.post(&in_query)).await, 4);
    // RFC 9110 section 11.1: the scheme is compared without case.
    let lower_case = format!("bearer {}", user.token);
    assert_eq!(value(env.client.post("/v1/next").header("authorization", &lower_case)).await, 5);
    let with_count = format!("/v1/next?count=2&token={}", user.token);
    env.client.post(&with_count).send().await.expect(200);
}

async fn two_different_tokens_conflict(env: &Env) {
    let (user, other) = (env.user().await, env.user().await);
    let path = format!("/v1/next?token={}", other.token);
    user.post(&path).send().await.problem(400, "conflicting_tokens");
    assert_eq!((user.current().await, other.current().await), (0, 0));
}

async fn what_is_no_token_is_invalid(env: &Env) {
    let user = env.user().await;
    let (signed, _) = user.token.rsplit_once('.').unwrap();
    let tampered = user.token.replacen(&user.token[..4], "abcd", 1);
    for token in ["x", "a.b.c", "..", signed, &format!("{signed}."), &tampered, &format!("{}x", user.token)] {
        let answer = env.client.get("/v1/me").token(token).send().await.problem(401, "token_invalid");
        assert!(challenge(&answer).contains("error=\"invalid_token\""));
        assert!(!answer.body.contains(&user.token));
    }
    env.client.get("/v1/me?token=x").send().await.problem(401, "token_invalid");
}

async fn an_expired_token_says_so(env: &Env) {
    let service = env.service(&[("COUNTER_TOKEN_TTL", "1s")]).await;
    let client = service.client().await;
    let user = client.register().await;
    let answer = eventually("the token's expiry", async || {
        let answer = user.get("/v1/current").send().await;
        (answer.status != 200).then_some(answer)
    })
    .await
    .problem(401, "token_expired");
    assert!(challenge(&answer).contains("error=\"invalid_token\""));
}

async fn a_forged_token_is_invalid(env: &Env) {
    let user = env.user().await;
    let claims = claims(&user);
    let accepted = sign(&header(Algorithm::HS256, KEY_ID), &claims, KEY_SECRET);
    env.client.get("/v1/me").token(&accepted).send().await.expect(200);

    let other_secret = "another-secret-of-32-bytes-or-even-more";
    let now = claims["iat"].as_i64().unwrap();
    let with = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        sign(&header(Algorithm::HS256, KEY_ID), &changed, KEY_SECRET)
    };
    for (what, token) in [
        ("another secret", sign(&header(Algorithm::HS256, KEY_ID), &claims, other_secret)),
        ("another algorithm", sign(&header(Algorithm::HS512, KEY_ID), &claims, KEY_SECRET)),
        ("an unknown key", sign(&header(Algorithm::HS256, "other"), &claims, KEY_SECRET)),
        ("no key", sign(&Header::new(Algorithm::HS256), &claims, KEY_SECRET)),
        ("no signature", unsigned(&claims)),
        ("another audience", with("aud", json!("somebody-else"))),
        ("another issuer", with("iss", json!("somebody-else"))),
        ("not valid yet", with("nbf", json!(now + 3600))),
        ("no user", with("sub", json!("nobody"))),
    ] {
        let answer = env.client.get("/v1/me").token(&token).send().await;
        assert_eq!((answer.status, &answer.json["code"]), (401, &json!("token_invalid")), "a token with {what}");
    }
}

fn header(algorithm: Algorithm, key_id: &str) -> Header {
    Header { kid: Some(key_id.to_owned()), ..Header::new(algorithm) }
}

fn sign(header: &Header, claims: &Value, secret: &str) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn unsigned(claims: &Value) -> String {
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.", part(json!({"alg": "none", "typ": "JWT", "kid": KEY_ID})), part(claims.clone()))
}

fn claims(user: &User) -> Value {
    let payload = user.token.split('.').nth(1).expect("a JWT has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn a_token_holds_what_it_must_and_nothing_personal(env: &Env) {
    let user = env.user().await;
    let claims = claims(&user);
    let mut names: Vec<&String> = claims.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["aud", "exp", "gen", "iat", "iss", "jti", "nbf", "sub"]);
    assert_eq!(claims["sub"], user.id);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("counter-api"), &json!("counter-api")));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 36_000);
    let other = env.user().await;
    assert_ne!(claims["jti"], self::claims(&other)["jti"]);
}
