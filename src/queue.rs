//! Queued sightings, and the sign-outs and deletions that cancel them.

mod guard;
mod shard;

use std::{
    fmt::Display,
    hash::RandomState,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    error::Result,
    record::{Key, KeyBuffer, Keys, Kind, TOMBSTONE_TIMEOUT},
};
pub use guard::OnlineGuard;
use guard::{Kept, Renewal};
use shard::{Entry, Shard};

/// Sharded so that threads that queue different users rarely contend for a lock.
const SHARDS: usize = 64;

/// A sighting that is to be written.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) key: Key,
    pub(crate) at: DateTime<Utc>,
    /// A tombstone of this time or later cancels the sighting. This is `at`, or the time of the user's last real
    /// sighting if a guard renews it.
    pub(crate) as_of: DateTime<Utc>,
    /// Time of a record that an earlier attempt has added for this sighting, and that may still be in the store.
    pub(crate) added: Option<DateTime<Utc>>,
    shard: usize,
    /// The sighting was queued in this second of the queue's lifetime or later.
    since: u32,
}

impl Sighting {
    /// Returns a sighting that does not come from a queue.
    pub(crate) fn new(key: Key, at: DateTime<Utc>) -> Self {
        Self { key, at, as_of: at, added: None, shard: 0, since: 0 }
    }
}

/// A sign-out or a `forget`.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) key: Key,
    pub(crate) kind: Kind,
    pub(crate) at: DateTime<Utc>,
}

/// The newest times of a user in the queue when the user signed out or was forgotten.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cancelled {
    /// Time of the queued sighting that was cancelled.
    pub(crate) queued: Option<DateTime<Utc>>,
    /// Time of the sighting that was being written.
    pub(crate) under_way: Option<DateTime<Utc>>,
}

/// The newest sighting of a user that is queued or being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Queued {
    pub(crate) at: DateTime<Utc>,
    /// As in [`Sighting`].
    pub(crate) as_of: DateTime<Utc>,
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

/// The queue of one recorder: each user once, with the newest time.
#[derive(Debug)]
pub(crate) struct Queue {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    capacity: usize,
    /// Seconds after which a guard queues its user again.
    keep_every: u32,
    /// Number of users in all shards, including those that are being written.
    users: AtomicUsize,
    closed: AtomicBool,
    /// Whether the writer has ended, so that nothing is taken from the queue any more.
    ended: AtomicBool,
    /// Sign-outs and deletions that failed. Each has the time up to which a record counts as older.
    unfinished: Mutex<Vec<(Ended, DateTime<Utc>)>>,
    created: Instant,
    /// The second of the queue's lifetime in which the last flush began.
    last_flush: AtomicU32,
}

impl Queue {
    pub(crate) fn new(capacity: usize, online_timeout: Duration) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            capacity,
            keep_every: u32::try_from(online_timeout.as_secs() / 3).unwrap_or(u32::MAX / 2).max(1),
            users: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            unfinished: Mutex::default(),
            created: Instant::now(),
            last_flush: AtomicU32::new(1),
        }
    }

    /// Queues a sighting, at a time in microseconds since 1970. Does no I/O, and does not allocate if the user is
    /// queued already.
    pub(crate) fn enqueue(&self, prefix: &str, user: impl Display, micros: i64) -> Result<()> {
        let mut buffer = KeyBuffer::default();
        let key = buffer.key(prefix, user)?;
        let (hash, mut shard) = self.shard_of(key);
        self.add(&mut shard, hash, key, micros, micros);
        Ok(())
    }

    fn add(&self, shard: &mut Shard, hash: u64, key: &str, micros: i64, as_of: i64) {
        shard.counts.seen += 1;
        if shard.raise(hash, key, micros, as_of) {
            shard.counts.coalesced += 1;
        } else if self.closed.load(Ordering::Relaxed) || !self.reserve_place() {
            shard.counts.dropped += 1;
        } else {
            let entry = Entry { key: Key::from(key), micros, as_of, added: 0, since: 0 };
            shard.insert(hash, entry, &self.hasher);
        }
    }

    /// Queues a sighting now, and again every `keep_every` seconds for as long as the guard lives.
    pub(crate) fn keep_online(&self, prefix: &str, user: impl Display, micros: i64) -> Result<OnlineGuard> {
        let mut buffer = KeyBuffer::default();
        let key = buffer.key(prefix, user)?;
        let (hash, mut shard) = self.shard_of(key);
        self.add(&mut shard, hash, key, micros, micros);
        if self.closed.load(Ordering::Relaxed) {
            return Ok(OnlineGuard { kept: None });
        }
        if let Some(renewal) = shard.renewals.get_mut(key)
            && let Some(kept) = renewal.kept()
        {
            renewal.as_of = renewal.as_of.max(micros);
            return Ok(OnlineGuard { kept: Some(kept) });
        }
        let (kept, due) = (Arc::new(Kept::default()), self.second().saturating_add(self.keep_every));
        shard.renewals.insert(Key::from(key), Renewal::new(&kept, micros, due));
        Ok(OnlineGuard { kept: Some(kept) })
    }

    /// Returns the current second of the queue's lifetime. The first one is 1.
    fn second(&self) -> u32 {
        u32::try_from(self.created.elapsed().as_secs()).unwrap_or(u32::MAX - 1) + 1
    }

    fn reserve_place(&self) -> bool {
        let taken = self.users.fetch_add(1, Ordering::Relaxed) < self.capacity;
        if !taken {
            self.users.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// Raises the user's queued sighting to one that the tracker is about to write itself, so that the queue does not
    /// move the record back. If the user is being written instead, queues this sighting too, because that write may be
    /// taken back.
    fn seen_directly(&self, key: &Key, at: DateTime<Utc>) {
        let (hash, mut shard) = self.shard_of(key.as_str());
        let micros = at.timestamp_micros();
        let queued = shard.raise(hash, key.as_str(), micros, micros);
        if !queued && shard.seen(hash, key.as_str()).is_some() {
            self.add(&mut shard, hash, key.as_str(), micros, micros);
        }
    }

    /// Cancels the user's queued sighting and ends the user's guards.
    fn cancel(&self, key: &Key, kind: Kind, at: DateTime<Utc>) -> Cancelled {
        let (hash, mut shard) = self.shard_of(key.as_str());
        let queued = shard.remove(hash, key.as_str());
        if queued.is_some() {
            shard.counts.cancelled += 1;
            self.users.fetch_sub(1, Ordering::Relaxed);
        }
        shard.end_guards(key, i64::MAX);
        if !self.ended.load(Ordering::Relaxed) {
            shard.ended.push(Ended { key: key.clone(), kind, at });
        }
        Cancelled { queued, under_way: shard.under_way(hash, key.as_str()) }
    }

    /// Returns the user's newest sighting that is queued or being written.
    fn seen(&self, key: &str) -> Option<Queued> {
        let (hash, shard) = self.shard_of(key);
        shard.seen(hash, key)
    }

    /// Begins a flush. Returns all queued sightings, and the sign-outs and deletions since the last flush began. A user
    /// in both was seen after the sign-out or deletion. Drops sightings that were queued for over a day.
    pub(crate) fn take(&self) -> (Vec<Sighting>, Vec<Ended>) {
        self.take_at(Utc::now, self.second())
    }

    pub(crate) fn take_at(
        &self,
        clock: impl Fn() -> DateTime<Utc>,
        second: u32,
    ) -> (Vec<Sighting>, Vec<Ended>) {
        let (mut batch, mut ended) = (Vec::with_capacity(self.users.load(Ordering::Relaxed)), Vec::new());
        let last_flush = self.last_flush.swap(second, Ordering::Relaxed);
        for (number, shard) in self.shards.iter().enumerate() {
            let mut shard = lock(shard);
            // The clock is read under the lock, so that a sighting queued after the flush began is not ahead of it.
            let now = clock();
            let oldest = (now - TOMBSTONE_TIMEOUT).timestamp_micros();
            for (key, as_of) in shard.due_renewals(&self.hasher, second, self.keep_every) {
                let hash = shard::hash(&self.hasher, key.as_str());
                self.add(&mut shard, hash, key.as_str(), now.timestamp_micros(), as_of);
            }
            let mut dropped = 0;
            for entry in shard.take(&mut ended) {
                let since = if entry.since == 0 { last_flush } else { entry.since };
                let waited = TimeDelta::seconds(i64::from(second - since) + 1);
                // The second clock is for a host that slept: the queue's may have stood still.
                if waited > TOMBSTONE_TIMEOUT || entry.micros < oldest {
                    dropped += 1;
                    continue;
                }
                // A time in the future comes from a clock that was ahead when the sighting was queued, and that was
                // corrected since. It is replaced by a time that is no later than the real one.
                let time = |micros| {
                    let time = shard::time(micros);
                    if time <= now { time } else { now - waited }
                };
                let added = (entry.added > 0).then(|| shard::time(i64::from(entry.added) * 1_000_000));
                let at = time(entry.micros);
                batch.push(Sighting {
                    key: entry.key.clone(),
                    at,
                    as_of: if entry.as_of == entry.micros { at } else { time(entry.as_of) },
                    added,
                    shard: number,
                    since,
                });
            }
            shard.counts.dropped += dropped as u64;
            shard.settled(dropped);
            self.users.fetch_sub(dropped, Ordering::Relaxed);
        }
        (batch, ended)
    }

    /// Ends the flush. All its sightings have been written, cancelled, dropped or queued again.
    pub(crate) fn end_flush(&self) {
        self.shards.iter().for_each(|shard| lock(shard).end_batch());
    }

    /// Counts sightings that are in the store. Consecutive sightings of a shard take its lock once.
    pub(crate) fn written(&self, written: &[Sighting]) {
        self.settled(written, |counts| &mut counts.written);
    }

    /// Counts sightings that a later sign-out or `forget` has cancelled, and ends their users' guards.
    pub(crate) fn cancelled(&self, cancelled: &[Sighting]) {
        for sighting in cancelled {
            lock(&self.shards[sighting.shard]).end_guards(&sighting.key, sighting.as_of.timestamp_micros());
        }
        self.settled(cancelled, |counts| &mut counts.cancelled);
    }

    fn settled(&self, sightings: &[Sighting], count: fn(&mut Counts) -> &mut u64) {
        for same in sightings.chunk_by(|a, b| a.shard == b.shard) {
            let mut shard = lock(&self.shards[same[0].shard]);
            *count(&mut shard.counts) += same.len() as u64;
            shard.settled(same.len());
        }
        self.users.fetch_sub(sightings.len(), Ordering::Relaxed);
    }

    /// Queues a sighting again that was not written, unless it was cancelled meanwhile.
    pub(crate) fn requeue(&self, sighting: Sighting) {
        let micros = sighting.at.timestamp_micros();
        let (hash, mut shard) = self.shard_of(sighting.key.as_str());
        shard.settled(1);
        // If its record may be in the store already, the sighting is queued even so, to check the record again.
        if sighting.added.is_none() && shard.has_ended_since(&sighting.key, micros) {
            shard.counts.cancelled += 1;
        } else {
            let added = sighting.added.and_then(|added| u32::try_from(added.timestamp()).ok());
            let entry = Entry {
                key: sighting.key,
                micros,
                as_of: sighting.as_of.timestamp_micros(),
                added: added.unwrap_or_default(),
                since: sighting.since,
            };
            if !shard.put_back(hash, entry, &self.hasher) {
                return;
            }
            shard.counts.coalesced += 1;
        }
        self.users.fetch_sub(1, Ordering::Relaxed);
    }

    /// Passes a failed sign-out or `forget` to the writer, which retries it. A record of `until` or earlier counts as
    /// older.
    pub(crate) fn retry(&self, ended: Ended, until: DateTime<Utc>) {
        let mut unfinished = lock(&self.unfinished);
        if unfinished.len() < self.capacity && !self.ended.load(Ordering::Relaxed) {
            unfinished.push((ended, until));
        }
    }

    pub(crate) fn take_unfinished(&self) -> Vec<(Ended, DateTime<Utc>)> {
        std::mem::take(&mut *lock(&self.unfinished))
    }

    /// Closes the queue, and returns whether it was closed already. Later sightings are dropped.
    pub(crate) fn close(&self) -> bool {
        self.closed.swap(true, Ordering::Relaxed)
    }

    /// Notes that the writer has ended.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
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
        // The shard's hash table uses the low and the highest bits.
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

/// The queues of one tracker's recorders: usually none or one.
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

    /// Cancels the user's queued sightings and ends the user's guards.
    pub(crate) fn cancel(&self, key: &Key, kind: Kind, at: DateTime<Utc>) -> Cancelled {
        let mut all = Cancelled::default();
        self.each(|queue| {
            let Cancelled { queued, under_way } = queue.cancel(key, kind, at);
            (all.queued, all.under_way) = (all.queued.max(queued), all.under_way.max(under_way));
        });
        all
    }

    /// Passes a failed sign-out or `forget` to the writers, which retry it.
    pub(crate) fn retry(&self, ended: &Ended, until: DateTime<Utc>) {
        self.each(|queue| queue.retry(ended.clone(), until));
    }

    /// Returns the user's newest sighting that is queued or being written.
    pub(crate) fn last_seen(&self, key: &str) -> Option<Queued> {
        let mut seen = None;
        self.each(|queue| seen = seen.max(queue.seen(key)));
        seen
    }

    /// Returns the newest sighting of each user who is queued or being written, with the index of the user's key.
    pub(crate) fn last_seen_of(&self, keys: &Keys) -> Vec<(u32, Queued)> {
        let mut seen: Vec<(u32, Queued)> = Vec::new();
        self.each(|queue| {
            if queue.users.load(Ordering::Relaxed) > 0 {
                let seen_here = |index| Some((index, queue.seen(keys.get(index))?));
                seen.extend((0..keys.len() as u32).filter_map(seen_here));
            }
        });
        seen
    }

    fn each(&self, mut f: impl FnMut(&Queue)) {
        let queues = self.0.read().unwrap_or_else(PoisonError::into_inner);
        queues.iter().filter_map(Weak::upgrade).for_each(|queue| f(&queue));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while a lock is held, so the data behind it is consistent.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(queue: &Queue, user: &str, at: DateTime<Utc>) {
        queue.enqueue("seen_", user, at.timestamp_micros()).unwrap();
    }

    /// Returns the sightings of the next flush, in this second of the queue's lifetime.
    fn flush(queue: &Queue, now: DateTime<Utc>, second: u32) -> Vec<Sighting> {
        queue.take_at(|| now, second).0
    }

    #[test]
    fn a_time_of_a_clock_that_was_ahead_and_is_right_again_is_no_later_than_it_was_noted() {
        let (queue, noted) = (Queue::new(10, Duration::from_secs(300)), Utc::now());
        let right_again = |later| noted + TimeDelta::seconds(later);
        flush(&queue, noted - TimeDelta::seconds(1), 100);
        note(&queue, "alice", noted + TimeDelta::hours(1));
        // Two flushes try to write the sighting, 1 s and 11 s after it was queued, and fail.
        for (second, later) in [(102, 1), (112, 11)] {
            let [sighting] = <[Sighting; 1]>::try_from(flush(&queue, right_again(later), second)).unwrap();
            assert!(sighting.at <= noted && noted - sighting.at <= TimeDelta::seconds(3), "{sighting:?}");
            assert_eq!(sighting.at, sighting.as_of);
            queue.requeue(Sighting {
                at: noted + TimeDelta::hours(1),
                as_of: noted + TimeDelta::hours(1),
                ..sighting
            });
            queue.end_flush();
        }
    }

    #[test]
    fn what_is_noted_while_a_flush_begins_keeps_its_time() {
        let (queue, start) = (Queue::new(100_000, Duration::from_secs(300)), Utc::now());
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..20_000).for_each(|user| note(&queue, &user.to_string(), Utc::now()));
                is_done.store(true, Ordering::Relaxed);
            });
            while !is_done.load(Ordering::Relaxed) {
                for sighting in queue.take().0 {
                    assert!(
                        sighting.at >= start && sighting.as_of >= start,
                        "{sighting:?}, noted after {start}"
                    );
                }
                queue.end_flush();
            }
        });
    }

    #[test]
    fn what_was_queued_for_more_than_a_day_is_dropped_and_counted() {
        let (queue, noted) = (Queue::new(10, Duration::from_secs(300)), Utc::now());
        note(&queue, "alice", noted);
        let day = 24 * 60 * 60;
        for (second, left) in [(1, 1), (day, 1), (day + 2, 0)] {
            let batch = flush(&queue, noted + TimeDelta::seconds(i64::from(second) - 1), second);
            assert_eq!(batch.len(), left, "second {second}");
            batch.into_iter().for_each(|sighting| queue.requeue(sighting));
            queue.end_flush();
            let counts = queue.counts();
            assert_eq!((counts.queued, counts.dropped), (left as u64, 1 - left as u64), "{counts:?}");
        }
    }

    #[test]
    fn who_is_seen_again_after_a_failed_write_has_waited_since_then() {
        let (queue, now) = (Queue::new(10, Duration::from_secs(300)), Utc::now());
        let flushed = |second| <[Sighting; 1]>::try_from(flush(&queue, now, second)).unwrap();
        note(&queue, "alice", now);
        let [sighting] = flushed(10);
        // Once before the write has failed, and once after.
        note(&queue, "alice", now);
        queue.requeue(sighting);
        queue.end_flush();
        let [sighting] = flushed(20);
        assert_eq!(sighting.since, 10);
        queue.requeue(sighting);
        queue.end_flush();
        note(&queue, "alice", now);
        let [sighting] = flushed(30);
        assert_eq!(sighting.since, 20);
    }

    #[test]
    fn what_a_host_kept_while_it_slept_for_over_a_day_is_dropped() {
        let (queue, noted) = (Queue::new(10, Duration::from_secs(300)), Utc::now());
        note(&queue, "alice", noted);
        assert_eq!(flush(&queue, noted + TimeDelta::days(2), 5).len(), 0);
        assert_eq!((queue.counts().dropped, queue.counts().queued), (1, 0));
    }

    #[test]
    fn a_guard_of_a_user_who_came_back_outlives_what_ends_the_one_before() {
        let (queue, now) = (Queue::new(10, Duration::from_secs(300)), Utc::now());
        let at = |seconds| (now + TimeDelta::seconds(seconds)).timestamp_micros();
        let _before = queue.keep_online("seen_", "alice", at(0)).unwrap();
        flush(&queue, now, 2);
        queue.end_flush();
        let renewed = flush(&queue, now + TimeDelta::seconds(150), 152);
        let again = queue.keep_online("seen_", "alice", at(151)).unwrap();
        // A sign-out between the two guards cancels the renewal of the first one.
        queue.cancelled(&renewed);
        assert!(!again.ended());
    }

    #[test]
    fn sign_outs_after_the_last_flush_take_no_memory() {
        let queue = Queue::new(10, Duration::from_secs(300));
        let key = Key::new("seen_", "alice").unwrap();
        let kept = || {
            let ended = Ended { key: key.clone(), kind: Kind::SignedOut, at: Utc::now() };
            queue.cancel(&key, ended.kind, ended.at);
            queue.retry(ended.clone(), ended.at);
            let ended: usize = queue.shards.iter().map(|shard| lock(shard).ended.len()).sum();
            ended + lock(&queue.unfinished).len()
        };
        assert_eq!(kept(), 2);
        queue.take();
        queue.take_unfinished();
        queue.end();
        assert_eq!(kept(), 0);
    }
}
