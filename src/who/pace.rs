//! Decides when a follower tests its log, asks for dropped lines, and lists the server again. Contains no network
//! code: the caller passes in what happened, and when.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

/// The intervals of a follower's periodic work. Tests use shorter ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intervals {
    /// The silence after which a heartbeat tests whether the log is alive.
    quiet: Duration,
    /// How long a heartbeat may take to appear in the log. memcached's logger sleeps for up to a second.
    heartbeat: Duration,
    /// The shortest pause between the end of a list and the start of the next.
    relist: Duration,
    /// The longest pause before the next try if a server refuses to be followed.
    pub(super) refused: Duration,
}

impl Intervals {
    pub(super) const REAL: Self = Self {
        quiet: Duration::from_secs(15),
        heartbeat: Duration::from_secs(4),
        relist: Duration::from_secs(10),
        refused: Duration::from_secs(10),
    };

    pub(super) fn faster(self, times: u32) -> Self {
        let Self { quiet, heartbeat, relist, refused } = self;
        let heartbeat = (heartbeat / times).max(Duration::from_millis(1_500));
        Self { quiet: quiet / times, heartbeat, relist: relist / times, refused: refused / times }
    }
}

/// How often a server is asked for its number of dropped lines while lines come.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// How long after the last line a server is asked once more.
const COUNT_DELAY: Duration = Duration::from_millis(500);

/// The pause after a list, as a multiple of the list's duration: a large server spends at most a twentieth of its time
/// on lists.
const PAUSE_PER_LIST: u32 = 20;

/// The pause after the first failure, before jitter.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause before jitter, which may add half of it. Together they let a follower be back within 3 s of the
/// server's return, however long the outage was.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a follower has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Store a heartbeat, which has to appear in the log.
    Heartbeat,
    /// Ask how many lines the server has dropped.
    CountDropped,
    List,
    /// Give up the log, which is dead.
    GiveUp,
}

#[derive(Debug)]
pub(super) struct Pace {
    intervals: Intervals,
    last_line: Instant,
    /// The number of heartbeats since the last line.
    heartbeats: u32,
    /// When the last heartbeat was stored.
    heartbeat_at: Instant,
    /// When the first line since the last count came; `None` if none did.
    uncounted: Option<Instant>,
    /// How many lines the server had dropped at the last count.
    dropped: u64,
    /// The jitter of the next list; `None` if no list is wanted.
    list_jitter: Option<f64>,
    list_began: Instant,
    no_list_before: Instant,
    /// The number of lost updates that are not reported yet.
    missed: u64,
    /// Whether lost updates were reported, and no resync has made up for them yet.
    lossy: bool,
    /// Whether updates were lost after the last list began.
    lost_since_list: bool,
}

impl Pace {
    /// Starts with a log that is open from `now` on. The first list is due at once.
    pub(super) fn new(intervals: Intervals, dropped: u64, now: Instant) -> Self {
        Self {
            intervals,
            last_line: now,
            heartbeats: 0,
            heartbeat_at: now,
            uncounted: None,
            dropped,
            list_jitter: Some(0.0),
            list_began: now,
            no_list_before: now,
            missed: 0,
            lossy: false,
            lost_since_list: false,
        }
    }

    /// Records that a line of the log came, whatever it says.
    pub(super) fn line_received(&mut self, now: Instant) {
        (self.last_line, self.heartbeats) = (now, 0);
        self.uncounted.get_or_insert(now);
    }

    /// Records that updates were lost, and requests a list.
    pub(super) fn lost(&mut self, updates: u64, jitter: f64) {
        if updates == 0 {
            return;
        }
        self.missed = self.missed.saturating_add(updates);
        self.lost_since_list = true;
        self.list_jitter.get_or_insert(jitter);
    }

    /// Records how many lines the server has dropped so far.
    pub(super) fn counted(&mut self, dropped: u64, jitter: f64) {
        self.uncounted = None;
        self.lost(dropped.saturating_sub(self.dropped), jitter);
        self.dropped = dropped;
    }

    /// Returns the next task that is due. The caller has to read the lines that came up to `now` first.
    pub(super) fn task(&mut self, now: Instant, is_listing: bool) -> Option<Task> {
        if self.heartbeat_due() <= now {
            if self.heartbeats == 2 {
                return Some(Task::GiveUp);
            }
            (self.heartbeats, self.heartbeat_at) = (self.heartbeats + 1, now);
            return Some(Task::Heartbeat);
        }
        if self.count_due().is_some_and(|due| due <= now) {
            return Some(Task::CountDropped);
        }
        if !is_listing && self.list_due().is_some_and(|due| due <= now) {
            (self.list_jitter, self.list_began, self.lost_since_list) = (None, now, false);
            return Some(Task::List);
        }
        None
    }

    /// Returns when the next task is due.
    pub(super) fn next_due(&self, is_listing: bool) -> Instant {
        let list = self.list_due().filter(|_| !is_listing);
        self.count_due().into_iter().chain(list).fold(self.heartbeat_due(), Instant::min)
    }

    fn heartbeat_due(&self) -> Instant {
        match self.heartbeats {
            0 => self.last_line + self.intervals.quiet,
            _ => self.heartbeat_at + self.intervals.heartbeat,
        }
    }

    fn count_due(&self) -> Option<Instant> {
        self.uncounted.map(|first| (first + COUNT_INTERVAL).min(self.last_line + COUNT_DELAY))
    }

    fn list_due(&self) -> Option<Instant> {
        self.list_jitter.map(|jitter| self.no_list_before + self.intervals.relist.mul_f64(jitter / 4.0))
    }

    /// Records the end of a list, which sets the earliest start of the next one.
    pub(super) fn list_ended(&mut self, now: Instant) {
        let took = now.saturating_duration_since(self.list_began);
        self.no_list_before = now + self.intervals.relist.max(took * PAUSE_PER_LIST);
    }

    /// Records the end of the resync after a list. Returns whether no updates were lost since the list began.
    pub(super) fn resynced(&mut self) -> bool {
        self.lossy = self.lost_since_list;
        !self.lossy
    }

    /// Takes the number of lost updates if it has to be reported now: at the first loss, and then at the end of each
    /// resync during which more were lost.
    pub(super) fn take_missed(&mut self, resynced: bool) -> Option<u64> {
        if self.missed == 0 || (self.lossy && !resynced) {
            return None;
        }
        self.lossy = true;
        Some(std::mem::take(&mut self.missed))
    }
}

/// Returns the pause before the next try: 0.5 s, doubled up to 1 s, or up to `refused` if the server refuses to be
/// followed. Jitter makes it up to 50 % shorter or longer, so that a site's programs do not all reconnect at once.
pub(super) fn pause(failures: u32, refused: Option<Duration>, jitter: f64) -> Duration {
    let longest = refused.unwrap_or(LONGEST_PAUSE);
    let shortest = SHORTEST_PAUSE.min(longest);
    shortest.saturating_mul(1 << failures.min(16)).min(longest).mul_f64(0.5 + jitter)
}

/// Returns a random number from 0 to 1, made with the random keys of the standard library's hasher.
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

    /// Runs the tasks that are due between two times. Returns each task and when it was due.
    fn run(pace: &mut Pace, from: Instant, until: Instant) -> Vec<(Task, Duration)> {
        let (mut now, mut done) = (from, Vec::new());
        while now <= until {
            while let Some(task) = pace.task(now, false) {
                done.push((task, now - from));
                match task {
                    Task::CountDropped => pace.counted(pace.dropped, 0.0),
                    Task::List => pace.list_ended(now),
                    Task::GiveUp => return done,
                    Task::Heartbeat => {}
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
        assert_eq!(names, [Task::List, Task::Heartbeat, Task::Heartbeat, Task::GiveUp]);
        assert!(tasks[1].1 >= ms(15_000) && tasks[3].1 <= ms(24_000), "{tasks:?}");
    }

    #[test]
    fn one_store_that_is_lost_is_no_dead_log() {
        let start = Instant::now();
        let mut pace = Pace::new(Intervals::REAL, 0, start);
        run(&mut pace, start, start + ms(20_000));
        pace.line_received(start + ms(20_500));
        let tasks = run(&mut pace, start + ms(20_500), start + ms(35_000));
        assert_eq!(tasks, [(Task::CountDropped, ms(500))]);
    }

    #[test]
    fn losses_are_asked_for_each_second_while_lines_come_and_once_after_the_last() {
        let start = Instant::now();
        let mut pace = Pace::new(Intervals::REAL, 0, start);
        run(&mut pace, start, start);
        let mut counts = 0;
        for tenth in 0..50 {
            let now = start + ms(100 * tenth);
            pace.line_received(now);
            counts += run(&mut pace, now, now).len();
        }
        assert_eq!(counts, 4);
        let tasks = run(&mut pace, start + ms(4_900), start + ms(10_000));
        assert_eq!(tasks, [(Task::CountDropped, ms(500))]);
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
            assert!(pace.resynced());
            pace.line_received(ended);
            pace.counted(7, jitter);
            assert_eq!(pace.take_missed(false), Some(7));
            let lossy = ended + ms(u.int_in_range(0..=60_000)?);
            pace.lost(u.int_in_range(1..=9)?, 0.0);
            assert_eq!(pace.take_missed(false), None);
            pace.line_received(lossy);
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
        assert!(!pace.resynced());
        let tasks = run(&mut pace, start, start + ms(12_000));
        assert_eq!(tasks.last().map(|last| last.0), Some(Task::List));
        assert!(pace.take_missed(true).is_none() && pace.resynced());
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
