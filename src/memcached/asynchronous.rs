//! The servers, asked by async code.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use futures_util::future::join_all;
use memcache::exp::{AsyncMetaClient, Error as ClientError, Operation};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout_at,
};

use super::{
    BATCH_MAX, Item, Write,
    peer::{self, Call, Era, Peer},
    sharding::{Placement, gather},
    status::{self, ServerStatus},
    wire,
};
use crate::{
    error::{Error, Result},
    record::{Key, Value},
};

/// Some memcached servers, each with an async client of its own.
#[derive(Debug)]
pub(crate) struct AsyncMemcached {
    placement: Arc<Placement>,
    servers: Vec<Asynchronous>,
}

impl AsyncMemcached {
    pub(super) fn new(placement: Arc<Placement>, peers: &[Arc<Peer>]) -> Self {
        Self { placement, servers: peers.iter().cloned().map(Asynchronous::new).collect() }
    }

    fn holder(&self, key: &Key) -> &Asynchronous {
        &self.servers[self.placement.server_of(key.as_str())]
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Value>> {
        self.holder(key).run(wire::get(key)).await.map(wire::value)
    }

    pub(crate) async fn get_many(&self, keys: Vec<&Key>) -> Vec<Result<Option<Value>>> {
        let shares = self.placement.split(keys, |key| key.as_str()).into_iter().map(async |share| {
            let server = &self.servers[share.server];
            let found = server.run_many(&share.items, |key| wire::get(key)).await;
            share.answered(|_| found.into_iter().map(|one| one.map(wire::value)).collect())
        });
        gather(join_all(shares).await)
    }

    pub(crate) async fn inspect(&self, key: &Key) -> Result<Option<Item>> {
        self.holder(key).run(wire::inspect(key)).await.map(wire::item)
    }

    pub(crate) async fn set(&self, write: &Write) -> Result<bool> {
        let server = self.holder(&write.key);
        server.peer.has_room(&[write])?;
        server.run(wire::set(write)).await.map(|done| wire::done(&done))
    }

    pub(crate) async fn set_many(&self, writes: &[Write]) -> Vec<Result<bool>> {
        let writes = writes.iter().collect();
        let shares =
            self.placement.split(writes, |write| write.key.as_str()).into_iter().map(async |share| {
                let server = &self.servers[share.server];
                let done = match server.peer.has_room(&share.items) {
                    Ok(()) => server.run_many(&share.items, |write| wire::set(write)).await,
                    Err(error) => share.items.iter().map(|_| Err(error.clone())).collect(),
                };
                share.answered(|_| done.into_iter().map(|one| one.map(|done| wire::done(&done))).collect())
            });
        gather(join_all(shares).await)
    }

    pub(crate) async fn delete(&self, key: &Key) -> Result<bool> {
        self.holder(key).run(wire::delete(key, None)).await.map(|done| wire::done(&done))
    }

    pub(crate) async fn server_status(&self) -> Vec<ServerStatus> {
        let asked = self.servers.iter().map(async |server| {
            let peer = server.peer.clone();
            let asked = spawn_blocking(move || status::ask(&peer)).await;
            asked.unwrap_or_else(|_| ServerStatus {
                server: server.peer.server.name().to_owned(),
                info: Err(shut_down()),
            })
        });
        join_all(asked).await
    }
}

/// One server.
struct Asynchronous {
    peer: Arc<Peer>,
    /// One for each connection that may be in use.
    slots: Arc<Semaphore>,
    /// Made at the first call of its era, when the server's address is known.
    client: Mutex<Option<(Era, AsyncMetaClient)>>,
}

/// What a call needs to be sent.
struct Ready {
    call: Call,
    client: AsyncMetaClient,
    asked: Instant,
    _slot: OwnedSemaphorePermit,
}

impl Asynchronous {
    fn new(peer: Arc<Peer>) -> Self {
        let slots = Arc::new(Semaphore::new(peer.max_connections));
        Self { peer, slots, client: Mutex::new(None) }
    }

    async fn run<O: Operation>(&self, operation: O) -> Result<O::Output> {
        let ready = self.ready().await?;
        let outcome = match ready.client.run(operation).await {
            Ok(output) => Ok(output),
            Err(error) => Err(self.error(&ready, error).await),
        };
        self.peer.record(ready.call, &outcome);
        outcome
    }

    /// In pieces, each an exchange of its own. A server that is lost in the middle is not asked for the rest.
    async fn run_many<T, O: Operation>(
        &self,
        items: &[T],
        operation: impl Fn(&T) -> O,
    ) -> Vec<Result<O::Output>> {
        let ask = async |piece: &[T]| self.run_piece(piece.iter().map(&operation).collect()).await;
        let (first, more) = items.split_at(items.len().min(BATCH_MAX));
        let mut outcomes = ask(first).await;
        for piece in more.chunks(BATCH_MAX) {
            match peer::lost(&outcomes) {
                None => outcomes.append(&mut ask(piece).await),
                Some(error) => outcomes.extend(piece.iter().map(|_| Err(error.clone()))),
            }
        }
        outcomes
    }

    async fn run_piece<O: Operation>(&self, operations: Vec<O>) -> Vec<Result<O::Output>> {
        let count = operations.len();
        let alike = |error: Error| (0..count).map(|_| Err(error.clone())).collect();
        let ready = match self.ready().await {
            Ok(ready) => ready,
            Err(error) => return alike(error),
        };
        let outcomes: Vec<_> = match ready.client.run_many(operations).await {
            Ok(answers) => {
                // One look at the server explains a failure that the whole batch shares.
                let mut told: Option<Error> = None;
                let mut outcomes = Vec::with_capacity(count);
                for answer in answers {
                    outcomes.push(match (answer, &told) {
                        (Ok(output), _) => Ok(output),
                        (Err(_), Some(told)) => Err(told.clone()),
                        (Err(error), None) => Err(told.insert(self.error(&ready, error).await).clone()),
                    });
                }
                outcomes
            }
            Err(error) => alike(self.error(&ready, error).await),
        };
        self.peer.record_many(ready.call, &outcomes);
        outcomes
    }

    async fn ready(&self) -> Result<Ready> {
        let call = self.peer.admit()?;
        // For an address and for a free connection together.
        let until = call.began + self.peer.timeout / 2;
        let client = self.client(call, until).await?;
        let slot = timeout_at(until.into(), self.slots.clone().acquire_owned()).await;
        match slot {
            Ok(Ok(slot)) => Ok(Ready { call, client, asked: Instant::now(), _slot: slot }),
            _ => Err(self.peer.all_in_use(self.peer.timeout)),
        }
    }

    async fn client(&self, call: Call, until: Instant) -> Result<AsyncMetaClient> {
        if let Some((era, client)) = &*self.lock()
            && *era >= call.era
        {
            return Ok(client.clone());
        }
        let address = match self.peer.name().known() {
            Some(address) => address,
            None => {
                let peer = self.peer.clone();
                let found = spawn_blocking(move || peer.address(call, until)).await;
                found.map_err(|_| shut_down())??
            }
        };
        // From an address: nothing is resolved here, and nothing dialled.
        let made = self.peer.builder(self.peer.timeout).connect_async(address).await;
        let made = made.map_err(|error| {
            let told = self.peer.error(self.peer.timeout, Instant::now(), error);
            told.unwrap_or_else(shut_down)
        })?;
        let mut client = self.lock();
        match &*client {
            // Another call was first.
            Some((era, client)) if *era >= call.era => Ok(client.clone()),
            _ => Ok(client.insert((call.era, made)).1.clone()),
        }
    }

    async fn error(&self, ready: &Ready, failed: ClientError) -> Error {
        if let Some(error) = self.peer.error(self.peer.timeout, ready.asked, failed) {
            return error;
        }
        let (peer, call) = (self.peer.clone(), ready.call);
        let explained = spawn_blocking(move || peer.explain(call, peer.timeout)).await;
        explained.unwrap_or_else(|_| shut_down())
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Era, AsyncMetaClient)>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of a call that is still waited for when its runtime ends.
fn shut_down() -> Error {
    Error::system(std::io::Error::other("the runtime is shutting down"))
}

impl fmt::Debug for Asynchronous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asynchronous").field("peer", &self.peer).finish_non_exhaustive()
    }
}
