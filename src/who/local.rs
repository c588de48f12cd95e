//! The store in this process as it is followed: nothing is lost on the way, and it is never down.

use std::{
    io::ErrorKind,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Instant,
};

use chrono::{DateTime, Utc};

use super::{
    dump::{Candidates, Listing},
    follower::{Line, Source},
    ledger::{Hint, Look, Seen},
};
use crate::{
    error::{Error, Result},
    memcached::{Blocking, run_through},
    record::{Key, Keys},
    tracker::Tracker,
};

pub(super) struct Local {
    pub(super) tracker: Tracker,
    /// What is stored or deleted; its sender is gone when the watch is.
    pub(super) keys: Receiver<Key>,
}

/// Everyone in the store.
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

    fn hear(&mut self, until: Instant, hear: &mut dyn FnMut(Line)) -> Result<()> {
        match self.keys.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(key) => hear(Line::Named(key, Hint::NONE)),
            // It has said all that there was.
            Err(RecvTimeoutError::Timeout) => hear(Line::Other),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::unavailable(self.name(), ErrorKind::ConnectionAborted.into()));
            }
        }
        self.keys.try_iter().for_each(|key| hear(Line::Named(key, Hint::NONE)));
        Ok(())
    }

    fn dropped(&mut self) -> Result<u64> {
        Ok(0)
    }

    fn beat(&mut self) -> Result<()> {
        Ok(())
    }

    fn list(&mut self) -> Result<Listing> {
        Ok(Listing::done(list(&self.tracker)))
    }

    fn read(&mut self, batch: &[Look], now: DateTime<Utc>) -> Result<Vec<Seen>> {
        let tracker = &self.tracker;
        let keys = Keys::new(tracker.settings().key_prefix(), batch.iter().map(|look| &*look.user));
        let read = |place, found: crate::memcached::Found<'_>| tracker.seen_in(keys.get(place), found, now);
        Ok(run_through(tracker.store().get_many::<Blocking, _>(&keys, false, read)))
    }

    fn refuses(&mut self, _: &Error) -> bool {
        false
    }
}
