//! The checker is seen to fail: each fault that is planted into the service breaks the promise that it should, under the
//! very choices of calls and faults in which the service itself keeps them all.

use crate::chaos::fault::{Fault, MEMBERS};
use crate::chaos::load::MODEST;
use crate::chaos::trial::{Trial, kill_and_start_all};
use crate::support::history::{Findings, Kind};
use crate::support::mongod::ReplicaSet;

/// The planted faults, what brings each of them out, and the promise that is broken then.
const MUTANTS: [(&str, &[Fault], Kind); 5] = [
    ("w1", &LOSE_WRITES, Kind::Repeated),
    ("blind_retry", &LOSE_ANSWERS, Kind::Hole),
    ("early_answer", &LOSE_WRITES, Kind::Repeated),
    ("local_reads", &LOSE_WRITES, Kind::Stale),
    ("forgotten_keys", &LOSE_ANSWERS, Kind::KeyRepeated),
];

const LOSE_WRITES: [Fault; 2] = [Fault::KillLonelyPrimary; 2];
/// Each of them for a while that is drawn: some for longer than an operation may last.
const LOSE_ANSWERS: [Fault; 4] = [Fault::DropAnswers; 4];

const SEED: u64 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn every_mutant_is_found() {
    let mut set = ReplicaSet::start_behind_proxies(MEMBERS).await;
    for faults in [&LOSE_WRITES[..], &LOSE_ANSWERS] {
        scenario(&mut set, "none", faults).await.expect_none();
    }
    for (mutant, faults, kind) in MUTANTS {
        let found = scenario(&mut set, mutant, faults).await.kinds();
        eprintln!("{mutant}: {found:?}");
        assert!(found.contains(&kind), "{mutant} breaks {kind:?}, and only {found:?} is found");
    }
}

async fn scenario(set: &mut ReplicaSet, mutant: &str, faults: &[Fault]) -> Findings {
    let mut trial = Trial::start(set, MODEST.with_seed(SEED), &[("COUNTER_MUTANT", mutant)]).await;
    trial.calm().await;
    for fault in faults {
        trial.strike(*fault, set).await;
        trial.calm().await;
    }
    trial.stop().await;
    kill_and_start_all(set).await;
    trial.judge().await
}
