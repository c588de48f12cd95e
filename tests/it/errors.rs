//! What a program can ask of an error, and how an error and the other answers serialize.

use std::{
    fmt::Write as _,
    io::{Read, Write},
};

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::{Error, Recorder, Settings, Tracker};
use last_seen_tests::{Fake, Memcached};
use serde_json::{Value, json};

#[track_caller]
fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn an_error_names_its_kind_and_its_server() {
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let invalid = tracker.seen("Alice Smith").unwrap_err();
    let message = r#"user "Alice Smith" cannot be a memcached key: contains a space at byte 5; pass the user's id, not their display name, or a version 5 UUID of it"#;
    assert_eq!(json(&invalid), json!({"kind": "invalid_user", "server": null, "message": message}));
    let Error::InvalidUser(error) = invalid else { panic!() };
    assert_eq!(error.user(), "Alice Smith");
    assert!(error.reason().starts_with("contains a space at byte 5"), "{}", error.reason());

    let settings = Tracker::new(Settings::default().with_key_prefix("a b")).unwrap_err();
    assert_eq!((settings.kind(), settings.server()), ("settings", None));
    let Error::Settings(error) = settings else { panic!() };
    assert_eq!((error.setting(), error.value()), ("key_prefix", r#""a b""#));
    assert!(error.reason().contains("spaces"), "{}", error.reason());

    memcached.set("seen_bob", 4, b"soon");
    let record = tracker.last_seen("bob").unwrap_err();
    let message =
        r#"the value stored under "seen_bob" is not a valid timestamp: flags 4, 4 bytes, beginning "soon""#;
    assert_eq!(json(&record), json!({"kind": "invalid_record", "server": null, "message": message}));
    let Error::InvalidRecord { source, .. } = record else { panic!() };
    assert_eq!((source.bytes(), source.time()), (Some(&b"soon"[..]), None));

    let ahead = Utc::now() + TimeDelta::hours(1);
    tracker.seen_at("carol", ahead).unwrap();
    let Error::InvalidRecord { source, .. } = tracker.last_seen("carol").unwrap_err() else { panic!() };
    assert_eq!((source.bytes(), source.time().map(|at| at.timestamp())), (None, Some(ahead.timestamp())));

    let time = tracker.seen_at("dave", "1969-07-20T20:17:40Z".parse().unwrap()).unwrap_err();
    let message = "1969-07-20 20:17:40 UTC cannot be stored: it is not in the years 1970 to 9999";
    assert_eq!(json(&time), json!({"kind": "invalid_time", "server": null, "message": message}));

    let down = Tracker::connect("127.0.0.1:1").unwrap().seen("erin").unwrap_err();
    assert_eq!(down.server(), Some("127.0.0.1:1"));
    let message = "connection refused";
    assert_eq!(json(&down), json!({"kind": "unavailable", "server": "127.0.0.1:1", "message": message}));

    let fake = Fake::start(|mut stream| {
        let _ = stream.read(&mut [0; 100]);
        let _ = stream.write_all(b"SERVER_ERROR busy\r\n");
    });
    let server = Tracker::connect(&fake.address()).unwrap().seen("erin").unwrap_err();
    assert_eq!(server.reason(), r#"answered "busy""#);
    assert_eq!(json(&server), json!({"kind": "server", "server": fake.address(), "message": "busy"}));

    let recorder = Recorder::new(Tracker::in_memory());
    recorder.clone().close().unwrap();
    assert_eq!(
        json(&recorder.flush().unwrap_err()),
        json!({"kind": "closed", "server": null, "message": "the recorder is closed"})
    );
}

#[test]
fn a_record_serializes_with_the_same_keys_whatever_is_stored() {
    let memcached = Memcached::start();
    let (tracker, server) = (memcached.tracker(), memcached.address());
    let inspect = |record| {
        let mut record = json(&record);
        let local_time: DateTime<Utc> = record["local_time"].as_str().unwrap().parse().unwrap();
        assert!((Utc::now() - local_time).num_seconds() < 60, "{local_time}");
        record["local_time"] = "now".into();
        record
    };
    let record = |stored| json!({"server": server, "key": "seen_alice", "stored": stored, "local_time": "now", "zone_files": "built in"});
    assert_eq!(inspect(tracker.inspect("alice").unwrap()), record(Value::Null));

    let at = DateTime::from_timestamp(1_795_489_200, 0).unwrap();
    let written = inspect(tracker.preview("alice", at).unwrap());
    let stored = json!({
        "flags": 0, "bytes": "1795489200", "format": "unix-seconds", "expires_in_s": 604_800, "idle_for_s": null, "was_read": null,
        "last_seen": "2026-11-24T03:00:00Z", "error": null,
    });
    assert_eq!(written, record(stored));

    memcached.set("seen_alice", 4, b"\x04so\"on");
    let unreadable = json(&tracker.inspect("alice").unwrap());
    let stored = &unreadable["stored"];
    assert_eq!((&stored["bytes"], &stored["expires_in_s"]), (&json!(r#"\x04so\"on"#), &Value::Null));
    assert_eq!(stored["format"], Value::Null);
    assert_eq!((&stored["last_seen"], &stored["error"]["kind"]), (&Value::Null, &json!("invalid_record")));
}

#[test]
fn a_server_serializes_with_the_same_keys_whether_it_is_up_or_down() {
    let memcached = Memcached::start();
    let both = format!("{},127.0.0.1:1", memcached.address());
    let [up, down] = &Tracker::connect(&both).unwrap().server_status()[..] else { panic!() };
    let [up, down] = [json(up), json(down)];
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&up), keys(&down));
    assert_eq!((&up["server"], &up["status"]), (&json!(memcached.address()), &json!("up")));
    assert!(up["version"].is_string() && up["latency_us"].is_u64() && up["connections"].is_u64(), "{up}");
    assert_eq!((&up["max_connections"], &up["error"]), (&json!(1024), &Value::Null));
    assert_eq!((&down["status"], &down["version"]), (&json!("down"), &Value::Null));
    assert_eq!(down["error"]["kind"], "unavailable");
}

#[test]
fn what_a_recorder_and_a_restore_did_serializes() {
    let tracker = Tracker::in_memory();
    let restored = tracker.restore([("alice", Utc::now())]);
    assert_eq!(json(&restored), json!({"written": 1, "skipped": 0, "failed": 0}));
    let recorder = Recorder::new(tracker);
    recorder.seen("alice");
    recorder.seen("Alice Smith");
    recorder.flush().unwrap();
    let expected = json!({
        "seen": 1, "coalesced": 0, "written": 1, "dropped": 0, "cancelled": 0, "queued": 0, "invalid_users": 1,
        "failed_writes": 0,
    });
    assert_eq!(json(&recorder.stats()), expected);
}

/// Every kind of error as a reader sees it, with where it comes from. What differs from run to run is replaced.
#[test]
fn each_error_says_what_failed_on_what_and_what_to_do() {
    let mut table = String::new();
    let mut row = |from: &str, error: &dyn std::fmt::Display| {
        writeln!(table, "{from}\n    {error}").unwrap();
    };
    let memory = Tracker::in_memory();
    for user in ["", "Alice Smith", "bell\u{7}", &"x".repeat(300)] {
        row(&format!("seen({:?})", &user[..user.len().min(12)]), &memory.seen(user).unwrap_err());
    }
    row("seen_at(1969)", &memory.seen_at("alice", DateTime::UNIX_EPOCH - TimeDelta::days(1)).unwrap_err());
    for file in SETTINGS {
        let error = toml::from_str::<Settings>(file).map_err(|error| error.message().to_owned());
        let error =
            error.and_then(|settings| Tracker::new(settings).map(drop).map_err(|error| error.to_string()));
        row(file, &error.unwrap_err());
    }

    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let hidden = |error: Error, server: &str| error.to_string().replace(server, "SERVER");
    for value in ["", "soon"] {
        memcached.set("seen_alice", 0, value.as_bytes());
        row(&format!("the value {value:?}"), &tracker.last_seen("alice").unwrap_err());
    }
    tracker.seen_at("alice", Utc::now() + TimeDelta::hours(1)).unwrap();
    let ahead = tracker.last_seen("alice").unwrap_err().to_string();
    let (before, after) = ahead.split_once(": ").unwrap();
    let after = &after[after.find(" s in").unwrap()..];
    row("a record that is an hour ahead", &format!("{before}: TIME is 3600{after}"));

    let down = Tracker::connect("127.0.0.1:1").unwrap();
    row("nobody listens", &down.seen("alice").unwrap_err());
    let open = |error: &Error| error.to_string().contains("not retried");
    let error = last_seen_tests::eventually(|| down.seen("alice").err().filter(open));
    row("the circuit is open", &error);
    let socket = Tracker::connect("unix:/nowhere/memcached.sock").unwrap();
    row("a socket that is not there", &socket.seen("alice").unwrap_err());
    let silent = Fake::start(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let error = Tracker::connect(&silent.address()).unwrap().seen("alice").unwrap_err();
    row("a server that does not answer", &hidden(error, &silent.address()));
    for answer in
        ["SERVER_ERROR out of memory storing object\r\n", "ERROR\r\n", "HTTP/1.1 400 Bad Request\r\n"]
    {
        let fake = Fake::start(move |mut stream| {
            let _ = stream.read(&mut [0; 200]);
            let _ = stream.write_all(answer.as_bytes());
        });
        let error = Tracker::connect(&fake.address()).unwrap().seen("alice").unwrap_err();
        row(&format!("the answer {answer:?}"), &hidden(error, &fake.address()));
    }

    let recorder = Recorder::new(Tracker::in_memory());
    recorder.close().unwrap();
    row("flush() after close()", &recorder.flush().unwrap_err());

    let golden = last_seen_tests::root().join("tests/it/errors.txt");
    if std::env::var_os("LAST_SEEN_GOLDEN").is_some() {
        std::fs::write(&golden, &table).unwrap();
    }
    assert_eq!(table, std::fs::read_to_string(golden).unwrap(), "LAST_SEEN_GOLDEN=1 writes the file again");
}

const SETTINGS: &[&str] = &[
    "online_timeout = 0",
    "online_timeout = \"1500ms\"",
    "online_timeout = \"8d\"",
    "online_timeout = \"soon\"",
    "last_seen_timeout = \"9y\"",
    "server_timeout = 100",
    "server_timeout = 0",
    "max_connections = 0",
    "max_connections = \"many\"",
    "flush_interval = \"1h\"",
    "recorder_capacity = 0",
    "key_prefix = \"\"",
    "key_prefix = \"a b\"",
    "key_prefix = 7",
    "format = \"pickle\"",
    "sharding = \"modula\"",
    "time_zone = \"Mars/Phobos\"",
    "servers = 7",
    "servers = []",
    "servers = \"memory:,cache1\"",
    "servers = \"cache1,cache1:11211\"",
    "servers = \"cache1:port\"",
    "servers = \"cache1:65536\"",
    "servers = \":11211\"",
    "servers = \"a b\"",
    "servers = \"::1\"",
    "servers = \"[::1\"",
    "servers = \"[::1]11211\"",
    "servers = \"[cache1]\"",
    "servers = \"redis://cache1\"",
    "servers = \"unix:memcached.sock\"",
    "servers = \"cache1?weight=0\"",
    "servers = \"cache1?wait=1\"",
    "servers = \"cache1?ca=/ca.pem\"",
    "servers = \"cache1?password_file=/secret\"",
    "servers = \"memcache://site@cache1\"",
    "servers = \"memcache://site:geheim@cache1?password_file=/secret\"",
    "servers = \"memcache://:geheim@cache1\"",
    "servers = \"memcache://si%2te:geheim@cache1\"",
    "servers = \"memcache://site@cache1?password_file=/nowhere/secret\"",
    "servers = \"tls://cache1?cert=/cert.pem\"",
    "servers = \"tls://cache1?ca=/nowhere/ca.pem\"",
    "servers = \"tls://cache1?server_name=a_b!\"",
];
