//! A server that comes and goes leaves nothing behind.

use std::{thread, time::Instant};

use last_seen::Tracker;

use super::{filled, time_of};
use crate::support::{Fault, Memcached, Process, Proxy, alone, events, eventually, ms, secs, soak};

#[test]
fn a_flapping_server_costs_no_thread_no_descriptor_and_no_memory() {
    alone(&[], || {
        events::listen();
        let memcached = Memcached::start();
        filled(&memcached, 4);
        let proxy = Proxy::start(&memcached.address(), |_, _| Fault::Pass);
        let tracker = Tracker::connect(&proxy.address()).unwrap();
        let (half, length) = if soak() { (secs(1), secs(300)) } else { (ms(700), secs(7)) };
        let (mut flaps, mut right, mut wrong) = (0, 0, 0);
        let mut flap = |right: &mut usize, wrong: &mut usize| {
            for up in [false, true] {
                if up {
                    proxy.plan(|_, _| Fault::Pass);
                } else {
                    proxy.plan(|_, _| Fault::Cut(0));
                    proxy.cut();
                }
                let began = Instant::now();
                thread::scope(|scope| {
                    let threads = (0..4).map(|user| {
                        let tracker = &tracker;
                        scope.spawn(move || {
                            let (mut right, mut wrong) = (0, 0);
                            while began.elapsed() < half {
                                match tracker.last_seen(user) {
                                    Ok(at) if at == Some(time_of(user)) => right += 1,
                                    Ok(_) => wrong += 1,
                                    Err(_) => {}
                                }
                                thread::sleep(ms(1));
                            }
                            (right, wrong)
                        })
                    });
                    for counts in threads.collect::<Vec<_>>() {
                        let counts = counts.join().unwrap();
                        (*right, *wrong) = (*right + counts.0, *wrong + counts.1);
                    }
                });
            }
            flaps += 1;
        };
        // The proxy's threads end a little after its connections.
        let settled = || {
            proxy.cut();
            thread::sleep(ms(300));
            Process::now()
        };
        flap(&mut right, &mut wrong);
        flap(&mut right, &mut wrong);
        eventually(|| tracker.last_seen(1).ok());
        let before = settled();
        let began = Instant::now();
        while began.elapsed() < length {
            flap(&mut right, &mut wrong);
        }
        eventually(|| tracker.last_seen(1).ok());
        let after = settled();
        let said = events::said_of(&proxy.address());
        println!(
            "{flaps} flaps, {right} right answers, {wrong} wrong; {before:?} {after:?}; {} events",
            said.len()
        );
        assert_eq!(wrong, 0);
        assert!(right > 100);
        let within = |before: usize, after: usize| after <= before + before.div_ceil(20);
        assert!(within(before.threads, after.threads), "{before:?} {after:?}");
        assert!(within(before.descriptors, after.descriptors), "{before:?} {after:?}");
        assert!(within(before.resident_kb, after.resident_kb), "{before:?} {after:?}");
        assert!(said.len() <= 2 * flaps + 2, "{} events in {flaps} flaps", said.len());
        for (n, line) in said.iter().enumerate() {
            let level = ["WARN ", "INFO "][n % 2];
            assert!(line.starts_with(level), "event {n}: {line}");
        }
    });
}
