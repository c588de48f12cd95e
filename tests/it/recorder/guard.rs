//! Users who are kept online by a guard.

use last_seen::{OnlineGuard, Recorder, Tracker};
use last_seen_tests::{Memcached, eventually, ms, secs, within};

use super::{a_tick_later, adds_up};

/// A window of nine seconds, so that a guard renews every three.
fn site(memcached: &Memcached) -> Tracker {
    let settings = memcached.settings().with_online_timeout(secs(9)).with_flush_interval(ms(50));
    Tracker::new(settings).unwrap()
}

/// Over a whole window.
fn stays_online(tracker: &Tracker, user: &str) {
    let began = std::time::Instant::now();
    while began.elapsed() < secs(9) {
        assert!(tracker.online(user).unwrap());
        std::thread::sleep(ms(20));
    }
}

fn goes_offline(tracker: &Tracker, user: &str) {
    let began = std::time::Instant::now();
    while tracker.online(user).unwrap() {
        assert!(began.elapsed() < secs(30));
        std::thread::sleep(ms(20));
    }
}

#[test]
fn a_user_is_online_while_a_guard_lives_and_no_longer() {
    let memcached = Memcached::start();
    let (tracker, elsewhere) = (site(&memcached), site(&memcached));
    let recorder = Recorder::new(tracker.clone());
    let guards = [recorder.keep_online("alice"), recorder.keep_online("alice")];
    assert!(tracker.online("alice").unwrap(), "seen now");
    let [first, second] = guards;
    drop(first);
    recorder.flush().unwrap();
    stays_online(&elsewhere, "alice");
    assert!(!second.ended());
    drop(second);
    goes_offline(&elsewhere, "alice");
    adds_up(recorder.stats());
}

#[test]
fn a_sign_out_on_any_process_ends_a_guard_for_good() {
    let memcached = Memcached::start();
    let (tracker, elsewhere) = (site(&memcached), site(&memcached));
    let recorder = Recorder::new(tracker.clone());
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|user| recorder.keep_online(user));
    recorder.flush().unwrap();
    a_tick_later();
    tracker.sign_out("alice").unwrap();
    assert!(alice.ended(), "here, at once");
    elsewhere.sign_out("bob").unwrap();
    eventually(|| bob.ended().then_some(()));
    elsewhere.forget("carol").unwrap();
    #[cfg(feature = "tokio")]
    within(secs(20), || last_seen_tests::runtime().block_on(carol.wait_ended()));
    eventually(|| carol.ended().then_some(()));
    assert!(!elsewhere.online("alice").unwrap() && !elsewhere.online("bob").unwrap());
    assert_eq!(elsewhere.last_seen("carol").unwrap(), None);
    // Who signs in again is online, and the old guard does not keep it so.
    recorder.seen("bob");
    recorder.flush().unwrap();
    assert!(elsewhere.online("bob").unwrap() && bob.ended());
    goes_offline(&elsewhere, "bob");
}

#[test]
fn a_guard_keeps_no_recorder_alive_and_does_nothing_for_who_is_no_key_or_after_the_close() {
    fn is_shared<T: Send + Sync + 'static>(_: &T) {}
    let memcached = Memcached::start();
    let recorder = Recorder::new(site(&memcached));
    let alice = recorder.keep_online("alice");
    is_shared::<OnlineGuard>(&alice);
    assert!(!recorder.keep_online("a b").ended());
    assert_eq!(recorder.stats().invalid_users, 1);
    recorder.close().unwrap();
    assert!(!recorder.keep_online("bob").ended());
    within(secs(2), || drop(recorder));
    assert!(!alice.ended());
}

#[test]
fn closing_tries_a_server_that_is_back_also_while_its_circuit_is_open() {
    let mut memcached = Memcached::start();
    let settings = memcached.settings().with_server_timeout(ms(500)).with_flush_interval(secs(60));
    let tracker = Tracker::new(settings).unwrap();
    let recorder = Recorder::new(tracker.clone());
    memcached.kill();
    eventually(|| {
        let told = tracker.seen("bob").unwrap_err().to_string();
        told.contains("not retried yet").then_some(())
    });
    recorder.seen("alice");
    memcached.restart();
    recorder.close().unwrap();
    assert!(site(&memcached).online("alice").unwrap());
}
