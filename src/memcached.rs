//! The memcached client: several servers behind one interface, over the classic text protocol.

mod address;
mod blocking;
mod breaker;
mod connection;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod link;
#[cfg(feature = "meta")]
mod meta;
mod page;
mod pool;
mod probe;
mod protocol;
#[cfg(feature = "who")]
mod remote;
mod resolver;
mod server;
mod sharding;
mod status;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tokio")]
mod tokio;

use std::{sync::Arc, time::Duration};

pub(crate) use protocol::Found;
#[cfg(feature = "who")]
pub(crate) use remote::{Closer, LineConnection, Remote};
pub use status::{ServerInfo, ServerStatus};

#[cfg(feature = "tokio")]
pub(crate) use self::tokio::Tokio;
use crate::{
    error::{Error, Result},
    record::{Key, Value},
    settings::{self, Settings},
};
pub(crate) use blocking::Blocking;
pub(crate) use link::{Link, run_through};
use protocol::{Asked, Change, Changes, Get};
pub(crate) use resolver::Lookup;
use server::Server;
use sharding::Placement;

/// Maximum number of keys or writes in one exchange with a server. Each exchange has its own timeout.
pub(crate) const BATCH_MAX: usize = 1_000;

/// A write of one value, with the condition under which it happens.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) key: Key,
    /// Key that chooses the server, if `key` does not: a tombstone names its record here.
    pub(crate) home: Option<Key>,
    pub(crate) value: Value,
    /// Seconds until the value expires, at least 1.
    pub(crate) expiry: u32,
    pub(crate) when: When,
}

impl Write {
    fn home(&self) -> &Key {
        self.home.as_ref().unwrap_or(&self.key)
    }
}

/// Condition of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    Absent,
    /// Writes only if the value is still the one that was read with this [`Item::cas`].
    Unchanged(u64),
}

/// A value and its CAS token.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) value: Value,
    /// CAS token, which changes with every write; 0 if the server does not support CAS.
    pub(crate) cas: u64,
}

impl Item {
    pub(crate) fn new(found: Found<'_>) -> Self {
        Self { value: Value { flags: found.flags, bytes: found.bytes.to_vec() }, cas: found.cas }
    }
}

/// Metadata of an item. A field is `None` if the store does not report it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Detail {
    /// Time until the item expires; `None` also if it never does.
    pub(crate) expires_in: Option<Duration>,
    /// Time since the item was last read or written.
    pub(crate) idle_for: Option<Duration>,
    /// Whether the item has been read since it was written.
    pub(crate) was_read: Option<bool>,
}

/// Intervals of periodic work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intervals {
    /// Time after which the host name of a server in use is resolved again.
    pub(crate) resolve: Duration,
    /// Idle time after which a connection is closed instead of reused.
    pub(crate) idle: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { resolve: Duration::from_secs(30), idle: Duration::from_secs(60) }
    }
}

/// The memcached servers of a tracker. Clones share connections and circuit breakers.
#[derive(Debug, Clone)]
pub(crate) struct Memcached {
    placement: Arc<Placement>,
    servers: Arc<[Arc<Server>]>,
    /// Timeout of one exchange: `server_timeout`, or at least 1 s for background work.
    patience: Duration,
}

impl Memcached {
    /// Reads the password and certificate files that the settings name. Does not connect.
    pub(crate) fn new(servers: Vec<settings::Server>, settings: &Settings) -> Result<Self> {
        Self::with(servers, settings, &resolver::system(), Intervals::default())
    }

    pub(crate) fn with(
        servers: Vec<settings::Server>,
        settings: &Settings,
        lookup: &Lookup,
        intervals: Intervals,
    ) -> Result<Self> {
        let placement = Placement::new(settings.sharding(), &servers);
        let server = |server| Server::new(server, settings, lookup, intervals);
        let servers = servers.into_iter().map(server).collect::<Result<_>>()?;
        Ok(Self { placement: Arc::new(placement), servers, patience: settings.server_timeout() })
    }

    /// Returns a handle on the same servers for background work, which waits at least 1 s for each answer.
    pub(crate) fn with_background_timeout(&self) -> Self {
        Self { patience: self.patience.max(Duration::from_secs(1)), ..self.clone() }
    }

    fn holder(&self, key: &Key) -> &Arc<Server> {
        &self.servers[self.placement.server_of(key.as_str())]
    }

    pub(crate) fn server_of(&self, key: &Key) -> &str {
        &self.holder(key).name
    }

    /// Returns what `read` makes of the value, or `None` if there is no value.
    pub(crate) async fn get<L: Link, T>(
        &self,
        key: &Key,
        cas: bool,
        read: impl FnOnce(Found<'_>) -> T,
    ) -> Result<Option<T>> {
        let (mut read, mut answer) = (Some(read), None);
        let found = |_, found: Found<'_>| answer = read.take().map(|read| read(found));
        let mut get = Get::new(Asked::One(key.as_str()), cas, found);
        self.holder(key).run::<L, _>(&mut get, self.patience, Get::has_answers).await?;
        Ok(answer)
    }

    pub(crate) async fn set<L: Link>(&self, write: &Write) -> Result<bool> {
        self.change::<L>(self.holder(write.home()), Change::Store(write)).await
    }

    /// Deletes the value, with `cas` only if it is unchanged. Returns whether it was deleted.
    pub(crate) async fn delete<L: Link>(&self, key: &Key, cas: Option<u64>) -> Result<bool> {
        self.change::<L>(self.holder(key), Change::Delete(key, cas)).await
    }

    async fn change<L: Link>(&self, server: &Arc<Server>, change: Change<'_>) -> Result<bool> {
        let (changes, mut answer) = ([change], Ok(false));
        let mut change = Changes::new(&changes, |_, made| answer = made);
        server.run::<L, _>(&mut change, self.patience, Changes::has_answers).await?;
        answer.map_err(|words| server.refused(&words))
    }

    /// Performs the writes and returns one result per write, in order.
    pub(crate) async fn set_many<L: Link>(&self, writes: &[Write]) -> Vec<Result<bool>> {
        let parts = self.split(writes).map(|(server, indexes)| self.set_part::<L>(server, indexes, writes));
        let mut all: Vec<Result<bool>> = Vec::with_capacity(writes.len());
        all.resize_with(writes.len(), || Ok(false));
        for (indexes, answers) in L::all(parts.collect()).await {
            indexes.into_iter().zip(answers).for_each(|(index, answer)| all[index] = answer);
        }
        all
    }

    /// Performs one server's writes in batches, with one exchange each. If an exchange fails, all writes without an
    /// answer fail with its error, and later batches are not sent.
    async fn set_part<L: Link>(
        &self,
        server: &Arc<Server>,
        indexes: Vec<usize>,
        writes: &[Write],
    ) -> (Vec<usize>, Vec<Result<bool>>) {
        let mut answers: Vec<Result<bool>> = Vec::with_capacity(indexes.len());
        for batch in indexes.chunks(BATCH_MAX) {
            let changes: Vec<_> = batch.iter().map(|&index| Change::Store(&writes[index])).collect();
            let mut run = Changes::new(&changes, |_, made: Result<bool, String>| {
                answers.push(made.map_err(|words| server.refused(&words)));
            });
            let ran = server.run::<L, _>(&mut run, self.patience, Changes::has_answers).await;
            if let Err(error) = ran {
                answers.resize_with(indexes.len(), || Err(error.clone()));
                break;
            }
        }
        (indexes, answers)
    }

    /// Returns the indexes of each server's writes. Servers without writes are left out.
    fn split(&self, writes: &[Write]) -> impl Iterator<Item = (&Arc<Server>, Vec<usize>)> {
        let mut split = vec![Vec::new(); self.servers.len()];
        for (index, write) in writes.iter().enumerate() {
            split[self.placement.server_of(write.home().as_str())].push(index);
        }
        self.servers.iter().zip(split).filter(|(_, indexes)| !indexes.is_empty())
    }

    /// Returns an item's metadata, which is empty if the server does not support meta commands.
    #[cfg(feature = "meta")]
    pub(crate) async fn detail<L: Link>(&self, key: &Key) -> Result<Detail> {
        let (server, key) = (self.holder(key).clone(), key.clone());
        L::on_thread(move || meta::detail(&server, &key)).await.map_err(Error::system)?
    }

    #[cfg(not(feature = "meta"))]
    pub(crate) async fn detail<L: Link>(&self, _: &Key) -> Result<Detail> {
        Ok(Detail::default())
    }

    /// Probes each server whose circuit is open, and closes the circuit if the server answers.
    pub(crate) fn probe(&self) {
        for server in self.servers.iter().filter(|server| server.is_down()) {
            probe::probe(server);
        }
    }

    #[cfg(feature = "who")]
    pub(crate) fn remotes(&self) -> Vec<Remote> {
        self.servers.iter().cloned().map(Remote::new).collect()
    }

    pub(crate) async fn server_status<L: Link>(&self) -> Vec<ServerStatus> {
        let ask = async |server: &Arc<Server>| {
            let asked = server.clone();
            let failed =
                |error| ServerStatus { server: server.name.clone(), info: Err(Error::system(error)) };
            L::on_thread(move || status::ask(&asked)).await.unwrap_or_else(failed)
        };
        L::all(self.servers.iter().map(ask).collect()).await
    }
}
