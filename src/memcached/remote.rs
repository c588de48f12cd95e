//! One server, for connections of one's own with commands that the client crate does not speak.

use std::{
    fmt,
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{peer::Peer, status};
use crate::error::{Error, Result};

/// A clone is a handle on the same server.
#[derive(Clone)]
pub(crate) struct Remote(Arc<Peer>);

impl Remote {
    pub(super) fn new(peer: Arc<Peer>) -> Self {
        Self(peer)
    }

    /// The server as the settings name it.
    pub(crate) fn name(&self) -> &str {
        self.0.server.name()
    }

    /// How long one exchange may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// Asks for its address again, and opens a connection, each in half a `server_timeout`. A server at rest
    /// is dialled too.
    pub(crate) fn dial(&self) -> Result<TcpStream> {
        let half = self.timeout() / 2;
        let address = self.0.name().find_anew(Instant::now() + half);
        let stream = address.and_then(|address| TcpStream::connect_timeout(&address, half));
        stream.map_err(|error| Error::unavailable(self.name(), error))
    }

    /// It answers on a new connection: if it was at rest, calls go through again.
    pub(crate) fn found(&self) {
        self.0.reopen(Instant::now());
    }

    /// What the server said in place of an answer.
    pub(crate) fn refused(&self, words: &str) -> Error {
        if status::says_connection_limit(words) {
            return status::connection_limit(&self.0.server);
        }
        Error::answered(self.name(), words)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.name()).finish()
    }
}
