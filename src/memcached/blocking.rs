//! One server, asked by threads that wait for the answer.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use memcache::exp::{Error as ClientError, MetaClient, Operation};

use super::{
    BATCH_MAX,
    peer::{self, Call, Era, Peer},
    slots::{Slot, Slots},
    status::{self, ServerStatus},
};
use crate::error::{Error, Result};

pub(super) struct Blocking {
    peer: Arc<Peer>,
    timeout: Duration,
    pool: Mutex<Pool>,
}

struct Pool {
    slots: Arc<Slots>,
    /// The forks before the calls that hold the slots.
    forks: u64,
    /// Made at the first call of its era, when the server's address is known.
    client: Option<(Era, MetaClient)>,
}

/// What a call needs to be sent.
struct Ready {
    call: Call,
    client: MetaClient,
    asked: Instant,
    _slot: Slot,
}

impl Blocking {
    pub(super) fn new(peer: Arc<Peer>) -> Self {
        let timeout = peer.timeout;
        Self::with_timeout(peer, timeout)
    }

    /// A client for the background, where a batch may take its time.
    pub(super) fn patient(peer: Arc<Peer>) -> Self {
        let timeout = peer.timeout.max(Duration::from_secs(1));
        Self::with_timeout(peer, timeout)
    }

    fn with_timeout(peer: Arc<Peer>, timeout: Duration) -> Self {
        let slots = Slots::new(peer.max_connections);
        let pool = Mutex::new(Pool { slots, forks: 0, client: None });
        Self { peer, timeout, pool }
    }

    pub(super) fn status(&self) -> ServerStatus {
        status::ask(&self.peer)
    }

    pub(super) fn run<O: Operation>(&self, operation: O) -> Result<O::Output> {
        let ready = self.ready()?;
        let outcome = ready.client.run(operation).map_err(|error| self.error(ready.call, ready.asked, error));
        self.peer.record(ready.call, &outcome);
        outcome
    }

    /// In pieces, each an exchange of its own. A server that is lost in the middle is not asked for the rest.
    pub(super) fn run_many<T, O: Operation>(
        &self,
        items: &[T],
        operation: impl Fn(&T) -> O,
    ) -> Vec<Result<O::Output>> {
        let ask = |piece: &[T]| self.run_piece(piece.iter().map(&operation).collect());
        let (first, more) = items.split_at(items.len().min(BATCH_MAX));
        let mut outcomes = ask(first);
        for piece in more.chunks(BATCH_MAX) {
            match peer::lost(&outcomes) {
                None => outcomes.append(&mut ask(piece)),
                Some(error) => outcomes.extend(piece.iter().map(|_| Err(error.clone()))),
            }
        }
        outcomes
    }

    fn run_piece<O: Operation>(&self, operations: Vec<O>) -> Vec<Result<O::Output>> {
        let count = operations.len();
        let alike = |error: Error| (0..count).map(|_| Err(error.clone())).collect();
        let ready = match self.ready() {
            Ok(ready) => ready,
            Err(error) => return alike(error),
        };
        // One look at the server explains a failure that the whole batch shares.
        let mut told: Option<Error> = None;
        let mut explain =
            |error| told.get_or_insert_with(|| self.error(ready.call, ready.asked, error)).clone();
        let outcomes: Vec<_> = match ready.client.run_many(operations) {
            Ok(answers) => answers.into_iter().map(|answer| answer.map_err(&mut explain)).collect(),
            Err(error) => alike(explain(error)),
        };
        self.peer.record_many(ready.call, &outcomes);
        outcomes
    }

    fn ready(&self) -> Result<Ready> {
        let call = self.peer.admit()?;
        // For an address and for a free connection together.
        let until = call.began + self.timeout / 2;
        let (client, slots) = self.client(call, until)?;
        let slot = slots.take(until).ok_or_else(|| self.peer.all_in_use(self.timeout))?;
        Ok(Ready { call, client, asked: Instant::now(), _slot: slot })
    }

    fn client(&self, call: Call, until: Instant) -> Result<(MetaClient, Arc<Slots>)> {
        {
            let mut pool = self.pool();
            if pool.forks != call.era.forks {
                // The parent's calls do not end here.
                (pool.slots, pool.forks) = (Slots::new(self.peer.max_connections), call.era.forks);
            }
            if let Some((era, client)) = &pool.client
                && *era >= call.era
            {
                return Ok((client.clone(), pool.slots.clone()));
            }
        }
        let made = self.peer.builder(self.timeout).connect(self.peer.address(call, until)?);
        let client = made.map_err(|error| self.error(call, Instant::now(), error))?;
        let mut pool = self.pool();
        let before = match &pool.client {
            // Another call was first, or the era is over.
            Some((era, client)) if *era >= call.era => return Ok((client.clone(), pool.slots.clone())),
            _ => pool.client.replace((call.era, client.clone())),
        };
        let slots = pool.slots.clone();
        drop(pool);
        // Closes the connections of the era before.
        drop(before);
        Ok((client, slots))
    }

    fn error(&self, call: Call, asked: Instant, failed: ClientError) -> Error {
        self.peer.error(self.timeout, asked, failed).unwrap_or_else(|| self.peer.explain(call, self.timeout))
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").field("peer", &self.peer).finish_non_exhaustive()
    }
}
