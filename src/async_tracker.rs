//! The tracker for async code.

use std::{fmt::Display, future::Future};

use chrono::{DateTime, Utc};

use crate::{
    error::Result,
    memcached::{ServerStatus, Tokio},
    presence::Presence,
    record::Kind,
    settings::Settings,
    tracker::{RecordInfo, RestoreSummary, Tracker},
};

/// Does what [`Tracker`] does, as `async fn` on tokio. Cheap to clone; clones share one store.
///
/// Shares everything with the tracker that it was created from: records and queued sightings, connections and their limit,
/// and circuit breakers. Asks several servers at once. Every call can be cancelled at any point: that closes a connection in
/// the middle of an exchange, and a cancelled write may or may not have taken effect. Await its futures in a tokio runtime
/// with I/O and time enabled (`enable_all`); elsewhere tokio panics.
///
/// In request handlers prefer a [`Recorder`](crate::Recorder), which needs no runtime and no round trip.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// use last_seen::{AsyncTracker, Tracker};
///
/// let tracker = AsyncTracker::from(Tracker::connect("memory:")?);
/// tracker.seen("alice").await?;
/// assert!(tracker.online("alice").await?);
/// # Ok::<(), last_seen::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct AsyncTracker {
    tracker: Tracker,
}

impl From<Tracker> for AsyncTracker {
    fn from(tracker: Tracker) -> Self {
        Self { tracker }
    }
}

impl AsyncTracker {
    /// Returns the blocking tracker on the same store.
    pub fn blocking(&self) -> &Tracker {
        &self.tracker
    }

    /// Returns the settings that the tracker was created with.
    pub fn settings(&self) -> &Settings {
        self.tracker.settings()
    }

    /// Records that the user is active now, in one round trip. See [`Tracker::seen`].
    ///
    /// # Errors
    /// Returns [`Error::InvalidUser`](crate::Error::InvalidUser), before anything is sent, if the user cannot be a memcached
    /// key; [`Error::Unavailable`](crate::Error::Unavailable) if the server did not answer in time; and
    /// [`Error::Server`](crate::Error::Server) if it answered with an error.
    pub fn seen(&self, user: impl Display) -> impl Future<Output = Result<()>> + Send {
        self.seen_at(user, Utc::now())
    }

    /// Records that the user was active at `at`, to the second, in place of the stored time. See [`Tracker::seen_at`].
    ///
    /// # Errors
    /// Returns the errors of [`seen`](Self::seen), and [`Error::InvalidTime`](crate::Error::InvalidTime) if `at` is not in the
    /// years 1970 to 9999.
    pub fn seen_at(&self, user: impl Display, at: DateTime<Utc>) -> impl Future<Output = Result<()>> + Send {
        // Here and below: the user is not kept across a wait, so that the future is Send of any type.
        let key = self.tracker.key(user);
        async move { self.tracker.seen_on::<Tokio>(key?, at).await }
    }

    /// Returns when the user was last seen; `None` if there is no record. See [`Tracker::last_seen`].
    ///
    /// # Errors
    /// Returns the errors of [`seen`](Self::seen), and [`Error::InvalidRecord`](crate::Error::InvalidRecord) if something else
    /// is stored under the user's key, or a time more than `online_timeout` ahead of this host's clock.
    pub fn last_seen(
        &self,
        user: impl Display,
    ) -> impl Future<Output = Result<Option<DateTime<Utc>>>> + Send {
        let presence = self.presence(user);
        async move { Ok(presence.await?.last_seen) }
    }

    /// Returns whether the user was seen within `online_timeout`; `false` if there is no record.
    ///
    /// # Errors
    /// Returns the errors of [`last_seen`](Self::last_seen).
    pub fn online(&self, user: impl Display) -> impl Future<Output = Result<bool>> + Send {
        let presence = self.presence(user);
        async move { Ok(presence.await?.online) }
    }

    /// Returns when the user was last seen and whether the user is online, in one read.
    ///
    /// # Errors
    /// Returns the errors of [`last_seen`](Self::last_seen).
    pub fn presence(&self, user: impl Display) -> impl Future<Output = Result<Presence>> + Send {
        let key = self.tracker.key(user);
        async move { self.tracker.presence_on::<Tokio>(&key?).await }
    }

    /// Returns the presence of each user, in the order of `users`, in one round trip to all servers. See
    /// [`Tracker::presences`].
    pub fn presences<U: Display>(
        &self,
        users: impl IntoIterator<Item = U>,
    ) -> impl Future<Output = Vec<Result<Presence>>> + Send {
        let keys = self.tracker.keys(users);
        self.tracker.presences_on::<Tokio>(self.tracker.store(), keys)
    }

    /// Marks the user as offline for every reader, and cancels earlier sightings that are queued in any process. Returns
    /// whether there was a record or a queued sighting. See [`Tracker::sign_out`].
    ///
    /// # Errors
    /// Returns the errors of [`seen`](Self::seen).
    pub fn sign_out(&self, user: impl Display) -> impl Future<Output = Result<bool>> + Send {
        let key = self.tracker.key(user);
        async move { self.tracker.end_on::<Tokio>(&key?, Kind::SignedOut).await }
    }

    /// Deletes the user's record, and cancels earlier sightings that are queued in any process. Returns whether there was a
    /// record or a queued sighting. See [`Tracker::forget`].
    ///
    /// # Errors
    /// Returns the errors of [`seen`](Self::seen).
    pub fn forget(&self, user: impl Display) -> impl Future<Output = Result<bool>> + Send {
        let key = self.tracker.key(user);
        async move { self.tracker.end_on::<Tokio>(&key?, Kind::Forgotten).await }
    }

    /// Restores records from your own copy; the newest time of a user wins. Takes the records from the iterator in batches of
    /// 1,000, between the waits. See [`Tracker::restore`].
    pub async fn restore<U: Display>(
        &self,
        records: impl IntoIterator<Item = (U, DateTime<Utc>)>,
    ) -> RestoreSummary {
        self.tracker.restore_on::<Tokio, U>(records).await
    }

    /// Returns the record as it is stored, to find out why another program does not see a user. See [`Tracker::inspect`].
    ///
    /// # Errors
    /// Returns the errors of [`seen`](Self::seen).
    pub fn inspect(&self, user: impl Display) -> impl Future<Output = Result<RecordInfo>> + Send {
        let key = self.tracker.key(user);
        async move { self.tracker.inspect_on::<Tokio>(&key?).await }
    }

    /// Returns the health of each server, in the order of the settings. Contacts all servers at once, each on a new
    /// connection, from threads for blocking work. Empty for an in-memory tracker. See [`Tracker::server_status`].
    pub async fn server_status(&self) -> Vec<ServerStatus> {
        self.tracker.store().server_status::<Tokio>().await
    }
}
