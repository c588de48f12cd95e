//! The tracker: records when each user was seen, and answers who is online.

mod answers;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod interleavings;
mod sightings;
mod sign_out;
mod steps;

use std::{fmt::Display, sync::Arc};

use chrono::{DateTime, Utc};

pub use answers::{RecordInfo, RestoreSummary, StoredRecord};
pub(crate) use sightings::Outcome;

use crate::{
    error::Result,
    memcached::{Blocking, Detail, ServerStatus, When, run_through},
    presence::Presence,
    queue::Queues,
    record::{Codec, Kind},
    settings::Settings,
    store::Store,
};

/// Attempts to read and rewrite a record before giving up because other writers change it each time.
const TRIES: usize = 32;

/// Remembers when each user was last seen. A clone is a handle on the same store.
///
/// A user is anything that displays, such as a name, a number or a UUID: at most 250 bytes together with the
/// prefix, without blanks and control bytes. A `User` that displays as "Alice Smith" is refused: pass its id.
///
/// Calls block for at most the two `server_timeout`s that [`Settings::with_server_timeout`] tells of; in an
/// async handler they belong on a thread for blocking work.
///
/// Three answers are never mixed up: `Ok(Some(..))`, seen then; `Ok(None)`, no record; `Err(..)`, unknown.
/// A view that must not fail uses `.ok()` and shows "unknown" for `None`.
///
/// ```
/// # fn main() -> Result<(), last_seen::Error> {
/// let tracker = last_seen::Tracker::connect("memory:")?;
/// tracker.seen("alice")?;
/// assert!(tracker.online("alice")?);
/// assert_eq!(tracker.last_seen("bob")?, None);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Tracker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    codec: Codec,
    store: Store,
    queues: Queues,
}

impl Tracker {
    /// Makes a tracker with the default settings on these servers: `"host"` (port 11211), `"host:port"`,
    /// `"[::1]:11211"`, `"memcache://user:password@host"`, `"unix:/run/memcached.sock"` or `"/run/memcached.sock"`,
    /// `"tls://host?ca=FILE"` with the feature `tls`, a comma-separated list of these, or `"memory:"`.
    /// [`Settings::with_servers`] has every form. Connects at the first call, so it succeeds without a memcached.
    ///
    /// # Errors
    /// [`Error::Settings`](crate::Error::Settings) if the text names no server, or a file that cannot be used.
    pub fn connect(servers: &str) -> Result<Self> {
        Self::new(Settings::default().with_servers([servers]))
    }

    /// A tracker in the memory of this process alone, for tests and small sites: at most a million users,
    /// of whom the ones that were not asked for long make room.
    pub fn in_memory() -> Self {
        let settings = Settings::default().with_servers(["memory:"]);
        let codec = Codec::new(settings.online_timeout());
        Self::on(Store::memory(), settings, codec)
    }

    /// Makes a tracker with these settings. Connects at the first call, so it succeeds without a memcached. In a program
    /// that forks, create the tracker after forking.
    ///
    /// # Errors
    /// [`Error::Settings`](crate::Error::Settings) if a setting, or a file that it names, cannot be used; with its name
    /// and value.
    pub fn new(settings: Settings) -> Result<Self> {
        let (servers, codec) = (settings.check()?, settings.codec()?);
        let store = Store::new(servers, &settings)?;
        Ok(Self::on(store, settings, codec))
    }

    pub(crate) fn on(store: Store, settings: Settings, codec: Codec) -> Self {
        Self { shared: Arc::new(Shared { settings, codec, store, queues: Queues::default() }) }
    }

    /// A tracker with the settings in the environment, as [`Settings::from_env`] reads them.
    ///
    /// # Errors
    /// [`Error::Settings`](crate::Error::Settings) where a variable cannot be used.
    pub fn from_env() -> Result<Self> {
        Self::new(Settings::from_env()?)
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Notes that the user is here now: the line for request code.
    ///
    /// # Errors
    /// As every verb with a user: [`Error::InvalidUser`](crate::Error::InvalidUser) before anything is sent,
    /// [`Error::Unavailable`](crate::Error::Unavailable) and [`Error::Server`](crate::Error::Server) where
    /// the server did not take it.
    pub fn seen(&self, user: impl Display) -> Result<()> {
        self.seen_at(user, Utc::now())
    }

    /// Notes that the user was here at `at`, to the second, in place of what was known.
    ///
    /// # Errors
    /// As [`seen`](Self::seen); [`Error::InvalidTime`](crate::Error::InvalidTime) where `at` is not in the years 1970 to 9999.
    pub fn seen_at(&self, user: impl Display, at: DateTime<Utc>) -> Result<()> {
        run_through(self.seen_on::<Blocking>(self.key(user)?, at))
    }

    /// When the user was last seen, to the second; `None` where there is no record: not seen within
    /// `last_seen_timeout`, or forgotten by the cache.
    ///
    /// # Errors
    /// As [`seen`](Self::seen); [`Error::InvalidRecord`](crate::Error::InvalidRecord) where something else is stored under the
    /// user's key, or a time that is ahead of this host's clock by more than `online_timeout`.
    pub fn last_seen(&self, user: impl Display) -> Result<Option<DateTime<Utc>>> {
        Ok(self.presence(user)?.last_seen)
    }

    /// Whether the user was seen within `online_timeout`.
    ///
    /// # Errors
    /// As [`last_seen`](Self::last_seen).
    pub fn online(&self, user: impl Display) -> Result<bool> {
        Ok(self.presence(user)?.online)
    }

    /// When the user was last seen and whether the user is online, in one read.
    ///
    /// # Errors
    /// As [`last_seen`](Self::last_seen).
    pub fn presence(&self, user: impl Display) -> Result<Presence> {
        run_through(self.presence_on::<Blocking>(&self.key(user)?))
    }

    /// A page of users in one round trip a server: one answer a user, in the order asked. A lost server
    /// costs only its own users. More than a thousand users of a server take a round trip for each thousand,
    /// each with a `server_timeout` of its own.
    ///
    /// ```
    /// # fn main() -> Result<(), last_seen::Error> {
    /// # let tracker = last_seen::Tracker::in_memory();
    /// let page = ["alice", "bob"];
    /// for (user, presence) in page.iter().zip(tracker.presences(page)) {
    ///     match presence {
    ///         Ok(presence) => println!("{user}: {}", presence.ago()),
    ///         Err(_) => println!("{user}: unknown"),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn presences<U: Display>(&self, users: impl IntoIterator<Item = U>) -> Vec<Result<Presence>> {
        run_through(self.presences_on::<Blocking>(self.store(), self.keys(users)))
    }

    /// Makes the user offline now, for every reader in every language, and keeps last seen as near as that
    /// allows: 5 s outside `online_timeout`, or earlier where it was earlier. A user who was never seen gets no
    /// record. No recorder that still has a sighting from before brings the user back. Returns whether there was a
    /// record, or a sighting that a [`Recorder`](crate::Recorder) of this tracker had queued.
    ///
    /// # Errors
    /// As [`seen`](Self::seen).
    pub fn sign_out(&self, user: impl Display) -> Result<bool> {
        run_through(self.end_on::<Blocking>(&self.key(user)?, Kind::SignedOut))
    }

    /// Removes the user's record, and what is queued. No recorder that still has a sighting from before brings it back.
    /// What stays for a day is a hash of the name, and the time. Returns whether there was a record, or a sighting that a
    /// [`Recorder`](crate::Recorder) of this tracker had queued.
    ///
    /// # Errors
    /// As [`seen`](Self::seen).
    pub fn forget(&self, user: impl Display) -> Result<bool> {
        run_through(self.end_on::<Blocking>(&self.key(user)?, Kind::Forgotten))
    }

    /// Refills the cache from a copy kept elsewhere, say after a restart of memcached, a thousand users at a time.
    /// The newest time wins, of several for one user and against what is stored; nobody who has signed out or
    /// was forgotten since comes back. Each record is kept for the rest of its `last_seen_timeout`. No recorder's
    /// hook is told of it.
    ///
    /// ```
    /// # use chrono::{TimeDelta, Utc};
    /// # let tracker = last_seen::Tracker::in_memory();
    /// let copy = [("alice", Utc::now() - TimeDelta::hours(1)), ("bob", Utc::now() - TimeDelta::days(9))];
    /// let restored = tracker.restore(copy);
    /// assert_eq!((restored.written, restored.skipped, restored.failed), (1, 1, 0));
    /// ```
    pub fn restore<U: Display>(
        &self,
        records: impl IntoIterator<Item = (U, DateTime<Utc>)>,
    ) -> RestoreSummary {
        run_through(self.restore_on::<Blocking, U>(records))
    }

    /// The record as it is stored, for finding out why another program does not see it.
    ///
    /// # Errors
    /// As [`seen`](Self::seen).
    pub fn inspect(&self, user: impl Display) -> Result<RecordInfo> {
        run_through(self.inspect_on::<Blocking>(&self.key(user)?))
    }

    /// The record that [`seen_at`](Self::seen_at) would write, to be laid beside what
    /// [`inspect`](Self::inspect) finds or what another program writes. Nothing is sent.
    ///
    /// ```
    /// # fn main() -> Result<(), last_seen::Error> {
    /// # let tracker = last_seen::Tracker::in_memory();
    /// let record = tracker.preview("alice", "2026-11-24T03:00:00Z".parse().unwrap())?;
    /// assert_eq!(record.key, "seen_alice");
    /// assert_eq!(record.stored.unwrap().bytes, b"1795489200");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidUser`](crate::Error::InvalidUser); [`Error::InvalidTime`](crate::Error::InvalidTime) where `at` is
    /// not in the years 1970 to 9999.
    pub fn preview(&self, user: impl Display, at: DateTime<Utc>) -> Result<RecordInfo> {
        let write = self.write(self.key(user)?, at, When::Always)?;
        let detail = Detail { expires_in: Some(self.settings().last_seen_timeout()), ..Detail::default() };
        Ok(self.record_info(&write.key, Some(write.value), detail))
    }

    /// How each server is, for health checks; none for a tracker in memory. Asks them in turn, each on a
    /// connection of its own.
    pub fn server_status(&self) -> Vec<ServerStatus> {
        run_through(self.store().server_status::<Blocking>())
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    pub(crate) fn codec(&self) -> &Codec {
        &self.shared.codec
    }

    pub(crate) fn queues(&self) -> &Queues {
        &self.shared.queues
    }
}
