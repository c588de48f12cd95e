//! A text connection of our own to one server, for the commands that the client crate does not speak.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Instant,
};

use crate::{
    error::{Error, Result},
    memcached::Remote,
};

/// A key has 250 bytes, three times as many in URL encoding; the other fields are numbers.
const MAX_LINE: usize = 2_048;

/// Large, since a server may hold a lock for as long as its output is not read.
const BUFFER: usize = 256 * 1024;

pub(super) struct Connection {
    server: Remote,
    reader: BufReader<Socket>,
    line: Vec<u8>,
    /// The last line was given out whole: the next one begins.
    whole: bool,
}

/// Closed by whichever thread ends the work, while another one reads from it.
struct Socket(Arc<TcpStream>);

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Connection {
    pub(super) fn dial(server: &Remote) -> Result<Self> {
        let stream = server.dial()?;
        stream
            .set_write_timeout(Some(server.timeout()))
            .map_err(|error| Error::unavailable(server.name(), error))?;
        let reader = BufReader::with_capacity(BUFFER, Socket(Arc::new(stream)));
        Ok(Self { server: server.clone(), reader, line: Vec::new(), whole: true })
    }

    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        &self.reader.get_ref().0
    }

    pub(super) fn send(&mut self, command: &str) -> Result<()> {
        let sent = (&**self.stream()).write_all(format!("{command}\r\n").as_bytes());
        sent.map_err(|error| self.lost(error))
    }

    /// The next line, without its end. One that is not here by the deadline is [`ErrorKind::TimedOut`]; what
    /// came of it so far is kept, so that it can be asked for again.
    pub(super) fn line(&mut self, deadline: Instant) -> io::Result<&[u8]> {
        if std::mem::replace(&mut self.whole, false) {
            self.line.clear();
        }
        while !self.whole {
            if self.reader.buffer().is_empty() {
                self.fill(deadline)?;
            }
            let buffer = self.reader.buffer();
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.line.extend_from_slice(&buffer[..used]);
            self.reader.consume(used);
            if self.line.len() > MAX_LINE {
                let message = format!("a line longer than {MAX_LINE} bytes");
                return Err(io::Error::new(ErrorKind::InvalidData, message));
            }
            self.whole = end.is_some();
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream().set_read_timeout(Some(left))?;
            match self.reader.fill_buf() {
                Ok([]) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(()),
                // A socket timeout on Unix, and a process that was suspended: the clock decides.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the next line has to be waited for.
    pub(super) fn drained(&self) -> bool {
        self.reader.buffer().is_empty()
    }

    /// The answer to a command that is given at once: its first line.
    pub(super) fn answer(&mut self) -> Result<Vec<u8>> {
        match self.line(Instant::now() + self.server.timeout()) {
            Ok(line) => Ok(line.to_vec()),
            Err(error) => Err(self.lost(error)),
        }
    }

    /// One number of the server's `stats`; `None` where it has none of that name.
    pub(super) fn stat(&mut self, name: &str) -> Result<Option<u64>> {
        self.send("stats")?;
        let deadline = Instant::now() + self.server.timeout();
        let mut found = None;
        loop {
            let line = match self.line(deadline) {
                Ok(line) => line,
                Err(error) => return Err(self.lost(error)),
            };
            if let Some(stat) = line.strip_prefix(b"STAT ") {
                let value = stat.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
                found = value.and_then(number).or(found);
            } else if line == b"END" {
                return Ok(found);
            } else {
                let words = line.to_vec();
                return Err(self.refused(&words, ""));
            }
        }
    }

    /// The server is not there, or speaks something else.
    pub(super) fn lost(&self, error: io::Error) -> Error {
        let error = match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                let message =
                    format!("no answer within {}", humantime::format_duration(self.server.timeout()));
                io::Error::new(ErrorKind::TimedOut, message)
            }
            ErrorKind::UnexpectedEof => {
                io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")
            }
            _ => error,
        };
        Error::unavailable(self.server.name(), error)
    }

    /// The server answered, but not with what was asked for.
    pub(super) fn refused(&self, words: &[u8], hint: &str) -> Error {
        self.server.refused(&format!("{}{hint}", String::from_utf8_lossy(words)))
    }
}

/// A whole number in ASCII.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
