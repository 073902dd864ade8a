//! The checker is seen to fail: each fault that is planted into the service breaks the promise that it should, under the
//! very choices of calls and faults in which the service itself keeps them all.

use std::collections::{BTreeSet, HashSet};

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
    ("local_reads", &FALL_BEHIND, Kind::Stale),
    ("forgotten_keys", &LOSE_ANSWERS, Kind::KeyRepeated),
];

const LOSE_WRITES: [Fault; 2] = [Fault::KillLonelyPrimary; 2];
/// Each of them for a while that is drawn: some for longer than an operation may last.
const LOSE_ANSWERS: [Fault; 4] = [Fault::DropAnswers; 4];
/// Whoever reads from that member meets what was long ago.
const FALL_BEHIND: [Fault; 2] = [Fault::LagSecondary; 2];

/// What comes first of each trial's choices, and of those that follow where the fault met no call that would show it.
const SEEDS: [u64; 3] = [2, 3, 4];

#[tokio::test(flavor = "multi_thread")]
async fn every_mutant_is_found() {
    let mut set = ReplicaSet::start_behind_proxies(MEMBERS).await;
    // Under these the service itself was seen to keep every promise.
    let mut kept = HashSet::new();
    for (mutant, faults, kind) in MUTANTS {
        let mut found = BTreeSet::new();
        for seed in SEEDS {
            if kept.insert((faults, seed)) {
                scenario(&mut set, "none", faults, seed).await.expect_none();
            }
            found = scenario(&mut set, mutant, faults, seed).await.kinds();
            eprintln!("{mutant}: {found:?}");
            if found.contains(&kind) {
                break;
            }
        }
        assert!(found.contains(&kind), "{mutant} breaks {kind:?}, and only {found:?} is found");
    }
}

async fn scenario(set: &mut ReplicaSet, mutant: &str, faults: &[Fault], seed: u64) -> Findings {
    let mut trial = Trial::start(set, MODEST.with_seed(seed), &[("COUNTER_MUTANT", mutant)]).await;
    trial.calm().await;
    for fault in faults {
        trial.strike(*fault, set).await;
        trial.calm().await;
    }
    trial.stop().await;
    kill_and_start_all(set).await;
    trial.judge().await
}
