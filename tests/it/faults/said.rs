//! What comes from outside is escaped and capped before it is in an error.

use std::io::{BufRead, BufReader, Write};

use last_seen::{Error, Settings, Tracker};

use last_seen_tests::{Fake, secs};

const NOISE: &str = "\u{1b}[31m\u{7f}\u{85}\u{2028}\u{202e}\u{200f}";

/// A server that answers everything with this line.
fn saying(line: String) -> Fake {
    Fake::start(move |stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        while let Some(Ok(_)) = lines.next() {
            let _ = (&stream).write_all(format!("{line}\r\n").as_bytes());
        }
    })
}

#[track_caller]
fn assert_harmless(error: &Error) {
    for told in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
        let bad = |char: char| {
            (char.is_control() && char != '\n') || "\u{2028}\u{2029}\u{202e}\u{200f}".contains(char)
        };
        assert!(!told.contains(bad), "{told:?}");
        assert!(told.len() < 2_500, "{} bytes: {told}", told.len());
    }
}

#[test]
fn what_a_server_says_is_escaped_and_cut() {
    let fake = saying(format!("SERVER_ERROR {NOISE}{}", "x".repeat(5_000)));
    let error = Tracker::connect(&fake.address()).unwrap().online("alice").unwrap_err();
    assert!(error.to_string().contains(r#"answered "\u{1b}[31m\u{7f}\u{85}\u{2028}"#), "{error}");
    assert!(error.to_string().len() < 450, "{error}");
    assert_harmless(&error);
}

#[test]
fn an_answer_in_no_known_words_is_escaped_and_cut() {
    let lines = [
        format!("{NOISE}{}", "y".repeat(5_000)),
        format!("VALUE seen_alice 0 2{NOISE}{}", "z".repeat(5_000)),
        format!("STORED {NOISE}"),
        format!("VALUE {NOISE} 0 2"),
        format!("CLIENT_ERROR {NOISE}"),
        format!("ERROR {NOISE}"),
        "w".repeat(500_000),
    ];
    for line in lines {
        let fake = saying(line);
        let tracker = || Tracker::connect(&fake.address()).unwrap();
        let errors = [
            tracker().seen("alice").err(),
            tracker().online("alice").err(),
            tracker().presences(["alice", "bob"]).remove(0).err(),
            tracker().server_status().remove(0).info.err(),
        ];
        assert_eq!(errors.iter().flatten().count(), 4, "{errors:?}");
        errors.iter().flatten().for_each(assert_harmless);
    }
}

#[test]
fn a_version_is_escaped_too() {
    let fake = saying("VERSION \u{1b}[2J1.6.45".to_owned());
    let settings = Settings::default().with_servers([fake.address()]).with_server_timeout(secs(10));
    let info = Tracker::new(settings).unwrap().server_status().remove(0).info.unwrap();
    assert_eq!(info.version, r"\u{1b}[2J1.6.45");
}

#[test]
fn a_refused_user_is_escaped_and_cut() {
    let error = Tracker::in_memory().seen(format!("{NOISE}{}", "x".repeat(5_000))).unwrap_err();
    assert_harmless(&error);
}
