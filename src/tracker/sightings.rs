//! Writes sightings that are older than the call: those of a recorder, and those of `restore`. No such write moves a
//! record back in time, and none undoes a later sign-out or `forget`.

use std::fmt::Display;

use chrono::{DateTime, TimeDelta, Utc};

use super::{RestoreSummary, TRIES, Tracker};
use crate::{
    error::{Error, Result},
    memcached::{BATCH_MAX, Found, Link, When, Write},
    queue::Sighting,
    record::{CLOCK_SLACK, Keys},
    store::Store,
};

/// Sightings younger than this are written even if a proxy cannot read their tombstone. A proxy may place the tombstone
/// on a backend that is down while the backend of the record is up.
const FRESH: TimeDelta = TimeDelta::seconds(5);

/// What became of a sighting.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The sighting is in the store.
    Written,
    /// The store already has the same second, or a later one.
    Held,
    /// A sign-out or a `forget` is later than the sighting.
    Cancelled,
    /// The sighting cannot be written now.
    Failed(Error),
    /// Other writers changed the record during each of [`TRIES`] attempts.
    Changing,
}

/// The parts of a record that a writer needs.
#[derive(Debug, Clone, Copy)]
struct Stored {
    /// The record's time; `None` if it is unreadable or too far ahead, which counts as older than any sighting.
    seen: Option<DateTime<Utc>>,
    cas: u64,
}

impl Stored {
    fn is_at_or_after(&self, at: DateTime<Utc>) -> bool {
        self.seen.is_some_and(|seen| seen.timestamp() >= at.timestamp())
    }

    fn is_same_second(&self, at: DateTime<Utc>) -> bool {
        self.seen.is_some_and(|seen| seen.timestamp() == at.timestamp())
    }
}

impl Tracker {
    /// Writes at most [`BATCH_MAX`] sightings, and calls `done` with the outcome of each.
    pub(crate) async fn write_on<L: Link>(
        &self,
        store: &Store,
        mut sightings: Vec<Sighting>,
        done: &mut impl FnMut(Sighting, Outcome),
    ) {
        for _ in 0..TRIES {
            if sightings.is_empty() {
                return;
            }
            sightings = self.write_once::<L>(store, sightings, done).await;
        }
        sightings.into_iter().for_each(|sighting| done(sighting, Outcome::Changing));
    }

    /// Makes one attempt to write the sightings. Returns those whose record changed between reading and writing.
    async fn write_once<L: Link>(
        &self,
        store: &Store,
        sightings: Vec<Sighting>,
        done: &mut impl FnMut(Sighting, Outcome),
    ) -> Vec<Sighting> {
        let now = Utc::now();
        let keys = Keys::of(sightings.iter().map(|sighting| &sighting.key));
        let read = |_, found: Found<'_>| {
            Ok(Stored { seen: self.trusted_time(found.flags, found.bytes, now), cas: found.cas })
        };
        let records = store.get_many::<L, _>(&keys, true, read).await;
        let mut asked = Vec::with_capacity(sightings.len());
        for (sighting, record) in sightings.into_iter().zip(records) {
            match record {
                Err(error) => done(sighting, Outcome::Failed(error)),
                Ok(Some(record)) if sighting.added.is_none() && record.is_at_or_after(sighting.at) => {
                    done(sighting, Outcome::Held);
                }
                Ok(record) => asked.push((sighting, record)),
            }
        }
        // Tombstones are read after the records. A sign-out writes its tombstone first and changes the record second:
        // either its tombstone is found here, or the write below finds that the record has changed.
        let tombstones = self.tombstones::<L>(store, asked.iter().map(|(sighting, _)| &sighting.key)).await;
        let (mut writing, mut writes) = (Vec::with_capacity(asked.len()), Vec::with_capacity(asked.len()));
        let mut added = Vec::new();
        for ((mut sighting, record), tombstone) in asked.into_iter().zip(tombstones) {
            let has_tombstone_answer = tombstone.is_ok();
            let tombstone = match tombstone {
                Err(error) if !(matches!(error, Error::Server { .. }) && now - sighting.at < FRESH) => {
                    done(sighting, Outcome::Failed(error));
                    continue;
                }
                tombstone => tombstone.unwrap_or_default(),
            };
            if let (Some(record), Some(at)) = (record, sighting.added)
                && record.is_same_second(at)
                && (has_tombstone_answer || record.is_at_or_after(sighting.at))
            {
                added.push(sighting);
                continue;
            }
            sighting.added = None;
            let (at, when) = match record {
                Some(record) if record.is_at_or_after(sighting.at) => {
                    done(sighting, Outcome::Held);
                    continue;
                }
                _ if !tombstone.beats(sighting.as_of) => {
                    (sighting.at, record.map_or(When::Absent, |record| When::Unchanged(record.cas)))
                }
                // The user signed out before the record was written: an offline time keeps `last_seen`.
                None if !tombstone.forgets(sighting.as_of) => {
                    let offline = self.codec().offline(Some(sighting.at), tombstone.signed_out());
                    (offline.unwrap_or(sighting.at), When::Absent)
                }
                _ => {
                    done(sighting, Outcome::Cancelled);
                    continue;
                }
            };
            match self.late_write(&sighting, at, when, now) {
                Ok(write) => {
                    writing.push((sighting, at));
                    writes.push(write);
                }
                Err(error) => done(sighting, Outcome::Failed(error)),
            }
        }
        let mut changed = Vec::new();
        for (((mut sighting, at), write), answer) in
            writing.into_iter().zip(&writes).zip(self.write_all::<L>(store, &writes).await)
        {
            // Without a cas the write may have come after a sign-out, so its tombstone is read again below.
            let unprotected = matches!(write.when, When::Absent | When::Unchanged(0));
            sighting.added = unprotected.then_some(at);
            match answer {
                Ok(true) if unprotected => added.push(sighting),
                Ok(true) => done(sighting, Outcome::Written),
                Ok(false) => {
                    sighting.added = None;
                    changed.push(sighting);
                }
                Err(error) => done(sighting, Outcome::Failed(error)),
            }
        }
        self.check_added::<L>(store, added, &mut changed, done).await;
        changed
    }

    /// Reads the tombstones again for records that were written without a cas, and takes back a record that a newer
    /// tombstone cancels. Moves a sighting to `retry` if it is newer than the added record, because the user was queued
    /// again meanwhile.
    async fn check_added<L: Link>(
        &self,
        store: &Store,
        added: Vec<Sighting>,
        retry: &mut Vec<Sighting>,
        done: &mut impl FnMut(Sighting, Outcome),
    ) {
        let tombstones = self.tombstones::<L>(store, added.iter().map(|sighting| &sighting.key)).await;
        for (mut sighting, tombstone) in added.into_iter().zip(tombstones) {
            let at = sighting.added.unwrap_or(sighting.at);
            let outcome = match tombstone {
                Err(error) => Outcome::Failed(error),
                Ok(tombstone) if !tombstone.beats(sighting.as_of) => {
                    if at.timestamp() < sighting.at.timestamp() {
                        sighting.added = None;
                        retry.push(sighting);
                        continue;
                    }
                    Outcome::Written
                }
                // The record was added with an offline time, which agrees with the sign-out.
                Ok(tombstone) if at != sighting.at && !tombstone.forgets(sighting.as_of) => {
                    Outcome::Cancelled
                }
                Ok(tombstone) => {
                    match self.take_back::<L>(store, &sighting.key, at, sighting.as_of, tombstone).await {
                        Ok(()) => Outcome::Cancelled,
                        Err(error) => Outcome::Failed(error),
                    }
                }
            };
            done(sighting, outcome);
        }
    }

    /// Builds a write whose record expires `last_seen_timeout` after the sighting, not after the write.
    fn late_write(
        &self,
        sighting: &Sighting,
        at: DateTime<Utc>,
        when: When,
        now: DateTime<Utc>,
    ) -> Result<Write> {
        let mut write = self.write(sighting.key.clone(), at, when)?;
        let age = u32::try_from((now - sighting.at).num_seconds()).unwrap_or_default();
        write.expiry = write.expiry.saturating_sub(age).max(1);
        Ok(write)
    }

    pub(crate) async fn restore_on<L: Link, U: Display>(
        &self,
        records: impl IntoIterator<Item = (U, DateTime<Utc>)>,
    ) -> RestoreSummary {
        let (mut restored, mut records) = (RestoreSummary::default(), records.into_iter());
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH_MAX
                && let Some((user, at)) = records.next()
            {
                match self.restoring(user, at) {
                    Ok(Some(sighting)) => batch.push(sighting),
                    Ok(None) => restored.skipped += 1,
                    Err(_) => restored.failed += 1,
                }
            }
            if batch.is_empty() {
                return restored;
            }
            // Oldest first: if a user occurs several times, the newest time is written last, even without CAS.
            batch.sort_by_key(|sighting| sighting.at);
            self.write_on::<L>(self.store(), batch, &mut |_, outcome| restored.count(&outcome)).await;
        }
    }

    /// Builds the sighting to restore. Returns `None` if its record would have expired by now.
    fn restoring(&self, user: impl Display, at: DateTime<Utc>) -> Result<Option<Sighting>> {
        let (key, now) = (self.key(user)?, Utc::now());
        let age = now.timestamp().saturating_sub(at.timestamp());
        if age < -CLOCK_SLACK.num_seconds() || at.timestamp() < 0 {
            return Err(Error::InvalidTime { time: at });
        }
        let expired = age.unsigned_abs() >= self.settings().last_seen_timeout().as_secs() && age > 0;
        Ok((!expired).then(|| Sighting::new(key, at)))
    }

    async fn write_all<L: Link>(&self, store: &Store, writes: &[Write]) -> Vec<Result<bool>> {
        if writes.is_empty() { Vec::new() } else { store.set_many::<L>(writes).await }
    }
}
