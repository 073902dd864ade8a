//! Who has the last word on a write: its caller, whose deadline passed, or the thread that is about to commit it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::{Cause, StoreError};

/// The right to decide about one write, which is taken once. The thread takes it just before it commits; a caller that
/// gives up takes it to call the write off. So a caller always knows whether its write was called off or may be done.
#[derive(Debug, Clone, Default)]
pub(super) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Takes the decision; `false` where the other side has it.
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Has one side decided?
    pub(super) fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Calls the write off, for the caller: definite, unless the thread has begun to commit.
    pub(super) fn give_up(&self, cause: Cause) -> StoreError {
        if self.take() { StoreError::Unavailable(cause) } else { StoreError::OutcomeUnknown(cause) }
    }
}
