//! A provider's verified address that belongs to an account with a password: it opens nothing, and shuts nobody out.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Browser, World, for_each_store, me, redeem};
use crate::support::client::{PASSWORD, User};
use crate::support::stores::Kind;

for_each_store![
    with_the_password_the_accounts_become_one,
    or_somebody_has_an_account_of_their_own,
    a_password_is_tried_three_times_at_most,
    tries_at_once_are_counted_one_by_one,
    a_code_ends_after_a_minute,
    a_password_where_there_is_nothing_to_link_is_wrong,
];

/// A world with an account by password, and somebody who comes back from the provider with its address.
async fn namesakes(kind: Kind) -> (World, User, Browser, String) {
    let world = World::over(kind).await;
    let user = world.client.register().await;
    let browser = world.browser();
    let code = world.visit(&browser, &user.email).await.code();
    (world, user, browser, code)
}

async fn with_the_password_the_accounts_become_one(kind: Kind) {
    let (world, user, browser, code) = namesakes(kind).await;
    user.next().await;
    let send = async |body: Value| redeem(&browser, &world.client, &body).await;
    // As often as one likes: it is no try.
    for _ in 0..4 {
        send(json!({ "code": code })).await.problem(409, "link_required");
    }
    for _ in 0..2 {
        send(json!({"code": code, "password": "not the password"})).await.problem(401, "invalid_credentials");
    }
    let linked = send(json!({"code": code, "password": PASSWORD})).await.expect(200);
    assert_eq!(linked.json["user"], json!({"id": user.id, "email": user.email}));
    assert_eq!(me(&world.client, &linked).await["user"]["providers"], json!(["password", "local"]));
    assert_eq!(me(&world.client, &linked).await["counters"], 1);

    // Either way leads to the same account from now on.
    let again = world.sign_in(&world.browser(), &user.email).await.expect(200);
    assert_eq!(again.json["user"]["id"], user.id);
    user.log_in_again().await;

    user.delete("/v1/oauth/local").send().await.expect(204);
    user.delete("/v1/oauth/local").send().await.problem(404, "not_found");
    assert_eq!(me(&world.client, &again).await["user"]["providers"], json!(["password"]));
    let browser = world.browser();
    let code = world.visit(&browser, &user.email).await.code();
    redeem(&browser, &world.client, &json!({ "code": code })).await.problem(409, "link_required");
}

async fn or_somebody_has_an_account_of_their_own(kind: Kind) {
    let (world, user, browser, code) = namesakes(kind).await;
    redeem(&browser, &world.client, &json!({ "code": code })).await.problem(409, "link_required");
    let own = redeem(&browser, &world.client, &json!({"code": code, "separate": true})).await.expect(200);
    assert_ne!(own.json["user"]["id"], user.id);
    assert_eq!(own.json["user"]["email"], user.email, "the address is a label");
    assert_eq!(me(&world.client, &own).await["user"]["providers"], json!(["local"]));
    // It stays so, without another question; and the password opens the other one.
    let again = world.sign_in(&world.browser(), &user.email).await.expect(200);
    assert_eq!(again.json["user"], own.json["user"]);
    let login = world.client.login(&user.email, PASSWORD).await.expect(200);
    assert_eq!(login.json["user"]["id"], user.id);
}

async fn a_password_is_tried_three_times_at_most(kind: Kind) {
    let (world, _user, browser, code) = namesakes(kind).await;
    let send = async |body: Value| redeem(&browser, &world.client, &body).await;
    for _ in 0..3 {
        let wrong = json!({"code": code, "password": "not the password"});
        send(wrong).await.problem(401, "invalid_credentials");
    }
    for late in
        [json!({"code": code, "password": PASSWORD}), json!({"code": code, "separate": true}), json!({"code": code})]
    {
        send(late).await.problem(401, "signin_code_invalid");
    }
}

async fn tries_at_once_are_counted_one_by_one(kind: Kind) {
    let (world, _user, browser, code) = namesakes(kind).await;
    let cookie = browser.cookies("/");
    let attempts = (0..12).map(|n| {
        let call = world.client.post("/v1/oauth/token").header("cookie", &cookie);
        let call = call.json(&json!({"code": code, "password": format!("guess number {n}")}));
        tokio::spawn(async move { call.send().await.json["code"].as_str().unwrap().to_owned() })
    });
    let mut codes = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        codes.push(attempt.await.unwrap());
    }
    assert_eq!(codes.iter().filter(|code| *code == "invalid_credentials").count(), 3, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| *code == "signin_code_invalid").count(), 9, "{codes:?}");
}

async fn a_code_ends_after_a_minute(kind: Kind) {
    let world = World::over(kind).await;
    let browser = world.browser();
    let code = world.visit(&browser, "ada").await.code();
    tokio::time::sleep(Duration::from_secs(61)).await;
    redeem(&browser, &world.client, &json!({ "code": code })).await.problem(401, "signin_code_invalid");
}

async fn a_password_where_there_is_nothing_to_link_is_wrong(kind: Kind) {
    let world = World::over(kind).await;
    let browser = world.browser();
    let code = world.visit(&browser, "ada@example.com").await.code();
    let wrong = json!({"code": code, "password": PASSWORD});
    redeem(&browser, &world.client, &wrong).await.problem(401, "invalid_credentials");
    redeem(&browser, &world.client, &json!({ "code": code })).await.expect(200);
}
