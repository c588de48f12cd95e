//! When a follower proves that its log is alive, asks for losses, and lists again. Knows no network: its caller
//! tells it what happened, and when.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

/// How often what goes by time is done; tests cannot wait for all of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intervals {
    /// A log that was silent for as long has to prove that it is alive.
    quiet: Duration,
    /// How long a store of our own may take to come back. memcached's logger sleeps for up to a second.
    beat: Duration,
    /// A list begins no sooner after the end of the last one.
    relist: Duration,
    /// A server that refuses is asked again.
    pub(super) refused: Duration,
}

impl Intervals {
    pub(super) const REAL: Self = Self {
        quiet: Duration::from_secs(15),
        beat: Duration::from_secs(4),
        relist: Duration::from_secs(10),
        refused: Duration::from_secs(10),
    };

    pub(super) fn faster(self, times: u32) -> Self {
        let Self { quiet, beat, relist, refused } = self;
        let beat = (beat / times).max(Duration::from_millis(1_500));
        Self { quiet: quiet / times, beat, relist: relist / times, refused: refused / times }
    }
}

/// While lines come, a server is asked as often how many it has lost; and once a moment after the last.
const COUNT: Duration = Duration::from_secs(1);
const COUNT_AFTER: Duration = Duration::from_millis(500);

/// Lists of a large server take at most a twentieth of its time.
const SHARE: u32 = 20;

const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// With the half of it that may come on top, a server is followed again within 3 s of its return, however long it was
/// away.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Store something, to see it in the log.
    Beat,
    /// Ask how many lines were lost.
    Count,
    List,
    /// The log is dead.
    GiveUp,
}

#[derive(Debug)]
pub(super) struct Pace {
    intervals: Intervals,
    last_line: Instant,
    /// Stores of our own that have not come back, and when the last of them began.
    beats: u32,
    beat_at: Instant,
    /// The first line since the last count.
    uncounted: Option<Instant>,
    /// How many lines the server had lost at the last count.
    dropped: u64,
    /// A list is wanted: with what jitter.
    wanted: Option<f64>,
    list_began: Instant,
    no_list_before: Instant,
    /// Lost and not told yet.
    missed: u64,
    /// It was told that updates are missing, and no list since has found them.
    lossy: bool,
    /// Something was lost after the list had begun.
    lost_again: bool,
}

impl Pace {
    /// The log is followed from now on. Lists at once.
    pub(super) fn new(intervals: Intervals, dropped: u64, now: Instant) -> Self {
        Self {
            intervals,
            last_line: now,
            beats: 0,
            beat_at: now,
            uncounted: None,
            dropped,
            wanted: Some(0.0),
            list_began: now,
            no_list_before: now,
            missed: 0,
            lossy: false,
            lost_again: false,
        }
    }

    /// A line came. What it says does not matter.
    pub(super) fn heard(&mut self, now: Instant) {
        (self.last_line, self.beats) = (now, 0);
        self.uncounted.get_or_insert(now);
    }

    /// So many updates were lost.
    pub(super) fn lost(&mut self, updates: u64, jitter: f64) {
        if updates == 0 {
            return;
        }
        self.missed = self.missed.saturating_add(updates);
        self.lost_again = true;
        self.wanted.get_or_insert(jitter);
    }

    /// So many lines the server has lost so far.
    pub(super) fn counted(&mut self, dropped: u64, jitter: f64) {
        self.uncounted = None;
        self.lost(dropped.saturating_sub(self.dropped), jitter);
        self.dropped = dropped;
    }

    /// What is due, in turn; after what had come by `now` was heard.
    pub(super) fn task(&mut self, now: Instant, is_listing: bool) -> Option<Task> {
        if self.beat_due() <= now {
            if self.beats == 2 {
                return Some(Task::GiveUp);
            }
            (self.beats, self.beat_at) = (self.beats + 1, now);
            return Some(Task::Beat);
        }
        if self.count_due().is_some_and(|due| due <= now) {
            return Some(Task::Count);
        }
        if !is_listing && self.list_due().is_some_and(|due| due <= now) {
            (self.wanted, self.list_began, self.lost_again) = (None, now, false);
            return Some(Task::List);
        }
        None
    }

    /// When there is something to do at the latest.
    pub(super) fn next(&self, is_listing: bool) -> Instant {
        let list = self.list_due().filter(|_| !is_listing);
        self.count_due().into_iter().chain(list).fold(self.beat_due(), Instant::min)
    }

    fn beat_due(&self) -> Instant {
        match self.beats {
            0 => self.last_line + self.intervals.quiet,
            _ => self.beat_at + self.intervals.beat,
        }
    }

    fn count_due(&self) -> Option<Instant> {
        self.uncounted.map(|first| (first + COUNT).min(self.last_line + COUNT_AFTER))
    }

    fn list_due(&self) -> Option<Instant> {
        self.wanted.map(|jitter| self.no_list_before + self.intervals.relist.mul_f64(jitter / 4.0))
    }

    /// The server has been listed.
    pub(super) fn list_ended(&mut self, now: Instant) {
        let took = now.saturating_duration_since(self.list_began);
        self.no_list_before = now + self.intervals.relist.max(took * SHARE);
    }

    /// Everyone who was listed has been read. Returns whether that is all.
    pub(super) fn swept(&mut self) -> bool {
        self.lossy = self.lost_again;
        !self.lossy
    }

    /// How many updates were missed, if that is to be told now: at the first loss, and again after a list that has not
    /// found them all.
    pub(super) fn take_missed(&mut self, swept: bool) -> Option<u64> {
        if self.missed == 0 || (self.lossy && !swept) {
            return None;
        }
        self.lossy = true;
        Some(std::mem::take(&mut self.missed))
    }
}

/// 0.5 s, doubling up to a second, or up to `refused` for a server that refuses; each 50 % shorter or longer, so that the
/// programs of a site do not come back all at once.
pub(super) fn pause(failures: u32, refused: Option<Duration>, jitter: f64) -> Duration {
    let longest = refused.unwrap_or(LONGEST_PAUSE);
    let shortest = SHORTEST_PAUSE.min(longest);
    shortest.saturating_mul(1 << failures.min(16)).min(longest).mul_f64(0.5 + jitter)
}

/// 0 to 1: a random number of the standard library's.
pub(super) fn jitter() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use arbtest::arbtest;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// What is done by then, step by step, and when.
    fn run(pace: &mut Pace, from: Instant, until: Instant) -> Vec<(Task, Duration)> {
        let (mut now, mut done) = (from, Vec::new());
        while now <= until {
            while let Some(task) = pace.task(now, false) {
                done.push((task, now - from));
                match task {
                    Task::Count => pace.counted(pace.dropped, 0.0),
                    Task::List => pace.list_ended(now),
                    Task::GiveUp => return done,
                    Task::Beat => {}
                }
            }
            now += ms(100);
        }
        done
    }

    #[test]
    fn a_dead_log_is_given_up_within_25_seconds_after_two_stores_of_our_own() {
        let start = Instant::now();
        let mut pace = Pace::new(Intervals::REAL, 0, start);
        let tasks = run(&mut pace, start, start + ms(60_000));
        let names: Vec<_> = tasks.iter().map(|(task, _)| *task).collect();
        assert_eq!(names, [Task::List, Task::Beat, Task::Beat, Task::GiveUp]);
        assert!(tasks[1].1 >= ms(15_000) && tasks[3].1 <= ms(24_000), "{tasks:?}");
    }

    #[test]
    fn one_store_that_is_lost_is_no_dead_log() {
        let start = Instant::now();
        let mut pace = Pace::new(Intervals::REAL, 0, start);
        run(&mut pace, start, start + ms(20_000));
        pace.heard(start + ms(20_500));
        let tasks = run(&mut pace, start + ms(20_500), start + ms(35_000));
        assert_eq!(tasks, [(Task::Count, ms(500))]);
    }

    #[test]
    fn losses_are_asked_for_each_second_while_lines_come_and_once_after_the_last() {
        let start = Instant::now();
        let mut pace = Pace::new(Intervals::REAL, 0, start);
        run(&mut pace, start, start);
        let mut counts = 0;
        for tenth in 0..50 {
            let now = start + ms(100 * tenth);
            pace.heard(now);
            counts += run(&mut pace, now, now).len();
        }
        assert_eq!(counts, 4);
        let tasks = run(&mut pace, start + ms(4_900), start + ms(10_000));
        assert_eq!(tasks, [(Task::Count, ms(500))]);
    }

    #[test]
    fn after_losses_a_list_waits_for_ten_seconds_and_for_twenty_times_the_last_one() {
        arbtest(|u| {
            let start = Instant::now();
            let (took, jitter) =
                (ms(u.int_in_range(0..=3_000)?), f64::from(u.int_in_range(0..=100)?) / 100.0);
            let mut pace = Pace::new(Intervals::REAL, 0, start);
            assert_eq!(pace.task(start, false), Some(Task::List));
            let ended = start + took;
            pace.list_ended(ended);
            assert!(pace.swept());
            pace.heard(ended);
            pace.counted(7, jitter);
            assert_eq!(pace.take_missed(false), Some(7));
            let lossy = ended + ms(u.int_in_range(0..=60_000)?);
            pace.lost(u.int_in_range(1..=9)?, 0.0);
            assert_eq!(pace.take_missed(false), None);
            pace.heard(lossy);
            let due = pace.list_due().unwrap();
            assert!(due >= ended + ms(10_000).max(took * 20), "{:?}", due - ended);
            assert!(due <= ended + ms(12_500).max(took * 20 + ms(2_500)), "{:?}", due - ended);
            Ok(())
        });
    }

    #[test]
    fn what_was_lost_while_a_list_was_read_is_told_after_it_and_listed_again() {
        let start = Instant::now();
        let mut pace = Pace::new(Intervals::REAL, 5, start);
        assert_eq!(pace.task(start, false), Some(Task::List));
        pace.counted(8, 0.5);
        assert_eq!(pace.take_missed(false), Some(3));
        pace.lost(2, 0.5);
        assert_eq!(pace.take_missed(false), None);
        pace.list_ended(start);
        assert_eq!(pace.take_missed(true), Some(2));
        assert!(!pace.swept());
        let tasks = run(&mut pace, start, start + ms(12_000));
        assert_eq!(tasks.last().map(|last| last.0), Some(Task::List));
        assert!(pace.take_missed(true).is_none() && pace.swept());
    }

    #[test]
    fn pauses_double_and_differ() {
        let refused = Some(Duration::from_secs(10));
        for (failures, refused, expected) in [
            (0, None, 0.5),
            (1, None, 1.0),
            (2, None, 1.0),
            (u32::MAX, None, 1.0),
            (0, refused, 0.5),
            (9, refused, 10.0),
        ] {
            let pauses: Vec<f64> =
                (0..1_000).map(|_| pause(failures, refused, jitter()).as_secs_f64() / expected).collect();
            assert!(pauses.iter().all(|share| (0.5..=1.5).contains(share)), "{pauses:?}");
            assert!(pauses.iter().any(|share| *share < 0.6) && pauses.iter().any(|share| *share > 1.4));
        }
    }
}
