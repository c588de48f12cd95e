//! What fails, who says so, and that everything is right afterwards.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use chrono::Utc;
use last_seen::{Change, Error, Roster, Settings, Status, Tracker};

use super::reader::{Reader, Relay, detection, pace, short};
use last_seen_tests::{Memcached, eventually, ms, secs, soak, within};

/// Everything is right within so much of a server's return.
const RETURN: Duration = secs(5);

#[track_caller]
fn down(reader: &mut Reader, limit: Duration) -> String {
    let change = reader.until(limit, |change| matches!(change, Change::ServerDown { .. }));
    let Change::ServerDown { error, .. } = change else { panic!() };
    error.to_string()
}

/// Waits for the return, with some time for a machine that is busy.
#[track_caller]
fn back(reader: &mut Reader) {
    reader.until(RETURN + secs(2), |change| matches!(change, Change::ServerUp { .. }));
    reader.holds(secs(2), Roster::is_complete);
}

fn followed_through_a_relay() -> (Memcached, Relay, Tracker, Reader) {
    let memcached = Memcached::start();
    let relay = Relay::start(memcached.address());
    let (tracker, reader) = (memcached.tracker(), Reader::ready(&Tracker::connect(&relay.address).unwrap()));
    (memcached, relay, tracker, reader)
}

#[test]
fn a_server_that_is_killed_is_down_at_once_and_its_users_are_unknown_until_it_is_back() {
    let mut memcached = Memcached::start();
    // Shorter than the outage.
    let tracker = Tracker::new(memcached.settings().with_online_timeout(secs(3))).unwrap();
    let mut reader = Reader::ready(&tracker);
    tracker.seen("alice").unwrap();
    reader.holds(secs(5), |roster| roster.online() == 1);
    memcached.kill();
    let told = down(&mut reader, secs(2));
    assert!(told.starts_with(&format!("memcached at {} is unavailable: ", memcached.address())), "{told}");
    assert_eq!((reader.roster.online(), reader.roster.unknown()), (0, 1));
    // The clock turns nobody offline, and the outage is reported once.
    let told = reader.drain(secs(5));
    assert!(told.is_empty(), "{told:?}");
    let alice = reader.roster.get("alice").unwrap();
    assert_eq!((alice.status, alice.last_known), (Status::Unknown, Status::Online));
    let [server] = &reader.roster.servers().collect::<Vec<_>>()[..] else { panic!() };
    assert!(server.error.is_some() && server.since == alice.since);
    memcached.restart();
    eventually(|| tracker.seen("bob").ok());
    back(&mut reader);
    reader.holds(secs(2), |roster| roster.online() == 1 && roster.unknown() == 0);
    assert_eq!(reader.status("bob"), Some(Status::Online));
    assert_eq!(reader.status("alice"), Some(Status::Offline));
}

#[test]
fn a_server_that_is_stopped_is_down_and_everything_is_right_when_it_goes_on() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let mut reader = Reader::ready(&tracker);
    tracker.seen("alice").unwrap();
    reader.holds(secs(5), |roster| roster.online() == 1);
    memcached.suspend();
    down(&mut reader, detection());
    memcached.resume();
    eventually(|| tracker.seen("bob").ok());
    back(&mut reader);
    reader.holds(secs(2), |roster| roster.online() == 2 && roster.unknown() == 0);
}

#[test]
fn a_network_that_is_cut_is_found_out_and_everything_is_right_when_it_is_back() {
    let (_memcached, relay, tracker, mut reader) = followed_through_a_relay();
    tracker.seen("alice").unwrap();
    reader.holds(secs(5), |roster| roster.online() == 1);
    relay.cut(true);
    let told = down(&mut reader, detection());
    assert!(told.contains(&relay.address), "{told}");
    tracker.seen("bob").unwrap();
    tracker.forget("alice").unwrap();
    thread::sleep(secs(2));
    relay.cut(false);
    back(&mut reader);
    assert_eq!(reader.status("bob"), Some(Status::Online));
    assert_eq!(reader.status("alice"), Some(Status::Offline));
}

#[test]
fn a_log_connection_that_dies_silently_is_found_out_and_replaced() {
    let (_memcached, relay, tracker, mut reader) = followed_through_a_relay();
    tracker.seen("alice").unwrap();
    reader.holds(secs(5), |roster| roster.online() == 1);
    relay.kill_log();
    tracker.seen("bob").unwrap();
    let told = down(&mut reader, detection());
    assert!(told.ends_with("its log is dead: nothing that was stored came back in it"), "{told}");
    back(&mut reader);
    assert_eq!(reader.roster.online(), 2);
}

#[test]
fn a_reading_connection_that_dies_silently_is_replaced_and_nothing_is_lost() {
    let (_memcached, relay, tracker, mut reader) = followed_through_a_relay();
    tracker.seen("alice").unwrap();
    reader.holds(secs(5), |roster| roster.online() == 1);
    relay.kill_others();
    tracker.seen("bob").unwrap();
    reader.holds(RETURN, |roster| roster.online() == 2);
    assert!(!reader.told.iter().any(|change| matches!(change, Change::ServerDown { .. })));
}

#[test]
fn both_connections_that_die_silently_are_found_out_and_replaced() {
    let (_memcached, relay, tracker, mut reader) = followed_through_a_relay();
    relay.kill_log();
    relay.kill_others();
    tracker.seen("bob").unwrap();
    down(&mut reader, detection());
    back(&mut reader);
    assert_eq!(reader.roster.online(), 1);
}

#[test]
fn nothing_is_told_of_a_healthy_server_that_is_quiet() {
    let memcached = Memcached::start();
    // With the timeout that a program has.
    let mut reader = Reader::ready(&Tracker::connect(&memcached.address()).unwrap());
    let stored = memcached.stat("cmd_set");
    let told = reader.drain(if soak() { secs(600) } else { secs(8) });
    assert!(told.is_empty(), "{told:?}");
    // It was tried all the same.
    assert!(memcached.stat("cmd_set") - stored >= if soak() { 30 } else { 2 });
    assert_eq!(memcached.stat("curr_items"), 1);
}

fn three(options: &[&str]) -> ([Memcached; 3], Tracker) {
    let servers = [Memcached::start(), Memcached::start_with(options), Memcached::start()];
    let settings = Settings::default().with_servers(servers.iter().map(Memcached::address));
    let tracker = Tracker::new(settings.with_server_timeout(secs(2))).unwrap();
    (servers, tracker)
}

/// A user of each server.
fn users(servers: &[Memcached; 3], tracker: &Tracker) -> [String; 3] {
    let at = |server: &Memcached| {
        (0..)
            .find(|n| tracker.preview(n, Utc::now()).unwrap().server == server.address())
            .unwrap()
            .to_string()
    };
    [at(&servers[0]), at(&servers[1]), at(&servers[2])]
}

#[test]
fn one_of_three_servers_that_is_down_from_the_start_and_for_ever_costs_only_its_own_users() {
    let (mut servers, tracker) = three(&[]);
    let [a, b, c] = users(&servers, &tracker);
    tracker.seen(&a).unwrap();
    tracker.seen(&c).unwrap();
    servers[1].kill();
    let mut reader = Reader::start(&tracker);
    let ready = reader.until(secs(10), |change| matches!(change, Change::Ready { .. }));
    assert_eq!(short(&ready), "2 online, incomplete");
    let downs: Vec<_> = reader.told.iter().filter(|change| short(change) == "down").collect();
    let [Change::ServerDown { server, error: Error::Unavailable { .. }, .. }] = downs[..] else { panic!() };
    assert_eq!(**server, servers[1].address());
    // The others go on.
    tracker.sign_out(&a).unwrap();
    reader.holds(secs(5), |roster| roster.online() == 1 && !roster.is_complete());
    assert_eq!((reader.status(&a), reader.status(&b)), (Some(Status::Offline), None));
    // And it may come after all.
    servers[1].restart();
    back(&mut reader);
    eventually(|| tracker.seen(&b).ok());
    reader.holds(secs(5), |roster| roster.online() == 2);
}

#[test]
fn one_of_three_servers_that_goes_down_in_the_middle_costs_only_its_own_users() {
    let (mut servers, tracker) = three(&[]);
    let users = users(&servers, &tracker);
    users.iter().for_each(|user| tracker.seen(user).unwrap());
    let mut reader = Reader::ready(&tracker);
    assert_eq!(reader.roster.online(), 3);
    servers[1].kill();
    down(&mut reader, secs(2));
    assert_eq!((reader.roster.online(), reader.roster.unknown()), (2, 1));
    assert_eq!(reader.status(&users[1]), Some(Status::Unknown));
    servers[1].restart();
    back(&mut reader);
    assert_eq!((reader.roster.online(), reader.roster.unknown()), (2, 0));
    assert_eq!(reader.status(&users[1]), Some(Status::Offline));
}

#[test]
fn a_server_that_refuses_is_down_in_its_own_words_and_the_others_go_on() {
    for (option, expected) in [
        (&["-W"][..], "answered \"CLIENT_ERROR watch commands not allowed\""),
        (&["-X"], "answered \"ERROR metadump not allowed\""),
        (&["-o", "no_lru_crawler"], "answered \"CLIENT_ERROR lru crawler disabled\""),
    ] {
        let (servers, tracker) = three(option);
        let users = users(&servers, &tracker);
        users.iter().for_each(|user| tracker.seen(user).unwrap());
        let mut reader = Reader::start(&tracker);
        let ready = reader.until(secs(10), |change| matches!(change, Change::Ready { .. }));
        assert_eq!(short(&ready), "2 online, incomplete");
        let refused = reader.told.iter().find_map(|change| match change {
            Change::ServerDown { error, .. } => Some(error.to_string()),
            _ => None,
        });
        assert_eq!(refused.unwrap(), format!("memcached at {} {expected}", servers[1].address()));
        // It holds no connection meanwhile.
        eventually(|| (servers[1].stat("curr_connections") <= 3).then_some(()));
    }
}

#[test]
fn the_twenty_first_watcher_is_told_so_and_let_in_later() {
    let memcached = Memcached::start();
    let watchers: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(memcached.address()).unwrap();
            stream.write_all(b"watch mutations\r\n").unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
            stream
        })
        .collect();
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    let mut reader = Reader::start(&tracker);
    let told = down(&mut reader, secs(5));
    let expected = "WATCHER_TOO_MANY log watcher limit reached; memcached allows 20 watchers";
    assert!(
        told.starts_with(&format!("memcached at {} answered \"{expected}", memcached.address())),
        "{told}"
    );
    drop(watchers);
    reader.until(secs(20) / pace() + secs(5), |change| matches!(change, Change::ServerUp { .. }));
    reader.holds(secs(5), |roster| roster.online() == 1 && roster.is_complete());
}

#[test]
fn twenty_watches_neither_stall_one_another_nor_the_server() {
    let memcached = Memcached::start_with(&["-m", "1024"]);
    let tracker = memcached.tracker();
    let (items, online) = if soak() { (1_000_000, 20_000) } else { (50_000, 2_000) };
    let now = Utc::now();
    let age = |n: usize| if n.is_multiple_of(items / online) { 0 } else { 100_000 };
    let records = (0..items).map(|n| (n, now - chrono::TimeDelta::seconds(age(n))));
    assert_eq!(tracker.restore(records).written, items);
    let mut readers: Vec<Reader> = (0..20).map(|_| Reader::start(&memcached.tracker())).collect();
    thread::scope(|scope| {
        for reader in &mut readers {
            scope.spawn(move || {
                reader.until(secs(150), |change| matches!(change, Change::Ready { complete: true, .. }));
                assert!((online..=online + 2).contains(&reader.roster.online()));
            });
        }
        // Meanwhile it serves.
        for n in 0..100 {
            within(secs(2), || tracker.seen(format!("served{}", n % 2)).unwrap());
            thread::sleep(ms(5));
        }
    });
    for reader in &mut readers {
        reader.holds(secs(10), |roster| roster.online() == online + 2);
    }
}

/// After a flood: two lists, each after twenty times the duration of the last one, on a machine that is busy.
const HEALS: Duration = secs(120);

/// As many users at once as the server takes.
fn flood(memcached: &Memcached, name: &str, count: usize) {
    let mut stream = TcpStream::connect(memcached.address()).unwrap();
    let now = Utc::now().timestamp();
    for first in (0..count).step_by(1_000) {
        let sets: String =
            (first..first + 1_000).map(|n| format!("set seen_{name}{n} 0 600 10\r\n{now}\r\n")).collect();
        stream.write_all(sets.as_bytes()).unwrap();
        stream.read_exact(&mut vec![0; 8 * 1_000]).unwrap();
    }
}

#[test]
fn a_burst_and_a_flood_leave_nobody_out() {
    let memcached = Memcached::start_with(&["-m", "1024"]);
    let tracker = memcached.tracker();
    let mut reader = Reader::ready(&tracker);
    flood(&memcached, "burst", 5_000);
    reader.holds(HEALS, |roster| roster.online() == 5_000);
    thread::scope(|scope| {
        for writer in 0..2 {
            let memcached = &memcached;
            scope.spawn(move || flood(memcached, &format!("flood{writer}-"), 50_000));
        }
    });
    reader.holds(HEALS, |roster| roster.online() == 105_000 && roster.is_complete());
    let missed = reader.told.iter().map(|change| match change {
        Change::Missed { updates, .. } => *updates,
        _ => 0,
    });
    let missed: u64 = missed.sum();
    let lost = memcached.stat("log_worker_dropped") + memcached.stat("log_watcher_skipped");
    assert!(missed >= lost, "{missed} of {lost}");
}

#[test]
fn a_flood_without_end_is_listed_seldom_and_leaves_nobody_out() {
    let memcached = Memcached::start_with(&["-m", "1024"]);
    let tracker = memcached.tracker();
    let mut reader = Reader::ready(&tracker);
    let took = if soak() { secs(60) } else { secs(8) };
    let (told_before, end) = (reader.told.len(), Instant::now() + took);
    thread::scope(|scope| {
        for writer in 0..2 {
            let memcached = &memcached;
            scope.spawn(move || {
                while Instant::now() < end {
                    flood(memcached, &format!("flood{writer}-"), 10_000);
                }
            });
        }
        while Instant::now() < end {
            reader.next(ms(50));
        }
    });
    // Each list ends with one.
    let ready = reader.told[told_before..].iter().filter(|change| matches!(change, Change::Ready { .. }));
    let (lists, most) = (ready.count(), (took * pace()).as_secs() / 10 + 1);
    assert!(lists as u64 <= most, "{lists} lists");
    reader.holds(HEALS, |roster| roster.online() == 20_000 && roster.is_complete());
}
