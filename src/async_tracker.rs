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

/// [`Tracker`] for async code on tokio: the same verbs, on the same store. A clone is a handle on the same store.
///
/// It shares everything with the tracker that it was made from: records and queued sightings, servers, connections with
/// their limit, and circuit breakers. It asks several servers at once. Every call can be cancelled at any point: that
/// closes a connection in the middle of an exchange, and a write that was cancelled may or may not have arrived.
///
/// For request code prefer a [`Recorder`](crate::Recorder), which needs no runtime and costs no round trip.
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
    /// The blocking tracker on the same store.
    pub fn blocking(&self) -> &Tracker {
        &self.tracker
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        self.tracker.settings()
    }

    /// As [`Tracker::seen`].
    ///
    /// # Errors
    /// As there.
    pub fn seen(&self, user: impl Display) -> impl Future<Output = Result<()>> + Send {
        self.seen_at(user, Utc::now())
    }

    /// As [`Tracker::seen_at`].
    ///
    /// # Errors
    /// As there.
    pub fn seen_at(&self, user: impl Display, at: DateTime<Utc>) -> impl Future<Output = Result<()>> + Send {
        // Here and below: the user is not kept across a wait, so that the future is Send whatever it is.
        let key = self.tracker.key(user);
        async move { self.tracker.seen_on::<Tokio>(key?, at).await }
    }

    /// As [`Tracker::last_seen`].
    ///
    /// # Errors
    /// As there.
    pub fn last_seen(
        &self,
        user: impl Display,
    ) -> impl Future<Output = Result<Option<DateTime<Utc>>>> + Send {
        let presence = self.presence(user);
        async move { Ok(presence.await?.last_seen) }
    }

    /// As [`Tracker::online`].
    ///
    /// # Errors
    /// As there.
    pub fn online(&self, user: impl Display) -> impl Future<Output = Result<bool>> + Send {
        let presence = self.presence(user);
        async move { Ok(presence.await?.online) }
    }

    /// As [`Tracker::presence`].
    ///
    /// # Errors
    /// As there.
    pub fn presence(&self, user: impl Display) -> impl Future<Output = Result<Presence>> + Send {
        let key = self.tracker.key(user);
        async move { self.tracker.presence_on::<Tokio>(&key?).await }
    }

    /// As [`Tracker::presences`], with all servers asked at once.
    pub fn presences<U: Display>(
        &self,
        users: impl IntoIterator<Item = U>,
    ) -> impl Future<Output = Vec<Result<Presence>>> + Send {
        let keys = self.tracker.keys(users);
        self.tracker.presences_on::<Tokio>(self.tracker.store(), keys)
    }

    /// As [`Tracker::sign_out`].
    ///
    /// # Errors
    /// As there.
    pub fn sign_out(&self, user: impl Display) -> impl Future<Output = Result<bool>> + Send {
        let key = self.tracker.key(user);
        async move { self.tracker.end_on::<Tokio>(&key?, Kind::SignedOut).await }
    }

    /// As [`Tracker::forget`].
    ///
    /// # Errors
    /// As there.
    pub fn forget(&self, user: impl Display) -> impl Future<Output = Result<bool>> + Send {
        let key = self.tracker.key(user);
        async move { self.tracker.end_on::<Tokio>(&key?, Kind::Forgotten).await }
    }

    /// As [`Tracker::restore`]. Takes the records out of the iterator piece by piece, between the waits.
    pub async fn restore<U: Display>(
        &self,
        records: impl IntoIterator<Item = (U, DateTime<Utc>)>,
    ) -> RestoreSummary {
        self.tracker.restore_on::<Tokio, U>(records).await
    }

    /// As [`Tracker::inspect`].
    ///
    /// # Errors
    /// As there.
    pub fn inspect(&self, user: impl Display) -> impl Future<Output = Result<RecordInfo>> + Send {
        let key = self.tracker.key(user);
        async move { self.tracker.inspect_on::<Tokio>(&key?).await }
    }

    /// As [`Tracker::server_status`], with all servers asked at once.
    pub async fn server_status(&self) -> Vec<ServerStatus> {
        self.tracker.store().server_status::<Tokio>().await
    }
}
