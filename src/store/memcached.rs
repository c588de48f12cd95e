//! The memcached store, on the client crate's meta protocol. Nothing outside this folder names `memcache`.

mod status;

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use memcache::exp::{Delete, Error as ClientError, Get, GetResult, Meta, MetaClient, Operation, Set, Ttl};

pub use status::{ServerInfo, ServerStatus};

use super::{Item, When, Write};
use crate::{
    error::{Error, Result},
    record::{Key, Value},
    settings::{Server, Settings},
};

/// One memcached server.
pub(crate) struct Memcached {
    server: Server,
    timeout: Duration,
    max_connections: usize,
    /// Made at the first call: making it resolves the server's name.
    client: Mutex<Option<MetaClient>>,
}

impl Memcached {
    pub(super) fn new(server: Server, settings: &Settings) -> Self {
        let (timeout, max_connections) = (settings.server_timeout(), settings.max_connections());
        Self { server, timeout, max_connections, client: Mutex::new(None) }
    }

    pub(super) fn server(&self) -> &str {
        self.server.name()
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Value>> {
        self.run(get(key)).map(value)
    }

    pub(super) fn get_many(&self, keys: &[&Key]) -> Vec<Result<Option<Value>>> {
        let answers = self.run_many(keys.iter().map(|key| get(key)).collect());
        answers.into_iter().map(|answer| answer.map(value)).collect()
    }

    pub(super) fn inspect(&self, key: &Key) -> Result<Option<Item>> {
        let found = self.run(get(key).meta(Meta::NONE.ttl()))?;
        let expires_in = found.item.ttl.and_then(|left| u64::try_from(left).ok()).map(Duration::from_secs);
        Ok(value(found).map(|value| Item { value, expires_in }))
    }

    pub(super) fn set(&self, write: &Write) -> Result<bool> {
        self.run(set(write)).map(|done| done.applied())
    }

    pub(super) fn set_many(&self, writes: &[Write]) -> Vec<Result<bool>> {
        let answers = self.run_many(writes.iter().map(set).collect());
        answers.into_iter().map(|answer| answer.map(|done| done.applied())).collect()
    }

    pub(super) fn delete(&self, key: &Key) -> Result<bool> {
        self.run(Delete::new(key.as_str())).map(|done| done.applied())
    }

    pub(super) fn servers(&self) -> Vec<ServerStatus> {
        vec![status::ask(&self.server, self.timeout)]
    }

    fn run<O: Operation>(&self, operation: O) -> Result<O::Output> {
        self.client()?.run(operation).map_err(|error| self.error(error))
    }

    fn run_many<O: Operation>(&self, operations: Vec<O>) -> Vec<Result<O::Output>> {
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
        let server = self.server.name();
        match error {
            // Every failed write comes wrapped so, those with a definite answer too.
            ClientError::Ambiguous { source, .. } => self.error(*source),
            ClientError::Io(error) => Error::unavailable(server, error),
            ClientError::Timeout { .. } => {
                let message = format!("no answer within {}", humantime::format_duration(self.timeout));
                Error::unavailable(server, io::Error::new(io::ErrorKind::TimedOut, message))
            }
            // Two servers answer so: one at its connection limit, and one that does not know the command.
            ClientError::Rejected(message) if message == "ERROR" => {
                status::explain_error(&self.server, self.timeout)
            }
            ClientError::Server(message) | ClientError::Rejected(message) => Error::rejected(server, message),
            ClientError::Protocol(message) => {
                Error::unavailable(server, io::Error::new(io::ErrorKind::InvalidData, message))
            }
            // Usage errors, which a legal key, a value and an expiry of at least a second cannot cause.
            other => Error::unavailable(server, io::Error::other(other.to_string())),
        }
    }
}

impl std::fmt::Debug for Memcached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memcached").field("server", &self.server.name()).finish_non_exhaustive()
    }
}

fn get(key: &Key) -> Get {
    Get::new(key.as_str())
}

fn set(write: &Write) -> Set {
    let set = Set::new(write.key.as_str(), &write.value.bytes)
        .client_flags(write.value.flags)
        .ttl(Ttl::secs(write.expiry));
    match write.when {
        When::Always => set,
        When::Absent => set.add(),
        When::Present => set.replace(),
    }
}

/// A placeholder that some other client is about to fill is no record yet.
fn value(found: GetResult) -> Option<Value> {
    found
        .hit()
        .then(|| Value { flags: found.client_flags.unwrap_or(0), bytes: found.value.unwrap_or_default() })
}
