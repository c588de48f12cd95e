//! What the verbs do beside asking the store: the same for a tracker of either kind. No I/O.

use std::{fmt::Display, time::Duration};

use chrono::{DateTime, Utc};

use super::{RecordInfo, RestoreSummary, StoredRecord, Tracker};
use crate::{
    error::Result,
    memcached::{BATCH_MAX, Detail, Found, When, Write},
    presence::Presence,
    queue::Kind,
    record::{Key, Keys, Value},
};

impl Tracker {
    pub(crate) fn key(&self, user: impl Display) -> Result<Key> {
        Key::new(self.settings().key_prefix(), user)
    }

    pub(crate) fn keys<U: Display>(&self, users: impl IntoIterator<Item = U>) -> Keys {
        Keys::new(self.settings().key_prefix(), users)
    }

    /// The time in a value.
    pub(crate) fn seen_in(&self, key: &str, found: Found<'_>, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        self.shared.codec.decode(key, found.flags, found.bytes, now)
    }

    pub(crate) fn presence_of(&self, seen: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Presence {
        Presence::at(seen, now, self.settings().online_timeout())
    }

    /// All of a page are judged at one moment.
    pub(crate) fn presences_of(
        &self,
        keys: Keys,
        seen: Vec<Result<Option<DateTime<Utc>>>>,
        now: DateTime<Utc>,
    ) -> Vec<Result<Presence>> {
        let mut presences: Vec<_> =
            seen.into_iter().map(|seen| seen.map(|seen| self.presence_of(seen, now))).collect();
        for (place, error) in keys.refused {
            presences[place] = Err(error);
        }
        presences
    }

    pub(crate) fn record_info(&self, key: &Key, value: Option<Value>, detail: Detail) -> RecordInfo {
        let stored = value.map(|value| StoredRecord {
            last_seen: self.shared.codec.decode(key.as_str(), value.flags, &value.bytes, Utc::now()),
            flags: value.flags,
            bytes: value.bytes,
            expires_in: detail.expires_in,
            idle_for: detail.idle_for,
            was_read: detail.was_read,
        });
        let server = self.store().server_of(key).to_owned();
        RecordInfo { server, key: key.as_str().to_owned(), stored }
    }

    pub(crate) fn write(&self, key: Key, at: DateTime<Utc>, expiry: Duration, when: When) -> Result<Write> {
        let value = self.shared.codec.encode(at)?;
        let expiry = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
        Ok(Write { key, value, expiry, when })
    }

    pub(crate) fn sighting(&self, key: Key, at: DateTime<Utc>) -> Result<Write> {
        let write = self.write(key, at, self.settings().last_seen_timeout(), When::Always)?;
        self.shared.queues.seen(&write.key, at);
        Ok(write)
    }

    /// Cancels the user's queued sightings; gives the time of that, and whether there were any.
    pub(crate) fn cancel(&self, key: &Key, kind: Kind) -> (DateTime<Utc>, bool) {
        let now = Utc::now();
        (now, self.shared.queues.cancel(key, kind, now))
    }

    /// What to write over the record of a user who signed out at `now`; `None` where it is offline already.
    pub(crate) fn signing_out(
        &self,
        key: Key,
        now: DateTime<Utc>,
        known: Option<DateTime<Utc>>,
    ) -> Result<Option<Write>> {
        let Some(offline) = self.shared.codec.offline(known, now) else { return Ok(None) };
        self.write(key, offline, self.settings().last_seen_timeout(), When::Present).map(Some)
    }

    pub(crate) fn pieces<U: Display, I: IntoIterator<Item = (U, DateTime<Utc>)>>(
        &self,
        records: I,
    ) -> Pieces<'_, I::IntoIter> {
        Pieces { tracker: self, records: records.into_iter() }
    }

    /// The write of a copied record; `None` where it has expired by now.
    fn restoring(&self, user: impl Display, at: DateTime<Utc>) -> Result<Option<Write>> {
        let key = self.key(user)?;
        let age = Utc::now().timestamp().saturating_sub(at.timestamp());
        let left = self.settings().last_seen_timeout().as_secs().saturating_sub_signed(age);
        if left == 0 {
            return Ok(None);
        }
        self.write(key, at, Duration::from_secs(left), When::Absent).map(Some)
    }
}

/// Records on their way back, in pieces.
pub(crate) struct Pieces<'a, I> {
    tracker: &'a Tracker,
    records: I,
}

impl<U: Display, I: Iterator<Item = (U, DateTime<Utc>)>> Pieces<'_, I> {
    /// The next piece; counts what is not to be written.
    pub(crate) fn next(&mut self, restored: &mut RestoreSummary) -> Option<Vec<Write>> {
        let mut piece = Vec::new();
        while piece.len() < BATCH_MAX
            && let Some((user, at)) = self.records.next()
        {
            match self.tracker.restoring(user, at) {
                Ok(Some(write)) => piece.push(write),
                Ok(None) => restored.skipped += 1,
                Err(_) => restored.failed += 1,
            }
        }
        (!piece.is_empty()).then_some(piece)
    }
}
