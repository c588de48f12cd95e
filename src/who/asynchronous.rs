//! The list of online users and the watch, for async code.

use std::{
    fmt,
    future::poll_fn,
    io, panic,
    pin::Pin,
    task::{Context, Poll, ready},
};

use event_listener::EventListener;
use futures_core::Stream;
use tokio::task;

use super::{OnlineUsers, change::Change, watch::Watch};
use crate::{
    async_tracker::AsyncTracker,
    error::{Error, Result},
};

/// What the feature `who` adds.
impl AsyncTracker {
    /// Lists everyone who is online, as [`Tracker::online_users`](crate::Tracker::online_users) does, on a thread for
    /// blocking work. One that is cancelled goes on there to its end.
    ///
    /// # Errors
    /// If no server could be listed.
    pub async fn online_users(&self) -> Result<OnlineUsers> {
        let tracker = self.blocking().clone();
        task::spawn_blocking(move || tracker.online_users()).await.unwrap_or_else(|error| {
            match error.try_into_panic() {
                Ok(panic) => panic::resume_unwind(panic),
                // The runtime is shutting down.
                Err(error) => Err(Error::system(io::Error::other(error))),
            }
        })
    }

    /// Follows who comes and goes, as [`Tracker::watch`](crate::Tracker::watch) does: one task for a program, which
    /// keeps a roster for its handlers and passes the changes on to the pages that are open.
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(async {
    /// use std::sync::{Arc, RwLock};
    /// use last_seen::Roster;
    /// use tokio::sync::broadcast;
    /// # let tracker = last_seen::AsyncTracker::from(last_seen::Tracker::in_memory());
    ///
    /// // In the state of the handlers.
    /// let roster: Arc<RwLock<Roster>> = Arc::default();
    /// let (pages, _) = broadcast::channel(1_000);
    ///
    /// let mut watch = tracker.watch().await?;
    /// let (writing, telling) = (roster.clone(), pages.clone());
    /// tokio::spawn(async move {
    ///     while let Some(change) = watch.next().await {
    ///         // Told while the lock is held, so that no page gets a change twice, or none.
    ///         let mut roster = writing.write().unwrap();
    ///         roster.apply(&change);
    ///         let _ = telling.send(change);
    ///     }
    /// });
    ///
    /// // A page that is opened: what is so now, and every change from then on.
    /// let (now, mut changes) = {
    ///     let roster = roster.read().unwrap();
    ///     (roster.clone(), pages.subscribe())
    /// };
    /// # let mut now = now;
    /// tracker.seen("alice").await?;
    /// # while now.online() == 0 {
    /// now.apply(&changes.recv().await.unwrap());
    /// # }
    /// # Ok::<(), last_seen::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Error::System`] if there is no thread for it.
    pub async fn watch(&self) -> Result<AsyncWatch> {
        Ok(AsyncWatch { watch: self.blocking().watch()?, listener: None })
    }
}

/// Who is online, and who comes and goes, for async code: from [`AsyncTracker::watch`]. A `Stream` of the changes that a
/// [`Watch`] tells, which never ends.
///
/// Dropping it closes its connections at once and ends its threads.
pub struct AsyncWatch {
    watch: Watch,
    listener: Option<EventListener>,
}

impl AsyncWatch {
    /// Returns the next change, waited for. A wait that is cancelled loses none.
    pub async fn next(&mut self) -> Option<Change> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for AsyncWatch {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Change>> {
        loop {
            if let Some(listener) = &mut self.listener {
                ready!(Pin::new(listener).poll(context));
                self.listener = None;
            }
            match self.watch.hub().take() {
                Ok(change) => return Poll::Ready(Some(change)),
                Err(listener) => self.listener = Some(listener),
            }
        }
    }
}

impl fmt::Debug for AsyncWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncWatch").finish_non_exhaustive()
    }
}
