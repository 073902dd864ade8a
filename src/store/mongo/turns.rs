//! Turns at making counters: batches of one replica that make counters of one user come one after the other, for each of them
//! changes the user's document, and two at once would meet again and again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex as Lock, PoisonError};

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout_at};

use super::super::{Batch, Cause, ErrorType, StoreError};
use crate::domain::UserId;

/// Whose turn it is, for the users whose counters are being made.
#[derive(Debug, Default)]
pub(super) struct Turns(Lock<HashMap<UserId, Arc<Mutex<()>>>>);

/// The turn of some users, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    /// Those whose turn it is, and the one that is waited for.
    users: Vec<UserId>,
    held: Vec<OwnedMutexGuard<()>>,
}

impl Turns {
    /// The turn of all of these users, if it is nobody else's now.
    pub(super) fn take_if_free(&self, users: &BTreeSet<UserId>) -> Option<Turn<'_>> {
        let mut turn = self.nobodys();
        for user in users {
            turn.users.push(*user);
            turn.held.push(self.of(*user).try_lock_owned().ok()?);
        }
        Some(turn)
    }

    /// Waits for it, behind those who came before. The users come in one order for everybody, so nobody waits in a circle.
    pub(super) async fn wait_for(&self, users: BTreeSet<UserId>, until: Instant) -> Result<Turn<'_>, StoreError> {
        let mut turn = self.nobodys();
        for user in users {
            turn.users.push(user);
            let waited = timeout_at(until, self.of(user).lock_owned()).await;
            let Ok(waited) = waited else {
                return Err(StoreError::Conflict(Cause::new(
                    ErrorType::NoTurn,
                    "other batches make counters of the same user",
                )));
            };
            turn.held.push(waited);
        }
        Ok(turn)
    }

    fn nobodys(&self) -> Turn<'_> {
        Turn { turns: self, users: Vec::new(), held: Vec::new() }
    }

    fn of(&self, user: UserId) -> Arc<Mutex<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(user).or_default().clone()
    }
}

impl Turn<'_> {
    /// Is every counter of this batch one of these users'?
    pub(super) fn is_of_all(&self, batch: &Batch) -> bool {
        batch.groups.iter().all(|group| self.users.contains(&group.counter.user))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.held.clear();
        let mut all = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is kept of a user for whom nobody waits. Of those who go at the same time, the last one finds itself alone.
        for user in self.users.drain(..) {
            if all.get(&user).is_some_and(|turn| Arc::strong_count(turn) == 1) {
                all.remove(&user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_user_is_one_batch_s_at_a_time_and_others_do_not_wait() {
        let turns = Turns::default();
        let [a, b] = [UserId::generate(), UserId::generate()];
        let soon = || Instant::now() + Duration::from_millis(20);
        let of_a = turns.take_if_free(&[a].into()).unwrap();
        assert!(turns.take_if_free(&[a, b].into()).is_none());
        let of_b = turns.take_if_free(&[b].into()).unwrap();
        assert_eq!(turns.wait_for([a].into(), soon()).await.unwrap_err().kind(), ErrorType::NoTurn);
        drop(of_b);
        let until = Instant::now() + Duration::from_secs(20);
        let (waited, ()) = tokio::join!(turns.wait_for([a, b].into(), until), async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(of_a);
        });
        drop(waited.unwrap());
        assert!(turns.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn nothing_is_kept_where_who_waits_goes_after_who_had_the_turn() {
        let turns = Turns::default();
        let user = UserId::generate();
        let held = turns.take_if_free(&[user].into()).unwrap();
        let mut waiting = Box::pin(turns.wait_for([user].into(), Instant::now() + Duration::from_secs(20)));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("it is somebody else's turn"),
            () = std::future::ready(()) => {}
        }
        drop(held);
        drop(waiting);
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
