//! Which users can be keys, and that none can be anything else.

use std::{collections::HashSet, fmt};

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::{Error, Recorder, Tracker};

use last_seen_tests::{Memcached, events, secs};

/// How the reason of most ends.
const INSTEAD: &str = "; pass the user's id, not their display name, or a version 5 UUID of it";

const FLUSH: &str = "x 0 0 1\r\na\r\nflush_all\r\n";

#[track_caller]
fn refused(user: impl fmt::Display) -> String {
    match Tracker::in_memory().seen(user) {
        Err(Error::InvalidUser(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_user_that_cannot_be_a_key_is_refused_with_the_reason() {
    assert_eq!(refused(""), r#"user "" cannot be a memcached key: must not be empty"#);
    assert_eq!(
        refused("Alice Smith"),
        r#"user "Alice Smith" cannot be a memcached key: contains a space at byte 5; pass the user's id, not their display name, or a version 5 UUID of it"#
    );
    assert_eq!(
        refused("a\r\nb"),
        format!(r#"user "a\r\nb" cannot be a memcached key: contains control byte 0x0d at byte 1{INSTEAD}"#)
    );
    assert_eq!(
        refused("\u{7f}"),
        format!(
            r#"user "\u{{7f}}" cannot be a memcached key: contains control byte 0x7f at byte 0{INSTEAD}"#
        )
    );
    let long = refused("x".repeat(246));
    assert!(long.ends_with(&format!("longer than 250 bytes with the prefix{INSTEAD}")), "{long}");
    assert!(long.len() < 220, "{long}");
}

#[test]
fn a_key_has_room_for_250_bytes() {
    let tracker = Tracker::in_memory();
    for room in ["x".repeat(244), "x".repeat(245), "é".repeat(122), "🦀".repeat(61)] {
        tracker.seen(&room).unwrap();
        assert!(tracker.online(&room).unwrap());
    }
    for over in ["x".repeat(246), "é".repeat(123), "🦀".repeat(62), "x".repeat(10_000_000)] {
        assert!(matches!(tracker.seen(over), Err(Error::InvalidUser(_))));
    }
}

#[test]
fn a_user_is_anything_that_displays() {
    let tracker = Tracker::in_memory();
    let uuid = uuid::Uuid::from_u128(7);
    tracker.seen(42_u64).unwrap();
    tracker.seen(String::from("alice")).unwrap();
    tracker.seen(uuid).unwrap();
    tracker.seen(format_args!("b{}b", "o")).unwrap();
    assert!(tracker.online("42").unwrap());
    assert!(tracker.online("alice").unwrap());
    assert!(tracker.online("00000000-0000-0000-0000-000000000007").unwrap());
}

/// As docs/sharing.md has it, with the line that makes two of them one.
#[test]
fn names_of_other_bytes_are_other_users_and_each_can_be_made_one() {
    use unicode_normalization::UnicodeNormalization;

    let tracker = Tracker::in_memory();
    let nfkc = |name: &str| name.nfkc().collect::<String>();
    for (one, other, same) in [
        ("jos\u{e9}", "jose\u{301}", [nfkc("jos\u{e9}"), nfkc("jose\u{301}")]),
        ("\u{fb01}ona", "fiona", [nfkc("\u{fb01}ona"), nfkc("fiona")]),
        ("Alice", "alice", ["Alice".to_lowercase(), "alice".to_lowercase()]),
        (
            "Jane.Doe+tag@Example.com",
            "jane.doe+tag@example.com",
            ["Jane.Doe+tag@Example.com", "jane.doe+tag@example.com"].map(str::to_lowercase),
        ),
        ("007", "7", ["007".parse::<u32>().unwrap().to_string(), 7.to_string()]),
    ] {
        tracker.seen(one).unwrap();
        assert_eq!(tracker.last_seen(other).unwrap(), None, "{one:?} and {other:?}");
        assert_eq!(same[0], same[1]);
        tracker.seen(&same[0]).unwrap();
        assert!(tracker.online(&same[1]).unwrap());
    }
    // A form's line end is no part of a name.
    assert!(matches!(tracker.seen("alice\n"), Err(Error::InvalidUser(_))));
    tracker.seen("alice\n".trim_end()).unwrap();
    // The longest e-mail address has 254 bytes; Django's longest name is 150 characters of up to 4.
    for name in [format!("{}@example.com", "x".repeat(242)), "張".repeat(150), "Alice Smith".to_owned()] {
        assert!(refused(&name).ends_with(INSTEAD));
        let uuid = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes());
        tracker.seen(uuid).unwrap();
        assert!(tracker.online(uuid).unwrap());
    }
}

/// Without a look at the numbers an operator sees it in the log.
#[test]
fn a_recorder_says_how_many_users_could_not_be_recorded() {
    events::listen();
    let recorder = Recorder::new(Tracker::in_memory());
    recorder.seen("alice");
    (0..3).for_each(|_| recorder.seen("Grace Hopper"));
    assert_eq!(recorder.stats().invalid_users, 3);
    let said = events::said("user \"Grace Hopper\" cannot be a memcached key");
    assert!(said.len() == 1 && said[0].contains(" invalid_users=1"), "{said:?}");
}

#[test]
fn a_user_that_fails_to_display_is_refused() {
    struct Broken;
    impl fmt::Display for Broken {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("al")?;
            Err(fmt::Error)
        }
    }
    assert_eq!(refused(Broken), r#"user "al" cannot be a memcached key: its Display failed"#);
}

#[test]
fn a_user_that_displays_without_end_is_refused() {
    struct Endless;
    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str("ééé")?;
            }
        }
    }
    assert!(refused(Endless).contains("longer than 250 bytes with the prefix"));
}

/// Random names that lean to what breaks a text protocol, the same in every run.
fn hostile_names(count: usize) -> Vec<String> {
    const PARTS: &[&str] = &[
        "\r\n",
        "\n",
        "\r",
        "\0",
        "\t",
        "\u{7f}",
        " ",
        "é",
        "張",
        "🦀",
        "\u{85}",
        "\u{2028}",
        "\u{202e}",
        "flush_all",
        "get ",
        "a",
        "Z",
        "0",
        "-",
        "%",
        "seen_",
        "ms x 1\r\na",
        FLUSH,
        "\u{1b}[2J",
        "''",
        "\"",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    };
    (0..count)
        .map(|n| match next(5) {
            0 => (0..next(6)).map(|_| PARTS[next(PARTS.len())]).collect(),
            1 => format!("{n}{}", "é".repeat((248 - n.to_string().len()) / 2 - next(3))),
            2 => format!("{n:0>width$}", width = 243 + next(4)),
            3 => (0..1 + next(12)).filter_map(|_| char::from_u32(next(0x300) as u32)).collect(),
            _ => format!("{}{n}", PARTS[next(PARTS.len())]),
        })
        .collect()
}

#[test]
fn a_hundred_thousand_hostile_names_send_nothing_but_their_own_record() {
    let memcached = Memcached::start_with(&["-m", "128"]);
    // What times out on a busy machine would be missing below.
    let tracker = Tracker::new(memcached.settings().with_server_timeout(secs(5))).unwrap();
    let names: HashSet<String> = hostile_names(110_000).into_iter().collect();
    assert!(names.len() > 80_000);
    let start = DateTime::from_timestamp(Utc::now().timestamp() - 100, 0).unwrap();
    let records: Vec<_> =
        names.iter().enumerate().map(|(n, name)| (name, start - TimeDelta::seconds(n as i64))).collect();

    let restored = tracker.restore(records.iter().copied());
    assert!(restored.written > 10_000 && restored.failed > 10_000, "{restored:?}");
    assert_eq!(restored.skipped, 0, "two names share a key");

    let mut read = 0;
    for piece in records.chunks(1_000) {
        let page = tracker.presences(piece.iter().map(|(name, _)| name));
        for ((name, at), presence) in piece.iter().zip(page) {
            match presence {
                Ok(presence) => {
                    assert_eq!(presence.last_seen, Some(*at), "{name:?}");
                    read += 1;
                }
                Err(Error::InvalidUser(_)) => {}
                Err(other) => panic!("{name:?}: {other:?}"),
            }
        }
    }
    assert_eq!(read, restored.written);
    let written = restored.written as u64;
    assert_eq!(memcached.stat("cmd_flush"), 0);
    assert_eq!(memcached.stat("curr_items"), written);
    assert_eq!(memcached.stat("cmd_set"), written);
    // Restoring reads each record and its tombstone before, and the tombstone after.
    assert_eq!(memcached.stat("cmd_get"), 4 * written);
}

#[test]
fn a_command_in_a_name_reaches_no_verb() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    for name in [FLUSH, "\r\nflush_all", "a\nb", "\0", "\t", "a b", ""] {
        let invalid = |error: Error| assert!(matches!(error, Error::InvalidUser(_)), "{error:?}");
        invalid(tracker.seen(name).unwrap_err());
        invalid(tracker.last_seen(name).unwrap_err());
        invalid(tracker.online(name).unwrap_err());
        invalid(tracker.sign_out(name).unwrap_err());
        invalid(tracker.forget(name).unwrap_err());
        invalid(tracker.inspect(name).unwrap_err());
        invalid(tracker.presences([name]).remove(0).unwrap_err());
        assert_eq!(tracker.restore([(name, Utc::now())]).failed, 1);
    }
    assert!(tracker.online("alice").unwrap());
    assert_eq!(memcached.stat("curr_items"), 1);
}
