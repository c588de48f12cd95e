//! What the tracker asks of a store: one process's memory, or memcached.

#[cfg(feature = "tokio")]
mod asynchronous;
mod memory;

use std::sync::Arc;

#[cfg(feature = "tokio")]
pub(crate) use asynchronous::AsyncStore;
#[cfg(feature = "who")]
pub(crate) use memory::Hook;

#[cfg(feature = "who")]
use crate::memcached::Remote;
use crate::{
    error::Result,
    memcached::{Item, Memcached, ServerStatus, Write},
    record::{Key, Value},
    settings::{Servers, Settings},
};
use memory::Memory;

#[derive(Debug)]
pub(crate) enum Store {
    Memory(Arc<Memory>),
    Memcached(Memcached),
}

impl Store {
    pub(crate) fn memory() -> Self {
        Self::Memory(Arc::new(Memory::new()))
    }

    pub(crate) fn new(servers: Servers, settings: &Settings) -> Self {
        match servers {
            Servers::Memory => Self::memory(),
            Servers::Memcached(servers) => Self::Memcached(Memcached::new(servers, settings)),
        }
    }

    /// The same store for work in the background: waits longer for a server, on connections of its own.
    pub(crate) fn patient(&self) -> Self {
        match self {
            Self::Memory(memory) => Self::Memory(memory.clone()),
            Self::Memcached(memcached) => Self::Memcached(memcached.patient()),
        }
    }

    /// The same store for async code, with connections of its own.
    #[cfg(feature = "tokio")]
    pub(crate) fn asynchronous(&self) -> AsyncStore {
        match self {
            Self::Memory(memory) => AsyncStore::Memory(memory.clone()),
            Self::Memcached(memcached) => AsyncStore::Memcached(memcached.asynchronous()),
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Value>> {
        match self {
            Self::Memory(memory) => Ok(memory.get(key).map(|item| item.value)),
            Self::Memcached(memcached) => memcached.get(key),
        }
    }

    /// One answer a key, in order, in one round trip a server and [`BATCH_MAX`](crate::memcached::BATCH_MAX).
    pub(crate) fn get_many(&self, keys: Vec<&Key>) -> Vec<Result<Option<Value>>> {
        match self {
            Self::Memory(memory) => {
                keys.into_iter().map(|key| Ok(memory.get(key).map(|item| item.value))).collect()
            }
            Self::Memcached(memcached) => memcached.get_many(keys),
        }
    }

    pub(crate) fn inspect(&self, key: &Key) -> Result<Option<Item>> {
        match self {
            Self::Memory(memory) => Ok(memory.get(key)),
            Self::Memcached(memcached) => memcached.inspect(key),
        }
    }

    /// As [`get_many`](Self::get_many), with what [`inspect`](Self::inspect) tells.
    pub(crate) fn inspect_many(&self, keys: Vec<&Key>) -> Vec<Result<Option<Item>>> {
        match self {
            Self::Memory(memory) => keys.into_iter().map(|key| Ok(memory.get(key))).collect(),
            Self::Memcached(memcached) => memcached.inspect_many(keys),
        }
    }

    /// Says whether it was written: `false` where [`When`](crate::memcached::When) did not hold.
    pub(crate) fn set(&self, write: &Write) -> Result<bool> {
        match self {
            Self::Memory(memory) => Ok(memory.set(write)),
            Self::Memcached(memcached) => memcached.set(write),
        }
    }

    /// One answer a write, in order, in one round trip a server and [`BATCH_MAX`](crate::memcached::BATCH_MAX).
    pub(crate) fn set_many(&self, writes: &[Write]) -> Vec<Result<bool>> {
        match self {
            Self::Memory(memory) => writes.iter().map(|write| Ok(memory.set(write))).collect(),
            Self::Memcached(memcached) => memcached.set_many(writes),
        }
    }

    /// Says whether there was a record; with a [`cas`](Item::cas), whether it was still that one.
    pub(crate) fn delete(&self, key: &Key, cas: Option<u64>) -> Result<bool> {
        match self {
            Self::Memory(memory) => Ok(memory.delete(key, cas)),
            Self::Memcached(memcached) => memcached.delete(key, cas),
        }
    }

    /// The server that holds the key, as the settings name it.
    pub(crate) fn server_of(&self, key: &Key) -> &str {
        match self {
            Self::Memory(_) => "memory:",
            Self::Memcached(memcached) => memcached.server_of(key),
        }
    }

    /// The servers that can be asked for a list of keys, or for news; none for a store in memory.
    #[cfg(feature = "who")]
    pub(crate) fn remotes(&self) -> Vec<Remote> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Memcached(memcached) => memcached.remotes(),
        }
    }

    /// The keys that are in this process; none for memcached.
    #[cfg(feature = "who")]
    pub(crate) fn each_key(&self, f: impl FnMut(&Key)) {
        if let Self::Memory(memory) = self {
            memory.each_key(f);
        }
    }

    /// Calls `hook` with each key that is stored in this process, as long as it lives.
    #[cfg(feature = "who")]
    pub(crate) fn hook(&self, hook: std::sync::Weak<Hook>) {
        if let Self::Memory(memory) = self {
            memory.hook(hook);
        }
    }

    pub(crate) fn server_status(&self) -> Vec<ServerStatus> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Memcached(memcached) => memcached.server_status(),
        }
    }
}
