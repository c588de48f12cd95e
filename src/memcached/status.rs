//! What a server says of itself, by the text commands that the client crate does not speak.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::peer::Peer;
use crate::{
    error::{Error, Escaped, Result},
    settings::Server,
};

/// One server of a tracker, for health checks.
///
/// Serializes with the same keys whether it is up or down, null if unknown: `server`, `status` (`"up"` or `"down"`),
/// `version`, `latency_us`, `clock_offset_s`, `connections`, `max_connections` and `error` (an [`Error`]).
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

impl Serialize for ServerStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let info = self.info.as_ref().ok();
        let mut fields = serializer.serialize_struct("ServerStatus", 8)?;
        fields.serialize_field("server", &self.server)?;
        fields.serialize_field("status", if info.is_some() { "up" } else { "down" })?;
        fields.serialize_field("version", &info.map(|info| &info.version))?;
        fields.serialize_field("latency_us", &info.map(|info| info.latency.as_micros() as u64))?;
        fields.serialize_field("clock_offset_s", &info.map(|info| info.clock_offset.num_seconds()))?;
        fields.serialize_field("connections", &info.map(|info| info.connections))?;
        fields.serialize_field("max_connections", &info.map(|info| info.max_connections))?;
        fields.serialize_field("error", &self.info.as_ref().err())?;
        fields.end()
    }
}

/// More than any version answers.
const MAX_ANSWER: usize = 64 * 1024;

pub(super) fn ask(peer: &Peer) -> ServerStatus {
    ServerStatus { server: peer.server.name().to_owned(), info: info(peer) }
}

fn info(peer: &Peer) -> Result<ServerInfo> {
    let (server, now) = (&peer.server, Instant::now);
    let asked = Utc::now();
    // A health check wants to know how the server is now, so it asks where it is too, and it asks a server
    // at rest.
    let found = peer.name().find_anew(now() + peer.timeout / 2);
    let answer = found.and_then(|address| exchange(address, now() + peer.timeout, "stats"));
    let answer = answer.map_err(|error| Error::unavailable(server.name(), error))?;
    if at_connection_limit(&answer.lines) {
        return Err(connection_limit(server));
    }
    let stat = |name: &str| {
        let found = answer.lines.iter().find_map(|line| {
            let (key, value) = line.strip_prefix("STAT ")?.split_once(' ')?;
            (key == name).then_some(value)
        });
        let unknown = || Error::answered(server.name(), answer.lines.first().map_or("", String::as_str));
        found.ok_or_else(unknown)
    };
    let number = |name: &str| {
        let value = stat(name)?;
        value.parse::<u64>().map_err(|_| Error::answered(server.name(), &format!("STAT {name} {value}")))
    };
    let time = i64::try_from(number("time")?).unwrap_or(i64::MAX);
    Ok(ServerInfo {
        version: Escaped(stat("version")?).to_string(),
        latency: answer.latency,
        clock_offset: TimeDelta::try_seconds(time.saturating_sub(asked.timestamp()))
            .unwrap_or(TimeDelta::MAX),
        connections: number("curr_connections")?,
        max_connections: number("max_connections")?,
    })
}

/// Why the server answered a meta command with `ERROR`.
pub(super) fn explain_error(server: &Server, address: SocketAddr, until: Instant) -> Error {
    let lines = match exchange(address, until, "version") {
        Ok(answer) => answer.lines,
        Err(error) => return Error::unavailable(server.name(), error),
    };
    if at_connection_limit(&lines) {
        return connection_limit(server);
    }
    let version = lines.iter().find_map(|line| line.strip_prefix("VERSION "));
    let version = version.map(|version| format!(", this is {version}")).unwrap_or_default();
    Error::answered(server.name(), &format!("ERROR; meta commands need memcached 1.6{version}"))
}

/// Whether a memcached answers there that takes connections, whatever it answers.
pub(super) fn alive(address: SocketAddr, until: Instant) -> bool {
    let known = |line: &str| {
        let word = line.split(' ').next();
        matches!(word, Some("MN" | "ERROR" | "CLIENT_ERROR" | "SERVER_ERROR"))
    };
    exchange(address, until, "mn").is_ok_and(|answer| {
        !at_connection_limit(&answer.lines) && answer.lines.first().is_some_and(|line| known(line))
    })
}

fn at_connection_limit(lines: &[String]) -> bool {
    lines.first().is_some_and(|line| says_connection_limit(line))
}

pub(super) fn says_connection_limit(line: &str) -> bool {
    line.starts_with("ERROR Too many open connections")
}

pub(super) fn connection_limit(server: &Server) -> Error {
    let source = io::Error::new(io::ErrorKind::ConnectionRefused, "the server is at its connection limit");
    Error::unavailable(server.name(), source)
}

struct Answer {
    lines: Vec<String>,
    latency: Duration,
}

/// One text command on a connection of its own.
fn exchange(address: SocketAddr, until: Instant, command: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, left(until)?)?;
    let started = Instant::now();
    stream.set_write_timeout(Some(left(until)?))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let (mut lines, mut rest, mut piece) = (Vec::new(), Vec::new(), [0; 4096]);
    let mut room = MAX_ANSWER;
    loop {
        // Armed for each read: a server may send single bytes for ever.
        stream.set_read_timeout(Some(left(until)?))?;
        let read = match stream.read(&mut piece[..room.min(4096)]) {
            // What a socket timeout is called on Unix.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            read => read?,
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        room -= read;
        rest.extend_from_slice(&piece[..read]);
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let last = !line.starts_with("STAT ");
            lines.push(line);
            if last {
                return Ok(Answer { lines, latency: started.elapsed() });
            }
        }
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}
