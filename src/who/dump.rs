//! Lists the users of a server who may be online, with the server's LRU crawler.
//!
//! Before memcached 1.6.19 the server holds locks while a client does not read its listing, and blocks all other
//! clients. So a dedicated thread reads the listing to the end, does nothing else meanwhile, and closes the connection
//! at the deadline.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    sync::{
        Condvar, Mutex, PoisonError,
        mpsc::{self, Receiver, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    MAX_LINE, Name,
    ledger::{Hint, NEVER},
    name_in, number,
    pace::jitter,
    stat,
};
use crate::{
    error::{Error, EscapedQuoted, Result},
    memcached::{Closer, Remote},
    record::MAX_VALUE,
    tracker::Tracker,
};

/// The timeout of one listing.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// Tolerance for access times, in seconds: a server counts whole seconds, and records a store up to 2 s late.
const SLACK: u64 = 5;

/// The most bytes of an item besides its value: the key and memcached's header.
const MAX_ITEM_OVERHEAD: u64 = 1_024;

/// The users who may be online.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// One line for each user: the name, then a space and the hint if there is one. Valid names contain no space and no
    /// newline.
    text: String,
    /// The bytes of `text` that are read.
    read: usize,
    /// The number of keys with the prefix that name no user.
    skipped: u64,
}

impl Candidates {
    pub(super) fn push(&mut self, name: &str, hint: Hint) {
        self.text.push_str(name);
        if hint != Hint::NONE {
            self.text.push_str(if hint.large { " l" } else { " s" });
            self.text.push_str(&hint.expires.to_string());
        }
        self.text.push('\n');
    }

    /// Returns the next user. This is not an `Iterator`, whose items could not borrow from it.
    pub(super) fn next(&mut self) -> Option<(&str, Hint)> {
        let (line, _) = self.text[self.read..].split_once('\n')?;
        self.read += line.len() + 1;
        let Some((name, hint)) = line.split_once(' ') else { return Some((line, Hint::NONE)) };
        Some((name, Hint { large: hint.starts_with('l'), expires: hint[1..].parse().unwrap_or(NEVER) }))
    }
}

/// A listing that runs on a separate thread.
pub(super) struct Listing(Receiver<Result<Candidates>>);

impl Listing {
    /// Starts to list the server on a new thread. While another program lists the server, waits and tries again, up to
    /// `until`. Passes each connection to `register`, which returns whether the listing is no longer wanted.
    pub(super) fn start(
        server: &Remote,
        tracker: &Tracker,
        timeout: Duration,
        until: Instant,
        register: impl Fn(Closer) -> bool + Send + 'static,
    ) -> Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let (server, tracker) = (server.clone(), tracker.clone());
        thread::Builder::new()
            .name("last-seen-dump".to_owned())
            .spawn(move || sender.send(wait_and_dump(&server, &tracker, timeout, until, register)))
            .map_err(Error::no_thread)?;
        Ok(Self(receiver))
    }

    /// Returns a listing that has ended with these candidates.
    pub(super) fn done(candidates: Candidates) -> Self {
        let (sender, receiver) = mpsc::channel();
        let _ = sender.send(Ok(candidates));
        Self(receiver)
    }

    /// Returns a listing that never ends.
    #[cfg(test)]
    pub(super) fn endless() -> Self {
        let (sender, receiver) = mpsc::channel();
        std::mem::forget(sender);
        Self(receiver)
    }

    pub(super) fn wait(&self) -> Result<Candidates> {
        self.0.recv().unwrap_or_else(|_| Err(panicked()))
    }

    /// Returns the result if the listing has ended.
    pub(super) fn result(&self) -> Option<Result<Candidates>> {
        match self.0.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(panicked())),
        }
    }
}

enum DumpResult {
    Complete(Candidates),
    /// Another program is listing the server.
    Busy,
}

fn panicked() -> Error {
    Error::system(io::Error::other("the thread of a listing panicked"))
}

fn wait_and_dump(
    server: &Remote,
    tracker: &Tracker,
    timeout: Duration,
    until: Instant,
    register: impl Fn(Closer) -> bool,
) -> Result<Candidates> {
    let busy = || {
        let message = "another program is listing its items";
        Error::unavailable(server.name(), io::Error::new(ErrorKind::ResourceBusy, message))
    };
    let _permit = Permit::wait(server.name(), until).ok_or_else(busy)?;
    let mut pause = Duration::from_millis(50);
    loop {
        if let DumpResult::Complete(candidates) = dump(server, tracker, timeout, until, &register)? {
            if candidates.skipped > 0 {
                let skipped = candidates.skipped;
                tracing::debug!(server = server.name(), skipped, "keys that name no user");
            }
            return Ok(candidates);
        }
        let pause_now = pause.mul_f64(0.5 + jitter());
        if Instant::now() + pause_now >= until {
            return Err(busy());
        }
        thread::sleep(pause_now);
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

fn dump(
    server: &Remote,
    tracker: &Tracker,
    timeout: Duration,
    until: Instant,
    register: impl Fn(Closer) -> bool,
) -> Result<DumpResult> {
    let (prefix, window) = (tracker.settings().key_prefix(), tracker.settings().online_timeout().as_secs());
    let mut connection = server.connect(timeout)?;
    if register(connection.closer()) {
        return Err(connection.lost(ErrorKind::ConnectionAborted.into()));
    }
    let Some(now) = stat(&mut connection, "time")? else {
        return Err(server.refused("stats without a time"));
    };
    // Use `hash`, because `all` misses items.
    connection.send("lru_crawler metadump hash")?;
    let deadline = until.min(Instant::now() + DEADLINE);
    let mut candidates = Candidates::default();
    let mut begun = false;
    loop {
        let line = match connection.line(MAX_LINE, deadline) {
            Ok(line) => line,
            // Before memcached 1.6.19 a second listing gets no `BUSY`, but waits for a first one that is stuck.
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                let what = if begun { "the listing did not end" } else { "the listing did not begin" };
                return Err(timed_out(server, what));
            }
            Err(error) => return Err(connection.lost(error)),
        };
        if let Some(item) = Item::read(line) {
            if item.accessed.saturating_add(window + SLACK) >= now {
                match name_in(item.key, prefix) {
                    Name::User(key) if tracker.store().server_of(&key) == server.name() => {
                        candidates.push(&key.as_str()[prefix.len()..], item.hint(now + window));
                    }
                    Name::Invalid => candidates.skipped += 1,
                    Name::User(_) | Name::Other => {}
                }
            }
        } else if line == b"END" {
            return Ok(DumpResult::Complete(candidates));
        } else if line.starts_with(b"ERROR locked") || (!begun && line.starts_with(b"BUSY")) {
            return Ok(DumpResult::Busy);
        } else if begun || line != b"OK" {
            let words = line.to_vec();
            return Err(match (begun, &words[..]) {
                (false, b"ERROR") => server.refused("ERROR; listing needs memcached itself, not a proxy"),
                (false, _) => server.refused(&String::from_utf8_lossy(&words)),
                (true, _) => invalid_line(server, &words),
            });
        }
        begun = true;
    }
}

struct Item<'a> {
    key: &'a [u8],
    /// When the item was stored or last read, by the server's clock.
    accessed: u64,
    /// When the item expires, by the server's clock; `None` for never.
    expires: Option<u64>,
    /// The size of the whole item in bytes.
    size: u64,
}

impl<'a> Item<'a> {
    /// Parses a line such as `key=seen_alice exp=1795486388 la=1794881588 cas=1 fetch=no cls=1 size=79`. memcached
    /// 1.6.43 and later add fields.
    fn read(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let key = fields.next()?.strip_prefix(b"key=")?;
        let mut item = Self { key, accessed: 0, expires: None, size: 0 };
        let mut accessed = None;
        for field in fields {
            match field.split_at_checked(4) {
                Some((b"exp=", time)) => item.expires = number(time),
                Some((b"size", size)) => item.size = number(size.get(1..)?)?,
                _ => accessed = field.strip_prefix(b"la=").map_or(accessed, number),
            }
        }
        item.accessed = accessed?;
        Some(item)
    }

    /// Returns the hint for the item, with its expiry if that is not after `end`.
    fn hint(&self, end: u64) -> Hint {
        let expires = self.expires.filter(|&at| at <= end).map_or(NEVER, u64::cast_signed);
        Hint { large: self.size > MAX_ITEM_OVERHEAD + MAX_VALUE as u64, expires }
    }
}

fn timed_out(server: &Remote, what: &str) -> Error {
    let message = format!("{what} within {}", humantime::format_duration(DEADLINE));
    Error::unavailable(server.name(), io::Error::new(ErrorKind::TimedOut, message))
}

fn invalid_line(server: &Remote, line: &[u8]) -> Error {
    let message = format!("not a line of a listing: {}", EscapedQuoted(&String::from_utf8_lossy(line)));
    Error::unavailable(server.name(), io::Error::new(ErrorKind::InvalidData, message))
}

/// The permit to list a server. In this process one thread at a time has it.
struct Permit(String);

/// The servers that this process is listing.
static LISTING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
/// Notified when a permit is returned.
static PERMIT_RETURNED: Condvar = Condvar::new();

impl Permit {
    fn wait(server: &str, deadline: Instant) -> Option<Self> {
        let left = deadline.saturating_duration_since(Instant::now());
        let listing = LISTING.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut listing, _) = PERMIT_RETURNED
            .wait_timeout_while(listing, left, |listing| listing.contains(server))
            .unwrap_or_else(PoisonError::into_inner);
        listing.insert(server.to_owned()).then(|| Self(server.to_owned()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        LISTING.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        PERMIT_RETURNED.notify_all();
    }
}
