//! I/O errors: one at every call of a scenario in turn. Each answer says what is true, and the store recovers by itself.

use std::io::ErrorKind;
use std::iter;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::disk::{Disk, Fault};
use super::model::{self, Model, Step, any_step, ask, keyed_calls};
use super::*;

/// How the calls that met an error ended.
#[derive(Debug, Default)]
struct Tally {
    done: u32,
    definite: u32,
    unknown: u32,
}

#[tokio::test]
async fn whatever_call_fails_once_each_answer_is_definite_and_right() {
    let tally = fail_at_every_call(Fault::Once(ErrorKind::Other)).await;
    assert!(tally.done > 0 && tally.definite > 0 && tally.unknown == 0, "{tally:?}");
}

#[tokio::test]
async fn while_a_disk_fails_writes_are_refused_and_none_is_lost_or_repeated() {
    let tally = fail_at_every_call(Fault::Lasting(ErrorKind::StorageFull)).await;
    assert!(tally.definite > 0 && tally.unknown > 0 && tally.done == 0, "{tally:?}");
}

#[tokio::test]
async fn a_full_disk_refuses_definitely_wherever_the_room_ends() {
    let disk = model::new_disk().await;
    for room in (0..600).step_by(13) {
        let disk = disk.copy();
        let store = model::open(&disk, true).await.unwrap();
        disk.limit_room(room);
        let mut expected = Model::default();
        for batch in 0.. {
            let (step, mut after) = (keyed_calls(&format!("batch-{batch}"), 10), expected.clone());
            let reply = after.apply(&step);
            match ask(&store, &step).await {
                Ok(answered) => assert_eq!(answered, reply),
                Err(StoreError::Unavailable(cause)) if cause.kind == ErrorType::DiskFull => {
                    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
                    disk.heal();
                    while store.ping().await.is_err() {}
                    assert!(Model::held_by(&store).await.unwrap() == expected, "room for {room} sectors");
                    assert_eq!(ask(&store, &step).await.unwrap(), reply);
                    break;
                }
                Err(error) => panic!("room for {room} sectors: {error:?}"),
            }
            expected = after;
        }
    }
}

async fn fail_at_every_call(fault: Fault) -> Tally {
    let (disk, steps, mut tally) = (nearly_full_file().await, steps(), Tally::default());
    let healthy = disk.copy();
    let calls = run(&healthy, &steps, None, &mut tally).await;
    assert!(healthy.resizes() > 0, "the file must grow in the scenario");
    for call in 0..calls {
        run(&disk.copy(), &steps, Some((call, fault)), &mut tally).await;
    }
    tally
}

/// A disk with a store whose file grows with the next big batch.
async fn nearly_full_file() -> Disk {
    let disk = model::new_disk().await;
    let store = model::open(&disk, false).await.unwrap();
    let resizes = disk.resizes();
    for batch in 0.. {
        let before = disk.copy();
        ask(&store, &keyed_calls(&format!("filling-{batch}"), 100)).await.unwrap();
        if disk.resizes() > resizes {
            return before;
        }
    }
    unreachable!("the file grows some day")
}

fn steps() -> Vec<Step> {
    let mut dice = StdRng::seed_from_u64(1);
    let small = iter::repeat_with(|| any_step(&mut dice)).take(4);
    small.chain([keyed_calls("growing", 100)]).collect()
}

/// Takes the steps while the call with this number fails. Answers how many calls there were.
async fn run(disk: &Disk, steps: &[Step], fault: Option<(u64, Fault)>, tally: &mut Tally) -> u64 {
    let store = model::open(disk, true).await.unwrap();
    let mut expected = Model::held_by(&store).await.unwrap();
    let before = disk.calls();
    if let Some((call, fault)) = fault {
        disk.fail_after(call, fault);
    }
    for step in steps {
        let (mut after, failures) = (expected.clone(), disk.failures());
        let reply = after.apply(step);
        let possible = match ask(&store, step).await {
            Ok(answered) => {
                assert_eq!(answered, reply, "{fault:?}");
                expected = after;
                tally.done += u32::from(disk.failures() > failures);
                continue;
            }
            Err(StoreError::Unavailable(_)) => {
                tally.definite += 1;
                vec![expected]
            }
            Err(StoreError::OutcomeUnknown(_)) => {
                tally.unknown += 1;
                vec![expected, after]
            }
            Err(error) => panic!("{fault:?}: {error}"),
        };
        assert!(possible.contains(&after_power_failure(disk).await), "{fault:?}: after {step:?}");
        if let Some((_, Fault::Lasting(_))) = fault {
            assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))), "{fault:?}");
            assert!(matches!(ask(&store, step).await, Err(StoreError::Unavailable(_))), "{fault:?}");
        }
        disk.heal();
        while store.ping().await.is_err() {}
        expected = Model::held_by(&store).await.unwrap();
        assert!(possible.contains(&expected), "{fault:?}: after {step:?}");
        assert!(after_power_failure(disk).await == expected, "{fault:?}: after {step:?}");
    }
    assert!(after_power_failure(disk).await == expected, "{fault:?}");
    disk.calls() - before
}

async fn after_power_failure(disk: &Disk) -> Model {
    let store = model::open(&disk.without_what_was_not_synced(), true).await.unwrap();
    Model::held_by(&store).await.unwrap()
}
