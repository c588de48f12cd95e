//! The in-memory store, like Django's `LocMemCache`.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use quick_cache::unsync::Cache;

#[cfg(feature = "who")]
use crate::record::is_tombstone;
use crate::{
    error::Result,
    memcached::{Detail, Found, When, Write},
    record::{Key, Keys, Value},
};

/// Maximum number of records. Beyond it, records that were not used for long are evicted, as in memcached.
const MAX_RECORDS: u64 = 1_000_000;

/// Callback for each key that is stored or deleted. It is called while the store is locked.
#[cfg(feature = "who")]
pub(crate) type Hook = dyn Fn(&Key) + Send + Sync;

#[derive(Debug)]
struct Entry {
    value: Value,
    expires: Instant,
    cas: u64,
}

struct Records {
    cache: Cache<Key, Entry>,
    /// Number of writes so far, which is the CAS token of the last one.
    writes: u64,
    #[cfg(feature = "who")]
    hooks: Vec<std::sync::Weak<Hook>>,
}

#[cfg(feature = "who")]
impl Records {
    fn notify_hooks(&mut self, key: &Key) {
        if !is_tombstone(key.as_str()) {
            self.hooks.retain(|hook| hook.upgrade().map(|hook| hook(key)).is_some());
        }
    }
}

/// The records of this process. There is one lock, because a conditional write must read and write in one step.
pub(crate) struct Memory(Mutex<Records>);

impl Memory {
    pub(super) fn new() -> Self {
        let (few, many) = (64, MAX_RECORDS);
        let cache = Cache::with(few, many, Default::default(), Default::default(), Default::default());
        Self(Mutex::new(Records {
            cache,
            writes: 0,
            #[cfg(feature = "who")]
            hooks: Vec::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        // Nothing panics while the lock is held, so the records are consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what `read` makes of the value, or `None` if there is no value.
    pub(super) fn get<T>(&self, key: &str, read: impl FnOnce(Found<'_>) -> T) -> Option<T> {
        let cache = &mut self.lock().cache;
        let Entry { value, expires, cas } = cache.get(key)?;
        if *expires > Instant::now() {
            return Some(read(Found { flags: value.flags, bytes: &value.bytes, cas: *cas }));
        }
        cache.remove(key);
        None
    }

    pub(super) fn get_many<T>(
        &self,
        keys: &Keys,
        read: impl Fn(u32, Found<'_>) -> Result<T>,
    ) -> Vec<Result<Option<T>>> {
        let get = |index| self.get(keys.get(index), |found| read(index, found)).transpose();
        (0..keys.len() as u32).map(get).collect()
    }

    pub(super) fn detail(&self, key: &Key) -> Detail {
        let records = self.lock();
        let left =
            records.cache.peek(key).and_then(|entry| entry.expires.checked_duration_since(Instant::now()));
        Detail { expires_in: left, ..Detail::default() }
    }

    pub(super) fn set(&self, write: &Write) -> bool {
        let (now, mut records) = (Instant::now(), self.lock());
        let present = records.cache.peek(&write.key).filter(|entry| entry.expires > now);
        let condition_met = match write.when {
            When::Always => true,
            When::Absent => present.is_none(),
            When::Unchanged(cas) => present.is_some_and(|entry| entry.cas == cas),
        };
        if condition_met {
            records.writes += 1;
            let expires = now + Duration::from_secs(u64::from(write.expiry));
            let entry = Entry { value: write.value.clone(), expires, cas: records.writes };
            records.cache.insert(write.key.clone(), entry);
            #[cfg(feature = "who")]
            records.notify_hooks(&write.key);
        }
        condition_met
    }

    #[cfg(feature = "who")]
    pub(super) fn hook(&self, hook: std::sync::Weak<Hook>) {
        self.lock().hooks.push(hook);
    }

    #[cfg(feature = "who")]
    pub(super) fn each_key(&self, f: impl FnMut(&Key)) {
        let (now, records) = (Instant::now(), self.lock());
        let live = records.cache.iter().filter(|(_, entry)| entry.expires > now);
        live.map(|(key, _)| key).filter(|key| !is_tombstone(key.as_str())).for_each(f);
    }

    pub(super) fn delete(&self, key: &Key, cas: Option<u64>) -> bool {
        let mut records = self.lock();
        let cache = &mut records.cache;
        if cas.is_some_and(|cas| cache.peek(key).is_some_and(|entry| entry.cas != cas)) {
            return false;
        }
        let was_there = cache.remove(key).is_some_and(|(_, entry)| entry.expires > Instant::now());
        #[cfg(feature = "who")]
        records.notify_hooks(key);
        was_there
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("records", &self.lock().cache.len()).finish()
    }
}
