//! One server, as the clients of both kinds know it.

use std::time::Duration;

use memcache::exp::{Error as ClientError, MetaClient, MetaClientBuilder};

use super::wire;
use crate::{
    error::Error,
    settings::{Server, Settings},
};

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) server: Server,
    pub(super) timeout: Duration,
    max_connections: usize,
}

impl Peer {
    pub(super) fn new(server: Server, settings: &Settings) -> Self {
        Self { server, timeout: settings.server_timeout(), max_connections: settings.max_connections() }
    }

    /// A client for this server, still to be connected.
    pub(super) fn builder(&self, timeout: Duration) -> MetaClientBuilder {
        MetaClient::builder()
            .io_timeout(Some(timeout))
            // The client waits as long for a free connection as for a dial.
            .connect_timeout(Some(timeout / 2))
            .max_connections(Some(self.max_connections))
            .max_idle(self.max_connections)
    }

    /// What failed; `None` for the bare `ERROR` that only a question to the server explains.
    pub(super) fn error(&self, failed: ClientError, timeout: Duration) -> Option<Error> {
        wire::error(&self.server, timeout, failed)
    }
}
