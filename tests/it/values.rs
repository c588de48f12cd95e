//! What other programs may have written under a user's key.

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::{Error, Tracker};

use last_seen_tests::{Memcached, chain};

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
            error @ Error::InvalidRecord { .. } => chain(&error),
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
    cache.reads(0, "0", "1970-01-01T00:00:00Z");
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
    let prefix = r#"the value under "seen_alice" is not a time that can be believed: "#;
    assert_eq!(told(b""), format!("{prefix}flags 0, empty"));
    assert_eq!(told(b"-5"), format!("{prefix}flags 0, 2 bytes, beginning \"-5\""));
    let ruby = b"\x04\x08l+\x07\x70\x1b\xc9i";
    assert_eq!(
        cache.refuses(1, ruby),
        format!(r#"{prefix}flags 1, 9 bytes, beginning "\x04\x08l+\x07p\x1b\xc9i""#)
    );
    let megabyte = vec![b'1'; 1_000_000];
    assert_eq!(told(&megabyte), format!("{prefix}flags 0, 1000000 bytes, beginning \"1111111111111111\""));
    let far = told(b"9999999999");
    assert!(far.starts_with(&format!("{prefix}2286-11-20 17:46:39 UTC is ")), "{far}");
    assert!(far.ends_with(" s ahead of this host's clock"), "{far}");
    for value in [
        b"9e99".as_slice(),
        b"+1774787696",
        b" 1774787696",
        b"1774787696\n",
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
