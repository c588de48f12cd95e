//! The thread that writes what a recorder has queued.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use super::{RecorderEvent, hook::Hook};
use crate::{
    error::{Error, Result},
    memcached::{BATCH_MAX, Blocking, Item, When, Write, run_through},
    queue::{Kind, Queue, Sighting, Tombstone},
    record::{Key, Keys, Value},
    store::Store,
    tracker::Tracker,
};

/// How often a conditional write is tried before it is made unconditional: a server started with `-C` refuses
/// each.
const TRIES: usize = 4;

pub(super) enum Command {
    Flush(Sender<Result<()>>),
    Close(Sender<Result<()>>),
}

pub(super) struct Writer {
    tracker: Tracker,
    store: Store,
    queue: Arc<Queue>,
    failed_writes: Arc<AtomicU64>,
    hook: Option<Hook>,
    reports: Reports,
}

/// What was last reported: each change is one event.
#[derive(Default)]
struct Reports {
    dropped: u64,
    dropping: bool,
    slow: bool,
}

/// One flush, as far as it has come.
#[derive(Default)]
struct Flush {
    number: u64,
    events: Vec<RecorderEvent>,
    error: Option<Error>,
    /// Servers that were lost in this flush: their users wait for the next one.
    lost: Vec<String>,
}

impl Writer {
    pub(super) fn new(
        tracker: Tracker,
        queue: Arc<Queue>,
        failed_writes: Arc<AtomicU64>,
        hook: Option<Hook>,
    ) -> Self {
        let store = tracker.store().with_background_timeout();
        Self { tracker, store, queue, failed_writes, hook, reports: Reports::default() }
    }

    /// Flushes every `flush_interval` and at each command, until it is closed or nobody is left to command it.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let every = self.tracker.settings().flush_interval();
        let mut next = Instant::now() + every;
        let mut ended = false;
        while !ended {
            let mut waiting = Vec::new();
            match commands.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Command::Flush(answer)) => waiting.push(answer),
                Ok(Command::Close(answer)) => {
                    waiting.push(answer);
                    ended = true;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => ended = true,
            }
            let result = run_through(self.flush(every));
            for answer in waiting {
                let _ = answer.send(result.clone());
            }
            next = Instant::now() + every;
        }
        if let Some(hook) = self.hook.take() {
            hook.close();
        }
    }

    async fn flush(&mut self, every: Duration) -> Result<()> {
        let started = Instant::now();
        let mut flush = Flush { number: self.queue.flush(), ..Flush::default() };
        let (batch, cancelled) = self.queue.take();
        if self.hook.is_some() {
            flush.events.extend(cancelled.iter().map(|tombstone| self.cancelled(tombstone)));
        }
        let (late, in_time): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|sighting| sighting.since + 2 < flush.number);
        for piece in pieces(in_time) {
            self.write(piece, &mut flush).await;
        }
        for piece in pieces(late) {
            self.write_where_newer(piece, &mut flush).await;
        }
        self.queue.end_flush();
        // By now every process has written what it had queued before a tombstone of that age.
        let settled = 2 * every;
        for tombstone in self.queue.tombstones(flush.number, settled) {
            if self.reapply(&tombstone).await.is_ok() && tombstone.age() >= settled {
                self.queue.resolve(&tombstone);
            }
        }
        if let Some(hook) = &mut self.hook {
            hook.send(flush.events);
        }
        self.reports.look(&self.queue, started.elapsed());
        flush.error.map_or(Ok(()), Err)
    }

    async fn write(&self, piece: Vec<Sighting>, flush: &mut Flush) {
        let (piece, writes) = self.writes(piece, flush, |_| When::Always);
        let answers = self.store.set_many::<Blocking>(&writes).await;
        let mut written = Vec::with_capacity(piece.len());
        for (sighting, answer) in piece.into_iter().zip(answers) {
            match answer {
                Ok(_) => written.push(sighting),
                Err(error) => self.failed(sighting, error, flush),
            }
        }
        self.written(&written, flush);
    }

    /// What has been queued for long may be older than what others have written meanwhile.
    async fn write_where_newer(&self, mut piece: Vec<Sighting>, flush: &mut Flush) {
        for attempt in 1..=TRIES {
            let found =
                self.store.items::<Blocking>(&Keys::of(piece.iter().map(|sighting| &sighting.key))).await;
            let (mut older, mut conditions, mut newer) = (Vec::new(), Vec::new(), Vec::new());
            for (sighting, found) in piece.into_iter().zip(found) {
                match found {
                    Err(error) => self.failed(sighting, error, flush),
                    Ok(Some(item)) if self.holds_as_late(&sighting, &item) => newer.push(sighting),
                    Ok(item) => {
                        let unchanged = item.map_or(When::Absent, |item| When::Unchanged(item.cas));
                        conditions.push(if attempt < TRIES { unchanged } else { When::Always });
                        older.push(sighting);
                    }
                }
            }
            // The store holds at least as much as was to be written.
            self.written(&newer, flush);
            let mut conditions = conditions.into_iter();
            let condition = |_: &Sighting| conditions.next().unwrap_or(When::Absent);
            let (older, writes) = self.writes(older, flush, condition);
            let answers = self.store.set_many::<Blocking>(&writes).await;
            let (mut written, mut changed) = (Vec::new(), Vec::new());
            for (sighting, answer) in older.into_iter().zip(answers) {
                match answer {
                    Ok(true) => written.push(sighting),
                    Ok(false) => changed.push(sighting),
                    Err(error) => self.failed(sighting, error, flush),
                }
            }
            self.written(&written, flush);
            piece = changed;
            if piece.is_empty() {
                return;
            }
        }
        piece.into_iter().for_each(|sighting| self.queue.requeue(sighting));
    }

    fn holds_as_late(&self, sighting: &Sighting, item: &Item) -> bool {
        self.known(&sighting.key, item).is_some_and(|at| at.timestamp() >= sighting.at.timestamp())
    }

    /// The time in a record; `None` if it cannot be read or believed.
    fn known(&self, key: &Key, item: &Item) -> Option<DateTime<Utc>> {
        let Value { flags, bytes } = &item.value;
        self.tracker.codec().decode(key.as_str(), *flags, bytes, Utc::now()).ok()
    }

    /// The writes of a piece, without the users of lost servers, who are queued again.
    fn writes(
        &self,
        piece: Vec<Sighting>,
        flush: &Flush,
        mut when: impl FnMut(&Sighting) -> When,
    ) -> (Vec<Sighting>, Vec<Write>) {
        let expiry = self.tracker.settings().last_seen_timeout();
        let (mut kept, mut writes) = (Vec::with_capacity(piece.len()), Vec::with_capacity(piece.len()));
        for sighting in piece {
            let when = when(&sighting);
            if !flush.lost.is_empty() && flush.is_lost(self.store.server_of(&sighting.key)) {
                self.queue.requeue(sighting);
                continue;
            }
            match self.tracker.write(sighting.key.clone(), sighting.at, expiry, when) {
                Ok(write) => {
                    kept.push(sighting);
                    writes.push(write);
                }
                // A clock before 1970: no time to write.
                Err(_) => self.queue.discard(&sighting),
            }
        }
        (kept, writes)
    }

    fn written(&self, written: &[Sighting], flush: &mut Flush) {
        self.queue.written(written);
        if self.hook.is_some() {
            let seen =
                |sighting: &Sighting| RecorderEvent::Seen { user: self.user(&sighting.key), at: sighting.at };
            flush.events.extend(written.iter().map(seen));
        }
    }

    fn failed(&self, sighting: Sighting, error: Error, flush: &mut Flush) {
        self.failed_writes.fetch_add(1, Ordering::Relaxed);
        if let Error::Unavailable { server, .. } = &error
            && !flush.is_lost(server)
        {
            flush.lost.push(server.clone());
        }
        flush.error.get_or_insert(error);
        self.queue.requeue(sighting);
    }

    /// Undoes a sighting from before the tombstone that was written after it: one of a batch that was under way,
    /// or another process's.
    async fn reapply(&self, tombstone: &Tombstone) -> Result<()> {
        for attempt in 1..=TRIES {
            let Some(item) = self.store.item::<Blocking>(&tombstone.key).await? else { return Ok(()) };
            let known = self.known(&tombstone.key, &item);
            // The time of another process is all that tells whether the user came back. One that was seen there
            // in the second of the tombstone counts as from before.
            let came_back = known.is_some_and(|known| known > tombstone.at);
            // The look at the tombstone comes after the read: a sighting since would have ended it first.
            if came_back || !self.queue.is_active(tombstone) {
                return Ok(());
            }
            let cas = (attempt < TRIES).then_some(item.cas);
            let undone = match tombstone.kind {
                Kind::Forgotten => self.store.delete::<Blocking>(&tombstone.key, cas).await?,
                Kind::SignedOut => {
                    let Some(at) = self.tracker.codec().offline(known, tombstone.at) else { return Ok(()) };
                    let expiry = self.tracker.settings().last_seen_timeout();
                    let when = cas.map_or(When::Present, When::Unchanged);
                    self.store
                        .set::<Blocking>(&self.tracker.write(tombstone.key.clone(), at, expiry, when)?)
                        .await?
                }
            };
            if undone {
                return Ok(());
            }
        }
        Ok(())
    }

    fn cancelled(&self, tombstone: &Tombstone) -> RecorderEvent {
        let user = self.user(&tombstone.key);
        match tombstone.kind {
            Kind::Forgotten => RecorderEvent::Forgotten { user },
            Kind::SignedOut => {
                let at = self.tracker.codec().offline(None, tombstone.at).unwrap_or(tombstone.at);
                RecorderEvent::SignedOut { user, at }
            }
        }
    }

    fn user(&self, key: &Key) -> String {
        key.as_str()[self.tracker.settings().key_prefix().len()..].to_owned()
    }
}

impl Flush {
    fn is_lost(&self, server: &str) -> bool {
        self.lost.iter().any(|lost| lost == server)
    }
}

impl Reports {
    fn look(&mut self, queue: &Queue, took: Duration) {
        let dropped = queue.counts().dropped;
        let dropping = dropped > self.dropped;
        if dropping && !self.dropping {
            tracing::warn!("more users than recorder_capacity are queued: the newest comers are dropped");
        } else if self.dropping && !dropping {
            tracing::info!(
                dropped,
                "users are recorded again; so many sightings were dropped since the start"
            );
        }
        (self.dropped, self.dropping) = (dropped, dropping);
        let slow = took > Duration::from_secs(1);
        if slow && !self.slow {
            tracing::warn!(?took, "a flush took over a second");
        }
        self.slow = slow;
    }
}

/// Pieces of a batch, each one round trip to each server.
fn pieces(batch: Vec<Sighting>) -> impl Iterator<Item = Vec<Sighting>> {
    let mut batch = batch.into_iter();
    std::iter::from_fn(move || {
        let piece: Vec<Sighting> = batch.by_ref().take(BATCH_MAX).collect();
        (!piece.is_empty()).then_some(piece)
    })
}
