//! A connection to a server. It runs one exchange at a time, each with a deadline.

use std::{
    io::{self, ErrorKind},
    time::Instant,
};

use super::{
    link::Link,
    protocol::{Exchange, Failure, Next},
};

/// Initial size of the input buffer in bytes. The answer for a page of 500 users has about 19 KB.
const BUFFER: usize = 32 * 1024;

/// Largest size in bytes of an input buffer that is kept for the next answer.
const MAX_KEPT: usize = 256 * 1024;

/// Bytes of commands that are sent before their answers are read. With more, client and server could each wait for
/// the other to read.
const PIPELINE_MAX: usize = 128 * 1024;

/// Bytes of commands that are sent over TLS before their answers are read. `memcached -Z` hangs after more than 16 KB.
const TLS_PIPELINE_MAX: usize = 15 * 1024;

/// Error of an exchange that got no answer. Its connection cannot be used any more.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) cause: Cause,
    /// Whether the server closed the connection while it was idle. The exchange may then run on a new connection.
    pub(super) stale: bool,
}

#[derive(Debug)]
pub(super) enum Cause {
    TimedOut,
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
            // Unix reports an expired socket timeout as `WouldBlock`.
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::TimedOut,
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

/// The input buffer. `start..end` are the received bytes that are not consumed yet.
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

    /// Returns the free space at the end of the buffer, at least one byte. If `total` unconsumed bytes do not fit,
    /// moves the data to the front or grows the buffer first.
    fn room(&mut self, total: usize) -> &mut [u8] {
        if self.start > 0 && self.start + total > self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.start + total > self.bytes.len() {
            // Doubles at most, so that a server that announces a huge value has to send it before it gets the memory.
            self.bytes.resize((self.start + total).min(self.bytes.len() * 2).max(self.end + 1), 0);
        }
        &mut self.bytes[self.end..]
    }
}

pub(super) struct Connection<L> {
    pub(super) link: L,
    input: Input,
    output: Vec<u8>,
    /// Whether the server may have closed the connection while it was idle: an exchange was completed on it, and no part
    /// of the next answer has arrived.
    may_be_stale: bool,
}

impl<L: Link> Connection<L> {
    pub(super) fn new(link: L) -> Self {
        Self { link, input: Input::new(), output: Vec::new(), may_be_stale: false }
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
        if self.may_be_stale && !exchange.repeatable() {
            let open = self.link.check_open().await;
            // Nothing was sent yet, so the exchange may run on a new connection, after any error.
            open.map_err(|error| Broken { stale: true, cause: error.into() })?;
        }
        let sent = self.write(exchange, deadline).await;
        sent.map_err(|error| self.broken(error, exchange))
    }

    /// Reads the answer, and sends the remaining parts of the request. After a timeout, call it again to continue.
    pub(super) async fn receive(
        &mut self,
        exchange: &mut impl Exchange,
        deadline: Instant,
    ) -> Result<(), Broken> {
        let filled = self.fill(1, deadline).await;
        filled.map_err(|error| self.broken(error, exchange))?;
        self.may_be_stale = false;
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
                    self.may_be_stale = true;
                    return Ok(());
                }
                Ok(()) => {
                    let words = "the server sent more than was asked for";
                    return Err(Broken::new(io::Error::new(ErrorKind::InvalidData, words)));
                }
            }
        }
    }

    /// Classifies an error that occurred before any part of the answer arrived.
    fn broken(&self, error: io::Error, exchange: &impl Exchange) -> Broken {
        let stale = self.may_be_stale && exchange.repeatable() && L::is_closed(&error);
        Broken { stale, cause: error.into() }
    }

    async fn write(&mut self, exchange: &mut impl Exchange, deadline: Instant) -> io::Result<()> {
        self.output.clear();
        let limit = if self.link.is_encrypted() { TLS_PIPELINE_MAX } else { PIPELINE_MAX };
        exchange.write(&mut self.output, limit);
        self.link.send(&self.output, deadline).await
    }

    async fn fill(&mut self, wanted: usize, deadline: Instant) -> io::Result<()> {
        while self.input.data().len() < wanted {
            self.input.end += self.link.receive(self.input.room(wanted), deadline).await?;
        }
        Ok(())
    }

    /// Sends a command that is answered by an endless stream of lines, to be read with [`line`](Self::line).
    #[cfg(feature = "who")]
    pub(super) async fn command(&mut self, command: &str, deadline: Instant) -> io::Result<()> {
        self.link.send(format!("{command}\r\n").as_bytes(), deadline).await
    }

    /// Waits for the next line and returns its length in bytes, with its line end. After a timeout, the part that has
    /// arrived is kept for the next call.
    #[cfg(feature = "who")]
    pub(super) async fn line(&mut self, max_len: usize, deadline: Instant) -> io::Result<usize> {
        loop {
            let taken = super::protocol::line(self.data()).map(|(_, taken)| taken);
            let here = taken.unwrap_or(self.data().len());
            if here > max_len {
                let words = format!("a line longer than {max_len} bytes");
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

#[cfg(all(test, unix))]
mod tests {
    use std::{io::Write as _, os::unix::net::UnixStream, time::Duration};

    use super::*;
    use crate::{
        memcached::{
            blocking::Blocking,
            link::run_through,
            protocol::{Asked, Get, Lines},
        },
        record::Keys,
    };

    /// Closes a used connection after this part of the answer, and returns whether the exchange may run again.
    fn runs_again_after(part: &[u8]) -> bool {
        let (ours, mut server) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(Blocking::of(ours));
        let until = |ms| Instant::now() + Duration::from_millis(ms);
        server.write_all(b"VERSION 1.6.45\r\n").unwrap();
        run_through(connection.run(&mut Lines::one(b"version\r\n"), until(10_000))).unwrap();

        let keys = Keys::new("seen_", 0..2);
        let mut get = Get::new(Asked::Some(&keys, &[0, 1]), false, |_, _| {});
        run_through(connection.send(&mut get, until(10_000))).unwrap();
        server.write_all(part).unwrap();
        let slice = run_through(connection.receive(&mut get, until(10))).unwrap_err();
        assert!(matches!(slice.cause, Cause::TimedOut), "{slice:?}");
        drop(server);
        run_through(connection.receive(&mut get, until(10_000))).unwrap_err().stale
    }

    #[test]
    fn an_exchange_runs_again_only_if_no_part_of_its_answer_has_arrived() {
        assert!(runs_again_after(b""));
        assert!(!runs_again_after(b"VALUE seen_0 0 1\r\n1\r\nVAL"));
        assert!(!runs_again_after(b"VALUE seen_0 0 1\r\n1\r\n"));
    }
}
