//! The live feed.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use chrono::Utc;
use last_seen::{Error, Presence, Settings, Tracker, Watch};

use super::{connect, scripted};
use last_seen_tests::{Fake, Memcached, chain, eventually, ms, secs, within};

const LOGS: [&[u8]; 2] =
    [include_bytes!("../data/watch-1.6.18.bin"), include_bytes!("../data/watch-1.6.45.bin")];

#[track_caller]
fn next(watch: &mut Watch) -> (String, Presence) {
    watch.next_timeout(secs(5)).expect("an event").unwrap()
}

#[track_caller]
fn error(watch: &mut Watch, limit: Duration) -> Error {
    let event = within(limit + ms(100), || watch.next_timeout(limit));
    event.expect("an event").expect_err("an error")
}

/// Reads events until nothing comes for a while.
fn drain(watch: &mut Watch) -> Vec<(String, Presence)> {
    std::iter::from_fn(|| watch.next_timeout(ms(1_200))).map(Result::unwrap).collect()
}

#[test]
fn whoever_is_seen_or_signs_out_shows_up_and_whoever_is_forgotten_does_not() {
    let memcached = Memcached::start();
    for tracker in [Tracker::in_memory(), memcached.tracker()] {
        tracker.seen("before").unwrap();
        let mut watch = tracker.watch().unwrap();
        assert!(watch.next_timeout(ms(0)).is_none());
        let before = Utc::now().timestamp();
        tracker.seen("alice").unwrap();
        let (user, presence) = next(&mut watch);
        assert_eq!(user, "alice");
        assert!(presence.online && presence.last_seen.unwrap().timestamp() >= before);
        tracker.sign_out("alice").unwrap();
        let (user, presence) = next(&mut watch);
        assert_eq!((user.as_str(), presence.online), ("alice", false));
        assert!(presence.last_seen.is_some());
        tracker.forget("alice").unwrap();
        tracker.seen("josé").unwrap();
        // memcached forgets a record only by storing one that is gone at once.
        let mut event = next(&mut watch);
        while event.0 == "alice" {
            assert_eq!(event.1.last_seen, None);
            event = next(&mut watch);
        }
        assert_eq!(event.0, "josé");
        assert_eq!((watch.missed(), watch.skipped()), (0, 0));
        // As an iterator it waits.
        tracker.seen("last").unwrap();
        assert_eq!(watch.next().unwrap().unwrap().0, "last");
    }
}

#[test]
fn other_keys_are_left_alone_and_not_fetched() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let mut watch = tracker.watch().unwrap();
    for n in 0..50 {
        memcached.set(&format!("session_{n}"), 0, b"1");
    }
    memcached.set("seen", 0, b"1");
    memcached.set("Seen_alice", 0, b"1");
    let read = memcached.stat("cmd_get");
    tracker.seen("alice").unwrap();
    assert_eq!(next(&mut watch).0, "alice");
    assert_eq!(memcached.stat("cmd_get"), read + 1);
}

#[test]
fn repeats_of_a_user_are_one_event() {
    let memcached = Memcached::start();
    for tracker in [Tracker::in_memory(), memcached.tracker()] {
        let mut watch = tracker.watch().unwrap();
        let started = Instant::now();
        for _ in 0..20 {
            tracker.seen("alice").unwrap();
        }
        let stored_within = started.elapsed();
        let events = drain(&mut watch);
        let pieces = 2 + stored_within.as_millis() / 50;
        assert!(!events.is_empty() && events.len() as u128 <= pieces, "{} events", events.len());
    }
}

#[test]
fn the_value_of_whoever_wrote_it_is_read_and_what_is_no_time_is_an_error() {
    let memcached = Memcached::start();
    let mut watch = memcached.tracker().watch().unwrap();
    memcached.set("seen_bob", 17, (Utc::now().timestamp() * 1_000).to_string().as_bytes());
    let (user, presence) = next(&mut watch);
    assert_eq!((user.as_str(), presence.online), ("bob", true));
    memcached.set("seen_posts", 0, b"[1, 2]");
    let Error::InvalidRecord { key, .. } = error(&mut watch, secs(5)) else { panic!() };
    assert_eq!(key, "seen_posts");
}

#[test]
fn what_is_no_name_of_a_user_is_skipped_and_counted() {
    let memcached = Memcached::start();
    let tracker = Tracker::new(memcached.settings().with_server_timeout(secs(10))).unwrap();
    let mut watch = tracker.watch().unwrap();
    memcached.raw(b"set seen_\xff 0 0 1\r\n1");
    memcached.raw("ms c2Vlbl9hIGI= 1 b\r\n1");
    tracker.seen("alice").unwrap();
    assert_eq!(next(&mut watch).0, "alice");
    eventually(|| (watch.skipped() == 2).then_some(()));
    assert_eq!(watch.missed(), 0);
}

#[test]
fn two_thousand_users_of_three_programs_in_two_seconds_are_all_seen_at_once() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let mut watch = tracker.watch().unwrap();
    #[cfg(feature = "django")]
    let site = {
        let site = Settings::django("UTC").unwrap().with_key_prefix("seen_");
        Tracker::new(site.with_servers([memcached.address()])).unwrap()
    };
    #[cfg(not(feature = "django"))]
    let site = memcached.tracker();
    let stored: Arc<Mutex<BTreeMap<String, Instant>>> = Arc::default();
    let noting = Arc::clone(&stored);
    let mut raw = TcpStream::connect(memcached.address()).unwrap();
    raw.set_nodelay(true).unwrap();
    let writer = thread::spawn(move || {
        let started = Instant::now();
        for n in 0..2_000 {
            let user = format!("user{n}");
            noting.lock().unwrap().insert(user.clone(), Instant::now());
            match n % 3 {
                0 => tracker.seen(&user).unwrap(),
                1 => site.seen(&user).unwrap(),
                _ => {
                    let now = Utc::now().timestamp();
                    raw.write_all(format!("set seen_{user} 0 0 10\r\n{now}\r\n").as_bytes()).unwrap();
                    raw.read_exact(&mut [0; 8]).unwrap();
                }
            }
            thread::sleep((ms(1) * (n + 1)).saturating_sub(started.elapsed()));
        }
    });
    let mut delays = Vec::new();
    while delays.len() < 2_000 {
        let (user, presence) = next(&mut watch);
        assert!(presence.online);
        delays.push(stored.lock().unwrap().remove(&user).expect("each once").elapsed());
    }
    writer.join().unwrap();
    delays.sort();
    assert!(delays[1_900] < ms(200), "19 of 20 within {:?}", delays[1_900]);
    assert!(delays[1_999] < secs(1), "the last after {:?}", delays[1_999]);
    assert_eq!(watch.missed(), 0);
}

#[test]
fn a_reader_that_is_away_misses_nobody_silently_and_memory_stays_bounded() {
    let tracker = Tracker::in_memory();
    let mut watch = tracker.watch().unwrap();
    for n in 0..150_000 {
        tracker.seen(n).unwrap();
    }
    assert_eq!(watch.missed(), 50_000);
    let mut seen = 0;
    while let Some(event) = watch.next_timeout(ms(0)) {
        event.unwrap();
        seen += 1;
    }
    assert_eq!(seen, 100_000);
    tracker.seen("alice").unwrap();
    assert_eq!(next(&mut watch).0, "alice");
}

#[test]
fn what_the_server_could_not_send_is_counted() {
    let fake = scripted(1, |line, mut stream| {
        assert_eq!(line, "watch mutations");
        let line = "ts=1.0 gid=1 type=item_store key=seen_alice status=stored cmd=set ttl=0 clsid=1";
        stream.write_all(format!("OK\r\nskipped=17\n{line}\nsomething new\n").as_bytes()).is_ok()
    });
    let mut watch = connect(&fake).watch().unwrap();
    assert_eq!(next(&mut watch).0, "alice");
    eventually(|| (watch.missed() == 18).then_some(()));
}

#[test]
fn the_logs_of_old_and_new_versions_are_read_whole_and_cut_anywhere() {
    for log in LOGS {
        // Most of the time goes by waiting for the rest of a piece.
        const AT_ONCE: usize = 16;
        thread::scope(|scope| {
            for first in 0..AT_ONCE {
                scope.spawn(move || (first..=log.len()).step_by(AT_ONCE).for_each(|end| cut_log(log, end)));
            }
        });
    }
}

fn cut_log(log: &'static [u8], end: usize) {
    let whole = end == log.len();
    let sent = &log[..end];
    let fake = scripted(1, move |_, mut stream| {
        stream.write_all(sent).unwrap();
        // The watcher goes first where the log is whole.
        whole && BufReader::new(stream).read_line(&mut String::new()).is_err()
    });
    let mut watch = connect(&fake).watch().unwrap();
    let stored = sent.split_inclusive(|&byte| byte == b'\n').filter(|line| {
        let line = String::from_utf8_lossy(line);
        line.ends_with('\n') && line.contains("status=stored") && line.contains("key=seen_")
    });
    let (mut events, mut lost) = (stored.count(), !whole);
    while events > 0 || lost {
        match watch.next_timeout(secs(5)).expect("an event") {
            Ok(_) => events -= 1,
            Err(error) => {
                let told = chain(&error);
                assert!(lost && told.contains(&fake.address()), "{told}");
                assert!(told.ends_with("closed the connection"), "cut at {end}: {told}");
                lost = false;
            }
        }
    }
}

/// A server whose log says this to each watcher, `first` after the `OK` and `then` after a second.
fn logging_in_two_pieces(first: &'static str, then: &'static str) -> Fake {
    scripted(1, move |line, mut stream| {
        assert_eq!(line, "watch mutations");
        let sent = stream.write_all(format!("OK\r\n{first}").as_bytes());
        thread::sleep(ms(1_500));
        sent.and_then(|()| stream.write_all(then.as_bytes())).is_ok()
    })
}

#[test]
fn a_line_that_comes_in_two_pieces_is_not_lost_and_holds_up_none_before_it() {
    let fake = logging_in_two_pieces(
        "ts=1.0 gid=1 type=item_store key=seen_alice status=stored cmd=set ttl=0 clsid=1\nts=1.1 gid=2 type=item_st",
        "ore key=seen_bob status=stored cmd=set ttl=0 clsid=1\n",
    );
    let mut watch = connect(&fake).watch().unwrap();
    // Before the rest comes.
    let event = within(secs(1), || watch.next_timeout(secs(5)));
    assert_eq!(event.expect("an event").unwrap().0, "alice");
    // The connection was asked for a line in vain meanwhile.
    assert_eq!(next(&mut watch).0, "bob");
    assert_eq!((watch.missed(), watch.skipped()), (0, 0));
}

#[test]
fn a_log_has_two_seconds_to_begin_whatever_the_timeout_is() {
    let fake = scripted(1, |line, mut stream| {
        assert_eq!(line, "watch mutations");
        thread::sleep(secs(1));
        let line = "ts=1.0 gid=1 type=item_store key=seen_alice status=stored cmd=set ttl=0 clsid=1";
        stream.write_all(format!("OK\r\n{line}\n").as_bytes()).is_ok()
    });
    let tracker = Tracker::connect(&fake.address()).unwrap();
    assert_eq!(tracker.settings().server_timeout(), ms(100));
    let mut watch = within(ms(2_400), || tracker.watch()).unwrap();
    assert_eq!(next(&mut watch).0, "alice");
    assert_eq!((watch.missed(), watch.skipped()), (0, 0));
}

#[test]
fn a_log_that_does_not_begin_says_so() {
    let fake = scripted(1, |line, _| line == "watch mutations");
    let tracker = Tracker::connect(&fake.address()).unwrap();
    let mut watch = within(ms(2_400), || tracker.watch()).unwrap();
    let told = chain(&error(&mut watch, ms(100)));
    assert_eq!(
        told,
        format!("memcached at {} is unavailable: the log did not begin within 2s", fake.address())
    );
}

/// Told once; then, `back` having brought the server back, it is followed within two seconds.
#[track_caller]
fn is_lost_and_found(watch: &mut Watch, tracker: &Tracker, server: &str, back: impl FnOnce()) {
    let told = chain(&error(watch, ms(2_500)));
    assert!(told.starts_with(&format!("memcached at {server} is unavailable: ")), "{told}");
    // Long enough for another pause and another failure, which are not told.
    if let Some(again) = watch.next_timeout(ms(1_600)) {
        panic!("told again: {again:?}");
    }
    back();
    let returned = Instant::now();
    while watch.next_timeout(ms(10)).is_none() {
        // Followed again within 2 s; its log may take a moment to say so.
        assert!(returned.elapsed() < ms(2_500), "not found again");
        let _ = tracker.seen("alice");
    }
    drain(watch);
}

#[test]
fn a_server_that_is_killed_or_stopped_is_told_once_and_found_again() {
    let mut memcached = Memcached::start();
    let address = memcached.address();
    let tracker = Tracker::connect(&address).unwrap();
    let mut watch = tracker.watch().unwrap();
    memcached.kill();
    is_lost_and_found(&mut watch, &tracker, &address, || memcached.restart());
    memcached.suspend();
    is_lost_and_found(&mut watch, &tracker, &address, || memcached.resume());
}

#[test]
fn a_server_that_is_cut_off_is_told_once_and_found_again() {
    let memcached = Memcached::start();
    let relay = Relay::start(memcached.address());
    let tracker = Tracker::connect(&relay.address).unwrap();
    let mut watch = tracker.watch().unwrap();
    relay.cut(true);
    is_lost_and_found(&mut watch, &tracker, &relay.address, || relay.cut(false));
}

#[test]
fn users_of_other_servers_go_on_while_one_is_lost() {
    let mut servers: [Memcached; 2] = std::array::from_fn(|_| Memcached::start());
    let settings = Settings::default().with_servers(servers.iter().map(Memcached::address));
    let tracker = Tracker::new(settings).unwrap();
    let there = (0..).find(|n| tracker.inspect(n).unwrap().server == servers[0].address()).unwrap();
    let mut watch = tracker.watch().unwrap();
    servers[1].kill();
    let Error::Unavailable { server, .. } = error(&mut watch, secs(2)) else { panic!() };
    assert_eq!(server, servers[1].address());
    for _ in 0..5 {
        tracker.seen(there).unwrap();
        assert_eq!(next(&mut watch).0, there.to_string());
    }
}

#[test]
fn a_server_that_is_not_there_at_the_start_is_the_first_event_and_found_later() {
    let mut memcached = Memcached::start();
    memcached.kill();
    let tracker = memcached.tracker();
    let mut watch = within(ms(400), || tracker.watch()).unwrap();
    is_lost_and_found(&mut watch, &tracker, &memcached.address(), || memcached.restart());
}

#[test]
fn a_server_with_twenty_watchers_is_a_clear_error() {
    let memcached = Memcached::start();
    let watchers: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(memcached.address()).unwrap();
            stream.write_all(b"watch mutations\r\n").unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
            stream
        })
        .collect();
    let mut watch = memcached.tracker().watch().unwrap();
    let told = error(&mut watch, ms(100)).to_string();
    let expected = "WATCHER_TOO_MANY log watcher limit reached; it has 20 at";
    assert!(
        told.starts_with(&format!("memcached at {} answered \"{expected}", memcached.address())),
        "{told}"
    );
    drop(watchers);
}

#[test]
fn a_server_that_does_not_allow_it_says_so_at_once() {
    let memcached = Memcached::start_with(&["-W"]);
    let error = memcached.tracker().watch().unwrap_err();
    let expected = "answered \"CLIENT_ERROR watch commands not allowed\"";
    assert_eq!(error.to_string(), format!("memcached at {} {expected}", memcached.address()));
    eventually(|| (memcached.stat("curr_connections") <= 2).then_some(()));
}

#[test]
fn dropping_it_closes_its_connections_at_once_also_of_a_stopped_server() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let before = memcached.stat("curr_connections");
    let watch = tracker.watch().unwrap();
    // The question before may not be closed yet.
    eventually(|| (memcached.stat("curr_connections") == before + 2).then_some(()));
    within(ms(50), || drop(watch));
    within(secs(1), || eventually(|| (memcached.stat("curr_connections") == before).then_some(())));
    let watch = tracker.watch().unwrap();
    memcached.suspend();
    within(ms(50), || drop(watch));
    memcached.resume();
    within(secs(1), || eventually(|| (memcached.stat("curr_connections") == before).then_some(())));
}

#[test]
fn a_watch_and_its_events_can_go_to_another_thread() {
    fn sendable<T: Send>() {}
    sendable::<Watch>();
    sendable::<<Watch as Iterator>::Item>();
}

/// Passes bytes on to a server, until it is cut off: then bytes and connections vanish, and nothing is closed.
struct Relay {
    address: String,
    cut: Arc<Mutex<bool>>,
}

impl Relay {
    fn start(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cut = Arc::new(Mutex::new(false));
        let state = Arc::clone(&cut);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&to).unwrap();
                for (from, into) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
                    let state = Arc::clone(&state);
                    thread::spawn(move || {
                        let mut buffer = [0; 4_096];
                        // Once something was lost on the way, a connection is of no use any more.
                        let mut broken = *state.lock().unwrap();
                        while let Ok(count @ 1..) = from.read(&mut buffer) {
                            broken |= *state.lock().unwrap();
                            if !broken && into.write_all(&buffer[..count]).is_err() {
                                break;
                            }
                        }
                        let _ = into.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { address, cut }
    }

    fn cut(&self, cut: bool) {
        *self.cut.lock().unwrap() = cut;
    }
}
