//! The results of `Tracker::restore` and `Tracker::inspect`.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, Utc};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::sightings::Outcome;
use crate::{error::Result, settings::Format};

/// What [`Tracker::restore`](crate::Tracker::restore) did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RestoreSummary {
    /// Records written.
    pub written: usize,
    /// Records left alone: the cache had one of that user that is as new, the user has signed out or was forgotten since,
    /// or it would have expired by now.
    pub skipped: usize,
    /// Records that could not be written: the server lost, the user no key, the time not since 1970 or in the future.
    pub failed: usize,
}

impl RestoreSummary {
    pub(super) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Written => self.written += 1,
            Outcome::Held | Outcome::Cancelled => self.skipped += 1,
            Outcome::Failed(_) | Outcome::Changing => self.failed += 1,
        }
    }
}

/// What is stored of a user, and where.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RecordInfo {
    /// The server that holds the key, or `memory:`.
    pub server: String,
    /// The whole key, prefix and user.
    pub key: String,
    /// What is there; `None` where nothing is.
    pub stored: Option<StoredRecord>,
    /// What the clocks of the setting `time_zone` show now: where a datetime without a zone is misread, compare it with the
    /// site's own `datetime.now()`.
    pub local_time: DateTime<FixedOffset>,
    /// The folder of the file that has the rules of the zone, or `built in`.
    pub zone_files: &'static str,
}

/// A value as the store keeps it.
///
/// Serializes as `flags`, `bytes` (as in a byte string: ASCII, the other bytes as `\x80`), `format`, `expires_in_s`,
/// `idle_for_s` and `was_read` (each or null), `last_seen` (RFC 3339, or null) and `error` (an [`Error`](crate::Error), or null).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredRecord {
    /// The client flags, which each client numbers in its own way.
    pub flags: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The format that these are of; `None` if they are no time, or one in a form that is only read.
    /// A Django site whose format is not the one set here would fail on what is written here.
    pub format: Option<Format>,
    /// How long it will be kept, in whole seconds; `None` for as long as there is room, without the feature `meta`, and
    /// from a server that does not tell.
    pub expires_in: Option<Duration>,
    /// How long ago the store last read or wrote it, in whole seconds; `None` without the feature `meta`, and from a
    /// server that does not tell.
    pub idle_for: Option<Duration>,
    /// Whether anyone has read it since it was written; `None` as for `idle_for`.
    pub was_read: Option<bool>,
    /// What it decodes to, or why it is no time that can be believed.
    pub last_seen: Result<DateTime<Utc>>,
}

impl Serialize for StoredRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("StoredRecord", 8)?;
        fields.serialize_field("flags", &self.flags)?;
        fields.serialize_field("bytes", &self.bytes.escape_ascii().to_string())?;
        fields.serialize_field("format", &self.format.map(|format| format.to_string()))?;
        fields.serialize_field("expires_in_s", &self.expires_in.map(|left| left.as_secs()))?;
        fields.serialize_field("idle_for_s", &self.idle_for.map(|idle| idle.as_secs()))?;
        fields.serialize_field("was_read", &self.was_read)?;
        fields.serialize_field("last_seen", &self.last_seen.as_ref().ok())?;
        fields.serialize_field("error", &self.last_seen.as_ref().err())?;
        fields.end()
    }
}
