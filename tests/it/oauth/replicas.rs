//! Any replica goes on with what another began.

use serde_json::json;

use super::provider::Provider;
use super::{Browser, redeem, start};
use crate::support::client::Client;
use crate::support::mongod::free_port;
use crate::support::service::{KEY_ID, KEY_SECRET, Service};
use crate::support::stores::{Kind, Store};

/// Two replicas. Browsers come back to the second one, wherever they began.
async fn two(settings: [&[(String, String)]; 2]) -> (Provider, [(Service, Client); 2]) {
    let (one, other, store) = (free_port(), free_port(), Store::fresh(Kind::Mongodb).await);
    let provider = Provider::start(&[other]).await;
    let [first, second] = settings.map(|settings| [provider.settings(), settings.to_vec()].concat());
    let (first, second) = tokio::join!(start(&store, one, other, &first), start(&store, other, other, &second));
    let clients = (first.client().await, second.client().await);
    (provider, [(first, clients.0), (second, clients.1)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_goes_from_one_replica_to_the_other_and_back() {
    let (_provider, [(_one, here), (_other, there)]) = two([&[], &[]]).await;
    let browser = Browser::new([&here, &there]);
    let form = browser.start(&here, "local").await;
    let answer = browser.answer_to(&form, "ada").await;
    assert_eq!(answer.origin(), there.url("/").origin());
    let code = browser.end(answer).await.code();
    let signed_in = redeem(&browser, &here, &json!({ "code": code })).await.expect(200);
    redeem(&browser, &there, &json!({ "code": code })).await.problem(401, "signin_code_invalid");
    let token = signed_in.json["token"].as_str().unwrap();
    for client in [&here, &there] {
        client.get("/v1/me").token(token).send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sign_in_at_two_replicas_at_once_makes_one_account() {
    let (_provider, [(_one, here), (_other, there)]) = two([&[], &[]]).await;
    for round in 0..5 {
        let login = format!("ada-{round}");
        let (left, right) = (Browser::new([&here, &there]), Browser::new([&here, &there]));
        let codes =
            [left.sign_in(&here, "local", &login).await.code(), right.sign_in(&there, "local", &login).await.code()];
        let [one, other] = codes.map(|code| json!({ "code": code }));
        let (one, other) = tokio::join!(redeem(&left, &here, &one), redeem(&right, &there, &other));
        let (one, other) = (one.expect(200), other.expect(200));
        assert_eq!(one.json["user"], other.json["user"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_outlasts_a_rotation_of_the_keys() {
    let keys = |text: String| vec![("COUNTER_JWT_KEYS".to_owned(), text)];
    let (old, new) = (format!("{KEY_ID}:{KEY_SECRET}"), format!("new:{}", "n".repeat(40)));
    // The first replica signs with the old key still, the second one with the new one.
    let (first, second) = (keys(format!("{old},{new}")), keys(format!("{new},{old}")));
    let (_provider, [(_one, here), (_other, there)]) = two([&first, &second]).await;
    let browser = Browser::new([&here, &there]);
    let code = browser.sign_in(&here, "local", "ada").await.code();
    redeem(&browser, &here, &json!({ "code": code })).await.expect(200);
}
