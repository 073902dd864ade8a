//! Two replicas of the service over one database are one service.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::client::{Client, PASSWORD, User, credentials, unique_email};
use crate::support::eventually_within;
use crate::support::service::Service;
use crate::support::stores::{Kind, Store};

/// Within this time every replica knows of a logout.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

async fn two_replicas() -> [(Service, Client); 2] {
    let store = Store::fresh(Kind::Mongodb).await;
    let (one, other) = tokio::join!(Service::on(&store, &[]), Service::on(&store, &[]));
    let clients = (one.client().await, other.client().await);
    [(one, clients.0), (other, clients.1)]
}

async fn revoked_at(user: &User) {
    let answer = eventually_within(REVOKED_WITHIN, "the other replica refuses the token", async || {
        let answer = user.get("/v1/current").send().await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    answer.problem(401, "token_revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_holds_on_every_replica_within_five_seconds() {
    let [(_one, here), (_other, there)] = two_replicas().await;
    let user = here.register().await;
    let elsewhere = user.at(&there);
    assert_eq!((user.next().await, elsewhere.next().await), (1, 2));
    user.post("/v1/logout").send().await.expect(204);
    user.get("/v1/me").send().await.problem(401, "token_revoked");
    let login = there.login(&user.email, PASSWORD).await.expect(200);
    let token = login.json["token"].as_str().unwrap();
    for client in [&there, &here] {
        client.get("/v1/me").token(token).send().await.expect(200);
    }
    revoked_at(&elsewhere).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_removes_the_hash_of_the_token() {
    let store = Store::fresh(Kind::Mongodb).await;
    let service = Service::on(&store, &[]).await;
    let user = service.client().await.register().await;
    let database = mongodb::Client::with_uri_str(&store.url).await.unwrap().database(store.database());
    let users = database.collection::<Document>("users");
    let has_token = async || users.find_one(doc! { "_id": &user.id }).await.unwrap().unwrap().contains_key("token");
    assert!(has_token().await);
    user.post("/v1/logout").send().await.expect(204);
    assert!(!has_token().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_is_unknown_to_every_replica_within_five_seconds() {
    let [(_one, here), (_other, there)] = two_replicas().await;
    let user = here.register().await;
    let elsewhere = user.at(&there);
    elsewhere.next().await;
    user.delete("/v1/me").json(&json!({"password": PASSWORD})).send().await.expect(204);
    revoked_at(&elsewhere).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_etags_hold_on_every_replica() {
    let [(_one, here), (_other, there)] = two_replicas().await;
    let user = here.register().await;
    let elsewhere = user.at(&there);
    let first = user.post("/v1/next?count=5").key("k").send().await.expect(200);
    let again = elsewhere.post("/v1/next?count=5").key("k").send().await.expect(200);
    assert_eq!((again.replayed(), again.body), (true, first.body));

    let etag = user.etag("/v1/current").await;
    assert_eq!(elsewhere.next().await, 6);
    let set = user.put("/v1/current").header("if-match", &etag).json(&json!({"current": 1}));
    set.send().await.problem(412, "precondition_failed");
    assert_eq!((user.current().await, elsewhere.current().await), (6, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_never_older_than_an_answer_that_came_before_it() {
    let [(_one, here), (_other, there)] = two_replicas().await;
    let user = here.register().await;
    let elsewhere = user.at(&there);
    for value in 1..=20 {
        assert_eq!(user.next().await, value);
        assert_eq!(elsewhere.current().await, value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_registers_once_whichever_replica_is_asked() {
    let [(_one, here), (_other, there)] = two_replicas().await;
    for _ in 0..5 {
        let body = credentials(&unique_email(), PASSWORD);
        let register = async |client: &Client| client.post("/v1/register").json(&body).send().await.status;
        let (one, other) = tokio::join!(register(&here), register(&there));
        assert_eq!((one.min(other), one.max(other)), (201, 409));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_may_make_many_counters_at_once() {
    const COUNTERS: usize = 2_000;
    const CLIENTS: usize = 100;
    let store = Store::fresh(Kind::Mongodb).await;
    let settings = [("COUNTER_COUNTERS_PER_USER", "2000")];
    let (one, other) = tokio::join!(Service::on(&store, &settings), Service::on(&store, &settings));
    let user = one.client().await.register().await;
    let elsewhere = user.at(&other.client().await);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        // Most of them here, so that its batches make counters at the same time; some there, so that it meets another's.
        let user = if client % 8 == 0 { elsewhere.clone() } else { user.clone() };
        clients.spawn(async move {
            for counter in (client..COUNTERS).step_by(CLIENTS) {
                let next = user.post(&format!("/v1/counters/c{counter}/next")).send().await;
                assert_eq!(next.expect(200).number("value"), 1);
            }
        });
    }
    clients.join_all().await;
    // The default counter is always allowed, any other is one too many: each was counted once.
    user.post("/v1/counters/other/next").send().await.problem(409, "quota_reached");
}
