//! Who is online: the list, and the live feed. memcached lists its items and logs what is stored by itself;
//! both are used as they are, without an index and without an extra write.

#[cfg(feature = "tokio")]
mod asynchronous;
mod dump;
mod feed;
mod inbox;
mod watch;

use std::{cmp::Reverse, time::Instant};

use chrono::{DateTime, Utc};
use percent_encoding::percent_decode;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncWatch;
pub use watch::Watch;

use crate::{
    error::{Error, Result},
    memcached::{Blocking, LineConnection, run_through},
    record::{Key, is_tombstone},
    tracker::Tracker,
};

/// Candidates are confirmed in pieces of as many, each one round trip a server.
const PIECE: usize = 500;

/// What the feature `who` adds.
impl Tracker {
    /// Everyone who is online now, the newest first, whichever program and language wrote them and with
    /// whatever expiry.
    ///
    /// For jobs and administrators' pages, never for each request: every server walks through all its items,
    /// which takes 1 to 2 seconds for a million. For the users of a page there is
    /// [`presences`](Self::presences). Takes at most 10 s, and the reading of those who are online.
    ///
    /// Below memcached 1.6.19 a listing that is not read holds the server's locks. It is read by a thread
    /// that does nothing else and ends at its deadline, but a process that is *suspended* in the middle (a
    /// debugger, SIGSTOP, a frozen container) freezes such a server for every client until it is resumed or
    /// killed.
    ///
    /// ```
    /// # fn main() -> Result<(), last_seen::Error> {
    /// # let tracker = last_seen::Tracker::in_memory();
    /// tracker.seen("alice")?;
    /// for (user, at) in tracker.online_users()? {
    ///     println!("{user} since {at}");
    /// }
    /// # assert_eq!(tracker.online_users()?.len(), 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unavailable`] if a server could not be reached, broke off, was busy with other listings all the
    /// time, or is a proxy that closes the connection; [`Error::Server`] if it does not list: started with `-X` or
    /// `no_lru_crawler`. A list that is not whole is never given.
    pub fn online_users(&self) -> Result<Vec<(String, DateTime<Utc>)>> {
        let mut candidates = dump::ask(&self.store().remotes(), self.settings())?;
        let mut here = dump::Candidates::default();
        self.store().each_key(|key| here.push(&key.as_str()[self.settings().key_prefix().len()..]));
        candidates.push(here);

        // As a job it can wait longer for a server than a request.
        let store = self.store().with_background_timeout();
        let mut online = Vec::new();
        for candidates in candidates {
            let mut names = candidates.names();
            loop {
                let piece: Vec<&str> = names.by_ref().take(PIECE).collect();
                if piece.is_empty() {
                    break;
                }
                let presences = run_through(self.presences_on::<Blocking>(&store, self.keys(&piece)));
                for (&name, presence) in piece.iter().zip(presences) {
                    match presence {
                        Ok(presence) if presence.online => {
                            online.extend(presence.last_seen.map(|at| (name.to_owned(), at)));
                        }
                        // Something else under such a key is nobody who is online.
                        Ok(_) | Err(Error::InvalidRecord { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        // A user can be on two servers: one copy stayed where the sharding used to look.
        online.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        online.dedup_by(|a, b| a.0 == b.0);
        online.sort_by_key(|&(_, at)| Reverse(at));
        Ok(online)
    }

    /// The live feed: each user that is stored from now on, by whichever program and language, with the
    /// presence as it is then. [`seen`](Self::seen) and [`sign_out`](Self::sign_out) show up;
    /// [`forget`](Self::forget) and expiry do not, so whoever was not heard of for `online_timeout` is
    /// offline.
    ///
    /// Names are read back in pieces, 50 ms after the first or when a hundred are here, so that several
    /// stores of a user within that time are one event. memcached itself may hold back the first line after
    /// a quiet time for up to a second.
    ///
    /// A server that is lost is one [`Error::Unavailable`] in the feed, which goes on: the server is found
    /// again within two seconds of its return. What was stored meanwhile is not in the feed.
    ///
    /// memcached has 20 watchers at most. One `Watch` a program is enough, fanned out:
    ///
    /// ```
    /// # fn main() -> Result<(), last_seen::Error> {
    /// use std::sync::mpsc;
    /// # let tracker = last_seen::Tracker::in_memory();
    /// let (first, page) = mpsc::channel();
    /// let (second, log) = mpsc::channel();
    ///
    /// let watch = tracker.watch()?;
    /// std::thread::spawn(move || {
    ///     let mut readers = vec![first, second];
    ///     for event in watch.flatten() {
    ///         readers.retain(|reader| reader.send(event.clone()).is_ok());
    ///         if readers.is_empty() {
    ///             break;
    ///         }
    ///     }
    /// });
    ///
    /// tracker.seen("alice")?;
    /// # let (page, log) = (page.into_iter(), log.into_iter());
    /// for (user, presence) in page.take(1).chain(log.take(1)) {
    ///     assert_eq!((user.as_str(), presence.online), ("alice", true));
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Server`] if a server does not allow it: started with `-W`. A server that cannot be reached, has 20
    /// watchers, or is a proxy that closes the connection, is the first event, and is tried again.
    pub fn watch(&self) -> Result<Watch> {
        Watch::start(self)
    }
}

/// A key has 250 bytes, three times as many in URL encoding; the other fields are numbers.
const MAX_LINE: usize = 2_048;

/// One number of the server's `stats`; `None` if it has none of that name.
fn stat(connection: &mut LineConnection, name: &str) -> Result<Option<u64>> {
    connection.send("stats")?;
    let deadline = Instant::now() + connection.server.timeout();
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

/// A whole number in ASCII.
fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What a key in a listing or log names.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    User(String),
    /// Under the prefix, and no user all the same.
    Illegal,
    /// Of some other program.
    Foreign,
}

/// Takes the key as memcached writes it, URL-encoded. A name from there is checked as one from here.
fn name_in(encoded: &[u8], prefix: &str) -> Name {
    let mut bytes = percent_decode(encoded);
    if !prefix.bytes().all(|byte| bytes.next() == Some(byte)) {
        return Name::Foreign;
    }
    match String::from_utf8(bytes.collect()) {
        Ok(name) if prefix.is_empty() && is_tombstone(&name) => Name::Foreign,
        Ok(name) if Key::new(prefix, &name).is_ok() => Name::User(name),
        _ => Name::Illegal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_decoded_and_checked() {
        let user = |name: &str| Name::User(name.to_owned());
        for (encoded, expected) in [
            ("seen_alice", user("alice")),
            ("seen_jos%C3%A9", user("josé")),
            ("seen_a%25b%3Dc%26d", user("a%b=c&d")),
            ("seen_a+b", user("a+b")),
            ("se%65n_x", user("x")),
            ("seen_", Name::Illegal),
            ("seen_%FF", Name::Illegal),
            ("seen_a%20b", Name::Illegal),
            ("seen_a%0Ab", Name::Illegal),
            ("seen", Name::Foreign),
            ("", Name::Foreign),
            ("session_1", Name::Foreign),
        ] {
            assert_eq!(name_in(encoded.as_bytes(), "seen_"), expected, "{encoded}");
        }
        assert_eq!(name_in(b"%3A1%3Aseen_bob", ":1:seen_"), user("bob"));
        assert_eq!(name_in(&[b"seen_", &[b'x'; 246][..]].concat(), "seen_"), Name::Illegal);
    }
}
