//! Broken promises, for tests: the checker that finds nothing in the service must be seen to find these.
//!
//! Compiled with the feature `mutants` alone, and chosen by the environment variable `COUNTER_MUTANT`, which is no setting.

#[cfg(not(debug_assertions))]
compile_error!("the feature `mutants` breaks the promises on purpose: it is for debug builds only");

use std::sync::LazyLock;

use mongodb::action::Find;
use mongodb::options::{ReadConcern, ReadPreference, SelectionCriteria};

/// Writes are acknowledged by the primary alone.
pub(super) const W1: &str = "w1";
/// A batch with an unknown outcome is simply done again.
pub(super) const BLIND_RETRY: &str = "blind_retry";
/// Callers are answered before the commit.
pub(super) const EARLY_ANSWER: &str = "early_answer";
/// Idempotency keys are not recorded.
pub(super) const FORGOTTEN_KEYS: &str = "forgotten_keys";

/// Is this the fault that was chosen?
pub(super) fn is(mutant: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "no setting: it must not be in their reference")]
    static CHOSEN: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("COUNTER_MUTANT").ok());
    CHOSEN.as_deref() == Some(mutant)
}

/// Counters are read from any member, as it happens to have them.
pub(super) fn read<T: Send + Sync>(find: Find<'_, T>) -> Find<'_, T> {
    let anywhere = SelectionCriteria::ReadPreference(ReadPreference::SecondaryPreferred { options: None });
    if is("local_reads") { find.read_concern(ReadConcern::local()).selection_criteria(anywhere) } else { find }
}
