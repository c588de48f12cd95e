//! A server that comes and goes leaves nothing behind.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use last_seen::Tracker;

use super::{filled, time_of};
use last_seen_tests::{Memcached, Process, alone, events, eventually, ms, secs, soak};

#[test]
fn a_flapping_server_costs_no_thread_no_descriptor_and_no_memory() {
    // A process of its own, in which nothing else runs but the four callers.
    alone(&[], || {
        events::listen();
        let (half, length) = if soak() { (secs(1), secs(300)) } else { (ms(700), secs(4)) };
        let memcached = Memcached::start();
        filled(&memcached, 4);
        // With its default timeout, so that each flap is an outage.
        let tracker = Tracker::connect(&memcached.address()).unwrap();
        let (right, wrong, ended) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        let flap = || {
            memcached.suspend();
            thread::sleep(half);
            memcached.resume();
            thread::sleep(half);
        };
        // Found, and quiet for a moment: what was under way has ended.
        let settled = || {
            eventually(|| tracker.last_seen(1).ok());
            thread::sleep(ms(300));
            Process::now()
        };
        let (before, after, flaps) = thread::scope(|scope| {
            for user in 0..4 {
                let (tracker, right, wrong, ended) = (&tracker, &right, &wrong, &ended);
                scope.spawn(move || {
                    while !ended.load(Ordering::Relaxed) {
                        match tracker.last_seen(user) {
                            Ok(at) if at == Some(time_of(user)) => right.fetch_add(1, Ordering::Relaxed),
                            Ok(_) => wrong.fetch_add(1, Ordering::Relaxed),
                            Err(_) => 0,
                        };
                        thread::sleep(ms(1));
                    }
                });
            }
            for _ in 0..2 {
                flap();
            }
            let (before, began, mut flaps) = (settled(), Instant::now(), 2);
            while began.elapsed() < length {
                flap();
                flaps += 1;
            }
            let after = settled();
            ended.store(true, Ordering::Relaxed);
            (before, after, flaps)
        });
        let said = events::said_of(&memcached.address());
        println!(
            "{flaps} flaps of {:?}, {} right answers, {} wrong, {} events\n{before:?}\n{after:?}",
            2 * half,
            right.load(Ordering::Relaxed),
            wrong.load(Ordering::Relaxed),
            said.len()
        );
        assert_eq!(wrong.load(Ordering::Relaxed), 0);
        assert!(right.load(Ordering::Relaxed) > 100);
        let within = |before: usize, after: usize| after <= before + before / 20;
        assert!(within(before.threads, after.threads), "{before:?} {after:?}");
        // Each of the four callers may have needed a connection in the same moment, or not yet.
        assert!(after.sockets <= before.sockets + 3, "{before:?} {after:?}");
        let files = |process: Process| process.descriptors - process.sockets;
        assert!(within(files(before), files(after)), "{before:?} {after:?}");
        assert!(within(before.resident_kb, after.resident_kb), "{before:?} {after:?}");
        assert!((flaps..=2 * flaps).contains(&said.len()), "{} events in {flaps} flaps", said.len());
        for (n, line) in said.iter().enumerate() {
            let level = ["WARN ", "INFO "][n % 2];
            assert!(line.starts_with(level), "event {n}: {line}");
        }
    });
}
