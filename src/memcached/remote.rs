//! One server, for commands that are answered by an endless stream of lines: a listing of its keys, or its log.

use std::{
    fmt,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::{
    blocking::{Blocking, Socket},
    connection::{Broken, Cause, Connection},
    link::run_through,
    protocol::{self, Asked, Change, Changes, Exchange, Found, Get},
    server::Server,
};
use crate::{
    error::{Error, Result},
    memcached::Write,
    record::Keys,
};

/// A handle on one server. A clone is a handle on the same server.
#[derive(Clone)]
pub(crate) struct Remote(Arc<Server>);

impl Remote {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self(server)
    }

    /// Returns the server as the settings name it.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the timeout of one exchange.
    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// Opens a connection outside the pool, to the server's current address, even while the circuit is open. `patience`
    /// is the timeout for connecting and for each exchange.
    pub(crate) fn connect(&self, patience: Duration) -> Result<LineConnection> {
        let connected = self.0.connect_outside_pool(patience);
        let connection = connected.map_err(|broken| self.0.error(broken, "connection", patience / 2))?;
        Ok(LineConnection {
            server: self.clone(),
            patience,
            address: self.address(),
            connection,
            line_len: 0,
        })
    }

    /// Returns whether the server's name has another address than when this connection was opened.
    pub(crate) fn has_moved_since(&self, connection: &LineConnection) -> bool {
        self.0.refresh(Instant::now());
        self.address() != connection.address
    }

    fn address(&self) -> Option<SocketAddr> {
        self.0.address.resolver()?.known()
    }

    /// Closes the server's circuit if it is open, because the server has answered on a new connection.
    pub(crate) fn recovered(&self) {
        self.0.recovered();
    }

    /// Returns the error for an error reply of the server.
    pub(crate) fn refused(&self, words: &str) -> Error {
        self.0.refused(words)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.name()).finish()
    }
}

/// A connection that is read line by line.
pub(crate) struct LineConnection {
    pub(crate) server: Remote,
    pub(crate) patience: Duration,
    connection: Connection<Blocking>,
    address: Option<SocketAddr>,
    /// Length in bytes of the line that was returned last. The next call consumes it.
    line_len: usize,
}

/// Closes a connection while another thread reads from it.
pub(crate) struct Closer(Weak<Socket>);

impl Closer {
    pub(crate) fn close(&self) {
        // Fails if the server closed the connection first.
        let _ = self.0.upgrade().map(|socket| socket.shutdown());
    }

    /// Returns whether the connection was dropped.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl LineConnection {
    pub(crate) fn closer(&self) -> Closer {
        Closer(Arc::downgrade(self.connection.link.socket()))
    }

    pub(crate) fn send(&mut self, command: &str) -> Result<()> {
        let deadline = Instant::now() + self.patience;
        let sent = run_through(self.connection.command(command, deadline));
        sent.map_err(|error| self.lost(error))
    }

    /// Returns the next line without its end. After [`ErrorKind::TimedOut`], the part that has arrived is kept for the
    /// next call.
    pub(crate) fn line(&mut self, max_len: usize, deadline: Instant) -> io::Result<&[u8]> {
        self.connection.consume(std::mem::take(&mut self.line_len));
        self.line_len = match run_through(self.connection.line(max_len, deadline)) {
            Ok(line) => line,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        };
        let line = protocol::line(self.connection.data());
        Ok(line.map_or(&[][..], |(line, _)| line))
    }

    /// Returns whether the next line has not arrived completely.
    pub(crate) fn drained(&self) -> bool {
        protocol::line(&self.connection.data()[self.line_len..]).is_none()
    }

    /// Returns one answer per key, in order: what `read` makes of the key's index and its value, or `None` if there is
    /// no value.
    pub(crate) fn get_many<T>(
        &mut self,
        keys: &Keys,
        read: impl Fn(u32, Found<'_>) -> Result<T>,
    ) -> Result<Vec<Result<Option<T>>>> {
        let indexes: Vec<u32> = (0..keys.len() as u32).collect();
        let mut answers: Vec<Result<Option<T>>> = Vec::with_capacity(indexes.len());
        answers.resize_with(indexes.len(), || Ok(None));
        let found = |nth: usize, found: Found<'_>| answers[nth] = read(nth as u32, found).map(Some);
        self.run(&mut Get::new(Asked::Some(keys, &indexes), false, found))?;
        Ok(answers)
    }

    pub(crate) fn set(&mut self, write: &Write) -> Result<()> {
        let (changes, mut answer) = ([Change::Store(write)], Ok(false));
        self.run(&mut Changes::new(&changes, |_, made| answer = made))?;
        answer.map_or_else(|words| Err(self.server.refused(&words)), |_| Ok(()))
    }

    fn run(&mut self, exchange: &mut impl Exchange) -> Result<()> {
        self.connection.consume(std::mem::take(&mut self.line_len));
        let ran = run_through(self.connection.run(exchange, Instant::now() + self.patience));
        ran.map_err(|broken| self.server.0.error(broken, "answer", self.patience))
    }

    /// Returns the error of a connection that failed, or on which the server sent something unexpected.
    pub(crate) fn lost(&self, error: io::Error) -> Error {
        let cause = Cause::from(error);
        self.server.0.error(Broken { cause, stale: false }, "answer", self.patience)
    }
}
