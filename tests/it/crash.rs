//! `kill -9` at any moment: what was acknowledged stays, and is never handed out again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;

use crate::support::client::User;
use crate::support::eventually;
use crate::support::service::{Service, launch};
use crate::support::stores::{Kind, Store, unique_name};

const ROUNDS: u64 = 20;
const CLIENTS: u64 = 16;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_handed_out_again() {
    let store = Store::fresh(Kind::Redb).await;
    let mut user: Option<User> = None;
    let mut acknowledged = BTreeSet::new();
    let mut pending_keys: Vec<String> = Vec::new();
    let mut calls_without_answer = 0;

    for round in 0..ROUNDS {
        let service = Service::on(&store, &[]).await;
        let client = service.client().await;
        let user = match &user {
            Some(user) => user.at(&client),
            None => user.insert(client.register().await).clone(),
        };
        let highest = acknowledged.last().copied().unwrap_or_default();
        assert!(user.current().await >= highest, "{highest} was acknowledged and is lost");
        for key in pending_keys.drain(..) {
            let answer = user.post("/v1/next").key(&key).send().await.expect(200);
            assert!(acknowledged.insert(answer.number("value")), "{} twice", answer.number("value"));
        }
        for ended in load_until_killed(&service, &user, 30 + round * 7).await {
            for number in ended.numbers {
                assert!(acknowledged.insert(number), "{number} was handed out twice");
            }
            match ended.key {
                Some(key) => pending_keys.push(key),
                None => calls_without_answer += 1,
            }
        }
    }

    let service = Service::on(&store, &[]).await;
    let user = user.unwrap().at(&service.client().await);
    for key in pending_keys {
        acknowledged.insert(user.post("/v1/next").key(&key).send().await.expect(200).number("value"));
    }
    let last = user.next().await;
    let holes = last - 1 - acknowledged.len() as u64;
    assert!(
        holes <= calls_without_answer,
        "{holes} numbers are missing, but only {calls_without_answer} calls without a key had no answer"
    );
}

/// What a caller had when the service was killed.
struct Cut {
    numbers: Vec<u64>,
    /// The key of the call under way; nothing where that call had none.
    key: Option<String>,
}

/// Lets callers take numbers, half of them with keys, and kills the service after so many answers.
async fn load_until_killed(service: &Service, user: &User, answers: u64) -> Vec<Cut> {
    let count = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (user, count) = (user.clone(), count.clone());
        clients.spawn(async move {
            let mut numbers = Vec::new();
            loop {
                let key = (client % 2 == 0).then(unique_name);
                let call = user.post("/v1/next");
                let call = key.as_deref().map_or(user.post("/v1/next"), |key| call.key(key));
                match call.try_send().await {
                    Ok(answer) => numbers.push(answer.expect(200).number("value")),
                    Err(_) => return Cut { numbers, key },
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    eventually("the answers before the kill", async || (count.load(Ordering::Relaxed) >= answers).then_some(())).await;
    service.kill9();
    clients.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_file_is_refused() {
    let store = Store::fresh(Kind::Redb).await;
    let first = Service::on(&store, &[]).await;
    let second = launch(&store).run().await;
    assert!(second.code.is_some_and(|code| code != 0), "{second:?}");
    let output = second.output();
    assert!(output.contains(&first.id().to_string()), "the first one's process id is not in:\n{output}");
    first.client().await.register().await.next().await;
}
