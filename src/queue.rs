//! Queued sightings, and the sign-outs and deletions that cancel them.

mod shard;

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use crate::{
    error::Result,
    record::{Key, KeyBuffer},
};
use shard::Shard;

/// Sharded so that threads that queue different users rarely contend for a lock.
const SHARDS: usize = 64;

/// A user's queued sighting, taken out to be written.
#[derive(Debug)]
pub(crate) struct Sighting {
    pub(crate) key: Key,
    pub(crate) at: DateTime<Utc>,
    /// Number of the flush that was current or next when the user was first queued.
    pub(crate) since: u64,
    shard: usize,
}

/// A sign-out or a `forget`, which no sighting from before it may undo.
#[derive(Debug, Clone)]
pub(crate) struct Tombstone {
    pub(crate) key: Key,
    pub(crate) kind: Kind,
    pub(crate) at: DateTime<Utc>,
    made: Instant,
    /// Number of the flush that was current or next when it was made.
    flush: u64,
}

impl Tombstone {
    /// How long ago it was made.
    pub(crate) fn age(&self) -> Duration {
        self.made.elapsed()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    SignedOut,
    Forgotten,
}

/// The counters of a [`Queue`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) seen: u64,
    pub(crate) coalesced: u64,
    pub(crate) written: u64,
    pub(crate) dropped: u64,
    pub(crate) cancelled: u64,
    pub(crate) queued: u64,
}

/// The queued users of one recorder: each once, with the newest time.
#[derive(Debug)]
pub(crate) struct Queue {
    shards: [Mutex<Shard>; SHARDS],
    hasher: std::hash::RandomState,
    capacity: usize,
    /// Of all shards, those in a batch under way included.
    users: AtomicUsize,
    /// The flush that is next, or under way.
    flush: AtomicU64,
    closed: AtomicBool,
    /// Whether a hook hears of tombstones.
    hooked: bool,
}

impl Queue {
    pub(crate) fn new(capacity: usize, hooked: bool) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: std::hash::RandomState::new(),
            capacity,
            users: AtomicUsize::new(0),
            flush: AtomicU64::new(1),
            closed: AtomicBool::new(false),
            hooked,
        }
    }

    /// Queues a sighting, at a time in microseconds since 1970. No I/O, and no allocation for a user who is queued
    /// already.
    pub(crate) fn enqueue(&self, prefix: &str, user: impl Display, micros: i64) -> Result<()> {
        let mut buffer = KeyBuffer::default();
        let key = buffer.key(prefix, user)?;
        let (hash, mut shard) = self.shard_of(key);
        shard.counts.seen += 1;
        shard.clear_tombstone(key);
        if shard.raise(hash, key, micros) {
            shard.counts.coalesced += 1;
        } else if self.closed.load(Ordering::Relaxed) || !self.take_place() {
            shard.counts.dropped += 1;
        } else {
            shard.insert(hash, Key::from(key), micros, self.flush(), &self.hasher);
        }
        Ok(())
    }

    fn take_place(&self) -> bool {
        let taken = self.users.fetch_add(1, Ordering::Relaxed) < self.capacity;
        if !taken {
            self.users.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// A handle of the tracker writes a sighting itself: what is queued must not set it back, and no tombstone
    /// from before cancels it.
    fn seen_directly(&self, key: &Key, at: DateTime<Utc>) {
        let (hash, mut shard) = self.shard_of(key.as_str());
        shard.clear_tombstone(key.as_str());
        shard.raise(hash, key.as_str(), at.timestamp_micros());
    }

    /// Cancels the user's queued sighting; returns whether there was one.
    fn cancel(&self, key: &Key, kind: Kind, at: DateTime<Utc>) -> bool {
        let (hash, mut shard) = self.shard_of(key.as_str());
        let queued = shard.remove(hash, key.as_str());
        if queued {
            shard.counts.cancelled += 1;
            self.users.fetch_sub(1, Ordering::Relaxed);
        }
        let flush = self.flush();
        let tombstone = Tombstone { key: key.clone(), kind, at, made: Instant::now(), flush };
        if self.hooked {
            shard.cancelled.push(tombstone.clone());
        }
        // Signed out after a `forget`: what then arrives from before both is to be erased, not kept as offline.
        let forgotten = shard.tombstone(key.as_str()).is_some_and(|before| before.kind == Kind::Forgotten);
        let tombstone = if forgotten { Tombstone { kind: Kind::Forgotten, ..tombstone } } else { tombstone };
        // Bounded as the users are; what is beyond is not looked at again.
        shard.keep(tombstone, self.capacity.div_ceil(SHARDS));
        queued
    }

    /// Begins a flush: takes out everyone who is queued, and the tombstones since the last flush in the order in
    /// which they were made. A user who is in both was seen after the tombstone.
    pub(crate) fn take(&self) -> (Vec<Sighting>, Vec<Tombstone>) {
        let (mut batch, mut cancelled) = (Vec::with_capacity(self.users.load(Ordering::Relaxed)), Vec::new());
        for (number, shard) in self.shards.iter().enumerate() {
            let mut taken = lock(shard).take(&mut cancelled);
            let used = taken.len();
            batch.extend(taken.drain().map(|entry| {
                let (at, since) = (entry.at(), entry.since);
                Sighting { key: entry.key, at, since, shard: number }
            }));
            lock(shard).give_back(taken, used);
        }
        (batch, cancelled)
    }

    /// These were written. Consecutive ones of a batch share a lock.
    pub(crate) fn written(&self, written: &[Sighting]) {
        for same in written.chunk_by(|a, b| a.shard == b.shard) {
            let mut shard = lock(&self.shards[same[0].shard]);
            shard.counts.written += same.len() as u64;
            shard.arrived(same.len());
        }
        self.users.fetch_sub(written.len(), Ordering::Relaxed);
    }

    /// Queues this one again, which was not written, unless it was cancelled meanwhile.
    pub(crate) fn requeue(&self, sighting: Sighting) {
        let (hash, mut shard) = self.shard_of(sighting.key.as_str());
        shard.arrived(1);
        let cancelled =
            shard.tombstone(sighting.key.as_str()).is_some_and(|tombstone| sighting.at <= tombstone.at);
        if cancelled {
            shard.counts.cancelled += 1;
        } else if shard.raise_since(
            hash,
            sighting.key.as_str(),
            sighting.at.timestamp_micros(),
            sighting.since,
        ) {
            shard.counts.coalesced += 1;
        } else {
            shard.insert(hash, sighting.key, sighting.at.timestamp_micros(), sighting.since, &self.hasher);
            return;
        }
        self.users.fetch_sub(1, Ordering::Relaxed);
    }

    /// Drops this one, which cannot be written at all.
    pub(crate) fn discard(&self, sighting: &Sighting) {
        let mut shard = lock(&self.shards[sighting.shard]);
        shard.arrived(1);
        shard.counts.dropped += 1;
        self.users.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number of the flush that is next, or under way.
    pub(crate) fn flush(&self) -> u64 {
        self.flush.load(Ordering::Relaxed)
    }

    pub(crate) fn end_flush(&self) {
        self.flush.fetch_add(1, Ordering::Relaxed);
    }

    /// The tombstones to look at when the flush of this number ends: those made while it was next or under way,
    /// and those of at least this age.
    pub(crate) fn tombstones(&self, flush: u64, age: Duration) -> Vec<Tombstone> {
        let look = |tombstone: &&Tombstone| tombstone.flush == flush || tombstone.age() >= age;
        self.shards
            .iter()
            .flat_map(|shard| lock(shard).tombstones().filter(look).cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Whether the user was not seen since the tombstone was made, and not signed out again.
    pub(crate) fn is_active(&self, tombstone: &Tombstone) -> bool {
        let (_, shard) = self.shard_of(tombstone.key.as_str());
        shard.tombstone(tombstone.key.as_str()).is_some_and(|now| now.made == tombstone.made)
    }

    /// Drops a tombstone that has done its work.
    pub(crate) fn resolve(&self, tombstone: &Tombstone) {
        let (_, mut shard) = self.shard_of(tombstone.key.as_str());
        if shard.tombstone(tombstone.key.as_str()).is_some_and(|now| now.made == tombstone.made) {
            shard.clear_tombstone(tombstone.key.as_str());
        }
    }

    /// Queues nothing more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for shard in &self.shards {
            counts.add(&lock(shard).counts());
        }
        counts
    }

    fn shard_of(&self, key: &str) -> (u64, MutexGuard<'_, Shard>) {
        let hash = shard::hash(&self.hasher, key);
        // The table inside goes by the low and the highest bits.
        (hash, lock(&self.shards[(hash >> 40) as usize % SHARDS]))
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.seen += other.seen;
        self.coalesced += other.coalesced;
        self.written += other.written;
        self.dropped += other.dropped;
        self.cancelled += other.cancelled;
        self.queued += other.queued;
    }
}

/// The queues of one tracker's recorders: none as a rule, or one.
#[derive(Debug, Default)]
pub(crate) struct Queues(RwLock<Vec<Weak<Queue>>>);

impl Queues {
    pub(crate) fn add(&self, queue: &Arc<Queue>) {
        let mut queues = self.0.write().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|other| other.strong_count() > 0);
        queues.push(Arc::downgrade(queue));
    }

    pub(crate) fn seen(&self, key: &Key, at: DateTime<Utc>) {
        self.each(|queue| queue.seen_directly(key, at));
    }

    /// Cancels the user's queued sightings; returns whether there were any.
    pub(crate) fn cancel(&self, key: &Key, kind: Kind, at: DateTime<Utc>) -> bool {
        let mut queued = false;
        self.each(|queue| queued |= queue.cancel(key, kind, at));
        queued
    }

    fn each(&self, mut f: impl FnMut(&Queue)) {
        let queues = self.0.read().unwrap_or_else(PoisonError::into_inner);
        queues.iter().filter_map(Weak::upgrade).for_each(|queue| f(&queue));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
