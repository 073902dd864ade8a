//! The checker is seen to fail: each fault that is planted into the service breaks the promise that it should, under the
//! very choices of calls and faults in which the service itself keeps them all.

use crate::chaos::fault::{Fault, MEMBERS};
use crate::chaos::load::MODEST;
use crate::chaos::trial::{Trial, kill_and_start_all};
use crate::support::history::{Findings, Kind};
use crate::support::mongod::ReplicaSet;

/// The planted faults, and what each breaks.
const MUTANTS: [(&str, Kind); 5] = [
    ("w1", Kind::Repeated),
    ("blind_retry", Kind::Hole),
    ("early_answer", Kind::Repeated),
    ("local_reads", Kind::Stale),
    ("forgotten_keys", Kind::KeyRepeated),
];

/// With this one the answers are dropped for longer than an operation may last.
const SEED: u64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn every_mutant_is_found() {
    let mut set = ReplicaSet::start_behind_proxies(MEMBERS).await;
    scenario(&mut set, "none").await.expect_none();
    for (mutant, kind) in MUTANTS {
        let found = scenario(&mut set, mutant).await.kinds();
        eprintln!("{mutant}: {found:?}");
        assert!(found.contains(&kind), "{mutant} breaks {kind:?}, and only {found:?} is found");
    }
}

async fn scenario(set: &mut ReplicaSet, mutant: &str) -> Findings {
    let mut trial = Trial::start(&set.uri(), MODEST.with_seed(SEED), &[("COUNTER_MUTANT", mutant)]).await;
    trial.calm().await;
    for fault in [Fault::DropAnswers, Fault::KillLonelyPrimary] {
        trial.strike(fault, set).await;
        trial.calm().await;
    }
    trial.stop().await;
    kill_and_start_all(set).await;
    trial.judge().await
}
