//! What the verbs do, written once: [`Tracker`] runs it through, `AsyncTracker` awaits it.

use std::{fmt::Display, time::Duration};

use chrono::{DateTime, Utc};

use super::{RecordInfo, RestoreSummary, StoredRecord, Tracker};
use crate::{
    error::Result,
    memcached::{BATCH_MAX, Detail, Found, Link, When, Write},
    presence::Presence,
    queue::Kind,
    record::{Key, Keys, Value},
    store::Store,
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

    pub(crate) async fn seen_on<L: Link>(&self, key: Key, at: DateTime<Utc>) -> Result<()> {
        let write = self.write(key, at, self.settings().last_seen_timeout(), When::Always)?;
        self.shared.queues.seen(&write.key, at);
        self.store().set::<L>(&write).await.map(drop)
    }

    pub(crate) async fn presence_on<L: Link>(&self, key: &Key) -> Result<Presence> {
        let read = |found: Found<'_>| self.seen_in(key.as_str(), found, Utc::now());
        let seen = self.store().get::<L, _>(key, read).await?;
        Ok(self.presence_of(seen, Utc::now()))
    }

    /// All of a page are judged at one moment.
    pub(crate) async fn presences_on<L: Link>(&self, store: &Store, keys: Keys) -> Vec<Result<Presence>> {
        let now = Utc::now();
        let read = |key: &str, found: Found<'_>| self.seen_in(key, found, now);
        let seen = store.get_many::<L, _>(&keys, read).await;
        let mut presences: Vec<_> =
            seen.into_iter().map(|seen| seen.map(|seen| self.presence_of(seen, now))).collect();
        for (place, error) in keys.refused {
            presences[place] = Err(error);
        }
        presences
    }

    fn presence_of(&self, seen: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Presence {
        Presence::at(seen, now, self.settings().online_timeout())
    }

    pub(crate) async fn sign_out_on<L: Link>(&self, key: Key) -> Result<bool> {
        let (now, queued) = self.cancel(&key, Kind::SignedOut);
        // A record that cannot be read may be one far ahead, which other readers take for online.
        let known = |found: Found<'_>| Ok(self.seen_in(key.as_str(), found, now).ok());
        let Some(known) = self.store().get::<L, _>(&key, known).await? else { return Ok(queued) };
        if let Some(offline) = self.shared.codec.offline(known, now) {
            let write = self.write(key, offline, self.settings().last_seen_timeout(), When::Present)?;
            self.store().set::<L>(&write).await?;
        }
        Ok(true)
    }

    pub(crate) async fn forget_on<L: Link>(&self, key: &Key) -> Result<bool> {
        let (_, queued) = self.cancel(key, Kind::Forgotten);
        Ok(self.store().delete::<L>(key, None).await? || queued)
    }

    pub(crate) async fn restore_on<L: Link, U: Display>(
        &self,
        records: impl IntoIterator<Item = (U, DateTime<Utc>)>,
    ) -> RestoreSummary {
        let mut restored = RestoreSummary::default();
        let mut pieces = Pieces { tracker: self, records: records.into_iter() };
        while let Some(piece) = pieces.next(&mut restored) {
            restored.count(self.store().set_many::<L>(&piece).await);
        }
        restored
    }

    pub(crate) async fn inspect_on<L: Link>(&self, key: &Key) -> Result<RecordInfo> {
        let detail = self.store().detail::<L>(key).await?;
        let item = self.store().item::<L>(key).await?;
        Ok(self.record_info(key, item.map(|item| item.value), detail))
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

    /// Cancels the user's queued sightings; gives the time of that, and whether there were any.
    fn cancel(&self, key: &Key, kind: Kind) -> (DateTime<Utc>, bool) {
        let now = Utc::now();
        (now, self.shared.queues.cancel(key, kind, now))
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
struct Pieces<'a, I> {
    tracker: &'a Tracker,
    records: I,
}

impl<U: Display, I: Iterator<Item = (U, DateTime<Utc>)>> Pieces<'_, I> {
    /// The next piece; counts what is not to be written.
    fn next(&mut self, restored: &mut RestoreSummary) -> Option<Vec<Write>> {
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
