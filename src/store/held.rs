//! A store for tests, of what no real one can do: its commits take as long as the test says, and a health check panics.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::plan::{Known, plan};
use super::{
    Answer, Batch, Cause, Counter, ErrorType, Login, LoginHash, LoginUse, NamedCounter, NewUser, PrepareError, Rules,
    Store, StoreError, TokenHash, Unlinked, User,
};
use crate::domain::{CounterId, CounterName, CounterValue, Email, Identity, ProviderName, Timestamp, UserId};

const RULES: Rules = Rules { initial_value: CounterValue::new(0).unwrap(), counters_per_user: 100 };

/// A [`Store`] in memory that does commits and nothing else, and knows every user.
pub(crate) struct Held {
    counters: Mutex<HashMap<CounterId, Counter>>,
    /// One permit lets one commit pass.
    pub(crate) gate: Semaphore,
    /// How many operations each batch had that came.
    pub(crate) batches: Mutex<Vec<usize>>,
    fail: Option<StoreError>,
    /// Every batch with this counter conflicts.
    contested: Option<CounterId>,
    /// Every batch of several counters conflicts.
    divisive: bool,
    under_way: AtomicUsize,
    /// How many commits were under way at once, at the most.
    pub(crate) most_under_way: AtomicUsize,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            counters: Mutex::default(),
            gate: Semaphore::new(0),
            batches: Mutex::default(),
            fail: None,
            contested: None,
            divisive: false,
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        }
    }
}

impl Held {
    pub(crate) fn new() -> Arc<Self> {
        Self::failing(None)
    }

    /// Every commit fails like this, if it fails.
    pub(crate) fn failing(fail: Option<StoreError>) -> Arc<Self> {
        Arc::new(Self { fail, ..Self::default() })
    }

    pub(crate) fn contested(counter: &CounterId) -> Arc<Self> {
        Arc::new(Self { contested: Some(counter.clone()), ..Self::default() })
    }

    /// Every commit of several counters conflicts, and one of a single counter fails like this, if it fails.
    pub(crate) fn divisive(fail: Option<StoreError>) -> Arc<Self> {
        Arc::new(Self { divisive: true, fail, ..Self::default() })
    }
}

#[async_trait]
impl Store for Held {
    fn system(&self) -> &'static str {
        "held"
    }

    fn flights(&self) -> usize {
        1
    }

    async fn commit(&self, batch: &Batch) -> Result<Vec<Vec<Answer>>, StoreError> {
        self.batches.lock().unwrap().push(batch.groups.iter().map(|group| group.ops.len()).sum());
        let under_way = self.under_way.fetch_add(1, Ordering::AcqRel) + 1;
        self.most_under_way.fetch_max(under_way, Ordering::AcqRel);
        self.gate.acquire().await.unwrap().forget();
        self.under_way.fetch_sub(1, Ordering::AcqRel);
        let is_contested = batch.groups.iter().any(|group| Some(&group.counter) == self.contested.as_ref());
        if is_contested || (self.divisive && batch.groups.len() > 1) {
            return Err(StoreError::Conflict(Cause::new(ErrorType::Conflict, "another writer")));
        }
        if let Some(error) = &self.fail {
            return Err(error.clone());
        }
        let mut counters = self.counters.lock().unwrap();
        let users = batch.groups.iter().map(|group| (group.counter.user, 0)).collect();
        let known = Known { counters: counters.clone(), users, ..Known::default() };
        let plan = plan(batch, &known, RULES);
        counters.extend(plan.writes.into_iter().map(|write| (write.counter, write.after)));
        Ok(plan.answers)
    }

    async fn prepare(&self) -> Result<(), PrepareError> {
        unreachable!()
    }
    /// What becomes of a panic is tested with it.
    async fn ping(&self) -> Result<(), StoreError> {
        panic!("planted")
    }
    async fn counters(&self, _: UserId, _: Option<&CounterName>, _: usize) -> Result<Vec<NamedCounter>, StoreError> {
        unreachable!()
    }
    async fn delete_counter(&self, _: &CounterId) -> Result<bool, StoreError> {
        unreachable!()
    }
    async fn create_user(&self, _: &NewUser) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn user_by_identity(&self, _: &Identity) -> Result<Option<User>, StoreError> {
        unreachable!()
    }
    async fn add_identity(&self, _: UserId, _: &Identity) -> Result<bool, StoreError> {
        unreachable!()
    }
    async fn remove_identities(&self, _: UserId, _: &ProviderName) -> Result<Unlinked, StoreError> {
        unreachable!()
    }
    async fn keep_login(&self, _: &LoginHash, _: &Login) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn login(&self, _: &LoginHash, _: LoginUse, _: Timestamp) -> Result<Option<Login>, StoreError> {
        unreachable!()
    }
    async fn user_by_email(&self, _: &Email) -> Result<Option<User>, StoreError> {
        unreachable!()
    }
    async fn user(&self, _: UserId) -> Result<Option<User>, StoreError> {
        unreachable!()
    }
    async fn record_token(&self, _: UserId, _: &TokenHash) -> Result<Option<u64>, StoreError> {
        unreachable!()
    }
    async fn revoke_tokens(&self, _: UserId) -> Result<Option<u64>, StoreError> {
        unreachable!()
    }
    async fn delete_user(&self, _: UserId) -> Result<bool, StoreError> {
        unreachable!()
    }
    async fn close(&self) {}
}
