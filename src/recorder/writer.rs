//! The thread that writes what a recorder has noted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use chrono::Utc;

use super::{Event, hook::Hook};
use crate::{
    error::{Error, Result},
    pending::{Kind, Noted, Pending, Strike},
    record::Key,
    store::{Item, PIECE, Store, When, Write},
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
    pending: Arc<Pending>,
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
    events: Vec<Event>,
    error: Option<Error>,
    /// Servers that were lost in this flush: their users wait for the next one.
    lost: Vec<String>,
}

impl Writer {
    pub(super) fn new(
        tracker: Tracker,
        pending: Arc<Pending>,
        failed_writes: Arc<AtomicU64>,
        hook: Option<Hook>,
    ) -> Self {
        let store = tracker.store().patient();
        Self { tracker, store, pending, failed_writes, hook, reports: Reports::default() }
    }

    /// Flushes every `flush_every` and at each command, until it is closed or nobody is left to command it.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let every = self.tracker.settings().flush_every();
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
            let result = self.flush(every);
            for answer in waiting {
                let _ = answer.send(result.clone());
            }
            next = Instant::now() + every;
        }
        if let Some(hook) = self.hook.take() {
            hook.close();
        }
    }

    fn flush(&mut self, every: Duration) -> Result<()> {
        let started = Instant::now();
        let mut flush = Flush { number: self.pending.flush(), ..Flush::default() };
        let (batch, struck) = self.pending.take();
        if self.hook.is_some() {
            flush.events.extend(struck.iter().map(|strike| self.struck(strike)));
        }
        let (late, in_time): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|noted| noted.since + 2 < flush.number);
        for piece in pieces(in_time) {
            self.write(piece, &mut flush);
        }
        for piece in pieces(late) {
            self.write_where_newer(piece, &mut flush);
        }
        self.pending.end_flush();
        // By now every process has written what it had noted before a strike of that age.
        let settled = 2 * every;
        for strike in self.pending.strikes(flush.number, settled) {
            if self.enforce(&strike).is_ok() && strike.age() >= settled {
                self.pending.settle(&strike);
            }
        }
        if let Some(hook) = &mut self.hook {
            hook.send(flush.events);
        }
        self.reports.look(&self.pending, started.elapsed());
        flush.error.map_or(Ok(()), Err)
    }

    fn write(&self, piece: Vec<Noted>, flush: &mut Flush) {
        let (piece, writes) = self.writes(piece, flush, |_| When::Always);
        let answers = self.store.set_many(&writes);
        let mut written = Vec::with_capacity(piece.len());
        for (noted, answer) in piece.into_iter().zip(answers) {
            match answer {
                Ok(_) => written.push(noted),
                Err(error) => self.failed(noted, error, flush),
            }
        }
        self.written(&written, flush);
    }

    /// What has been pending for long may be older than what others have written meanwhile.
    fn write_where_newer(&self, mut piece: Vec<Noted>, flush: &mut Flush) {
        for attempt in 1..=TRIES {
            let found = self.store.inspect_many(piece.iter().map(|noted| &noted.key).collect());
            let (mut older, mut conditions, mut newer) = (Vec::new(), Vec::new(), Vec::new());
            for (noted, found) in piece.into_iter().zip(found) {
                match found {
                    Err(error) => self.failed(noted, error, flush),
                    Ok(Some(item)) if self.holds_as_late(&noted, &item) => newer.push(noted),
                    Ok(item) => {
                        let unchanged = item.map_or(When::Absent, |item| When::Unchanged(item.cas));
                        conditions.push(if attempt < TRIES { unchanged } else { When::Always });
                        older.push(noted);
                    }
                }
            }
            // The store holds at least as much as was to be written.
            self.written(&newer, flush);
            let mut conditions = conditions.into_iter();
            let condition = |_: &Noted| conditions.next().unwrap_or(When::Absent);
            let (older, writes) = self.writes(older, flush, condition);
            let answers = self.store.set_many(&writes);
            let (mut written, mut changed) = (Vec::new(), Vec::new());
            for (noted, answer) in older.into_iter().zip(answers) {
                match answer {
                    Ok(true) => written.push(noted),
                    Ok(false) => changed.push(noted),
                    Err(error) => self.failed(noted, error, flush),
                }
            }
            self.written(&written, flush);
            piece = changed;
            if piece.is_empty() {
                return;
            }
        }
        piece.into_iter().for_each(|noted| self.pending.not_written(noted));
    }

    fn holds_as_late(&self, noted: &Noted, item: &Item) -> bool {
        let stored = self.tracker.decode(&noted.key, &item.value, Utc::now());
        stored.is_ok_and(|at| at.timestamp() >= noted.at.timestamp())
    }

    /// The writes of a piece, without the users of lost servers, who are pending again.
    fn writes(
        &self,
        piece: Vec<Noted>,
        flush: &Flush,
        mut when: impl FnMut(&Noted) -> When,
    ) -> (Vec<Noted>, Vec<Write>) {
        let expiry = self.tracker.settings().last_seen_timeout();
        let (mut kept, mut writes) = (Vec::with_capacity(piece.len()), Vec::with_capacity(piece.len()));
        for noted in piece {
            let when = when(&noted);
            if !flush.lost.is_empty() && flush.is_lost(self.store.server_of(&noted.key)) {
                self.pending.not_written(noted);
                continue;
            }
            match self.tracker.write(noted.key.clone(), noted.at, expiry, when) {
                Ok(write) => {
                    kept.push(noted);
                    writes.push(write);
                }
                // A clock before 1970: no time to write.
                Err(_) => self.pending.give_up(&noted),
            }
        }
        (kept, writes)
    }

    fn written(&self, written: &[Noted], flush: &mut Flush) {
        self.pending.written(written);
        if self.hook.is_some() {
            let seen = |noted: &Noted| Event::Seen { user: self.user(&noted.key), at: noted.at };
            flush.events.extend(written.iter().map(seen));
        }
    }

    fn failed(&self, noted: Noted, error: Error, flush: &mut Flush) {
        self.failed_writes.fetch_add(1, Ordering::Relaxed);
        if let Error::Unavailable { server, .. } = &error
            && !flush.is_lost(server)
        {
            flush.lost.push(server.clone());
        }
        flush.error.get_or_insert(error);
        self.pending.not_written(noted);
    }

    /// Undoes a sighting from before the strike that was written after it: one of a batch that was under way,
    /// or another process's.
    fn enforce(&self, strike: &Strike) -> Result<()> {
        for attempt in 1..=TRIES {
            let Some(item) = self.store.inspect(&strike.key)? else { return Ok(()) };
            let known = self.tracker.decode(&strike.key, &item.value, Utc::now()).ok();
            // The time of another process is all that tells whether the user came back. One that was seen there
            // in the second of the strike counts as from before.
            let came_back = known.is_some_and(|known| known > strike.at);
            // The look at the strike comes after the read: a sighting since would have ended it first.
            if came_back || !self.pending.holds(strike) {
                return Ok(());
            }
            let cas = (attempt < TRIES).then_some(item.cas);
            let undone = match strike.kind {
                Kind::Forgotten => self.store.delete(&strike.key, cas)?,
                Kind::SignedOut => {
                    let Some(at) = self.tracker.codec().offline(known, strike.at) else { return Ok(()) };
                    let expiry = self.tracker.settings().last_seen_timeout();
                    let when = cas.map_or(When::Present, When::Unchanged);
                    self.store.set(&self.tracker.write(strike.key.clone(), at, expiry, when)?)?
                }
            };
            if undone {
                return Ok(());
            }
        }
        Ok(())
    }

    fn struck(&self, strike: &Strike) -> Event {
        let user = self.user(&strike.key);
        match strike.kind {
            Kind::Forgotten => Event::Forgotten { user },
            Kind::SignedOut => {
                let at = self.tracker.codec().offline(None, strike.at).unwrap_or(strike.at);
                Event::SignedOut { user, at }
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
    fn look(&mut self, pending: &Pending, took: Duration) {
        let dropped = pending.counts().dropped;
        let dropping = dropped > self.dropped;
        if dropping && !self.dropping {
            tracing::warn!("more users than recorder_capacity are pending: the newest comers are dropped");
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
fn pieces(batch: Vec<Noted>) -> impl Iterator<Item = Vec<Noted>> {
    let mut batch = batch.into_iter();
    std::iter::from_fn(move || {
        let piece: Vec<Noted> = batch.by_ref().take(PIECE).collect();
        (!piece.is_empty()).then_some(piece)
    })
}
