//! The in-process store, as the post's `LocMemCache`.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use quick_cache::unsync::Cache;

use super::{Item, When, Write};
use crate::record::{Key, Value};

/// Beyond as many records the ones that were not used for long make room, as in memcached.
const MAX_RECORDS: u64 = 1_000_000;

#[derive(Debug)]
struct Entry {
    value: Value,
    expires: Instant,
    cas: u64,
}

#[derive(Debug)]
struct Records {
    cache: Cache<Key, Entry>,
    /// As many writes were made.
    writes: u64,
}

/// Records of this process alone. One lock, since a conditional write has to read and write in one step.
pub(crate) struct Memory(Mutex<Records>);

impl Memory {
    pub(super) fn new() -> Self {
        let (few, many) = (64, MAX_RECORDS);
        let cache = Cache::with(few, many, Default::default(), Default::default(), Default::default());
        Self(Mutex::new(Records { cache, writes: 0 }))
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &Key) -> Option<Item> {
        let cache = &mut self.lock().cache;
        let entry = cache.get(key)?;
        match entry.expires.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => {
                Some(Item { value: entry.value.clone(), expires_in: Some(left), cas: entry.cas })
            }
            _ => {
                cache.remove(key);
                None
            }
        }
    }

    pub(super) fn set(&self, write: &Write) -> bool {
        let (now, mut records) = (Instant::now(), self.lock());
        let present = records.cache.peek(&write.key).filter(|entry| entry.expires > now);
        let holds = match write.when {
            When::Always => true,
            When::Absent => present.is_none(),
            When::Present => present.is_some(),
            When::Unchanged(cas) => present.is_some_and(|entry| entry.cas == cas),
        };
        if holds {
            records.writes += 1;
            let expires = now + Duration::from_secs(u64::from(write.expiry));
            let entry = Entry { value: write.value.clone(), expires, cas: records.writes };
            records.cache.insert(write.key.clone(), entry);
        }
        holds
    }

    pub(super) fn delete(&self, key: &Key, cas: Option<u64>) -> bool {
        let cache = &mut self.lock().cache;
        if cas.is_some_and(|cas| cache.peek(key).is_some_and(|entry| entry.cas != cas)) {
            return false;
        }
        cache.remove(key).is_some_and(|(_, entry)| entry.expires > Instant::now())
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("records", &self.lock().cache.len()).finish()
    }
}
