//! What the tracker asks of a store: one process's memory, or memcached.

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

/// A clone is a handle on the same store. What takes a [`Link`] is run through by a thread with
/// [`run_through`](crate::memcached::run_through), or awaited by a task.
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

    /// The same store for work in the background, which can wait longer for a server.
    pub(crate) fn with_background_timeout(&self) -> Self {
        match self {
            Self::Memory(memory) => Self::Memory(memory.clone()),
            Self::Memcached(memcached) => Self::Memcached(memcached.with_background_timeout()),
        }
    }

    /// What `read` makes of the value, if there is one.
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

    /// One answer a key, in order, in one round trip to all servers together for each
    /// [`BATCH_MAX`](crate::memcached::BATCH_MAX). `read` is given its place; with a cas if that is asked for.
    pub(crate) async fn get_many<L: Link, T>(
        &self,
        keys: &Keys,
        cas: bool,
        read: impl Fn(u32, Found<'_>) -> Result<T>,
    ) -> Vec<Result<Option<T>>> {
        match self {
            Self::Memory(memory) => {
                let got = step(|| memory.get_many(keys, read)).await;
                got.unwrap_or_else(|error| failed(&error, keys.len()))
            }
            Self::Memcached(memcached) => memcached.get_many::<L, T>(keys, cas, read).await,
        }
    }

    /// A value with its cas.
    pub(crate) async fn item<L: Link>(&self, key: &Key) -> Result<Option<Item>> {
        match self {
            Self::Memory(memory) => step(|| memory.get(key.as_str(), Item::new)).await,
            Self::Memcached(memcached) => memcached.get::<L, _>(key, true, Item::new).await,
        }
    }

    /// What is known of an item beside its value; to be asked before that is read.
    pub(crate) async fn detail<L: Link>(&self, key: &Key) -> Result<Detail> {
        match self {
            Self::Memory(memory) => Ok(memory.detail(key)),
            Self::Memcached(memcached) => memcached.detail::<L>(key).await,
        }
    }

    /// Returns whether it was written: `false` if [`When`](crate::memcached::When) did not hold.
    pub(crate) async fn set<L: Link>(&self, write: &Write) -> Result<bool> {
        match self {
            Self::Memory(memory) => step(|| memory.set(write)).await,
            Self::Memcached(memcached) => memcached.set::<L>(write).await,
        }
    }

    /// One answer a write, in order.
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

    /// Returns whether there was a record; with a [`cas`](Item::cas), whether it was still that one.
    pub(crate) async fn delete<L: Link>(&self, key: &Key, cas: Option<u64>) -> Result<bool> {
        match self {
            Self::Memory(memory) => step(|| memory.delete(key, cas)).await,
            Self::Memcached(memcached) => memcached.delete::<L>(key, cas).await,
        }
    }

    /// Asks servers whose circuit is open whether they are back.
    pub(crate) fn probe(&self) {
        if let Self::Memcached(memcached) = self {
            memcached.probe();
        }
    }

    /// The server that holds the key, as the settings name it.
    pub(crate) fn server_of(&self, key: &Key) -> &str {
        match self {
            Self::Memory(_) => "memory:",
            Self::Memcached(memcached) => memcached.server_of(key),
        }
    }

    /// The servers that can be asked for a list of keys, or for their log; none for a store in memory.
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

    /// Calls `hook` with each key that is stored or deleted in this process, as long as it lives.
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

/// One operation on the store in memory.
#[cfg(not(test))]
async fn step<T>(operation: impl FnOnce() -> T) -> Result<T> {
    Ok(operation())
}

fn failed<T>(error: &Error, count: usize) -> Vec<Result<T>> {
    std::iter::repeat_with(|| Err(error.clone())).take(count).collect()
}
