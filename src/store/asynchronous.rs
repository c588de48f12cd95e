//! What the tracker for async code asks of a store.

use std::sync::Arc;

use super::memory::Memory;
use crate::{
    error::Result,
    memcached::{AsyncMemcached, Item, ServerStatus, Write},
    record::{Key, Value},
};

#[derive(Debug)]
pub(crate) enum AsyncStore {
    Memory(Arc<Memory>),
    Memcached(AsyncMemcached),
}

impl AsyncStore {
    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Value>> {
        match self {
            Self::Memory(memory) => Ok(memory.get(key).map(|item| item.value)),
            Self::Memcached(memcached) => memcached.get(key).await,
        }
    }

    /// One answer a key, in order, from all servers at once.
    pub(crate) async fn get_many(&self, keys: Vec<&Key>) -> Vec<Result<Option<Value>>> {
        match self {
            Self::Memory(memory) => {
                keys.into_iter().map(|key| Ok(memory.get(key).map(|item| item.value))).collect()
            }
            Self::Memcached(memcached) => memcached.get_many(keys).await,
        }
    }

    pub(crate) async fn inspect(&self, key: &Key) -> Result<Option<Item>> {
        match self {
            Self::Memory(memory) => Ok(memory.get(key)),
            Self::Memcached(memcached) => memcached.inspect(key).await,
        }
    }

    pub(crate) async fn set(&self, write: &Write) -> Result<bool> {
        match self {
            Self::Memory(memory) => Ok(memory.set(write)),
            Self::Memcached(memcached) => memcached.set(write).await,
        }
    }

    /// One answer a write, in order, from all servers at once.
    pub(crate) async fn set_many(&self, writes: &[Write]) -> Vec<Result<bool>> {
        match self {
            Self::Memory(memory) => writes.iter().map(|write| Ok(memory.set(write))).collect(),
            Self::Memcached(memcached) => memcached.set_many(writes).await,
        }
    }

    pub(crate) async fn delete(&self, key: &Key) -> Result<bool> {
        match self {
            Self::Memory(memory) => Ok(memory.delete(key, None)),
            Self::Memcached(memcached) => memcached.delete(key).await,
        }
    }

    pub(crate) async fn server_status(&self) -> Vec<ServerStatus> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Memcached(memcached) => memcached.server_status().await,
        }
    }
}
