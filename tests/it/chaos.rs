//! The promises under faults: real processes, a load of many callers, faults in an order that a seed draws, and a checker
//! of the whole history.
//!
//! The same test is short in the normal run and long with `make chaos`: `CHAOS_SECONDS` and `CHAOS_CALLS` say how much at
//! least, `CHAOS_SEED` repeats the choices of a run (though not how its processes interleave).

mod caller;
pub(crate) mod fault;
mod fleet;
pub(crate) mod load;
mod report;
pub(crate) mod trial;

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::support::history::{Outcome, check};
use crate::support::mongod::ReplicaSet;
use crate::support::stores::{Kind, Store};
use fault::{Fault, MEMBERS, Outage};
use fleet::Fleet;
use load::{HEAVY, MODEST, Running};
use trial::{Trial, kill_and_start_all};

/// What the service may add to an election.
const ADDED_AT_MOST: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_holds_under_every_fault() {
    let seed = setting("CHAOS_SEED").unwrap_or_else(rand::random);
    let (seconds, calls) = (setting("CHAOS_SECONDS").unwrap_or_default(), setting("CHAOS_CALLS").unwrap_or_default());
    let load = if calls > 0 { HEAVY } else { MODEST };
    let begun = Instant::now();
    let mut set = ReplicaSet::start_behind_proxies(MEMBERS).await;
    let mut trial = Trial::start(&set, load.with_seed(seed), &[]).await;
    let mut rng = StdRng::seed_from_u64(seed);
    for (done, fault) in fault::endless(&mut rng).enumerate() {
        trial.calm().await;
        if done >= Fault::ALL.len() && begun.elapsed().as_secs() >= seconds && trial.answered() >= calls {
            break;
        }
        trial.strike(fault, &mut set).await;
    }
    trial.stop().await;
    kill_and_start_all(&mut set).await;
    trial.judge().await.expect_none();
}

#[expect(clippy::disallowed_methods, reason = "these are no settings of the service")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_the_service_is_not_noticed() {
    let mut fleet = Fleet::start(&Store::fresh(Kind::Mongodb).await, &[]).await;
    let mut running = Running::start(&fleet.front, MODEST.with_seed(rand::random())).await;
    running.advance(300).await;
    fleet.rolling_restart().await;
    running.advance(300).await;
    let mut history = running.finish().await;
    history.extend(running.final_reads().await);
    let unknown: Vec<_> = history.iter().filter(|call| call.outcome == Outcome::Unknown).collect();
    assert!(unknown.is_empty(), "{} calls ended unknown: {unknown:?}", unknown.len());
    let findings = check(&history);
    findings.expect_none();
    assert_eq!(findings.holes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_wait_for_an_election_and_not_much_longer() {
    let mut set = ReplicaSet::start(MEMBERS).await;
    let fleet = Fleet::start(&Store::in_mongodb(&set.uri()), &[]).await;
    let mut running = Running::start(&fleet.front, load::LIGHT.with_seed(rand::random())).await;
    let mut outages: Vec<Outage> = Vec::new();
    while outages.len() < 3 {
        running.advance(100).await;
        let primary = set.primary().await;
        set.kill_member(primary);
        outages.push(Outage::measure(&set, &mut running).await);
        set.start_all().await;
    }
    check(&running.finish().await).expect_none();
    eprintln!("{outages:?}");
    // A machine that is busy with other tests may be slow once.
    let in_time = outages.iter().filter(|outage| outage.added() < ADDED_AT_MOST).count();
    assert!(in_time >= 2, "{outages:?}");
}
