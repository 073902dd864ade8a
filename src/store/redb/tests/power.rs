//! Power failures: what was acknowledged is there, and what was not is there wholly or not at all.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::disk::{Disk, Fault};
use super::model::{self, Model, any_step, ask};
use super::*;

const SEEDS: u64 = 200;
const POWER_FAILURES: usize = 3;

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_power_fails() {
    let disk = model::new_disk().await;
    let mut applied = [0; 2];
    for seed in 0..SEEDS {
        match outlives_power_failures(&disk.copy(), seed).await {
            Ok(unknown) => unknown.into_iter().for_each(|was_applied| applied[usize::from(was_applied)] += 1),
            Err(fault) => panic!("seed {seed}: {fault}"),
        }
    }
    assert!(applied.iter().all(|count| *count > SEEDS / 10), "both ends of an unknown outcome are met: {applied:?}");
}

#[tokio::test]
async fn a_disk_whose_syncs_do_nothing_is_found_out() {
    let disk = model::new_disk().await;
    let mut losses = 0;
    for seed in 0..10 {
        let liar = disk.copy();
        liar.lie();
        losses += u32::from(outlives_power_failures(&liar, seed).await.is_err());
    }
    assert!(losses >= 5, "only {losses} of 10 runs have found a loss");
}

/// Lets the power fail again and again, also while the store is opened. Answers of each call that it cut off whether it
/// had been applied; fails where the store holds anything else than it must.
async fn outlives_power_failures(disk: &Disk, seed: u64) -> Result<Vec<bool>, String> {
    let mut dice = StdRng::seed_from_u64(seed);
    let (mut disk, mut expected) = (disk.clone(), Model::default());
    let mut unknown = Vec::new();
    for _ in 0..POWER_FAILURES {
        let store = model::open(&disk, true).await?;
        disk.fail_after(dice.random_range(0..100), Fault::Power);
        let after = loop {
            let (step, mut after) = (any_step(&mut dice), expected.clone());
            let reply = after.apply(&step);
            match ask(&store, &step).await {
                Ok(answered) if answered == reply => expected = after,
                Ok(answered) => return Err(format!("{step:?} was answered {answered:?} instead of {reply:?}")),
                Err(StoreError::OutcomeUnknown(_)) => break Some(after),
                Err(_) => break None,
            }
        };
        drop(store);
        disk = disk.after_power_failure(&mut dice);
        if dice.random_bool(0.5) {
            disk.fail_after(dice.random_range(0..20), Fault::Power);
            if model::open(&disk, true).await.is_err() {
                disk = disk.after_power_failure(&mut dice);
            }
            disk.heal();
        }
        let found = Model::held_by(&model::open(&disk, true).await?).await.map_err(|error| error.to_string())?;
        let was_applied = after.as_ref() == Some(&found);
        if !was_applied && found != expected {
            return Err(format!("found {found:?}\nbut acknowledged was {expected:?}\nand perhaps {after:?}"));
        }
        unknown.extend(after.is_some().then_some(was_applied));
        expected = found;
    }
    Ok(unknown)
}
