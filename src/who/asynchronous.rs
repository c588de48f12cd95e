//! The same for async code: the blocking ones on threads of their own.

use std::{fmt, io, panic, sync::Arc, thread};

use chrono::{DateTime, Utc};
use tokio::{
    sync::mpsc::{self, Receiver},
    task,
};

use super::inbox::Inbox;
use crate::{
    async_tracker::AsyncTracker,
    error::{Error, Result},
    presence::Presence,
};

/// Few, since an event that waits in the feed itself is still up to date when it is given out.
const READY: usize = 16;

/// What the feature `who` adds.
impl AsyncTracker {
    /// As [`Tracker::online_users`](crate::Tracker::online_users), on a thread for blocking work. One that is
    /// cancelled goes on there to its end.
    ///
    /// # Errors
    /// As there.
    pub async fn online_users(&self) -> Result<Vec<(String, DateTime<Utc>)>> {
        let tracker = self.blocking().clone();
        in_background(move || tracker.online_users()).await
    }

    /// As [`Tracker::watch`](crate::Tracker::watch).
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(async {
    /// # let tracker = last_seen::AsyncTracker::from(last_seen::Tracker::in_memory());
    /// let mut watch = tracker.watch().await?;
    /// tracker.seen("alice").await?;
    /// while let Some(event) = watch.next().await {
    ///     let (user, presence) = event?;
    ///     println!("{user}: {}", if presence.online { "here" } else { "gone" });
    /// #   break;
    /// }
    /// # Ok::<(), last_seen::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As there.
    pub async fn watch(&self) -> Result<AsyncWatch> {
        let tracker = self.blocking().clone();
        let watch = in_background(move || tracker.watch()).await?;
        let (inbox, (sender, events)) = (watch.inbox(), mpsc::channel(READY));
        let forward = move || {
            for event in watch {
                if sender.blocking_send(event).is_err() {
                    return;
                }
            }
        };
        // Not one of the runtime's, which waits for those when it ends.
        let thread = thread::Builder::new().name("last-seen-watch".to_owned()).spawn(forward);
        thread.map_err(Error::no_thread)?;
        Ok(AsyncWatch { events, inbox })
    }
}

async fn in_background<T: Send + 'static>(f: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    task::spawn_blocking(f).await.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => panic::resume_unwind(panic),
        // The runtime ends.
        Err(error) => Err(Error::system(io::Error::other(error))),
    })
}

/// The live feed for async code, from [`AsyncTracker::watch`]; as [`Watch`](crate::Watch).
///
/// Dropping it closes its connections at once and ends its threads.
pub struct AsyncWatch {
    events: Receiver<Result<(String, Presence)>>,
    inbox: Arc<Inbox>,
}

impl AsyncWatch {
    /// The next event, waited for. A wait that is cancelled loses none.
    pub async fn next(&mut self) -> Option<Result<(String, Presence)>> {
        self.events.recv().await
    }

    /// As [`Watch::missed`](crate::Watch::missed).
    pub fn missed(&self) -> u64 {
        self.inbox.missed()
    }

    /// As [`Watch::skipped`](crate::Watch::skipped).
    pub fn skipped(&self) -> u64 {
        self.inbox.skipped()
    }
}

impl Drop for AsyncWatch {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

impl fmt::Debug for AsyncWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncWatch").finish_non_exhaustive()
    }
}
