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
}

/// Records of this process alone. One lock, since a conditional write has to read and write in one step.
pub(crate) struct Memory(Mutex<Cache<Key, Entry>>);

impl Memory {
    pub(super) fn new() -> Self {
        let few = 64;
        Self(Mutex::new(Cache::with(
            few,
            MAX_RECORDS,
            Default::default(),
            Default::default(),
            Default::default(),
        )))
    }

    fn lock(&self) -> MutexGuard<'_, Cache<Key, Entry>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &Key) -> Option<Item> {
        let mut cache = self.lock();
        let entry = cache.get(key)?;
        match entry.expires.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => {
                Some(Item { value: entry.value.clone(), expires_in: Some(left) })
            }
            _ => {
                cache.remove(key);
                None
            }
        }
    }

    pub(super) fn set(&self, write: Write) -> bool {
        let (now, mut cache) = (Instant::now(), self.lock());
        let present = || cache.peek(&write.key).is_some_and(|entry| entry.expires > now);
        let holds = match write.when {
            When::Always => true,
            When::Absent => !present(),
            When::Present => present(),
        };
        if holds {
            let expires = now + Duration::from_secs(u64::from(write.expiry));
            cache.insert(write.key, Entry { value: write.value, expires });
        }
        holds
    }

    pub(super) fn delete(&self, key: &Key) -> bool {
        self.lock().remove(key).is_some_and(|(_, entry)| entry.expires > Instant::now())
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("records", &self.lock().len()).finish()
    }
}
