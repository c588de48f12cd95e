//! The tracker for async code.

use std::{fmt::Display, future::Future, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    error::Result,
    memcached::ServerStatus,
    presence::Presence,
    queue::Kind,
    settings::Settings,
    store::AsyncStore,
    tracker::{RecordInfo, RestoreSummary, Tracker},
};

/// [`Tracker`] for async code on tokio: the same verbs, on the same store. A clone is a handle on the same store.
///
/// Several servers are asked at once. Every call can be cancelled at any point: a connection in the middle of an
/// exchange is closed, and a write that was cancelled may or may not have arrived. Records in process and pending
/// sightings are those of the tracker that it was made from; its connections are its own.
///
/// For request code prefer a [`Recorder`](crate::Recorder), which needs no runtime and costs no round trip.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), last_seen::Error> {
/// use last_seen::{AsyncTracker, Tracker};
///
/// let tracker = AsyncTracker::from(Tracker::connect("memory:")?);
/// tracker.seen("alice").await?;
/// assert!(tracker.online("alice").await?);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct AsyncTracker {
    tracker: Tracker,
    store: Arc<AsyncStore>,
}

impl From<Tracker> for AsyncTracker {
    fn from(tracker: Tracker) -> Self {
        let store = Arc::new(tracker.store().asynchronous());
        Self { tracker, store }
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
        async move { self.store.set(&self.tracker.sighting(key?, at)?).await.map(drop) }
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
        async move {
            let key = key?;
            let value = self.store.get(&key).await?;
            self.tracker.presence_in(&key, value.as_ref(), Utc::now())
        }
    }

    /// As [`Tracker::presences`], with all servers asked at once.
    pub fn presences<U: Display>(
        &self,
        users: impl IntoIterator<Item = U>,
    ) -> impl Future<Output = Vec<Result<Presence>>> + Send {
        let keys = self.tracker.keys(users);
        async move {
            let values = self.store.get_many(keys.iter().flatten().collect()).await;
            self.tracker.presences_in(keys, values)
        }
    }

    /// As [`Tracker::sign_out`].
    ///
    /// # Errors
    /// As there.
    pub fn sign_out(&self, user: impl Display) -> impl Future<Output = Result<bool>> + Send {
        let key = self.tracker.key(user);
        async move {
            let key = key?;
            let (now, queued) = self.tracker.cancel(&key, Kind::SignedOut);
            let Some(value) = self.store.get(&key).await? else { return Ok(queued) };
            if let Some(write) = self.tracker.signing_out(key, now, &value)? {
                self.store.set(&write).await?;
            }
            Ok(true)
        }
    }

    /// As [`Tracker::forget`].
    ///
    /// # Errors
    /// As there.
    pub fn forget(&self, user: impl Display) -> impl Future<Output = Result<bool>> + Send {
        let key = self.tracker.key(user);
        async move {
            let key = key?;
            let (_, queued) = self.tracker.cancel(&key, Kind::Forgotten);
            Ok(self.store.delete(&key).await? || queued)
        }
    }

    /// As [`Tracker::restore`]. Takes the records out of the iterator piece by piece, between the waits.
    pub async fn restore<U: Display>(
        &self,
        records: impl IntoIterator<Item = (U, DateTime<Utc>)>,
    ) -> RestoreSummary {
        let (mut restored, mut pieces) = (RestoreSummary::default(), self.tracker.pieces(records));
        while let Some(piece) = pieces.next(&mut restored) {
            restored.count(self.store.set_many(&piece).await);
        }
        restored
    }

    /// As [`Tracker::inspect`].
    ///
    /// # Errors
    /// As there.
    pub fn inspect(&self, user: impl Display) -> impl Future<Output = Result<RecordInfo>> + Send {
        let key = self.tracker.key(user);
        async move {
            let key = key?;
            let item = self.store.inspect(&key).await?;
            Ok(self.tracker.inspection(&key, item))
        }
    }

    /// As [`Tracker::server_status`], with all servers asked at once.
    pub async fn server_status(&self) -> Vec<ServerStatus> {
        self.store.server_status().await
    }
}
