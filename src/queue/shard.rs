//! A shard of the queue: some of the queued users, under one lock.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
    mem,
};

use chrono::{DateTime, Utc};
use hashbrown::HashTable;

use super::{Counts, Ended, Queued, guard::Renewal};
use crate::record::Key;

/// A queued sighting. The type is kept small, because each queued user has one.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// When the user was last seen, or was last kept online by a guard, in microseconds since 1970.
    pub(super) micros: i64,
    /// A tombstone of this time or later cancels the sighting; in microseconds since 1970.
    pub(super) as_of: i64,
    /// Time of a record that an earlier attempt has added, and that may still be in the store, in Unix seconds; 0 if
    /// there is none.
    pub(super) added: u32,
    /// The sighting was queued in this second of the queue's lifetime or later; 0 before it is first taken for a flush.
    pub(super) since: u32,
}

impl Entry {
    pub(super) fn at(&self) -> DateTime<Utc> {
        time(self.micros)
    }

    fn queued(&self) -> Queued {
        Queued { at: self.at(), as_of: time(self.as_of) }
    }
}

pub(super) fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    entries: HashTable<Entry>,
    /// The batch that is being written. Readers see it until the flush ends.
    under_way: HashTable<Entry>,
    /// Number of sightings in that batch that are not yet written, cancelled, dropped or queued again.
    unsettled: usize,
    /// Users who are kept online by guards.
    pub(super) renewals: HashMap<Key, Renewal>,
    /// Sign-outs and deletions since the last flush began.
    pub(super) ended: Vec<Ended>,
    pub(super) counts: Counts,
}

impl Shard {
    /// Raises the times of a user who is queued already, by a sighting now. Returns whether the user is queued.
    pub(super) fn raise(&mut self, hash: u64, key: &str, micros: i64, as_of: i64) -> bool {
        let entry = self.entries.find_mut(hash, |entry| entry.key.as_str() == key);
        entry
            .map(|entry| {
                entry.micros = entry.micros.max(micros);
                entry.as_of = entry.as_of.max(as_of);
                entry.since = 0;
            })
            .is_some()
    }

    pub(super) fn insert(&mut self, hash: u64, entry: Entry, hasher: &RandomState) {
        self.entries.insert_unique(hash, entry, |entry| self::hash(hasher, entry.key.as_str()));
    }

    /// Puts back a sighting from the batch, and returns whether the user was queued again meanwhile.
    pub(super) fn put_back(&mut self, hash: u64, taken: Entry, hasher: &RandomState) -> bool {
        let Some(entry) = self.entries.find_mut(hash, |entry| entry.key == taken.key) else {
            self.insert(hash, taken, hasher);
            return false;
        };
        entry.micros = entry.micros.max(taken.micros);
        entry.as_of = entry.as_of.max(taken.as_of);
        entry.added = taken.added;
        true
    }

    /// Removes the user from the queue, and returns the time that was queued.
    pub(super) fn remove(&mut self, hash: u64, key: &str) -> Option<DateTime<Utc>> {
        let found = self.entries.find_entry(hash, |entry| entry.key.as_str() == key).ok()?;
        Some(found.remove().0.at())
    }

    /// Returns the user's newest sighting that is queued or being written.
    pub(super) fn seen(&self, hash: u64, key: &str) -> Option<Queued> {
        let is_user = |entry: &Entry| entry.key.as_str() == key;
        let found = [self.entries.find(hash, is_user), self.under_way.find(hash, is_user)];
        found.into_iter().flatten().map(Entry::queued).max()
    }

    /// Returns the time of the user's sighting that is being written.
    pub(super) fn under_way(&self, hash: u64, key: &str) -> Option<DateTime<Utc>> {
        self.under_way.find(hash, |entry| entry.key.as_str() == key).map(Entry::at)
    }

    /// Begins a batch of all queued sightings, and moves the sign-outs and deletions to `ended`.
    pub(super) fn take(&mut self, ended: &mut Vec<Ended>) -> impl Iterator<Item = &Entry> {
        ended.append(&mut self.ended);
        mem::swap(&mut self.entries, &mut self.under_way);
        self.unsettled = self.under_way.len();
        self.under_way.iter()
    }

    /// Ends the batch. Keeps its table for the next batch, which needs about the same size, unless it is far too large.
    pub(super) fn end_batch(&mut self) {
        let used = self.under_way.len();
        if self.under_way.capacity() > 64.max(4 * used) {
            self.under_way = HashTable::new();
        } else {
            self.under_way.clear();
        }
    }

    /// Notes that this many sightings of the batch are written, cancelled, dropped or queued again.
    pub(super) fn settled(&mut self, count: usize) {
        self.unsettled = self.unsettled.saturating_sub(count);
    }

    /// Ends the user's guards if the user's last real sighting is not after `as_of`.
    pub(super) fn end_guards(&mut self, key: &Key, as_of: i64) {
        if self.renewals.get(key).is_some_and(|renewal| renewal.as_of <= as_of)
            && let Some(renewal) = self.renewals.remove(key)
        {
            renewal.end();
        }
    }

    /// Returns the users whose guards are due, with the time of their last real sighting. Removes dropped guards, and
    /// updates the last real sighting of users who are queued.
    pub(super) fn due_renewals(&mut self, hasher: &RandomState, second: u32, every: u32) -> Vec<(Key, i64)> {
        let (entries, mut due) = (&self.entries, Vec::new());
        self.renewals.retain(|key, renewal| {
            let hash = hash(hasher, key.as_str());
            if let Some(entry) = entries.find(hash, |entry| entry.key == *key) {
                renewal.as_of = renewal.as_of.max(entry.as_of);
            }
            let lives = renewal.kept().is_some();
            if lives && renewal.due <= second {
                renewal.due = second + every;
                due.push((key.clone(), renewal.as_of));
            }
            lives
        });
        due
    }

    /// Returns whether the user signed out or was forgotten since the batch began, at `micros` or later.
    pub(super) fn has_ended_since(&self, key: &Key, micros: i64) -> bool {
        self.ended.iter().any(|ended| ended.key == *key && micros <= ended.at.timestamp_micros())
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { queued: (self.entries.len() + self.unsettled) as u64, ..self.counts }
    }
}

/// Hashes the bytes of the key. The terminator that hashing a `str` adds is needed only if other fields follow.
pub(super) fn hash(hasher: &RandomState, key: &str) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(key.as_bytes());
    hasher.finish()
}
