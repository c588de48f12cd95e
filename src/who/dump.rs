//! Who may be online, as a server's own crawler lists its items.
//!
//! Before memcached 1.6.19 a listing holds locks for as long as its reader does not read, and the whole server
//! stands still. So a thread of its own drains it to the end, does nothing else meanwhile, and closes the
//! connection at its deadline.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{MAX_LINE, Name, name_in, number, stat};
use crate::{
    error::{Error, EscapedQuoted, Result},
    memcached::Remote,
    settings::Settings,
};

/// For a server, with the wait for its other listings.
const DEADLINE: Duration = Duration::from_secs(10);

/// A server counts time in whole seconds, and notes a store up to two seconds late.
const SLACK: u64 = 5;

/// What is asked of each server.
#[derive(Debug, Clone)]
struct Query {
    prefix: String,
    online_timeout: u64,
}

#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Packed: one a line, which no legal name breaks.
    names: String,
    /// Keys with the prefix that name no user.
    skipped: u64,
}

impl Candidates {
    pub(super) fn push(&mut self, name: &str) {
        self.names.push_str(name);
        self.names.push('\n');
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.split_terminator('\n')
    }
}

/// The candidates of each server, all of them asked at once; the first error where one failed.
pub(super) fn ask(servers: &[Remote], settings: &Settings) -> Result<Vec<Candidates>> {
    let query = Query {
        prefix: settings.key_prefix().to_owned(),
        online_timeout: settings.online_timeout().as_secs(),
    };
    let deadline = Instant::now() + DEADLINE;
    let mut asked = Vec::with_capacity(servers.len());
    for server in servers {
        let (of, query) = (server.clone(), query.clone());
        let thread = thread::Builder::new()
            .name("last-seen-dump".to_owned())
            .spawn(move || wait_and_dump(&of, &query, deadline))
            .map_err(Error::no_thread)?;
        asked.push((server, thread));
    }
    let answer = |(server, thread): (&Remote, thread::JoinHandle<Result<Candidates>>)| {
        let panicked = |_| Err(Error::system(io::Error::other("the thread of a listing panicked")));
        let candidates = thread.join().unwrap_or_else(panicked)?;
        if candidates.skipped > 0 {
            tracing::debug!(server = server.name(), skipped = candidates.skipped, "keys that name no user");
        }
        Ok(candidates)
    };
    asked.into_iter().map(answer).collect()
}

enum Answer {
    Whole(Candidates),
    /// Another program lists.
    Busy,
}

fn wait_and_dump(server: &Remote, query: &Query, deadline: Instant) -> Result<Candidates> {
    let busy = || {
        let message = "another listing of its items is under way";
        Error::unavailable(server.name(), io::Error::new(ErrorKind::ResourceBusy, message))
    };
    let _turn = Turn::wait(server.name(), deadline).ok_or_else(busy)?;
    let mut pause = Duration::from_millis(50);
    loop {
        if let Answer::Whole(candidates) = dump(server, query, deadline)? {
            return Ok(candidates);
        }
        if Instant::now() + pause >= deadline {
            return Err(busy());
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}

fn dump(server: &Remote, query: &Query, deadline: Instant) -> Result<Answer> {
    let mut connection = server.connect()?;
    let Some(now) = stat(&mut connection, "time")? else {
        return Err(server.refused("stats without a time"));
    };
    // `all` in place of `hash` misses items.
    connection.send("lru_crawler metadump hash")?;
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
            if item.accessed.saturating_add(query.online_timeout + SLACK) >= now {
                match name_in(item.key, &query.prefix) {
                    Name::User(name) => candidates.push(&name),
                    Name::Illegal => candidates.skipped += 1,
                    Name::Foreign => {}
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
}

impl<'a> Item<'a> {
    /// `key=seen_alice exp=1795486388 la=1794881588 cas=1 fetch=no cls=1 size=79`, and more from 1.6.43.
    fn read(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let key = fields.next()?.strip_prefix(b"key=")?;
        let accessed = fields.find_map(|field| field.strip_prefix(b"la="))?;
        Some(Self { key, accessed: number(accessed)? })
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
