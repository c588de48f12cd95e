//! The thread that writes what a recorder has queued.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use chrono::Utc;

use super::{RecorderEvent, hook::Hook};
use crate::{
    error::{Error, Result},
    memcached::{BATCH_MAX, Blocking, run_through},
    queue::{Cancelled, Ended, Queue, Sighting},
    record::{Key, Kind, TOMBSTONE_TIMEOUT},
    store::Store,
    tracker::{Outcome, Tracker},
};

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
    events: Vec<RecorderEvent>,
    error: Option<Error>,
    /// Servers that were lost in this flush.
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
            if ended {
                // The last chance, also where a probe is not due yet.
                self.store.probe();
            }
            let result = run_through(self.flush());
            for answer in waiting {
                let _ = answer.send(result.clone());
            }
            next = Instant::now() + every;
        }
        if let Some(hook) = self.hook.take() {
            hook.close();
        }
    }

    async fn flush(&mut self) -> Result<()> {
        let started = Instant::now();
        let (batch, ended) = self.queue.take();
        let mut flush = Flush::default();
        if self.hook.is_some() {
            flush.events.extend(ended.iter().map(|ended| self.ended(ended)));
        }
        self.make_up().await;
        for piece in pieces(batch) {
            self.write(piece, &mut flush).await;
        }
        self.queue.end_flush();
        if let Some(hook) = &mut self.hook {
            hook.send(flush.events);
        }
        self.reports.look(&self.queue, started.elapsed());
        flush.error.map_or(Ok(()), Err)
    }

    async fn write(&self, piece: Vec<Sighting>, flush: &mut Flush) {
        // Users of a server that was lost in this flush wait for the next one.
        let is_lost = |sighting: &mut Sighting| flush.is_lost(self.store.server_of(&sighting.key));
        let mut piece = piece;
        if !flush.lost.is_empty() {
            piece.extract_if(.., is_lost).for_each(|sighting| self.queue.requeue(sighting));
        }
        let (mut written, mut cancelled) = (Vec::with_capacity(piece.len()), Vec::new());
        let mut done = |sighting: Sighting, outcome| match outcome {
            Outcome::Written | Outcome::Held => written.push(sighting),
            Outcome::Cancelled => cancelled.push(sighting),
            Outcome::Changing => self.queue.requeue(sighting),
            Outcome::Failed(error) => self.failed(sighting, error, flush),
        };
        self.tracker.write_on::<Blocking>(&self.store, piece, &mut done).await;
        self.queue.written(&written);
        self.queue.cancelled(&cancelled);
        if self.hook.is_some() {
            let seen =
                |sighting: Sighting| RecorderEvent::Seen { user: self.user(&sighting.key), at: sighting.at };
            flush.events.extend(written.into_iter().map(seen));
        }
    }

    /// For sign-outs and deletions that did not get through, for as long as a tombstone would hold.
    async fn make_up(&self) {
        for (ended, until) in self.queue.take_unfinished() {
            let (Ended { key, kind, at }, none, mut again) = (&ended, Cancelled::default(), Some(until));
            let made = self.tracker.end::<Blocking>(&self.store, key, *kind, *at, none, &mut again).await;
            if made.is_err() && Utc::now() - *at < TOMBSTONE_TIMEOUT {
                self.queue.retry(ended, until);
            }
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

    fn ended(&self, ended: &Ended) -> RecorderEvent {
        let (user, at) = (self.user(&ended.key), ended.at);
        match ended.kind {
            Kind::Forgotten => RecorderEvent::Forgotten { user, at },
            Kind::SignedOut => {
                let last_seen = self.tracker.codec().offline(None, at).unwrap_or(at);
                RecorderEvent::SignedOut { user, at, last_seen }
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
            tracing::warn!("recorder queue is full (recorder_capacity): dropping new users");
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
