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

/// Records when users are active, and says when they were last seen and whether they are online. Cheap to clone; clones
/// share one store.
///
/// A user is anything that implements `Display`, such as a name, a number or a UUID. Prefix and user together may be at
/// most 250 bytes, without spaces or control characters; "Alice Smith" is rejected, so pass an id instead.
///
/// Calls block. Each exchange with a server takes at most twice [`server_timeout`](Settings::with_server_timeout):
/// [`seen`](Self::seen) and a read of up to 1,000 users per server are one, [`inspect`](Self::inspect) is two, and
/// [`sign_out`](Self::sign_out) and [`forget`](Self::forget) are about four. [`restore`](Self::restore) makes several for each
/// batch, and [`server_status`](Self::server_status) says what it takes. In async code use
/// [`AsyncTracker`](crate::AsyncTracker), or a thread for blocking work.
///
/// There are three possible answers: `Ok(Some(time))`, seen at that time; `Ok(None)`, no record; `Err(_)`, unknown, since
/// memcached is down or does not answer, or something that is not a time is stored there. In a view that must not fail, use
/// `.ok()` and show "unknown" for `None`.
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
    /// Creates a tracker with the default settings on these servers: `"host"` (port 11211), `"host:port"`,
    /// `"[::1]:11211"`, `"memcache://user:password@host"`, `"unix:/run/memcached.sock"` or `"/run/memcached.sock"`,
    /// `"tls://host?ca=FILE"` with the feature `tls`, a comma-separated list of these, or `"memory:"`.
    /// [`Settings::with_servers`] has every form. Connects lazily on first use, so this succeeds even if memcached is down.
    ///
    /// # Errors
    /// Returns [`Error::Settings`](crate::Error::Settings) if the text names no server, or names a file that cannot be used.
    pub fn connect(servers: &str) -> Result<Self> {
        Self::new(Settings::default().with_servers([servers]))
    }

    /// Creates a tracker that keeps its records in this process, for tests and small sites. It holds up to a million users
    /// and evicts the least recently used.
    pub fn in_memory() -> Self {
        let settings = Settings::default().with_servers(["memory:"]);
        let codec = Codec::new(settings.online_timeout());
        Self::on(Store::memory(), settings, codec)
    }

    /// Creates a tracker with these settings. Connects lazily on first use, so this succeeds even if memcached is down. In a
    /// program that forks, create the tracker after forking.
    ///
    /// # Errors
    /// Returns [`Error::Settings`](crate::Error::Settings), with the setting's name and value, if a setting or a file that it
    /// names cannot be used.
    pub fn new(settings: Settings) -> Result<Self> {
        let (servers, codec) = (settings.check()?, settings.codec()?);
        let store = Store::new(servers, &settings)?;
        Ok(Self::on(store, settings, codec))
    }

    pub(crate) fn on(store: Store, settings: Settings, codec: Codec) -> Self {
        Self { shared: Arc::new(Shared { settings, codec, store, queues: Queues::default() }) }
    }

    /// Creates a tracker with the settings in the `LAST_SEEN_*` environment variables, as [`Settings::from_env`] reads them.
    ///
    /// # Errors
    /// Returns [`Error::Settings`](crate::Error::Settings) if a variable cannot be used.
    pub fn from_env() -> Result<Self> {
        Self::new(Settings::from_env()?)
    }

    /// Returns the settings that the tracker was created with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Records that the user is active now, in one round trip. In request handlers prefer
    /// [`Recorder::seen`](crate::Recorder::seen), which needs none.
    ///
    /// # Errors
    /// Returns [`Error::InvalidUser`](crate::Error::InvalidUser), before anything is sent, if the user cannot be a memcached
    /// key; [`Error::Unavailable`](crate::Error::Unavailable) if the server did not answer in time; and
    /// [`Error::Server`](crate::Error::Server) if it answered with an error.
    pub fn seen(&self, user: impl Display) -> Result<()> {
        self.seen_at(user, Utc::now())
    }

    /// Records that the user was active at `at`, to the second. Replaces the stored time, whether it is earlier or later.
    ///
    /// # Errors
    /// Returns the errors of [`seen`](Self::seen), and [`Error::InvalidTime`](crate::Error::InvalidTime) if `at` is not in the
    /// years 1970 to 9999.
    pub fn seen_at(&self, user: impl Display, at: DateTime<Utc>) -> Result<()> {
        run_through(self.seen_on::<Blocking>(self.key(user)?, at))
    }

    /// Returns when the user was last seen: to the second, unless a Django site or other code stored a fraction. `None` if
    /// there is no record: the user was not seen within `last_seen_timeout`, or memcached evicted the record.
    ///
    /// # Errors
    /// Returns the errors of [`seen`](Self::seen), and [`Error::InvalidRecord`](crate::Error::InvalidRecord) if something else
    /// is stored under the user's key, or a time more than `online_timeout` ahead of this host's clock.
    pub fn last_seen(&self, user: impl Display) -> Result<Option<DateTime<Utc>>> {
        Ok(self.presence(user)?.last_seen)
    }

    /// Returns whether the user was seen within `online_timeout`; `false` if there is no record.
    ///
    /// # Errors
    /// Returns the errors of [`last_seen`](Self::last_seen).
    pub fn online(&self, user: impl Display) -> Result<bool> {
        Ok(self.presence(user)?.online)
    }

    /// Returns when the user was last seen and whether the user is online, in one read.
    ///
    /// # Errors
    /// Returns the errors of [`last_seen`](Self::last_seen).
    pub fn presence(&self, user: impl Display) -> Result<Presence> {
        run_through(self.presence_on::<Blocking>(&self.key(user)?))
    }

    /// Returns the presence of each user, in the order of `users`, in one round trip to all servers. A server that is down
    /// affects only its own users. Each further 1,000 users of a server take another round trip, with a `server_timeout` of
    /// its own.
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

    /// Marks the user as offline for every reader, in every language, by moving `last_seen` back to `online_timeout` + 5 s
    /// ago, unless it is already earlier. Creates no record for a user without one. Cancels earlier sightings that a
    /// [`Recorder`](crate::Recorder) in any process has queued. Returns whether there was a record, or a sighting queued by a
    /// recorder of this tracker.
    ///
    /// # Errors
    /// Returns the errors of [`seen`](Self::seen).
    pub fn sign_out(&self, user: impl Display) -> Result<bool> {
        run_through(self.end_on::<Blocking>(&self.key(user)?, Kind::SignedOut))
    }

    /// Deletes the user's record, and cancels earlier sightings that a [`Recorder`](crate::Recorder) in any process has
    /// queued. A hash of the key and the time of the call stay for a day. Returns whether there was a record, or a sighting
    /// queued by a recorder of this tracker.
    ///
    /// # Errors
    /// Returns the errors of [`seen`](Self::seen).
    pub fn forget(&self, user: impl Display) -> Result<bool> {
        run_through(self.end_on::<Blocking>(&self.key(user)?, Kind::Forgotten))
    }

    /// Restores records from your own copy, for example after memcached restarted, 1,000 users in a batch. The newest time
    /// wins, both among several for one user and against the stored one. Users who have signed out or were forgotten since
    /// are skipped. Each record expires `last_seen_timeout` after its time. Recorder hooks are not called.
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

    /// Returns the record as it is stored, to find out why another program does not see a user.
    ///
    /// ```
    /// # fn main() -> Result<(), last_seen::Error> {
    /// # let tracker = last_seen::Tracker::in_memory();
    /// tracker.seen("alice")?;
    /// let record = tracker.inspect("alice")?;
    /// println!("{} on {}: {:?}", record.key, record.server, record.stored);
    /// # assert!(record.stored.is_some());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`seen`](Self::seen). A value that cannot be read is no error here, but in
    /// [`StoredRecord::last_seen`].
    pub fn inspect(&self, user: impl Display) -> Result<RecordInfo> {
        run_through(self.inspect_on::<Blocking>(&self.key(user)?))
    }

    /// Returns the record that [`seen_at`](Self::seen_at) would write, without writing it. Compare it with
    /// [`inspect`](Self::inspect) or with what another program stores.
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
    /// Returns [`Error::InvalidUser`](crate::Error::InvalidUser) if the user cannot be a memcached key, and
    /// [`Error::InvalidTime`](crate::Error::InvalidTime) if `at` is not in the years 1970 to 9999.
    pub fn preview(&self, user: impl Display, at: DateTime<Utc>) -> Result<RecordInfo> {
        let write = self.write(self.key(user)?, at, When::Always)?;
        let detail = Detail { expires_in: Some(self.settings().last_seen_timeout()), ..Detail::default() };
        Ok(self.record_info(&write.key, Some(write.value), detail))
    }

    /// Returns the health of each server, in the order of the settings. Contacts the servers one after another, each on a
    /// new connection, and blocks for at most four times `server_timeout` for each. Empty for an in-memory tracker.
    ///
    /// ```
    /// # let tracker = last_seen::Tracker::connect("127.0.0.1:1").unwrap();
    /// for status in tracker.server_status() {
    ///     match status.info {
    ///         Ok(info) => println!("{} is up: {:?}", status.server, info.latency),
    ///         Err(error) => println!("{error}"),
    ///     }
    /// }
    /// ```
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
