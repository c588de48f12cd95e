//! Follows one server's log of what is stored.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, ErrorKind},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{MAX_LINE, Name, inbox::Inbox, name_in, number, stat};
use crate::{
    error::{Error, Result},
    memcached::{LineConnection, Remote},
};

/// A stopped or cut-off server sends nothing, and neither does a quiet one: it is asked as often.
const CHECK: Duration = Duration::from_secs(1);

/// For the answer to `watch`, whatever `server_timeout` is: measured on a quiet server, 0.99 s.
pub(super) const LOG_TIMEOUT: Duration = Duration::from_secs(2);

const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// With the half of it that may come on top and the dial, a server is followed again within 2 s of its
/// return, however long it was away.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// For a server that is there and refuses.
const SLOW_PAUSE: Duration = Duration::from_secs(10);

pub(super) const TOO_MANY: &str = "WATCHER_TOO_MANY";

pub(super) struct Follower {
    pub(super) server: Remote,
    /// Its place in the inbox.
    pub(super) place: usize,
    pub(super) prefix: String,
    pub(super) inbox: Arc<Inbox>,
}

impl Follower {
    /// Returns when the inbox is closed.
    pub(super) fn run(&self) {
        let mut failures = 0;
        loop {
            let started = Instant::now();
            let Err(error) = self.follow() else { continue };
            if started.elapsed() > SLOW_PAUSE {
                failures = 0;
            }
            let longest = if matches!(error, Error::Server { .. }) { SLOW_PAUSE } else { LONGEST_PAUSE };
            self.inbox.lost(self.place, error);
            if self.inbox.pause(pause(failures, longest)) {
                return;
            }
            failures += 1;
        }
    }

    /// Returns `Ok` if the server has moved behind its name.
    fn follow(&self) -> Result<()> {
        let mut checks = Some(self.dial()?);
        let mut dropped = self.dropped(&mut checks)?;
        let mut log = self.dial()?;
        log.send("watch mutations")?;
        // The server's logger may sleep for a second.
        let answer = match log.line(MAX_LINE, Instant::now() + LOG_TIMEOUT) {
            Ok(line) => line.to_vec(),
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                let words =
                    format!("the log did not begin within {}", humantime::format_duration(LOG_TIMEOUT));
                return Err(Error::unavailable(self.server.name(), io::Error::new(error.kind(), words)));
            }
            Err(error) => return Err(log.lost(error)),
        };
        if answer != b"OK" {
            let hint = match answer.starts_with(TOO_MANY.as_bytes()) {
                true => "; it has 20 at most: one `Watch` a program, fanned out, is enough",
                false => "",
            };
            return Err(self.server.refused(&format!("{}{hint}", String::from_utf8_lossy(&answer))));
        }
        self.server.recovered();
        self.inbox.found(self.place);
        let mut news = News::default();
        let mut heard = false;
        let mut check = Instant::now() + CHECK;
        loop {
            match log.line(MAX_LINE, check) {
                Ok(line) => {
                    heard = true;
                    news.read(line, &self.prefix);
                    if log.drained() || news.names.len() >= 1_000 {
                        news.deliver(&self.inbox);
                    }
                }
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    match self.dropped(&mut checks) {
                        Ok(now) => {
                            self.inbox.miss(now.saturating_sub(dropped));
                            dropped = now;
                        }
                        // It is there, and busy.
                        Err(_) if heard => {}
                        Err(error) => return Err(error),
                    }
                    if self.server.has_moved_since(&log) {
                        return Ok(());
                    }
                    heard = false;
                    check = Instant::now() + CHECK;
                }
                Err(error) => {
                    news.deliver(&self.inbox);
                    return Err(log.lost(error));
                }
            }
        }
    }

    /// How many lines the server could not log so far, for all its watchers.
    fn dropped(&self, checks: &mut Option<LineConnection>) -> Result<u64> {
        let kept =
            checks.take().and_then(|mut connection| Some((dropped_at(&mut connection).ok()?, connection)));
        let (dropped, connection) = match kept {
            Some(asked) => asked,
            None => {
                let mut connection = self.dial()?;
                (dropped_at(&mut connection)?, connection)
            }
        };
        *checks = Some(connection);
        Ok(dropped)
    }

    fn dial(&self) -> Result<LineConnection> {
        let connection = self.server.connect()?;
        if self.inbox.adopt(connection.closer()) {
            return Err(connection.lost(ErrorKind::ConnectionAborted.into()));
        }
        Ok(connection)
    }
}

fn dropped_at(connection: &mut LineConnection) -> Result<u64> {
    Ok(stat(connection, "log_worker_dropped")?.unwrap_or(0))
}

/// What a few lines of the log say.
#[derive(Default)]
struct News {
    names: Vec<String>,
    missed: u64,
    skipped: u64,
}

impl News {
    fn read(&mut self, line: &[u8], prefix: &str) {
        match Line::read(line) {
            Line::Stored(key) => match name_in(key, prefix) {
                Name::User(name) => self.names.push(name),
                Name::Illegal => self.skipped += 1,
                Name::Foreign => {}
            },
            Line::Skipped(count) => self.missed = self.missed.saturating_add(count),
            Line::Other => {}
            Line::Unknown => self.missed = self.missed.saturating_add(1),
        }
    }

    fn deliver(&mut self, inbox: &Inbox) {
        if !self.names.is_empty() {
            inbox.push(self.names.drain(..));
        }
        if self.missed > 0 {
            inbox.miss(std::mem::take(&mut self.missed));
        }
        if self.skipped > 0 {
            inbox.skip(std::mem::take(&mut self.skipped));
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Stored(&'a [u8]),
    /// As many lines did not fit into this watcher's buffer.
    Skipped(u64),
    Other,
    Unknown,
}

impl<'a> Line<'a> {
    /// `ts=1795489812.429044 gid=2 type=item_store key=seen_alice status=stored cmd=set ttl=604800 ..`
    fn read(line: &'a [u8]) -> Self {
        if let Some(count) = line.strip_prefix(b"skipped=") {
            return number(count).map_or(Line::Unknown, Line::Skipped);
        }
        let mut fields = line.split(|&byte| byte == b' ');
        let mut field = |name: &[u8]| fields.find_map(|field| field.strip_prefix(name));
        if !line.starts_with(b"ts=") {
            return Line::Unknown;
        }
        match (field(b"type="), field(b"key="), field(b"status=")) {
            (Some(b"item_store"), Some(key), Some(b"stored")) => Line::Stored(key),
            (Some(b"item_store"), _, None) | (None, ..) => Line::Unknown,
            _ => Line::Other,
        }
    }
}

/// 0.5 s, doubling up to `longest`, each 50 % shorter or longer: the programs of a site do not come back all
/// at once.
fn pause(failures: u32, longest: Duration) -> Duration {
    let pause = SHORTEST_PAUSE.saturating_mul(1 << failures.min(16)).min(longest);
    // A random number of the standard library's.
    let share = RandomState::new().hash_one(failures) as f64 / u64::MAX as f64;
    pause.mul_f64(0.5 + share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_told_from_other_lines() {
        let stored = "ts=1.5 gid=2 type=item_store key=%3A1%3Aseen_bob status=stored cmd=set ttl=60 clsid=1";
        assert_eq!(Line::read(stored.as_bytes()), Line::Stored(b"%3A1%3Aseen_bob"));
        for other in [
            "ts=1.5 gid=2 type=item_store key=seen_a status=not_stored cmd=add ttl=0",
            "ts=1.5 gid=2 type=item_get key=seen_a status=found clsid=1",
            "ts=1.5 gid=2 type=deleted key=seen_a cmd=md",
        ] {
            assert_eq!(Line::read(other.as_bytes()), Line::Other, "{other}");
        }
        assert_eq!(Line::read(b"skipped=17"), Line::Skipped(17));
        for unknown in
            ["", "ts=1.5", "skipped=", "skipped=x", "key=seen_a", "ts=1 gid=2 type=item_store key=a"]
        {
            assert_eq!(Line::read(unknown.as_bytes()), Line::Unknown, "{unknown}");
        }
    }

    #[test]
    fn pauses_double_and_differ() {
        for (failures, expected) in [(0, 0.5), (1, 1.0), (2, 1.0), (3, 1.0), (u32::MAX, 1.0)] {
            let pauses: Vec<f64> =
                (0..1_000).map(|_| pause(failures, LONGEST_PAUSE).as_secs_f64() / expected).collect();
            assert!(pauses.iter().all(|share| (0.5..=1.5).contains(share)), "{pauses:?}");
            assert!(pauses.iter().any(|share| *share < 0.6) && pauses.iter().any(|share| *share > 1.4));
        }
    }
}
