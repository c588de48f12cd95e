//! `restore`: the newest time of a user wins.

use std::thread;

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::{Recorder, Tracker};
use last_seen_tests::{Memcached, ms, soak};

fn ago(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(Utc::now().timestamp() - seconds, 0).unwrap()
}

/// In one call and in one for each, the times in every order.
#[track_caller]
fn the_newest_wins(memcached: &Memcached) {
    let (tracker, times) = (memcached.tracker(), [ago(30), ago(20), ago(10)]);
    for (nth, order) in
        [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]].into_iter().enumerate()
    {
        let user = format!("together-{nth}");
        let restored = tracker.restore(order.map(|which| (&user, times[which])));
        assert_eq!((restored.written + restored.skipped, restored.failed), (3, 0));
        assert_eq!(tracker.last_seen(&user).unwrap(), Some(times[2]), "{order:?}");
        let user = format!("apart-{nth}");
        for which in order {
            assert_eq!(tracker.restore([(&user, times[which])]).failed, 0);
        }
        assert_eq!(tracker.last_seen(&user).unwrap(), Some(times[2]), "{order:?}");
        // Again it is all there.
        assert_eq!(tracker.restore(order.map(|which| (&user, times[which]))).skipped, 3);
    }
}

#[test]
fn the_newest_of_several_times_wins_in_whatever_order_they_come() {
    the_newest_wins(&Memcached::start());
    the_newest_wins(&Memcached::start_with(&["-C"]));
}

#[test]
fn a_time_before_1970_or_in_the_future_beyond_what_clocks_may_differ_by_fails() {
    let tracker = Tracker::in_memory();
    let before = tracker.restore([("alice", DateTime::UNIX_EPOCH - TimeDelta::seconds(1))]);
    assert_eq!((before.skipped, before.failed), (0, 1));
    let restored = tracker.restore([("alice", ago(-3)), ("bob", ago(-7)), ("carol", ago(-86_400))]);
    assert_eq!((restored.written, restored.failed), (1, 2));
    assert!(tracker.online("alice").unwrap() && tracker.last_seen("bob").unwrap().is_none());
}

#[test]
fn who_signed_out_or_was_forgotten_since_does_not_come_back() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    for user in ["alice", "bob"] {
        tracker.seen(user).unwrap();
    }
    tracker.sign_out("alice").unwrap();
    tracker.forget("bob").unwrap();
    let restored = memcached.tracker().restore([("alice", ago(1)), ("bob", ago(1))]);
    assert_eq!((restored.written, restored.skipped), (0, 2));
    assert!(!tracker.online("alice").unwrap() && tracker.last_seen("bob").unwrap().is_none());
}

#[test]
fn nothing_that_is_newer_is_overwritten_while_others_write() {
    const USERS: i64 = 50;
    let memcached = Memcached::start();
    let recorder = Recorder::new(Tracker::new(memcached.settings().with_flush_interval(ms(10))).unwrap());
    let (began, rounds) = (ago(0), if soak() { 2_000 } else { 100 });
    let stored = |tracker: &Tracker, user: i64| tracker.last_seen(user).unwrap();
    thread::scope(|scope| {
        for copy in 0..2 {
            let memcached = &memcached;
            scope.spawn(move || {
                let tracker = memcached.tracker();
                for round in 0..rounds {
                    // Times of before, in no order.
                    let older = |user| began - TimeDelta::seconds((user * 7 + round * 13 + copy) % 97 + 1);
                    let restored = tracker.restore((0..USERS).map(|user| (user, older(user))));
                    assert_eq!(restored.failed, 0);
                }
            });
        }
        for half in 0..2 {
            let (memcached, recorder) = (&memcached, &recorder);
            scope.spawn(move || {
                let tracker = memcached.tracker();
                for round in 0..rounds {
                    for user in (half * USERS / 2)..((half + 1) * USERS / 2) {
                        if (user + round) % 3 == 0 {
                            recorder.seen(user);
                            continue;
                        }
                        let now = Utc::now().timestamp();
                        tracker.seen(user).unwrap();
                        assert!(stored(&tracker, user).unwrap().timestamp() >= now);
                    }
                }
            });
        }
    });
    recorder.close().unwrap();
    assert!((0..USERS).all(|user| stored(&memcached.tracker(), user) >= Some(began)));
}
