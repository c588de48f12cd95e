//! Who is online: a list, and a feed of changes. Neither needs an index, because memcached can list its items and can
//! log what is stored. Nothing is written except a heartbeat while a log is silent.

#[cfg(feature = "tokio")]
mod asynchronous;
mod change;
mod dump;
mod feed;
mod follower;
mod hub;
mod ledger;
mod local;
mod pace;
mod roster;
mod watch;

use std::{cmp::Reverse, time::Instant};

use chrono::{DateTime, Utc};
use percent_encoding::percent_decode;
use serde::Serialize;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncWatch;
pub use change::{Change, OfflineReason};
pub use roster::{Roster, RosterServer, RosterUser, Status};
pub use watch::Watch;

use crate::{
    error::{Error, Result},
    memcached::{BATCH_MAX, Blocking, Found, LineConnection, run_through},
    presence::Presence,
    record::{Key, Keys, is_tombstone},
    store::Store,
    tracker::Tracker,
};
use dump::{Candidates, Listing};
use pace::Intervals;

/// The most unreadable records that a list names.
const UNREADABLE_MAX: usize = 100;

/// Names a user who is online, and when the user was last seen: an item of [`OnlineUsers::users`].
///
/// ```
/// # fn main() -> Result<(), last_seen::Error> {
/// # let tracker = last_seen::Tracker::in_memory();
/// tracker.seen("alice")?;
/// let newest = &tracker.online_users()?.users[0];
/// println!("{} was seen at {}", newest.user, newest.last_seen);
/// # assert_eq!(newest.user, "alice");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OnlineUser {
    /// Names the user.
    pub user: String,
    /// Holds the time of the user's last request, as precisely as the record does.
    pub last_seen: DateTime<Utc>,
}

/// Lists everyone who is online, and says what could not be found out: from [`Tracker::online_users`].
///
/// ```
/// # fn main() -> Result<(), last_seen::Error> {
/// # let tracker = last_seen::Tracker::in_memory();
/// let online = tracker.online_users()?;
/// let more = if online.is_complete() { "" } else { " or more" };
/// println!("{}{more} online", online.users.len());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct OnlineUsers {
    /// Lists the users of every server that answered, most recent first.
    pub users: Vec<OnlineUser>,
    /// Lists users whose record is not a valid timestamp, and why: at most 100. Whether they are online is unknown.
    pub unreadable: Vec<(String, Error)>,
    /// Counts all users whose record is not a valid timestamp.
    pub unreadable_count: usize,
    /// Says which servers could not be listed or read to the end, and why. Some or all of their users are missing.
    pub unavailable: Vec<Error>,
}

impl OnlineUsers {
    /// Returns whether every server was listed and read.
    pub fn is_complete(&self) -> bool {
        self.unavailable.is_empty()
    }

    /// Returns the users if every server was listed and read.
    ///
    /// # Errors
    /// Returns the first error of [`unavailable`](Self::unavailable) otherwise.
    pub fn complete(self) -> Result<Vec<OnlineUser>> {
        self.unavailable.into_iter().next().map_or(Ok(self.users), Err)
    }

    fn add_unreadable(&mut self, user: &str, error: Error) {
        self.unreadable_count += 1;
        if self.unreadable.len() < UNREADABLE_MAX {
            self.unreadable.push((user.to_owned(), error));
        }
    }
}

/// Lists and follows who is online.
impl Tracker {
    /// Lists everyone who is online now, most recent first, whichever program recorded them, in any language and with any
    /// expiry. A server that cannot be listed affects only its own users, and is named in the result.
    ///
    /// Makes every server list all its keys, which takes about 1 s for a million, or 3 s if all were stored or read within
    /// `online_timeout`. Use it in jobs and on administrators' pages, not in request handlers; for the users of a page there
    /// is [`presences`](Self::presences). Blocks for at most 10 s, plus the reading of those who are online. Sightings that a
    /// [`Recorder`](crate::Recorder) has queued are not in the list.
    ///
    /// Before memcached 1.6.19, the server holds its locks while a client reads a listing. A thread that does nothing else
    /// reads it, and ends at its deadline. But if the process is *suspended* meanwhile (a debugger, SIGSTOP, a frozen
    /// container), such a server stalls for every client until the process is resumed or killed.
    ///
    /// ```
    /// # fn main() -> Result<(), last_seen::Error> {
    /// # let tracker = last_seen::Tracker::in_memory();
    /// tracker.seen("alice")?;
    /// let online = tracker.online_users()?;
    /// for user in &online.users {
    ///     println!("{} since {}", user.user, user.last_seen);
    /// }
    /// for error in &online.unavailable {
    ///     println!("and those of a server that is down: {error}");
    /// }
    /// # assert_eq!(online.complete()?.len(), 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns the first server's error if no server could be listed: [`Error::Unavailable`] if it could not be reached,
    /// disconnected, stayed busy with other listings, or is a proxy that closes the connection; [`Error::Server`] if it
    /// cannot list keys, since it was started with `-X` or `no_lru_crawler`.
    pub fn online_users(&self) -> Result<OnlineUsers> {
        let until = Instant::now() + dump::DEADLINE;
        let servers = self.store().remotes();
        let list = |server| Listing::start(server, self, self.settings().server_timeout(), until, |_| false);
        let listings: Vec<Result<Listing>> = servers.iter().map(list).collect();
        let mut online = OnlineUsers::default();
        // This is a background job, which may wait longer for a server than a request.
        let store = self.store().with_background_timeout();
        let read = |candidates, online: &mut OnlineUsers| self.read_online(&store, candidates, online);
        if servers.is_empty() {
            read(local::list(self), &mut online)?;
        }
        for listing in listings {
            let candidates = listing.and_then(|listing| listing.wait());
            let read = candidates.and_then(|candidates| read(candidates, &mut online));
            online.unavailable.extend(read.err());
        }
        if !servers.is_empty() && online.unavailable.len() == servers.len() {
            return Err(online.unavailable.swap_remove(0));
        }
        online.users.sort_unstable_by(|a, b| {
            Reverse(a.last_seen).cmp(&Reverse(b.last_seen)).then_with(|| a.user.cmp(&b.user))
        });
        Ok(online)
    }

    /// Reads the records of a server's candidates and adds those who are online. Stops at the first error of the
    /// server.
    fn read_online(&self, store: &Store, mut candidates: Candidates, online: &mut OnlineUsers) -> Result<()> {
        let (now, prefix) = (Utc::now(), self.settings().key_prefix());
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH_MAX
                && let Some((user, hint)) = candidates.next()
            {
                match hint.large {
                    true => online.add_unreadable(user, feed::too_large(prefix, user)),
                    false => batch.push(user.to_owned()),
                }
            }
            if batch.is_empty() {
                return Ok(());
            }
            let keys = Keys::new(prefix, &batch);
            let read = |place, found: Found<'_>| self.seen_in(keys.get(place), found, now);
            let seen = run_through(store.get_many::<Blocking, _>(&keys, false, read));
            for (user, seen) in batch.into_iter().zip(seen) {
                match seen {
                    Ok(seen) if Presence::at(seen, now, self.settings().online_timeout()).online => {
                        online.users.extend(seen.map(|last_seen| OnlineUser { user, last_seen }));
                    }
                    Ok(_) => {}
                    Err(error @ Error::InvalidRecord { .. }) => online.add_unreadable(&user, error),
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Follows who is online: yields everyone who is online, then [`Change::Ready`], then each user who comes online, is seen
    /// again or goes offline, whichever program recorded them. Apply the changes to a [`Roster`]. Returns at once, even if a
    /// server is down or refuses: that is a [`Change::ServerDown`], and the watch keeps trying.
    ///
    /// The watch recovers by itself. A line of memcached's log only causes a read, and only reads cause changes, so late and
    /// repeated lines do no harm. While a server is down its users are unknown, and nobody goes offline by the clock. When
    /// it is back, and after the feed has lost updates, the server is listed again and the differences come as changes. If a
    /// log was silent for 15 s, the watch stores an item of its own (`last-seen:watch:` and a random name, kept for a
    /// minute) to test it, so that a dead connection is found within 25 s.
    ///
    /// * A sign-out and a [`forget`](Self::forget) are changes at once. If another program deletes a record, only newer
    ///   servers log that (1.6.45 does, 1.6.18 does not); on others the user goes offline when `online_timeout` is over.
    ///   `flush_all` and `touch` are in no log.
    /// * Sightings that a [`Recorder`](crate::Recorder) has queued are no changes until they are written.
    /// * memcached allows 20 watchers; use one `Watch` per process and fan it out. The 21st gets [`Change::ServerDown`] with
    ///   `WATCHER_TOO_MANY`, and is let in within about 10 s after another one has ended.
    ///
    /// ```
    /// # fn main() -> Result<(), last_seen::Error> {
    /// use last_seen::{Change, Roster};
    /// # let tracker = last_seen::Tracker::in_memory();
    /// let mut roster = Roster::default();
    /// for change in tracker.watch()? {
    ///     roster.apply(&change);
    ///     println!("{} online, {} unknown", roster.online(), roster.unknown());
    /// #   if let Change::Ready { .. } = change { break }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns [`Error::System`] if the system has no thread for it.
    pub fn watch(&self) -> Result<Watch> {
        Watch::start(self, Intervals::REAL)
    }

    /// For tests, which cannot wait: [`watch`](Self::watch) with intervals that are so many times shorter.
    #[doc(hidden)]
    pub fn watch_faster(&self, times: u32) -> Result<Watch> {
        Watch::start(self, Intervals::REAL.faster(times))
    }
}

/// The key prefix of heartbeats, which test whether a log is alive. A random name follows it.
const HEARTBEAT_PREFIX: &str = "last-seen:watch:";

/// The longest line in bytes. A key has up to 250 bytes, or 750 in URL encoding, and the other fields are numbers.
const MAX_LINE: usize = 2_048;

/// Reads one number from the server's `stats`. Returns `None` if there is no number of that name.
fn stat(connection: &mut LineConnection, name: &str) -> Result<Option<u64>> {
    connection.send("stats")?;
    let deadline = Instant::now() + connection.patience;
    let mut found = None;
    loop {
        let line = match connection.line(MAX_LINE, deadline) {
            Ok(line) => line,
            Err(error) => return Err(connection.lost(error)),
        };
        if let Some(stat) = line.strip_prefix(b"STAT ") {
            let value = stat.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
            found = value.and_then(number).or(found);
        } else if line == b"END" {
            return Ok(found);
        } else {
            let words = String::from_utf8_lossy(line).into_owned();
            return Err(connection.server.refused(&words));
        }
    }
}

/// Parses a whole number in ASCII.
fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What a key in a list or log stands for.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    /// A user. The key includes the prefix.
    User(Key),
    /// A key with the prefix whose rest is not a valid user.
    Invalid,
    /// A key of another program, a tombstone or a heartbeat.
    Other,
}

/// Decodes a key, which memcached writes URL-encoded, and checks it as if a caller had passed the user.
fn name_in(encoded: &[u8], prefix: &str) -> Name {
    let mut bytes = percent_decode(encoded);
    if !prefix.bytes().all(|byte| bytes.next() == Some(byte)) {
        return Name::Other;
    }
    match String::from_utf8(bytes.collect()).map(|name| Key::new(prefix, &name)) {
        Ok(Ok(key)) if is_tombstone(key.as_str()) || key.as_str().starts_with(HEARTBEAT_PREFIX) => {
            Name::Other
        }
        Ok(Ok(key)) => Name::User(key),
        _ => Name::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_decoded_and_checked() {
        let user = |name: &str| Name::User(Key::from(name));
        for (encoded, expected) in [
            ("seen_alice", user("seen_alice")),
            ("seen_jos%C3%A9", user("seen_josé")),
            ("seen_a%25b%3Dc%26d", user("seen_a%b=c&d")),
            ("seen_a+b", user("seen_a+b")),
            ("se%65n_x", user("seen_x")),
            ("seen_", Name::Invalid),
            ("seen_%FF", Name::Invalid),
            ("seen_a%20b", Name::Invalid),
            ("seen_a%0Ab", Name::Invalid),
            ("seen", Name::Other),
            ("", Name::Other),
            ("session_1", Name::Other),
            ("seen_gone%3Aaaaaaaaaaaaaaaaa", user("seen_gone:aaaaaaaaaaaaaaaa")),
        ] {
            assert_eq!(name_in(encoded.as_bytes(), "seen_"), expected, "{encoded}");
        }
        assert_eq!(name_in(b"%3A1%3Aseen_bob", ":1:seen_"), user(":1:seen_bob"));
        for prefix in ["", "gone:"] {
            assert_eq!(name_in(b"gone%3Aaaaaaaaaaaaaaaaa", prefix), Name::Other);
        }
        assert_eq!(name_in(b"last-seen%3Awatch%3A0123456789abcdef", ""), Name::Other);
        assert_eq!(name_in(&[b"seen_", &[b'x'; 246][..]].concat(), "seen_"), Name::Invalid);
    }
}
