//! What a server says of itself, by the text commands that the client crate does not speak.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};

use crate::{
    error::{Error, Result},
    settings::Server,
};

/// One server of a tracker, for health checks.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerStatus {
    /// The server as the settings name it.
    pub server: String,
    /// What it says of itself, or why it cannot be reached.
    pub info: Result<ServerInfo>,
}

/// What a memcached server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// Its version, for example `"1.6.45"`.
    pub version: String,
    /// How long it took to answer on an open connection.
    pub latency: Duration,
    /// How far its clock is ahead of this host's, in whole seconds; it counts in whole seconds and
    /// up to one behind.
    pub clock_offset: TimeDelta,
    /// Open connections, of all its clients.
    pub connections: u64,
    /// How many it allows.
    pub max_connections: u64,
}

/// More than any version answers.
const MAX_ANSWER: u64 = 64 * 1024;

pub(super) fn ask(server: &Server, timeout: Duration) -> ServerStatus {
    ServerStatus { server: server.name().to_owned(), info: info(server, timeout) }
}

fn info(server: &Server, timeout: Duration) -> Result<ServerInfo> {
    let asked = Utc::now();
    let answer =
        exchange(server, timeout, "stats").map_err(|error| Error::unavailable(server.name(), error))?;
    if at_connection_limit(&answer.lines) {
        return Err(connection_limit(server));
    }
    let stat = |name: &str| {
        let found = answer.lines.iter().find_map(|line| {
            let (key, value) = line.strip_prefix("STAT ")?.split_once(' ')?;
            (key == name).then_some(value)
        });
        let unknown = || Error::rejected(server.name(), answer.lines.first().map_or("", String::as_str));
        found.ok_or_else(unknown)
    };
    let number = |name: &str| {
        let value = stat(name)?;
        value.parse::<u64>().map_err(|_| Error::rejected(server.name(), format!("STAT {name} {value}")))
    };
    let time = i64::try_from(number("time")?).unwrap_or(i64::MAX);
    Ok(ServerInfo {
        version: stat("version")?.to_owned(),
        latency: answer.latency,
        clock_offset: TimeDelta::try_seconds(time.saturating_sub(asked.timestamp()))
            .unwrap_or(TimeDelta::MAX),
        connections: number("curr_connections")?,
        max_connections: number("max_connections")?,
    })
}

/// Why the server answered a meta command with `ERROR`.
pub(super) fn explain_error(server: &Server, timeout: Duration) -> Error {
    let lines = match exchange(server, timeout, "version") {
        Ok(answer) => answer.lines,
        Err(error) => return Error::unavailable(server.name(), error),
    };
    if at_connection_limit(&lines) {
        return connection_limit(server);
    }
    let version = lines.iter().find_map(|line| line.strip_prefix("VERSION "));
    let version = version.map(|version| format!(", this is {version}")).unwrap_or_default();
    Error::rejected(server.name(), format!("ERROR; meta commands need memcached 1.6{version}"))
}

fn at_connection_limit(lines: &[String]) -> bool {
    lines.first().is_some_and(|line| line.starts_with("ERROR Too many open connections"))
}

fn connection_limit(server: &Server) -> Error {
    let source = io::Error::new(io::ErrorKind::ConnectionRefused, "the server is at its connection limit");
    Error::unavailable(server.name(), source)
}

struct Answer {
    lines: Vec<String>,
    latency: Duration,
}

/// One text command on a connection of its own, in `timeout` once it is open.
fn exchange(server: &Server, timeout: Duration, command: &str) -> io::Result<Answer> {
    let mut stream = dial(server, timeout / 2)?;
    let (started, deadline) = (Instant::now(), Instant::now() + timeout);
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut lines = Vec::new();
    let mut reader = BufReader::new(stream.try_clone()?.take(MAX_ANSWER));
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut line = Vec::new();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) if lines.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(0) => break,
            Ok(_) => {}
            // What a socket timeout is called on Unix.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let more = line.starts_with("STAT ");
        lines.push(line);
        if !more {
            break;
        }
    }
    Ok(Answer { lines, latency: started.elapsed() })
}

/// Tries each address of the server's name, all within `timeout`.
fn dial(server: &Server, timeout: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + timeout;
    let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (server.host(), server.port()).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}
