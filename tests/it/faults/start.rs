//! A program that starts before its memcached, and goes on after it.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
};

use last_seen::{Error, Tracker};

use super::{nowhere, unavailable};
use last_seen_tests::{Fake, Memcached, ms, within_once};

#[test]
fn a_program_starts_without_its_memcached() {
    let address = nowhere();
    let tracker = within_once(ms(10), || Tracker::connect(&address).unwrap());
    let told = unavailable(tracker.seen("alice"));
    assert!(told.starts_with(&format!("memcached at {address} is unavailable: ")), "{told}");
    assert!(told.contains("refused"), "{told}");
}

#[test]
fn a_name_that_does_not_resolve_is_told_at_the_call() {
    let tracker = Tracker::connect("memcached.invalid").unwrap();
    let told = unavailable(tracker.seen("alice"));
    assert!(told.starts_with("memcached at memcached.invalid:11211 is unavailable: "), "{told}");
}

#[test]
fn a_name_of_several_addresses_leads_to_the_one_that_answers() {
    // `localhost` is `::1` too on most hosts, where memcached does not listen.
    let memcached = Memcached::start();
    let port = memcached.address().rsplit_once(':').unwrap().1.to_owned();
    let tracker = Tracker::connect(&format!("localhost:{port}")).unwrap();
    tracker.seen("alice").unwrap();
    assert!(tracker.online("alice").unwrap());
    assert_eq!(tracker.server_status()[0].info.as_ref().unwrap().max_connections, 1024);
}

#[test]
fn the_first_call_after_a_restart_works() {
    let mut memcached = Memcached::start();
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    memcached.restart();
    assert_eq!(tracker.last_seen("alice").unwrap(), None);
    tracker.seen("alice").unwrap();
    memcached.restart();
    tracker.seen("alice").unwrap();
    assert!(tracker.online("alice").unwrap());
}

#[test]
fn a_server_that_closes_quiet_connections_costs_nothing() {
    let memcached = Memcached::start_with(&["-o", "idle_timeout=1"]);
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    // It looks at its connections every few seconds.
    last_seen_tests::eventually(|| (memcached.stat("idle_kicks") > 0).then_some(()));
    assert!(tracker.online("alice").unwrap());
}

#[test]
fn a_memcached_before_1_6_is_told_apart() {
    let fake = Fake::start(|stream| {
        for line in BufReader::new(stream.try_clone().unwrap()).lines() {
            let Ok(line) = line else { return };
            let answer = if line == "version" { "VERSION 1.4.15\r\n" } else { "ERROR\r\n" };
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    });
    let tracker = Tracker::connect(&fake.address()).unwrap();
    for error in [tracker.seen("alice").unwrap_err(), tracker.online("alice").unwrap_err()] {
        assert!(matches!(error, Error::Server { .. }), "{error:?}");
        let told = "ERROR; meta commands need memcached 1.6, this is 1.4.15";
        assert_eq!(error.to_string(), format!("memcached at {} answered {told:?}", fake.address()));
    }
}

#[test]
fn restore_counts_a_server_lost_half_way() {
    // Takes one piece, and ends for good when the second begins.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut answers = String::new();
        for n in 0..1_000 {
            assert!(lines.next().unwrap().unwrap().starts_with("ms "));
            lines.next();
            answers += &format!("HD O{n}\r\n");
        }
        (&stream).write_all(answers.as_bytes()).unwrap();
        lines.next();
    });
    let tracker = Tracker::connect(&address.to_string()).unwrap();
    let now = chrono::Utc::now();
    let restored = tracker.restore((0..3_500).map(|n| (n, now)));
    assert_eq!((restored.written, restored.skipped, restored.failed), (1_000, 0, 2_500));
    server.join().unwrap();
}
