//! The background thread that writes a recorder's queued sightings.

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

/// What was last logged, so that each change is logged once.
#[derive(Default)]
struct Reports {
    dropped: u64,
    dropping: bool,
    slow: bool,
}

/// The results of a flush so far.
#[derive(Default)]
struct Flush {
    events: Vec<RecorderEvent>,
    error: Option<Error>,
    /// Servers that became unavailable during this flush.
    unavailable: Vec<String>,
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

    /// Flushes every `flush_interval` and on each command. Ends on `Close`, or when the recorder's last handle is
    /// dropped.
    pub(super) fn run(mut self, commands: Receiver<Command>) {
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
                // This is the last flush, so servers whose circuit is open are probed now, before a probe is due.
                self.store.probe();
            }
            let result = run_through(self.flush());
            for answer in waiting {
                let _ = answer.send(result.clone());
            }
            next = Instant::now() + every;
        }
        self.queue.end();
        // Nobody waits for an answer while the hook ends.
        drop(commands);
        if let Some(hook) = self.hook.take() {
            hook.close();
        }
    }

    async fn flush(&mut self) -> Result<()> {
        let started = Instant::now();
        let (sightings, ended) = self.queue.take();
        let mut flush = Flush::default();
        if self.hook.is_some() {
            flush.events.extend(ended.iter().map(|ended| self.end_event(ended)));
        }
        self.retry_unfinished().await;
        for batch in batches(sightings) {
            self.write(batch, &mut flush).await;
        }
        self.queue.end_flush();
        if let Some(hook) = &mut self.hook {
            hook.send(flush.events);
        }
        self.reports.log_changes(&self.queue, started.elapsed());
        flush.error.map_or(Ok(()), Err)
    }

    async fn write(&self, batch: Vec<Sighting>, flush: &mut Flush) {
        // Users of a server that became unavailable during this flush wait for the next flush.
        let is_unavailable =
            |sighting: &mut Sighting| flush.is_unavailable(self.store.server_of(&sighting.key));
        let mut batch = batch;
        if !flush.unavailable.is_empty() {
            batch.extract_if(.., is_unavailable).for_each(|sighting| self.queue.requeue(sighting));
        }
        let (mut written, mut cancelled) = (Vec::with_capacity(batch.len()), Vec::new());
        let mut done = |sighting: Sighting, outcome| match outcome {
            Outcome::Written | Outcome::Held => written.push(sighting),
            Outcome::Cancelled => cancelled.push(sighting),
            Outcome::Changing => self.queue.requeue(sighting),
            Outcome::Failed(error) => self.failed(sighting, error, flush),
        };
        self.tracker.write_on::<Blocking>(&self.store, batch, &mut done).await;
        self.queue.written(&written);
        self.queue.cancelled(&cancelled);
        if self.hook.is_some() {
            let seen =
                |sighting: Sighting| RecorderEvent::Seen { user: self.user(&sighting.key), at: sighting.at };
            flush.events.extend(written.into_iter().map(seen));
        }
    }

    /// Retries the sign-outs and deletions that failed, for as long as their tombstones would last.
    async fn retry_unfinished(&self) {
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
            && !flush.is_unavailable(server)
        {
            flush.unavailable.push(server.clone());
        }
        flush.error.get_or_insert(error);
        self.queue.requeue(sighting);
    }

    fn end_event(&self, ended: &Ended) -> RecorderEvent {
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
    fn is_unavailable(&self, server: &str) -> bool {
        self.unavailable.iter().any(|other| other == server)
    }
}

impl Reports {
    fn log_changes(&mut self, queue: &Queue, took: Duration) {
        let dropped = queue.counts().dropped;
        let dropping = dropped > self.dropped;
        if dropping && !self.dropping {
            tracing::warn!(
                "recorder drops sightings: its queue is full (recorder_capacity), or they have waited for over a day"
            );
        } else if self.dropping && !dropping {
            tracing::info!(
                dropped,
                "recorder no longer drops sightings; `dropped` counts all since it was created"
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

/// Splits a flush into batches, each of which takes one round trip to each server.
fn batches(sightings: Vec<Sighting>) -> impl Iterator<Item = Vec<Sighting>> {
    let mut sightings = sightings.into_iter();
    std::iter::from_fn(move || {
        let batch: Vec<Sighting> = sightings.by_ref().take(BATCH_MAX).collect();
        (!batch.is_empty()).then_some(batch)
    })
}
