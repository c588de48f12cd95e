//! When memcached is slow or gone: seen never waits, and what is pending is kept.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use last_seen::{Error, Recorder, Tracker};

use super::{adds_up, by_hand, write_raw};
use last_seen_tests::{Memcached, Process, alone, eventually, ms, secs, soak, within};

/// Times single calls of `seen`, and beside each a moment of the same length in which nothing is done: the
/// machine may hold up any thread, and both alike.
#[derive(Debug, Default)]
struct Stopwatch {
    calls: u64,
    slow: u64,
    slow_for_nothing: u64,
    slowest: Duration,
}

impl Stopwatch {
    fn note(&mut self, recorder: &Recorder, length: Duration) {
        let until = Instant::now() + length;
        while Instant::now() < until {
            let started = Instant::now();
            recorder.seen(self.calls % 10_000);
            let took = started.elapsed();
            self.calls += 1;
            self.slow += u64::from(took > ms(2));
            self.slowest = self.slowest.max(took);
            let started = Instant::now();
            while started.elapsed() < took.min(ms(1)) {}
            self.slow_for_nothing += u64::from(started.elapsed() > ms(2));
        }
    }

    #[track_caller]
    fn check(&self) {
        assert!(self.slow <= 10 + 2 * self.slow_for_nothing + self.calls / 500_000, "{self:?}");
    }
}

#[test]
fn what_cannot_be_written_stays_pending_until_the_server_is_back() {
    let mut memcached = Memcached::start();
    let tracker = by_hand(memcached.settings().with_server_timeout(ms(50)));
    let recorder = Recorder::new(tracker.clone());
    memcached.kill();
    for n in 0..2_000 {
        recorder.seen(n);
    }
    let error = within(secs(3), || recorder.flush().unwrap_err());
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let stats = recorder.stats();
    adds_up(stats);
    assert_eq!((stats.queued, stats.written), (2_000, 0));
    assert!(stats.failed_writes > 0);
    recorder.seen(7);
    memcached.restart();
    eventually(|| recorder.flush().ok());
    assert_eq!(memcached.stat("curr_items"), 2_000);
    let stats = recorder.stats();
    adds_up(stats);
    assert_eq!((stats.queued, stats.written, stats.coalesced), (0, 2_000, 1));
}

#[test]
fn seen_never_waits_for_a_silent_server() {
    let memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_flush_interval(ms(10))).unwrap();
    let recorder = Recorder::new(tracker);
    recorder.seen("alice");
    recorder.flush().unwrap();
    memcached.suspend();
    let mut stopwatch = Stopwatch::default();
    stopwatch.note(&recorder, ms(1_500));
    stopwatch.check();
    memcached.resume();
    eventually(|| recorder.flush().ok());
    assert_eq!(recorder.stats().queued, 0);
}

#[test]
fn a_late_flush_moves_nobody_back_in_time() {
    let mut memcached = Memcached::start();
    let tracker = by_hand(memcached.settings().with_server_timeout(ms(50)));
    let recorder = Recorder::new(tracker.clone());
    memcached.kill();
    for user in ["alice", "bob", "carol"] {
        recorder.seen(user);
    }
    let noted = Utc::now();
    for _ in 0..4 {
        recorder.flush().unwrap_err();
    }
    memcached.restart();
    // Others went on meanwhile; bob is older there, and carol unknown.
    write_raw(&memcached, "alice", noted + TimeDelta::seconds(3));
    write_raw(&memcached, "bob", noted - TimeDelta::seconds(60));
    eventually(|| recorder.flush().ok());
    let seen = |user| tracker.last_seen(user).unwrap().unwrap().timestamp();
    assert_eq!(seen("alice"), noted.timestamp() + 3);
    assert!((seen("bob") - noted.timestamp()).abs() <= 1);
    assert!((seen("carol") - noted.timestamp()).abs() <= 1);
    adds_up(recorder.stats());
}

#[test]
fn an_outage_costs_no_request_and_no_memory_and_loses_nobody() {
    // A process of its own, whose memory is the recorder's.
    alone(&[], || {
        let mut memcached = Memcached::start();
        // 3,600 of the shortest intervals: as an hour of outage with the default, in fast motion.
        let (interval, phase) = if soak() { (ms(10), secs(18)) } else { (ms(100), ms(600)) };
        let settings = memcached.settings().with_flush_interval(interval).with_recorder_capacity(20_000);
        let recorder = Recorder::new(Tracker::new(settings).unwrap());
        let mut stopwatch = Stopwatch::default();
        stopwatch.note(&recorder, ms(500));
        let before = Process::now();
        // Silent, gone, and coming and going.
        memcached.suspend();
        stopwatch.note(&recorder, phase);
        memcached.resume();
        memcached.kill();
        stopwatch.note(&recorder, phase);
        memcached.restart();
        for _ in 0..4 {
            memcached.suspend();
            stopwatch.note(&recorder, phase / 4);
            memcached.resume();
            stopwatch.note(&recorder, phase / 4);
        }
        let after = Process::now();
        let told = recorder.stats();
        eventually(|| recorder.flush().ok());
        assert_eq!(memcached.stat("curr_items"), 10_000);
        adds_up(recorder.stats());
        println!("{stopwatch:?}; {before:?} before, {after:?} after; {told:?}");
        stopwatch.check();
        assert!(after.resident_kb < before.resident_kb + 8 * 1_024, "{before:?}, {after:?}");
    });
}

#[test]
fn a_process_that_was_cut_off_moves_nobody_back_in_time() {
    use last_seen_tests::{Fault, Proxy};
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };
    let memcached = Memcached::start();
    let cut_off = Arc::new(AtomicBool::new(false));
    let plan = cut_off.clone();
    let proxy = Proxy::start(&memcached.address(), move |_, _| {
        if plan.load(Ordering::Relaxed) { Fault::Swallow } else { Fault::Pass }
    });
    let here = Recorder::new(by_hand(memcached.settings()));
    let behind = by_hand(memcached.settings().with_servers([proxy.address()]));
    let there = Recorder::new(behind);
    there.seen("alice");
    there.seen("bob");
    cut_off.store(true, Ordering::Relaxed);
    for _ in 0..4 {
        there.flush().unwrap_err();
    }
    // Two seconds on, so that whole seconds tell the two apart.
    let noted = Utc::now().timestamp();
    eventually(|| (Utc::now().timestamp() > noted + 1).then_some(()));
    here.seen("alice");
    here.flush().unwrap();
    let tracker = memcached.tracker();
    let newer = tracker.last_seen("alice").unwrap();
    cut_off.store(false, Ordering::Relaxed);
    eventually(|| there.flush().ok());
    assert_eq!(there.stats().queued, 0);
    assert_eq!(tracker.last_seen("alice").unwrap(), newer);
    assert!(tracker.last_seen("bob").unwrap().unwrap() < newer.unwrap());
}
