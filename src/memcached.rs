//! The memcached client: several servers as one, by the classic text protocol on connections of our own.

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

/// The most that a server is asked at a time, in one `server_timeout`.
pub(crate) const BATCH_MAX: usize = 1_000;

/// One write.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) key: Key,
    /// The key whose server holds this one, if that is not its own.
    pub(crate) home: Option<Key>,
    pub(crate) value: Value,
    /// Whole seconds, at least one.
    pub(crate) expiry: u32,
    pub(crate) when: When,
}

impl Write {
    fn home(&self) -> &Key {
        self.home.as_ref().unwrap_or(&self.key)
    }
}

/// What has to hold for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    Absent,
    /// The value is still the one that was read with this [`Item::cas`].
    Unchanged(u64),
}

/// A value and what the store knows of it.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) value: Value,
    /// Differs after each write; 0 on a server without CAS.
    pub(crate) cas: u64,
}

impl Item {
    pub(crate) fn new(found: Found<'_>) -> Self {
        Self { value: Value { flags: found.flags, bytes: found.bytes.to_vec() }, cas: found.cas }
    }
}

/// What a store tells of an item beside its value.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Detail {
    /// How long it will be kept; `None` if that is unknown, or for as long as there is room.
    pub(crate) expires_in: Option<Duration>,
    /// How long ago it was last read or written.
    pub(crate) idle_for: Option<Duration>,
    /// Whether it was read since it was written.
    pub(crate) was_read: Option<bool>,
}

/// How often what goes by time is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intervals {
    /// A name in use is resolved again.
    pub(crate) resolve: Duration,
    /// An idle connection is closed.
    pub(crate) idle: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { resolve: Duration::from_secs(30), idle: Duration::from_secs(60) }
    }
}

/// Some memcached servers. A clone shares their connections.
#[derive(Debug, Clone)]
pub(crate) struct Memcached {
    placement: Arc<Placement>,
    servers: Arc<[Arc<Server>]>,
    /// For the answer of a server.
    patience: Duration,
}

impl Memcached {
    /// Reads the files that the settings name; connects to nothing.
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

    /// The same servers for work in the background, where a batch may take its time.
    pub(crate) fn with_background_timeout(&self) -> Self {
        Self { patience: self.patience.max(Duration::from_secs(1)), ..self.clone() }
    }

    fn holder(&self, key: &Key) -> &Arc<Server> {
        &self.servers[self.placement.server_of(key.as_str())]
    }

    pub(crate) fn server_of(&self, key: &Key) -> &str {
        &self.holder(key).name
    }

    /// What `read` makes of the value, if there is one.
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

    /// With a cas: if it is unchanged.
    pub(crate) async fn delete<L: Link>(&self, key: &Key, cas: Option<u64>) -> Result<bool> {
        self.change::<L>(self.holder(key), Change::Delete(key, cas)).await
    }

    async fn change<L: Link>(&self, server: &Arc<Server>, change: Change<'_>) -> Result<bool> {
        let (changes, mut answer) = ([change], Ok(false));
        let mut change = Changes::new(&changes, |_, made| answer = made);
        server.run::<L, _>(&mut change, self.patience, Changes::has_answers).await?;
        answer.map_err(|words| server.refused(&words))
    }

    /// One answer a write, in order.
    pub(crate) async fn set_many<L: Link>(&self, writes: &[Write]) -> Vec<Result<bool>> {
        let parts = self.split(writes).map(|(server, places)| self.set_part::<L>(server, places, writes));
        let mut all: Vec<Result<bool>> = Vec::with_capacity(writes.len());
        all.resize_with(writes.len(), || Ok(false));
        for (places, answers) in L::all(parts.collect()).await {
            places.into_iter().zip(answers).for_each(|(place, answer)| all[place] = answer);
        }
        all
    }

    /// In batches, each an exchange of its own. A server that is lost in the middle is not asked for the rest.
    async fn set_part<L: Link>(
        &self,
        server: &Arc<Server>,
        places: Vec<usize>,
        writes: &[Write],
    ) -> (Vec<usize>, Vec<Result<bool>>) {
        let mut answers: Vec<Result<bool>> = Vec::with_capacity(places.len());
        for batch in places.chunks(BATCH_MAX) {
            let changes: Vec<_> = batch.iter().map(|&place| Change::Store(&writes[place])).collect();
            let mut run = Changes::new(&changes, |_, made: Result<bool, String>| {
                answers.push(made.map_err(|words| server.refused(&words)));
            });
            let ran = server.run::<L, _>(&mut run, self.patience, Changes::has_answers).await;
            if let Err(error) = ran {
                answers.resize_with(places.len(), || Err(error.clone()));
                break;
            }
        }
        (places, answers)
    }

    /// The places of each server's writes.
    fn split(&self, writes: &[Write]) -> impl Iterator<Item = (&Arc<Server>, Vec<usize>)> {
        let mut split = vec![Vec::new(); self.servers.len()];
        for (place, write) in writes.iter().enumerate() {
            split[self.placement.server_of(write.home().as_str())].push(place);
        }
        self.servers.iter().zip(split).filter(|(_, places)| !places.is_empty())
    }

    /// What the server tells of an item beside its value: nothing, if it speaks no meta commands.
    #[cfg(feature = "meta")]
    pub(crate) async fn detail<L: Link>(&self, key: &Key) -> Result<Detail> {
        let (server, key) = (self.holder(key).clone(), key.clone());
        L::on_thread(move || meta::detail(&server, &key)).await.map_err(Error::system)?
    }

    #[cfg(not(feature = "meta"))]
    pub(crate) async fn detail<L: Link>(&self, _: &Key) -> Result<Detail> {
        Ok(Detail::default())
    }

    /// Asks servers whose circuit is open whether they are back.
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
