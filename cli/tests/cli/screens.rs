//! Every screen in every state at four widths, as `screens.txt` has them: times, ports and ages apart.

use std::{fmt::Write, io::BufRead};

use last_seen_tests::{Fake, Memcached};

use crate::{
    page::replace,
    program::{on, store},
    terminal::Terminal,
};

const SCREENS: &str = include_str!("screens.txt");

const WIDTHS: [u16; 4] = [200, 80, 40, 20];

const LINES: u16 = 14;

const LONG: &str = "a-very-long-user-name-of-somebody@example.com";

/// What differs from run to run, and what is compared in its place.
const VARYING: [(&str, &str); 8] = [
    ("127.0.0.1:99999", "127.0.0.1:11211"),
    ("99:99:99", "19:22:03"),
    ("listed in 9.99 s", "listed in 0.02 s"),
    ("DOWN 9+s", "DOWN 2s"),
    ("back after 9+s", "back after 2s"),
    ("9+.99 ms", "0.12 ms"),
    // Between two questions a second may pass.
    ("+69 s", "+60 s"),
    ("69 s ahead", "60 s ahead"),
];

/// What was shown, in the form of the file.
#[derive(Default)]
struct Shown(String);

impl Shown {
    fn add(&mut self, name: &str, columns: u16, text: &str) {
        for line in text.lines() {
            let width = unicode_width::UnicodeWidthStr::width(line);
            assert!(width <= columns.into(), "{name} at {columns}: {line}");
        }
        let mut text = text.to_owned();
        for (pattern, constant) in VARYING {
            text = replace(&text, pattern, constant);
        }
        let lines = text.lines().map(|line| match line.len() {
            // A duration has one digit or more.
            _ if ["DOWN ", " ms ", "LATENCY"].iter().any(|word| line.contains(word)) => {
                line.split_whitespace().collect::<Vec<_>>().join(" ")
            }
            len if columns == 20 && line.ends_with(char::is_numeric) && line[..len - 2].ends_with(':') => {
                format!("{}19:22", &line[..len - 5])
            }
            _ => line.to_owned(),
        });
        let lines: Vec<String> = lines.collect();
        writeln!(self.0, "== {name}, {columns} columns\n{}", lines.join("\n")).unwrap();
    }

    #[track_caller]
    fn is_as_drawn(&self, names: &[&str]) {
        let is_of = |screen: &&str| names.iter().any(|name| screen.starts_with(name));
        let drawn: String = SCREENS.split("== ").filter(is_of).map(|screen| format!("== {screen}")).collect();
        assert!(drawn == self.0, "shown is:\n{}\nand not:\n{drawn}", self.0);
    }
}

/// Two servers, with a user on each, and a user with a long name on the first.
struct Site {
    one: Memcached,
    two: Memcached,
    alice: String,
    bobby: String,
}

impl Site {
    fn start() -> Self {
        let (one, two) = (Memcached::start(), Memcached::start());
        let both = format!("{},{}", one.address(), two.address());
        let tracker = last_seen::Tracker::connect(&both).unwrap();
        let is_on = |user: &str, server: &Memcached| {
            tracker.preview(user, chrono::Utc::now()).unwrap().server == server.address()
        };
        let (one, two) = if is_on(LONG, &one) { (one, two) } else { (two, one) };
        let mut site = Self { one, two, alice: String::new(), bobby: String::new() };
        let users: Vec<String> = (10..100).map(|nth| format!("use{nth}")).collect();
        // In the order of their names on the screens.
        site.alice = users.iter().find(|user| is_on(user, &site.one)).unwrap().clone();
        site.bobby = users.iter().rfind(|user| is_on(user, &site.two)).unwrap().clone();
        site
    }

    fn servers(&self) -> String {
        format!("{},{}", self.one.address(), self.two.address())
    }

    /// The users, by names that do not depend on the ports.
    fn named(&self, text: &str) -> String {
        text.replace(&self.alice, "alice").replace(&self.bobby, "bobby")
    }

    fn fill(&self) {
        store(&self.one, &self.alice, 10);
        store(&self.two, &self.bobby, 200);
    }

    fn screen(&self, arguments: &[&str], columns: u16) -> String {
        let mut terminal = Terminal::start(&self.servers(), arguments, (columns, 2 * LINES), &[]);
        terminal.ends();
        self.named(&terminal.text())
    }
}

#[test]
fn show_and_who_are_as_drawn() {
    let mut site = Site::start();
    let (alice, bobby) = (site.alice.clone(), site.bobby.clone());
    let mut shown = Shown::default();
    let mut all = |site: &Site, state: &str| {
        for columns in WIDTHS {
            let show = site.screen(&["show", &alice, &bobby, "Alice Smith"], columns);
            shown.add(&format!("show, {state}"), columns, &show);
        }
        for columns in WIDTHS {
            shown.add(&format!("who, {state}"), columns, &site.screen(&["who"], columns));
        }
    };
    all(&site, "empty");
    site.fill();
    all(&site, "normal");
    site.two.kill();
    all(&site, "partial outage");
    site.one.kill();
    all(&site, "outage");
    shown.is_as_drawn(&["show, ", "who, "]);
}

#[test]
fn watch_is_as_drawn() {
    let mut site = Site::start();
    let terminals: Vec<_> = WIDTHS
        .iter()
        .map(|&columns| {
            (columns, Terminal::start(&site.servers(), &["watch"], (columns, LINES), &[("NO_COLOR", "1")]))
        })
        .collect();
    let mut shown = Shown::default();
    let mut all = |site: &Site, state: &str, is_there: &dyn Fn(&str) -> bool| {
        for (columns, terminal) in &terminals {
            shown.add(&format!("watch, {state}"), *columns, &site.named(&terminal.waits_for(is_there)));
        }
    };
    all(&site, "empty", &|text| text.contains("Nobody"));
    site.fill();
    on(&site.servers(), &["seen", LONG]).lines(0);
    all(&site, "normal", &|text| text.contains(" 3 online"));
    on(&site.servers(), &["sign-out", LONG]).lines(0);
    all(&site, "somebody signed out", &|text| text.contains(" 2 online") && text.contains('○'));
    site.two.kill();
    all(&site, "partial outage", &|text| text.contains('!'));
    site.one.kill();
    all(&site, "outage", &|text| text.contains("? online"));
    site.two.restart();
    site.one.restart();
    all(&site, "back", &|text| {
        text.contains(" 0 online")
            && text.contains("! 127.")
            && ["?", "reading", "closed", "unknown"]
                .iter()
                .all(|word| !text.lines().take(5).any(|line| line.contains(word)))
    });
    shown.is_as_drawn(&["watch, "]);
}

#[test]
fn an_outage_of_all_servers_tells_how_many_were_online_when_that_was_known_the_last_time() {
    let mut site = Site::start();
    site.fill();
    let terminal = Terminal::start(&site.servers(), &["watch"], (80, LINES), &[("NO_COLOR", "1")]);
    terminal.shows(" 2 online ");
    site.two.kill();
    terminal.shows(" 1 online, 1 unknown ");
    store(&site.one, LONG, 0);
    let clock =
        |text: &str| text.lines().next().and_then(|line| line.split_whitespace().last()).map(str::to_owned);
    let then = clock(&terminal.shows(" 2 online, 1 unknown "));
    // The second server goes down in another second.
    let next = clock(&terminal.waits_for(|text| clock(text) != then));
    terminal.waits_for(|text| clock(text) != next);
    site.one.kill();
    let text = site.named(&terminal.waits_for(|text| text.contains("? online ") && text.ends_with("help")));
    let after = |words: &str| text.split_once(words).map(|(_, rest)| &rest[..8]);
    let row = text.lines().find(|line| line.starts_with(" alice"));
    assert!(after("was 2 at ").is_some(), "{text}");
    assert_ne!(
        after("was 2 at "),
        row.and_then(|row| row.split_once("online at ")).map(|(_, at)| at),
        "{text}"
    );
}

#[test]
fn a_server_that_went_down_while_nobody_was_online_has_answered() {
    let mut memcached = Memcached::start();
    let terminal = Terminal::start(&memcached.address(), &["watch"], (80, LINES), &[("NO_COLOR", "1")]);
    terminal.shows("Nobody is online.");
    memcached.kill();
    let text = terminal.shows("Retrying.");
    assert!(text.contains("? online   was 0 at ") && text.contains("No server answers: "), "{text}");
}

#[test]
fn a_watch_that_starts_in_an_outage_is_as_drawn() {
    let mut shown = Shown::default();
    for columns in WIDTHS {
        let terminal = Terminal::start("127.0.0.1:1", &["watch"], (columns, LINES), &[("NO_COLOR", "1")]);
        shown.add("started in an outage", columns, &terminal.shows("? online"));
    }
    shown.is_as_drawn(&["started in an outage"]);
}

#[test]
fn servers_is_as_drawn() {
    let fake = |version: &'static str, ahead: i64, open: u64| {
        Fake::start(move |mut stream| {
            use std::io::Write;
            let mut asked = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
            let _ = asked.next();
            let _ = stream.write_all(format!("VERSION {version}\r\n").as_bytes());
            let _ = asked.next();
            let time = chrono::Utc::now().timestamp() + ahead;
            let stats = format!(
                "STAT time {time}\r\nSTAT curr_connections {open}\r\nSTAT max_connections 1024\r\nEND\r\n"
            );
            let _ = stream.write_all(stats.as_bytes());
        })
    };
    let (good, bad) = (fake("1.6.45", 0, 2), fake("1.6.18", 60, 980));
    let three = format!("{},{},127.0.0.1:1", good.address(), bad.address());
    let mut shown = Shown::default();
    for (state, servers) in [("some", three.as_str()), ("outage", "127.0.0.1:1")] {
        for columns in [200, 80, 40] {
            let mut terminal = Terminal::start(servers, &["servers"], (columns, 2 * LINES), &[]);
            assert_eq!(terminal.ends(), if state == "some" { 3 } else { 2 });
            shown.add(&format!("servers, {state}"), columns, &terminal.text());
        }
    }
    shown.is_as_drawn(&["servers, "]);
}

#[test]
fn inspect_is_as_drawn() {
    let mut memcached = Memcached::start();
    store(&memcached, "alice", 10);
    let mut shown = Shown::default();
    let mut all = |memcached: &Memcached, user: &str, state: &str| {
        for columns in [200, 80, 40] {
            let mut terminal =
                Terminal::start(&memcached.address(), &["inspect", user, "--utc"], (columns, 24), &[]);
            terminal.ends();
            let text = replace(&terminal.text(), "9999999999", "1795489200");
            shown.add(&format!("inspect, {state}"), columns, &replace(&text, "9999-99-99", "2026-11-24"));
        }
    };
    all(&memcached, "alice", "normal");
    all(&memcached, "dave", "no record");
    memcached.kill();
    all(&memcached, "alice", "outage");
    shown.is_as_drawn(&["inspect, "]);
}
