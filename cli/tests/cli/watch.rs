//! `watch` in pipes.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Stdio},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
};

use serde_json::{Value, json};

use last_seen_tests::{Fake, Memcached, eventually, ms, secs};

use crate::program::{self, PROGRAM, run, shell_on, store};

/// The program, and the lines it has written.
struct Watching {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Watching {
    fn start(memcached: &Memcached, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = program::command(PROGRAM, &memcached.address());
        command.arg("watch").args(arguments).envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    #[track_caller]
    fn next(&self) -> String {
        self.out.recv_timeout(secs(20)).unwrap()
    }

    #[track_caller]
    fn event(&self) -> Value {
        serde_json::from_str(&self.next()).unwrap()
    }

    /// The next event of that kind.
    #[track_caller]
    fn tells(&self, kind: &str) -> Value {
        loop {
            let event = self.event();
            if event["event"] == kind {
                return event;
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn keys(event: &Value) -> Vec<&str> {
    event.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn everyone_who_is_there_and_then_who_comes_and_goes() {
    let memcached = Memcached::start();
    store(&memcached, "away", 400);
    let alice = store(&memcached, "alice", 10);
    let watching = Watching::start(&memcached, &["--json"], &[]);
    let first = watching.event();
    assert_eq!((&first["event"], &first["user"]), (&json!("snapshot"), &json!("alice")));
    assert_eq!((&first["status"], &first["last_seen"]), (&json!("online"), &json!(alice)));
    let ready = watching.event();
    assert_eq!(
        (&ready["event"], &ready["online"], &ready["complete"]),
        (&json!("ready"), &json!(1), &json!(true))
    );
    run(&memcached, &["seen", "bob"]).lines(0);
    assert_eq!(watching.tells("online")["user"], "bob");
    run(&memcached, &["sign-out", "alice"]).lines(0);
    let gone = watching.event();
    assert_eq!(
        (&gone["event"], &gone["user"], &gone["status"], &gone["reason"]),
        (&json!("offline"), &json!("alice"), &json!("offline"), &json!("signed_out"))
    );
    // Not on every request.
    run(&memcached, &["seen", "bob"]).lines(0);
    memcached.set("seen_eve", 0, b"soon");
    let event = watching.event();
    assert_eq!((&event["event"], &event["user"]), (&json!("unknown"), &json!("eve")));
    assert!(event["error"]["message"].as_str().unwrap().ends_with(r#"beginning "soon""#), "{event}");
    for (event, expected) in [
        (&first, &["at", "event", "last_seen", "status", "user"][..]),
        (&ready, &["at", "complete", "event", "online"]),
        (&gone, &["at", "event", "last_seen", "reason", "status", "user"]),
        (&event, &["at", "error", "event", "last_seen", "status", "user"]),
    ] {
        assert_eq!(keys(event), expected);
    }
}

#[test]
fn a_log_has_a_line_for_each_event() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    let watching = Watching::start(&memcached, &[], &[]);
    let words = |line: String| {
        let (at, line) = line.split_once(' ').unwrap();
        assert!(at.len() == 20 && at.ends_with('Z'), "{at}");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(words(watching.next()), "online alice");
    assert_eq!(words(watching.next()), "ready 1 online");
    run(&memcached, &["sign-out", "alice"]).lines(0);
    assert!(words(watching.next()).starts_with("sign-out alice last seen 20"));
    run(&memcached, &["seen", "bob"]).lines(0);
    assert_eq!(words(watching.next()), "online bob");
}

#[test]
fn those_who_were_asked_for_and_nobody_else() {
    let memcached = Memcached::start();
    let carol = store(&memcached, "carol", 400);
    let watching = Watching::start(&memcached, &["alice", "nobody", "carol", "a b"], &[]);
    let words = |line: String| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    let first: Vec<String> = (0..5).map(|_| words(watching.next())).collect();
    assert_eq!(
        first,
        [
            "unknown a b invalid user: contains a space at byte 1; pass the id",
            "offline alice no record",
            &format!("offline carol last seen {carol}"),
            "offline nobody no record",
            "ready 0 online",
        ]
    );
    run(&memcached, &["seen", "bob", "alice"]).lines(0);
    assert_eq!(words(watching.next()), "online alice");
}

#[test]
fn repeated_sightings_are_told_of_if_asked_for() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 10);
    let watching = Watching::start(&memcached, &["--all", "--json"], &[]);
    watching.tells("ready");
    run(&memcached, &["seen", "alice"]).lines(0);
    assert_eq!(watching.event()["event"], "seen");
}

#[test]
fn users_go_offline_by_the_clock() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 1);
    for arguments in [&["alice", "--json"][..], &["--json"]] {
        let seen = store(&memcached, "alice", 1);
        let watching = Watching::start(&memcached, arguments, &[("LAST_SEEN_ONLINE_TIMEOUT", "6s")]);
        assert_eq!(watching.tells("snapshot")["user"], "alice");
        let gone = watching.tells("offline");
        assert_eq!((&gone["reason"], &gone["last_seen"]), (&json!("timed_out"), &json!(seen)));
    }
}

#[test]
fn an_outage_makes_nobody_offline_and_ends_with_what_has_changed() {
    let mut memcached = Memcached::start();
    let watching = Watching::start(&memcached, &["--json"], &[("LAST_SEEN_ONLINE_TIMEOUT", "60s")]);
    watching.tells("ready");
    store(&memcached, "alice", 0);
    watching.tells("online");
    memcached.kill();
    let down = watching.event();
    assert_eq!((&down["event"], &down["server"]), (&json!("server_down"), &json!(memcached.address())));
    assert_eq!(down["error"]["kind"], "unavailable");
    let told = watching.err.recv_timeout(secs(20)).unwrap();
    assert!(told.starts_with(&format!("last-seen: {} is down: ", memcached.address())), "{told}");
    memcached.restart();
    store(&memcached, "bob", 10);
    let up = watching.event();
    assert_eq!((&up["event"], keys(&up)), (&json!("server_up"), vec!["at", "down_s", "event", "server"]));
    let changes = [watching.event(), watching.event()].map(|event| event["event"].clone());
    assert!(changes.contains(&json!("online")) && changes.contains(&json!("offline")), "{changes:?}");
    assert_eq!(watching.tells("ready")["online"], 1);
    let told = watching.err.recv_timeout(secs(20)).unwrap();
    assert!(told.starts_with(&format!("last-seen: {} is back after ", memcached.address())), "{told}");
}

#[test]
fn without_any_server_the_number_is_unknown_and_the_exit_code_says_so() {
    let said = shell_on("127.0.0.1:1", "{ last-seen watch; echo $? >&2; } | head -2");
    let lines: Vec<&str> =
        said.out.lines().map(|line| line.split_once(' ').unwrap().1.trim_start()).collect();
    assert_eq!(lines, ["down      127.0.0.1:1  connection refused", "ready     unknown how many are online"]);
    assert_eq!(said.err, "last-seen: 127.0.0.1:1 is down: connection refused\n2\n");
    let said =
        shell_on("127.0.0.1:1", "last-seen watch --json | head -2 | tail -1 | jq -c '[.online, .complete]'");
    assert_eq!(said.out, "[null,false]\n");
}

/// A server that holds nothing, and loses an update every few milliseconds.
fn losing() -> Fake {
    let lost = AtomicUsize::new(0);
    Fake::start(move |mut stream| {
        for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
            let answer = match line.split(' ').next() {
                Some("watch") => {
                    let mut sent = stream.write_all(b"OK\r\n");
                    while sent.is_ok() {
                        sent = stream.write_all(b"skipped=1\n");
                        lost.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(ms(5));
                    }
                    return;
                }
                Some("stats") => "STAT pid 1\r\nSTAT time 1\r\nEND\r\n",
                Some("lru_crawler") => {
                    let before = lost.load(Ordering::SeqCst);
                    eventually(|| (lost.load(Ordering::SeqCst) > before + 9).then_some(()));
                    "END\r\n"
                }
                Some("get") => "END\r\n",
                _ => "STORED\r\n",
            };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn the_number_is_no_least_one_while_updates_are_lost_since_one_may_be_a_sign_out() {
    let fake = losing();
    let said = shell_on(&fake.address(), "last-seen watch | grep -m1 ready");
    assert!(said.out.ends_with("  ready     about 0 online\n"), "{said:?}");
}
