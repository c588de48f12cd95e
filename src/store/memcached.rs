//! The memcached store, on the client crate's meta protocol. Nothing outside this folder names `memcache`.

mod blocking;
mod name;
mod peer;
mod probe;
mod slots;
mod status;
mod wire;

use std::sync::Arc;

pub use status::{ServerInfo, ServerStatus};

use super::{
    Item, Write,
    sharding::{Placement, gather},
};
use crate::{
    error::Result,
    record::{Key, Value},
    settings::{Server, Settings},
};
use blocking::Blocking;
use peer::Peer;

/// Some memcached servers, each with a client of its own.
#[derive(Debug)]
pub(crate) struct Memcached {
    placement: Placement,
    peers: Vec<Arc<Peer>>,
    servers: Vec<Blocking>,
}

impl Memcached {
    pub(super) fn new(servers: Vec<Server>, settings: &Settings) -> Self {
        let places = servers.iter().map(|server| (server.host(), server.port(), server.weight()));
        let placement = Placement::new(settings.sharding(), places);
        let peer = |server| Arc::new(Peer::new(server, settings));
        let peers: Vec<Arc<Peer>> = servers.into_iter().map(peer).collect();
        let servers = peers.iter().cloned().map(Blocking::new).collect();
        Self { placement, peers, servers }
    }

    fn holder(&self, key: &Key) -> &Blocking {
        &self.servers[self.placement.server_of(key.as_str())]
    }

    pub(super) fn server_of(&self, key: &Key) -> &str {
        self.peers[self.placement.server_of(key.as_str())].server.name()
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Value>> {
        self.holder(key).run(wire::get(key)).map(wire::value)
    }

    pub(super) fn get_many(&self, keys: Vec<&Key>) -> Vec<Result<Option<Value>>> {
        let shares = self.placement.split(keys, |key| key.as_str()).into_iter().map(|share| {
            let server = &self.servers[share.server];
            share.answered(|keys| {
                let found = server.run_many(keys.into_iter().map(wire::get).collect());
                found.into_iter().map(|found| found.map(wire::value)).collect()
            })
        });
        gather(shares.collect())
    }

    pub(super) fn inspect(&self, key: &Key) -> Result<Option<Item>> {
        self.holder(key).run(wire::inspect(key)).map(wire::item)
    }

    pub(super) fn set(&self, write: &Write) -> Result<bool> {
        let server = self.placement.server_of(write.key.as_str());
        self.peers[server].has_room([write].into_iter())?;
        self.servers[server].run(wire::set(write)).map(|done| done.applied())
    }

    pub(super) fn set_many(&self, writes: Vec<Write>) -> Vec<Result<bool>> {
        let shares = self.placement.split(writes, |write| write.key.as_str()).into_iter().map(|share| {
            let (peer, server) = (&self.peers[share.server], &self.servers[share.server]);
            share.answered(|writes| {
                if let Err(error) = peer.has_room(writes.iter()) {
                    return writes.iter().map(|_| Err(error.clone())).collect();
                }
                let done = server.run_many(writes.iter().map(wire::set).collect());
                done.into_iter().map(|done| done.map(|done| done.applied())).collect()
            })
        });
        gather(shares.collect())
    }

    pub(super) fn delete(&self, key: &Key) -> Result<bool> {
        self.holder(key).run(wire::delete(key)).map(|done| done.applied())
    }

    pub(super) fn servers(&self) -> Vec<ServerStatus> {
        self.servers.iter().map(Blocking::status).collect()
    }
}
