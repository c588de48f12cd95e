//! `sign_out` and `forget`: no sighting from before, queued in whichever process, undoes them.

use chrono::{DateTime, Utc};

use super::{TRIES, Tracker};
use crate::{
    error::{Error, Result},
    memcached::{Found, Item, Link, When, Write},
    queue::{Cancelled, Ended},
    record::{Key, Keys, Kind, TOMBSTONE_TIMEOUT, Tombstone, end_of_second, next_tick},
    store::Store,
};

impl Tracker {
    /// Returns whether there was a record, or a queued sighting.
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

    /// Returns whether there was a record. What is not after `until` is from before: it is set by the first try alone, which
    /// knows that what it finds is from before, also if its time is ahead.
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
        // What is being written here may be of the same tick.
        let from = cancelled.under_way.map_or(now, |seen| now.max(next_tick(seen)));
        let until = until.get_or_insert(from);
        let tombstone = self.bury::<L>(store, key, kind, until, first).await?;
        let ended = match &tombstone {
            Err(error) if first && is_out_of_memory(error) => store.delete::<L>(key, None).await,
            _ => self.end_record::<L>(store, key, kind, now, *until).await,
        };
        // What has no room for a record has none that is online.
        let was_there = match ended {
            Err(error) if first && is_out_of_memory(&error) => store.delete::<L>(key, None).await?,
            ended => ended?,
        };
        let tombstone = tombstone.map_err(cannot_hold)?;
        if let (false, Kind::SignedOut, Some(seen)) = (was_there, kind, cancelled.queued)
            && !tombstone.forgets(seen)
        {
            self.keep_as_offline::<L>(store, key, seen, now).await?;
        }
        Ok(was_there)
    }

    /// Writes the tombstone. Returns what it is now or why it could not be written.
    async fn bury<L: Link>(
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
                // Written by a host whose clock is ahead, before this.
                let seen = self.known(item.value.flags, &item.value.bytes, now);
                let ahead = seen.filter(|seen| seen.timestamp() > now.timestamp());
                *until = ahead.map_or(now, end_of_second);
            }
            let before = match found.next().transpose() {
                Ok(before) => before.flatten(),
                Err(error) => return Ok(Err(error)),
            };
            let known = before.as_ref().map(|item| Tombstone::read(&item.value.bytes, now));
            let tombstone = known.unwrap_or_default().with(kind, *until);
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
            let seen = self.known(item.value.flags, &item.value.bytes, now);
            // Signed in again since.
            if seen.is_some_and(|seen| seen.timestamp() > until.timestamp()) {
                return Ok(true);
            }
            let ended = match (kind, self.codec().offline(seen, now).or(seen)) {
                // Also where it is offline already: who has read it and is about to write finds it changed.
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

    /// Of a user who was seen, and signed out before that was written: last seen is not lost.
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
        let tombstone = self.tombstone::<L>(store, key, now).await?;
        if tombstone.forgets(seen) {
            self.take_back::<L>(store, key, offline, seen, tombstone).await?;
        }
        Ok(())
    }

    async fn tombstone<L: Link>(&self, store: &Store, key: &Key, now: DateTime<Utc>) -> Result<Tombstone> {
        let read = self.tombstones::<L>(store, [key].into_iter(), now).await;
        read.into_iter().next().unwrap_or_else(|| Ok(Tombstone::default()))
    }

    /// Of each record; one that says nothing where there is none.
    pub(super) async fn tombstones<'k, L: Link>(
        &self,
        store: &Store,
        records: impl ExactSizeIterator<Item = &'k Key>,
        now: DateTime<Utc>,
    ) -> Vec<Result<Tombstone>> {
        let keys = Keys::of_tombstones(records);
        if keys.len() == 0 {
            return Vec::new();
        }
        let read = |_, found: Found<'_>| Ok(Tombstone::read(found.bytes, now));
        let found = store.get_many::<L, _>(&keys, false, read).await;
        found.into_iter().map(|found| found.map(Option::unwrap_or_default)).collect()
    }

    /// Takes a record back that was added for a sighting from before a tombstone, if it is still the one; of a user who
    /// was forgotten, also what a sign-out since has made of it.
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
            let holds = self.known(item.value.flags, &item.value.bytes, Utc::now());
            let forgotten = tombstone.forgets(seen);
            let is_ours = |holds: DateTime<Utc>| {
                let (holds, added) = (holds.timestamp(), added.timestamp());
                holds == added || forgotten && holds < tombstone.latest().timestamp()
            };
            if !holds.is_some_and(is_ours) {
                return Ok(());
            }
            let taken = if forgotten {
                store.delete::<L>(key, Some(item.cas)).await?
            } else {
                // A tombstone's time may have been raised by as much.
                let signed_out = tombstone.signed_out() - crate::record::CLOCK_SLACK;
                let offline = self.codec().offline(Some(added), signed_out).unwrap_or(added);
                store.set::<L>(&self.write(key.clone(), offline, When::Unchanged(item.cas))?).await?
            };
            if taken {
                return Ok(());
            }
        }
        Err(self.keeps_changing(key))
    }

    /// Another writer came between each time.
    fn keeps_changing(&self, key: &Key) -> Error {
        let words = format!("the record changed {TRIES} times while it was written");
        Error::unavailable(self.store().server_of(key), std::io::Error::other(words))
    }
}

fn is_out_of_memory(error: &Error) -> bool {
    matches!(error, Error::Server { message, .. } if message.starts_with("out of memory"))
}

/// The record is written, or deleted; its tombstone is not.
fn cannot_hold(error: Error) -> Error {
    match error {
        Error::Server { server, message } => {
            let words = "it is done, but what another program has queued can undo it";
            Error::answered(&server, &format!("{message}; {words}"))
        }
        error => error,
    }
}
