//! Passwords: given, wrong, missing, needless; and shown to nobody.

use std::fmt::Debug;

use last_seen::{Error, Settings, Tracker};
use last_seen_tests::{Folder, Memcached, events, eventually};

use super::{refused, settings, tracker, unusable};

#[test]
fn the_wrong_password_and_none_are_refused_in_the_servers_words() {
    let memcached = Memcached::start_with_password("site", "secret", &[]);
    let place = memcached.place();
    refused(&format!("memcache://site:Secret@{place}"), &["authentication failure"]);
    refused(&format!("memcache://other:secret@{place}"), &["authentication failure"]);
    refused(&place, &["it requires a login"]);
    tracker(&format!("memcache://site:secret@{place}")).seen("alice").unwrap();
    tracker(&format!("memcache://site:secret@{place}/")).seen("alice").unwrap();
}

#[test]
fn a_user_and_a_password_are_percent_decoded() {
    let memcached = Memcached::start_with_password("si@te", "p@s:s/w,o%r?d#&é", &[]);
    let before = "memcache://si%40te:p%40s%3As%2Fw%2Co%25r%3Fd%23%26%C3%A9@";
    let memcached = memcached.reached_as(before, "");
    // In a list, where a comma would part two servers.
    let other = Memcached::start();
    let both = format!("{},{}", memcached.address(), other.address());
    let tracker = tracker(&both);
    assert_eq!(tracker.server_status().len(), 2);
    for user in 0..100 {
        tracker.seen(user).unwrap();
    }
    assert_eq!(memcached.stat("curr_items") + other.stat("curr_items"), 100);
}

#[test]
fn a_password_comes_from_a_file() {
    let memcached = Memcached::start_with_password("site", "sec%ret,", &[]);
    let folder = Folder::create();
    for (name, text) in [("plain", "sec%ret,"), ("line", "sec%ret,\n"), ("windows", "sec%ret,\r\n")] {
        let file = folder.write(name, text);
        let address = format!("memcache://site@{}?password_file={file}", memcached.place());
        tracker(&address).seen("alice").unwrap();
        let address = format!("memcache://site@{}/?password_file={file}", memcached.place());
        tracker(&address).seen("alice").unwrap();
    }
    let wrong = folder.write("wrong", "secret");
    let address = format!("memcache://site@{}?password_file={wrong}", memcached.place());
    refused(&address, &["authentication failure"]);
    let missing = format!("memcache://site@{}?password_file={}", memcached.place(), folder.file("missing"));
    assert!(unusable(&missing).contains("missing"));
    let both = format!("memcache://site:secret@{}?password_file={wrong}", memcached.place());
    assert!(unusable(&both).contains("password"));
}

#[test]
fn a_server_that_wants_no_password_stores_none() {
    let memcached = Memcached::start().reached_as("memcache://site:secret@", "");
    let tracker = tracker(&memcached.address());
    tracker.seen("alice").unwrap();
    assert!(tracker.online("alice").unwrap());
    assert!(tracker.server_status()[0].info.is_ok());
    assert_eq!((memcached.stat("curr_items"), memcached.stat("total_items")), (1, 1));
    #[cfg(feature = "tokio")]
    {
        let asynchronous = last_seen::AsyncTracker::from(super::tracker(&memcached.address()));
        last_seen_tests::runtime().block_on(asynchronous.seen("alice")).unwrap();
        assert_eq!((memcached.stat("curr_items"), memcached.stat("total_items")), (1, 2));
    }
}

#[test]
fn a_password_is_stored_on_no_connection_whatever_happens_to_it() {
    // memcached stores what looks like a second login on a connection.
    let mut memcached = Memcached::start_with_password("site", "secret", &["-o", "idle_timeout=1"]);
    let tracker = Tracker::new(settings(&memcached.address()).with_max_connections(4)).unwrap();
    let all_seen = |tracker: &Tracker| {
        std::thread::scope(|scope| {
            for thread in 0..16 {
                scope.spawn(move || (0..20).for_each(|user| tracker.seen(thread * 20 + user).unwrap()));
            }
        });
    };
    all_seen(&tracker);
    assert_eq!(memcached.stat("curr_items"), 320);
    // The server closes what is idle, and the next call logs in on a new connection.
    eventually(|| (memcached.stat("idle_kicks") > 0).then_some(()));
    all_seen(&tracker);
    assert_eq!(memcached.stat("curr_items"), 320);
    memcached.restart();
    eventually(|| tracker.seen(0).ok());
    all_seen(&tracker);
    assert_eq!(memcached.stat("curr_items"), 320);
}

#[test]
fn a_password_that_was_mended_at_the_server_is_taken_without_a_restart() {
    let folder = Folder::create();
    let file = folder.write("passwords", "site:old\n");
    let memcached = Memcached::start_with(&["-Y", &file]).reached_as("memcache://site:secret@", "");
    let tracker = Tracker::new(Settings::default().with_servers([memcached.address()])).unwrap();
    tracker.seen("alice").unwrap_err();
    folder.write("passwords", "site:secret\n");
    let hung_up = std::process::Command::new("kill").args(["-HUP", &memcached.id().to_string()]).status();
    assert!(hung_up.unwrap().success());
    eventually(|| tracker.seen("alice").ok());
}

#[test]
fn a_server_that_comes_back_with_another_password_refuses_and_is_not_down() {
    events::listen();
    let folder = Folder::create();
    let file = folder.write("passwords", "site:secret\n");
    let mut memcached = Memcached::start_with(&["-Y", &file]).reached_as("memcache://site:secret@", "");
    let tracker = Tracker::connect(&memcached.address()).unwrap();
    tracker.seen("alice").unwrap();
    memcached.kill();
    eventually(|| tracker.seen("alice").unwrap_err().to_string().contains("not retried yet").then_some(()));
    folder.write("passwords", "site:other\n");
    memcached.restart();
    let refused = |error: &Error| matches!(error, Error::Server { .. });
    let error = eventually(|| tracker.seen("alice").err().filter(refused));
    assert!(error.to_string().contains("authentication failure"), "{error}");
    let said = events::said_of(&memcached.place());
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said[1].contains("memcached has recovered"), "{said:#?}");
}

/// Panics where it is said, without saying it.
#[track_caller]
fn unsaid(what: &str, said: &str) {
    assert!(!said.contains("hunter2"), "{what} says the password: {}", said.replace("hunter2", "<here>"));
}

#[track_caller]
fn unsaid_by(error: &Error) {
    unsaid("Debug", &format!("{error:?} {error:#?}"));
    unsaid("Display", &error.to_string());
    unsaid("the name of the server", error.server().unwrap_or_default());
    unsaid("JSON", &serde_json::to_string(error).unwrap());
    if let Error::Settings(error) = error {
        unsaid("the error's parts", &[error.value(), error.reason()].concat());
    }
}

#[track_caller]
fn unsaid_everywhere(servers: &str, shown: &str) {
    fn debug(what: &str, value: &impl Debug) {
        unsaid(what, &format!("{value:?} {value:#?}"));
    }
    let settings = settings(servers);
    assert_eq!(settings.servers().join(","), shown);
    debug("Settings", &settings);
    let tracker = Tracker::new(settings).unwrap();
    assert_eq!(tracker.settings().servers().join(","), shown);
    debug("Tracker", &tracker);
    for user in 0..5 {
        unsaid_by(&tracker.seen(user).unwrap_err());
        unsaid_by(&tracker.presences([user]).remove(0).unwrap_err());
    }
    let status = tracker.server_status();
    debug("ServerStatus", &status);
    unsaid("ServerStatus", &serde_json::to_string(&status).unwrap());
    let record = tracker.preview("alice", chrono::Utc::now()).unwrap();
    unsaid("RecordInfo", &serde_json::to_string(&record).unwrap());
    debug("Recorder", &last_seen::Recorder::new(tracker));
}

#[test]
fn a_password_is_shown_to_nobody() {
    events::listen();
    let folder = Folder::create();
    let file = folder.write("file", "hunter2");
    let memcached = Memcached::start_with_password("site", "other", &[]);
    let place = memcached.place();
    // Unavailable, and refused by a server.
    unsaid_everywhere("memcache://site:hunter2@127.0.0.1:1", "memcache://site:***@127.0.0.1:1");
    unsaid_everywhere(&format!("memcache://site:hunter2@{place}"), &format!("memcache://site:***@{place}"));
    let from_file = format!("memcache://site@{place}?password_file={file}");
    unsaid_everywhere(&from_file, &from_file);
    // With a password the server's name is its host alone, so that a new one moves no user.
    let moved = |address: &str| tracker(address).preview("alice", chrono::Utc::now()).unwrap().server;
    assert_eq!(moved(&format!("memcache://a:1@{place}")), moved(&format!("memcache://b:2@{place}")));
    assert!(events::said("hunter2").is_empty(), "an event says the password");
}

#[cfg(feature = "tls")]
#[test]
fn a_password_is_shown_to_nobody_over_tls() {
    let certificates = last_seen_tests::Certificates::create();
    let memcached = certificates.start_with_password("site", "other");
    let (place, ca) = (memcached.place(), certificates.file("ca.pem"));
    refused(&format!("tls://site:hunter2@{place}?ca={ca}"), &["authentication failure"]);
    let shown = format!("tls://site:***@{place}?ca={ca}");
    unsaid_everywhere(&format!("tls://site:hunter2@{place}?ca={ca}"), &shown);
}

#[test]
fn a_mistake_in_the_settings_shows_no_password() {
    for servers in [
        "memcache://site:hunter2@",
        "memcache://site:hunter2@127.0.0.1:99999",
        "memcache://site:hunter2@127.0.0.1:port",
        "memcache://site:hunter2@[::1",
        "memcache://site:hunter2@127.0.0.1?what=1",
        "memcache://site:hunter2@127.0.0.1?weight=0",
        "memcache://site:hunter2@127.0.0.1/path",
        "memcache://site:hunter2@127.0.0.1,memcache://site:hunter2@127.0.0.1",
        "memcache://site:hunter2@127.0.0.1,memory:",
        "memcache://site:%zzhunter2@127.0.0.1",
        "redis://site:hunter2@127.0.0.1",
        "mem_cache://site:hunter2@127.0.0.1",
        "memcache://site:a?hunter2@127.0.0.1",
        "memcache://site@127.0.0.1?password=hunter2",
        "\"memcache://site:hunter2@127.0.0.1\"",
        "[\"memcache://site:hunter2@127.0.0.1\"]",
        "site:hunter2@127.0.0.1:11211",
    ] {
        let settings = settings(servers);
        unsaid("Settings", &format!("{settings:?} {}", settings.servers().join(",")));
        let error = Tracker::new(settings).unwrap_err();
        assert_eq!(error.kind(), "settings", "{}", servers.replace("hunter2", "***"));
        unsaid_by(&error);
    }
}
