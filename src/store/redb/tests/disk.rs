//! A disk in memory that loses what was not synced, and fails when it is told to.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Result};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::redb::StorageBackend;
use rand::Rng;
use rand::rngs::StdRng;

/// What a disk writes wholly or not at all.
const SECTOR: usize = 512;

/// How the calls that change something fail, beginning with one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The power is gone: that call is done in part at most, and everything fails from then on.
    Power,
    /// That one fails.
    Once(ErrorKind),
    /// All fail until the disk is healed.
    Lasting(ErrorKind),
}

/// Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What every reader sees: the kernel's cache.
    seen: Vec<u8>,
    /// What is there after a power failure, whatever else is lost.
    durable: Vec<u8>,
    /// What was written and not synced yet, in order.
    pending: Vec<Change>,
    /// How many calls have changed something.
    calls: u64,
    /// How many of those have failed.
    failures: u64,
    /// How many were changes of the length.
    resizes: u64,
    /// Which fault, from which call on.
    fault: Option<(u64, Fault)>,
    lies: bool,
    /// Which sectors take room: those that were ever written. The others are holes.
    taken: BTreeSet<u64>,
    /// How many further ones there is room for.
    room: Option<u64>,
}

#[derive(Debug)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

impl Disk {
    fn with(image: Vec<u8>) -> Self {
        let sectors = (0..).zip(image.chunks(SECTOR));
        let taken = sectors.filter(|(_, sector)| **sector != [0; SECTOR]).map(|(n, _)| n).collect();
        Self(Arc::new(Mutex::new(State { seen: image.clone(), durable: image, taken, ..State::default() })))
    }

    /// Another disk with the same content, all of it durable.
    pub(super) fn copy(&self) -> Self {
        Self::with(self.state().seen.clone())
    }

    /// Lets this fault come with the call after `calls` further ones.
    pub(super) fn fail_after(&self, calls: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.calls + calls, fault));
    }

    /// Leaves room for so many further sectors.
    pub(super) fn limit_room(&self, sectors: u64) {
        self.state().room = Some(sectors);
    }

    /// Ends what [`Disk::fail_after`] and [`Disk::limit_room`] began.
    pub(super) fn heal(&self) {
        let mut state = self.state();
        (state.fault, state.room) = (None, None);
    }

    /// From now on, syncs do nothing and say that they did.
    pub(super) fn lie(&self) {
        self.state().lies = true;
    }

    pub(super) fn calls(&self) -> u64 {
        self.state().calls
    }

    pub(super) fn failures(&self) -> u64 {
        self.state().failures
    }

    pub(super) fn resizes(&self) -> u64 {
        self.state().resizes
    }

    /// What a power failure leaves: of what was not synced nothing, all, the first part, or any sectors.
    pub(super) fn after_power_failure(&self, dice: &mut StdRng) -> Self {
        let state = self.state();
        let mut image = state.durable.clone();
        let (first, kept) = match dice.random_range(0..5) {
            0 => (0, 0.0),
            1 => (state.pending.len(), 1.0),
            2 => (dice.random_range(0..=state.pending.len()), 0.0),
            3 => (0, 0.5),
            _ => (0, 0.9),
        };
        for (n, change) in state.pending.iter().enumerate() {
            if n < first || dice.random_bool(kept) {
                change.apply(&mut image);
            }
        }
        Self::with(image)
    }

    /// What a power failure leaves at worst.
    pub(super) fn without_what_was_not_synced(&self) -> Self {
        Self::with(self.state().durable.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a call that changes something. Fails with the error of the fault, if one is due.
    fn call(&mut self) -> Result<()> {
        let call = self.calls;
        self.calls += 1;
        let error = match self.fault {
            Some((from, Fault::Once(kind))) if call == from => kind.into(),
            Some((from, Fault::Lasting(kind))) if call >= from => kind.into(),
            Some((from, Fault::Power)) if call >= from => Error::other("the power is gone"),
            _ => return Ok(()),
        };
        self.failures += 1;
        Err(error)
    }

    /// The power is gone, and was before this call.
    fn is_off(&self) -> bool {
        matches!(self.fault, Some((from, Fault::Power)) if self.calls > from)
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    /// Writes some bytes, in pieces that can be lost one by one, as far as there is room.
    fn write(&mut self, mut offset: u64, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let sector = offset / SECTOR as u64;
            if !self.taken.contains(&sector) {
                self.room = match self.room {
                    Some(0) => return Err(ErrorKind::StorageFull.into()),
                    room => room.map(|sectors| sectors - 1),
                };
                self.taken.insert(sector);
            }
            let end = usize::try_from((sector + 1) * SECTOR as u64 - offset).unwrap();
            let (piece, rest) = bytes.split_at(end.min(bytes.len()));
            self.change(Change::Write { offset, bytes: piece.to_vec() });
            offset += piece.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn sync(&mut self) {
        for change in mem::take(&mut self.pending) {
            change.apply(&mut self.durable);
        }
    }
}

impl Change {
    /// What lies beyond the end is lost: the length of a file and its content reach the disk one by one.
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => image.resize(usize::try_from(*len).unwrap(), 0),
            Self::Write { offset, bytes } => {
                let start = usize::try_from(*offset).unwrap();
                if let Some(place) = image.get_mut(start..start + bytes.len()) {
                    place.copy_from_slice(bytes);
                }
            }
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64> {
        Ok(self.state().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let state = self.state();
        let start = usize::try_from(offset).unwrap();
        let place = state.seen.get(start..start + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(place);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut state = self.state();
        state.call()?;
        state.resizes += 1;
        state.change(Change::SetLen(len));
        Ok(())
    }

    /// One that fails gives up what it was to write and goes on showing it, as kernels do.
    fn sync_data(&self) -> Result<()> {
        let mut state = self.state();
        let called = state.call();
        match called {
            Ok(()) if !state.lies => state.sync(),
            Err(_) if !matches!(state.fault, Some((_, Fault::Power))) => state.pending.clear(),
            Ok(()) | Err(_) => {}
        }
        called
    }

    /// One that fails has written the first half.
    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut state = self.state();
        let was_off = state.is_off();
        match state.call() {
            Ok(()) => state.write(offset, data),
            Err(error) if was_off => Err(error),
            Err(error) => state.write(offset, &data[..data.len() / 2]).and(Err(error)),
        }
    }
}
