//! What a server reports about itself.

use std::{
    io,
    time::{Duration, Instant},
};

use chrono::{TimeDelta, Utc};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{link::run_through, probe, protocol::Lines, server::Server};
use crate::error::{Error, Escaped, Result};

/// Tells the health of one server: from [`Tracker::server_status`](crate::Tracker::server_status).
///
/// ```
/// let tracker = last_seen::Tracker::connect("127.0.0.1:1").unwrap(); // nothing listens there
/// let status = &tracker.server_status()[0];
/// assert_eq!(status.server, "127.0.0.1:1");
/// assert!(status.info.is_err());
/// ```
///
/// Serializes with the same keys whether it is up or down, null if unknown: `server`, `status` (`"up"` or `"down"`),
/// `version`, `latency_us`, `clock_offset_s`, `connections`, `max_connections` and `error` (an [`Error`]).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerStatus {
    /// Names the server as the settings do.
    pub server: String,
    /// Holds what the server says of itself, or why it is unavailable.
    pub info: Result<ServerInfo>,
}

/// Holds what a memcached server says of itself. A proxy tells only its version.
///
/// ```
/// fn warn(info: &last_seen::ServerInfo) {
///     if let (Some(open), Some(max)) = (info.connections, info.max_connections)
///         && open * 10 > max * 9
///     {
///         eprintln!("{open} of {max} connections are open");
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// Names its version, such as `"1.6.45"`.
    pub version: String,
    /// Tells how long it took to answer on an open connection.
    pub latency: Duration,
    /// Tells how far its clock is ahead of this host's, in whole seconds. memcached's clock is up to 1 s late by design.
    pub clock_offset: Option<TimeDelta>,
    /// Counts the open connections of all its clients.
    pub connections: Option<u64>,
    /// Tells how many connections it allows.
    pub max_connections: Option<u64>,
}

impl Serialize for ServerStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let info = self.info.as_ref().ok();
        let mut fields = serializer.serialize_struct("ServerStatus", 8)?;
        fields.serialize_field("server", &self.server)?;
        fields.serialize_field("status", if info.is_some() { "up" } else { "down" })?;
        fields.serialize_field("version", &info.map(|info| &info.version))?;
        fields.serialize_field("latency_us", &info.map(|info| info.latency.as_micros() as u64))?;
        let offset = info.and_then(|info| info.clock_offset);
        fields.serialize_field("clock_offset_s", &offset.map(|offset| offset.num_seconds()))?;
        fields.serialize_field("connections", &info.and_then(|info| info.connections))?;
        fields.serialize_field("max_connections", &info.and_then(|info| info.max_connections))?;
        fields.serialize_field("error", &self.info.as_ref().err())?;
        fields.end()
    }
}

/// Asks the server on a new connection, at its current address, even while the circuit is open.
pub(super) fn ask(server: &Server) -> ServerStatus {
    ServerStatus { server: server.name.clone(), info: info(server) }
}

fn info(server: &Server) -> Result<ServerInfo> {
    let mut connection = server
        .connect_outside_pool(server.timeout)
        .map_err(|broken| server.error(broken, "connection", server.timeout / 2))?;
    let (started, mut version) = (Instant::now(), Lines::one(b"version\r\n"));
    let deadline = started + server.timeout;
    if let Err(broken) = run_through(connection.run(&mut version, deadline)) {
        return Err(match probe::speaks_binary(server, server.timeout / 4) {
            true => {
                Error::unavailable(&server.name, io::Error::new(io::ErrorKind::InvalidData, probe::BINARY))
            }
            false => server.error(broken, "answer", server.timeout),
        });
    }
    let latency = started.elapsed();
    let line = version.lines.first().map_or("", String::as_str);
    let version = line.strip_prefix("VERSION ").ok_or_else(|| match line {
        line if line.contains("ERROR") => server.refused(line),
        line => Error::answered(&server.name, line),
    })?;
    let asked = Utc::now();
    let mut stats = Lines::stats();
    // A proxy closes the connection in reply, so its numbers are unknown.
    let _ = run_through(connection.run(&mut stats, Instant::now() + server.timeout));
    let number = |name: &str| {
        let line = |line: &String| {
            Some(line.strip_prefix("STAT ")?.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
        };
        stats.lines.iter().find_map(line).flatten()
    };
    let offset =
        |time: u64| TimeDelta::try_seconds(i64::try_from(time).ok()?.saturating_sub(asked.timestamp()));
    Ok(ServerInfo {
        version: Escaped(version).to_string(),
        latency,
        clock_offset: number("time").and_then(offset),
        connections: number("curr_connections"),
        max_connections: number("max_connections"),
    })
}
