//! Ctrl-C and SIGTERM, while pages are open.

use std::io::{Read, Write};

use last_seen_tests::{
    Memcached,
    site::{Site, a_signal_ends_it_while_open},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_site");

#[test]
fn a_signal_ends_event_streams_and_nothing_is_lost() {
    for signal in ["INT", "TERM"] {
        let mut events = while_open(signal, |site| site.open("/events", "data:"));
        let mut rest = String::new();
        events.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("0\r\n\r\n"), "cut off after {signal}: {rest:?}");
    }
}

#[test]
fn a_silent_memcached_does_not_hold_up_the_end() {
    let memcached = Memcached::start();
    let site = Site::start(&PROGRAM.into(), &[("LAST_SEEN_SERVERS", &memcached.address())]);
    let mut alice = site.signed_in("alice");
    let _events = site.open("/events", "data:");
    memcached.suspend();
    alice.get("/");
    // What cannot be written is logged, and is no failure of the site.
    assert!(site.ended_by("TERM").success());
}

#[test]
fn a_request_that_never_ends_holds_up_the_end_for_a_bound() {
    while_open("TERM", |site| {
        let mut stream = site.connect();
        stream.write_all(b"POST /sign-in HTTP/1.1\r\nContent-Le").unwrap();
        stream
    });
}

fn while_open<T>(signal: &str, open: impl FnOnce(&Site) -> T) -> T {
    a_signal_ends_it_while_open(&PROGRAM.into(), signal, true, open)
}
