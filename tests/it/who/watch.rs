//! Who comes and goes: what the watch reports, and when.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use chrono::{TimeDelta, Utc};
use last_seen::{Change, Error, OfflineReason, Roster, Settings, Status, Tracker, Watch};

use super::{
    connect,
    reader::{Reader, short},
    scripted,
};
use last_seen_tests::{Fake, Memcached, eventually, ms, secs, within};

const LOGS: [&[u8]; 2] =
    [include_bytes!("../data/watch-1.6.18.bin"), include_bytes!("../data/watch-1.6.45.bin")];

#[test]
fn everyone_who_is_online_then_who_comes_and_goes() {
    let memcached = Memcached::start();
    for tracker in [Tracker::in_memory(), memcached.tracker()] {
        tracker.seen("alice").unwrap();
        tracker.seen_at("away", Utc::now() - TimeDelta::seconds(400)).unwrap();
        let mut watch = tracker.watch().unwrap();
        let mut next = || short(&watch.next_timeout(secs(5)).expect("a change"));
        assert_eq!([next(), next()], ["online alice", "1 online"]);
        tracker.seen("josé").unwrap();
        assert_eq!(next(), "online josé");
        tracker.seen_at("alice", Utc::now() + TimeDelta::seconds(2)).unwrap();
        assert_eq!(next(), "seen alice");
        tracker.sign_out("alice").unwrap();
        assert_eq!(next(), "offline alice SignedOut");
        tracker.forget("josé").unwrap();
        assert_eq!(next(), "offline josé Gone");
        // Those who were not online do not matter.
        tracker.forget("alice").unwrap();
        tracker.seen_at("bob", Utc::now() - TimeDelta::seconds(400)).unwrap();
        tracker.seen("alice").unwrap();
        assert_eq!(next(), "online alice");
        // As an iterator it waits.
        tracker.seen("last").unwrap();
        assert_eq!(short(&watch.next().unwrap()), "online last");
    }
}

#[test]
fn a_roster_shows_what_was_told() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let mut reader = Reader::ready(&tracker);
    let before = Utc::now() - TimeDelta::seconds(1);
    tracker.seen("alice").unwrap();
    tracker.seen("bob").unwrap();
    reader.holds(secs(5), |roster| roster.online() == 2);
    tracker.sign_out("alice").unwrap();
    reader.holds(secs(5), |roster| roster.online() == 1);
    assert!(reader.roster.is_complete());
    let alice = reader.roster.get("alice").unwrap();
    assert_eq!((alice.status, alice.last_known), (Status::Offline, Status::Offline));
    assert_eq!(alice.last_seen, tracker.last_seen("alice").unwrap());
    assert!(alice.since >= before && alice.since <= Utc::now());
    assert_eq!(reader.roster.get("bob").unwrap().status, Status::Online);
    assert_eq!(reader.roster.iter().count(), 2);
    assert_eq!(reader.roster.get("carol"), None);
    let [server] = &reader.roster.servers().collect::<Vec<_>>()[..] else { panic!() };
    assert_eq!((server.name, server.error.is_none()), (memcached.address().as_str(), true));
}

#[test]
fn other_keys_are_left_alone_and_not_fetched() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let mut reader = Reader::ready(&tracker);
    let read = memcached.stat("cmd_get");
    for n in 0..50 {
        memcached.set(&format!("session_{n}"), 0, b"1");
    }
    memcached.set("seen", 0, b"1");
    memcached.set("Seen_alice", 0, b"1");
    tracker.seen("alice").unwrap();
    assert_eq!(short(&reader.next(secs(5)).unwrap()), "online alice");
    assert_eq!(memcached.stat("cmd_get"), read + 1);
}

#[test]
fn repeats_of_a_user_are_few_reads() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let mut reader = Reader::ready(&tracker);
    let read = memcached.stat("cmd_get");
    let started = Instant::now();
    for _ in 0..200 {
        tracker.seen("alice").unwrap();
    }
    let pieces = 2 + u64::try_from(started.elapsed().as_millis()).unwrap() / 50;
    reader.drain(ms(1_500));
    let reads = memcached.stat("cmd_get") - read;
    assert!((1..=pieces).contains(&reads), "{reads} reads");
}

#[test]
fn a_record_that_cannot_be_read_is_unknown_until_it_can() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let mut reader = Reader::ready(&tracker);
    tracker.seen("alice").unwrap();
    reader.holds(secs(5), |roster| roster.online() == 1);
    memcached.set("seen_alice", 0, b"[1, 2]");
    let change = reader.until(secs(5), |change| matches!(change, Change::Unreadable { .. }));
    let Change::Unreadable { user, error: Error::InvalidRecord { key, .. }, .. } = change else { panic!() };
    assert_eq!((&*user, key.as_str()), ("alice", "seen_alice"));
    assert_eq!(reader.status("alice"), Some(Status::Unknown));
    assert_eq!((reader.roster.online(), reader.roster.unknown()), (0, 1));
    memcached.set("seen_alice", 17, (Utc::now().timestamp() * 1_000).to_string().as_bytes());
    reader.until(secs(5), |change| short(change) == "online alice");
    assert_eq!(reader.roster.unknown(), 0);
}

#[test]
fn a_value_that_is_too_large_is_never_read() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let large = vec![b'x'; 500_000];
    memcached.set("seen_listed", 0, &large);
    let mut reader = Reader::start(&tracker);
    reader.until(secs(5), |change| short(change) == "unreadable listed");
    tracker.seen("alice").unwrap();
    reader.until(secs(5), |change| short(change) == "online alice");
    memcached.set("seen_alice", 0, &large);
    memcached.set("seen_stored", 0, &large);
    reader.holds(secs(5), |roster| roster.unknown() == 3);
    assert!(memcached.stat("bytes_written") < 100_000, "{}", memcached.stat("bytes_written"));
    // And it is a user again when it is a time.
    tracker.seen("stored").unwrap();
    reader.until(secs(5), |change| short(change) == "online stored");
}

#[test]
fn what_is_no_name_of_a_user_is_left_out() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let mut reader = Reader::ready(&tracker);
    memcached.raw(b"set seen_\xff 0 0 1\r\n1");
    memcached.raw("ms c2Vlbl9hIGI= 1 b\r\n1");
    tracker.seen("alice").unwrap();
    assert_eq!(short(&reader.next(secs(5)).unwrap()), "online alice");
    assert!(reader.roster.is_complete());
}

#[test]
fn neither_tombstones_nor_its_own_stores_are_told() {
    let memcached = Memcached::start();
    for prefix in ["gone:", "last-seen:", "g", "l"] {
        let tracker = Tracker::new(memcached.settings().with_key_prefix(prefix)).unwrap();
        let mut reader = Reader::ready(&tracker);
        tracker.seen("a").unwrap();
        tracker.sign_out("a").unwrap();
        tracker.forget("a").unwrap();
        // Long enough for stores of its own.
        for change in reader.drain(secs(3)) {
            let told = short(&change);
            assert!(told.ends_with(" a") || told.contains(" a "), "{prefix}: {told}");
        }
    }
}

#[test]
fn two_thousand_users_of_three_programs_in_two_seconds_are_all_told_at_once() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let mut reader = Reader::ready(&tracker);
    #[cfg(feature = "django")]
    let site = {
        let site = Settings::django("UTC").unwrap().with_key_prefix("seen_");
        Tracker::new(site.with_servers([memcached.address()])).unwrap()
    };
    #[cfg(not(feature = "django"))]
    let site = memcached.tracker();
    let stored: Arc<Mutex<BTreeMap<String, Instant>>> = Arc::default();
    let noting = Arc::clone(&stored);
    let mut raw = TcpStream::connect(memcached.address()).unwrap();
    raw.set_nodelay(true).unwrap();
    let writer = thread::spawn(move || {
        let started = Instant::now();
        for n in 0..2_000 {
            let user = format!("user{n}");
            noting.lock().unwrap().insert(user.clone(), Instant::now());
            match n % 3 {
                0 => tracker.seen(&user).unwrap(),
                1 => site.seen(&user).unwrap(),
                _ => {
                    let now = Utc::now().timestamp();
                    raw.write_all(format!("set seen_{user} 0 0 10\r\n{now}\r\n").as_bytes()).unwrap();
                    raw.read_exact(&mut [0; 8]).unwrap();
                }
            }
            thread::sleep((ms(1) * (n + 1)).saturating_sub(started.elapsed()));
        }
    });
    let mut delays = Vec::new();
    while delays.len() < 2_000 {
        if let Change::Online { user, .. } = reader.next(secs(5)).expect("a change") {
            delays.push(stored.lock().unwrap().remove(&*user).expect("each once").elapsed());
        }
    }
    writer.join().unwrap();
    delays.sort();
    assert!(delays[1_000] < secs(1), "half of them within {:?}", delays[1_000]);
    assert!(reader.roster.is_complete());
}

#[test]
fn a_reader_who_was_away_is_told_each_user_once_as_it_is_by_then() {
    let tracker = Tracker::in_memory();
    let mut reader = Reader::ready(&tracker);
    for _ in 0..3 {
        for n in 0..20_000 {
            tracker.seen(n).unwrap();
        }
    }
    for n in 0..20_000 {
        tracker.sign_out(n).unwrap();
    }
    tracker.seen("alice").unwrap();
    reader.holds(secs(20), |roster| roster.get("alice").is_some());
    reader.holds(secs(5), |roster| roster.online() == 1);
    // Those who waited for no room were read when they had signed out.
    assert!(reader.told.len() < 10_000, "{} changes", reader.told.len());
}

#[test]
fn users_go_offline_by_the_clock_in_the_second_in_which_they_do() {
    let memcached = Memcached::start();
    for tracker in [
        Tracker::new(Settings::default().with_servers(["memory:"]).with_online_timeout(secs(4))).unwrap(),
        Tracker::new(memcached.settings().with_online_timeout(secs(4))).unwrap(),
    ] {
        let mut reader = Reader::ready(&tracker);
        tracker.seen("alice").unwrap();
        reader.until(secs(5), |change| short(change) == "online alice");
        let seen = tracker.last_seen("alice").unwrap().unwrap();
        // Seen again in time, by which nobody flickers.
        thread::sleep(ms(1_500));
        tracker.seen("alice").unwrap();
        let again = tracker.last_seen("alice").unwrap().unwrap();
        assert!(again > seen);
        let change = reader.until(secs(12), |change| matches!(change, Change::Offline { .. }));
        let told_at = Utc::now();
        let Change::Offline { last_seen, reason, .. } = change else { panic!() };
        assert_eq!((last_seen, reason), (Some(again), OfflineReason::TimedOut));
        assert!(!tracker.online("alice").unwrap());
        let over = again + TimeDelta::seconds(5);
        assert!(told_at >= over && told_at < over + TimeDelta::seconds(2), "{told_at} for {over}");
    }
}

#[test]
fn a_record_that_expires_before_its_window_is_over_is_gone() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let now = Utc::now().timestamp();
    memcached.raw(format!("set seen_listed 0 3 10\r\n{now}"));
    let mut reader = Reader::ready(&tracker);
    assert_eq!(reader.status("listed"), Some(Status::Online));
    memcached.raw(format!("set seen_stored 0 3 10\r\n{now}"));
    reader.until(secs(5), |change| short(change) == "online stored");
    reader.until(secs(8), |change| short(change).starts_with("offline listed"));
    reader.holds(secs(8), |roster| roster.online() == 0);
    for change in &reader.told {
        assert!(!matches!(change, Change::Offline { reason, .. } if *reason != OfflineReason::Gone));
    }
}

#[test]
fn a_time_that_is_too_far_ahead_is_believed_when_it_is_not_any_more() {
    let memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_online_timeout(secs(3))).unwrap();
    let mut reader = Reader::ready(&tracker);
    memcached.set("seen_alice", 0, (Utc::now().timestamp() + 6).to_string().as_bytes());
    reader.until(secs(5), |change| short(change) == "unreadable alice");
    reader.until(secs(8), |change| short(change) == "online alice");
    assert!(tracker.online("alice").unwrap());
    reader.until(secs(15), |change| short(change) == "offline alice TimedOut");
    assert!(!tracker.online("alice").unwrap());
}

/// A server whose log says this, and whose list is empty.
fn logging(log: impl Into<Vec<u8>>) -> Fake {
    let log = log.into();
    scripted(1, move |line, mut stream| match line {
        "watch mutations deletions" => stream.write_all(b"ERROR\r\n").is_ok(),
        "watch mutations" => stream.write_all(&log).is_ok(),
        "lru_crawler metadump hash" => stream.write_all(b"END\r\n").is_ok(),
        _ => stream.write_all(b"STORED\r\n").is_ok(),
    })
}

#[test]
fn what_the_server_could_not_send_is_told_and_listed() {
    let line = "ts=1.0 gid=1 type=item_store key=seen_alice status=stored cmd=set ttl=0 clsid=1";
    let fake = logging(format!("OK\r\nskipped=17\n{line}\nsomething new\n"));
    let mut reader = Reader::start(&connect(&fake));
    let Change::Missed { updates, .. } =
        reader.until(secs(5), |change| matches!(change, Change::Missed { .. }))
    else {
        panic!()
    };
    assert!((17..=18).contains(&updates), "{updates}");
    assert!(!reader.roster.is_complete());
    let limit = if last_seen_tests::soak() { secs(30) } else { secs(5) };
    reader.holds(limit, Roster::is_complete);
    assert_eq!(reader.status("alice"), Some(Status::Online));
}

#[test]
fn the_logs_of_old_and_new_versions_are_read_whole_and_cut_anywhere() {
    for log in LOGS {
        // Most of the time goes by waiting.
        const AT_ONCE: usize = 32;
        thread::scope(|scope| {
            for first in 0..AT_ONCE {
                scope.spawn(move || (first..=log.len()).step_by(AT_ONCE).for_each(|end| cut_log(log, end)));
            }
        });
    }
}

fn cut_log(log: &'static [u8], end: usize) {
    let sent = &log[..end];
    let whole = end == log.len();
    let fake = scripted(1, move |line, mut stream| match line {
        "watch mutations deletions" => {
            stream.write_all(sent).unwrap();
            // The watcher goes first if the log is whole.
            whole && BufReader::new(stream).read_line(&mut String::new()).is_err()
        }
        _ => stream.write_all(b"END\r\n").is_ok(),
    });
    let mut watch = connect(&fake).watch().unwrap();
    let named = sent.split_inclusive(|&byte| byte == b'\n').filter(|line| {
        let line = String::from_utf8_lossy(line);
        line.ends_with('\n') && line.contains("key=seen_")
    });
    let key = |line: &[u8]| {
        let line = String::from_utf8_lossy(line).into_owned();
        line.split_once("key=seen_").and_then(|(_, rest)| rest.split(' ').next()).map(str::to_owned)
    };
    let mut named: Vec<_> = named.filter_map(key).collect();
    named.sort();
    named.dedup();
    if whole {
        for _ in 0..named.len() {
            let change = (0..2).find_map(|_| match watch.next_timeout(secs(5)) {
                Some(Change::Ready { .. }) => None,
                change => change,
            });
            assert!(matches!(change, Some(Change::Online { .. })), "{change:?}");
        }
    } else {
        // What came before the end may be told, or not: the end was there at once.
        let error = loop {
            match watch.next_timeout(secs(5)).expect("a change") {
                Change::ServerDown { error, .. } => break error,
                Change::Online { user, .. } => assert!(named.len() <= 8 && !user.is_empty()),
                _ => {}
            }
        };
        let told = error.to_string();
        assert!(told.contains(&fake.address()), "{told}");
        assert!(told.ends_with("closed the connection"), "cut at {end}: {told}");
    }
}

/// A server whose log says this to each watcher, `first` after the `OK` and `then` after a second and a half.
fn logging_in_two_pieces(first: &'static str, then: &'static str) -> Fake {
    scripted(1, move |line, mut stream| match line {
        "watch mutations deletions" => {
            let sent = stream.write_all(format!("OK\r\n{first}").as_bytes());
            thread::sleep(ms(1_500));
            sent.and_then(|()| stream.write_all(then.as_bytes())).is_ok()
        }
        "lru_crawler metadump hash" => stream.write_all(b"END\r\n").is_ok(),
        _ => stream.write_all(b"STORED\r\n").is_ok(),
    })
}

#[test]
fn a_line_that_comes_in_two_pieces_is_not_lost_and_holds_up_none_before_it() {
    let fake = logging_in_two_pieces(
        "ts=1.0 gid=1 type=item_store key=seen_alice status=stored cmd=set ttl=0 clsid=1\nts=1.1 gid=2 type=item_st",
        "ore key=seen_bob status=stored cmd=set ttl=0 clsid=1\n",
    );
    let mut reader = Reader::start(&connect(&fake));
    reader.until(secs(5), |change| short(change) == "online alice");
    reader.until(secs(5), |change| short(change) == "online bob");
    assert!(!reader.told.iter().any(|change| short(change) == "missed"));
}

#[test]
fn a_line_says_look_again_whatever_it_says_beside() {
    for line in [
        "type=item_store key=seen_alice status=no_memory cmd=set ttl=0 clsid=1",
        "type=deleted key=seen_alice cmd=delete clsid=1 size=3",
        "type=something_new key=seen_alice",
    ] {
        let fake = logging(format!("OK\r\nts=1.5 gid=2 {line}\n"));
        Reader::start(&connect(&fake)).until(secs(5), |change| short(change) == "online alice");
    }
}

#[test]
fn a_log_has_two_seconds_to_begin_whatever_the_timeout_is() {
    let fake = scripted(1, |line, mut stream| {
        if line.starts_with("watch") {
            thread::sleep(secs(1));
            return stream.write_all(b"OK\r\n").is_ok();
        }
        stream.write_all(b"END\r\n").is_ok()
    });
    let tracker = Tracker::connect(&fake.address()).unwrap();
    assert_eq!(tracker.settings().server_timeout(), ms(100));
    let mut watch = tracker.watch().unwrap();
    let first = watch.next_timeout(secs(5)).unwrap();
    assert!(matches!(first, Change::Ready { complete: true, .. }), "{first:?}");
}

#[test]
fn a_log_that_does_not_begin_says_so() {
    let fake = scripted(1, |line, _| line.starts_with("watch"));
    let mut watch = Tracker::connect(&fake.address()).unwrap().watch().unwrap();
    let Some(Change::ServerDown { error, .. }) = watch.next_timeout(secs(5)) else { panic!() };
    assert_eq!(
        error.to_string(),
        format!("memcached at {} is unavailable: the log did not begin within 2s", fake.address())
    );
}

#[test]
fn dropping_it_closes_its_connections_at_once_also_of_a_stopped_server() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let before = memcached.stat("curr_connections");
    let reader = Reader::ready(&tracker);
    // The question before, and the list, may not be closed yet.
    eventually(|| (memcached.stat("curr_connections") == before + 2).then_some(()));
    within(ms(500), || drop(reader));
    eventually(|| (memcached.stat("curr_connections") == before).then_some(()));
    let reader = Reader::ready(&tracker);
    memcached.suspend();
    within(ms(500), || drop(reader));
    memcached.resume();
    eventually(|| (memcached.stat("curr_connections") == before).then_some(()));
}

#[test]
fn a_watch_a_roster_and_their_changes_can_go_to_another_thread() {
    fn sendable<T: Send + 'static>() {}
    fn shared<T: Send + Sync + Clone + 'static>() {}
    sendable::<Watch>();
    shared::<Change>();
    shared::<Roster>();
}
