//! The hook: which events it gets, and that it never stops the writing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, mpsc},
};

use chrono::Utc;
use last_seen::{Error, Recorder, RecorderEvent, Settings, Tracker};

use super::by_hand;
use last_seen_tests::{Memcached, ms, secs, within};

#[test]
fn the_hook_is_told_in_the_order_of_each_users_calls() {
    let (events, told) = mpsc::channel();
    let tracker = by_hand(Settings::default().with_servers(["memory:"]));
    let recorder = Recorder::with_hook(tracker.clone(), move |batch| {
        events.send(batch.to_vec()).unwrap();
    });
    recorder.seen("alice");
    recorder.seen("bob");
    tracker.sign_out("alice").unwrap();
    recorder.seen("alice");
    tracker.forget("carol").unwrap();
    recorder.flush().unwrap();
    tracker.sign_out("alice").unwrap();
    recorder.close().unwrap();
    let mut of: HashMap<String, Vec<&str>> = HashMap::new();
    for event in told.iter().flatten() {
        let (user, what) = match event {
            RecorderEvent::Seen { user, at } => {
                assert!((Utc::now() - at).num_seconds() < 60);
                (user, "seen")
            }
            RecorderEvent::SignedOut { user, at, last_seen } => {
                assert!((0..60).contains(&(Utc::now() - at).num_seconds()));
                assert_eq!((at - last_seen).num_seconds(), 305);
                (user, "signed out")
            }
            RecorderEvent::Forgotten { user, at } => {
                assert!((0..60).contains(&(Utc::now() - at).num_seconds()));
                (user, "forgotten")
            }
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
        Tracker::new(memcached.settings().with_flush_interval(ms(10)).with_recorder_capacity(1_000)).unwrap();
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
fn closing_tells_of_a_hook_that_does_not_end() {
    let (hold, held) = mpsc::channel::<()>();
    let recorder = Recorder::with_hook(Tracker::in_memory(), move |_| {
        let _ = held.recv();
    });
    recorder.seen("alice");
    // So does a second call, and nobody else waits for the hook.
    for _ in 0..2 {
        let error = within(secs(3), || recorder.close().unwrap_err());
        assert!(error.to_string().ends_with("the hook has not had all its events yet"), "{error:?}");
        assert!(matches!(within(secs(1), || recorder.flush()), Err(Error::Closed)));
    }
    drop(hold);
    within(secs(2), || recorder.close().unwrap());
}

#[test]
fn closing_waits_for_the_hook_when_the_last_write_has_failed_too() {
    let (calls, called) = mpsc::channel();
    let tracker = by_hand(Settings::default().with_servers(["127.0.0.1:1"]));
    let recorder = Recorder::with_hook(tracker.clone(), move |events| {
        std::thread::sleep(ms(300));
        calls.send(events.len()).unwrap();
    });
    recorder.seen("alice");
    tracker.sign_out("bob").unwrap_err();
    recorder.close().unwrap_err();
    assert_eq!(called.try_recv(), Ok(1), "the sign-out");
}
