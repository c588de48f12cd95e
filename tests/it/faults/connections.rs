//! `max_connections` is one limit for all that a process does with a server, and no call waits for ever.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use last_seen::{Error, Settings, Tracker};

use super::{filled, time_of};
use last_seen_tests::{Memcached, Process, alone, ms, secs};

/// The most sockets that this process has at once until the time is over.
fn most_sockets(length: Duration) -> usize {
    let (began, mut most) = (Instant::now(), 0);
    while began.elapsed() < length {
        most = most.max(Process::now().sockets);
        thread::sleep(ms(1));
    }
    most
}

#[test]
fn threads_and_a_recorder_share_one_limit() {
    alone(&[], || shared_limit(|_, _| {}));
}

#[cfg(feature = "tokio")]
#[test]
fn threads_tasks_and_a_recorder_share_one_limit() {
    alone(&[], || {
        let runtime = last_seen_tests::runtime();
        let right = std::sync::Arc::new(AtomicUsize::new(0));
        let counted = right.clone();
        shared_limit(|tracker, ended| {
            let tracker = last_seen::AsyncTracker::from(tracker.clone());
            let tasks = (0..8).map(|task| {
                let (tracker, ended, right) = (tracker.clone(), ended.clone(), counted.clone());
                runtime.spawn(async move {
                    while !ended.load(Ordering::Relaxed) {
                        assert_eq!(tracker.last_seen(task).await.unwrap(), Some(time_of(task)));
                        right.fetch_add(1, Ordering::Relaxed);
                    }
                })
            });
            let tasks: Vec<_> = tasks.collect();
            // Ends before the runtime does.
            thread::scope(|_| tasks.into_iter().for_each(|task| runtime.block_on(task).unwrap()));
        });
        let right = right.load(Ordering::Relaxed);
        assert!(right > 100, "{right}");
    });
}

/// Eight threads and a recorder on a tracker with three connections, and `beside`, which runs until the flag says so.
fn shared_limit(beside: impl FnOnce(&Tracker, &std::sync::Arc<AtomicBool>) + Send) {
    const LIMIT: usize = 3;
    let memcached = Memcached::start();
    filled(&memcached, 8);
    let settings = memcached.settings().with_max_connections(LIMIT).with_server_timeout(secs(10));
    let tracker = Tracker::new(settings.with_flush_interval(ms(10))).unwrap();
    let recorder = last_seen::Recorder::new(tracker.clone());
    let ended = std::sync::Arc::new(AtomicBool::new(false));
    let (right, others) = (AtomicUsize::new(0), Process::now().sockets);
    let most = thread::scope(|scope| {
        for user in 0..8 {
            let (tracker, recorder, ended, right) = (&tracker, &recorder, &ended, &right);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    // None of them fails: all get their turn long before the time is over.
                    assert_eq!(tracker.last_seen(user).unwrap(), Some(time_of(user)));
                    assert!(tracker.presences(0..8).iter().all(Result::is_ok));
                    recorder.seen(format!("recorded-{user}"));
                    right.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (tracker, told) = (&tracker, &ended);
        scope.spawn(move || beside(tracker, told));
        let most = most_sockets(secs(2)) - others;
        ended.store(true, Ordering::Relaxed);
        most
    });
    recorder.close().unwrap();
    println!("{} rounds, at most {most} connections", right.load(Ordering::Relaxed));
    assert!((2..=LIMIT).contains(&most), "{most} connections");
    assert!(right.into_inner() > 100);
}

#[test]
fn a_silent_server_holds_up_no_call_to_the_others() {
    // 50 threads take turns at one connection, which takes a busy machine its time.
    const TIMEOUT: Duration = secs(10);
    let memcached: [Memcached; 3] = std::array::from_fn(|_| Memcached::start());
    let servers = memcached.each_ref().map(Memcached::address);
    let settings = Settings::default().with_servers(&servers).with_max_connections(1);
    let tracker = Tracker::new(settings.with_server_timeout(TIMEOUT)).unwrap();
    for user in 0..60 {
        tracker.seen_at(user, time_of(user)).unwrap();
    }
    let holder = |user: &i64| tracker.inspect(user).unwrap().server;
    let (lost, kept): (Vec<i64>, Vec<i64>) = (0..60).partition(|user| holder(user) == servers[1]);
    assert!(lost.len() > 5 && kept.len() > 20, "{lost:?}");
    memcached[1].suspend();
    let (began, single, slow) = (Instant::now(), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for nth in 0..50 {
            let (tracker, servers, kept, lost) = (&tracker, &servers, &kept, &lost);
            let (single, slow) = (&single, &slow);
            scope.spawn(move || {
                for &user in kept.iter().cycle().skip(nth) {
                    if began.elapsed() > secs(3) {
                        break;
                    }
                    if nth % 2 == 0 {
                        let asked = Instant::now();
                        assert_eq!(tracker.last_seen(user).unwrap(), Some(time_of(user)));
                        single.fetch_add(1, Ordering::Relaxed);
                        slow.fetch_add(usize::from(asked.elapsed() > TIMEOUT / 2), Ordering::Relaxed);
                        continue;
                    }
                    for (user, answer) in (0..60).zip(tracker.presences(0..60)) {
                        match answer {
                            Ok(presence) => assert_eq!(presence.last_seen, Some(time_of(user))),
                            Err(Error::Unavailable { server, .. }) if lost.contains(&user) => {
                                assert_eq!(server, servers[1]);
                            }
                            Err(error) => panic!("{user}: {error}"),
                        }
                    }
                }
            });
        }
    });
    let (single, slow) = (single.into_inner(), slow.into_inner());
    println!("{single} calls to the others, {slow} of them slow");
    assert_eq!(slow, 0, "of {single}");
    assert!(single > 100, "{single}");
    // And nothing is left behind.
    memcached[1].resume();
    last_seen_tests::eventually(|| tracker.presences(0..60).iter().all(Result::is_ok).then_some(()));
}
