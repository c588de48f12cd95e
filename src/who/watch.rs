//! Who comes and goes, as its reader sees it.

use std::{
    fmt,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    change::Change,
    feed::Feed,
    follower::{Follower, Source},
    hub::Hub,
    local::Local,
    pace::Intervals,
};
use crate::{
    error::{Error, Result},
    record::Key,
    store::Hook,
    tracker::Tracker,
};

/// Who is online, and who comes and goes: from [`Tracker::watch`], to be applied to a [`Roster`](crate::Roster).
///
/// As an iterator it waits for the next change and never ends. A reader who is slow loses nothing and makes nothing
/// grow: beyond a thousand changes that wait, a user who is seen again and again becomes one change, read when the reader
/// has caught up. Dropping it closes its connections at once and ends its threads.
///
/// ```
/// # fn main() -> Result<(), last_seen::Error> {
/// use std::time::Duration;
/// use last_seen::Change;
/// # let tracker = last_seen::Tracker::in_memory();
/// let mut watch = tracker.watch()?;
/// # tracker.seen("alice")?;
/// while let Some(change) = watch.next_timeout(Duration::from_millis(200)) {
///     match change {
///         Change::Online { user, .. } => println!("{user} is here"),
///         Change::Offline { user, .. } => println!("{user} is gone"),
///         Change::ServerDown { error, .. } => eprintln!("{error}"),
///         _ => {}
///     }
/// }
/// # Ok(()) }
/// ```
pub struct Watch {
    hub: Arc<Hub>,
    /// The store in this process calls it as long as it is here.
    _hook: Option<Arc<Hook>>,
}

impl Watch {
    pub(super) fn start(tracker: &Tracker, intervals: Intervals) -> Result<Self> {
        let (store, settings) = (tracker.store(), tracker.settings());
        let servers = store.remotes();
        let hub = Arc::new(Hub::new(servers.len().max(1)));
        // From here on a failure closes what was opened.
        let mut watch = Self { hub, _hook: None };
        if servers.is_empty() {
            let (sender, keys) = mpsc::channel();
            let hook: Arc<Hook> = Arc::new(move |key: &Key| drop(sender.send(key.clone())));
            store.hook(Arc::downgrade(&hook));
            watch._hook = Some(hook);
            let source = Local { tracker: tracker.clone(), keys };
            spawn(Follower::new(source, 0, &watch.hub, intervals, settings))?;
        }
        for (place, server) in servers.into_iter().enumerate() {
            let source = Feed::new(server, tracker, &watch.hub);
            spawn(Follower::new(source, place, &watch.hub, intervals, settings))?;
        }
        Ok(watch)
    }

    /// Returns the next change, waited for at most for `timeout`; `None` if there was none. For threads that have to look
    /// up now and then.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Change> {
        self.hub.wait(Instant::now().checked_add(timeout))
    }

    #[cfg(feature = "tokio")]
    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }
}

fn spawn<S: Source + Send + 'static>(follower: Follower<S>) -> Result<()> {
    let thread = thread::Builder::new().name("last-seen-watch".to_owned());
    thread.spawn(move || follower.run()).map(drop).map_err(Error::no_thread)
}

impl Iterator for Watch {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        self.hub.wait(None)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.close();
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
