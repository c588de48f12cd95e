//! What happens to the process itself: it forks, or it is suspended.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use fork::Fork;
use last_seen::Tracker;

use super::{filled, nowhere, time_of, until_at_rest};
use last_seen_tests::{Memcached, alone, eventually, ms, soak};

/// Reads these users over and over; says how many answers were not theirs.
fn misread(tracker: &Tracker, users: std::ops::Range<i64>) -> usize {
    let rounds = (0..500).flat_map(|_| users.clone());
    rounds.filter(|&user| tracker.last_seen(user).ok().flatten() != Some(time_of(user))).count()
}

#[test]
fn parent_and_child_of_a_fork_get_their_own_answers() {
    alone(&[], || {
        let memcached = Memcached::start();
        filled(&memcached, 8);
        let tracker = memcached.tracker();
        // The connection that both would use.
        assert_eq!(tracker.last_seen(0).unwrap(), Some(time_of(0)));
        match fork::fork().unwrap() {
            Fork::Child => {
                let wrong = misread(&tracker, 0..4);
                std::process::exit(i32::from(wrong > 0));
            }
            Fork::Parent(child) => {
                assert_eq!(misread(&tracker, 4..8), 0);
                assert_eq!(fork::waitpid(child).unwrap(), 0, "the child got other answers");
            }
        }
    });
}

#[test]
fn the_child_of_a_fork_asks_a_server_that_its_parent_let_rest() {
    alone(&[], || {
        let mut memcached = Memcached::start();
        let tracker = memcached.tracker();
        let lost = Tracker::connect(&nowhere()).unwrap();
        memcached.kill();
        until_at_rest(&tracker);
        until_at_rest(&lost);
        memcached.restart();
        match fork::fork().unwrap() {
            Fork::Child => {
                // The probe is a thread of the parent's.
                let right = tracker.last_seen(0).is_ok_and(|at| at.is_none());
                let rests = until_at_rest(&lost).contains("at rest");
                std::process::exit(i32::from(!(right && rests)));
            }
            Fork::Parent(child) => assert_eq!(fork::waitpid(child).unwrap(), 0),
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
fn a_suspension_while_a_server_rests_does_not_keep_it_so() {
    alone(&[], || {
        let mut memcached = Memcached::start();
        let tracker = memcached.tracker();
        memcached.kill();
        until_at_rest(&tracker);
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
