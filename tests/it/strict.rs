//! The heart of the promise: under many callers every number is handed out once, none is missing, and their order
//! agrees with real time, whichever replica a caller speaks to.

use crate::support::history::check;
use crate::support::load::{Load, take_numbers};
use crate::support::service::Service;
use crate::support::stores::{Kind, Store};

const LOAD: Load = Load { clients: 64, each: 40, keyed_of_ten: 0 };
const PARTLY_KEYED: Load = Load { keyed_of_ten: 3, ..LOAD };

async fn numbers_are_strict(kind: Kind, replicas: usize, load: Load) {
    let store = Store::fresh(kind).await;
    let mut services = Vec::new();
    for _ in 0..replicas {
        services.push(Service::on(&store, &[]).await);
    }
    let user = services[0].client().await.register().await;
    let mut users = Vec::new();
    for service in &services {
        users.push(user.at(&service.client().await));
    }
    let taken = take_numbers(&users, load).await;
    check(&taken).expect_none();
    assert_eq!(user.current().await, (load.clients * load.each) as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_strict_over_two_replicas() {
    numbers_are_strict(Kind::Mongodb, 2, LOAD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_strict_over_two_replicas_with_keys() {
    numbers_are_strict(Kind::Mongodb, 2, PARTLY_KEYED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_strict_in_the_embedded_store() {
    numbers_are_strict(Kind::Redb, 1, LOAD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_strict_in_the_embedded_store_with_keys() {
    numbers_are_strict(Kind::Redb, 1, PARTLY_KEYED).await;
}
