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

/// Lists and follows who is online.
impl AsyncTracker {
    /// Lists everyone who is online now, most recent first, on a thread for blocking work; a cancelled call goes on there to
    /// its end. Not for request handlers. See [`Tracker::online_users`](crate::Tracker::online_users).
    ///
    /// # Errors
    /// Returns the first server's error if no server could be listed.
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

    /// Follows who comes online and goes offline. See [`Tracker::watch`](crate::Tracker::watch). Use one per process and fan
    /// it out, in a task that keeps a roster for the handlers and passes the changes on to open pages:
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
    /// let (writing, sending) = (roster.clone(), pages.clone());
    /// tokio::spawn(async move {
    ///     while let Some(change) = watch.next().await {
    ///         // Sent while the lock is held, so that no page gets a change twice or misses one.
    ///         let mut roster = writing.write().unwrap();
    ///         roster.apply(&change);
    ///         let _ = sending.send(change);
    ///     }
    /// });
    ///
    /// // When a page is opened: who is online now, and every change from then on.
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
    /// Returns [`Error::System`] if the system has no thread for it.
    pub async fn watch(&self) -> Result<AsyncWatch> {
        Ok(AsyncWatch { watch: self.blocking().watch()?, listener: None })
    }
}

/// Yields who is online, and then who comes online and goes offline, for async code: from [`AsyncTracker::watch`]. A
/// `Stream` of the changes of a [`Watch`], which never ends.
///
/// Dropping it closes its connections at once and ends its threads.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// # let tracker = last_seen::AsyncTracker::from(last_seen::Tracker::in_memory());
/// use last_seen::{Change, Roster};
///
/// let (mut watch, mut roster) = (tracker.watch().await?, Roster::default());
/// while let Some(change) = watch.next().await {
///     roster.apply(&change);
///     if let Change::Ready { online, .. } = change {
///         println!("{online} online");
/// #       break;
///     }
/// }
/// # Ok::<(), last_seen::Error>(()) }).unwrap();
/// ```
pub struct AsyncWatch {
    watch: Watch,
    listener: Option<EventListener>,
}

impl AsyncWatch {
    /// Waits for the next change; never returns `None`. Cancelling the wait loses no change.
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
