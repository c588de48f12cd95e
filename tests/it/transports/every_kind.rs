//! One suite, every kind of connection.

use chrono::{TimeDelta, Utc};
#[cfg(feature = "who")]
use last_seen::{Change, Roster, Status};
use last_seen::{Error, Recorder, Settings, Tracker};
use last_seen_tests::{Memcached, eventually, ms, within_once};
#[cfg(feature = "who")]
use last_seen_tests::{secs, within};

use super::{settings, tracker};

#[cfg(feature = "tls")]
use last_seen_tests::Certificates;

#[cfg(feature = "tls")]
fn certified(start: fn(&Certificates) -> Memcached) -> (Memcached, Certificates) {
    let certificates = Certificates::create();
    (start(&certificates), certificates)
}

macro_rules! on_every_kind {
    ($($name:ident),* $(,)?) => {
        on_every_kind!(@tcp ($($name)*) (Memcached::start(), ()));
        on_every_kind!(@unix ($($name)*) (Memcached::start_on_socket(), ()));
        on_every_kind!(@unix_by_its_path ($($name)*) (Memcached::start_on_socket().reached_as("", ""), ()));
        on_every_kind!(@password ($($name)*) (Memcached::start_with_password("site", "secret", &[]), ()));
        #[cfg(feature = "tls")]
        on_every_kind!(@tls ($($name)*) super::certified(Certificates::start));
        #[cfg(feature = "tls")]
        on_every_kind!(@tls_with_a_client_certificate ($($name)*) super::certified(Certificates::start_mutual));
        #[cfg(feature = "tls")]
        on_every_kind!(@tls_with_a_password ($($name)*)
            super::certified(|certificates| certificates.start_with_password("site", "secret")));
    };
    (@$kind:ident ($($name:ident)*) $start:expr) => {
        mod $kind {
            #[allow(unused_imports, reason = "not by every kind")]
            use super::*;
            $(#[test] fn $name() {
                let (mut server, _certificates) = $start;
                super::$name(&mut server);
            })*
        }
    };
}

on_every_kind!(
    every_verb_works,
    every_async_verb_works,
    runtimes_of_one_thread_take_turns_at_a_connection,
    a_recorder_writes,
    a_server_tells_how_it_is,
    a_silent_server_costs_one_timeout,
    a_server_that_was_gone_is_found_again,
    a_page_of_10_000_users_is_right,
    an_async_page_of_10_000_users_is_right,
    a_page_of_long_names_is_right,
    everyone_who_is_online_is_listed,
    everyone_who_comes_is_followed,
);

fn every_verb_works(server: &mut Memcached) {
    let tracker = tracker(&server.address());
    assert_eq!(tracker.last_seen("alice").unwrap(), None);
    let before = Utc::now().timestamp();
    tracker.seen("alice").unwrap();
    assert!(tracker.last_seen("alice").unwrap().unwrap().timestamp() >= before);
    assert!(tracker.online("alice").unwrap());
    tracker.seen_at("carol", Utc::now() - TimeDelta::hours(1)).unwrap();
    let page = tracker.presences(["alice", "bob", "carol"]);
    let page: Vec<_> =
        page.into_iter().map(Result::unwrap).map(|p| (p.online, p.last_seen.is_some())).collect();
    assert_eq!(page, [(true, true), (false, false), (false, true)]);
    let record = tracker.inspect("alice").unwrap();
    let stored = record.stored.unwrap();
    assert_eq!((&*record.key, stored.flags, stored.bytes.len()), ("seen_alice", 0, 10));
    assert!(tracker.sign_out("alice").unwrap());
    assert!(!tracker.online("alice").unwrap() && tracker.last_seen("alice").unwrap().is_some());
    assert!(tracker.forget("alice").unwrap());
    assert_eq!(tracker.last_seen("alice").unwrap(), None);
}

#[cfg(not(feature = "tokio"))]
fn every_async_verb_works(_: &mut Memcached) {}

#[cfg(feature = "tokio")]
fn every_async_verb_works(server: &mut Memcached) {
    let tracker = last_seen::AsyncTracker::from(tracker(&server.address()));
    last_seen_tests::runtime().block_on(async {
        assert_eq!(tracker.last_seen("alice").await.unwrap(), None);
        tracker.seen("alice").await.unwrap();
        assert!(tracker.last_seen("alice").await.unwrap().is_some());
        assert!(tracker.online("alice").await.unwrap());
        tracker.seen_at("carol", Utc::now() - TimeDelta::hours(1)).await.unwrap();
        let page = tracker.presences(["alice", "bob", "carol"]).await;
        let page: Vec<_> =
            page.into_iter().map(Result::unwrap).map(|p| (p.online, p.last_seen.is_some())).collect();
        assert_eq!(page, [(true, true), (false, false), (false, true)]);
        assert_eq!(tracker.inspect("alice").await.unwrap().stored.unwrap().bytes.len(), 10);
        assert!(tracker.sign_out("alice").await.unwrap());
        assert!(!tracker.online("alice").await.unwrap());
        assert!(tracker.forget("alice").await.unwrap());
        assert_eq!(tracker.last_seen("alice").await.unwrap(), None);
        assert!(tracker.server_status().await.remove(0).info.is_ok());
    });
}

fn a_recorder_writes(server: &mut Memcached) {
    let tracker = tracker(&server.address());
    let recorder = Recorder::new(tracker.clone());
    (0..100).for_each(|user| recorder.seen(user));
    recorder.flush().unwrap();
    assert!(tracker.presences(0..100).into_iter().all(|presence| presence.unwrap().online));
    recorder.seen("last");
    recorder.close().unwrap();
    assert!(tracker.online("last").unwrap());
}

fn a_server_tells_how_it_is(server: &mut Memcached) {
    let statuses = tracker(&server.address()).server_status();
    let status = serde_json::to_value(&statuses[0]).unwrap();
    assert_eq!((statuses.len(), &status["status"]), (1, &"up".into()));
    assert!(status["version"].as_str().unwrap().starts_with("1."), "{status}");
    assert_eq!(status["max_connections"], 1024);
    assert!(status["connections"].is_u64() && status["latency_us"].is_u64(), "{status}");
}

fn a_silent_server_costs_one_timeout(server: &mut Memcached) {
    let settings = settings(&server.address()).with_server_timeout(ms(200));
    let tracker = Tracker::new(settings.clone()).unwrap();
    eventually(|| tracker.seen("alice").ok());
    server.suspend();
    let silent = |tracker: &Tracker| {
        let answer = tracker.online("alice");
        assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    };
    within_once(ms(350), || silent(&tracker));
    // And on a connection that is new, where a handshake gets no answer.
    within_once(ms(350), || silent(&Tracker::new(settings.clone()).unwrap()));
    server.resume();
    assert!(eventually(|| tracker.online("alice").ok()));
}

fn a_server_that_was_gone_is_found_again(server: &mut Memcached) {
    let tracker = Tracker::new(Settings::default().with_servers([server.address()])).unwrap();
    eventually(|| tracker.seen("alice").ok());
    server.kill();
    for _ in 0..5 {
        let answer = within_once(ms(150), || tracker.online("alice"));
        assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    }
    server.restart();
    assert!(!eventually(|| tracker.online("alice").ok()), "it came back empty");
    eventually(|| tracker.seen("alice").ok());
}

fn a_page_of_10_000_users_is_right(server: &mut Memcached) {
    let (tracker, now) = (tracker(&server.address()), Utc::now());
    let at = |user: i64| now - TimeDelta::seconds(user % 250);
    assert_eq!(tracker.restore((0..10_000).map(|user| (user, at(user)))).written, 10_000);
    for (user, presence) in (0..).zip(tracker.presences(0..20_000)) {
        let expected = (user < 10_000).then(|| at(user).timestamp());
        assert_eq!(presence.unwrap().last_seen.map(|at| at.timestamp()), expected, "{user}");
    }
}

#[cfg(not(feature = "tokio"))]
fn runtimes_of_one_thread_take_turns_at_a_connection(_: &mut Memcached) {}

/// As in Actix Web, whose workers have a runtime each: while one works, nobody sees to the sockets of its runtime.
#[cfg(feature = "tokio")]
fn runtimes_of_one_thread_take_turns_at_a_connection(server: &mut Memcached) {
    let settings = settings(&server.address()).with_max_connections(1);
    let tracker = last_seen::AsyncTracker::from(Tracker::new(settings).unwrap());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    for _ in 0..3 {
        first.block_on(async {
            tracker.seen("alice").await.unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| assert!(second.block_on(tracker.forget("alice")).unwrap()));
            });
            assert_eq!(tracker.last_seen("alice").await.unwrap(), None);
        });
        // The next connection was opened on a runtime that has ended.
        runtime().block_on(tracker.seen("alice")).unwrap();
    }
}

#[cfg(not(feature = "tokio"))]
fn an_async_page_of_10_000_users_is_right(_: &mut Memcached) {}

#[cfg(feature = "tokio")]
fn an_async_page_of_10_000_users_is_right(server: &mut Memcached) {
    let (tracker, now) = (last_seen::AsyncTracker::from(tracker(&server.address())), Utc::now());
    let at = |user: i64| now - TimeDelta::seconds(user % 250);
    let runtime = last_seen_tests::runtime();
    let restored = runtime.block_on(tracker.restore((0..10_000).map(|user| (user, at(user)))));
    assert_eq!(restored.written, 10_000);
    for (user, presence) in (0..).zip(runtime.block_on(tracker.presences(0..20_000))) {
        let expected = (user < 10_000).then(|| at(user).timestamp());
        assert_eq!(presence.unwrap().last_seen.map(|at| at.timestamp()), expected, "{user}");
    }
}

/// More than the buffers of a socket hold, in both directions.
fn a_page_of_long_names_is_right(server: &mut Memcached) {
    let (tracker, now) = (tracker(&server.address()), Utc::now());
    let users: Vec<String> = (0..1_000).map(|user| format!("{user:0>245}")).collect();
    assert_eq!(tracker.restore(users.iter().map(|user| (user, now))).written, 1_000);
    for presence in tracker.presences(&users) {
        assert_eq!(presence.unwrap().last_seen.unwrap().timestamp(), now.timestamp());
    }
}

#[cfg(not(feature = "who"))]
fn everyone_who_is_online_is_listed(_: &mut Memcached) {}

/// More than one buffer or TLS record holds.
#[cfg(feature = "who")]
fn everyone_who_is_online_is_listed(server: &mut Memcached) {
    let (tracker, now) = (tracker(&server.address()), Utc::now());
    let user = |user: i64| format!("{user:0>60}");
    let at = |user: i64| now - TimeDelta::seconds(if user % 2 == 0 { user % 250 } else { 400 });
    assert_eq!(tracker.restore((0..5_000).map(|n| (user(n), at(n)))).written, 5_000);
    let listed = tracker.online_users().unwrap().complete().unwrap();
    let mut listed: Vec<String> = listed.into_iter().map(|online| online.user).collect();
    listed.sort();
    assert_eq!(listed, (0..5_000).step_by(2).map(user).collect::<Vec<_>>());
}

#[cfg(not(feature = "who"))]
fn everyone_who_comes_is_followed(_: &mut Memcached) {}

#[cfg(feature = "who")]
fn everyone_who_comes_is_followed(server: &mut Memcached) {
    let tracker = tracker(&server.address());
    let mut watch = tracker.watch().unwrap();
    let mut next = || watch.next_timeout(secs(5)).expect("a change");
    assert!(matches!(next(), Change::Ready { online: 0, complete: true, .. }));
    for number in 0..20 {
        tracker.seen(number).unwrap();
        let Change::Online { user, .. } = next() else { panic!("nobody came") };
        assert_eq!(*user, *number.to_string());
    }
    server.kill();
    let Change::ServerDown { error, .. } = next() else { panic!("not down") };
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    server.restart();
    eventually(|| tracker.seen("back").ok());
    let mut roster = Roster::default();
    while !matches!(next(), Change::ServerUp { .. }) {}
    eventually(|| {
        watch.next_timeout(ms(50)).iter().for_each(|change| roster.apply(change));
        roster
            .get("back")
            .filter(|_| roster.is_complete())
            .map(|back| assert_eq!(back.status, Status::Online))
    });
    server.suspend();
    within(ms(100), || drop(watch));
    server.resume();
}
