//! The proxies before a replica set: their faults meet clients, and no member.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use mongodb::{Client, Collection};

use crate::support::eventually;
use crate::support::mongod::ReplicaSet;
use crate::support::proxy::Mode;

const PATIENCE: Duration = Duration::from_secs(2);

async fn collection(uri: &str) -> Collection<Document> {
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.server_selection_timeout = Some(PATIENCE);
    options.connect_timeout = Some(PATIENCE);
    options.retry_writes = Some(false);
    Client::with_options(options).unwrap().database("proxy").collection("numbers")
}

/// Is this inserted, and answered?
async fn inserted(collection: &Collection<Document>, id: i32) -> bool {
    let insertion = collection.insert_one(doc! { "_id": id });
    tokio::time::timeout(PATIENCE, insertion.into_future()).await.is_ok_and(|inserted| inserted.is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_for_clients_only_and_end() {
    let set = ReplicaSet::start_behind_proxies(3).await;
    let primary = set.primary().await;
    let numbers = collection(&set.uri()).await;
    assert!(inserted(&numbers, 0).await);
    for (id, mode) in (1..).zip([Mode::Refuse, Mode::BlackHole, Mode::DropAnswers]) {
        (0..3).for_each(|member| set.set_proxy(member, mode));
        assert!(!inserted(&numbers, id).await, "{mode:?} lets an answer through");
        set.wait_until_healthy().await;
        (0..3).for_each(|member| set.set_proxy(member, Mode::Pass));
        eventually("the proxy passes again", async || inserted(&numbers, id + 10).await.then_some(())).await;
    }
    assert_eq!(set.primary().await, primary, "an election");
    // What was refused is not there; where only the answer was lost, it is.
    let refused = numbers.find_one(doc! { "_id": 1 }).await.unwrap();
    let answer_lost = numbers.find_one(doc! { "_id": 3 }).await.unwrap();
    assert!(refused.is_none() && answer_lost.is_some(), "{refused:?}, {answer_lost:?}");
}
