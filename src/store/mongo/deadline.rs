//! Until when an operation may go on, and how its attempts are spaced.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use super::super::{ErrorType, StoreError};
use super::{SYSTEM, error};
use crate::metrics;

/// The moment at which an operation must have ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    end: Instant,
    timeout: Duration,
}

impl Deadline {
    pub(super) fn after(timeout: Duration) -> Self {
        Self { end: Instant::now() + timeout, timeout }
    }

    /// The deadline of one command that can be repeated: half of the time, so that there is some left for another
    /// server where this one has gone silent. The driver does not always notice that it has.
    pub(super) fn of_an_attempt(self) -> Self {
        let attempt = Self::after(self.timeout / 2);
        if attempt.end < self.end { attempt } else { self }
    }

    pub(super) fn instant(self) -> Instant {
        self.end
    }

    /// What is left, as a limit for the server: at least a millisecond, for zero means "no limit" there.
    pub(super) fn remaining(self) -> Duration {
        self.end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    /// What is left before it is too late to begin an attempt: one that is cut off by the deadline, maybe in its commit, ends
    /// nobody knows how.
    pub(super) fn for_another_attempt(self) -> Duration {
        self.end.saturating_duration_since(Instant::now() + self.timeout / 20)
    }

    /// [`Deadline::remaining`] in milliseconds, as `maxTimeMS` has it.
    pub(super) fn remaining_millis(self) -> i64 {
        const MAX: i64 = i32::MAX as i64;
        #[expect(clippy::disallowed_methods, reason = "maxTimeMS is in whole milliseconds")]
        let millis = self.remaining().as_millis();
        i64::try_from(millis).unwrap_or(MAX).clamp(1, MAX)
    }
}

/// Spaces the attempts of an operation: a few milliseconds after the first, then ever longer, with jitter, so that two
/// replicas that met on one record do not meet again.
pub(super) struct Repeats {
    deadline: Deadline,
    /// How long the driver waits for a server.
    patience: Duration,
    attempts: u32,
}

impl Repeats {
    const FIRST: Duration = Duration::from_millis(4);
    const LONGEST: Duration = Duration::from_millis(250);

    pub(super) fn new(deadline: Deadline, patience: Duration) -> Self {
        Self { deadline, patience: patience + Self::LONGEST, attempts: 0 }
    }

    /// Waits before the next attempt of an operation that failed with `error`. `false` where another attempt would
    /// change nothing or come too late; the error is then the operation's result.
    pub(super) async fn again(&mut self, error: &StoreError) -> bool {
        if matches!(error, StoreError::Conflict(_)) {
            metrics::store_conflict(SYSTEM);
        }
        // An attempt that waits for a server in vain must have the time to say so: cut off by the deadline, it could not
        // tell whether its command was sent.
        let hopeless = error.kind() == ErrorType::ServerSelection && self.deadline.remaining() <= self.patience;
        error::is_passing(error) && !hopeless && self.pause().await
    }

    /// Waits before the next attempt; `false`, at once, where the deadline would pass before it or soon after.
    pub(super) async fn pause(&mut self) -> bool {
        let longest = Self::FIRST.saturating_mul(1 << self.attempts.min(16)).min(Self::LONGEST);
        let pause = longest.mul_f64(rand::rng().random_range(0.5..1.0));
        if pause >= self.deadline.for_another_attempt() {
            return false;
        }
        self.attempts += 1;
        tokio::time::sleep(pause).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Cause;
    use super::*;

    #[test]
    fn a_deadline_that_passed_still_limits_the_server() {
        let deadline = Deadline::after(Duration::ZERO);
        assert_eq!(deadline.remaining_millis(), 1);
        assert_eq!(deadline.remaining(), Duration::from_millis(1));
        assert!(Deadline::after(Duration::from_secs(5)).remaining_millis() <= 5000);
    }

    #[test]
    fn an_attempt_has_half_of_the_time_and_never_more_than_what_is_left() {
        let deadline = Deadline::after(Duration::from_secs(10));
        assert!((4900..=5000).contains(&deadline.of_an_attempt().remaining_millis()));
        let nearly_over = Deadline { end: Instant::now() + Duration::from_secs(1), ..deadline };
        assert!(nearly_over.of_an_attempt().remaining_millis() <= 1000);
    }

    #[tokio::test]
    async fn repeats_end_before_the_deadline_and_only_for_what_passes() {
        let conflict = StoreError::Conflict(Cause::new(ErrorType::Conflict, "write conflict"));
        let started = Instant::now();
        let mut repeats = Repeats::new(Deadline::after(Duration::from_millis(60)), Duration::from_secs(2));
        let mut attempts = 0;
        while repeats.again(&conflict).await {
            attempts += 1;
        }
        assert!(attempts >= 2, "{attempts} attempts");
        assert!(started.elapsed() < Duration::from_millis(200));

        let unserved = StoreError::Unavailable(Cause::new(ErrorType::ServerSelection, "none"));
        let mut repeats = Repeats::new(Deadline::after(Duration::from_secs(2)), Duration::from_secs(2));
        assert!(!repeats.again(&unserved).await);
        let mut repeats = Repeats::new(Deadline::after(Duration::from_secs(60)), Duration::from_secs(2));
        assert!(repeats.again(&unserved).await);
        assert!(!repeats.again(&StoreError::OutcomeUnknown(Cause::timeout())).await);
        assert!(!repeats.again(&StoreError::EmailTaken).await);
    }
}
