//! docs/cli.md shows what the program prints: times, ports and versions apart.

use last_seen_tests::Memcached;

use crate::{program::store, terminal::Terminal};

const PAGE: &str = include_str!("../../../docs/cli.md");

/// What differs from run to run, with `9` for a digit and `9+` for some, and what is compared in its place.
const VARYING: [(&str, &str); 15] = [
    ("127.0.0.1:99999", "127.0.0.1:11211"),
    ("9999-99-99T99:99:99Z", "2026-11-24T03:00:00Z"),
    ("9999-99-99 99:99:99 UTC+99:99", "2026-11-24 04:00:00 UTC+01:00"),
    ("9999-99-99 99:99:99", "2026-11-24 03:00:00"),
    ("9999-99-99 99:99", "2026-11-22 02:00"),
    ("99:99:99", "03:00:00"),
    ("9999999999", "1795489200"),
    ("expires in 6d 23h", "expires in 7d"),
    ("listed in 9+.99 s", "listed in 0.02 s"),
    ("9+.99 ms", "0.12 ms"),
    ("\"age_s\":9+", "\"age_s\":0"),
    ("\"latency_us\":9+", "\"latency_us\":120"),
    ("9+ of 1024", "2 of 1024"),
    (" ! up ", " ✓ up "),
    (" 1.6.9+ ", " 1.6.45 "),
];

#[test]
fn the_page_shows_what_the_program_prints() {
    let memcached = Memcached::start();
    // The site that the page begins with.
    store(&memcached, "bob", 200);
    store(&memcached, "carol", 2 * 86_400 + 3_600);
    let mut shown = 0;
    for transcript in PAGE.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        for step in format!("\n{transcript}").split("\n$ ").skip(1) {
            let (line, expected) = step.split_once('\n').unwrap_or((step, ""));
            let mut terminal =
                Terminal::run("sh", &memcached.address(), &["-c", line], (80, 60), &[("NO_COLOR", "1")]);
            terminal.ends();
            let said = terminal.text();
            // Where the tests' memcached is an old one.
            let old = ["before 1.6.19", "clients; upgrade"];
            let out: Vec<&str> =
                said.lines().filter(|line| !old.iter().any(|old| line.contains(old))).collect();
            assert_eq!(fixed(&out.join("\n")), fixed(expected), "$ {line}\n{said}");
            shown += 1;
        }
    }
    assert!(shown >= 25, "{shown}");
}

/// Lines of words, one blank between two, with what varies replaced.
fn fixed(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let lines = lines.filter(|line| !line.is_empty());
    let mut fixed = lines.collect::<Vec<_>>().join("\n");
    for (pattern, constant) in VARYING {
        fixed = replace(&fixed, pattern, constant);
    }
    // A pickled datetime holds the time in between.
    let mut pieces = fixed.split(r"\x94\x93\x94C\n");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + "<time>" + piece.split_once(r"\x94\x85").unwrap_or_default().1)
}

pub fn replace(text: &str, pattern: &str, constant: &str) -> String {
    let (mut replaced, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        match matched(rest.as_bytes(), pattern.as_bytes()) {
            Some(len) => {
                replaced.push_str(constant);
                rest = &rest[len..];
            }
            None => {
                replaced.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    replaced
}

/// How many bytes at the beginning of the text the pattern matches.
fn matched(text: &[u8], pattern: &[u8]) -> Option<usize> {
    let (mut at, mut pattern) = (0, pattern.iter().copied().peekable());
    while let Some(byte) = pattern.next() {
        let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
        if byte != b'9' {
            if text.get(at) != Some(&byte) {
                return None;
            }
            at += 1;
        } else if !digit(at) {
            return None;
        } else if pattern.next_if_eq(&b'+').is_some() {
            while digit(at) {
                at += 1;
            }
        } else {
            at += 1;
        }
    }
    Some(at)
}

#[test]
fn what_varies_is_replaced_and_nothing_else() {
    assert_eq!(replace("a 1.6.18 b 1.6 1.6.x", " 1.6.9+ ", " V "), "a V b 1.6 1.6.x");
    assert_eq!(replace("12345678901 é", "9999999999", "T"), "T1 é");
    let pickled = |time: &str| format!(r#""\x8c\x08datetime\x94\x93\x94C\n{time}\x94\x85\x94R\x94.""#);
    assert_eq!(fixed(&pickled(r"\x07\xea")), fixed(&pickled(r"\x07\xeb\x00")));
    assert_ne!(fixed(&pickled(r"\x07\xea")), fixed("\"\""));
}
