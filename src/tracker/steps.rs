//! What the verbs do beside asking the store: the same for a tracker of either kind. No I/O.

use std::{fmt::Display, time::Duration};

use chrono::{DateTime, Utc};

use super::{RecordInfo, RestoreSummary, StoredRecord, Tracker};
use crate::{
    error::Result,
    memcached::{BATCH_MAX, Item, When, Write},
    presence::Presence,
    queue::Kind,
    record::{Key, Value},
};

impl Tracker {
    pub(crate) fn key(&self, user: impl Display) -> Result<Key> {
        Key::new(self.settings().key_prefix(), user)
    }

    pub(crate) fn keys<U: Display>(&self, users: impl IntoIterator<Item = U>) -> Vec<Result<Key>> {
        users.into_iter().map(|user| self.key(user)).collect()
    }

    pub(crate) fn decode(&self, key: &Key, value: &Value, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        self.shared.codec.decode(key, value, now)
    }

    pub(crate) fn presence_in(
        &self,
        key: &Key,
        value: Option<&Value>,
        now: DateTime<Utc>,
    ) -> Result<Presence> {
        let last_seen = value.map(|value| self.decode(key, value, now)).transpose()?;
        Ok(Presence::at(last_seen, now, self.settings().online_timeout()))
    }

    /// `values` holds one answer for each key that is one. All of a page are judged at one moment.
    pub(crate) fn presences_in(
        &self,
        keys: Vec<Result<Key>>,
        values: Vec<Result<Option<Value>>>,
    ) -> Vec<Result<Presence>> {
        let (mut values, now) = (values.into_iter(), Utc::now());
        let presence = |key: Result<Key>| {
            let key = key?;
            let value = values.next().transpose()?.flatten();
            self.presence_in(&key, value.as_ref(), now)
        };
        keys.into_iter().map(presence).collect()
    }

    pub(crate) fn inspection(&self, key: &Key, item: Option<Item>) -> RecordInfo {
        let stored = item.map(|item| StoredRecord {
            last_seen: self.decode(key, &item.value, Utc::now()),
            flags: item.value.flags,
            bytes: item.value.bytes,
            expires_in: item.expires_in,
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
    pub(crate) fn signing_out(&self, key: Key, now: DateTime<Utc>, value: &Value) -> Result<Option<Write>> {
        let known = self.decode(&key, value, now).ok();
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
