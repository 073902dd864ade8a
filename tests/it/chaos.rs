//! The promises under faults: real processes, a load of many callers, faults in an order that a seed draws, and a checker
//! of the whole history.
//!
//! The same test is short in the normal run and long with `make chaos`: `CHAOS_SECONDS` and `CHAOS_CALLS` say how much at
//! least, `CHAOS_SEED` repeats the choices of a run (though not how its processes interleave).

pub(crate) mod caller;
pub(crate) mod fault;
pub(crate) mod fleet;
pub(crate) mod load;
pub(crate) mod report;

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::support::history::{Findings, Outcome, check};
use crate::support::mongod::ReplicaSet;
use crate::support::stores::{Kind, Store};
use fault::{Fault, MEMBERS, Outage};
use fleet::Fleet;
use load::{Load, Running};
use report::{Done, Report};

/// Short, so that faults outlast them: then there are unknown outcomes.
const TIMEOUTS: [(&str, &str); 2] = [("COUNTER_STORE_TIMEOUT", "2s"), ("COUNTER_REQUEST_TIMEOUT", "4s")];

/// Successful calls between two faults, at least.
const CALM: u64 = 300;

/// A load that leaves room for the tests beside it.
const MODEST: Load = Load { seed: 0, clients: 24, pace: Duration::from_millis(50) };

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_holds_under_every_fault() {
    let seed = setting("CHAOS_SEED").unwrap_or_else(rand::random);
    let (seconds, calls) = (setting("CHAOS_SECONDS").unwrap_or_default(), setting("CHAOS_CALLS").unwrap_or_default());
    let load = if calls == 0 { MODEST } else { Load { clients: 64, pace: Duration::ZERO, ..MODEST } };
    let begun = Instant::now();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut faults = fault::endless(&mut rng);
    let mut done = 0;
    let next = |answered: u64| {
        done += 1;
        let enough = done > Fault::ALL.len() && begun.elapsed().as_secs() >= seconds && answered >= calls;
        if enough { None } else { faults.next() }
    };
    run(Load { seed, ..load }, &TIMEOUTS, next).await.expect_none();
}

#[expect(clippy::disallowed_methods, reason = "these are no settings of the service")]
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// Lets callers call while faults are done, as long as `next`, which is told how many calls have succeeded, names one.
/// Afterwards everything is killed and started again, and the whole history is checked.
pub(crate) async fn run(load: Load, settings: &[(&str, &str)], mut next: impl FnMut(u64) -> Option<Fault>) -> Findings {
    let begun = Instant::now();
    eprintln!("CHAOS_SEED={}", load.seed);
    let mut set = ReplicaSet::start_behind_proxies(MEMBERS).await;
    let mut fleet = Fleet::start(&Store::in_mongodb(&set.uri()), settings).await;
    let mut running = Running::start(&fleet.front, load).await;
    let mut faults = Vec::new();
    running.advance(CALM).await;
    while let Some(fault) = next(running.answered()) {
        let (at, started) = (begun.elapsed(), Instant::now());
        let outage = fault.apply(&mut set, &mut fleet, &mut running).await;
        faults.push(Done { fault, at, lasted: started.elapsed(), outage });
        running.advance(CALM).await;
    }
    let mut history = running.finish().await;
    (0..MEMBERS).for_each(|member| set.kill_member(member));
    set.start_all().await;
    fleet.kill_and_start_all().await;
    history.extend(running.final_reads().await);
    let findings = check(&history);
    let report =
        Report { seed: load.seed, history: &history, faults: &faults, findings: &findings, lasted: begun.elapsed() };
    eprintln!("{report}");
    findings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_the_service_is_not_noticed() {
    let mut fleet = Fleet::start(&Store::fresh(Kind::Mongodb).await, &[]).await;
    let mut running = Running::start(&fleet.front, Load { seed: rand::random(), ..MODEST }).await;
    running.advance(CALM).await;
    fleet.rolling_restart().await;
    running.advance(CALM).await;
    let mut history = running.finish().await;
    history.extend(running.final_reads().await);
    let unknown: Vec<_> = history.iter().filter(|call| call.outcome == Outcome::Unknown).collect();
    assert!(unknown.is_empty(), "{} calls ended unknown: {unknown:?}", unknown.len());
    let findings = check(&history);
    findings.expect_none();
    assert_eq!(findings.holes, 0);
}

/// What the service may add to an election.
const ADDED_AT_MOST: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn callers_wait_for_an_election_and_not_much_longer() {
    let mut set = ReplicaSet::start(MEMBERS).await;
    let fleet = Fleet::start(&Store::in_mongodb(&set.uri()), &[]).await;
    let mut running = Running::start(&fleet.front, Load { seed: rand::random(), clients: 4, ..MODEST }).await;
    let mut outages = Vec::new();
    // A machine that is busy with other tests can be slow once.
    while outages.len() < 3 && !outages.iter().any(|outage: &Outage| outage.added() < ADDED_AT_MOST) {
        running.advance(CALM).await;
        let primary = set.primary().await;
        set.kill_member(primary);
        outages.push(Outage::measure(&set, &mut running).await);
        set.start_all().await;
    }
    check(&running.finish().await).expect_none();
    eprintln!("{outages:?}");
    let best = outages.iter().map(|outage| outage.added()).min();
    assert!(best.is_some_and(|added| added < ADDED_AT_MOST), "{outages:?}");
}
