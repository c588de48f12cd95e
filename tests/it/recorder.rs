//! The recorder: what it notes is written, once, and never against a sign-out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::{Error, Event, Recorder, RecorderStats, Settings, Tracker};

use crate::support::{Memcached, eventually, ms, secs, within};

/// A flush only when it is asked for.
fn by_hand(settings: Settings) -> Tracker {
    Tracker::new(settings.with_flush_every(secs(60))).unwrap()
}

#[track_caller]
fn adds_up(stats: RecorderStats) {
    let sum = stats.coalesced + stats.written + stats.dropped + stats.struck + stats.pending;
    assert_eq!(stats.seen, sum, "{stats:?}");
}

#[test]
fn what_is_seen_is_written_by_itself() {
    let memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_flush_every(ms(20))).unwrap();
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
    assert_eq!((stats.seen, stats.coalesced, stats.written, stats.pending), (5_000, 2_500, 2_500, 0));
    recorder.flush().unwrap();
    assert_eq!(memcached.stat("cmd_set"), 2_500);
}

#[test]
fn a_recorder_works_in_process_too() {
    let tracker = by_hand(Settings::default().with_servers(["memory:"]));
    let recorder = Recorder::new(tracker.clone());
    recorder.seen("alice");
    assert!(!tracker.online("alice").unwrap());
    recorder.flush().unwrap();
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
    assert_eq!((stats.seen, stats.invalid), (1, 3));
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
    assert_eq!((stats.pending, stats.coalesced, stats.dropped), (100, 100, 100));
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
    assert_eq!((stats.pending, stats.written), (2_000, 0));
    assert!(stats.failed_writes > 0);
    recorder.seen(7);
    memcached.restart();
    eventually(|| recorder.flush().ok());
    assert_eq!(memcached.stat("curr_items"), 2_000);
    let stats = recorder.stats();
    adds_up(stats);
    assert_eq!((stats.pending, stats.written, stats.coalesced), (0, 2_000, 1));
}

#[test]
fn seen_never_waits_for_a_silent_server() {
    let memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_flush_every(ms(10))).unwrap();
    let recorder = Recorder::new(tracker);
    recorder.seen("alice");
    recorder.flush().unwrap();
    memcached.suspend();
    let deadline = Instant::now() + ms(1_500);
    let (mut slow, mut calls) = (0, 0);
    while Instant::now() < deadline {
        let started = Instant::now();
        recorder.seen(calls % 1_000);
        // The machine may stop any thread for a moment, but not often.
        slow += u32::from(started.elapsed() > ms(2));
        calls += 1;
    }
    assert!(slow <= calls / 10_000 + 3, "{slow} of {calls}");
    memcached.resume();
    eventually(|| recorder.flush().ok());
    assert_eq!(recorder.stats().pending, 0);
}

#[test]
fn eight_threads_lose_nobody() {
    let memcached = Memcached::start_with(&["-m", "128"]);
    let tracker = Tracker::new(memcached.settings().with_flush_every(ms(50))).unwrap();
    let recorder = Recorder::new(tracker.clone());
    let calls = if std::env::var_os("LAST_SEEN_SOAK").is_some() { 1_000_000 } else { 100_000 };
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
    assert_eq!((stats.seen, stats.pending, stats.dropped), (8 * calls as u64, 0, 0));
    for (user, (presence, newest)) in tracker.presences(0..10_000).into_iter().zip(last).enumerate() {
        let newest = newest.into_inner().unwrap();
        let seen = presence.unwrap().last_seen.map_or(0, |at| at.timestamp());
        assert!(seen >= newest - 1, "user {user}: {seen} < {newest} - 1");
    }
}

#[test]
fn the_request_that_signs_out_is_recorded_and_the_user_is_offline() {
    let memcached = Memcached::start();
    let tracker = by_hand(memcached.settings());
    let recorder = Recorder::new(tracker.clone());
    recorder.seen("alice");
    recorder.flush().unwrap();
    recorder.seen("alice");
    tracker.signed_out("alice").unwrap();
    recorder.flush().unwrap();
    assert!(!tracker.online("alice").unwrap());
    assert!(tracker.last_seen("alice").unwrap().is_some());

    recorder.seen("bob");
    assert!(!tracker.forget("bob").unwrap());
    recorder.flush().unwrap();
    assert_eq!(tracker.last_seen("bob").unwrap(), None);

    let stats = recorder.stats();
    adds_up(stats);
    assert_eq!((stats.struck, stats.pending), (2, 0));

    recorder.seen("alice");
    recorder.seen("bob");
    recorder.flush().unwrap();
    assert!(tracker.online("alice").unwrap() && tracker.online("bob").unwrap());
}

/// Random orders on several threads, each user's calls one after the other.
#[test]
fn the_last_call_of_each_user_decides() {
    let memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_flush_every(ms(10))).unwrap();
    let recorder = Recorder::new(tracker.clone());
    let rounds = if std::env::var_os("LAST_SEEN_SOAK").is_some() { 400 } else { 40 };
    let last: Vec<Mutex<char>> = (0..200).map(|_| Mutex::new(' ')).collect();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (tracker, recorder, last) = (&tracker, &recorder, &last);
            scope.spawn(move || {
                let mut state = 0x9e37_79b9_7f4a_7c15 ^ (thread + 1);
                for _ in 0..rounds * 200 {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    let user = (state >> 20) as usize % 200;
                    let mut last = last[user].lock().unwrap();
                    match (state >> 40) % 8 {
                        0..4 => {
                            recorder.seen(user);
                            *last = 's';
                        }
                        4 => {
                            tracker.seen(user).unwrap();
                            *last = 's';
                        }
                        5..7 => {
                            tracker.signed_out(user).unwrap();
                            *last = if *last == 'f' || *last == ' ' { *last } else { 'o' };
                        }
                        _ => {
                            tracker.forget(user).unwrap();
                            *last = 'f';
                        }
                    }
                }
            });
        }
    });
    let state = |user: usize| {
        let presence = tracker.presence(user).unwrap();
        match (presence.last_seen.is_some(), presence.online) {
            (_, true) => 's',
            (true, false) => 'o',
            (false, _) => 'f',
        }
    };
    recorder.flush().unwrap();
    for _ in 0..3 {
        for (user, last) in last.iter().enumerate() {
            let last = *last.lock().unwrap();
            let now = state(user);
            // A user who signs out before the first flush may have had no record to keep.
            let right = now == last || last == ' ' && now == 'f' || last == 'o' && now == 'f';
            assert!(right, "user {user}: {last:?}, but {now:?}");
        }
        recorder.flush().unwrap();
        std::thread::sleep(ms(15));
    }
    adds_up(recorder.stats());
}

/// What another process does that noted a sighting before, and writes it after.
fn write_raw(memcached: &Memcached, user: &str, at: DateTime<Utc>) {
    memcached.set(&format!("seen_{user}"), 0, at.timestamp().to_string().as_bytes());
}

#[test]
fn a_sighting_that_another_process_had_pending_is_undone_within_three_flushes() {
    let memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_flush_every(ms(100))).unwrap();
    let recorder = Recorder::new(tracker.clone());
    let before = Utc::now();
    for user in ["alice", "bob", "carol", "dave"] {
        tracker.seen(user).unwrap();
    }
    tracker.signed_out("alice").unwrap();
    tracker.forget("bob").unwrap();
    tracker.signed_out("carol").unwrap();
    let signed_out = Instant::now();
    write_raw(&memcached, "alice", before);
    write_raw(&memcached, "bob", before);
    // Carol signed in again elsewhere, where the clock is two seconds on.
    write_raw(&memcached, "carol", before + TimeDelta::seconds(2));
    assert!(tracker.online("alice").unwrap());
    eventually(|| (!tracker.online("alice").unwrap()).then_some(()));
    eventually(|| tracker.last_seen("bob").unwrap().is_none().then_some(()));
    assert!(signed_out.elapsed() < ms(600), "{:?}", signed_out.elapsed());
    eventually(|| (signed_out.elapsed() > ms(600)).then_some(()));
    assert!(tracker.online("carol").unwrap() && tracker.online("dave").unwrap());
    drop(recorder);
}

#[test]
fn a_server_without_cas_is_no_reason_to_leave_it() {
    let memcached = Memcached::start_with(&["-C"]);
    let tracker = Tracker::new(memcached.settings().with_flush_every(ms(50))).unwrap();
    let recorder = Recorder::new(tracker.clone());
    let before = Utc::now();
    tracker.seen("alice").unwrap();
    tracker.signed_out("alice").unwrap();
    write_raw(&memcached, "alice", before);
    eventually(|| (!tracker.online("alice").unwrap()).then_some(()));
    drop(recorder);
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
    write_raw(&memcached, "alice", noted + TimeDelta::seconds(60));
    write_raw(&memcached, "bob", noted - TimeDelta::seconds(60));
    eventually(|| recorder.flush().ok());
    let seen = |user| tracker.last_seen(user).unwrap().unwrap().timestamp();
    assert_eq!(seen("alice"), noted.timestamp() + 60);
    assert!((seen("bob") - noted.timestamp()).abs() <= 1);
    assert!((seen("carol") - noted.timestamp()).abs() <= 1);
    adds_up(recorder.stats());
}

#[test]
fn a_sign_out_during_an_outage_holds_against_what_was_pending() {
    let mut memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_flush_every(ms(50))).unwrap();
    let recorder = Recorder::new(tracker.clone());
    tracker.seen("alice").unwrap();
    tracker.seen("bob").unwrap();
    memcached.kill();
    recorder.seen("alice");
    recorder.seen("bob");
    tracker.signed_out("alice").unwrap_err();
    memcached.restart();
    eventually(|| tracker.online("bob").ok()?.then_some(()));
    assert!(!tracker.online("alice").unwrap());
    adds_up(recorder.stats());
}

#[test]
fn the_hook_is_told_in_the_order_of_each_users_calls() {
    let (events, told) = mpsc::channel();
    let tracker = by_hand(Settings::default().with_servers(["memory:"]));
    let recorder = Recorder::with_hook(tracker.clone(), move |batch| {
        events.send(batch.to_vec()).unwrap();
    });
    recorder.seen("alice");
    recorder.seen("bob");
    tracker.signed_out("alice").unwrap();
    recorder.seen("alice");
    tracker.forget("carol").unwrap();
    recorder.flush().unwrap();
    tracker.signed_out("alice").unwrap();
    recorder.close().unwrap();
    let mut of: HashMap<String, Vec<&str>> = HashMap::new();
    for event in told.iter().flatten() {
        let (user, what) = match event {
            Event::Seen { user, at } => {
                assert!((Utc::now() - at).num_seconds() < 60);
                (user, "seen")
            }
            Event::SignedOut { user, at } => {
                assert!((305..365).contains(&(Utc::now() - at).num_seconds()));
                (user, "signed out")
            }
            Event::Forgotten { user } => (user, "forgotten"),
            other => panic!("{other:?}"),
        };
        of.entry(user).or_default().push(what);
    }
    assert_eq!(of["alice"], ["signed out", "seen", "signed out"]);
    assert_eq!(of["bob"], ["seen"]);
    assert_eq!(of["carol"], ["forgotten"]);
}

#[test]
fn a_hook_that_panics_or_is_slow_never_stops_the_writing() {
    let memcached = Memcached::start();
    let tracker =
        Tracker::new(memcached.settings().with_flush_every(ms(10)).with_recorder_capacity(1_000)).unwrap();
    let (hold, held) = mpsc::channel::<()>();
    let calls = Arc::new(Mutex::new(0));
    let counted = calls.clone();
    let recorder = Recorder::with_hook(tracker.clone(), move |_| {
        *counted.lock().unwrap() += 1;
        if *counted.lock().unwrap() == 1 {
            panic!("on purpose");
        }
        let _ = held.recv_timeout(secs(20));
    });
    for n in 0..50 {
        recorder.seen(n);
        within(secs(2), || recorder.flush().unwrap());
        assert!(tracker.online(n).unwrap());
    }
    drop(hold);
    within(secs(2), || recorder.close().unwrap());
    assert!(*calls.lock().unwrap() > 1);
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
    assert!(matches!(other.flush(), Err(Error::Unavailable { .. })));
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
    assert!(!tracker.online("alice").unwrap());
    within(secs(2), || drop(other));
    assert!(tracker.online("alice").unwrap());
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
    shared::<Event>();
    shared::<Error>();
}
