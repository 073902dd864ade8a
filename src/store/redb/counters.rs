//! What each operation on counters does within its transaction.

use std::ops::Bound;

use ::redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableHandle, WriteTransaction};

use super::handle::Verdict;
use super::tables::{COUNTERS, EXPIRIES, KEYS, USERS, corrupt, decode, encode};
use super::users::{find_user, update_user};
use crate::domain::{CounterId, CounterName, CounterValue, Timestamp, UserId};
use crate::store::plan::{KeyRecord, Known, Write, plan};
use crate::store::{Answer, Batch, Counter, Group, KeyId, NamedCounter, Rules, StoreError, key_text, keys_of};

/// How many expired keys a commit removes at least. It removes more than it adds, so that they never pile up.
const PRUNED_AT_ONCE: usize = 64;

/// Does what [`plan`] says, and removes some expired keys while it writes anyway.
pub(super) fn commit(
    txn: &WriteTransaction,
    batch: &Batch,
    rules: Rules,
) -> Result<Verdict<Vec<Vec<Answer>>>, StoreError> {
    let known = known(txn, batch)?;
    let plan = plan(batch, &known, rules);
    if plan.writes.is_empty() && plan.records.is_empty() {
        return Ok(Verdict::Abort(plan.answers));
    }
    write_counters(txn, &plan.writes)?;
    let (mut keys, mut expiries) = (txn.open_table(KEYS)?, txn.open_table(EXPIRIES)?);
    for (id, record) in &plan.records {
        let key = key_text(id);
        if let Some(expired) = known.keys.get(id) {
            expiries.remove((expired.expires_at.millis(), key.as_str()))?;
        }
        keys.insert(key.as_str(), encode(record)?.as_slice())?;
        expiries.insert((record.expires_at.millis(), key.as_str()), ())?;
    }
    prune(&mut keys, &mut expiries, batch.now, PRUNED_AT_ONCE.max(2 * plan.records.len()))?;
    Ok(Verdict::Commit(plan.answers))
}

/// Does a batch that only reads.
pub(super) fn read_all(txn: &ReadTransaction, batch: &Batch, rules: Rules) -> Result<Vec<Vec<Answer>>, StoreError> {
    let counters = txn.open_table(COUNTERS)?;
    let mut known = Known::default();
    for Group { counter, .. } in &batch.groups {
        known.counters.extend(find_counter(&counters, counter)?.map(|found| (counter.clone(), found)));
    }
    Ok(plan(batch, &known, rules).answers)
}

fn known(txn: &WriteTransaction, batch: &Batch) -> Result<Known, StoreError> {
    let (counters, users, keys) = (txn.open_table(COUNTERS)?, txn.open_table(USERS)?, txn.open_table(KEYS)?);
    let mut known = Known::default();
    for group in &batch.groups {
        let user = group.counter.user;
        if let Some(counter) = find_counter(&counters, &group.counter)? {
            known.counters.insert(group.counter.clone(), counter);
        } else if let Some(record) = find_user(&users, user)? {
            known.users.insert(user, record.counters);
        }
        for key in group.ops.iter().filter_map(|op| op.key.as_ref()) {
            let id: KeyId = (user, key.key.clone());
            if let Some(bytes) = keys.get(key_text(&id).as_str())? {
                known.keys.insert(id, decode::<KeyRecord>(bytes.value(), KEYS.name())?);
            }
        }
    }
    Ok(known)
}

fn write_counters(txn: &WriteTransaction, writes: &[Write]) -> Result<(), StoreError> {
    let (mut counters, mut users) = (txn.open_table(COUNTERS)?, txn.open_table(USERS)?);
    for Write { counter, before, after } in writes {
        let stored = (after.value.get(), after.version, after.updated_at.millis());
        counters.insert(counter.to_string().as_str(), stored)?;
        if before.is_none() {
            update_user(&mut users, counter.user, |user| user.counters += 1)?;
        }
    }
    Ok(())
}

fn prune(
    keys: &mut Table<'_, &'static str, &'static [u8]>,
    expiries: &mut Table<'_, (i64, &'static str), ()>,
    now: Timestamp,
    limit: usize,
) -> Result<(), StoreError> {
    let end = (now.millis().saturating_add(1), "");
    for entry in expiries.extract_from_if(..end, |_, ()| true)?.take(limit) {
        let (expiry, _) = entry?;
        keys.remove(expiry.value().1)?;
    }
    Ok(())
}

/// Up to `limit` counters of a user, those after `after`.
pub(super) fn counters(
    txn: &ReadTransaction,
    user: UserId,
    after: Option<&CounterName>,
    limit: usize,
) -> Result<Vec<NamedCounter>, StoreError> {
    let table: ReadOnlyTable<_, _> = txn.open_table(COUNTERS)?;
    let [first, end] = keys_of(user);
    let after = after.map(|name| CounterId { user, name: name.clone() }.to_string());
    let start = after.as_deref().map_or(Bound::Included(first.as_str()), Bound::Excluded);
    let mut found = Vec::new();
    for entry in table.range::<&str>((start, Bound::Excluded(end.as_str())))?.take(limit) {
        let (key, stored) = entry?;
        let name = key.value().strip_prefix(&first).and_then(|name| name.parse().ok());
        let name = name.ok_or_else(|| corrupt("the name of a counter is none"))?;
        found.push(NamedCounter { name, counter: decode_counter(stored.value())? });
    }
    Ok(found)
}

/// Removes a counter; `false` where there was none.
pub(super) fn delete_counter(txn: &WriteTransaction, id: &CounterId) -> Result<Verdict<bool>, StoreError> {
    if txn.open_table(COUNTERS)?.remove(id.to_string().as_str())?.is_none() {
        return Ok(Verdict::Abort(false));
    }
    update_user(&mut txn.open_table(USERS)?, id.user, |user| user.counters = user.counters.saturating_sub(1))?;
    Ok(Verdict::Commit(true))
}

fn find_counter(
    counters: &impl ReadableTable<&'static str, (u64, u64, i64)>,
    id: &CounterId,
) -> Result<Option<Counter>, StoreError> {
    counters.get(id.to_string().as_str())?.map(|stored| decode_counter(stored.value())).transpose()
}

fn decode_counter((value, version, updated_at): (u64, u64, i64)) -> Result<Counter, StoreError> {
    let value = CounterValue::new(value).ok_or_else(|| corrupt("the value of a counter lies above the top"))?;
    Ok(Counter { value, version, updated_at: Timestamp::from_millis(updated_at) })
}
