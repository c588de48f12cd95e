//! `sign_out` and `forget`. Both leave a tombstone, so that no process undoes them with an older queued sighting.

use chrono::{DateTime, Utc};

use super::{TRIES, Tracker};
use crate::{
    error::{Error, Result},
    memcached::{Found, Item, Link, When, Write},
    queue::{Cancelled, Ended},
    record::{CLOCK_SLACK, Key, Keys, Kind, TOMBSTONE_TIMEOUT, Tombstone, end_of_second, next_tick},
    store::Store,
};

impl Tracker {
    /// Signs out or forgets the user, by `kind`. Returns whether there was a record, or a queued sighting.
    pub(crate) async fn end_on<L: Link>(&self, key: &Key, kind: Kind) -> Result<bool> {
        let now = Utc::now();
        let cancelled = self.shared.queues.cancel(key, kind, now);
        let mut until = None;
        let ended = self.end::<L>(self.store(), key, kind, now, cancelled, &mut until).await;
        if matches!(ended, Err(Error::Unavailable { .. })) {
            self.shared.queues.retry(&Ended { key: key.clone(), kind, at: now }, until.unwrap_or(now));
        }
        Ok(ended? || cancelled.queued.is_some())
    }

    /// Writes the tombstone, then moves the record back or deletes it. Returns whether there was a record.
    ///
    /// Times up to `until` count as older than the sign-out. Only the first try sets `until`, because only that try
    /// knows that a record with a future time is older. A later try may come long after `now`, the time of the call, so
    /// what is stored is judged by the clock.
    pub(crate) async fn end<L: Link>(
        &self,
        store: &Store,
        key: &Key,
        kind: Kind,
        now: DateTime<Utc>,
        cancelled: Cancelled,
        until: &mut Option<DateTime<Utc>>,
    ) -> Result<bool> {
        let first = until.is_none();
        // A sighting that this process is writing may fall into the same tick as `now`.
        let from = cancelled.under_way.map_or(now, |seen| now.max(next_tick(seen)));
        let until = until.get_or_insert(from);
        let tombstone = self.write_tombstone::<L>(store, key, kind, until, first).await?;
        let ended = match &tombstone {
            Err(error) if first && error.is_out_of_memory() => store.delete::<L>(key, None).await,
            _ => self.end_record::<L>(store, key, kind, now, *until).await,
        };
        // A server without memory for an offline record deletes the online one.
        let was_there = match ended {
            Err(error) if first && error.is_out_of_memory() => store.delete::<L>(key, None).await?,
            ended => ended?,
        };
        let tombstone = tombstone.map_err(explain_missing_tombstone)?;
        if let (false, Kind::SignedOut, Some(seen)) = (was_there, kind, cancelled.queued)
            && !tombstone.forgets(seen)
        {
            self.keep_as_offline::<L>(store, key, seen, now).await?;
        }
        Ok(was_there)
    }

    /// Writes the tombstone. Returns the tombstone that is stored now or, in the inner result, why it was not written.
    /// The first try raises `until` to the time of a record that is ahead.
    async fn write_tombstone<L: Link>(
        &self,
        store: &Store,
        key: &Key,
        kind: Kind,
        until: &mut DateTime<Utc>,
        first: bool,
    ) -> Result<Result<Tombstone>> {
        let (pair, now) = (Keys::pair(key), *until);
        for attempt in 0..TRIES {
            let item = |_, found: Found<'_>| Ok(Item::new(found));
            let mut found = store.get_many::<L, _>(&pair, true, item).await.into_iter();
            let record = found.next().transpose()?.flatten();
            if first
                && attempt == 0
                && let Some(item) = record
            {
                // A record with a future time was written before the sign-out, by a host whose clock is ahead.
                let seen = self.trusted_time(item.value.flags, &item.value.bytes, Utc::now());
                let ahead =
                    seen.filter(|seen| seen.timestamp() > now.timestamp() && *seen - now <= CLOCK_SLACK);
                *until = ahead.map_or(now, end_of_second);
            }
            let before = match found.next().transpose() {
                Ok(before) => before.flatten(),
                Err(error) => return Ok(Err(error)),
            };
            let stored = before.as_ref().map(|item| Tombstone::read(&item.value.bytes, Utc::now()));
            let tombstone = stored.unwrap_or_default().with(kind, *until);
            let write = Write {
                key: Key::from(&*key.tombstone()),
                home: Some(key.clone()),
                value: tombstone.value(),
                expiry: TOMBSTONE_TIMEOUT.num_seconds() as u32,
                when: before.map_or(When::Absent, |item| When::Unchanged(item.cas)),
            };
            match store.set::<L>(&write).await {
                Ok(true) => return Ok(Ok(tombstone)),
                Ok(false) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        Err(self.keeps_changing(key))
    }

    /// Gives the record an offline time, or deletes it. Returns whether there was a record.
    async fn end_record<L: Link>(
        &self,
        store: &Store,
        key: &Key,
        kind: Kind,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool> {
        let mut was_there = false;
        for _ in 0..TRIES {
            let Some(item) = store.item::<L>(key).await? else { return Ok(was_there) };
            was_there = true;
            let seen = self.trusted_time(item.value.flags, &item.value.bytes, Utc::now());
            // The user signed in again after the sign-out.
            if seen.is_some_and(|seen| seen.timestamp() > until.timestamp()) {
                return Ok(true);
            }
            let ended = match (kind, self.codec().offline(seen, now).or(seen)) {
                // Written even if it is offline already: a concurrent writer then finds that the record has changed.
                (Kind::SignedOut, Some(offline)) => {
                    let write = self.write(key.clone(), offline, When::Unchanged(item.cas))?;
                    store.set::<L>(&write).await?
                }
                _ => store.delete::<L>(key, Some(item.cas)).await?,
            };
            if ended {
                return Ok(true);
            }
        }
        Err(self.keeps_changing(key))
    }

    /// Adds an offline record for a user whose sighting was still queued at the sign-out. This keeps `last_seen`.
    async fn keep_as_offline<L: Link>(
        &self,
        store: &Store,
        key: &Key,
        seen: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let offline = self.codec().offline(Some(seen), now).unwrap_or(seen);
        if !store.set::<L>(&self.write(key.clone(), offline, When::Absent)?).await? {
            return Ok(());
        }
        let tombstone = self.tombstone::<L>(store, key).await?;
        if tombstone.forgets(seen) {
            self.take_back::<L>(store, key, offline, seen, tombstone).await?;
        }
        Ok(())
    }

    async fn tombstone<L: Link>(&self, store: &Store, key: &Key) -> Result<Tombstone> {
        let read = self.tombstones::<L>(store, [key].into_iter()).await;
        read.into_iter().next().unwrap_or_else(|| Ok(Tombstone::default()))
    }

    /// Reads the tombstone of each record, in order. Returns an empty tombstone if a record has none.
    pub(super) async fn tombstones<'k, L: Link>(
        &self,
        store: &Store,
        records: impl ExactSizeIterator<Item = &'k Key>,
    ) -> Vec<Result<Tombstone>> {
        let keys = Keys::of_tombstones(records);
        if keys.len() == 0 {
            return Vec::new();
        }
        let now = Utc::now();
        let read = |_, found: Found<'_>| Ok(Tombstone::read(found.bytes, now));
        let found = store.get_many::<L, _>(&keys, false, read).await;
        found.into_iter().map(|found| found.map(Option::unwrap_or_default)).collect()
    }

    /// Takes back a record that was added for a sighting older than the tombstone, if it still has the time `added`.
    /// The record gets an offline time, or is deleted if the user was forgotten. It is then deleted even if a sign-out
    /// has moved its time back since.
    pub(super) async fn take_back<L: Link>(
        &self,
        store: &Store,
        key: &Key,
        added: DateTime<Utc>,
        seen: DateTime<Utc>,
        tombstone: Tombstone,
    ) -> Result<()> {
        for _ in 0..TRIES {
            let Some(item) = store.item::<L>(key).await? else { return Ok(()) };
            let stored = self.trusted_time(item.value.flags, &item.value.bytes, Utc::now());
            let forgotten = tombstone.forgets(seen);
            let is_ours = |stored: DateTime<Utc>| {
                let (stored, added) = (stored.timestamp(), added.timestamp());
                stored == added || forgotten && stored < tombstone.latest().timestamp()
            };
            if !stored.is_some_and(is_ours) {
                return Ok(());
            }
            let taken = if forgotten {
                store.delete::<L>(key, Some(item.cas)).await?
            } else {
                // The sign-out may have raised the tombstone's time by up to `CLOCK_SLACK`.
                let signed_out = tombstone.signed_out() - CLOCK_SLACK;
                let offline = self.codec().offline(Some(added), signed_out).unwrap_or(added);
                store.set::<L>(&self.write(key.clone(), offline, When::Unchanged(item.cas))?).await?
            };
            if taken {
                return Ok(());
            }
        }
        Err(self.keeps_changing(key))
    }

    /// Returns the error for a record that other writers changed during each of [`TRIES`] attempts.
    fn keeps_changing(&self, key: &Key) -> Error {
        let words = format!("the record changed {TRIES} times while it was written");
        Error::unavailable(self.store().server_of(key), std::io::Error::other(words))
    }
}

/// Adds to a server's error that the record was changed or deleted, but without a tombstone to protect that.
fn explain_missing_tombstone(error: Error) -> Error {
    match error {
        Error::Server { server, message } => {
            let words = "it is done, but what another program has queued can undo it";
            Error::answered(&server, &format!("{message}; {words}"))
        }
        error => error,
    }
}
