//! Follows one server for a watch: reads its log, lists it, keeps time, and handles outages. Contains no network code;
//! a [`Source`] does the I/O.

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
    ledger::{Hint, Ledger, PendingRead, Seen},
    pace::{Intervals, Pace, Task, jitter, pause},
};
use crate::{
    error::{Error, Result},
    memcached::BATCH_MAX,
    record::Key,
    settings::Settings,
};

/// The longest wait for the log. Each [`Source::read_log`] also checks whether the server's name has another address.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The longest wait for the log while a list is under way or the reader of the changes is behind.
const BUSY_WAIT: Duration = Duration::from_millis(20);

/// A line of a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The user's record was stored or deleted.
    Named(Key, Hint),
    /// This many lines are missing from the log.
    Lost(u64),
    Other,
}

/// A store that can be followed.
pub(super) trait Source {
    fn name(&self) -> &str;

    /// Opens the log. Returns how many lines the store has dropped so far.
    fn open(&mut self) -> Result<u64>;

    /// Calls `on_line` with each line that is there. Waits for the first one, at most until `until`.
    fn read_log(&mut self, until: Instant, on_line: &mut dyn FnMut(Line)) -> Result<()>;

    /// Returns how many lines the store has dropped so far.
    fn dropped(&mut self) -> Result<u64>;

    /// Stores an item that has to appear in the log.
    fn store_heartbeat(&mut self) -> Result<()>;

    /// Starts to list the users who may be online.
    fn list(&mut self) -> Result<Listing>;

    /// Returns when each user was last seen, by the records that are stored now.
    fn read(&mut self, batch: &[PendingRead], now: DateTime<Utc>) -> Result<Vec<Seen>>;

    /// Returns whether the store is up but refuses to be followed.
    fn refuses(&mut self, error: &Error) -> bool;
}

pub(super) struct Follower<S> {
    source: S,
    /// The index of the server in the hub.
    place: usize,
    hub: Arc<Hub>,
    intervals: Intervals,
    /// The length of the key prefix in bytes.
    prefix_len: usize,
    ledger: Ledger,
    phase: Phase,
    /// Since when the server is down, and the kind of error that was reported, unless users have been reported since;
    /// `None` once it is listed again.
    down: Option<(Instant, Option<&'static str>)>,
}

impl<S: Source> Follower<S> {
    pub(super) fn new(
        source: S,
        place: usize,
        hub: &Arc<Hub>,
        intervals: Intervals,
        settings: &Settings,
    ) -> Self {
        let (hub, prefix_len) = (hub.clone(), settings.key_prefix().len());
        let ledger = Ledger::new(source.name(), settings.online_timeout());
        Self { source, place, hub, intervals, prefix_len, ledger, phase: Phase::Starting, down: None }
    }

    /// Follows the server until the hub is closed, and tries again after each error.
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
            self.report_down(error);
            let pause = pause(failures, refused, jitter());
            // A reader who is behind must not find a long series of outages.
            while self.hub.pause(pause) || !self.hub.has_room() {
                if self.hub.is_closed() {
                    return;
                }
            }
            failures += 1;
        }
    }

    /// Reports that the server is down: once, and again if the kind of error changes or users have been reported since.
    fn report_down(&mut self, error: Error) {
        // What was read before the error is reported first, so that it is unknown afterwards.
        let mut changes = self.ledger.take_changes();
        self.ledger.reset();
        self.phase = Phase::Down;
        let kind = error.kind();
        let reported = self.down.is_some_and(|(_, reported)| reported == Some(kind));
        self.down = Some((self.down.map_or_else(Instant::now, |(since, _)| since), Some(kind)));
        if !reported || !changes.is_empty() {
            changes.push(Change::ServerDown { server: self.ledger.server().clone(), error });
            self.hub.publish(self.place, changes, self.phase, 0, false);
        }
    }

    fn follow(&mut self) -> Result<Infallible> {
        let mut pace = Pace::new(self.intervals, self.source.open()?, Instant::now());
        let mut listing: Option<Listing> = None;
        loop {
            let busy = listing.is_some() || self.ledger.is_resyncing();
            let (until, now) = (self.wake_at(&pace, listing.is_some(), busy), Instant::now());
            self.read_log(until, &mut pace)?;
            match pace.task(now, busy) {
                Some(Task::Heartbeat) => self.source.store_heartbeat()?,
                Some(Task::CountDropped) => pace.counted(self.source.dropped()?, jitter()),
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
            let resynced = self.hub.has_room() && self.read(now)?;
            self.publish(&mut pace, resynced);
        }
    }

    fn read_log(&mut self, until: Instant, pace: &mut Pace) -> Result<()> {
        let (ledger, prefix_len) = (&mut self.ledger, self.prefix_len);
        self.source.read_log(until, &mut |line| {
            let now = Instant::now();
            pace.line_received(now);
            match line {
                Line::Named(key, hint) if ledger.enqueue(&key.as_str()[prefix_len..], hint, now) => {}
                Line::Named(..) => pace.lost(1, jitter()),
                Line::Lost(updates) => pace.lost(updates, jitter()),
                Line::Other => {}
            }
        })
    }

    /// Returns until when the follower can wait for the log before it has other work.
    fn wake_at(&self, pace: &Pace, listing: bool, busy: bool) -> Instant {
        let (now, has_room) = (Instant::now(), self.hub.has_room());
        let mut wake = pace.next_due(busy).min(now + MAX_WAIT);
        if listing || (!has_room && (busy || self.ledger.batch_due().is_some())) {
            wake = wake.min(now + BUSY_WAIT);
        }
        if has_room {
            let resync = self.ledger.is_resyncing().then_some(now);
            wake = self.ledger.batch_due().into_iter().chain(resync).fold(wake, Instant::min);
        }
        let second = DateTime::from_timestamp(self.ledger.next_recheck(), 0);
        let tick = second.map(|second| (second - Utc::now()).to_std().unwrap_or_default());
        // One extra millisecond, so that the clock has reached that second when the follower wakes.
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

    /// Reads the users who are due. Returns whether that completes the resync after a list.
    fn read(&mut self, now: Instant) -> Result<bool> {
        if self.ledger.batch_due().is_some_and(|due| due <= now) {
            let batch = self.ledger.batch(BATCH_MAX);
            self.read_batch(batch)?;
        }
        if !self.ledger.is_resyncing() {
            return Ok(false);
        }
        let batch = self.ledger.resync_batch(BATCH_MAX);
        if batch.is_empty() {
            // Also read the users whom the log has named meanwhile.
            for _ in 0..self.ledger.queued().div_ceil(BATCH_MAX) {
                let batch = self.ledger.batch(BATCH_MAX);
                self.read_batch(batch)?;
            }
            return Ok(true);
        }
        self.read_batch(batch)?;
        Ok(false)
    }

    fn read_batch(&mut self, batch: Vec<PendingRead>) -> Result<()> {
        let now = Utc::now();
        let seen = self.source.read(&batch, now)?;
        self.ledger.read(batch, seen, now);
        Ok(())
    }

    fn publish(&mut self, pace: &mut Pace, resynced: bool) {
        let mut changes = self.ledger.take_changes();
        if let Some((_, reported)) = &mut self.down
            && !changes.is_empty()
        {
            *reported = None;
        }
        if let Some(updates) = pace.take_missed(resynced) {
            changes.push(Change::Missed { server: self.ledger.server().clone(), updates });
            if self.phase == Phase::Complete {
                self.phase = Phase::Lossy;
            }
        }
        if resynced {
            self.phase = if pace.resynced() { Phase::Complete } else { Phase::Lossy };
        }
        if resynced || !changes.is_empty() {
            self.hub.publish(self.place, changes, self.phase, self.ledger.online(), resynced);
        }
    }
}

fn dead(server: &str) -> Error {
    let words = "its log is dead: nothing that was stored came back in it";
    Error::unavailable(server, std::io::Error::new(std::io::ErrorKind::TimedOut, words))
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, thread};

    use super::{
        super::{
            ledger::BATCH_DELAY,
            roster::{Roster, Status},
        },
        *,
    };

    /// A store that goes down again and again.
    struct Brief {
        /// How many users it lists; if none, it goes down before it has listed them.
        listed: u32,
        /// How many reads it answers before it goes down.
        limit: usize,
        reads: usize,
    }

    impl Brief {
        fn lost(&self) -> Error {
            Error::unavailable(self.name(), ErrorKind::ConnectionReset.into())
        }
    }

    impl Source for Brief {
        fn name(&self) -> &str {
            "brief"
        }

        fn open(&mut self) -> Result<u64> {
            self.reads = 0;
            Ok(0)
        }

        fn read_log(&mut self, _: Instant, on_line: &mut dyn FnMut(Line)) -> Result<()> {
            if self.listed == 0 && self.reads == self.limit {
                return Err(self.lost());
            }
            on_line(Line::Named(Key::from("seen_alice"), Hint::NONE));
            thread::sleep(BATCH_DELAY);
            Ok(())
        }

        fn dropped(&mut self) -> Result<u64> {
            Ok(0)
        }

        fn store_heartbeat(&mut self) -> Result<()> {
            Ok(())
        }

        fn list(&mut self) -> Result<Listing> {
            let mut candidates = Candidates::default();
            (0..self.listed).for_each(|user| candidates.push(&user.to_string(), Hint::NONE));
            Ok(if self.listed == 0 { Listing::endless() } else { Listing::done(candidates) })
        }

        fn read(&mut self, batch: &[PendingRead], now: DateTime<Utc>) -> Result<Vec<Seen>> {
            if self.reads == self.limit {
                return Err(self.lost());
            }
            self.reads += 1;
            Ok(batch.iter().map(|_| Ok(Some(now))).collect())
        }

        fn refuses(&mut self, _: &Error) -> bool {
            false
        }
    }

    #[track_caller]
    fn alice_is_unknown_after_each_outage(source: Brief) {
        let hub = Arc::new(Hub::new(1));
        let follower = Follower::new(source, 0, &hub, Intervals::REAL, &Settings::default());
        let thread = thread::spawn(|| follower.run());
        let (mut roster, mut outages, until) =
            (Roster::default(), 0, Instant::now() + Duration::from_secs(20));
        while outages < 3 {
            let change = hub.wait(Some(until)).expect("a change");
            assert!(Instant::now() < until, "{outages} outages, then {change:?}");
            roster.apply(&change);
            if let Change::ServerDown { .. } = change {
                outages += 1;
                assert_eq!(roster.get("alice").map(|user| user.status), Some(Status::Unknown));
                assert_eq!(roster.online(), 0);
            }
        }
        hub.close();
        thread.join().unwrap();
    }

    #[test]
    fn who_was_read_before_the_server_went_down_again_is_unknown_again() {
        alice_is_unknown_after_each_outage(Brief { listed: 0, limit: 1, reads: 0 });
    }

    #[test]
    fn who_was_read_just_before_the_server_went_down_is_unknown_too() {
        // A part of the list is read, then alice, and not the next part.
        alice_is_unknown_after_each_outage(Brief { listed: 3_000, limit: 2, reads: 0 });
    }
}
