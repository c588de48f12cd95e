//! Connections that ended while nobody used them cost no call its answer.

use last_seen::{Presence, Result, Tracker};

use last_seen_tests::{Memcached, eventually};

#[track_caller]
fn assert_page(page: &[Result<Presence>]) {
    let online = page.iter().map(|one| one.as_ref().unwrap().online).collect::<Vec<_>>();
    assert_eq!(online, [true, false]);
}

type Call = (&'static str, fn(&Tracker));

/// The first call of each kind, on a tracker of its own whose connection has ended. `alice` is there.
const CALLS: [Call; 5] = [
    ("seen", |tracker| tracker.seen("alice").unwrap()),
    ("last_seen", |tracker| assert!(tracker.last_seen("alice").unwrap().is_some())),
    ("presences", |tracker| assert_page(&tracker.presences(["alice", "bob"]))),
    ("sign_out", |tracker| assert!(tracker.sign_out("alice").unwrap())),
    ("forget", |tracker| assert!(tracker.forget("alice").unwrap())),
];

/// Runs each call after `lose`, which ends all connections.
fn first_calls(memcached: &mut Memcached, lose: impl FnOnce(&mut Memcached)) {
    let trackers = CALLS.map(|(name, call)| (name, call, memcached.tracker()));
    for (.., tracker) in &trackers {
        tracker.seen("alice").unwrap();
    }
    lose(memcached);
    for (name, call, tracker) in trackers {
        println!("{name}");
        memcached.tracker().seen("alice").unwrap();
        call(&tracker);
    }
}

/// Waits until memcached has closed so many connections that were idle.
#[track_caller]
fn until_closed(memcached: &Memcached, count: usize) {
    // It looks at its connections every few seconds.
    eventually(|| (memcached.stat("idle_kicks") >= count as u64).then_some(()));
}

#[test]
fn the_first_call_after_the_server_has_closed_the_connection_works() {
    let mut memcached = Memcached::start_with(&["-o", "idle_timeout=1"]);
    first_calls(&mut memcached, |memcached| until_closed(memcached, CALLS.len()));
}

#[test]
fn the_first_call_after_a_restart_works_whichever_it_is() {
    first_calls(&mut Memcached::start(), Memcached::restart);
    let mut socket = Memcached::start_on_socket();
    first_calls(&mut socket, Memcached::restart);
}

#[cfg(feature = "tokio")]
mod asynchronous {
    use last_seen::AsyncTracker;
    use tokio::runtime::Runtime;

    use super::{assert_page, until_closed};
    use last_seen_tests::{Memcached, runtime};

    type Call = (&'static str, fn(&Runtime, &AsyncTracker));

    const CALLS: [Call; 5] = [
        ("seen", |runtime, tracker| runtime.block_on(tracker.seen("alice")).unwrap()),
        ("last_seen", |runtime, tracker| {
            assert!(runtime.block_on(tracker.last_seen("alice")).unwrap().is_some());
        }),
        ("presences", |runtime, tracker| {
            assert_page(&runtime.block_on(tracker.presences(["alice", "bob"])));
        }),
        ("sign_out", |runtime, tracker| assert!(runtime.block_on(tracker.sign_out("alice")).unwrap())),
        ("forget", |runtime, tracker| assert!(runtime.block_on(tracker.forget("alice")).unwrap())),
    ];

    /// As the blocking one; the calls may run where the connections were not opened.
    fn first_calls(
        memcached: &mut Memcached,
        opened_on: &Runtime,
        lose: impl FnOnce(&mut Memcached),
        called_on: &Runtime,
    ) {
        let trackers = CALLS.map(|(name, call)| (name, call, AsyncTracker::from(memcached.tracker())));
        for (.., tracker) in &trackers {
            opened_on.block_on(tracker.seen("alice")).unwrap();
        }
        lose(memcached);
        for (name, call, tracker) in trackers {
            println!("{name}");
            memcached.tracker().seen("alice").unwrap();
            call(called_on, &tracker);
        }
    }

    #[test]
    fn the_first_async_call_after_the_server_has_closed_the_connection_works() {
        let mut memcached = Memcached::start_with(&["-o", "idle_timeout=1"]);
        let runtime = runtime();
        first_calls(&mut memcached, &runtime, |memcached| until_closed(memcached, CALLS.len()), &runtime);
    }

    #[test]
    fn the_first_async_call_after_a_restart_works_whichever_it_is() {
        let runtime = runtime();
        first_calls(&mut Memcached::start(), &runtime, Memcached::restart, &runtime);
        first_calls(&mut Memcached::start_on_socket(), &runtime, Memcached::restart, &runtime);
    }

    #[test]
    fn the_first_async_call_on_another_runtime_works_while_the_first_runs_and_after_it() {
        let (first, second) = (runtime(), runtime());
        first_calls(&mut Memcached::start(), &first, |_| {}, &second);
        first_calls(&mut Memcached::start(), &first, Memcached::restart, &second);
        let memcached = Memcached::start();
        let trackers = CALLS.map(|(name, call)| (name, call, AsyncTracker::from(memcached.tracker())));
        for (.., tracker) in &trackers {
            first.block_on(tracker.seen("alice")).unwrap();
        }
        drop(first);
        for (name, call, tracker) in trackers {
            println!("{name}");
            memcached.tracker().seen("alice").unwrap();
            call(&second, &tracker);
        }
    }
}
