//! Registering, logging in and out, and leaving.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Env, for_each_store};
use crate::support::client::{Answer, PASSWORD, credentials, unique_email};

for_each_store![
    register_answers_a_user_and_a_token,
    register_and_login_take_a_form,
    an_email_is_trimmed_and_compared_without_case,
    an_email_registers_once,
    a_bad_email_is_named,
    a_password_has_8_to_128_characters,
    credentials_are_strings_and_nothing_else,
    a_refusal_repeats_no_password,
    login_does_not_tell_whether_the_email_is_known,
    login_takes_about_as_long_for_an_unknown_email,
    logout_revokes_every_token_at_once,
    login_right_after_logout_works,
    me_says_who_one_is,
    leaving_needs_the_password,
    leaving_removes_everything,
];

async fn register_answers_a_user_and_a_token(env: &Env) {
    let email = unique_email();
    let before = OffsetDateTime::now_utc();
    let answer = env.client.post("/v1/register").json(&credentials(&email, PASSWORD)).send().await.expect(201);
    assert_eq!(answer.json["user"]["email"], email);
    assert!(answer.json["user"]["id"].as_str().is_some_and(|id| uuid::Uuid::parse_str(id).is_ok()));
    assert_is_a_token(&answer, before, 36_000);

    let token = answer.json["token"].as_str().unwrap();
    let me = env.client.get("/v1/me").token(token).send().await.expect(200);
    assert_eq!(me.json["user"]["id"], answer.json["user"]["id"]);
}

fn assert_is_a_token(answer: &Answer, issued_after: OffsetDateTime, lifetime: i64) {
    assert_eq!(answer.json["token_type"], "Bearer");
    assert_eq!(answer.json["expires_in"], lifetime);
    let expires_at = OffsetDateTime::parse(answer.json["expires_at"].as_str().unwrap(), &Rfc3339).unwrap();
    let seconds = (expires_at - issued_after).whole_seconds();
    assert!((lifetime - 2..=lifetime + 60).contains(&seconds), "a token of {lifetime} s expires in {seconds} s");
}

async fn register_and_login_take_a_form(env: &Env) {
    let email = unique_email();
    let fields = [("email", email.as_str()), ("password", PASSWORD)];
    let registered = env.client.post("/v1/register").form(&fields).send().await.expect(201);
    let before = OffsetDateTime::now_utc();
    let logged_in = env.client.post("/v1/login").form(&fields).send().await.expect(200);
    assert_eq!(logged_in.json["user"], registered.json["user"]);
    assert_is_a_token(&logged_in, before, 36_000);

    env.client.post("/v1/register").form(&[("email", "ada@example.com")]).send().await.invalid_field("password");
    let unknown = [("email", email.as_str()), ("password", PASSWORD), ("colour", "blue")];
    env.client.post("/v1/login").form(&unknown).send().await.invalid_field("colour");
}

async fn an_email_is_trimmed_and_compared_without_case(env: &Env) {
    let email = unique_email();
    let loud = format!("  {}  ", email.to_uppercase());
    let answer = env.client.post("/v1/register").json(&credentials(&loud, PASSWORD)).send().await.expect(201);
    assert_eq!(answer.json["user"]["email"], email);
    env.client.login(&email, PASSWORD).await.expect(200);
    env.client.login(&loud, PASSWORD).await.expect(200);
    env.client.post("/v1/register").json(&credentials(&email, PASSWORD)).send().await.problem(409, "email_taken");
}

async fn an_email_registers_once(env: &Env) {
    let email = unique_email();
    let register = async || env.client.post("/v1/register").json(&credentials(&email, PASSWORD)).send().await;
    let (one, other) = tokio::join!(register(), register());
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409], "of two racing registrations one wins");
    register().await.problem(409, "email_taken");
}

async fn a_bad_email_is_named(env: &Env) {
    let long = format!("a@{}.com", "b".repeat(250));
    for email in ["", " ", "ada", "@example.com", "ada@", "ada@example", "a b@example.com", "a@b@example.com", &long] {
        env.client.post("/v1/register").json(&credentials(email, PASSWORD)).send().await.invalid_field("email");
    }
}

async fn a_password_has_8_to_128_characters(env: &Env) {
    let register = async |password: &str| {
        env.client.post("/v1/register").json(&credentials(&unique_email(), password)).send().await
    };
    for password in ["", "seven77", &"x".repeat(129), &"ü".repeat(7)] {
        register(password).await.invalid_field("password");
    }
    for password in ["eight888", &"x".repeat(128), &"ü".repeat(8), &"ü".repeat(128), "        "] {
        register(password).await.expect(201);
    }
}

async fn credentials_are_strings_and_nothing_else(env: &Env) {
    for path in ["/v1/register", "/v1/login"] {
        let post = async |body: Value| env.client.post(path).json(&body).send().await;
        post(json!({"email": {"$gt": ""}, "password": PASSWORD})).await.invalid_field("email");
        post(json!({"email": "ada@example.com", "password": {"$gt": ""}})).await.invalid_field("password");
        post(json!({"email": null, "password": PASSWORD})).await.invalid_field("email");
        post(json!({"email": ["ada@example.com"], "password": PASSWORD})).await.invalid_field("email");
        post(json!({"email": "ada@example.com", "password": 12_345_678})).await.invalid_field("password");
        post(json!({"password": PASSWORD})).await.invalid_field("email");
        post(json!({"email": "ada@example.com"})).await.invalid_field("password");
        post(json!({"email": "ada@example.com", "password": PASSWORD, "admin": true})).await.invalid_field("admin");
    }
}

async fn a_refusal_repeats_no_password(env: &Env) {
    let secret = "canary-7f3a";
    let wrong = json!({"email": "nobody", "password": secret, "extra": secret});
    let refused = env.client.post("/v1/register").json(&wrong).send().await.expect(422);
    assert!(!refused.body.contains(secret), "{}", refused.body);
    let refused = env.client.login("nobody@example.com", secret).await.expect(401);
    assert!(!refused.body.contains(secret), "{}", refused.body);
}

async fn login_does_not_tell_whether_the_email_is_known(env: &Env) {
    let user = env.user().await;
    let mut wrong = env.client.login(&user.email, "not the password").await.problem(401, "invalid_credentials");
    let mut unknown = env.client.login(&unique_email(), PASSWORD).await.problem(401, "invalid_credentials");
    for answer in [&mut wrong, &mut unknown] {
        assert!(!answer.header("www-authenticate").unwrap().contains("error="), "no token came, so none is at fault");
        answer.json["trace_id"].take();
    }
    assert_eq!(wrong.json, unknown.json);
    let names = |answer: &Answer| answer.headers.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&wrong), names(&unknown));
}

async fn login_takes_about_as_long_for_an_unknown_email(env: &Env) {
    let user = env.user().await;
    let unknown_email = unique_email();
    let time = async |email: &str| {
        let begun = Instant::now();
        env.client.login(email, "not the password").await.expect(401);
        begun.elapsed()
    };
    // The quickest of several is what an attacker would look at, and what a busy machine spoils least.
    let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
    for _ in 0..8 {
        known = known.min(time(&user.email).await);
        unknown = unknown.min(time(&unknown_email).await);
    }
    assert!(unknown > known / 3, "known {known:?}, unknown {unknown:?}: no password was hashed for the unknown one");
}

async fn logout_revokes_every_token_at_once(env: &Env) {
    let user = env.user().await;
    let other = user.log_in_again().await.token;
    let answer = user.post("/v1/logout").send().await.expect(204);
    assert_eq!(answer.body, "");
    for token in [&user.token, &other] {
        env.client.get("/v1/me").token(token).send().await.problem(401, "token_revoked");
        env.client.post("/v1/next").token(token).send().await.problem(401, "token_revoked");
        env.client.post("/v1/logout").token(token).send().await.problem(401, "token_revoked");
    }
}

async fn login_right_after_logout_works(env: &Env) {
    let mut user = env.user().await;
    for expected in 1..=3 {
        assert_eq!(user.next().await, expected);
        user.post("/v1/logout").send().await.expect(204);
        let again = user.log_in_again().await;
        again.get("/v1/me").send().await.expect(200);
        user.get("/v1/me").send().await.problem(401, "token_revoked");
        user = again;
    }
}

async fn me_says_who_one_is(env: &Env) {
    let user = env.user().await;
    user.next().await;
    user.post("/v1/counters/orders/next").send().await.expect(200);
    let me = user.get("/v1/me").send().await.expect(200);
    assert_eq!(me.json["user"]["id"], user.id);
    assert_eq!(me.json["user"]["email"], user.email);
    assert_eq!(me.json["user"]["providers"], json!(["password"]));
    assert_eq!(me.json["counters"], 2);
    let created_at = OffsetDateTime::parse(me.json["user"]["created_at"].as_str().unwrap(), &Rfc3339).unwrap();
    assert!((OffsetDateTime::now_utc() - created_at).abs() < Duration::from_secs(120), "created at {created_at}");
    assert!(!me.body.contains("hash"), "{}", me.body);
}

async fn leaving_needs_the_password(env: &Env) {
    let user = env.user().await;
    let leave = async |body: Value| user.delete("/v1/me").json(&body).send().await;
    leave(json!({"password": "not the password"})).await.problem(401, "invalid_credentials");
    leave(json!({"password": 1})).await.invalid_field("password");
    leave(json!({})).await.invalid_field("password");
    user.delete("/v1/me").send().await.problem(415, "unsupported_media_type");
    user.delete("/v1/me").body("application/json", "").send().await.problem(400, "malformed_body");
    user.get("/v1/me").send().await.expect(200);
}

async fn leaving_removes_everything(env: &Env) {
    let user = env.user().await;
    user.set(41).await;
    user.post("/v1/counters/orders/next").send().await.expect(200);
    let answer = user.delete("/v1/me").json(&json!({"password": PASSWORD})).send().await.expect(204);
    assert_eq!(answer.body, "");
    user.get("/v1/me").send().await.problem(401, "token_revoked");
    user.post("/v1/next").send().await.problem(401, "token_revoked");
    env.client.login(&user.email, PASSWORD).await.problem(401, "invalid_credentials");

    let again = env.client.post("/v1/register").json(&credentials(&user.email, PASSWORD)).send().await.expect(201);
    assert_ne!(again.json["user"]["id"], user.id);
    let token = again.json["token"].as_str().unwrap();
    assert_eq!(env.client.post("/v1/next").token(token).send().await.expect(200).number("value"), 1);
    env.client.get("/v1/counters/orders/current").token(token).send().await.problem(404, "not_found");
}
