//! When memcached is not there, silent, or too old.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
};

use last_seen::{Error, Tracker};

use crate::support::{Fake, Memcached, chain, ms, within};

/// A port on which nothing listens.
fn nowhere() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[track_caller]
fn unavailable<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    match answer {
        Err(error @ Error::Unavailable { .. }) => chain(&error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_program_starts_without_its_memcached() {
    let address = nowhere();
    let tracker = within(ms(10), || Tracker::connect(&address).unwrap());
    for told in [
        within(ms(150), || unavailable(tracker.seen("alice"))),
        within(ms(150), || unavailable(tracker.last_seen("alice"))),
        within(ms(150), || unavailable(tracker.online("alice"))),
        within(ms(150), || unavailable(tracker.presence("alice"))),
        within(ms(150), || unavailable(tracker.signed_out("alice"))),
        within(ms(150), || unavailable(tracker.forget("alice"))),
        within(ms(150), || unavailable(tracker.inspect("alice"))),
        within(ms(150), || unavailable(tracker.presences(["alice"]).remove(0))),
        within(ms(150), || unavailable(tracker.servers().remove(0).info)),
    ] {
        assert!(told.starts_with(&format!("memcached at {address} is unavailable: ")), "{told}");
        assert!(told.contains("refused"), "{told}");
    }
    assert_eq!(within(ms(150), || tracker.restore([("alice", chrono::Utc::now())])).failed, 1);
}

#[test]
fn a_name_that_does_not_resolve_is_told_at_the_call() {
    let tracker = Tracker::connect("memcached.invalid").unwrap();
    let told = unavailable(tracker.seen("alice"));
    assert!(told.starts_with("memcached at memcached.invalid:11211 is unavailable: "), "{told}");
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
fn a_silent_server_costs_one_timeout_and_no_wrong_answer() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let at = chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    for n in 0..10 {
        tracker.seen_at(n, at + chrono::TimeDelta::seconds(n)).unwrap();
    }
    memcached.suspend();
    for n in 0..3 {
        let told = within(ms(150), || unavailable(tracker.last_seen(n)));
        assert!(told.ends_with("no answer within 100ms"), "{told}");
    }
    within(ms(150), || unavailable(tracker.seen("alice")));
    let page = within(ms(150), || tracker.presences(0..10));
    assert!(page.into_iter().all(|one| matches!(one, Err(Error::Unavailable { .. }))));
    memcached.resume();
    for n in 0..10 {
        assert_eq!(tracker.last_seen(n).unwrap(), Some(at + chrono::TimeDelta::seconds(n)));
    }
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
        assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
        let told = "ERROR; meta commands need memcached 1.6, this is 1.4.15";
        assert_eq!(error.to_string(), format!("memcached at {} answered {told:?}", fake.address()));
    }
}

#[test]
fn a_server_at_its_connection_limit_is_unavailable() {
    let memcached = Memcached::start_with(&["-c", "40"]);
    let connect = || std::net::TcpStream::connect(memcached.address()).unwrap();
    let mut held = Vec::new();
    crate::support::eventually(|| {
        held.push(connect());
        let mut line = String::new();
        let last = held.last().unwrap();
        last.set_read_timeout(Some(ms(20))).unwrap();
        let refused = BufReader::new(last).read_line(&mut line).is_ok();
        refused.then(|| assert!(line.starts_with("ERROR"), "{line}"))
    });
    let tracker = memcached.tracker();
    let told = unavailable(tracker.seen("alice"));
    assert!(told.ends_with("the server is at its connection limit"), "{told}");
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

#[test]
fn what_a_server_says_is_escaped_and_cut() {
    let fake = Fake::start(|stream| {
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        let noise = "\u{1b}[31m\u{202e}".to_owned() + &"x".repeat(500);
        (&stream).write_all(format!("SERVER_ERROR {noise}\r\n").as_bytes()).unwrap();
    });
    let error = Tracker::connect(&fake.address()).unwrap().online("alice").unwrap_err().to_string();
    assert!(error.contains(r#"answered "\u{1b}[31m\u{202e}xxx"#), "{error}");
    assert!(error.len() < 200, "{error}");
}
