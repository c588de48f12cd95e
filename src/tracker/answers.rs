//! What some verbs answer.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::error::{Error, Result};

/// What [`Tracker::restore`](crate::Tracker::restore) did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Records written.
    pub written: usize,
    /// Records left alone: the cache had one of that user, or it would have expired by now.
    pub skipped: usize,
    /// Records that could not be written: the server lost, the user no key, the time not in the years 1970
    /// to 9999.
    pub failed: usize,
}

impl Restored {
    pub(crate) fn count(&mut self, answers: Vec<Result<bool, Error>>) {
        for answer in answers {
            match answer {
                Ok(true) => self.written += 1,
                Ok(false) => self.skipped += 1,
                Err(_) => self.failed += 1,
            }
        }
    }
}

/// What is stored of a user, and where.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// The server that holds the key, or `memory:`.
    pub server: String,
    /// The whole key, prefix and user.
    pub key: String,
    /// What is there; `None` where nothing is.
    pub stored: Option<StoredValue>,
}

/// A value as the store keeps it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredValue {
    /// The client flags, which each client numbers in its own way.
    pub flags: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How long it will be kept, in whole seconds; `None` for as long as there is room.
    pub expires_in: Option<Duration>,
    /// What it decodes to, or why it is no time that can be believed.
    pub last_seen: Result<DateTime<Utc>>,
}
