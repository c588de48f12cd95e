//! One server, asked by threads that wait for the answer.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use memcache::exp::{Error as ClientError, MetaClient, Operation};

use super::{
    peer::Peer,
    status::{self, ServerStatus},
};
use crate::error::{Error, Result};

pub(super) struct Blocking {
    peer: Arc<Peer>,
    timeout: Duration,
    /// Made at the first call: making it resolves the server's name.
    client: Mutex<Option<MetaClient>>,
}

impl Blocking {
    pub(super) fn new(peer: Arc<Peer>) -> Self {
        let timeout = peer.timeout;
        Self { peer, timeout, client: Mutex::new(None) }
    }

    /// A client for the background, where a batch may take its time.
    pub(super) fn patient(peer: Arc<Peer>) -> Self {
        let timeout = peer.timeout.max(Duration::from_secs(1));
        Self { peer, timeout, client: Mutex::new(None) }
    }

    pub(super) fn status(&self) -> ServerStatus {
        status::ask(&self.peer.server, self.peer.timeout)
    }

    pub(super) fn run<O: Operation>(&self, operation: O) -> Result<O::Output> {
        self.client()?.run(operation).map_err(|error| self.error(error))
    }

    pub(super) fn run_many<O: Operation>(&self, operations: Vec<O>) -> Vec<Result<O::Output>> {
        let count = operations.len();
        if count == 0 {
            return Vec::new();
        }
        let answers =
            self.client().and_then(|client| client.run_many(operations).map_err(|error| self.error(error)));
        match answers {
            Ok(answers) => {
                // One look at the server explains a failure that the whole batch shares.
                let mut told: Option<Error> = None;
                let explain = |answer: Result<_, ClientError>| {
                    answer.map_err(|error| told.get_or_insert_with(|| self.error(error)).clone())
                };
                answers.into_iter().map(explain).collect()
            }
            Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
        }
    }

    fn client(&self) -> Result<MetaClient> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let address = (self.peer.server.host().to_owned(), self.peer.server.port());
        let made = self.peer.builder(self.timeout).connect(address).map_err(|error| self.error(error))?;
        Ok(client.insert(made).clone())
    }

    fn error(&self, failed: ClientError) -> Error {
        self.peer
            .error(failed, self.timeout)
            .unwrap_or_else(|| status::explain_error(&self.peer.server, self.peer.timeout))
    }
}

impl std::fmt::Debug for Blocking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocking").field("peer", &self.peer).finish_non_exhaustive()
    }
}
