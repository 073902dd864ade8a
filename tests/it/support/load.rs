//! Many callers at once.

use std::time::Instant;

use tokio::task::JoinSet;

use super::client::User;
use super::history::{Call, Operation, Outcome};

/// How much is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Callers at once.
    pub(crate) clients: usize,
    /// Numbers for each of them.
    pub(crate) each: usize,
    /// How many of ten calls bear an idempotency key; every other one of those is made twice.
    pub(crate) keyed_of_ten: usize,
}

/// Lets many clients take numbers of one counter. They take turns at the replicas that `users`, all one account, speak to.
pub(crate) async fn take_numbers(users: &[User], load: Load) -> Vec<Operation> {
    let since = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..load.clients {
        let user = users[client % users.len()].clone();
        let other = users[(client + 1) % users.len()].clone();
        clients.spawn(async move {
            let mut taken = Vec::with_capacity(load.each);
            for call in 0..load.each {
                let key = (call % 10 < load.keyed_of_ten).then(rand::random);
                taken.push(take(&user, key, since).await);
                if key.is_some() && call.is_multiple_of(2) {
                    taken.push(take(&other, key, since).await);
                }
            }
            taken
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

/// Takes a number of the default counter, and writes the call down. Its times count from `since`.
pub(crate) async fn take(user: &User, key: Option<u64>, since: Instant) -> Operation {
    let call = user.post("/v1/next");
    let began = since.elapsed();
    let answer = match key {
        Some(key) => call.key(&key.to_string()).send().await,
        None => call.send().await,
    };
    let ended = since.elapsed();
    let outcome = match answer.json["code"].as_str() {
        Some("outcome_unknown" | "idempotency_key_in_flight") => Outcome::Unknown,
        Some("store_unavailable") => Outcome::Refused,
        _ => {
            let number = answer.expect(200).number("value");
            Outcome::Took { first: number, last: number }
        }
    };
    Operation { counter: 0, call: Call::Take(1), key, began, ended, outcome }
}
