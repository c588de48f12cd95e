//! What the recorders of this program have noted and not yet written, and the sign-outs that hold against it.

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

/// Threads that note different users seldom meet.
const SHARDS: usize = 64;

/// What was noted of a user, taken out to be written.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) key: Key,
    pub(crate) at: DateTime<Utc>,
    /// The flush that was next, or under way, when the user was first noted.
    pub(crate) since: u64,
    shard: usize,
}

/// A sign-out or a `forget`, which no sighting from before it may undo.
#[derive(Debug, Clone)]
pub(crate) struct Strike {
    pub(crate) key: Key,
    pub(crate) kind: Kind,
    pub(crate) at: DateTime<Utc>,
    made: Instant,
    /// The flush that was next, or under way, when it was made.
    flush: u64,
}

impl Strike {
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

/// The counters of a [`Pending`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) seen: u64,
    pub(crate) coalesced: u64,
    pub(crate) written: u64,
    pub(crate) dropped: u64,
    pub(crate) struck: u64,
    pub(crate) pending: u64,
}

/// The users of one recorder that are yet to be written: each once, with the newest time.
#[derive(Debug)]
pub(crate) struct Pending {
    shards: [Mutex<Shard>; SHARDS],
    hasher: std::hash::RandomState,
    capacity: usize,
    /// Of all shards, those in a batch under way included.
    users: AtomicUsize,
    /// The flush that is next, or under way.
    flush: AtomicU64,
    closed: AtomicBool,
    /// Whether a hook wants to be told of strikes.
    hooked: bool,
}

impl Pending {
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

    /// Notes a sighting, at a time in microseconds since 1970. No I/O, and no allocation for a user who is noted
    /// already.
    pub(crate) fn note(&self, prefix: &str, user: impl Display, micros: i64) -> Result<()> {
        let mut buffer = KeyBuffer::default();
        let key = buffer.key(prefix, user)?;
        let (hash, mut shard) = self.shard_of(key);
        shard.counts.seen += 1;
        shard.end_strike(key);
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

    /// A handle of the tracker writes a sighting itself: what is pending must not set it back, and no strike
    /// from before holds against it.
    fn seen_directly(&self, key: &Key, at: DateTime<Utc>) {
        let (hash, mut shard) = self.shard_of(key.as_str());
        shard.end_strike(key.as_str());
        shard.raise(hash, key.as_str(), at.timestamp_micros());
    }

    fn strike(&self, key: &Key, kind: Kind, at: DateTime<Utc>) {
        let (hash, mut shard) = self.shard_of(key.as_str());
        if shard.remove(hash, key.as_str()) {
            shard.counts.struck += 1;
            self.users.fetch_sub(1, Ordering::Relaxed);
        }
        let flush = self.flush();
        let strike = Strike { key: key.clone(), kind, at, made: Instant::now(), flush };
        if self.hooked {
            shard.struck.push(strike.clone());
        }
        // Bounded as the users are; what is beyond is not looked at again.
        shard.keep(strike, self.capacity.div_ceil(SHARDS));
    }

    /// Begins a flush: takes out everyone who is pending, and the strikes since the last flush in the order in
    /// which they were made. A user who is in both was seen after the strike.
    pub(crate) fn take(&self) -> (Vec<Noted>, Vec<Strike>) {
        let (mut batch, mut struck) = (Vec::with_capacity(self.users.load(Ordering::Relaxed)), Vec::new());
        for (number, shard) in self.shards.iter().enumerate() {
            let mut taken = lock(shard).take(&mut struck);
            let used = taken.len();
            batch.extend(taken.drain().map(|entry| {
                let (at, since) = (entry.at(), entry.since);
                Noted { key: entry.key, at, since, shard: number }
            }));
            lock(shard).give_back(taken, used);
        }
        (batch, struck)
    }

    /// These were written. Consecutive ones of a batch share a lock.
    pub(crate) fn written(&self, written: &[Noted]) {
        for same in written.chunk_by(|a, b| a.shard == b.shard) {
            let mut shard = lock(&self.shards[same[0].shard]);
            shard.counts.written += same.len() as u64;
            shard.arrived(same.len());
        }
        self.users.fetch_sub(written.len(), Ordering::Relaxed);
    }

    /// This one was not written: it is pending again, unless it was struck meanwhile.
    pub(crate) fn not_written(&self, noted: Noted) {
        let (hash, mut shard) = self.shard_of(noted.key.as_str());
        shard.arrived(1);
        let struck = shard.strike(noted.key.as_str()).is_some_and(|strike| noted.at <= strike.at);
        if struck {
            shard.counts.struck += 1;
        } else if shard.raise_since(hash, noted.key.as_str(), noted.at.timestamp_micros(), noted.since) {
            shard.counts.coalesced += 1;
        } else {
            shard.insert(hash, noted.key, noted.at.timestamp_micros(), noted.since, &self.hasher);
            return;
        }
        self.users.fetch_sub(1, Ordering::Relaxed);
    }

    /// This one cannot be written at all.
    pub(crate) fn give_up(&self, noted: &Noted) {
        let mut shard = lock(&self.shards[noted.shard]);
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

    /// The strikes to look at when the flush of this number ends: those made while it was next or under way,
    /// and those of at least this age.
    pub(crate) fn strikes(&self, flush: u64, age: Duration) -> Vec<Strike> {
        let look = |strike: &&Strike| strike.flush == flush || strike.age() >= age;
        self.shards
            .iter()
            .flat_map(|shard| lock(shard).strikes().filter(look).cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Whether the strike still holds: the user was not seen since, and not struck again.
    pub(crate) fn holds(&self, strike: &Strike) -> bool {
        let (_, shard) = self.shard_of(strike.key.as_str());
        shard.strike(strike.key.as_str()).is_some_and(|now| now.made == strike.made)
    }

    /// The strike need not be looked at any more.
    pub(crate) fn settle(&self, strike: &Strike) {
        let (_, mut shard) = self.shard_of(strike.key.as_str());
        if shard.strike(strike.key.as_str()).is_some_and(|now| now.made == strike.made) {
            shard.end_strike(strike.key.as_str());
        }
    }

    /// Notes nothing more.
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
        self.struck += other.struck;
        self.pending += other.pending;
    }
}

/// The recorders of one tracker: none as a rule, or one.
#[derive(Debug, Default)]
pub(crate) struct Recorders(RwLock<Vec<Weak<Pending>>>);

impl Recorders {
    pub(crate) fn add(&self, pending: &Arc<Pending>) {
        let mut recorders = self.0.write().unwrap_or_else(PoisonError::into_inner);
        recorders.retain(|other| other.strong_count() > 0);
        recorders.push(Arc::downgrade(pending));
    }

    pub(crate) fn seen(&self, key: &Key, at: DateTime<Utc>) {
        self.each(|pending| pending.seen_directly(key, at));
    }

    pub(crate) fn strike(&self, key: &Key, kind: Kind, at: DateTime<Utc>) {
        self.each(|pending| pending.strike(key, kind, at));
    }

    fn each(&self, f: impl Fn(&Pending)) {
        let recorders = self.0.read().unwrap_or_else(PoisonError::into_inner);
        recorders.iter().filter_map(Weak::upgrade).for_each(|pending| f(&pending));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
