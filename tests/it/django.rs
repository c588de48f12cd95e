//! An unchanged Django site on the same memcached: its values byte for byte.

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::{Format, Settings, Tracker};

use last_seen_tests::Memcached;

/// What `cache.set('seen_alice', datetime(2026, 3, 29, 12, 34, 56, 789012), 604800)` stores, from protocol 4.
const NAIVE: &[u8] = b"\x80\x04\x95*\0\0\0\0\0\0\0\x8c\x08datetime\x94\x8c\x08datetime\x94\x93\x94C\n\
    \x07\xea\x03\x1d\x0c\"8\x0c\n\x14\x94\x85\x94R\x94.";

/// The same with `timezone.now()` of a site with `USE_TZ = True`, from protocol 5.
const AWARE: &[u8] = b"\x80\x05\x95W\0\0\0\0\0\0\0\x8c\x08datetime\x94\x8c\x08datetime\x94\x93\x94C\n\
    \x07\xea\x03\x1d\x0c\"8\x0c\n\x14\x94h\0\x8c\x08timezone\x94\x93\x94h\0\x8c\ttimedelta\x94\x93\x94\
    K\0K\0K\0\x87\x94R\x94\x85\x94R\x94\x86\x94R\x94.";

fn site(memcached: &Memcached, zone: &str) -> Tracker {
    Tracker::new(Settings::django(zone).unwrap().with_servers([memcached.address()])).unwrap()
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn a_record_is_what_django_writes() {
    let memcached = Memcached::start();
    let tracker = site(&memcached, "Europe/Berlin");
    let would = tracker.preview("alice", utc("2026-03-29T10:34:56.789012Z")).unwrap().stored.unwrap();
    assert_eq!((would.flags, &would.bytes[..]), (1, NAIVE));
    tracker.seen_at("alice", utc("2026-03-29T10:34:56.789012Z")).unwrap();
    let stored = tracker.inspect("alice").unwrap();
    assert_eq!(stored.key, ":1:seen_alice");
    let stored = stored.stored.unwrap();
    assert_eq!((stored.flags, &stored.bytes[..]), (1, NAIVE));
    let left = memcached.raw("mg :1:seen_alice t f s");
    assert!(left == "HD t604800 f1 s53\r\n" || left == "HD t604799 f1 s53\r\n", "{left}");
    assert_eq!(tracker.last_seen("alice").unwrap(), Some(utc("2026-03-29T10:34:56.789012Z")));
}

#[test]
fn a_datetime_without_a_zone_is_in_the_time_zone_of_the_site() {
    let memcached = Memcached::start();
    memcached.set(":1:seen_alice", 1, NAIVE);
    memcached.set(":1:seen_bob", 16, b"2026-03-29 12:34:56.789012");
    for (zone, expected) in [
        ("UTC", "2026-03-29T12:34:56.789012Z"),
        ("Europe/Berlin", "2026-03-29T10:34:56.789012Z"),
        ("America/Chicago", "2026-03-29T17:34:56.789012Z"),
        ("Asia/Kolkata", "2026-03-29T07:04:56.789012Z"),
    ] {
        let tracker = site(&memcached, zone);
        assert_eq!(tracker.last_seen("alice").unwrap(), Some(utc(expected)), "{zone}");
        assert_eq!(tracker.last_seen("bob").unwrap(), Some(utc(expected)), "{zone}");
    }
}

#[test]
fn a_site_moves_from_one_format_to_the_other_while_it_runs() {
    let memcached = Memcached::start();
    let old = site(&memcached, "Europe/Berlin");
    let new = Tracker::new(old.settings().clone().with_format(Format::UnixSeconds)).unwrap();
    let at = DateTime::from_timestamp(Utc::now().timestamp() - 10, 0).unwrap();
    for (writer, reader) in [(&old, &new), (&new, &old)] {
        writer.seen_at("alice", at).unwrap();
        assert_eq!(reader.last_seen("alice").unwrap(), Some(at));
        assert!(reader.online("alice").unwrap());
        reader.sign_out("alice").unwrap();
        assert!(!writer.online("alice").unwrap());
        assert!(writer.last_seen("alice").unwrap().is_some());
    }
}

#[test]
fn a_key_prefix_and_a_version_of_the_site_are_in_the_prefix() {
    let memcached = Memcached::start();
    let settings = Settings::django("UTC").unwrap().with_key_prefix("site:2:seen_");
    let tracker = Tracker::new(settings.with_servers([memcached.address()])).unwrap();
    tracker.seen("alice").unwrap();
    assert!(memcached.raw("mg site:2:seen_alice s").starts_with("HD s53"));
}

#[test]
fn a_django_user_name_too_long_for_memcached_is_refused() {
    let tracker = Tracker::new(Settings::django("UTC").unwrap().with_servers(["memory:"])).unwrap();
    let name = "張".repeat(150);
    let error = tracker.seen(&name).unwrap_err().to_string();
    assert!(error.contains("longer than 250 bytes with the prefix; pass the user's id"), "{error}");
}

#[test]
fn a_pickle_of_something_else_is_an_error_that_says_what_it_is() {
    let memcached = Memcached::start();
    let tracker = site(&memcached, "UTC");
    memcached.set(":1:seen_alice", 1, b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.");
    let error = tracker.last_seen("alice").unwrap_err().to_string();
    assert!(error.ends_with(", a global that is not allowed"), "{error}");
}

#[test]
fn an_aware_datetime_is_the_time_that_it_says() {
    let memcached = Memcached::start();
    let tracker = site(&memcached, "America/Chicago");
    memcached.set(":1:seen_alice", 1, AWARE);
    assert_eq!(tracker.last_seen("alice").unwrap(), Some(utc("2026-03-29T12:34:56.789012Z")));
}

#[test]
fn an_aware_record_is_what_a_django_with_use_tz_writes_in_any_zone() {
    let memcached = Memcached::start();
    for zone in ["UTC", "America/Chicago"] {
        let settings = Settings::django_aware().with_time_zone(zone).with_servers([memcached.address()]);
        let tracker = Tracker::new(settings).unwrap();
        tracker.seen_at("alice", utc("2026-03-29T12:34:56.789012Z")).unwrap();
        let record = tracker.inspect("alice").unwrap();
        let stored = record.stored.unwrap();
        assert_eq!((record.key.as_str(), stored.flags, stored.bytes.len()), (":1:seen_alice", 1, 98));
        assert_eq!(stored.bytes[..2], *b"\x80\x04");
        assert_eq!(stored.bytes[2..], AWARE[2..]);
        assert_eq!(stored.format, Some(Format::DjangoAware));
    }
}

#[test]
fn a_sign_out_of_an_aware_site_is_five_minutes_and_five_seconds_ago() {
    let memcached = Memcached::start();
    let tracker = Tracker::new(Settings::django_aware().with_servers([memcached.address()])).unwrap();
    tracker.seen("alice").unwrap();
    assert!(tracker.online("alice").unwrap());
    tracker.sign_out("alice").unwrap();
    assert!(!tracker.online("alice").unwrap());
    let ago = Utc::now() - tracker.last_seen("alice").unwrap().unwrap();
    assert!((305..315).contains(&ago.num_seconds()), "{ago}");
}

#[test]
fn the_format_of_a_record_is_told_whoever_wrote_it_and_whatever_is_set() {
    let memcached = Memcached::start();
    for tracker in [site(&memcached, "UTC"), memcached.tracker()] {
        for (value, format) in [
            (NAIVE, Some(Format::Django)),
            (AWARE, Some(Format::DjangoAware)),
            (b"1774787696", Some(Format::UnixSeconds)),
            (b"1774787696789", None),
            (b"2026-03-29T12:34:56Z", None),
            (b"soon", None),
        ] {
            memcached.set(tracker.inspect("alice").unwrap().key.as_str(), 1, value);
            let stored = tracker.inspect("alice").unwrap().stored.unwrap();
            assert_eq!(stored.format, format, "{}", value.escape_ascii());
        }
    }
}

#[test]
fn seen_in_one_zone_is_online_in_the_same_zone_only() {
    let memcached = Memcached::start();
    let (berlin, chicago) = (site(&memcached, "Europe/Berlin"), site(&memcached, "America/Chicago"));
    berlin.seen("alice").unwrap();
    assert!(berlin.online("alice").unwrap());
    // Read as Chicago's time it is hours ahead, which is not believed.
    assert!(matches!(chicago.online("alice"), Err(last_seen::Error::InvalidRecord { .. })));
    chicago.seen_at("bob", Utc::now() - TimeDelta::seconds(1)).unwrap();
    assert!(!berlin.online("bob").unwrap());
}
