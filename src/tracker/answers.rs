//! The results of `Tracker::restore` and `Tracker::inspect`.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, Utc};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::sightings::Outcome;
use crate::{error::Result, settings::Format};

/// Counts what [`Tracker::restore`](crate::Tracker::restore) did with the records that it was given.
///
/// ```
/// # let tracker = last_seen::Tracker::in_memory();
/// let restored = tracker.restore([("alice", last_seen::chrono::Utc::now()), ("not a key", Default::default())]);
/// assert_eq!((restored.written, restored.skipped, restored.failed), (1, 0, 1));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RestoreSummary {
    /// Counts records that were written.
    pub written: usize,
    /// Counts records that were not needed: one as new is stored already, the user has signed out or was forgotten since, or
    /// the record would have expired by now.
    pub skipped: usize,
    /// Counts records that could not be written: the server is unavailable, the user cannot be a key, or the time is before
    /// 1970 or in the future.
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

/// A user's record and where it is stored: from [`Tracker::inspect`](crate::Tracker::inspect) and
/// [`Tracker::preview`](crate::Tracker::preview).
///
/// ```
/// # fn main() -> Result<(), last_seen::Error> {
/// # let tracker = last_seen::Tracker::in_memory();
/// let record = tracker.inspect("alice")?;
/// assert_eq!((&*record.server, &*record.key), ("memory:", "seen_alice"));
/// assert!(record.stored.is_none());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RecordInfo {
    /// Names the server that holds the key, or is `memory:`.
    pub server: String,
    /// Holds the whole key, prefix and user.
    pub key: String,
    /// Holds the stored value; `None` if there is no record.
    pub stored: Option<StoredRecord>,
    /// Shows the local time in the setting `time_zone` now. If datetimes without a zone are misread, compare it with the
    /// site's own `datetime.now()`.
    pub local_time: DateTime<FixedOffset>,
    /// Names the folder of the file that has the rules of the zone, or is `built in`.
    pub zone_files: &'static str,
}

/// A value as memcached stores it.
///
/// ```
/// # fn main() -> Result<(), last_seen::Error> {
/// # let tracker = last_seen::Tracker::in_memory();
/// tracker.seen_at("alice", "2026-11-24T03:00:00Z".parse().unwrap())?;
/// let stored = tracker.inspect("alice")?.stored.unwrap();
/// assert_eq!((stored.flags, &*stored.bytes), (0, &b"1795489200"[..]));
/// assert_eq!(stored.format.unwrap().to_string(), "unix-seconds");
/// # Ok(()) }
/// ```
///
/// Serializes as `flags`, `bytes` (as in a byte string: ASCII, the other bytes as `\x80`), `format`, `expires_in_s`,
/// `idle_for_s` and `was_read` (each or null), `last_seen` (RFC 3339, or null) and `error` (an [`Error`](crate::Error), or null).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredRecord {
    /// Holds the client flags, which each client numbers in its own way.
    pub flags: u32,
    /// Holds the bytes of the value.
    pub bytes: Vec<u8>,
    /// Names the format of the bytes; `None` if they are not a time, or one in a form that is read but never written.
    /// A Django site that stores another format than the setting `format` fails on records that this crate writes.
    pub format: Option<Format>,
    /// Tells how long until the record expires, in whole seconds; `None` if it never does, without the feature `meta`, and
    /// on servers without meta commands. If `idle_for` is `Some`, it never does.
    pub expires_in: Option<Duration>,
    /// Tells how long ago the record was last read or written, in whole seconds; `None` without the feature `meta`, and on
    /// servers without meta commands.
    pub idle_for: Option<Duration>,
    /// Tells whether anyone has read the record since it was written; `None` without the feature `meta`, and on servers
    /// without meta commands.
    pub was_read: Option<bool>,
    /// Holds the time that the value decodes to, or why it is not a valid timestamp.
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
