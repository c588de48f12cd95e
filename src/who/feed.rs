//! Follows a memcached server over two connections: one carries its log, and the other all commands, so that each
//! answer belongs to the last command.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, ErrorKind},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use super::{
    HEARTBEAT_PREFIX, MAX_LINE, Name,
    dump::Listing,
    follower::{Line, Source},
    hub::Hub,
    ledger::{Hint, NEVER, PendingRead, Seen},
    name_in, number, stat,
};
use crate::{
    error::{Error, InvalidRecordError, Result},
    memcached::{LineConnection, Remote, When, Write},
    record::{Key, Keys, MAX_VALUE, Value},
    tracker::Tracker,
};

/// The timeout of the answer to `watch`, even if `server_timeout` is shorter. A quiet server took 0.99 s to answer.
const LOG_TIMEOUT: Duration = Duration::from_secs(2);

/// The shortest timeout of all other answers. It may exceed `server_timeout`, because no request waits for them.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait for other programs that list the server.
const LISTING_TIMEOUT: Duration = Duration::from_secs(60);

/// How often the log is polled while there is other work.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long such a poll waits for a line.
const POLL_WAIT: Duration = Duration::from_millis(1);

/// The most lines that one call reads, so that a flood of lines does not delay other work.
const LINES_MAX: usize = 1_000;

/// The most sizes that are requested at once, because `memcached -Z` hangs after more than 16 KB.
const SIZES_MAX: usize = 50;

pub(super) struct Feed {
    server: Remote,
    tracker: Tracker,
    hub: Arc<Hub>,
    connections: Option<Connections>,
    heartbeat: Key,
}

struct Connections {
    log: LineConnection,
    commands: LineConnection,
    polled_at: Instant,
}

impl Feed {
    pub(super) fn new(server: Remote, tracker: &Tracker, hub: &Arc<Hub>) -> Self {
        let heartbeat = format!("{HEARTBEAT_PREFIX}{:016x}", RandomState::new().hash_one(0));
        let (tracker, hub, heartbeat) = (tracker.clone(), hub.clone(), Key::from(heartbeat.as_str()));
        Self { server, tracker, hub, connections: None, heartbeat }
    }

    fn timeout(&self) -> Duration {
        self.server.timeout().max(MIN_TIMEOUT)
    }

    fn connect(&self) -> Result<LineConnection> {
        let connection = self.server.connect(self.timeout())?;
        if self.hub.register(connection.closer()) {
            return Err(connection.lost(ErrorKind::ConnectionAborted.into()));
        }
        Ok(connection)
    }

    fn open_log(&self) -> Result<LineConnection> {
        let mut log = self.connect()?;
        let mut answer = Vec::new();
        // memcached 1.6.18 does not know `deletions`.
        for command in ["watch mutations deletions", "watch mutations"] {
            log.send(command)?;
            answer = match log.line(MAX_LINE, Instant::now() + LOG_TIMEOUT) {
                Ok(line) => line.to_vec(),
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    let limit = humantime::format_duration(LOG_TIMEOUT);
                    let error = io::Error::new(error.kind(), format!("the log did not begin within {limit}"));
                    return Err(Error::unavailable(self.server.name(), error));
                }
                Err(error) => return Err(log.lost(error)),
            };
            if answer != b"ERROR" {
                break;
            }
        }
        if answer == b"OK" {
            return Ok(log);
        }
        let hint = match answer.starts_with(b"WATCHER_TOO_MANY") {
            true => "; memcached allows 20 watchers: share one `Watch` in a process",
            false => "",
        };
        Err(self.server.refused(&format!("{}{hint}", String::from_utf8_lossy(&answer))))
    }

    /// Calls `run` with the connection for commands. If that fails, calls it once more with a new connection.
    fn request<T>(&mut self, mut run: impl FnMut(&mut LineConnection) -> Result<T>) -> Result<T> {
        let connections = self.connections.as_mut().ok_or_else(|| not_open(self.server.name()))?;
        if let Ok(answer) = run(&mut connections.commands) {
            return Ok(answer);
        }
        let mut connection = self.connect()?;
        self.check_address()?;
        let answer = run(&mut connection)?;
        if let Some(connections) = &mut self.connections {
            connections.commands = connection;
        }
        Ok(answer)
    }

    /// Returns an error if the server's name no longer has the address that the log comes from.
    fn check_address(&self) -> Result<()> {
        let moved = |connections: &Connections| self.server.has_moved_since(&connections.log);
        if self.connections.as_ref().is_some_and(moved) {
            let error = io::Error::new(ErrorKind::ConnectionAborted, "its name has another address now");
            return Err(Error::unavailable(self.server.name(), error));
        }
        Ok(())
    }
}

fn not_open(server: &str) -> Error {
    Error::unavailable(server, ErrorKind::NotConnected.into())
}

impl Source for Feed {
    fn name(&self) -> &str {
        self.server.name()
    }

    fn open(&mut self) -> Result<u64> {
        self.connections = None;
        let mut commands = self.connect()?;
        let dropped = dropped(&mut commands)?;
        let log = self.open_log()?;
        self.connections = Some(Connections { log, commands, polled_at: Instant::now() });
        self.server.recovered();
        Ok(dropped)
    }

    fn read_log(&mut self, until: Instant, on_line: &mut dyn FnMut(Line)) -> Result<()> {
        self.check_address()?;
        let (server, tracker) = (self.server.name(), &self.tracker);
        let Some(Connections { log, polled_at, .. }) = &mut self.connections else {
            return Err(not_open(server));
        };
        let now = Instant::now();
        let until = if now - *polled_at >= POLL_INTERVAL { until.max(now + POLL_WAIT) } else { until };
        if until > now {
            *polled_at = now;
        }
        for _ in 0..LINES_MAX {
            match log.line(MAX_LINE, until) {
                Ok(line) => on_line(read_line(line, tracker, server)),
                Err(error) if error.kind() == ErrorKind::TimedOut => break,
                Err(error) => return Err(log.lost(error)),
            }
            if log.drained() {
                break;
            }
        }
        Ok(())
    }

    fn dropped(&mut self) -> Result<u64> {
        self.request(dropped)
    }

    fn store_heartbeat(&mut self) -> Result<()> {
        let value = Value { flags: 0, bytes: Vec::new() };
        let write = Write { key: self.heartbeat.clone(), home: None, value, expiry: 60, when: When::Always };
        // A server without memory logs what it refuses to store, too.
        self.request(|connection| match connection.set(&write) {
            Err(error) if error.is_out_of_memory() => Ok(()),
            stored => stored,
        })
    }

    fn list(&mut self) -> Result<Listing> {
        let (hub, until) = (self.hub.clone(), Instant::now() + LISTING_TIMEOUT);
        Listing::start(&self.server, &self.tracker, self.timeout(), until, move |closer| hub.register(closer))
    }

    fn read(&mut self, batch: &[PendingRead], now: DateTime<Utc>) -> Result<Vec<Seen>> {
        let tracker = self.tracker.clone();
        let prefix = tracker.settings().key_prefix();
        let maybe_large: Vec<_> = batch.iter().filter(|pending| pending.hint.large).collect();
        let large = match &maybe_large[..] {
            [] => Vec::new(),
            maybe_large => self.request(|connection| large_of(connection, prefix, maybe_large))?,
        };
        let mut large = large.into_iter();
        let is_large: Vec<bool> =
            batch.iter().map(|pending| pending.hint.large && large.next().unwrap_or(false)).collect();
        let small = batch.iter().zip(&is_large).filter(|(_, large)| !**large);
        let keys = Keys::new(prefix, small.map(|(pending, _)| &*pending.user));
        let read = self.request(|connection| match keys.len() {
            0 => Ok(Vec::new()),
            _ => connection.get_many(&keys, |place, found| tracker.seen_in(keys.get(place), found, now)),
        })?;
        let mut read = read.into_iter();
        let seen = batch.iter().zip(is_large).map(|(pending, large)| match large {
            true => Err(too_large(prefix, &pending.user)),
            false => read.next().unwrap_or(Ok(None)),
        });
        Ok(seen.collect())
    }

    fn refuses(&mut self, error: &Error) -> bool {
        let at_first = self.connections.take().is_none();
        let closed =
            matches!(error, Error::Unavailable { source, .. } if source.kind() == ErrorKind::UnexpectedEof);
        // A proxy that is up closes the connection at `watch`.
        matches!(error, Error::Server { .. }) || (at_first && closed && self.is_proxy())
    }
}

impl Feed {
    fn is_proxy(&self) -> bool {
        let Ok(mut connection) = self.connect() else { return false };
        let deadline = Instant::now() + self.server.timeout();
        connection.send("version").is_ok()
            && connection.line(MAX_LINE, deadline).is_ok_and(|line| line.starts_with(b"VERSION "))
    }
}

fn dropped(connection: &mut LineConnection) -> Result<u64> {
    Ok(stat(connection, "log_worker_dropped")?.unwrap_or(0))
}

/// Returns the error for a value that is too large to be a time, and so is not read.
pub(super) fn too_large(prefix: &str, user: &str) -> Error {
    Error::InvalidRecord { key: format!("{prefix}{user}"), source: InvalidRecordError::too_large() }
}

/// Returns whether each user's value is too large to be a time, without reading the value.
fn large_of(connection: &mut LineConnection, prefix: &str, users: &[&PendingRead]) -> Result<Vec<bool>> {
    let mut large = Vec::with_capacity(users.len());
    for users in users.chunks(SIZES_MAX) {
        let commands: Vec<_> = users.iter().map(|pending| format!("mg {prefix}{} s", pending.user)).collect();
        connection.send(&commands.join("\r\n"))?;
        let deadline = Instant::now() + connection.patience;
        for _ in users {
            // The answer is `HD s3000`, `EN` if there is no item, or `ERROR` if the server has no meta commands.
            let size = match connection.line(MAX_LINE, deadline) {
                Ok(line) => line.strip_prefix(b"HD s").and_then(number),
                Err(error) => return Err(connection.lost(error)),
            };
            large.push(size.is_some_and(|size| size > MAX_VALUE as u64));
        }
    }
    Ok(large)
}

/// Parses a line of the log, such as `ts=1795489812.429044 gid=2 type=item_store key=seen_alice status=stored cmd=set
/// ttl=604800 clsid=1 cfd=25 size=10`.
fn read_line(line: &[u8], tracker: &Tracker, server: &str) -> Line {
    if let Some(lost) = line.strip_prefix(b"skipped=") {
        return Line::Lost(number(lost).unwrap_or(1));
    }
    let fields = || line.split(|&byte| byte == b' ');
    let field = |name: &[u8]| fields().find_map(|field| field.strip_prefix(name));
    let Some(key) = field(b"key=").filter(|_| line.starts_with(b"ts=")) else {
        // A line of another type has no key. An unreadable line may have named a user, so it counts as lost.
        return if field(b"type=").is_some() { Line::Other } else { Line::Lost(1) };
    };
    let window = tracker.settings().online_timeout().as_secs();
    match name_in(key, tracker.settings().key_prefix()) {
        // A record on a server that the sharding does not select is a leftover that no tracker reads.
        Name::User(key) if tracker.store().server_of(&key) == server => {
            let ttl = field(b"ttl=").and_then(number).filter(|ttl| (1..=window).contains(ttl));
            let hint = Hint {
                large: field(b"size=").and_then(number).is_some_and(|size| size > MAX_VALUE as u64),
                expires: ttl.map_or(NEVER, |ttl| Utc::now().timestamp() + ttl.cast_signed()),
            };
            Line::Named(key, hint)
        }
        _ => Line::Other,
    }
}
