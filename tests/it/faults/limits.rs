//! A server at its limits answers, and is not dialled for each request.

use std::{
    io::{BufRead, BufReader},
    thread,
    time::Instant,
};

use last_seen::{Error, Recorder, Tracker};

use super::{unavailable, until_circuit_open};
use last_seen_tests::{Memcached, eventually, ms, secs};

/// memcached with no connection left but those that are given back.
fn at_its_limit() -> (Memcached, Vec<std::net::TcpStream>) {
    let memcached = Memcached::start_with(&["-c", "40"]);
    let mut held = Vec::new();
    eventually(|| {
        held.push(std::net::TcpStream::connect(memcached.address()).unwrap());
        let mut line = String::new();
        let last = held.last().unwrap();
        last.set_read_timeout(Some(ms(20))).unwrap();
        let refused = BufReader::new(last).read_line(&mut line).is_ok();
        refused.then(|| assert!(line.starts_with("ERROR"), "{line}"))
    });
    (memcached, held)
}

#[test]
fn a_server_at_its_connection_limit_is_unavailable_and_found_when_it_has_room() {
    let (memcached, held) = at_its_limit();
    let tracker = Tracker::connect(&memcached.address()).unwrap();
    let told = unavailable(tracker.seen("alice"));
    assert!(told.ends_with("the server is at its connection limit (-c)"), "{told}");
    let began = Instant::now();
    let mut not_retried = 0;
    while began.elapsed() < secs(1) {
        not_retried += usize::from(unavailable(tracker.seen("alice")).contains("not retried yet"));
        thread::sleep(ms(1));
    }
    assert!(not_retried > 300, "{not_retried}");
    drop(held);
    let healed = Instant::now();
    while tracker.seen("alice").is_err() {
        assert!(healed.elapsed() < secs(2));
        thread::sleep(ms(5));
    }
    // Each call that was sent took one connection, as the probes did.
    let refused = memcached.stat("rejected_connections");
    assert!(refused < 600, "{refused}");
}

#[test]
fn a_server_at_its_connection_limit_says_so_to_those_who_log_in() {
    let (memcached, held) = at_its_limit();
    let memcached = memcached.reached_as("memcache://site:secret@", "");
    let tracker = Tracker::connect(&memcached.address()).unwrap();
    let told = unavailable(tracker.seen("alice"));
    assert!(told.ends_with("the server is at its connection limit (-c)"), "{told}");
    // A probe counts that as no answer either.
    let told = until_circuit_open(&tracker);
    assert!(told.ends_with("last error: the server is at its connection limit (-c)"), "{told}");
    drop(held);
    eventually(|| tracker.seen("alice").ok());
}

/// memcached that has no memory left and must not forget, with users `0-0` and `1-0` among many.
fn out_of_memory() -> (Memcached, Tracker) {
    let memcached = Memcached::start_with(&["-m", "1", "-M", "-I", "512k"]);
    let tracker = memcached.tracker();
    let mut round = 0;
    eventually(|| {
        let now = chrono::Utc::now();
        let restored = tracker.restore((0..1_000).map(|n| (format!("{n}-{round}"), now)));
        round += 1;
        (restored.failed > 0).then_some(())
    });
    (memcached, tracker)
}

#[test]
fn a_recorder_keeps_the_user_that_a_full_server_refused() {
    let (memcached, tracker) = out_of_memory();
    let recorder = Recorder::new(tracker.clone());
    recorder.seen("one-more-user");
    let error = recorder.flush().unwrap_err();
    assert!(matches!(error, Error::Server { .. }), "{error:?}");
    let stats = recorder.stats();
    assert_eq!((stats.queued, stats.dropped), (1, 0), "{stats:?}");
    memcached.raw("flush_all");
    eventually(|| recorder.flush().ok());
    assert!(tracker.online("one-more-user").unwrap());
}

#[test]
fn a_server_out_of_memory_refuses_each_write_on_the_same_connection() {
    let (memcached, tracker) = out_of_memory();
    let before = memcached.stat("total_connections");
    let (began, mut calls) = (Instant::now(), 0);
    while began.elapsed() < ms(500) {
        match tracker.seen("one-more-user") {
            Err(Error::Server { message, .. }) => {
                assert!(message.starts_with("out of memory"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        calls += 1;
    }
    // This question's.
    let dialled = memcached.stat("total_connections") - before - 1;
    assert_eq!(dialled, 0, "{calls} calls");
    // What is read is not concerned. Who is to go is gone, though nothing can be left against what is queued.
    let done = |ended: Result<bool, Error>| {
        // There may be room for what is smaller than a record of these.
        let told = ended.map_or_else(|error| error.to_string(), |_| "out of memory: it is done".to_owned());
        assert!(told.contains("out of memory") && told.contains("it is done"), "{told}");
    };
    done(tracker.forget("0-0"));
    assert_eq!(tracker.last_seen("0-0").unwrap(), None);
    assert!(tracker.online("1-0").unwrap());
    done(tracker.sign_out("1-0"));
    assert!(!tracker.online("1-0").unwrap());
    // And with room again it writes.
    memcached.raw("flush_all");
    eventually(|| tracker.seen("one-more-user").ok());
    assert!(tracker.online("one-more-user").unwrap());
}

#[test]
fn all_calls_of_one_connection_get_their_own_answers() {
    let memcached = Memcached::start();
    super::filled(&memcached, 16);
    let tracker =
        Tracker::new(memcached.settings().with_max_connections(1).with_server_timeout(secs(2))).unwrap();
    thread::scope(|scope| {
        for user in 0..16 {
            let tracker = &tracker;
            scope.spawn(move || {
                for _ in 0..200 {
                    assert_eq!(tracker.last_seen(user).unwrap(), Some(super::time_of(user)));
                }
            });
        }
    });
    // This reader's, the one that filled it (closed by now, or not yet), and this question's.
    assert!(memcached.stat("curr_connections") <= 4);
}

#[cfg(feature = "who")]
#[test]
fn a_watch_of_a_server_out_of_memory_goes_on() {
    let (memcached, tracker) = out_of_memory();
    let mut watch = tracker.watch_faster(10).unwrap();
    let mut next = || watch.next_timeout(secs(8));
    while !matches!(next().expect("a change"), last_seen::Change::Ready { complete: true, .. }) {}
    let refused = memcached.stat("store_no_memory");
    // A server that is quiet causes no change, though it has refused what the watch stored to test its log.
    assert_eq!(next().map(|change| format!("{change:?}")), None);
    assert!(memcached.stat("store_no_memory") - refused >= 2);
}
