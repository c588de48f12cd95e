//! One part of the queued users, under a lock of its own.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
    mem,
};

use chrono::{DateTime, Utc};
use hashbrown::HashTable;

use super::{Counts, Tombstone};
use crate::record::Key;

/// Kept small: there is one for each queued user.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    /// Microseconds since 1970.
    micros: i64,
    /// Number of the flush that was current or next when the user was first queued.
    pub(super) since: u64,
}

impl Entry {
    pub(super) fn at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.micros).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    entries: HashTable<Entry>,
    /// The table of the batch before, empty: it has the size that the next one will need.
    spare: HashTable<Entry>,
    /// How many were taken and are neither written nor back.
    under_way: usize,
    tombstones: HashMap<Key, Tombstone>,
    /// The tombstones since the last flush, for the hook.
    pub(super) cancelled: Vec<Tombstone>,
    pub(super) counts: Counts,
}

impl Shard {
    /// Raises the time of a user who is queued already; returns whether one is.
    pub(super) fn raise(&mut self, hash: u64, key: &str, micros: i64) -> bool {
        let entry = self.entries.find_mut(hash, |entry| entry.key.as_str() == key);
        entry.map(|entry| entry.micros = entry.micros.max(micros)).is_some()
    }

    /// Puts back what was taken; returns whether the user was queued again meanwhile.
    pub(super) fn raise_since(&mut self, hash: u64, key: &str, micros: i64, since: u64) -> bool {
        let again = self.raise(hash, key, micros);
        if let Some(entry) = self.entries.find_mut(hash, |entry| entry.key.as_str() == key) {
            entry.since = entry.since.min(since);
        }
        again
    }

    pub(super) fn insert(&mut self, hash: u64, key: Key, micros: i64, since: u64, hasher: &RandomState) {
        let entry = Entry { key, micros, since };
        self.entries.insert_unique(hash, entry, |entry| self::hash(hasher, entry.key.as_str()));
    }

    /// Returns whether the user was queued.
    pub(super) fn remove(&mut self, hash: u64, key: &str) -> bool {
        self.entries.find_entry(hash, |entry| entry.key.as_str() == key).map(|found| found.remove()).is_ok()
    }

    pub(super) fn take(&mut self, cancelled: &mut Vec<Tombstone>) -> HashTable<Entry> {
        cancelled.append(&mut self.cancelled);
        let taken = mem::replace(&mut self.entries, mem::take(&mut self.spare));
        self.under_way += taken.len();
        taken
    }

    /// Takes the table of a batch again, whose entries are gone, unless it is far too large by now.
    pub(super) fn give_back(&mut self, table: HashTable<Entry>, used: usize) {
        if table.capacity() <= 64.max(4 * used) {
            self.spare = table;
        }
    }

    /// These are no longer under way.
    pub(super) fn arrived(&mut self, count: usize) {
        self.under_way = self.under_way.saturating_sub(count);
    }

    pub(super) fn tombstone(&self, key: &str) -> Option<&Tombstone> {
        self.tombstones.get(key)
    }

    pub(super) fn tombstones(&self) -> impl Iterator<Item = &Tombstone> {
        self.tombstones.values()
    }

    pub(super) fn keep(&mut self, tombstone: Tombstone, at_most: usize) {
        if self.tombstones.len() < at_most {
            self.tombstones.insert(tombstone.key.clone(), tombstone);
        }
    }

    /// Drops the tombstone of a user who was seen since.
    pub(super) fn clear_tombstone(&mut self, key: &str) {
        if !self.tombstones.is_empty() {
            self.tombstones.remove(key);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { queued: (self.entries.len() + self.under_way) as u64, ..self.counts }
    }
}

/// The bytes alone: the mark that ends a `str` is for fields that follow, and there are none.
pub(super) fn hash(hasher: &RandomState, key: &str) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(key.as_bytes());
    hasher.finish()
}
