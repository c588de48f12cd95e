//! What the tracker asks of a store: one process's memory, or memcached.

mod breaker;
mod memcached;
mod memory;
mod sharding;

use std::time::Duration;

pub use memcached::{ServerInfo, ServerStatus};

use crate::{
    error::Result,
    record::{Key, Value},
    settings::{Servers, Settings},
};
use memcached::Memcached;
use memory::Memory;

/// One write.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) key: Key,
    pub(crate) value: Value,
    /// Whole seconds, at least one.
    pub(crate) expiry: u32,
    pub(crate) when: When,
}

/// What has to hold for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    Absent,
    Present,
}

/// A value, and how long the store will keep it; `None` for as long as it can.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) value: Value,
    pub(crate) expires_in: Option<Duration>,
}

#[derive(Debug)]
pub(crate) enum Store {
    Memory(Memory),
    Memcached(Memcached),
}

impl Store {
    pub(crate) fn memory() -> Self {
        Self::Memory(Memory::new())
    }

    pub(crate) fn new(servers: Servers, settings: &Settings) -> Self {
        match servers {
            Servers::Memory => Self::memory(),
            Servers::Memcached(servers) => Self::Memcached(Memcached::new(servers, settings)),
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Value>> {
        match self {
            Self::Memory(memory) => Ok(memory.get(key).map(|item| item.value)),
            Self::Memcached(memcached) => memcached.get(key),
        }
    }

    /// One answer a key, in order, in one round trip a server.
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

    /// Says whether it was written: `false` where [`When`] did not hold.
    pub(crate) fn set(&self, write: Write) -> Result<bool> {
        match self {
            Self::Memory(memory) => Ok(memory.set(write)),
            Self::Memcached(memcached) => memcached.set(&write),
        }
    }

    /// One answer a write, in order, in one round trip a server.
    pub(crate) fn set_many(&self, writes: Vec<Write>) -> Vec<Result<bool>> {
        match self {
            Self::Memory(memory) => writes.into_iter().map(|write| Ok(memory.set(write))).collect(),
            Self::Memcached(memcached) => memcached.set_many(writes),
        }
    }

    /// Says whether there was a record.
    pub(crate) fn delete(&self, key: &Key) -> Result<bool> {
        match self {
            Self::Memory(memory) => Ok(memory.delete(key)),
            Self::Memcached(memcached) => memcached.delete(key),
        }
    }

    /// The server that holds the key, as the settings name it.
    pub(crate) fn server_of(&self, key: &Key) -> &str {
        match self {
            Self::Memory(_) => "memory:",
            Self::Memcached(memcached) => memcached.server_of(key),
        }
    }

    pub(crate) fn servers(&self) -> Vec<ServerStatus> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Memcached(memcached) => memcached.servers(),
        }
    }
}
