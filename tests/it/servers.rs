//! memcached as it is started: without CAS, without lists and logs, for the binary protocol alone.

use last_seen::{Error, Recorder, Tracker};
use last_seen_tests::{Memcached, eventually, ms, within};

#[test]
fn without_cas_everything_works() {
    let memcached = Memcached::start_with(&["-C"]);
    let tracker = memcached.tracker();
    let recorder = Recorder::new(tracker.clone());
    recorder.seen("alice");
    recorder.flush().unwrap();
    assert!(tracker.online("alice").unwrap());
    assert!(tracker.sign_out("alice").unwrap());
    assert!(!tracker.online("alice").unwrap());
    assert!(tracker.forget("alice").unwrap());
    assert_eq!(tracker.last_seen("alice").unwrap(), None);
}

#[test]
fn without_lists_and_logs_the_verbs_work() {
    let memcached = Memcached::start_with(&["-X", "-W"]);
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    assert!(tracker.online("alice").unwrap());
    assert!(tracker.server_status()[0].info.is_ok());
}

#[test]
fn a_server_of_the_binary_protocol_alone_says_so() {
    let memcached = Memcached::start_with(&["-B", "binary"]);
    let tracker = Tracker::connect(&memcached.address()).unwrap();
    let says_so = |error: &Error| {
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        error
            .to_string()
            .ends_with("it speaks the binary protocol alone: start memcached without `-B binary`")
    };
    let status = tracker.server_status().remove(0).info.unwrap_err();
    assert!(says_so(&status), "{}", status);
    // A call cannot wait for that; the probe finds it out.
    eventually(|| {
        let error = within(ms(500), || tracker.last_seen("alice").unwrap_err());
        says_so(&error).then_some(())
    });
    eventually(|| says_so(&tracker.seen("alice").unwrap_err()).then_some(()));
}
