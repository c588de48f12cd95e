//! What is on the wire, and in memcached, for the others to read.

use std::io::{BufRead, BufReader, Write};

use chrono::DateTime;
use last_seen::{Settings, Tracker};

use last_seen_tests::{Fake, Memcached, ms};

#[test]
fn a_record_is_unix_seconds_with_flags_0_for_a_week() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    tracker.seen_at("alice", DateTime::from_timestamp(1_795_486_388, 0).unwrap()).unwrap();
    assert_eq!(memcached.raw("get seen_alice"), "VALUE seen_alice 0 10\r\n1795486388\r\nEND\r\n");
    let left = memcached.raw("mg seen_alice t");
    assert!(left == "HD t604800\r\n" || left == "HD t604799\r\n", "{left}");
}

#[test]
fn a_name_outside_ascii_is_its_utf_8_on_the_wire() {
    let memcached = Memcached::start();
    memcached.tracker().seen_at("josé", DateTime::from_timestamp(1_795_486_388, 0).unwrap()).unwrap();
    assert_eq!(memcached.raw("get seen_josé"), "VALUE seen_josé 0 10\r\n1795486388\r\nEND\r\n");
}

#[test]
fn a_prefix_of_ones_own_is_used() {
    let memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_key_prefix("shop:2:seen_")).unwrap();
    tracker.seen_at(7, DateTime::from_timestamp(1_795_486_388, 0).unwrap()).unwrap();
    assert_eq!(memcached.raw("get shop:2:seen_7"), "VALUE shop:2:seen_7 0 10\r\n1795486388\r\nEND\r\n");
}

#[test]
fn a_signed_out_user_is_offline_for_a_reader_that_knows_only_the_rule() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    tracker.sign_out("alice").unwrap();
    let answer = memcached.raw("get seen_alice");
    let seen: i64 = answer.lines().nth(1).unwrap().parse().unwrap();
    assert!(chrono::Utc::now().timestamp() > seen + 300);
}

#[test]
fn a_page_of_500_users_is_one_round_trip() {
    let fake = Fake::start(|stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let keys: String = (0..500).map(|n| format!(" seen_user{n}")).collect();
        assert_eq!(line, format!("get{keys}\r\n"));
        (&stream).write_all(b"END\r\n").unwrap();
        assert_eq!(reader.read_line(&mut String::new()).unwrap(), 0, "a second round trip");
    });
    let settings = Settings::default().with_servers([fake.address()]).with_server_timeout(ms(2_000));
    let tracker = Tracker::new(settings).unwrap();
    let page = tracker.presences((0..500).map(|n| format!("user{n}")));
    assert_eq!(page.len(), 500);
    assert!(page.iter().all(|one| one.as_ref().is_ok_and(|one| one.last_seen.is_none())), "{page:?}");
    assert_eq!(fake.connections(), 1);
}

#[test]
fn no_user_is_no_round_trip() {
    let tracker = Tracker::connect("127.0.0.1:1").unwrap();
    assert!(tracker.presences([""; 0]).is_empty());
    assert!(tracker.presences(["not legal"]).remove(0).is_err());
    let nothing: [(&str, DateTime<chrono::Utc>); 0] = [];
    assert_eq!(tracker.restore(nothing), last_seen::RestoreSummary::default());
}

#[test]
fn a_server_says_how_it_is() {
    let memcached = Memcached::start_with(&["-c", "77"]);
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    let [server] = &tracker.server_status()[..] else { panic!() };
    assert_eq!(server.server, memcached.address());
    let info = server.info.as_ref().unwrap();
    assert!(info.version.starts_with("1."), "{info:?}");
    assert!(info.latency < ms(100), "{info:?}");
    assert!(info.clock_offset.unwrap().num_seconds().abs() <= 2, "{info:?}");
    assert!(info.connections.unwrap() >= 2, "{info:?}");
    assert_eq!(info.max_connections, Some(77));
    assert!(Tracker::in_memory().server_status().is_empty());
}
