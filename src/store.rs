//! The store behind a tracker: the memory of this process, or memcached.

mod memory;
#[cfg(test)]
pub(crate) mod step;

use std::sync::Arc;

#[cfg(feature = "who")]
pub(crate) use memory::Hook;

#[cfg(feature = "who")]
use crate::memcached::Remote;
use crate::{
    error::{Error, Result},
    memcached::{Detail, Found, Item, Link, Memcached, ServerStatus, Write},
    record::{Key, Keys},
    settings::{Servers, Settings},
};
use memory::Memory;
#[cfg(test)]
use step::step;

/// A handle on a store. A clone is a handle on the same store. A thread runs the methods that take a [`Link`] with
/// [`run_through`](crate::memcached::run_through), and a task awaits them.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    Memory(Arc<Memory>),
    Memcached(Memcached),
}

impl Store {
    pub(crate) fn memory() -> Self {
        Self::Memory(Arc::new(Memory::new()))
    }

    pub(crate) fn new(servers: Servers, settings: &Settings) -> Result<Self> {
        Ok(match servers {
            Servers::Memory => Self::memory(),
            Servers::Memcached(servers) => Self::Memcached(Memcached::new(servers, settings)?),
        })
    }

    /// Returns a handle on the same store for background work, which waits longer for a server.
    pub(crate) fn with_background_timeout(&self) -> Self {
        match self {
            Self::Memory(memory) => Self::Memory(memory.clone()),
            Self::Memcached(memcached) => Self::Memcached(memcached.with_background_timeout()),
        }
    }

    /// Returns what `read` makes of the value, or `None` if there is no value.
    pub(crate) async fn get<L: Link, T>(
        &self,
        key: &Key,
        read: impl FnOnce(Found<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        match self {
            Self::Memory(memory) => step(|| memory.get(key.as_str(), read)).await?.transpose(),
            Self::Memcached(memcached) => memcached.get::<L, _>(key, false, read).await?.transpose(),
        }
    }

    /// Returns one answer per key, in order: what `read` makes of the key's index and its value, or `None` if there is
    /// no value. With `cas`, values have a CAS token. One round trip to all servers together reads up to
    /// [`BATCH_MAX`](crate::memcached::BATCH_MAX) keys of each.
    pub(crate) async fn get_many<L: Link, T: Send>(
        &self,
        keys: &Keys,
        cas: bool,
        read: impl Fn(u32, Found<'_>) -> Result<T> + Sync,
    ) -> Vec<Result<Option<T>>> {
        match self {
            Self::Memory(memory) => {
                let got = step(|| memory.get_many(keys, read)).await;
                got.unwrap_or_else(|error| failed(&error, keys.len()))
            }
            Self::Memcached(memcached) => memcached.get_many::<L, T>(keys, cas, read).await,
        }
    }

    /// Returns a value with its CAS token.
    pub(crate) async fn item<L: Link>(&self, key: &Key) -> Result<Option<Item>> {
        match self {
            Self::Memory(memory) => step(|| memory.get(key.as_str(), Item::new)).await,
            Self::Memcached(memcached) => memcached.get::<L, _>(key, true, Item::new).await,
        }
    }

    /// Returns an item's metadata. Call this before reading the value, because reading changes the metadata.
    pub(crate) async fn detail<L: Link>(&self, key: &Key) -> Result<Detail> {
        match self {
            Self::Memory(memory) => Ok(memory.detail(key)),
            Self::Memcached(memcached) => memcached.detail::<L>(key).await,
        }
    }

    /// Writes a value. Returns `false` if its condition [`When`](crate::memcached::When) was not met.
    pub(crate) async fn set<L: Link>(&self, write: &Write) -> Result<bool> {
        match self {
            Self::Memory(memory) => step(|| memory.set(write)).await,
            Self::Memcached(memcached) => memcached.set::<L>(write).await,
        }
    }

    /// Performs the writes and returns one result per write, in order.
    pub(crate) async fn set_many<L: Link>(&self, writes: &[Write]) -> Vec<Result<bool>> {
        match self {
            Self::Memory(memory) => {
                let set = || writes.iter().map(|write| Ok(memory.set(write))).collect();
                let set = step(set).await;
                set.unwrap_or_else(|error| failed(&error, writes.len()))
            }
            Self::Memcached(memcached) => memcached.set_many::<L>(writes).await,
        }
    }

    /// Deletes a record, with a [`cas`](Item::cas) only if it is unchanged. Returns whether it was deleted.
    pub(crate) async fn delete<L: Link>(&self, key: &Key, cas: Option<u64>) -> Result<bool> {
        match self {
            Self::Memory(memory) => step(|| memory.delete(key, cas)).await,
            Self::Memcached(memcached) => memcached.delete::<L>(key, cas).await,
        }
    }

    /// Probes each server whose circuit is open, and closes the circuit if the server answers.
    pub(crate) fn probe(&self) {
        if let Self::Memcached(memcached) = self {
            memcached.probe();
        }
    }

    /// Returns the server that holds the key, as the settings name it.
    pub(crate) fn server_of(&self, key: &Key) -> &str {
        match self {
            Self::Memory(_) => "memory:",
            Self::Memcached(memcached) => memcached.server_of(key),
        }
    }

    /// Returns the servers that can list their keys or stream their log; none for an in-memory store.
    #[cfg(feature = "who")]
    pub(crate) fn remotes(&self) -> Vec<Remote> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Memcached(memcached) => memcached.remotes(),
        }
    }

    /// Calls `f` with each key of an in-memory store. Does nothing for memcached.
    #[cfg(feature = "who")]
    pub(crate) fn each_key(&self, f: impl FnMut(&Key)) {
        if let Self::Memory(memory) = self {
            memory.each_key(f);
        }
    }

    /// Calls `hook` with each key that is stored in or deleted from an in-memory store, until the hook is dropped. Does
    /// nothing for memcached.
    #[cfg(feature = "who")]
    pub(crate) fn hook(&self, hook: std::sync::Weak<Hook>) {
        if let Self::Memory(memory) = self {
            memory.hook(hook);
        }
    }

    pub(crate) async fn server_status<L: Link>(&self) -> Vec<ServerStatus> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Memcached(memcached) => memcached.server_status::<L>().await,
        }
    }
}

/// Runs one operation on the in-memory store.
#[cfg(not(test))]
async fn step<T>(operation: impl FnOnce() -> T) -> Result<T> {
    Ok(operation())
}

fn failed<T>(error: &Error, count: usize) -> Vec<Result<T>> {
    std::iter::repeat_with(|| Err(error.clone())).take(count).collect()
}
