//! No sighting undoes a sign-out that came after it.

use std::{sync::Mutex, time::Instant};

use chrono::{TimeDelta, Utc};
use last_seen::{Recorder, Tracker};

use super::{adds_up, by_hand, write_raw};
use last_seen_tests::{Memcached, eventually, ms, secs, soak};

#[test]
fn the_request_that_signs_out_is_recorded_and_the_user_is_offline() {
    let memcached = Memcached::start();
    let tracker = by_hand(memcached.settings());
    let recorder = Recorder::new(tracker.clone());
    recorder.seen("alice");
    recorder.flush().unwrap();
    recorder.seen("alice");
    tracker.sign_out("alice").unwrap();
    recorder.flush().unwrap();
    assert!(!tracker.online("alice").unwrap());
    assert!(tracker.last_seen("alice").unwrap().is_some());

    recorder.seen("bob");
    assert!(tracker.forget("bob").unwrap(), "there was a queued sighting");
    assert!(!tracker.forget("bob").unwrap());
    recorder.seen("carol");
    assert!(tracker.sign_out("carol").unwrap(), "there was a queued sighting");
    assert!(!tracker.sign_out("carol").unwrap());
    recorder.flush().unwrap();
    assert_eq!(tracker.last_seen("bob").unwrap(), None);

    let stats = recorder.stats();
    adds_up(stats);
    assert_eq!((stats.cancelled, stats.queued), (3, 0));

    recorder.seen("alice");
    recorder.seen("bob");
    recorder.flush().unwrap();
    assert!(tracker.online("alice").unwrap() && tracker.online("bob").unwrap());
}

/// As the batch does that was under way: it arrives between the two calls.
#[test]
fn a_sign_out_does_not_bring_back_who_was_forgotten() {
    let memcached = Memcached::start();
    let tracker = by_hand(memcached.settings().with_server_timeout(secs(5)));
    let recorder = Recorder::new(tracker.clone());
    let before = Utc::now();
    tracker.forget("alice").unwrap();
    write_raw(&memcached, "alice", before);
    tracker.sign_out("alice").unwrap();
    recorder.flush().unwrap();
    assert_eq!(tracker.last_seen("alice").unwrap(), None);

    recorder.seen("alice");
    tracker.sign_out("alice").unwrap();
    tracker.seen("alice").unwrap();
    tracker.sign_out("alice").unwrap();
    recorder.flush().unwrap();
    assert!(tracker.last_seen("alice").unwrap().is_some(), "who came back has a record again");
}

/// Random orders on several threads, each user's calls one after the other.
#[test]
fn the_last_call_of_each_user_decides() {
    let memcached = Memcached::start();
    let settings = memcached.settings().with_flush_interval(ms(10)).with_server_timeout(secs(5));
    let tracker = Tracker::new(settings).unwrap();
    let recorder = Recorder::new(tracker.clone());
    let rounds = if soak() { 400 } else { 40 };
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
                            tracker.sign_out(user).unwrap();
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

#[test]
fn a_sighting_that_another_process_had_pending_is_undone_within_three_flushes() {
    let memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_flush_interval(ms(100))).unwrap();
    let recorder = Recorder::new(tracker.clone());
    let before = Utc::now();
    for user in ["alice", "bob", "carol", "dave"] {
        tracker.seen(user).unwrap();
    }
    tracker.sign_out("alice").unwrap();
    tracker.forget("bob").unwrap();
    tracker.sign_out("carol").unwrap();
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
    let tracker = Tracker::new(memcached.settings().with_flush_interval(ms(50))).unwrap();
    let recorder = Recorder::new(tracker.clone());
    let before = Utc::now();
    tracker.seen("alice").unwrap();
    tracker.sign_out("alice").unwrap();
    write_raw(&memcached, "alice", before);
    eventually(|| (!tracker.online("alice").unwrap()).then_some(()));
    drop(recorder);
}

#[test]
fn a_sign_out_during_an_outage_holds_against_what_was_pending() {
    let mut memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_flush_interval(ms(50))).unwrap();
    let recorder = Recorder::new(tracker.clone());
    tracker.seen("alice").unwrap();
    tracker.seen("bob").unwrap();
    memcached.kill();
    recorder.seen("alice");
    recorder.seen("bob");
    tracker.sign_out("alice").unwrap_err();
    memcached.restart();
    eventually(|| tracker.online("bob").ok()?.then_some(()));
    assert!(!tracker.online("alice").unwrap());
    adds_up(recorder.stats());
}
