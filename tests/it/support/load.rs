//! Many callers at once, and whether the numbers that they got are what was promised.

use std::collections::HashSet;
use std::time::Instant;

use tokio::task::JoinSet;

use super::client::User;
use super::stores::unique_name;

/// A number that somebody got, and when its call began and ended.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) number: u64,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

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
pub(crate) async fn take_numbers(users: &[User], load: Load) -> Vec<Taken> {
    let mut clients = JoinSet::new();
    for client in 0..load.clients {
        let user = users[client % users.len()].clone();
        let other = users[(client + 1) % users.len()].clone();
        clients.spawn(async move {
            let mut taken = Vec::with_capacity(load.each);
            for call in 0..load.each {
                taken.push(take(&user, &other, call, load.keyed_of_ten).await);
            }
            taken
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

async fn take(user: &User, other: &User, call: usize, keyed_of_ten: usize) -> Taken {
    let key = (call % 10 < keyed_of_ten).then(unique_name);
    let next = |user: &User| {
        let request = user.post("/v1/next");
        key.as_deref().map_or(user.post("/v1/next"), |key| request.key(key))
    };
    let began = Instant::now();
    let answer = next(user).send().await.expect(200);
    let ended = Instant::now();
    let number = answer.number("value");
    if key.is_some() && call.is_multiple_of(2) {
        let repeated = next(other).send().await.expect(200);
        if !repeated.replayed() || repeated.number("value") != number {
            repeated.fail(&format!("expected {number} again"));
        }
    }
    Taken { number, began, ended }
}

/// Fails unless the numbers are `first..`, each once, in an order that agrees with real time.
pub(crate) fn assert_gapless_and_in_order(mut taken: Vec<Taken>, first: u64) {
    taken.sort_by_key(|taken| taken.number);
    for (expected, taken) in (first..).zip(&taken) {
        assert_eq!(taken.number, expected, "a number is missing or was handed out twice");
    }
    assert_real_time_order(&taken);
}

/// Fails where a call that ended before another began got the higher number. `taken` is sorted by number.
pub(crate) fn assert_real_time_order(taken: &[Taken]) {
    let mut latest_start: Option<&Taken> = None;
    for taken in taken {
        if let Some(lower) = latest_start {
            assert!(
                taken.ended >= lower.began,
                "{} was answered before the call for {} began",
                taken.number,
                lower.number
            );
        }
        if latest_start.is_none_or(|latest| taken.began > latest.began) {
            latest_start = Some(taken);
        }
    }
}

/// Fails where a number was handed out twice.
pub(crate) fn assert_unique(taken: &[Taken]) {
    let mut seen = HashSet::new();
    for taken in taken {
        assert!(seen.insert(taken.number), "{} was handed out twice", taken.number);
    }
}
