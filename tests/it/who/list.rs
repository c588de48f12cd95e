//! Everyone online now.

use std::{
    collections::BTreeMap,
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::{Error, Recorder, Settings, Tracker};

use super::{connect, scripted};
use last_seen_tests::{Fake, Memcached, eventually, ms, secs, within, within_once};

const DUMPS: [(&[u8], u64); 2] = [
    (include_bytes!("../data/metadump-1.6.18.bin"), 1_795_492_381),
    (include_bytes!("../data/metadump-1.6.45.bin"), 1_795_492_378),
];

fn users(tracker: &Tracker) -> Vec<String> {
    let online = tracker.online_users().unwrap().complete().unwrap();
    let mut users: Vec<String> = online.into_iter().map(|online| online.user).collect();
    users.sort();
    users
}

/// The error, with its causes, behind the server's name.
#[track_caller]
fn failure(tracker: &Tracker, address: &str) -> String {
    let error = tracker.online_users().unwrap_err();
    let told = error.to_string();
    let told = told.strip_prefix(&format!("memcached at {address} ")).unwrap_or_else(|| panic!("{told}"));
    told.to_owned()
}

#[test]
fn everyone_online_is_listed_the_newest_first() {
    let memcached = Memcached::start();
    for tracker in [Tracker::in_memory(), memcached.tracker()] {
        assert!(tracker.online_users().unwrap().users.is_empty());
        let now = DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap();
        let seen = [("josé", 200), ("alice", 0), ("bob", 100), ("gone", 400), ("left", 0), ("forgotten", 0)];
        for (user, ago) in seen {
            tracker.seen_at(user, now - TimeDelta::seconds(ago)).unwrap();
        }
        tracker.sign_out("left").unwrap();
        tracker.forget("forgotten").unwrap();
        let expected = [("alice", 0), ("bob", 100), ("josé", 200)]
            .map(|(user, ago)| (user.to_owned(), now - TimeDelta::seconds(ago)));
        let listed = tracker.online_users().unwrap().complete().unwrap();
        let listed: Vec<_> = listed.into_iter().map(|online| (online.user, online.last_seen)).collect();
        assert_eq!(listed, expected);
    }
}

#[test]
fn a_record_is_listed_whoever_wrote_it_with_whatever_expiry() {
    let memcached = Memcached::start();
    let now = Utc::now().timestamp();
    for (user, expiry) in [("week", 604_800), ("day", 86_400), ("never", 0), ("minute", 60)] {
        memcached.raw(format!("set seen_{user} 17 {expiry} 10\r\n{now}"));
    }
    memcached.raw(format!("set session_1 0 0 10\r\n{now}"));
    assert_eq!(users(&memcached.tracker()), ["day", "minute", "never", "week"]);
}

#[test]
fn records_that_cannot_be_read_or_believed_are_named() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    memcached.set("seen_posts", 0, b"not a time");
    memcached.set("seen_ahead", 0, (Utc::now().timestamp() + 1_000).to_string().as_bytes());
    // More than is read at all.
    memcached.set("seen_page", 0, &[b'x'; 3_000]);
    let online = tracker.online_users().unwrap();
    assert!(online.is_complete());
    assert_eq!(online.users.len(), 1);
    assert_eq!(online.unreadable_count, 3);
    let mut unreadable: Vec<_> =
        online.unreadable.iter().map(|(user, error)| (user.as_str(), error.to_string())).collect();
    unreadable.sort();
    let [(ahead, why), (page, large), (posts, text)] = &unreadable[..] else { panic!("{unreadable:?}") };
    assert_eq!([*ahead, *page, *posts], ["ahead", "page", "posts"]);
    assert!(why.contains("s in the future"), "{why}");
    assert!(large.ends_with("too large for a time, and not read"), "{large}");
    assert!(text.ends_with("beginning \"not a time\""), "{text}");

    for n in 0..150 {
        memcached.set(&format!("seen_post{n}"), 0, b"not a time");
    }
    let online = tracker.online_users().unwrap();
    assert_eq!((online.unreadable.len(), online.unreadable_count), (100, 153));
}

#[test]
fn neither_tombstones_nor_what_a_watch_stores_are_users() {
    let memcached = Memcached::start();
    for prefix in ["gone:", "last-seen:", "g", "l"] {
        let tracker = Tracker::new(memcached.settings().with_key_prefix(prefix)).unwrap();
        tracker.seen("alice").unwrap();
        tracker.sign_out("bob").unwrap();
        tracker.forget("carol").unwrap();
        memcached.set("last-seen:watch:0123456789abcdef", 0, b"");
        let online = tracker.online_users().unwrap();
        assert_eq!(online.unreadable_count, 0, "{prefix}: {:?}", online.unreadable);
        let named: Vec<_> = online.users.iter().map(|online| online.user.as_str()).collect();
        assert!(named.contains(&"alice") && !named.iter().any(|name| name.len() > 15), "{prefix}: {named:?}");
    }
}

#[cfg(feature = "django")]
#[test]
fn users_of_a_django_site_are_listed() {
    let memcached = Memcached::start();
    let settings = Settings::django("Europe/Berlin").unwrap().with_servers([memcached.address()]);
    let site = Tracker::new(settings).unwrap();
    site.seen("alice").unwrap();
    memcached.tracker().seen("bob").unwrap();
    assert_eq!(users(&site), ["alice"]);
}

#[test]
fn every_legal_byte_survives_the_url_encoding() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let ascii: String = (0x21..0x7f_u8).map(char::from).collect();
    let mut names = vec![ascii, "%41%zz+".to_owned(), "é\u{85}\u{2028}\u{202e}中😀".to_owned()];
    names.extend((0x80..0x800).map(|code| char::from_u32(code).unwrap().to_string()));
    names.push("x".repeat(245));
    names.sort();
    for name in &names {
        tracker.seen(name).unwrap();
    }
    assert_eq!(users(&tracker), names);
}

#[test]
fn what_is_no_name_of_a_user_is_left_out() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    let now = Utc::now().timestamp();
    memcached.raw([b"set seen_\xff\xfe 0 0 10\r\n", now.to_string().as_bytes()].concat());
    memcached.set("seen_", 0, now.to_string().as_bytes());
    // `seen_a b` in base64, which the meta commands take.
    memcached.raw(format!("ms c2Vlbl9hIGI= 10 b\r\n{now}"));
    assert_eq!(memcached.stat("curr_items"), 4);
    assert_eq!(users(&tracker), ["alice"]);
}

/// As many records as there are online, offline and of other programs, on three servers; `online` of them
/// within the window.
#[track_caller]
fn a_list_is_right_to_the_user(items: usize, online: usize) {
    let servers: [Memcached; 3] = std::array::from_fn(|_| Memcached::start_with(&["-m", "1024"]));
    let settings = Settings::default().with_servers(servers.iter().map(Memcached::address));
    let tracker = Tracker::new(settings.with_server_timeout(secs(5))).unwrap();
    let now = Utc::now();
    // Each 20th is within the window.
    let age = |n: usize| if n.is_multiple_of(items / online) { n % 280 } else { 330 + n % 600_000 };
    let records = (0..items).map(|n| (n, now - TimeDelta::seconds(i64::try_from(age(n)).unwrap())));
    assert_eq!(tracker.restore(records).written, items);
    for (n, server) in servers.iter().enumerate() {
        // A stale copy on the wrong server, where the sharding does not look.
        server.set(&format!("seen_stale{n}"), 0, now.timestamp().to_string().as_bytes());
    }
    let listed = tracker.online_users().unwrap().complete().unwrap();
    let listed: BTreeMap<String, DateTime<Utc>> =
        listed.into_iter().map(|online| (online.user, online.last_seen)).collect();
    let mut expected = BTreeMap::new();
    let mut read = |user: String, presence: last_seen::Presence| {
        if presence.online {
            expected.insert(user, presence.last_seen.unwrap());
        }
    };
    let everyone: Vec<String> =
        (0..items).map(|n| n.to_string()).chain((0..3).map(|n| format!("stale{n}"))).collect();
    for page in everyone.chunks(1_000) {
        for (user, presence) in page.iter().zip(tracker.presences(page)) {
            read(user.clone(), presence.unwrap());
        }
    }
    assert!(expected.len() >= online, "{}", expected.len());
    assert_eq!(listed, expected);
}

#[test]
fn a_list_over_three_servers_is_right_to_the_user() {
    if std::env::var_os("LAST_SEEN_SOAK").is_some() {
        a_list_is_right_to_the_user(1_000_000, 50_000);
    }
    a_list_is_right_to_the_user(60_000, 3_000);
}

#[test]
fn a_copy_that_stayed_on_another_server_is_not_listed() {
    let servers: [Memcached; 2] = std::array::from_fn(|_| Memcached::start());
    let both =
        Tracker::new(Settings::default().with_servers(servers.iter().map(Memcached::address))).unwrap();
    let one = servers[0].tracker();
    for n in 0..50 {
        one.seen(n).unwrap();
    }
    both.seen("new").unwrap();
    let mut expected: Vec<String> = (0..50)
        .map(|n: i32| n.to_string())
        .filter(|n| both.inspect(n).unwrap().server == servers[0].address())
        .chain(["new".to_owned()])
        .collect();
    expected.sort();
    assert!(expected.len() < 50);
    assert_eq!(users(&both), expected);
}

/// What answers `lru_crawler metadump hash` with these bytes, and then closes.
fn answering(time: u64, bytes: impl Into<Vec<u8>>) -> Fake {
    let bytes = bytes.into();
    scripted(time, move |line, mut stream| {
        assert_eq!(line, "lru_crawler metadump hash");
        let _ = stream.write_all(&bytes);
        false
    })
}

#[test]
fn the_answers_of_old_and_new_versions_are_read() {
    for (bytes, time) in DUMPS {
        let mut listed = users(&connect(&answering(time, bytes)));
        listed.sort();
        assert_eq!(listed, ["a%b=c&d", "alice", "josé", "meta"]);
        // The window, and 5 s of slack.
        assert_eq!(users(&connect(&answering(time + 305, bytes))).len(), 4);
        assert!(users(&connect(&answering(time + 306, bytes))).is_empty());
    }
}

#[test]
fn a_list_that_is_cut_anywhere_is_an_error() {
    for (bytes, time) in DUMPS {
        for end in 0..bytes.len() {
            let fake = answering(time, &bytes[..end]);
            let told = failure(&connect(&fake), &fake.address());
            assert_eq!(told, "is unavailable: the server closed the connection", "cut at {end}");
        }
    }
}

#[test]
fn garbage_is_an_error_that_names_the_server() {
    let line = "key=seen_a exp=-1 la=1 cas=1 fetch=no cls=1 size=60\n";
    for (answer, expected) in [
        (
            format!("{line}key=seen_b exp\nEND\r\n"),
            "is unavailable: not a line of a listing: \"key=seen_b exp\"",
        ),
        (format!("{line}\u{1b}[31m\nEND\r\n"), r#"is unavailable: not a line of a listing: "\u{1b}[31m""#),
        (format!("{line}OK\r\nEND\r\n"), "is unavailable: not a line of a listing: \"OK\""),
        (format!("key={}\nEND\r\n", "x".repeat(2_100)), "is unavailable: a line longer than 2048 bytes"),
        ("x".repeat(100_000), "is unavailable: a line longer than 2048 bytes"),
        ("ERROR\r\n".to_owned(), "answered \"ERROR; listing needs memcached itself, not a proxy\""),
        ("SERVER_ERROR out of memory\r\n".to_owned(), "answered \"out of memory\""),
    ] {
        let fake = answering(1, answer);
        assert_eq!(failure(&connect(&fake), &fake.address()), expected);
    }
}

#[test]
fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
    for end in ["\n", "\r\n"] {
        let line = |length: usize| {
            let item = |key: &str| format!("key={key} exp=-1 la=1 cas=1 fetch=no cls=1 size=60{end}");
            item(&"x".repeat(length - item("").len()))
        };
        let lists = |length: usize| answering(DUMPS[0].1, [line(length).as_bytes(), DUMPS[0].0].concat());
        assert_eq!(users(&connect(&lists(2_048))).len(), 4);
        let fake = lists(2_049);
        let told = failure(&connect(&fake), &fake.address());
        assert_eq!(told, "is unavailable: a line longer than 2048 bytes");
    }
}

#[test]
fn a_listing_is_read_in_whatever_pieces_it_comes() {
    for piece in [1, 2, 3, 7, 64] {
        let fake = scripted(DUMPS[1].1, move |_, mut stream| {
            stream.set_nodelay(true).unwrap();
            DUMPS[1].0.chunks(piece).all(|piece| {
                thread::sleep(Duration::from_micros(200));
                stream.write_all(piece).is_ok()
            })
        });
        assert_eq!(users(&connect(&fake)), ["a%b=c&d", "alice", "josé", "meta"]);
    }
}

#[test]
fn a_server_that_does_not_list_says_so() {
    for (option, expected) in [
        (&["-X"][..], "answered \"ERROR metadump not allowed\""),
        (&["-o", "no_lru_crawler"], "answered \"CLIENT_ERROR lru crawler disabled\""),
    ] {
        let memcached = Memcached::start_with(option);
        assert_eq!(failure(&memcached.tracker(), &memcached.address()), expected);
    }
}

#[test]
fn a_busy_server_is_asked_again() {
    for busy in ["BUSY currently processing crawler request\r\n", "OK\r\nERROR locked try again later\r\n"] {
        let asked = AtomicUsize::new(0);
        let fake = scripted(DUMPS[0].1, move |_, mut stream| {
            let answer = if asked.fetch_add(1, Ordering::SeqCst) < 3 { busy.as_bytes() } else { DUMPS[0].0 };
            stream.write_all(answer).is_ok()
        });
        assert_eq!(within(secs(2), || users(&connect(&fake))).len(), 4);
    }
}

#[test]
fn a_server_that_is_busy_for_ever_and_one_that_falls_silent_cost_ten_seconds() {
    let busy = scripted(1, |_, mut stream| stream.write_all(b"BUSY\r\n").is_ok());
    let mute = scripted(1, |_, _| true);
    let stuck = scripted(1, |_, mut stream| {
        stream.write_all(b"key=seen_a exp=-1 la=1 cas=1 fetch=no cls=1 size=60\n").is_ok()
    });
    // Never at a pause, so that no timeout of a single read ends it.
    let endless = scripted(1, |_, mut stream| {
        let line = b"key=seen_a exp=-1 la=1 cas=1 fetch=no cls=1 size=60\n";
        while stream.write_all(line).is_ok() {
            thread::sleep(ms(5));
        }
        false
    });
    let expected = [
        (busy, "another program is listing its items"),
        (mute, "the listing did not begin within 10s"),
        (stuck, "the listing did not end within 10s"),
        (endless, "the listing did not end within 10s"),
    ];
    thread::scope(|scope| {
        for (fake, expected) in &expected {
            scope.spawn(move || {
                let told = within(secs(11), || failure(&connect(fake), &fake.address()));
                assert_eq!(told, format!("is unavailable: {expected}"));
            });
        }
    });
}

#[test]
fn one_server_that_is_gone_or_stopped_is_an_error_after_one_timeout() {
    let mut memcached = Memcached::start();
    let (tracker, address) = (Tracker::connect(&memcached.address()).unwrap(), memcached.address());
    memcached.suspend();
    let told = within_once(ms(400), || failure(&tracker, &address));
    assert_eq!(told, "is unavailable: no answer within 100ms");
    memcached.resume();
    memcached.kill();
    let told = within_once(ms(400), || failure(&tracker, &address));
    assert!(told.contains("refused"), "{told}");
}

#[test]
fn a_server_that_fails_while_the_users_are_confirmed_is_an_error() {
    let fake = Fake::start(|stream: TcpStream| {
        use std::io::{BufRead, BufReader};
        for line in BufReader::new(&stream).lines().map_while(Result::ok) {
            let answer: &[u8] = match line.as_str() {
                "stats" => b"STAT time 1795492381\r\nEND\r\n",
                "lru_crawler metadump hash" => DUMPS[0].0,
                _ => return,
            };
            (&stream).write_all(answer).unwrap();
        }
    });
    assert!(matches!(connect(&fake).online_users(), Err(Error::Unavailable { .. })));
}

#[test]
fn a_program_lists_a_server_once_at_a_time() {
    static OPEN: AtomicUsize = AtomicUsize::new(0);
    static LISTED: AtomicUsize = AtomicUsize::new(0);
    let fake = scripted(DUMPS[0].1, |_, mut stream| {
        assert_eq!(OPEN.fetch_add(1, Ordering::SeqCst), 0);
        thread::sleep(ms(20));
        OPEN.fetch_sub(1, Ordering::SeqCst);
        LISTED.fetch_add(1, Ordering::SeqCst);
        stream.write_all(DUMPS[0].0).is_ok()
    });
    thread::scope(|scope| {
        for _ in 0..5 {
            let tracker = connect(&fake);
            scope.spawn(move || assert_eq!(users(&tracker).len(), 4));
        }
    });
    assert_eq!(LISTED.load(Ordering::SeqCst), 5);
}

#[test]
fn a_server_that_cannot_be_listed_costs_only_its_own_users_and_is_named() {
    for (option, expected) in [
        (&[][..], "refused"),
        (&["-X"], "answered \"ERROR metadump not allowed\""),
        (&["-o", "no_lru_crawler"], "answered \"CLIENT_ERROR lru crawler disabled\""),
    ] {
        let mut servers = [Memcached::start(), Memcached::start_with(option), Memcached::start()];
        let settings = Settings::default().with_servers(servers.iter().map(Memcached::address));
        let tracker = Tracker::new(settings.with_server_timeout(secs(2))).unwrap();
        let mut expected_users = Vec::new();
        for n in 0..60 {
            tracker.seen(n).unwrap();
            if tracker.inspect(n).unwrap().server != servers[1].address() {
                expected_users.push(n.to_string());
            }
        }
        assert!((20..60).contains(&expected_users.len()), "{expected_users:?}");
        if option.is_empty() {
            servers[1].kill();
        }
        let online = tracker.online_users().unwrap();
        assert!(!online.is_complete());
        let mut listed: Vec<_> = online.users.iter().map(|online| online.user.clone()).collect();
        listed.sort();
        expected_users.sort();
        assert_eq!(listed, expected_users);
        let [error] = &online.unavailable[..] else { panic!("{:?}", online.unavailable) };
        assert_eq!(error.server(), Some(servers[1].address().as_str()));
        assert!(error.to_string().contains(expected), "{}", error.to_string());
        assert!(online.complete().is_err());
    }
}

#[test]
fn a_stopped_server_costs_one_timeout_and_only_its_own_users() {
    let servers: [Memcached; 2] = std::array::from_fn(|_| Memcached::start());
    let tracker =
        Tracker::new(Settings::default().with_servers(servers.iter().map(Memcached::address))).unwrap();
    let there = (0..).find(|n| tracker.inspect(n).unwrap().server == servers[0].address()).unwrap();
    tracker.seen(there).unwrap();
    servers[1].suspend();
    let online = within_once(ms(400), || tracker.online_users().unwrap());
    assert_eq!(online.users[0].user, there.to_string());
    let told = online.unavailable[0].to_string();
    assert_eq!(told, format!("memcached at {} is unavailable: no answer within 100ms", servers[1].address()));
    servers[1].resume();
}

#[test]
fn a_queued_sighting_is_not_in_the_list() {
    let memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_flush_interval(secs(60))).unwrap();
    let recorder = Recorder::new(tracker.clone());
    recorder.seen("alice");
    assert!(tracker.online("alice").unwrap());
    assert!(users(&tracker).is_empty());
    recorder.flush().unwrap();
    assert_eq!(users(&tracker), ["alice"]);
}

#[test]
fn nothing_stays_open_after_a_listing() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    tracker.seen("alice").unwrap();
    assert_eq!(users(&tracker), ["alice"]);
    let asking_and_the_trackers_own = memcached.stat("curr_connections");
    tracker.online_users().unwrap();
    eventually(|| (memcached.stat("curr_connections") <= asking_and_the_trackers_own).then_some(()));
}
