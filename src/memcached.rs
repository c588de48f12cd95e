//! The memcached client: several servers as one. Nothing outside this folder names the crate `memcache`.

#[cfg(feature = "tokio")]
mod asynchronous;
mod blocking;
mod breaker;
mod peer;
mod probe;
#[cfg(feature = "who")]
mod remote;
mod resolver;
mod sharding;
mod slots;
mod status;
mod wire;

use std::{sync::Arc, time::Duration};

use memcache::exp::Operation;

#[cfg(feature = "tokio")]
pub(crate) use asynchronous::AsyncMemcached;
#[cfg(feature = "who")]
pub(crate) use remote::Remote;
pub use status::{ServerInfo, ServerStatus};

use crate::{
    error::Result,
    record::{Key, Value},
    settings::{Server, Settings},
};
use blocking::Blocking;
use peer::Peer;
use resolver::Lookup;
use sharding::{Placement, gather};

/// The most that a server is asked at a time. All of it is sent before an answer is read, in one `server_timeout`.
pub(crate) const BATCH_MAX: usize = 1_000;

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
    /// The value is still the one that was read with this [`Item::cas`].
    Unchanged(u64),
}

/// A value and what the store knows of it.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) value: Value,
    /// How long it will be kept; `None` for as long as there is room.
    pub(crate) expires_in: Option<Duration>,
    /// Differs after each write.
    pub(crate) cas: u64,
}

/// Some memcached servers, each with a client of its own.
#[derive(Debug)]
pub(crate) struct Memcached {
    placement: Arc<Placement>,
    peers: Vec<Arc<Peer>>,
    servers: Vec<Blocking>,
}

impl Memcached {
    pub(crate) fn new(servers: Vec<Server>, settings: &Settings) -> Self {
        Self::with_lookup(servers, settings, &resolver::system())
    }

    fn with_lookup(servers: Vec<Server>, settings: &Settings, lookup: &Lookup) -> Self {
        let places = servers.iter().map(|server| (server.host(), server.port(), server.weight()));
        let placement = Placement::new(settings.sharding(), places);
        let peer = |server| Arc::new(Peer::new(server, settings, lookup.clone()));
        let peers: Vec<Arc<Peer>> = servers.into_iter().map(peer).collect();
        let servers = peers.iter().cloned().map(Blocking::new).collect();
        Self { placement: Arc::new(placement), peers, servers }
    }

    /// The same servers for a thread in the background, which can wait longer for them.
    pub(crate) fn patient(&self) -> Self {
        let servers = self.peers.iter().cloned().map(Blocking::patient).collect();
        Self { placement: self.placement.clone(), peers: self.peers.clone(), servers }
    }

    /// The same servers for async code, which may ask them all at once.
    #[cfg(feature = "tokio")]
    pub(crate) fn asynchronous(&self) -> AsyncMemcached {
        AsyncMemcached::new(self.placement.clone(), &self.peers)
    }

    fn holder(&self, key: &Key) -> &Blocking {
        &self.servers[self.placement.server_of(key.as_str())]
    }

    pub(crate) fn server_of(&self, key: &Key) -> &str {
        self.peers[self.placement.server_of(key.as_str())].server.name()
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Value>> {
        self.holder(key).run(wire::get(key)).map(wire::value)
    }

    pub(crate) fn get_many(&self, keys: Vec<&Key>) -> Vec<Result<Option<Value>>> {
        self.batch(keys, |key| key.as_str(), |_, _| Ok(()), |key| wire::get(key), wire::value)
    }

    pub(crate) fn inspect(&self, key: &Key) -> Result<Option<Item>> {
        self.holder(key).run(wire::inspect(key)).map(wire::item)
    }

    pub(crate) fn inspect_many(&self, keys: Vec<&Key>) -> Vec<Result<Option<Item>>> {
        self.batch(keys, |key| key.as_str(), |_, _| Ok(()), |key| wire::inspect(key), wire::item)
    }

    pub(crate) fn set(&self, write: &Write) -> Result<bool> {
        let server = self.placement.server_of(write.key.as_str());
        self.peers[server].has_room(&[write])?;
        self.servers[server].run(wire::set(write)).map(|done| wire::done(&done))
    }

    pub(crate) fn set_many(&self, writes: &[Write]) -> Vec<Result<bool>> {
        self.batch(
            writes.iter().collect(),
            |write| write.key.as_str(),
            |peer, writes| peer.has_room(writes),
            |write| wire::set(write),
            |done| wire::done(&done),
        )
    }

    pub(crate) fn delete(&self, key: &Key, cas: Option<u64>) -> Result<bool> {
        self.holder(key).run(wire::delete(key, cas)).map(|done| wire::done(&done))
    }

    /// Asks each server once, in turn, if it takes its share.
    fn batch<T, O: Operation, R>(
        &self,
        items: Vec<T>,
        key: impl Fn(&T) -> &str,
        takes: impl Fn(&Peer, &[T]) -> Result<()>,
        operation: impl Fn(&T) -> O,
        answer: impl Fn(O::Output) -> R,
    ) -> Vec<Result<R>> {
        let shares = self.placement.split(items, key).into_iter().map(|share| {
            let (peer, server) = (&self.peers[share.server], &self.servers[share.server]);
            share.answered(|items| {
                if let Err(error) = takes(peer, &items) {
                    return items.iter().map(|_| Err(error.clone())).collect();
                }
                let answers = server.run_many(&items, &operation);
                answers.into_iter().map(|one| one.map(&answer)).collect()
            })
        });
        gather(shares.collect())
    }

    #[cfg(feature = "who")]
    pub(crate) fn remotes(&self) -> Vec<Remote> {
        self.peers.iter().cloned().map(Remote::new).collect()
    }

    pub(crate) fn server_status(&self) -> Vec<ServerStatus> {
        self.servers.iter().map(Blocking::status).collect()
    }
}
