//! Sightings that are written later than they were noted: a recorder's, and those of `restore`. None moves a record back
//! in time, and none undoes a sign-out or a `forget` that came after it.

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

/// While a proxy cannot reach the server of a tombstone, what is younger is written all the same.
const FRESH: TimeDelta = TimeDelta::seconds(5);

/// What became of one.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is in the store.
    Written,
    /// The store had that second already, or a later one.
    Held,
    /// A sign-out or a `forget` came after it.
    Cancelled,
    /// It cannot be written now.
    Failed(Error),
    /// Others write the same record all the time.
    Changing,
}

/// A record as far as a writer has to know it.
#[derive(Debug, Clone, Copy)]
struct Stored {
    /// `None` for what cannot be read or believed: older than anything.
    seen: Option<DateTime<Utc>>,
    cas: u64,
}

impl Stored {
    fn holds(&self, at: DateTime<Utc>) -> bool {
        self.seen.is_some_and(|seen| seen.timestamp() >= at.timestamp())
    }

    fn is(&self, at: DateTime<Utc>) -> bool {
        self.seen.is_some_and(|seen| seen.timestamp() == at.timestamp())
    }
}

impl Tracker {
    /// Writes them, and tells of each what became of it. At most [`BATCH_MAX`](crate::memcached::BATCH_MAX).
    pub(crate) async fn write_on<L: Link>(
        &self,
        store: &Store,
        mut due: Vec<Sighting>,
        done: &mut impl FnMut(Sighting, Outcome),
    ) {
        for _ in 0..TRIES {
            if due.is_empty() {
                return;
            }
            due = self.write_once::<L>(store, due, done).await;
        }
        due.into_iter().for_each(|sighting| done(sighting, Outcome::Changing));
    }

    /// Returns those whose records changed between reading and writing.
    async fn write_once<L: Link>(
        &self,
        store: &Store,
        due: Vec<Sighting>,
        done: &mut impl FnMut(Sighting, Outcome),
    ) -> Vec<Sighting> {
        let now = Utc::now();
        let keys = Keys::of(due.iter().map(|sighting| &sighting.key));
        let read = |_, found: Found<'_>| {
            Ok(Stored { seen: self.known(found.flags, found.bytes, now), cas: found.cas })
        };
        let records = store.get_many::<L, _>(&keys, true, read).await;
        let mut asked = Vec::with_capacity(due.len());
        for (sighting, record) in due.into_iter().zip(records) {
            match record {
                Err(error) => done(sighting, Outcome::Failed(error)),
                Ok(Some(record)) if sighting.added.is_none() && record.holds(sighting.at) => {
                    done(sighting, Outcome::Held);
                }
                Ok(record) => asked.push((sighting, record)),
            }
        }
        // After the records: a sign-out in between has changed the record, or else is found here.
        let tombstones =
            self.tombstones::<L>(store, asked.iter().map(|(sighting, _)| &sighting.key), now).await;
        let (mut writing, mut writes) = (Vec::with_capacity(asked.len()), Vec::with_capacity(asked.len()));
        let mut added = Vec::new();
        for ((mut sighting, record), tombstone) in asked.into_iter().zip(tombstones) {
            let is_known = tombstone.is_ok();
            let tombstone = match tombstone {
                Err(error) if !(matches!(error, Error::Server { .. }) && now - sighting.at < FRESH) => {
                    done(sighting, Outcome::Failed(error));
                    continue;
                }
                tombstone => tombstone.unwrap_or_default(),
            };
            if let (Some(record), Some(at)) = (record, sighting.added)
                && record.is(at)
                && (is_known || record.holds(sighting.at))
            {
                added.push(sighting);
                continue;
            }
            sighting.added = None;
            let (at, when) = match record {
                Some(record) if record.holds(sighting.at) => {
                    done(sighting, Outcome::Held);
                    continue;
                }
                _ if !tombstone.beats(sighting.as_of) => {
                    (sighting.at, record.map_or(When::Absent, |record| When::Unchanged(record.cas)))
                }
                // Signed out before there was a record: last seen is not lost.
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
            // A write that no cas protects may be of a sighting that a tombstone has overtaken.
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
        self.look_again::<L>(store, added, &mut changed, done).await;
        changed
    }

    /// Those that were added: a tombstone that came meanwhile takes them back. One that was queued again since is due.
    async fn look_again<L: Link>(
        &self,
        store: &Store,
        added: Vec<Sighting>,
        due: &mut Vec<Sighting>,
        done: &mut impl FnMut(Sighting, Outcome),
    ) {
        let now = Utc::now();
        let tombstones = self.tombstones::<L>(store, added.iter().map(|sighting| &sighting.key), now).await;
        for (mut sighting, tombstone) in added.into_iter().zip(tombstones) {
            let at = sighting.added.unwrap_or(sighting.at);
            let outcome = match tombstone {
                Err(error) => Outcome::Failed(error),
                Ok(tombstone) if !tombstone.beats(sighting.as_of) => {
                    if at.timestamp() < sighting.at.timestamp() {
                        sighting.added = None;
                        due.push(sighting);
                        continue;
                    }
                    Outcome::Written
                }
                // Added as offline.
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

    /// Kept for the rest of its time.
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
            let mut piece = Vec::new();
            while piece.len() < BATCH_MAX
                && let Some((user, at)) = records.next()
            {
                match self.restoring(user, at) {
                    Ok(Some(sighting)) => piece.push(sighting),
                    Ok(None) => restored.skipped += 1,
                    Err(_) => restored.failed += 1,
                }
            }
            if piece.is_empty() {
                return restored;
            }
            // So that of several of a user the newest is the last, on a server without CAS too.
            piece.sort_by_key(|sighting| sighting.at);
            self.write_on::<L>(self.store(), piece, &mut |_, outcome| restored.count(&outcome)).await;
        }
    }

    /// `None` where it has expired by now.
    fn restoring(&self, user: impl Display, at: DateTime<Utc>) -> Result<Option<Sighting>> {
        let (key, now) = (self.key(user)?, Utc::now());
        let age = now.timestamp().saturating_sub(at.timestamp());
        if age < -CLOCK_SLACK.num_seconds() {
            return Err(Error::InvalidTime { time: at });
        }
        let expired = age.unsigned_abs() >= self.settings().last_seen_timeout().as_secs() && age > 0;
        Ok((!expired).then(|| Sighting::new(key, at)))
    }

    async fn write_all<L: Link>(&self, store: &Store, writes: &[Write]) -> Vec<Result<bool>> {
        if writes.is_empty() { Vec::new() } else { store.set_many::<L>(writes).await }
    }
}
