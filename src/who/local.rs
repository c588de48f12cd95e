//! Follows the in-memory store, which loses no updates and is never down.

use std::{
    io::ErrorKind,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Instant,
};

use chrono::{DateTime, Utc};

use super::{
    dump::{Candidates, Listing},
    follower::{Line, Source},
    ledger::{Hint, PendingRead, Seen},
};
use crate::{
    error::{Error, Result},
    memcached::{Blocking, run_through},
    record::{Key, Keys},
    tracker::Tracker,
};

pub(super) struct Local {
    pub(super) tracker: Tracker,
    /// The keys that are stored or deleted. The sender is dropped with the watch.
    pub(super) keys: Receiver<Key>,
}

/// Lists every user in the store.
pub(super) fn list(tracker: &Tracker) -> Candidates {
    let mut candidates = Candidates::default();
    let prefix = tracker.settings().key_prefix().len();
    tracker.store().each_key(|key| candidates.push(&key.as_str()[prefix..], Hint::NONE));
    candidates
}

impl Source for Local {
    fn name(&self) -> &str {
        "memory:"
    }

    fn open(&mut self) -> Result<u64> {
        Ok(0)
    }

    fn read_log(&mut self, until: Instant, on_line: &mut dyn FnMut(Line)) -> Result<()> {
        match self.keys.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(key) => on_line(Line::Named(key, Hint::NONE)),
            // Silence is no sign of a dead log here, so it counts as a line.
            Err(RecvTimeoutError::Timeout) => on_line(Line::Other),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::unavailable(self.name(), ErrorKind::ConnectionAborted.into()));
            }
        }
        self.keys.try_iter().for_each(|key| on_line(Line::Named(key, Hint::NONE)));
        Ok(())
    }

    fn dropped(&mut self) -> Result<u64> {
        Ok(0)
    }

    fn store_heartbeat(&mut self) -> Result<()> {
        Ok(())
    }

    fn list(&mut self) -> Result<Listing> {
        Ok(Listing::done(list(&self.tracker)))
    }

    fn read(&mut self, batch: &[PendingRead], now: DateTime<Utc>) -> Result<Vec<Seen>> {
        let tracker = &self.tracker;
        let keys = Keys::new(tracker.settings().key_prefix(), batch.iter().map(|pending| &*pending.user));
        let read = |place, found: crate::memcached::Found<'_>| tracker.seen_in(keys.get(place), found, now);
        Ok(run_through(tracker.store().get_many::<Blocking, _>(&keys, false, read)))
    }

    fn refuses(&mut self, _: &Error) -> bool {
        false
    }
}
