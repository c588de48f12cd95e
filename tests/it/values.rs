//! What other programs may have written under a user's key.

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::{Error, Tracker};

use last_seen_tests::Memcached;

struct Cache {
    memcached: Memcached,
    tracker: Tracker,
}

impl Cache {
    fn start() -> Self {
        let memcached = Memcached::start();
        let tracker = memcached.tracker();
        Self { memcached, tracker }
    }

    #[track_caller]
    fn reads(&self, flags: u32, value: &str, expected: &str) {
        self.memcached.set("seen_alice", flags, value.as_bytes());
        let expected: DateTime<Utc> = expected.parse().unwrap();
        assert_eq!(self.tracker.last_seen("alice").unwrap(), Some(expected), "{value:?}");
    }

    #[track_caller]
    fn refuses(&self, flags: u32, value: &[u8]) -> String {
        self.memcached.set("seen_alice", flags, value);
        match self.tracker.last_seen("alice").unwrap_err() {
            error @ Error::InvalidRecord { .. } => error.to_string(),
            other => panic!("{}: {other:?}", value.escape_ascii()),
        }
    }
}

#[test]
fn numbers_are_read_by_their_magnitude_whatever_the_flags() {
    let cache = Cache::start();
    for flags in [0, 1, 2, 4, 16, 512, u32::MAX] {
        cache.reads(flags, "1774787696", "2026-03-29T12:34:56Z");
    }
    cache.reads(0, "1774787696.789012", "2026-03-29T12:34:56.789012Z");
    cache.reads(0, "1774787696.5", "2026-03-29T12:34:56.5Z");
    cache.reads(0, "1774787696.0123456789", "2026-03-29T12:34:56.012345678Z");
    cache.reads(0, "1774787696789", "2026-03-29T12:34:56.789Z");
    cache.reads(0, "1774787696789.25", "2026-03-29T12:34:56.789Z");
    cache.reads(0, "1774787696789012", "2026-03-29T12:34:56.789012Z");
    cache.reads(0, "1774787696789012345", "2026-03-29T12:34:56.789012345Z");
    cache.reads(0, "0", "1970-01-01T00:00:00Z");
}

#[test]
fn what_stands_around_a_time_does_not_count() {
    let cache = Cache::start();
    for text in ["1774787696", "1774787696.0", "2026-03-29T12:34:56Z", "2026-03-29 12:34:56"] {
        for around in [
            ["\"", "\""],
            [" ", ""],
            ["", "\n"],
            ["", "\r\n"],
            ["", "\0"],
            ["\t ", " \0\r\n\0"],
            [" \"", "\"\n"],
        ] {
            cache.reads(0, &around.join(text), "2026-03-29T12:34:56Z");
        }
    }
}

#[test]
fn dates_are_read_as_php_ruby_go_javascript_and_a_shell_write_them() {
    let cache = Cache::start();
    for text in [
        // Ruby's Time#to_s, Go's Time.String(), with its clock and with a zone that has no letters.
        "2026-03-29 14:34:56 +0200",
        "2026-03-29 12:34:56 UTC",
        "2026-03-29 12:34:56 +0000 UTC",
        "2026-03-29 14:34:56.000000000 +0200 CEST m=+0.000012345",
        "2026-03-29 15:34:56 +0300 +03 m=-12.5",
        // PHP's DATE_RFC2822 and DATE_COOKIE, Ruby's httpdate, Go's time.RFC1123 in UTC.
        "Sun, 29 Mar 2026 12:34:56 +0000",
        "Sun, 29 Mar 2026 12:34:56 GMT",
        "Sun, 29 Mar 2026 12:34:56 UTC",
        "Sunday, 29-Mar-2026 12:34:56 UTC",
        // Of the shell and Go.
        "Sun Mar 29 12:34:56 UTC 2026",
        "Sun Mar 29 14:34:56 +0200 2026",
        // JavaScript.
        "Sun Mar 29 2026 14:34:56 GMT+0200 (Central European Summer Time)",
        // PHP's serialize() of an int, a float, a string and dates.
        "i:1774787696;",
        "d:1774787696.0;",
        r#"s:10:"1774787696";"#,
        r#"s:20:"2026-03-29T12:34:56Z";"#,
        r#"O:8:"DateTime":3:{s:4:"date";s:26:"2026-03-29 12:34:56.000000";s:13:"timezone_type";i:3;s:8:"timezone";s:3:"UTC";}"#,
        r#"O:17:"DateTimeImmutable":3:{s:4:"date";s:26:"2026-03-29 14:34:56.000000";s:13:"timezone_type";i:1;s:8:"timezone";s:6:"+02:00";}"#,
    ] {
        cache.reads(0, text, "2026-03-29T12:34:56Z");
    }
    cache.reads(0, "Sun Mar  1 12:34:56 UTC 2026", "2026-03-01T12:34:56Z");
    cache.reads(0, "2026-03-29 14:34:56.789012 +0200 CEST", "2026-03-29T12:34:56.789012Z");
}

#[test]
fn rubys_marshal_is_read_of_numbers_strings_and_times() {
    let cache = Cache::start();
    for (value, expected) in [
        (&b"\x04\x08l+\x07\x70\x1c\xc9i"[..], "2026-03-29T12:34:56Z"),
        (b"\x04\x08l+\x08\x95\x18\x979\x9d\x01", "2026-03-29T12:34:56.789Z"),
        (b"\x04\x08l+\x09\x14\x068\xf6(N\x06\0", "2026-03-29T12:34:56.789012Z"),
        (b"\x04\x08f\x121774787696.25", "2026-03-29T12:34:56.25Z"),
        (b"\x04\x08I\"\x0f1774787696\x06:\x06ET", "2026-03-29T12:34:56Z"),
        (b"\x04\x08I\"\x192026-03-29T12:34:56Z\x06:\x06EF", "2026-03-29T12:34:56Z"),
        (
            b"\x04\x08Iu:\tTime\r\xac\x8b\x1f\x80\0\0\x80\x8b\x07:\x0boffseti\x02\x20\x1c",
            "2026-03-29T12:34:56Z",
        ),
    ] {
        cache.memcached.set("seen_alice", 1, value);
        let expected: DateTime<Utc> = expected.parse().unwrap();
        assert_eq!(cache.tracker.last_seen("alice").unwrap(), Some(expected), "{}", value.escape_ascii());
    }
    for value in [
        &b"\x04\x08"[..],
        b"\x04\x08T",
        b"\x04\x080",
        b"\x04\x08l-\x07\x70\x1c\xc9i",
        b"\x04\x08l+\x07\x70\x1c\xc9",
        b"\x04\x08l+\x08\x70\x1c\xc9i",
        b"\x04\x08f\x08nan",
        b"\x04\x08I\"\x0fyesterday!\x06:\x06ET",
        b"\x04\x08I\"\x0f1774787696\x06:\rencoding\"\x0eShift_JIS",
        b"\x04\x08I\"\x041774787696\x06:\x06ET",
        b"\x04\x08Iu:\tTime\r\xac\x8b\x1f\x80\0\0\x80",
        b"\x04\x08Iu:\tTime\r\xac\x8b\x1f\x00\0\0\x80\x8b",
        b"\x04\x08Iu:\tTime\r\xac\x8b\x1f\x80\xff\xff\x8f\x8b",
        b"\x04\x08{\x06:\x07atl+\x07\x70\x1c\xc9i",
    ] {
        let told = cache.refuses(1, value);
        assert!(told.ends_with(", Ruby's Marshal of something else than a time"), "{told}");
    }
}

#[test]
fn a_zone_by_an_abbreviation_is_refused_since_several_have_the_same() {
    let cache = Cache::start();
    for text in [
        "2026-03-29 12:34:56 CST",
        "Sun, 29 Mar 2026 12:34:56 CST",
        "Sun, 29 Mar 2026 12:34:56 A",
        "Sun, 29 Mar 2026 12:34:56",
        "Sunday, 29-Mar-2026 12:34:56 EST",
        "Sun Mar 29 12:34:56 CST 2026",
        "Sun Mar 29 12:34:56 2026",
        "Sun Mar 29 2026 12:34:56",
        // It was a Sunday.
        "Mon, 29 Mar 2026 12:34:56 GMT",
        r#"O:8:"DateTime":3:{s:4:"date";s:26:"2026-03-29 12:34:56.000000";s:13:"timezone_type";i:2;s:8:"timezone";s:3:"CST";}"#,
        r#"O:8:"DateTime":3:{s:4:"date";s:26:"2026-03-29 12:34:56.000000";s:13:"timezone_type";i:3;s:8:"timezone";s:13:"Europe/Berlin";}"#,
    ] {
        cache.refuses(0, text.as_bytes());
    }
}

#[test]
fn dates_are_read_as_rfc_3339_and_iso_8601_write_them() {
    let cache = Cache::start();
    cache.reads(0, "2026-03-29T12:34:56Z", "2026-03-29T12:34:56Z");
    cache.reads(0, "2026-03-29T12:34:56.789Z", "2026-03-29T12:34:56.789Z");
    cache.reads(0, "2026-03-29t12:34:56z", "2026-03-29T12:34:56Z");
    cache.reads(0, "2026-03-29T14:34:56+02:00", "2026-03-29T12:34:56Z");
    cache.reads(0, "2026-03-29T14:34:56+0200", "2026-03-29T12:34:56Z");
    cache.reads(0, "2026-03-29T14:34:56+02", "2026-03-29T12:34:56Z");
    cache.reads(0, "2026-03-29 12:34:56.789012", "2026-03-29T12:34:56.789012Z");
    cache.reads(0, "2026-03-29 12:34:56", "2026-03-29T12:34:56Z");
    cache.reads(0, "2026-03-29T12:34:56", "2026-03-29T12:34:56Z");
    cache.reads(0, "2026-03-29 12:34:56+00:00", "2026-03-29T12:34:56Z");
}

#[test]
fn anything_else_is_an_error_that_shows_what_is_there() {
    let cache = Cache::start();
    let told = |value: &[u8]| cache.refuses(0, value);
    let prefix = r#"the value stored under "seen_alice" is not a valid timestamp: "#;
    assert_eq!(told(b""), format!("{prefix}flags 0, empty"));
    assert_eq!(told(b"-5"), format!("{prefix}flags 0, 2 bytes, beginning \"-5\""));
    let perl = b"\x05\x0b\x03\0\0\0\x01";
    assert_eq!(
        cache.refuses(1, perl),
        format!(r#"{prefix}flags 1, 7 bytes, beginning "\x05\x0b\x03\x00\x00\x00\x01""#)
    );
    let megabyte = vec![b'1'; 1_000_000];
    assert_eq!(told(&megabyte), format!("{prefix}flags 0, 1000000 bytes, beginning \"1111111111111111\""));
    let far = told(b"9999999999");
    assert!(far.starts_with(&format!("{prefix}2286-11-20 17:46:39 UTC is ")), "{far}");
    assert!(far.ends_with(" s in the future; check the clocks of the writing host and of this one"), "{far}");
    for value in [
        b"9e99".as_slice(),
        b"+1774787696",
        b"1774 787696",
        b"\"1774787696",
        b"'1774787696'",
        b"\"\"1774787696\"\"",
        b"\" \"",
        b"1774787696\n1774787697",
        b"i:1774787696",
        b"i:-5;",
        b"b:1;",
        b"a:1:{i:0;i:1774787696;}",
        b"s:10:1774787696;",
        b"Last week.",
        b"In a moment.",
        b"1774787696.",
        b".5",
        b"1.2.3",
        b"99999999999999999999999999",
        b"99999-03-29T12:34:56Z",
        b"+2026-03-29T12:34:56Z",
        b"2026-02-30T12:34:56Z",
        b"2026-03-29",
        b"2026-03-29T25:00:00Z",
        b"soon",
        b"\xff\xfe",
        b"\0",
        b"{\"t\":1774787696}",
        b"\x80\x05\x95*\0\0\0\0\0\0\0\x8c\x08datetime",
        b"cdatetime\ndatetime\n",
        "１７７４７８７６９６".as_bytes(),
    ] {
        told(value);
    }
}

#[test]
fn one_bad_value_on_a_page_is_one_error() {
    let cache = Cache::start();
    cache.tracker.seen("bob").unwrap();
    cache.memcached.set("seen_alice", 0, b"soon");
    let page = cache.tracker.presences(["bob", "alice", "carol"]);
    assert!(page[0].as_ref().unwrap().online);
    assert!(matches!(page[1], Err(Error::InvalidRecord { .. })));
    assert!(page[2].as_ref().unwrap().last_seen.is_none());
}

#[test]
fn what_is_seen_next_replaces_a_bad_value() {
    let cache = Cache::start();
    cache.refuses(0, b"soon");
    cache.tracker.seen("alice").unwrap();
    assert!(cache.tracker.online("alice").unwrap());
}

#[cfg(not(feature = "django"))]
#[test]
fn a_pickle_names_the_feature_that_reads_it() {
    let told = Cache::start().refuses(1, b"\x80\x05\x95*\0\0\0\0\0\0\0\x8c\x08datetime");
    assert!(told.ends_with(", a pickle, which the feature `django` reads"), "{told}");
}

#[test]
fn what_would_be_written_is_what_is_written() {
    let cache = Cache::start();
    let at = DateTime::from_timestamp(Utc::now().timestamp() - 70, 0).unwrap();
    let expected = cache.tracker.preview("alice", at).unwrap();
    assert!(cache.tracker.inspect("alice").unwrap().stored.is_none());

    cache.tracker.seen_at("alice", at).unwrap();
    let found = cache.tracker.inspect("alice").unwrap();
    assert_eq!((&expected.server, &expected.key), (&found.server, &found.key));
    let (expected, found) = (expected.stored.unwrap(), found.stored.unwrap());
    assert_eq!((expected.flags, &expected.bytes), (found.flags, &found.bytes));
    assert_eq!(expected.expires_in.unwrap().as_secs(), 604_800);
    assert_eq!(expected.last_seen.unwrap(), at);

    assert!(matches!(cache.tracker.preview("a b", at), Err(Error::InvalidUser(_))));
    assert!(matches!(
        cache.tracker.preview("alice", DateTime::UNIX_EPOCH - TimeDelta::seconds(1)),
        Err(Error::InvalidTime { .. })
    ));
}
