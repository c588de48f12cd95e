//! A connection: one exchange at a time, each with a deadline.

use std::{
    io::{self, ErrorKind},
    time::Instant,
};

use super::{
    link::Link,
    protocol::{Exchange, Failure, Next},
};

/// An answer to 500 users has about 19 KB.
const BUFFER: usize = 32 * 1024;

/// A buffer that grew beyond this for one answer is not kept.
const MAX_KEPT: usize = 256 * 1024;

/// How many bytes of commands are sent before their answers are read: neither side ever waits for the other to read.
const FLIGHT: usize = 128 * 1024;

/// `memcached -Z` hangs after more than 16 KB.
const TLS_FLIGHT: usize = 15 * 1024;

/// Why an exchange ended without its answer. The connection is of no use any more.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) cause: Cause,
    /// It worked before and was closed while it was idle: the exchange may run on a new one.
    pub(super) stale: bool,
}

#[derive(Debug)]
pub(super) enum Cause {
    /// No answer in time.
    Silent,
    Io(io::Error),
    Failure(Failure),
}

impl From<Failure> for Cause {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The first is what the end of a socket timeout is called on Unix.
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silent,
            ErrorKind::UnexpectedEof => {
                Self::Io(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"))
            }
            _ => Self::Io(error),
        }
    }
}

impl Broken {
    pub(super) fn new(cause: impl Into<Cause>) -> Self {
        Self { cause: cause.into(), stale: false }
    }
}

/// What was read and not used yet.
struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    fn new() -> Self {
        Self { bytes: vec![0; BUFFER], start: 0, end: 0 }
    }

    fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn consume(&mut self, used: usize) {
        self.start += used;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.bytes.len() > MAX_KEPT {
                *self = Self::new();
            }
        }
    }

    /// Room at its end, for so many bytes in all if there is any.
    fn room(&mut self, total: usize) -> &mut [u8] {
        if self.start > 0 && self.start + total > self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.start + total > self.bytes.len() {
            // By and by, so that a server that only claims to send much gets nothing.
            self.bytes.resize((self.start + total).min(self.bytes.len() * 2).max(self.end + 1), 0);
        }
        &mut self.bytes[self.end..]
    }
}

pub(super) struct Connection<L> {
    pub(super) link: L,
    input: Input,
    output: Vec<u8>,
    /// It has answered before.
    used: bool,
}

impl<L: Link> Connection<L> {
    pub(super) fn new(link: L) -> Self {
        Self { link, input: Input::new(), output: Vec::new(), used: false }
    }

    pub(super) async fn run(
        &mut self,
        exchange: &mut impl Exchange,
        deadline: Instant,
    ) -> Result<(), Broken> {
        self.send(exchange, deadline).await?;
        self.receive(exchange, deadline).await
    }

    /// Sends the request, or its first part.
    pub(super) async fn send(
        &mut self,
        exchange: &mut impl Exchange,
        deadline: Instant,
    ) -> Result<(), Broken> {
        if self.used && !exchange.repeatable() {
            let looked = self.link.look_for_end().await;
            // Nothing was sent, so that it may run on another one whatever is the matter.
            looked.map_err(|error| Broken { stale: true, cause: error.into() })?;
        }
        let sent = self.write(exchange, deadline).await;
        sent.map_err(|error| self.broken(error, exchange))
    }

    /// Reads the answer, and sends the other parts. After a timeout it can be called again, and goes on.
    pub(super) async fn receive(
        &mut self,
        exchange: &mut impl Exchange,
        deadline: Instant,
    ) -> Result<(), Broken> {
        let filled = self.fill(1, deadline).await;
        filled.map_err(|error| self.broken(error, exchange))?;
        loop {
            let mut rest = self.input.data();
            let before = rest.len();
            let read = exchange.read(&mut rest);
            let used = before - rest.len();
            self.input.consume(used);
            match read {
                Err(Next::More(total)) => self.fill(total, deadline).await.map_err(Broken::new)?,
                Err(Next::Send) => {
                    self.write(exchange, deadline).await.map_err(Broken::new)?;
                    self.fill(1, deadline).await.map_err(Broken::new)?;
                }
                Err(Next::Failed(failure)) => return Err(Broken::new(failure)),
                Ok(()) if self.input.data().is_empty() => {
                    self.used = true;
                    return Ok(());
                }
                Ok(()) => {
                    let words = "the server sent more than was asked for";
                    return Err(Broken::new(io::Error::new(ErrorKind::InvalidData, words)));
                }
            }
        }
    }

    /// What an error means before there is anything of the answer.
    fn broken(&self, error: io::Error, exchange: &impl Exchange) -> Broken {
        let stale = self.used && exchange.repeatable() && L::is_closed(&error);
        Broken { stale, cause: error.into() }
    }

    async fn write(&mut self, exchange: &mut impl Exchange, deadline: Instant) -> io::Result<()> {
        self.output.clear();
        exchange.write(&mut self.output, if self.link.is_encrypted() { TLS_FLIGHT } else { FLIGHT });
        self.link.send(&self.output, deadline).await
    }

    async fn fill(&mut self, wanted: usize, deadline: Instant) -> io::Result<()> {
        while self.input.data().len() < wanted {
            self.input.end += self.link.receive(self.input.room(wanted), deadline).await?;
        }
        Ok(())
    }

    /// Sends a command that is answered by lines without end, for [`line`](Self::line).
    #[cfg(feature = "who")]
    pub(super) async fn command(&mut self, command: &str, deadline: Instant) -> io::Result<()> {
        self.link.send(format!("{command}\r\n").as_bytes(), deadline).await
    }

    /// Waits for the next line and returns how many bytes it has; at the deadline, what came of it is kept.
    #[cfg(feature = "who")]
    pub(super) async fn line(&mut self, longest: usize, deadline: Instant) -> io::Result<usize> {
        loop {
            let taken = super::protocol::line(self.data()).map(|(_, taken)| taken);
            let here = taken.unwrap_or(self.data().len());
            if here > longest {
                let words = format!("a line longer than {longest} bytes");
                return Err(io::Error::new(ErrorKind::InvalidData, words));
            }
            if taken.is_some() {
                return Ok(here);
            }
            self.fill(here + 1, deadline).await?;
        }
    }

    #[cfg(feature = "who")]
    pub(super) fn data(&self) -> &[u8] {
        self.input.data()
    }

    #[cfg(feature = "who")]
    pub(super) fn consume(&mut self, used: usize) {
        self.input.consume(used);
    }
}
