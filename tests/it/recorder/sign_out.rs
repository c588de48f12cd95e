//! No sighting undoes a sign-out that came after it.

use std::sync::Mutex;

use last_seen::{Format, Recorder, Tracker};

use super::{a_tick_later, adds_up, by_hand};
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
    assert!(tracker.sign_out("carol").unwrap(), "of which an offline record is kept");
    recorder.flush().unwrap();
    assert!(tracker.last_seen("carol").unwrap().is_some() && !tracker.online("carol").unwrap());
    assert_eq!(tracker.last_seen("bob").unwrap(), None);

    let stats = recorder.stats();
    adds_up(stats);
    assert_eq!((stats.cancelled, stats.queued), (3, 0));

    recorder.seen("alice");
    recorder.seen("bob");
    recorder.flush().unwrap();
    assert!(tracker.online("alice").unwrap() && tracker.online("bob").unwrap());
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

/// What one recorder has queued when a tracker without one signs the users out.
fn queued_elsewhere(settings: last_seen::Settings) {
    let (here, elsewhere) = (Tracker::new(settings.clone()).unwrap(), by_hand(settings));
    let recorder = Recorder::new(elsewhere.clone());
    for user in ["alice", "bob", "carol"] {
        here.seen(user).unwrap();
    }
    ["alice", "bob", "carol", "dave", "erin"].iter().for_each(|user| recorder.seen(user));
    a_tick_later();
    here.sign_out("alice").unwrap();
    here.forget("bob").unwrap();
    here.sign_out("dave").unwrap();
    here.forget("erin").unwrap();
    recorder.flush().unwrap();
    for tracker in [&here, &elsewhere] {
        let state = |user| {
            let presence = tracker.presence(user).unwrap();
            (presence.last_seen.is_some(), presence.online)
        };
        let states = ["alice", "bob", "carol", "dave", "erin"].map(state);
        assert_eq!(states, [(true, false), (false, false), (true, true), (true, false), (false, false)]);
    }
    // Alice and Erin sign in again.
    recorder.seen("alice");
    recorder.seen("erin");
    recorder.flush().unwrap();
    assert!(here.online("alice").unwrap() && here.online("erin").unwrap());
    adds_up(recorder.stats());
}

#[test]
fn what_another_process_has_queued_undoes_no_sign_out_and_no_forget() {
    let memcached = Memcached::start();
    queued_elsewhere(memcached.settings());
    queued_elsewhere(memcached.settings().with_key_prefix("django_").with_format(Format::Django));
    queued_elsewhere(memcached.settings().with_key_prefix("aware_").with_format(Format::DjangoAware));
}

#[test]
fn nor_does_it_on_a_server_without_cas() {
    queued_elsewhere(Memcached::start_with(&["-C"]).settings());
}

#[test]
fn nor_does_it_over_two_servers() {
    let servers = [Memcached::start(), Memcached::start()];
    queued_elsewhere(servers[0].settings().with_servers(servers.iter().map(Memcached::address)));
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

#[test]
fn the_recorder_makes_up_for_a_sign_out_and_a_forget_that_did_not_get_through() {
    let memcached = Memcached::start();
    let settings = memcached.settings().with_flush_interval(ms(50)).with_server_timeout(ms(200));
    let (tracker, elsewhere) = (Tracker::new(settings.clone()).unwrap(), memcached.tracker());
    let recorder = Recorder::new(tracker.clone());
    ["alice", "bob", "carol"].iter().for_each(|user| elsewhere.seen(user).unwrap());
    memcached.suspend();
    tracker.sign_out("alice").unwrap_err();
    tracker.forget("bob").unwrap_err();
    tracker.sign_out("carol").unwrap_err();
    memcached.resume();
    eventually(|| (!elsewhere.online("alice").ok()?).then_some(()));
    eventually(|| elsewhere.last_seen("bob").ok()?.is_none().then_some(()));
    assert!(elsewhere.last_seen("alice").unwrap().is_some());
    // Who signs in again stays.
    recorder.seen("carol");
    recorder.flush().unwrap();
    assert!(elsewhere.online("carol").unwrap());
}
