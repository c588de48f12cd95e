//! One server, asked by threads that wait for the answer.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use memcache::exp::{Error as ClientError, MetaClient, Operation};

use super::{
    status::{self, ServerStatus},
    wire,
};
use crate::{
    error::{Error, Result},
    settings::{Server, Settings},
};

pub(super) struct Blocking {
    server: Server,
    timeout: Duration,
    max_connections: usize,
    /// Made at the first call: making it resolves the server's name.
    client: Mutex<Option<MetaClient>>,
}

impl Blocking {
    pub(super) fn new(server: Server, settings: &Settings) -> Self {
        let (timeout, max_connections) = (settings.server_timeout(), settings.max_connections());
        Self { server, timeout, max_connections, client: Mutex::new(None) }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn status(&self) -> ServerStatus {
        status::ask(&self.server, self.timeout)
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
        let made = MetaClient::builder()
            .io_timeout(Some(self.timeout))
            // The client waits as long for a free connection as for a dial.
            .connect_timeout(Some(self.timeout / 2))
            .max_connections(Some(self.max_connections))
            .max_idle(self.max_connections)
            .connect((self.server.host().to_owned(), self.server.port()))
            .map_err(|error| self.error(error))?;
        Ok(client.insert(made).clone())
    }

    fn error(&self, error: ClientError) -> Error {
        wire::error(&self.server, self.timeout, error)
            .unwrap_or_else(|| status::explain_error(&self.server, self.timeout))
    }
}

impl std::fmt::Debug for Blocking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blocking").field("server", &self.server.name()).finish_non_exhaustive()
    }
}
