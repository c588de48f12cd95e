//! One part of the queued users, under a lock of its own.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
    mem,
};

use chrono::{DateTime, Utc};
use hashbrown::HashTable;

use super::{Counts, Ended, guard::Renewal};
use crate::record::Key;

/// Kept small: there is one for each queued user.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// Microseconds since 1970: when the user was last seen, or was last kept online by a guard.
    pub(super) micros: i64,
    /// Likewise: a tombstone from then on is younger.
    pub(super) as_of: i64,
    /// The second of a record that was added for it and may stand; 0 if there is none.
    pub(super) added: u32,
    /// The second of the queue's life since which it waits at most; 0 if it was not taken out yet.
    pub(super) since: u32,
}

impl Entry {
    pub(super) fn at(&self) -> DateTime<Utc> {
        time(self.micros)
    }
}

pub(super) fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    entries: HashTable<Entry>,
    /// The batch that is being written: readers see it until it is.
    under_way: HashTable<Entry>,
    /// How many of it are neither written nor back.
    unsettled: usize,
    /// Who is kept online.
    pub(super) renewals: HashMap<Key, Renewal>,
    /// Who signed out or was forgotten since the last flush began.
    ended: Vec<Ended>,
    pub(super) counts: Counts,
}

impl Shard {
    /// Raises the times of a user who is queued already; returns whether one is.
    pub(super) fn raise(&mut self, hash: u64, key: &str, micros: i64, as_of: i64) -> bool {
        let entry = self.entries.find_mut(hash, |entry| entry.key.as_str() == key);
        entry
            .map(|entry| {
                entry.micros = entry.micros.max(micros);
                entry.as_of = entry.as_of.max(as_of);
            })
            .is_some()
    }

    pub(super) fn insert(&mut self, hash: u64, entry: Entry, hasher: &RandomState) {
        self.entries.insert_unique(hash, entry, |entry| self::hash(hasher, entry.key.as_str()));
    }

    /// Puts back what was taken; returns whether the user was queued again meanwhile.
    pub(super) fn put_back(&mut self, hash: u64, taken: Entry, hasher: &RandomState) -> bool {
        let again = self.raise(hash, taken.key.as_str(), taken.micros, taken.as_of);
        if !again {
            self.insert(hash, taken, hasher);
        } else if let Some(entry) = self.entries.find_mut(hash, |entry| entry.key == taken.key) {
            (entry.added, entry.since) = (taken.added, taken.since);
        }
        again
    }

    /// Takes the user out; returns the time that was queued.
    pub(super) fn remove(&mut self, hash: u64, key: &str) -> Option<DateTime<Utc>> {
        let found = self.entries.find_entry(hash, |entry| entry.key.as_str() == key).ok()?;
        Some(found.remove().0.at())
    }

    /// The newest time of the user that is queued or being written.
    pub(super) fn seen(&self, hash: u64, key: &str) -> Option<DateTime<Utc>> {
        let queued = self.entries.find(hash, |entry| entry.key.as_str() == key).map(Entry::at);
        queued.max(self.under_way(hash, key))
    }

    /// The time of the user that is being written.
    pub(super) fn under_way(&self, hash: u64, key: &str) -> Option<DateTime<Utc>> {
        self.under_way.find(hash, |entry| entry.key.as_str() == key).map(Entry::at)
    }

    /// Begins a batch of all that is queued.
    pub(super) fn take(&mut self, ended: &mut Vec<Ended>) -> impl Iterator<Item = &Entry> {
        ended.append(&mut self.ended);
        mem::swap(&mut self.entries, &mut self.under_way);
        self.unsettled = self.under_way.len();
        self.under_way.iter()
    }

    /// The batch is done with. Its table has the size that the next one will need, unless it is far too large by now.
    pub(super) fn end_batch(&mut self) {
        let used = self.under_way.len();
        if self.under_way.capacity() > 64.max(4 * used) {
            self.under_way = HashTable::new();
        } else {
            self.under_way.clear();
        }
    }

    /// These are no longer under way.
    pub(super) fn settled(&mut self, count: usize) {
        self.unsettled = self.unsettled.saturating_sub(count);
    }

    pub(super) fn end(&mut self, ended: Ended) {
        self.end_guards(&ended.key, i64::MAX);
        self.ended.push(ended);
    }

    /// Ends the guards of a user whose last real sighting is not after that.
    pub(super) fn end_guards(&mut self, key: &Key, as_of: i64) {
        if self.renewals.get(key).is_some_and(|renewal| renewal.as_of <= as_of)
            && let Some(renewal) = self.renewals.remove(key)
        {
            renewal.end();
        }
    }

    /// Whose guards are due. Forgets those that were dropped, and takes note of who was really seen.
    pub(super) fn due(&mut self, hasher: &RandomState, second: u32, every: u32) -> Vec<(Key, i64)> {
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

    /// Whether the user signed out or was forgotten since the batch under way began, and after that.
    pub(super) fn has_ended_since(&self, key: &Key, micros: i64) -> bool {
        self.ended.iter().any(|ended| ended.key == *key && micros <= ended.at.timestamp_micros())
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { queued: (self.entries.len() + self.unsettled) as u64, ..self.counts }
    }
}

/// The bytes alone: the mark that ends a `str` is for fields that follow, and there are none.
pub(super) fn hash(hasher: &RandomState, key: &str) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(key.as_bytes());
    hasher.finish()
}
