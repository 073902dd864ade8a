//! Accounts that a provider opens: made at the first sign-in, found again at the next, left.

use serde_json::json;

use super::browser::Browser;
use super::provider::Provider;
use super::{World, for_each_store, me, redeem, start};
use crate::support::client::{PASSWORD, credentials, unique_email};
use crate::support::mongod::free_port;
use crate::support::service::Service;
use crate::support::stores::{Kind, Store};

for_each_store![
    the_first_sign_in_makes_an_account_and_the_next_finds_it,
    another_person_has_another_account,
    an_account_has_no_address_where_the_provider_vouches_for_none,
    the_address_may_change_and_the_account_stays,
    a_code_is_used_once,
    of_two_that_redeem_a_code_at_once_one_gets_a_token,
    an_account_without_a_password_is_deleted_with_an_empty_object,
    the_last_way_to_sign_in_stays,
    another_issuer_under_the_same_name_opens_nobodys_account,
    what_is_no_provider_is_not_found,
    without_a_provider_the_list_is_empty,
];

async fn the_first_sign_in_makes_an_account_and_the_next_finds_it(kind: Kind) {
    let world = World::over(kind).await;
    let providers = world.client.get("/v1/oauth/providers").send().await.expect(200).json;
    let local = json!({"name": "local", "display_name": "Local", "start_url": "/v1/oauth/local/start"});
    assert_eq!(providers, json!({"providers": [local]}));

    let first = world.sign_in(&world.browser(), "ada@example.com").await.expect(200);
    assert_eq!(first.json["user"]["email"], "ada@example.com");
    assert_eq!(first.json["token_type"], "Bearer");
    let details = me(&world.client, &first).await;
    assert_eq!(details["user"]["providers"], json!(["local"]));
    let token = first.json["token"].as_str().unwrap();
    assert_eq!(world.client.post("/v1/next").token(token).send().await.expect(200).number("value"), 1);

    let second = world.sign_in(&world.browser(), "ada@example.com").await.expect(200);
    assert_eq!(second.json["user"], first.json["user"]);
    let token = second.json["token"].as_str().unwrap();
    assert_eq!(world.client.post("/v1/next").token(token).send().await.expect(200).number("value"), 2);
}

async fn another_person_has_another_account(kind: Kind) {
    let world = World::over(kind).await;
    // The provider says of both that they have the same verified address, which is no key to anything.
    let shared = json!({"email": "team@example.com", "email_verified": true});
    for (login, sub) in [("ada", "1"), ("bob", "2")] {
        let mut person = shared.clone();
        person["sub"] = sub.into();
        world.provider.person(login, person).await;
    }
    let ada = world.sign_in(&world.browser(), "ada").await.expect(200);
    let bob = world.sign_in(&world.browser(), "bob").await.expect(200);
    assert_ne!(ada.json["user"]["id"], bob.json["user"]["id"]);
    assert_eq!(ada.json["user"]["email"], bob.json["user"]["email"]);
}

async fn an_account_has_no_address_where_the_provider_vouches_for_none(kind: Kind) {
    let world = World::over(kind).await;
    world.provider.person("ada", json!({"sub": "1", "email": "ada@example.com", "email_verified": false})).await;
    world.provider.person("bob", json!({"sub": "2", "email": null})).await;
    world.provider.person("eve", json!({"sub": "3", "email": "no address", "email_verified": true})).await;
    for login in ["ada", "bob", "eve"] {
        let signed_in = world.sign_in(&world.browser(), login).await.expect(200);
        assert!(signed_in.json["user"]["email"].is_null(), "{login}: {}", signed_in.body);
        assert!(me(&world.client, &signed_in).await["user"]["email"].is_null());
    }
}

async fn the_address_may_change_and_the_account_stays(kind: Kind) {
    let world = World::over(kind).await;
    world.provider.person("ada", json!({"sub": "1", "email": "ada@example.com"})).await;
    let before = world.sign_in(&world.browser(), "ada").await.expect(200);
    world.provider.person("ada", json!({"sub": "1", "email": "lovelace@example.com"})).await;
    let after = world.sign_in(&world.browser(), "ada").await.expect(200);
    assert_eq!(before.json["user"]["id"], after.json["user"]["id"]);
}

async fn a_code_is_used_once(kind: Kind) {
    let world = World::over(kind).await;
    let browser = world.browser();
    let code = world.visit(&browser, "ada").await.code();
    let other_half = browser.cookie("counter_oauth_code").expect("the browser keeps the other half");
    redeem(&browser, &world.client, &json!({ "code": code })).await.expect(200);
    assert_eq!(browser.cookie("counter_oauth_code"), None, "the cookie is of no use any more");
    browser.plant("counter_oauth_code", &other_half);
    for again in [json!({ "code": code }), json!({ "code": code, "separate": true })] {
        redeem(&browser, &world.client, &again).await.problem(401, "signin_code_invalid");
    }
}

async fn of_two_that_redeem_a_code_at_once_one_gets_a_token(kind: Kind) {
    let world = World::over(kind).await;
    let browser = world.browser();
    let code = world.visit(&browser, "ada").await.code();
    let cookie = browser.cookies("/");
    let redeem = async || {
        let call = world.client.post("/v1/oauth/token").header("cookie", &cookie);
        call.json(&json!({ "code": code })).send().await.status
    };
    let mut statuses = <[u16; 4]>::from(tokio::join!(redeem(), redeem(), redeem(), redeem()));
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401, 401, 401]);
}

async fn an_account_without_a_password_is_deleted_with_an_empty_object(kind: Kind) {
    let world = World::over(kind).await;
    let signed_in = world.sign_in(&world.browser(), "ada@example.com").await.expect(200);
    // Somebody else registers the address with a password, which nobody keeps from doing so.
    let namesake = credentials("ada@example.com", PASSWORD);
    let registered = world.client.post("/v1/register").json(&namesake).send().await.expect(201);
    let token = signed_in.json["token"].as_str().unwrap();
    let leave = |body| world.client.delete("/v1/me").token(token).json(&body);
    leave(json!({"password": PASSWORD})).send().await.problem(401, "invalid_credentials");
    leave(json!({})).send().await.expect(204);
    world.client.get("/v1/me").token(token).send().await.problem(401, "token_revoked");
    // The other account is untouched, and the identity is free again.
    let login = world.client.login("ada@example.com", PASSWORD).await.expect(200);
    assert_eq!(login.json["user"], registered.json["user"]);
    let browser = world.browser();
    let code = world.visit(&browser, "ada@example.com").await.code();
    let anew = redeem(&browser, &world.client, &json!({"code": code, "separate": true})).await.expect(200);
    assert_ne!(anew.json["user"]["id"], signed_in.json["user"]["id"]);
}

async fn the_last_way_to_sign_in_stays(kind: Kind) {
    let world = World::over(kind).await;
    let signed_in = world.sign_in(&world.browser(), "ada").await.expect(200);
    let token = signed_in.json["token"].as_str().unwrap();
    let unlink = |provider: &str| world.client.delete(&format!("/v1/oauth/{provider}")).token(token);
    unlink("local").send().await.problem(409, "last_sign_in_method");
    unlink("github").send().await.problem(404, "not_found");
    unlink("No%20Name").send().await.problem(404, "not_found");
    world.client.delete("/v1/oauth/local").send().await.problem(401, "token_missing");
    assert_eq!(me(&world.client, &signed_in).await["user"]["providers"], json!(["local"]));
}

async fn another_issuer_under_the_same_name_opens_nobodys_account(kind: Kind) {
    let (store, port) = (Store::fresh(kind).await, free_port());
    let (one, other) = (Provider::start(&[port]).await, Provider::start(&[port]).await);
    // Both say `1` to different people, as two installations of GitHub would.
    one.person("ada", json!({"sub": "1"})).await;
    other.person("bob", json!({"sub": "1"})).await;
    let mut users = Vec::new();
    for (provider, login) in [(&one, "ada"), (&other, "bob"), (&one, "ada"), (&other, "bob")] {
        let service = start(&store, port, port, &provider.settings()).await;
        let client = service.client().await;
        let browser = Browser::new([&client]);
        let code = browser.sign_in(&client, "local", login).await.code();
        let signed_in = redeem(&browser, &client, &json!({ "code": code })).await.expect(200);
        assert_eq!(signed_in.json["user"]["email"], format!("{login}@example.com"));
        users.push(signed_in.json["user"]["id"].clone());
    }
    assert_ne!(users[0], users[1], "the subject of one issuer has opened the account of another's");
    assert_eq!(users[..2], users[2..], "each has its own account again when its issuer is back");
}

async fn what_is_no_provider_is_not_found(kind: Kind) {
    let world = World::over(kind).await;
    for path in ["/v1/oauth/github/start", "/v1/oauth/github/callback?code=x&state=y", "/v1/oauth/LOCAL/start"] {
        world.client.get(path).send().await.problem(404, "not_found");
    }
    for path in ["/v1/oauth/local/start", "/v1/oauth/local/callback"] {
        world.client.call("HEAD", path).send().await.expect(405);
    }
    let nothing = json!({"code": "nothing"});
    world.client.post("/v1/oauth/token").json(&nothing).send().await.problem(401, "signin_code_invalid");
}

async fn without_a_provider_the_list_is_empty(kind: Kind) {
    let service = Service::fresh(kind, &[]).await;
    let client = service.client().await;
    assert_eq!(client.get("/v1/oauth/providers").send().await.expect(200).json, json!({"providers": []}));
    let body = json!({"code": "x", "separate": true, "password": unique_email()});
    client.post("/v1/oauth/token").json(&body).send().await.invalid_field("separate");
    client.post("/v1/oauth/token").json(&json!({"code": "x", "separate": 1})).send().await.invalid_field("separate");
    client.post("/v1/oauth/token").json(&json!({})).send().await.invalid_field("code");
}
