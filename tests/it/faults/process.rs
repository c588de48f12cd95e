//! What happens to the process itself: it forks, or it is suspended.

use std::{
    process::Command,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use fork::Fork;
use last_seen::Tracker;

use super::{filled, time_of, until_circuit_open};
use last_seen_tests::{Memcached, alone, eventually, ms, soak};

/// Reads these users over and over until then; says how many answers were right, and how many were another user's. That
/// nobody was found may be the answer to what the other process asked: it names no key.
fn reads(tracker: &Tracker, users: std::ops::Range<i64>, until: Instant) -> (usize, usize) {
    let (mut right, mut wrong) = (0, 0);
    let mut count = |at: Option<DateTime<Utc>>, user| match at {
        Some(at) if at == time_of(user) => right += 1,
        Some(_) => wrong += 1,
        None => {}
    };
    for user in users.cycle() {
        if Instant::now() > until {
            break;
        }
        if let Ok(at) = tracker.last_seen(user) {
            count(at, user);
        }
        let page = [user, user + USERS / 2];
        for (presence, user) in tracker.presences(page).iter().zip(page) {
            if let Ok(presence) = presence {
                count(presence.last_seen, user);
            }
        }
    }
    (right, wrong)
}

const USERS: i64 = 1_000;

/// Four threads read, each half of the users from another place on.
fn reads_of_four_threads(tracker: &Tracker) -> (usize, usize) {
    let until = Instant::now() + ms(if soak() { 10_000 } else { 1_500 });
    thread::scope(|scope| {
        let threads =
            [0, 100, 200, 300].map(|from| scope.spawn(move || reads(tracker, from..USERS / 2, until)));
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .fold((0, 0), |(right, wrong), one| (right + one.0, wrong + one.1))
    })
}

#[test]
fn a_child_that_uses_the_tracker_of_its_parent_never_gets_another_users_answer() {
    alone(&[], || {
        let memcached = Memcached::start();
        filled(&memcached, USERS);
        let tracker = memcached.tracker();
        // Four connections, which both will use.
        let together = Barrier::new(4);
        thread::scope(|scope| {
            for user in 0..4 {
                let (tracker, together) = (&tracker, &together);
                scope.spawn(move || {
                    together.wait();
                    (0..50).for_each(|_| assert_eq!(tracker.last_seen(user).unwrap(), Some(time_of(user))));
                });
            }
        });
        match fork::fork().unwrap() {
            Fork::Child => {
                let (_, wrong) = reads_of_four_threads(&tracker);
                std::process::exit(i32::from(wrong > 0));
            }
            Fork::Parent(child) => {
                let (right, wrong) = reads_of_four_threads(&tracker);
                println!("{right} right answers, {wrong} of another user");
                assert_eq!(wrong, 0);
                assert_eq!(fork::waitpid(child).unwrap(), 0, "the child got answers of another user");
                // Alone again, it gets all of them.
                eventually(|| (0..8).all(|user| tracker.last_seen(user).is_ok()).then_some(()));
            }
        }
    });
}

#[test]
fn the_next_call_after_a_suspension_is_right() {
    alone(&[], || {
        let memcached = Memcached::start();
        filled(&memcached, 8);
        let tracker = memcached.tracker();
        let pause = if soak() { 65 } else { 1 };
        let script = format!("sleep 0.2; kill -STOP $PPID; sleep {pause}; kill -CONT $PPID");
        let mut helper = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        let (mut before, mut suspended) = (Instant::now(), None);
        let deadline = Instant::now() + Duration::from_secs(pause + 20);
        for user in (0..8).cycle() {
            let answer = tracker.last_seen(user);
            // The call under way may have run out of time.
            if let Ok(at) = answer {
                assert_eq!(at, Some(time_of(user)));
            }
            let took = before.elapsed();
            if took > ms(700) {
                suspended = Some(took);
                break;
            }
            assert!(Instant::now() < deadline, "never suspended");
            before = Instant::now();
        }
        assert!(suspended.is_some_and(|took| took >= Duration::from_secs(pause) - ms(100)), "{suspended:?}");
        for user in 0..8 {
            assert_eq!(tracker.last_seen(user).unwrap(), Some(time_of(user)), "after {suspended:?}");
        }
        assert!(helper.wait().unwrap().success());
    });
}

#[test]
fn a_suspension_while_the_circuit_is_open_does_not_keep_it_open() {
    alone(&[], || {
        let mut memcached = Memcached::start();
        // The default timeout, so that the outage is a short one.
        let tracker = Tracker::connect(&memcached.address()).unwrap();
        memcached.kill();
        until_circuit_open(&tracker);
        let script = "kill -STOP $PPID; sleep 1; kill -CONT $PPID";
        let mut helper = Command::new("sh").args(["-c", script]).spawn().unwrap();
        assert!(helper.wait().unwrap().success());
        memcached.restart();
        let healed = Instant::now();
        eventually(|| {
            thread::sleep(ms(5));
            tracker.last_seen(0).ok()
        });
        assert!(healed.elapsed() < Duration::from_secs(2));
    });
}
