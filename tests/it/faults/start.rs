//! A program that starts before its memcached, and goes on after it.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
};

use last_seen::Tracker;

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
    assert_eq!(tracker.server_status()[0].info.as_ref().unwrap().max_connections, Some(1024));
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
fn a_server_without_meta_commands_works_and_tells_no_time_to_live() {
    let fake = Fake::start(|stream| {
        let mut value: Option<String> = None;
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while let Some(Ok(line)) = lines.next() {
            let answer = match line.split(' ').next().unwrap() {
                "version" => "VERSION 1.4.15\r\n".to_owned(),
                "set" => {
                    value = Some(lines.next().unwrap().unwrap());
                    "STORED\r\n".to_owned()
                }
                "get" | "gets" => {
                    let value = value.clone().unwrap();
                    let cas = if line.starts_with("gets") { " 7" } else { "" };
                    format!("VALUE seen_alice 0 {}{cas}\r\n{value}\r\nEND\r\n", value.len())
                }
                _ => "ERROR\r\n".to_owned(),
            };
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    });
    let tracker = Tracker::connect(&fake.address()).unwrap();
    tracker.seen("alice").unwrap();
    assert!(tracker.online("alice").unwrap());
    let stored = tracker.inspect("alice").unwrap().stored.unwrap();
    assert_eq!(stored.last_seen.unwrap(), tracker.last_seen("alice").unwrap().unwrap());
    assert_eq!((stored.expires_in, stored.idle_for, stored.was_read), (None, None, None));
    assert_eq!(tracker.server_status()[0].info.as_ref().unwrap().version, "1.4.15");
}

#[test]
fn restore_counts_a_server_lost_half_way() {
    // Takes one piece, in four steps, and ends for good when the second begins.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let nothing =
            |lines: &mut std::io::Lines<BufReader<std::net::TcpStream>>, command: &str, key: &str| {
                let line = lines.next().unwrap().unwrap();
                assert!(line.starts_with(&format!("{command} {key}")), "{line}");
                (&stream).write_all(b"END\r\n").unwrap();
            };
        nothing(&mut lines, "gets", "seen_");
        nothing(&mut lines, "get", "gone:");
        let mut answers = String::new();
        for _ in 0..1_000 {
            assert!(lines.next().unwrap().unwrap().starts_with("add "));
            lines.next();
            answers += "STORED\r\n";
        }
        (&stream).write_all(answers.as_bytes()).unwrap();
        let line = lines.next().unwrap().unwrap();
        assert!(line.starts_with("get gone:"), "{line}");
        (&stream).write_all(b"END\r\n").unwrap();
        lines.next();
    });
    let tracker = Tracker::connect(&address.to_string()).unwrap();
    let now = chrono::Utc::now();
    let restored = tracker.restore((0..3_500).map(|n| (n, now)));
    assert_eq!((restored.written, restored.skipped, restored.failed), (1_000, 0, 2_500));
    server.join().unwrap();
}
