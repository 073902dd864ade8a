//! The attempts of a keyed call are one call, from the first attempt's beginning to the first definite answer. A call
//! whose outcome nobody knows never ends: it may be done at any later time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Findings, Kind, Operation, Outcome};

/// The calls without a key as they are, and one for each key.
pub(super) fn fold(operations: &[Operation], findings: &mut Findings) -> Vec<Operation> {
    let mut folded = Vec::with_capacity(operations.len());
    let mut keys: BTreeMap<u64, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        match operation.key {
            None => folded.push(operation.clone()),
            Some(key) => keys.entry(key).or_default().push(operation),
        }
    }
    for attempts in keys.into_values() {
        let began = attempts.iter().map(|attempt| attempt.began).min().unwrap_or_default();
        let mut answers: Vec<&Operation> = attempts.iter().copied().filter(|attempt| is_answer(attempt)).collect();
        answers.sort_by_key(|attempt| attempt.ended);
        let Some(first) = answers.first() else {
            let unknown = attempts.iter().any(|attempt| attempt.outcome == Outcome::Unknown);
            if unknown {
                findings.report(Kind::Undecided, attempts[0].counter, format!("{attempts:?}"));
            }
            let outcome = if unknown { Outcome::Unknown } else { Outcome::Refused };
            folded.push(Operation { began, outcome, ..attempts[0].clone() });
            continue;
        };
        folded.push(Operation { began, ..(*first).clone() });
        for (i, other) in answers.iter().enumerate() {
            // Each other outcome counts once, as a call of its own, so that one fault is not reported as many.
            if answers[..i].iter().all(|earlier| earlier.outcome != other.outcome) && i > 0 {
                findings.report(Kind::KeyRepeated, first.counter, format!("{first:?} and {other:?}"));
                folded.push((*other).clone());
            }
        }
    }
    for operation in folded.iter_mut().filter(|operation| operation.outcome == Outcome::Unknown) {
        operation.ended = Duration::MAX;
    }
    folded
}

fn is_answer(operation: &Operation) -> bool {
    !matches!(operation.outcome, Outcome::Refused | Outcome::Unknown)
}
