//! The recorder: what it notes is written, once, and never against a sign-out.

mod guard;
mod hook;
mod outage;
mod own;
mod processes;
mod sign_out;

use std::{sync::Mutex, time::Duration};

use chrono::{DateTime, Utc};
use last_seen::{Error, Recorder, RecorderEvent, RecorderStats, Settings, Tracker};

use last_seen_tests::{Memcached, events, eventually, ms, secs, soak, within};

/// A flush only when it is asked for.
fn by_hand(settings: Settings) -> Tracker {
    Tracker::new(settings.with_flush_interval(secs(60))).unwrap()
}

#[track_caller]
fn adds_up(stats: RecorderStats) {
    let sum = stats.coalesced + stats.written + stats.dropped + stats.cancelled + stats.queued;
    assert_eq!(stats.seen, sum, "{stats:?}");
}

/// Between programs, what is of one tick of 16 microseconds has no order.
fn a_tick_later() {
    let noted = Utc::now().timestamp_micros();
    while Utc::now().timestamp_micros() - noted <= 16 {}
}

/// What another process does that noted a sighting before, and writes it after.
fn write_raw(memcached: &Memcached, user: &str, at: DateTime<Utc>) {
    memcached.set(&format!("seen_{user}"), 0, at.timestamp().to_string().as_bytes());
}

#[test]
fn what_is_seen_is_written_by_itself() {
    let memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_flush_interval(ms(20))).unwrap();
    let recorder = Recorder::new(tracker.clone());
    recorder.seen("alice");
    eventually(|| tracker.online("alice").unwrap().then_some(()));
    recorder.seen("bob");
    eventually(|| tracker.online("bob").unwrap().then_some(()));
}

#[test]
fn a_flush_returns_when_everything_is_in_memcached() {
    let memcached = Memcached::start();
    let tracker = by_hand(memcached.settings());
    let recorder = Recorder::new(tracker.clone());
    for n in 0..5_000 {
        recorder.seen(n % 2_500);
    }
    recorder.flush().unwrap();
    assert_eq!(memcached.stat("cmd_set"), 2_500);
    assert!(tracker.presences(0..2_500).into_iter().all(|one| one.unwrap().online));
    let stats = recorder.stats();
    adds_up(stats);
    assert_eq!((stats.seen, stats.coalesced, stats.written, stats.queued), (5_000, 2_500, 2_500, 0));
    recorder.flush().unwrap();
    assert_eq!(memcached.stat("cmd_set"), 2_500);
}

#[test]
fn a_recorder_works_in_process_too() {
    let tracker = by_hand(Settings::default().with_servers(["memory:"]));
    let recorder = Recorder::new(tracker.clone());
    recorder.seen("alice");
    assert!(tracker.inspect("alice").unwrap().stored.is_none());
    assert!(tracker.online("alice").unwrap(), "seen in this program, and so known in it");
    recorder.flush().unwrap();
    assert!(tracker.inspect("alice").unwrap().stored.is_some());
    assert!(tracker.online("alice").unwrap());
}

#[test]
fn a_user_that_cannot_be_a_key_is_counted() {
    let recorder = Recorder::new(Tracker::in_memory());
    for user in ["Alice Smith", "", "a\r\nflush_all"] {
        recorder.seen(user);
    }
    recorder.seen("alice");
    let stats = recorder.stats();
    assert_eq!((stats.seen, stats.invalid_users), (1, 3));
}

#[test]
fn invalid_users_are_reported_once_a_minute() {
    events::listen();
    let recorder = Recorder::new(Tracker::in_memory());
    for n in 0..1_000 {
        recorder.seen(format!("no key {n}, reported once"));
    }
    let said = events::said("reported once");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("WARN "), "{said:?}");
    assert_eq!(recorder.stats().invalid_users, 1_000);
}

#[test]
fn the_newest_comers_beyond_the_capacity_are_dropped_and_counted() {
    let memcached = Memcached::start();
    let tracker = by_hand(memcached.settings().with_recorder_capacity(100));
    let recorder = Recorder::new(tracker.clone());
    for n in 0..150 {
        recorder.seen(n);
        recorder.seen(n);
    }
    let stats = recorder.stats();
    adds_up(stats);
    assert_eq!((stats.queued, stats.coalesced, stats.dropped), (100, 100, 100));
    recorder.flush().unwrap();
    let there = |range: std::ops::Range<i32>| {
        tracker.presences(range).into_iter().filter(|one| one.as_ref().unwrap().online).count()
    };
    assert_eq!((there(0..100), there(100..150)), (100, 0));
    recorder.seen(149);
    recorder.flush().unwrap();
    assert_eq!(there(149..150), 1);
    adds_up(recorder.stats());
}

#[test]
fn eight_threads_lose_nobody() {
    let memcached = Memcached::start_with(&["-m", "128"]);
    let tracker = Tracker::new(memcached.settings().with_flush_interval(ms(50))).unwrap();
    let recorder = Recorder::new(tracker.clone());
    let calls = if soak() { 1_000_000 } else { 100_000 };
    let last: Vec<Mutex<i64>> = (0..10_000).map(|_| Mutex::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..8_usize {
            let (recorder, last) = (&recorder, &last);
            scope.spawn(move || {
                for call in 0..calls {
                    let user = (thread * 7_919 + call * 31) % 10_000;
                    let mut newest = last[user].lock().unwrap();
                    recorder.seen(user);
                    *newest = Utc::now().timestamp();
                    if call % 10_000 == 0 {
                        adds_up(recorder.stats());
                    }
                }
            });
        }
    });
    recorder.flush().unwrap();
    let stats = recorder.stats();
    adds_up(stats);
    assert_eq!((stats.seen, stats.queued, stats.dropped), (8 * calls as u64, 0, 0));
    for (user, (presence, newest)) in tracker.presences(0..10_000).into_iter().zip(last).enumerate() {
        let newest = newest.into_inner().unwrap();
        let seen = presence.unwrap().last_seen.map_or(0, |at| at.timestamp());
        assert!(seen >= newest - 1, "user {user}: {seen} < {newest} - 1");
    }
}

#[test]
fn closing_writes_everything_and_ends_the_writer() {
    let memcached = Memcached::start();
    let tracker = by_hand(memcached.settings());
    let recorder = Recorder::new(tracker.clone());
    let other = recorder.clone();
    recorder.seen("alice");
    recorder.close().unwrap();
    assert!(tracker.online("alice").unwrap());
    other.seen("bob");
    assert!(matches!(other.flush(), Err(Error::Closed)));
    other.close().unwrap();
    adds_up(other.stats());
    assert_eq!(other.stats().dropped, 1);
}

#[test]
fn the_last_handle_dropped_writes_everything() {
    let memcached = Memcached::start();
    let tracker = by_hand(memcached.settings());
    let recorder = Recorder::new(tracker.clone());
    let other = recorder.clone();
    recorder.seen("alice");
    drop(recorder);
    let stored = || tracker.inspect("alice").unwrap().stored.is_some();
    assert!(!stored());
    within(secs(2), || drop(other));
    assert!(stored());
}

#[test]
fn dropping_waits_two_seconds_at_most() {
    let memcached = Memcached::start();
    let tracker = by_hand(memcached.settings().with_server_timeout(secs(10)));
    let recorder = Recorder::new(tracker);
    recorder.seen("alice");
    memcached.suspend();
    within(Duration::from_millis(2_300), || drop(recorder));
    memcached.resume();
}

#[test]
fn a_recorder_and_its_stats_can_be_shared() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Recorder>();
    shared::<Tracker>();
    shared::<RecorderStats>();
    shared::<RecorderEvent>();
    shared::<Error>();
}
