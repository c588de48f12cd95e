//! The same for async code.

use super::Store;
use crate::{
    error::{Error, Result},
    memcached::{Detail, Found, Item, ServerStatus, Tokio, Write},
    record::{Key, Keys},
};

impl Store {
    pub(crate) async fn get_async<T>(
        &self,
        key: &Key,
        read: impl FnOnce(Found<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        match self {
            Self::Memory(memory) => memory.get(key.as_str(), read).transpose(),
            Self::Memcached(memcached) => memcached.get::<Tokio, _>(key, false, read).await?.transpose(),
        }
    }

    pub(crate) async fn get_many_async<T>(
        &self,
        keys: &Keys,
        read: impl Fn(&str, Found<'_>) -> Result<T>,
    ) -> Vec<Result<Option<T>>> {
        match self {
            Self::Memory(memory) => memory.get_many(keys, read),
            Self::Memcached(memcached) => memcached.get_many_at_once(keys, false, read).await,
        }
    }

    pub(crate) async fn item_async(&self, key: &Key) -> Result<Option<Item>> {
        match self {
            Self::Memory(memory) => Ok(memory.get(key.as_str(), Item::new)),
            Self::Memcached(memcached) => memcached.get::<Tokio, _>(key, true, Item::new).await,
        }
    }

    pub(crate) async fn detail_async(&self, key: &Key) -> Result<Detail> {
        let (store, key) = (self.clone(), key.clone());
        let asked = tokio::task::spawn_blocking(move || store.detail(&key)).await;
        asked.unwrap_or_else(|error| Err(Error::system(std::io::Error::other(error))))
    }

    pub(crate) async fn set_async(&self, write: &Write) -> Result<bool> {
        match self {
            Self::Memory(memory) => Ok(memory.set(write)),
            Self::Memcached(memcached) => memcached.set::<Tokio>(write).await,
        }
    }

    /// From all servers at once.
    pub(crate) async fn set_many_async(&self, writes: &[Write]) -> Vec<Result<bool>> {
        match self {
            Self::Memory(memory) => writes.iter().map(|write| Ok(memory.set(write))).collect(),
            Self::Memcached(memcached) => memcached.set_many_at_once(writes).await,
        }
    }

    pub(crate) async fn delete_async(&self, key: &Key) -> Result<bool> {
        match self {
            Self::Memory(memory) => Ok(memory.delete(key, None)),
            Self::Memcached(memcached) => memcached.delete::<Tokio>(key, None).await,
        }
    }

    pub(crate) async fn server_status_async(&self) -> Vec<ServerStatus> {
        match self {
            Self::Memory(_) => Vec::new(),
            Self::Memcached(memcached) => memcached.server_status_async().await,
        }
    }
}
