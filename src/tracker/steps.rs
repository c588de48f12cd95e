//! The calls of a tracker, written once as async code: [`Tracker`] runs them on its thread, `AsyncTracker` awaits them.

use std::fmt::Display;

use chrono::{DateTime, Utc};

use super::{RecordInfo, StoredRecord, Tracker};
use crate::{
    error::Result,
    memcached::{Detail, Found, Link, When, Write},
    presence::Presence,
    queue::Queued,
    record::{CLOCK_SLACK, Key, Keys, Tombstone, Value},
    store::Store,
};

impl Tracker {
    pub(crate) fn key(&self, user: impl Display) -> Result<Key> {
        Key::new(self.settings().key_prefix(), user)
    }

    pub(crate) fn keys<U: Display>(&self, users: impl IntoIterator<Item = U>) -> Keys {
        Keys::new(self.settings().key_prefix(), users)
    }

    /// Decodes the time in a value that was found under `key`.
    pub(crate) fn seen_in(&self, key: &str, found: Found<'_>, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
        self.shared.codec.decode(key, found.flags, found.bytes, now)
    }

    pub(crate) async fn seen_on<L: Link>(&self, key: Key, at: DateTime<Utc>) -> Result<()> {
        let write = self.write(key, at, When::Always)?;
        self.shared.queues.seen(&write.key, at);
        self.store().set::<L>(&write).await.map(drop)
    }

    pub(crate) async fn presence_on<L: Link>(&self, key: &Key) -> Result<Presence> {
        let seen = match self.shared.queues.last_seen(key.as_str()) {
            None => {
                let read = |found: Found<'_>| self.seen_in(key.as_str(), found, Utc::now());
                self.store().get::<L, _>(key, read).await?
            }
            Some(own) => {
                let (pair, now) = (Keys::pair(key), Utc::now());
                // Boxed, so that this rare and large future does not enlarge the common one.
                let seen = Box::pin(self.seen_of::<L>(self.store(), &pair, &[(0, own)], now)).await;
                seen.into_iter().next().transpose()?.flatten()
            }
        };
        Ok(self.presence_of(seen, Utc::now()))
    }

    /// Returns one presence for each key, in order. All are judged at the same moment.
    pub(crate) async fn presences_on<L: Link>(&self, store: &Store, mut keys: Keys) -> Vec<Result<Presence>> {
        let (now, count) = (Utc::now(), keys.len());
        let own = self.shared.queues.last_seen_of(&keys);
        for &(place, _) in &own {
            keys.push_tombstone(Key::from(keys.get(place)));
        }
        let mut seen = self.seen_of::<L>(store, &keys, &own, now).await;
        seen.truncate(count);
        let mut presences: Vec<_> =
            seen.into_iter().map(|seen| seen.map(|seen| self.presence_of(seen, now))).collect();
        for (place, error) in keys.refused {
            presences[place] = Err(error);
        }
        presences
    }

    /// Returns the stored time of each key, or the time queued in this process if that is newer. `own` holds the queued
    /// sightings, each with the index of its record; the last `own.len()` keys are the tombstones of these records.
    async fn seen_of<L: Link>(
        &self,
        store: &Store,
        keys: &Keys,
        own: &[(u32, Queued)],
        now: DateTime<Utc>,
    ) -> Vec<Result<Option<DateTime<Utc>>>> {
        let records = keys.len() - own.len();
        let read = |place: u32, found: Found<'_>| {
            if (place as usize) < records {
                self.seen_in(keys.get(place), found, now)
            } else {
                Ok(Tombstone::read(found.bytes, now).latest())
            }
        };
        let mut seen = store.get_many::<L, _>(keys, false, read).await;
        for (nth, &(place, own)) in own.iter().enumerate() {
            // A tombstone that cannot be read may be newer than the queued sighting, which then does not count.
            let counts =
                seen[records + nth].as_ref().is_ok_and(|ended| ended.is_none_or(|ended| own.as_of > ended));
            if let Ok(seen) = &mut seen[place as usize]
                && counts
            {
                *seen = (*seen).max(DateTime::from_timestamp(own.at.timestamp(), 0));
            }
        }
        seen
    }

    fn presence_of(&self, seen: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Presence {
        Presence::at(seen, now, self.settings().online_timeout())
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
            format: self.shared.codec.form_of(&value.bytes).map(Into::into),
            bytes: value.bytes,
            expires_in: detail.expires_in,
            idle_for: detail.idle_for,
            was_read: detail.was_read,
        });
        let server = self.store().server_of(key).to_owned();
        let zone = &self.shared.codec.zone;
        RecordInfo {
            server,
            key: key.as_str().to_owned(),
            stored,
            local_time: zone.local(Utc::now()),
            zone_files: zone.files(),
        }
    }

    /// Decodes the time in a record that is about to be changed. Returns `None` if the value is unreadable or more than
    /// [`CLOCK_SLACK`] ahead of `clock`, the time now; such a record counts as older than any time.
    pub(super) fn trusted_time(
        &self,
        flags: u32,
        bytes: &[u8],
        clock: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let latest = clock.timestamp() + CLOCK_SLACK.num_seconds();
        self.shared.codec.decode("", flags, bytes, clock).ok().filter(|seen| seen.timestamp() <= latest)
    }

    pub(crate) fn write(&self, key: Key, at: DateTime<Utc>, when: When) -> Result<Write> {
        let expiry = u32::try_from(self.settings().last_seen_timeout().as_secs()).unwrap_or(u32::MAX);
        Ok(Write { key, home: None, value: self.shared.codec.encode(at)?, expiry, when })
    }
}
