//! Records that are held or spoilt: keys in flight, transactions whose owners are gone, and what somebody else has written.

use std::time::Duration;

use mongodb::bson::{DateTime, Document, doc};
use mongodb::options::ClientOptions;
use mongodb::{Client, ClientSession};

use super::{in_background, next_until_definite, pause_all, replica_set, resume_all};
use crate::support::client::User;
use crate::support::eventually_within;
use crate::support::prometheus::Scrape;
use crate::support::service::Service;
use crate::support::stores::{Kind, Store};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_flight_ends_in_the_one_number() {
    let set = replica_set().await;
    let settings = [("COUNTER_REQUEST_TIMEOUT", "1s"), ("COUNTER_STORE_TIMEOUT", "5s")];
    let service = Service::on(&Store::in_mongodb(&set.uri()), &settings).await;
    let user = service.client().await.register().await;
    assert_eq!(user.next().await, 1);

    pause_all(&set);
    let (first, elapsed) = in_background(user.post("/v1/next").key("k")).await.unwrap();
    first.problem(503, "outcome_unknown");
    assert!((0.9..3.0).contains(&elapsed.as_secs_f64()), "answered after {elapsed:?}");
    user.post("/v1/next").key("k").send().await.problem(409, "idempotency_key_in_flight");
    resume_all(&set);

    let answer = next_until_definite(&user, "k").await;
    assert_eq!(answer.number("value"), 2);
    assert_eq!(next_until_definite(&user, "after").await.number("value"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyed_call_is_in_flight_where_its_key_is_met_and_not_where_its_counter_is() {
    let store = Store::fresh(Kind::Mongodb).await;
    let service = Service::on(&store, &[]).await;
    let user = service.client().await.register().await;
    assert_eq!(user.next().await, 1);
    let client = Client::with_uri_str(&store.url).await.unwrap();
    let database = client.database(store.database());

    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let record = doc! {
        "_id": format!("{}/k", user.id), "fingerprint": "f", "outcome": {}, "expires_at": DateTime::now(),
    };
    database.collection::<Document>("idempotency_keys").insert_one(record).session(&mut session).await.unwrap();
    user.post("/v1/next").key("k").send().await.problem(409, "idempotency_key_in_flight");
    session.abort_transaction().await.unwrap();

    session.start_transaction().await.unwrap();
    let counters = database.collection::<Document>("incremental_counter");
    let change = doc! { "$inc": { "version": 1_i64 } };
    counters.update_one(doc! { "user": &user.id }, change).session(&mut session).await.unwrap();
    user.post("/v1/next").key("k").send().await.problem(503, "store_unavailable");
    session.abort_transaction().await.unwrap();

    assert_eq!(user.post("/v1/next").key("k").send().await.number("value"), 2);
}

/// Changes a counter in a transaction as the service does, and leaves it open as a service that is killed does.
async fn leave_transaction_open(store: &Store, user: &User) -> (Client, ClientSession) {
    let mut options = ClientOptions::parse(&store.url).await.unwrap();
    options.app_name = Some("counter-api".to_owned());
    let client = Client::with_options(options).unwrap();
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let counters = client.database(store.database()).collection::<Document>("incremental_counter");
    let change = doc! { "$inc": { "value": 1_i64, "version": 1_i64 } };
    let filter = doc! { "user": &user.id };
    let changed = counters.find_one_and_update(filter, change).session(&mut session).await.unwrap();
    assert!(changed.is_some(), "the user has a counter");
    (client, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_whose_owner_is_gone_does_not_hold_up_its_counter() {
    let set = replica_set().await;
    let store = Store::in_mongodb(&set.uri());
    let service = Service::on(&store, &[]).await;
    let user = service.client().await.register().await;
    assert_eq!(user.next().await, 1);
    for (number, key) in [(2, Some("key")), (3, None)] {
        let _gone = leave_transaction_open(&store, &user).await;
        // The server would keep it for a minute.
        let answer = eventually_within(Duration::from_secs(20), "the counter is free", async || {
            let call = user.post("/v1/next");
            let answer = key.map_or(user.post("/v1/next"), |key| call.key(key)).send().await;
            (answer.status == 200).then_some(answer)
        })
        .await;
        assert_eq!(answer.number("value"), number, "what was not committed is nobody's");
    }
    let scrape = Scrape::of(&service).await;
    assert_eq!(scrape.sum("counter_api_orphaned_transactions_total", &[]), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_somebody_else_has_spoilt_is_an_internal_error_and_stays_as_it_is() {
    let store = Store::fresh(Kind::Mongodb).await;
    let service = Service::on(&store, &[]).await;
    let user = service.client().await.register().await;
    assert_eq!(user.next().await, 1);
    let client = Client::with_uri_str(&store.url).await.unwrap();
    let counters = client.database(store.database()).collection::<Document>("incremental_counter");
    let spoil = doc! { "$set": { "value": "many" } };
    // The validator that the service has made would refuse this.
    let update = counters.update_one(doc! { "name": "default" }, spoil).bypass_document_validation(true);
    assert_eq!(update.await.unwrap().modified_count, 1);

    let answer = user.get("/v1/current").send().await.problem(500, "internal");
    assert!(!answer.body.contains("many"), "{}", answer.body);
    user.post("/v1/next").send().await.problem(500, "internal");
    let spoilt = counters.find_one(doc! { "name": "default" }).await.unwrap().unwrap();
    assert_eq!(spoilt.get_str("value").unwrap(), "many");
}
