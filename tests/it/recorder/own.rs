//! A program reads its own sightings: what a recorder has queued makes an answer newer, and no more.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use chrono::{TimeDelta, Utc};
use last_seen::{Error, Presence, Recorder, Tracker};
use last_seen_tests::{Memcached, http::between, ms, secs};

use super::{a_tick_later, by_hand};

/// Presences one by one and as a page, which agree: whether there is a record, and whether it is online.
#[track_caller]
fn states<const USERS: usize>(tracker: &Tracker, users: [&str; USERS]) -> [(bool, bool); USERS] {
    let state = |presence: Presence| (presence.last_seen.is_some(), presence.online);
    let page = tracker.presences(users).into_iter().map(|presence| state(presence.unwrap()));
    let page: Vec<_> = page.collect();
    let states = users.map(|user| state(tracker.presence(user).unwrap()));
    assert_eq!(page, states);
    assert_eq!(users.map(|user| tracker.online(user).unwrap()), states.map(|(_, online)| online));
    assert_eq!(users.map(|user| tracker.last_seen(user).unwrap().is_some()), states.map(|(seen, _)| seen));
    #[cfg(feature = "tokio")]
    {
        let tracker = last_seen::AsyncTracker::from(tracker.clone());
        let page = last_seen_tests::runtime().block_on(async {
            for (user, state) in users.into_iter().zip(states) {
                let presence = tracker.presence(user).await.unwrap();
                assert_eq!((presence.last_seen.is_some(), presence.online), state);
            }
            tracker.presences(users).await
        });
        assert_eq!(page.into_iter().map(|presence| state(presence.unwrap())).collect::<Vec<_>>(), states);
    }
    states
}

#[test]
fn who_is_seen_in_a_request_is_online_in_its_page_and_elsewhere_after_the_flush() {
    let memcached = Memcached::start();
    let (tracker, elsewhere) = (by_hand(memcached.settings()), memcached.tracker());
    let recorder = Recorder::new(tracker.clone());
    recorder.seen("alice");
    // Of whom there is an old record.
    tracker.seen_at("bob", Utc::now() - TimeDelta::hours(1)).unwrap();
    recorder.seen("bob");
    let users = ["alice", "bob", "carol"];
    assert_eq!(states(&tracker, users), [(true, true), (true, true), (false, false)]);
    assert_eq!(states(&elsewhere, users), [(false, false), (true, false), (false, false)]);
    recorder.flush().unwrap();
    for tracker in [&tracker, &elsewhere] {
        assert_eq!(states(tracker, users), [(true, true), (true, true), (false, false)]);
    }
}

#[test]
fn what_is_queued_is_not_shown_after_a_sign_out_or_a_forget_wherever_that_was() {
    let memcached = Memcached::start();
    let (tracker, elsewhere) = (by_hand(memcached.settings()), memcached.tracker());
    let recorder = Recorder::new(tracker.clone());
    let users = ["alice", "bob", "carol", "dave"];
    users.iter().for_each(|user| tracker.seen(user).unwrap());
    users.iter().for_each(|user| recorder.seen(user));
    a_tick_later();
    tracker.sign_out("alice").unwrap();
    tracker.forget("bob").unwrap();
    elsewhere.sign_out("carol").unwrap();
    elsewhere.forget("dave").unwrap();
    assert_eq!(states(&tracker, users), [(true, false), (false, false), (true, false), (false, false)]);
    a_tick_later();
    users.iter().for_each(|user| recorder.seen(user));
    assert_eq!(states(&tracker, users), [(true, true); 4]);
}

#[test]
fn a_queued_user_of_a_server_that_is_down_is_unavailable_as_the_others_are() {
    let memcached = Memcached::start();
    let settings = memcached.settings().with_server_timeout(ms(200));
    let tracker = Tracker::new(settings.with_flush_interval(secs(60))).unwrap();
    let recorder = Recorder::new(tracker.clone());
    recorder.seen("alice");
    memcached.suspend();
    let page = tracker.presences(["alice", "bob"]);
    for answer in page.into_iter().chain([tracker.presence("alice"), tracker.presence("bob")]) {
        assert!(matches!(answer, Err(Error::Unavailable { .. })), "{answer:?}");
    }
    memcached.resume();
}

#[test]
fn of_a_forgotten_user_a_hash_stays_for_a_day_and_nothing_else() {
    let memcached = Memcached::start();
    let (tracker, elsewhere) = (by_hand(memcached.settings()), memcached.tracker());
    let recorder = Recorder::new(elsewhere.clone());
    tracker.seen("alice").unwrap();
    recorder.seen("alice");
    a_tick_later();
    assert!(tracker.forget("alice").unwrap());
    recorder.flush().unwrap();
    // key=gone%3A0123456789abcdef exp=1795579200 la=1795492800 cas=4 fetch=no cls=1 size=96
    let mut stream = TcpStream::connect(memcached.place()).unwrap();
    stream.set_read_timeout(Some(secs(5))).unwrap();
    stream.write_all(b"lru_crawler metadump all\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| line != "END");
    let item = lines.next().unwrap();
    assert_eq!(lines.next(), None);
    assert!(item.starts_with("key=gone%3A") && !item.contains("alice"), "{item}");
    let expires: i64 = between(&item, "exp=", " ").unwrap().parse().unwrap();
    assert!((86_390..=86_402).contains(&(expires - Utc::now().timestamp())), "{item}");
}
