//! A memcached as it is followed: its log over one connection, and everything that is asked, stored and read over
//! another, so that answers come in the order of the questions.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, ErrorKind},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use super::{
    BEAT_PREFIX, MAX_LINE, Name,
    dump::Listing,
    follower::{Line, Source},
    hub::Hub,
    ledger::{Hint, Look, NEVER, Seen},
    name_in, number, stat,
};
use crate::{
    error::{Error, InvalidRecordError, Result},
    memcached::{LineConnection, Remote, When, Write},
    record::{Key, Keys, MAX_VALUE, Value},
    tracker::Tracker,
};

/// For the answer to `watch`, also if `server_timeout` is shorter: a quiet server took 0.99 s.
const LOG_TIMEOUT: Duration = Duration::from_secs(2);

/// For every other answer, if `server_timeout` is less: nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// For other programs' lists to end.
const BUSY: Duration = Duration::from_secs(60);

/// While there is other work, the log is looked at as often, for a moment.
const GLANCE: Duration = Duration::from_millis(50);
const MOMENT: Duration = Duration::from_millis(1);

/// A flood does not keep its reader from other work.
const LINES_MAX: usize = 1_000;

/// Sizes are asked for in pieces of as many: `memcached -Z` hangs after more than 16 KB.
const SIZES_MAX: usize = 50;

pub(super) struct Feed {
    server: Remote,
    tracker: Tracker,
    hub: Arc<Hub>,
    connections: Option<Connections>,
    beat: Key,
}

struct Connections {
    log: LineConnection,
    asked: LineConnection,
    glanced: Instant,
}

impl Feed {
    pub(super) fn new(server: Remote, tracker: &Tracker, hub: &Arc<Hub>) -> Self {
        let beat = format!("{BEAT_PREFIX}{:016x}", RandomState::new().hash_one(0));
        let (tracker, hub, beat) = (tracker.clone(), hub.clone(), Key::from(beat.as_str()));
        Self { server, tracker, hub, connections: None, beat }
    }

    fn patience(&self) -> Duration {
        self.server.timeout().max(PATIENCE)
    }

    fn connect(&self) -> Result<LineConnection> {
        let connection = self.server.connect(self.patience())?;
        if self.hub.adopt(connection.closer()) {
            return Err(connection.lost(ErrorKind::ConnectionAborted.into()));
        }
        Ok(connection)
    }

    fn open_log(&self) -> Result<LineConnection> {
        let mut log = self.connect()?;
        let mut answer = Vec::new();
        // memcached 1.6.18 knows no `deletions`.
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

    /// Asks; over a new connection once more if that fails.
    fn ask<T>(&mut self, mut ask: impl FnMut(&mut LineConnection) -> Result<T>) -> Result<T> {
        let connections = self.connections.as_mut().ok_or_else(|| not_open(self.server.name()))?;
        if let Ok(answer) = ask(&mut connections.asked) {
            return Ok(answer);
        }
        let mut connection = self.connect()?;
        self.stays()?;
        let answer = ask(&mut connection)?;
        if let Some(connections) = &mut self.connections {
            connections.asked = connection;
        }
        Ok(answer)
    }

    /// An error if the server's name has another address than the log came from.
    fn stays(&self) -> Result<()> {
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
        let mut asked = self.connect()?;
        let dropped = dropped(&mut asked)?;
        let log = self.open_log()?;
        self.connections = Some(Connections { log, asked, glanced: Instant::now() });
        self.server.recovered();
        Ok(dropped)
    }

    fn hear(&mut self, until: Instant, hear: &mut dyn FnMut(Line)) -> Result<()> {
        self.stays()?;
        let (server, tracker) = (self.server.name(), &self.tracker);
        let Some(Connections { log, glanced, .. }) = &mut self.connections else {
            return Err(not_open(server));
        };
        let now = Instant::now();
        let until = if now - *glanced >= GLANCE { until.max(now + MOMENT) } else { until };
        if until > now {
            *glanced = now;
        }
        for _ in 0..LINES_MAX {
            match log.line(MAX_LINE, until) {
                Ok(line) => hear(read_line(line, tracker, server)),
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
        self.ask(dropped)
    }

    fn beat(&mut self) -> Result<()> {
        let value = Value { flags: 0, bytes: Vec::new() };
        let write = Write { key: self.beat.clone(), home: None, value, expiry: 60, when: When::Always };
        self.ask(|connection| connection.set(&write))
    }

    fn list(&mut self) -> Result<Listing> {
        let (hub, until) = (self.hub.clone(), Instant::now() + BUSY);
        Listing::start(&self.server, &self.tracker, self.patience(), until, move |closer| hub.adopt(closer))
    }

    fn read(&mut self, batch: &[Look], now: DateTime<Utc>) -> Result<Vec<Seen>> {
        let tracker = self.tracker.clone();
        let prefix = tracker.settings().key_prefix();
        let doubtful: Vec<_> = batch.iter().filter(|look| look.hint.large).collect();
        let large = match &doubtful[..] {
            [] => Vec::new(),
            doubtful => self.ask(|connection| large_of(connection, prefix, doubtful))?,
        };
        let mut large = large.into_iter();
        let is_large: Vec<bool> =
            batch.iter().map(|look| look.hint.large && large.next().unwrap_or(false)).collect();
        let small = batch.iter().zip(&is_large).filter(|(_, large)| !**large);
        let keys = Keys::new(prefix, small.map(|(look, _)| &*look.user));
        let read = self.ask(|connection| match keys.len() {
            0 => Ok(Vec::new()),
            _ => connection.get_many(&keys, |place, found| tracker.seen_in(keys.get(place), found, now)),
        })?;
        let mut read = read.into_iter();
        let seen = batch.iter().zip(is_large).map(|(look, large)| match large {
            true => Err(too_large(prefix, &look.user)),
            false => read.next().unwrap_or(Ok(None)),
        });
        Ok(seen.collect())
    }

    fn refuses(&mut self, error: &Error) -> bool {
        let at_first = self.connections.take().is_none();
        let closed =
            matches!(error, Error::Unavailable { source, .. } if source.kind() == ErrorKind::UnexpectedEof);
        // A proxy closes the connection, and is there all the same.
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

/// A value that is too large for a time and so is not read.
pub(super) fn too_large(prefix: &str, user: &str) -> Error {
    Error::InvalidRecord { key: format!("{prefix}{user}"), source: InvalidRecordError::too_large() }
}

/// Whether each value is too large for a time, without reading it.
fn large_of(connection: &mut LineConnection, prefix: &str, looks: &[&Look]) -> Result<Vec<bool>> {
    let mut large = Vec::with_capacity(looks.len());
    for looks in looks.chunks(SIZES_MAX) {
        let questions: Vec<_> = looks.iter().map(|look| format!("mg {prefix}{} s", look.user)).collect();
        connection.send(&questions.join("\r\n"))?;
        let deadline = Instant::now() + connection.patience;
        for _ in looks {
            // `HD s3000`, or `EN`; or `ERROR` of a server without meta commands.
            let size = match connection.line(MAX_LINE, deadline) {
                Ok(line) => line.strip_prefix(b"HD s").and_then(number),
                Err(error) => return Err(connection.lost(error)),
            };
            large.push(size.is_some_and(|size| size > MAX_VALUE as u64));
        }
    }
    Ok(large)
}

/// `ts=1795489812.429044 gid=2 type=item_store key=seen_alice status=stored cmd=set ttl=604800 clsid=1 cfd=25 size=10`
fn read_line(line: &[u8], tracker: &Tracker, server: &str) -> Line {
    if let Some(lost) = line.strip_prefix(b"skipped=") {
        return Line::Lost(number(lost).unwrap_or(1));
    }
    let fields = || line.split(|&byte| byte == b' ');
    let field = |name: &[u8]| fields().find_map(|field| field.strip_prefix(name));
    let Some(key) = field(b"key=").filter(|_| line.starts_with(b"ts=")) else {
        // A line of another kind has no key. What is no line may have been one.
        return if field(b"type=").is_some() { Line::Other } else { Line::Lost(1) };
    };
    let window = tracker.settings().online_timeout().as_secs();
    match name_in(key, tracker.settings().key_prefix()) {
        // Not a copy that stayed where the sharding does not look.
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
