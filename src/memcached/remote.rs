//! One server, for commands that are answered by lines without end: a listing, or its log.

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

/// A clone is a handle on the same server.
#[derive(Clone)]
pub(crate) struct Remote(Arc<Server>);

impl Remote {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self(server)
    }

    /// The server as the settings name it.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// How long one exchange may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// Opens a connection beside the pool, to the server's address as it is now; also while the circuit is open. Connecting
    /// and each of its exchanges may take as long.
    pub(crate) fn connect(&self, patience: Duration) -> Result<LineConnection> {
        let connected = self.0.connect_beside(patience);
        let connection = connected.map_err(|broken| self.0.error(broken, "connection", patience / 2))?;
        Ok(LineConnection { server: self.clone(), patience, address: self.address(), connection, line: 0 })
    }

    /// Whether its name has another address by now than it had for the connection.
    pub(crate) fn has_moved_since(&self, connection: &LineConnection) -> bool {
        self.0.refresh(Instant::now());
        self.address() != connection.address
    }

    fn address(&self) -> Option<SocketAddr> {
        self.0.address.resolver()?.known()
    }

    /// It answers on a new connection: if its circuit was open, calls go through again.
    pub(crate) fn recovered(&self) {
        self.0.recovered();
    }

    /// What the server said in place of an answer.
    pub(crate) fn refused(&self, words: &str) -> Error {
        self.0.refused(words)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Remote").field(&self.name()).finish()
    }
}

/// Lines as they come.
pub(crate) struct LineConnection {
    pub(crate) server: Remote,
    pub(crate) patience: Duration,
    connection: Connection<Blocking>,
    address: Option<SocketAddr>,
    /// The bytes of the line that was given out last.
    line: usize,
}

/// Ends a connection while another thread reads from it.
pub(crate) struct Closer(Weak<Socket>);

impl Closer {
    pub(crate) fn close(&self) {
        // Fails if the server closed the connection first.
        let _ = self.0.upgrade().map(|socket| socket.shutdown());
    }

    /// Whether the connection is gone.
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

    /// The next line, without its end. One that is not here by the deadline is [`ErrorKind::TimedOut`]; what
    /// came of it so far is kept, so that it can be asked for again.
    pub(crate) fn line(&mut self, longest: usize, deadline: Instant) -> io::Result<&[u8]> {
        self.connection.consume(std::mem::take(&mut self.line));
        self.line = match run_through(self.connection.line(longest, deadline)) {
            Ok(line) => line,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        };
        let line = protocol::line(self.connection.data());
        Ok(line.map_or(&[][..], |(line, _)| line))
    }

    /// Whether the next line has to be waited for: it is not here, or not all of it.
    pub(crate) fn drained(&self) -> bool {
        protocol::line(&self.connection.data()[self.line..]).is_none()
    }

    /// One answer a key, in order: what `read` makes of its value, if there is one.
    pub(crate) fn get_many<T>(
        &mut self,
        keys: &Keys,
        read: impl Fn(u32, Found<'_>) -> Result<T>,
    ) -> Result<Vec<Result<Option<T>>>> {
        let places: Vec<u32> = (0..keys.len() as u32).collect();
        let mut answers: Vec<Result<Option<T>>> = Vec::with_capacity(places.len());
        answers.resize_with(places.len(), || Ok(None));
        let found = |nth: usize, found: Found<'_>| answers[nth] = read(nth as u32, found).map(Some);
        self.run(&mut Get::new(Asked::Some(keys, &places), false, found))?;
        Ok(answers)
    }

    pub(crate) fn set(&mut self, write: &Write) -> Result<()> {
        let (changes, mut answer) = ([Change::Store(write)], Ok(false));
        self.run(&mut Changes::new(&changes, |_, made| answer = made))?;
        answer.map_or_else(|words| Err(self.server.refused(&words)), |_| Ok(()))
    }

    fn run(&mut self, exchange: &mut impl Exchange) -> Result<()> {
        self.connection.consume(std::mem::take(&mut self.line));
        let ran = run_through(self.connection.run(exchange, Instant::now() + self.patience));
        ran.map_err(|broken| self.server.0.error(broken, "answer", self.patience))
    }

    /// The server is not there, or speaks something else.
    pub(crate) fn lost(&self, error: io::Error) -> Error {
        let cause = Cause::from(error);
        self.server.0.error(Broken { cause, stale: false }, "answer", self.patience)
    }
}
