//! Follows one server for a watch: log, lists, clock, outage and return. Knows no network, but a [`Source`].

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use super::{
    change::Change,
    dump::{Candidates, Listing},
    hub::{Hub, Phase},
    ledger::{Hint, Ledger, Look, Seen},
    pace::{Intervals, Pace, Task, jitter, pause},
};
use crate::{
    error::{Error, Result},
    memcached::BATCH_MAX,
    record::Key,
    settings::Settings,
};

/// A follower looks up as often: a name may have moved.
const LOOK_UP: Duration = Duration::from_secs(5);

/// While a list is on its way, or the reader is behind.
const SOON: Duration = Duration::from_millis(20);

/// What a log says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Something has happened to the user's record.
    Named(Key, Hint),
    /// As many lines are not in the log.
    Lost(u64),
    Other,
}

/// A store that can be followed.
pub(super) trait Source {
    fn name(&self) -> &str;

    /// Begins a log. Returns how many lines the store had lost until then.
    fn open(&mut self) -> Result<u64>;

    /// Waits for lines, at most until then; not for more when some were here.
    fn hear(&mut self, until: Instant, line: &mut dyn FnMut(Line)) -> Result<()>;

    /// How many lines the store has lost.
    fn dropped(&mut self) -> Result<u64>;

    /// Stores something that has to come back in the log.
    fn beat(&mut self) -> Result<()>;

    fn list(&mut self) -> Result<Listing>;

    /// When each was last seen, by what is stored at that moment.
    fn read(&mut self, batch: &[Look], now: DateTime<Utc>) -> Result<Vec<Seen>>;

    /// Whether it is there, and refuses to be followed.
    fn refuses(&mut self, error: &Error) -> bool;
}

pub(super) struct Follower<S> {
    source: S,
    /// Its place in the hub.
    place: usize,
    hub: Arc<Hub>,
    intervals: Intervals,
    /// The bytes of the prefix.
    prefix: usize,
    ledger: Ledger,
    phase: Phase,
    /// Since when, and what kind of error was told.
    down: Option<(Instant, &'static str)>,
}

impl<S: Source> Follower<S> {
    pub(super) fn new(
        source: S,
        place: usize,
        hub: &Arc<Hub>,
        intervals: Intervals,
        settings: &Settings,
    ) -> Self {
        let (hub, prefix) = (hub.clone(), settings.key_prefix().len());
        let ledger = Ledger::new(source.name(), settings.online_timeout());
        Self { source, place, hub, intervals, prefix, ledger, phase: Phase::Starting, down: None }
    }

    /// Returns when the hub is closed.
    pub(super) fn run(mut self) {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let Err(error) = self.follow();
            if self.hub.is_closed() {
                return;
            }
            if began.elapsed() > self.intervals.refused {
                failures = 0;
            }
            let refused = self.source.refuses(&error).then_some(self.intervals.refused);
            self.went_down(error);
            let pause = pause(failures, refused, jitter());
            // A reader who is behind shall not find a long tale of outages.
            while self.hub.pause(pause) || !self.hub.has_room() {
                if self.hub.is_closed() {
                    return;
                }
            }
            failures += 1;
        }
    }

    /// Told once, and again if there is another reason.
    fn went_down(&mut self, error: Error) {
        self.ledger.reset();
        self.phase = Phase::Down;
        let kind = error.kind();
        let told = self.down.is_some_and(|(_, told)| told == kind);
        self.down = Some((self.down.map_or_else(Instant::now, |(since, _)| since), kind));
        if !told {
            let change = Change::ServerDown { server: self.ledger.server().clone(), error };
            self.hub.publish(self.place, vec![change], self.phase, 0, false);
        }
    }

    fn follow(&mut self) -> Result<Infallible> {
        let mut pace = Pace::new(self.intervals, self.source.open()?, Instant::now());
        let mut listing: Option<Listing> = None;
        loop {
            let busy = listing.is_some() || self.ledger.is_sweeping();
            let (until, now) = (self.wake(&pace, listing.is_some(), busy), Instant::now());
            self.hear(until, &mut pace)?;
            match pace.task(now, busy) {
                Some(Task::Beat) => self.source.beat()?,
                Some(Task::Count) => pace.counted(self.source.dropped()?, jitter()),
                Some(Task::List) => listing = Some(self.source.list()?),
                Some(Task::GiveUp) => return Err(dead(self.source.name())),
                None => {}
            }
            if let Some(result) = listing.as_ref().and_then(Listing::result) {
                listing = None;
                pace.list_ended(Instant::now());
                self.listed(result?);
            }
            self.ledger.tick(Utc::now(), now);
            let swept = self.hub.has_room() && self.read(now)?;
            self.publish(&mut pace, swept);
        }
    }

    fn hear(&mut self, until: Instant, pace: &mut Pace) -> Result<()> {
        let (ledger, prefix) = (&mut self.ledger, self.prefix);
        self.source.hear(until, &mut |line| {
            let now = Instant::now();
            pace.heard(now);
            match line {
                Line::Named(key, hint) if ledger.hear(&key.as_str()[prefix..], hint, now) => {}
                Line::Named(..) => pace.lost(1, jitter()),
                Line::Lost(updates) => pace.lost(updates, jitter()),
                Line::Other => {}
            }
        })
    }

    /// How long the log can be waited for.
    fn wake(&self, pace: &Pace, listing: bool, busy: bool) -> Instant {
        let (now, room) = (Instant::now(), self.hub.has_room());
        let mut wake = pace.next(busy).min(now + LOOK_UP);
        if listing || (!room && (busy || self.ledger.batch_due().is_some())) {
            wake = wake.min(now + SOON);
        }
        if room {
            let sweep = self.ledger.is_sweeping().then_some(now);
            wake = self.ledger.batch_due().into_iter().chain(sweep).fold(wake, Instant::min);
        }
        let second = DateTime::from_timestamp(self.ledger.next_tick(), 0);
        let tick = second.map(|second| (second - Utc::now()).to_std().unwrap_or_default());
        // A millisecond late rather than early.
        tick.map_or(wake, |tick| wake.min(now + tick + Duration::from_millis(1)))
    }

    fn listed(&mut self, candidates: Candidates) {
        self.ledger.listed(candidates);
        if let Some((since, _)) = self.down.take() {
            self.phase = Phase::Starting;
            let change = Change::ServerUp { server: self.ledger.server().clone(), down_for: since.elapsed() };
            self.hub.publish(self.place, vec![change], self.phase, self.ledger.online(), false);
        }
    }

    /// Reads those who are due. Returns whether everyone was read who is to be read after a list.
    fn read(&mut self, now: Instant) -> Result<bool> {
        if self.ledger.batch_due().is_some_and(|due| due <= now) {
            let batch = self.ledger.batch(BATCH_MAX);
            self.read_batch(batch)?;
        }
        if !self.ledger.is_sweeping() {
            return Ok(false);
        }
        let batch = self.ledger.sweep(BATCH_MAX);
        if batch.is_empty() {
            // Those who were heard of meanwhile, too.
            for _ in 0..self.ledger.queued().div_ceil(BATCH_MAX) {
                let batch = self.ledger.batch(BATCH_MAX);
                self.read_batch(batch)?;
            }
            return Ok(true);
        }
        self.read_batch(batch)?;
        Ok(false)
    }

    fn read_batch(&mut self, batch: Vec<Look>) -> Result<()> {
        let now = Utc::now();
        let seen = self.source.read(&batch, now)?;
        self.ledger.read(batch, seen, now);
        Ok(())
    }

    fn publish(&mut self, pace: &mut Pace, swept: bool) {
        let mut changes = self.ledger.changes();
        if let Some(updates) = pace.take_missed(swept) {
            changes.push(Change::Missed { server: self.ledger.server().clone(), updates });
            if self.phase == Phase::Complete {
                self.phase = Phase::Lossy;
            }
        }
        if swept {
            self.phase = if pace.swept() { Phase::Complete } else { Phase::Lossy };
        }
        if swept || !changes.is_empty() {
            self.hub.publish(self.place, changes, self.phase, self.ledger.online(), swept);
        }
    }
}

fn dead(server: &str) -> Error {
    let words = "its log is dead: nothing that was stored came back in it";
    Error::unavailable(server, std::io::Error::new(std::io::ErrorKind::TimedOut, words))
}
