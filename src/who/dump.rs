//! Who may be online, as a server's own crawler lists its items.
//!
//! Before memcached 1.6.19 a listing holds locks for as long as its reader does not read, and the whole server
//! stands still. So a thread of its own drains it to the end, does nothing else meanwhile, and closes the
//! connection at its deadline.

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

/// For one listing.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// A server counts time in whole seconds, and notes a store up to two seconds late.
const SLACK: u64 = 5;

/// An item's own bytes beside its value: the key, and what memcached keeps of it.
const ITEM: u64 = 1_024;

/// Who may be online.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Packed: a name, and a hint if there is one, on each line, which no legal name breaks.
    text: String,
    read: usize,
    /// Keys with the prefix that name no user.
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

    /// The next one; an iterator could not lend it.
    pub(super) fn next(&mut self) -> Option<(&str, Hint)> {
        let (line, _) = self.text[self.read..].split_once('\n')?;
        self.read += line.len() + 1;
        let Some((name, hint)) = line.split_once(' ') else { return Some((line, Hint::NONE)) };
        Some((name, Hint { large: hint.starts_with('l'), expires: hint[1..].parse().unwrap_or(NEVER) }))
    }
}

/// How a listing goes on beside its caller.
pub(super) struct Listing(Receiver<Result<Candidates>>);

impl Listing {
    /// Lists the server, on a thread of its own. While another program lists it, waits until then and asks again. `adopt`
    /// is given each connection, and says whether nobody waits any more.
    pub(super) fn start(
        server: &Remote,
        tracker: &Tracker,
        patience: Duration,
        until: Instant,
        adopt: impl Fn(Closer) -> bool + Send + 'static,
    ) -> Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let (server, tracker) = (server.clone(), tracker.clone());
        thread::Builder::new()
            .name("last-seen-dump".to_owned())
            .spawn(move || sender.send(wait_and_dump(&server, &tracker, patience, until, adopt)))
            .map_err(Error::no_thread)?;
        Ok(Self(receiver))
    }

    /// What is known without asking.
    pub(super) fn done(candidates: Candidates) -> Self {
        let (sender, receiver) = mpsc::channel();
        let _ = sender.send(Ok(candidates));
        Self(receiver)
    }

    pub(super) fn wait(&self) -> Result<Candidates> {
        self.0.recv().unwrap_or_else(|_| Err(panicked()))
    }

    /// The result, if it is there.
    pub(super) fn result(&self) -> Option<Result<Candidates>> {
        match self.0.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(panicked())),
        }
    }
}

enum Answer {
    Whole(Candidates),
    /// Another program lists.
    Busy,
}

fn panicked() -> Error {
    Error::system(io::Error::other("the thread of a listing panicked"))
}

fn wait_and_dump(
    server: &Remote,
    tracker: &Tracker,
    patience: Duration,
    until: Instant,
    adopt: impl Fn(Closer) -> bool,
) -> Result<Candidates> {
    let busy = || {
        let message = "another program is listing its items";
        Error::unavailable(server.name(), io::Error::new(ErrorKind::ResourceBusy, message))
    };
    let _turn = Turn::wait(server.name(), until).ok_or_else(busy)?;
    let mut pause = Duration::from_millis(50);
    loop {
        if let Answer::Whole(candidates) = dump(server, tracker, patience, until, &adopt)? {
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
    patience: Duration,
    until: Instant,
    adopt: impl Fn(Closer) -> bool,
) -> Result<Answer> {
    let (prefix, window) = (tracker.settings().key_prefix(), tracker.settings().online_timeout().as_secs());
    let mut connection = server.connect(patience)?;
    if adopt(connection.closer()) {
        return Err(connection.lost(ErrorKind::ConnectionAborted.into()));
    }
    let Some(now) = stat(&mut connection, "time")? else {
        return Err(server.refused("stats without a time"));
    };
    // `all` in place of `hash` misses items.
    connection.send("lru_crawler metadump hash")?;
    let deadline = until.min(Instant::now() + DEADLINE);
    let mut candidates = Candidates::default();
    let mut begun = false;
    loop {
        let line = match connection.line(MAX_LINE, deadline) {
            Ok(line) => line,
            // Before 1.6.19 a second listing waits for a first that is stuck, and is not told BUSY.
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
            return Ok(Answer::Whole(candidates));
        } else if line.starts_with(b"ERROR locked") || (!begun && line.starts_with(b"BUSY")) {
            return Ok(Answer::Busy);
        } else if begun || line != b"OK" {
            let words = line.to_vec();
            return Err(match (begun, &words[..]) {
                (false, b"ERROR") => server.refused("ERROR; listing needs memcached itself, not a proxy"),
                (false, _) => server.refused(&String::from_utf8_lossy(&words)),
                (true, _) => garbage(server, &words),
            });
        }
        begun = true;
    }
}

struct Item<'a> {
    key: &'a [u8],
    /// When it was stored or last read, by the server's clock.
    accessed: u64,
    /// When it expires, by the server's clock; `None` for never.
    expires: Option<u64>,
    size: u64,
}

impl<'a> Item<'a> {
    /// `key=seen_alice exp=1795486388 la=1794881588 cas=1 fetch=no cls=1 size=79`, and more from 1.6.43.
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

    fn hint(&self, end: u64) -> Hint {
        let expires = self.expires.filter(|&at| at <= end).map_or(NEVER, u64::cast_signed);
        Hint { large: self.size > ITEM + MAX_VALUE as u64, expires }
    }
}

fn timed_out(server: &Remote, what: &str) -> Error {
    let message = format!("{what} within {}", humantime::format_duration(DEADLINE));
    Error::unavailable(server.name(), io::Error::new(ErrorKind::TimedOut, message))
}

fn garbage(server: &Remote, line: &[u8]) -> Error {
    let message = format!("not a line of a listing: {}", EscapedQuoted(&String::from_utf8_lossy(line)));
    Error::unavailable(server.name(), io::Error::new(ErrorKind::InvalidData, message))
}

/// The right to list a server: one at a time in this process.
struct Turn(String);

static LISTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static ENDED: Condvar = Condvar::new();

impl Turn {
    fn wait(server: &str, deadline: Instant) -> Option<Self> {
        let left = deadline.saturating_duration_since(Instant::now());
        let listed = LISTED.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut listed, _) = ENDED
            .wait_timeout_while(listed, left, |listed| listed.contains(server))
            .unwrap_or_else(PoisonError::into_inner);
        listed.insert(server.to_owned()).then(|| Self(server.to_owned()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        LISTED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        ENDED.notify_all();
    }
}
