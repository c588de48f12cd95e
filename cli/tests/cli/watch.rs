//! `watch` in pipes.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{self, Receiver},
};

use serde_json::Value;

use last_seen_tests::{Memcached, secs};

use crate::program::{self, PROGRAM, run, store};

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

    /// The next of the user that is as expected; the feed may tell of one store twice.
    #[track_caller]
    fn tells(&self, user: &str, online: bool) -> Value {
        loop {
            let event: Value = serde_json::from_str(&self.next()).unwrap();
            if event["user"] == user && event["status"] == if online { "online" } else { "offline" } {
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
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[test]
fn everyone_who_is_there_and_then_who_comes_and_goes() {
    let memcached = Memcached::start();
    store(&memcached, "away", 400);
    let alice = store(&memcached, "alice", 10);
    let watching = Watching::start(&memcached, &["--json"], &[]);
    assert_eq!(watching.tells("alice", true)["last_seen"], alice);
    run(&memcached, &["seen", "bob"]).lines(0);
    watching.tells("bob", true);
    run(&memcached, &["sign-out", "alice"]).lines(0);
    watching.tells("alice", false);
}

#[test]
fn those_who_were_asked_for_and_nobody_else() {
    let memcached = Memcached::start();
    let watching = Watching::start(&memcached, &["alice", "nobody"], &[]);
    let words = |line: String| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(watching.next()), "USER LAST SEEN AGO ONLINE");
    assert_eq!(words(watching.next()), "alice - awhile ago no");
    assert_eq!(words(watching.next()), "nobody - awhile ago no");
    run(&memcached, &["seen", "bob", "alice"]).lines(0);
    let line = words(watching.next());
    assert!(line.starts_with("alice 20") && line.ends_with("just now yes"), "{line}");
}

#[test]
fn users_go_offline_by_the_clock() {
    let memcached = Memcached::start();
    store(&memcached, "alice", 1);
    let watching = Watching::start(&memcached, &["alice", "--json"], &[("LAST_SEEN_ONLINE_TIMEOUT", "4s")]);
    let seen = watching.tells("alice", true);
    assert_eq!(watching.tells("alice", false)["last_seen"], seen["last_seen"]);
}

#[test]
fn a_server_that_is_lost_is_told_of_and_who_came_meanwhile_is_found() {
    let mut memcached = Memcached::start();
    let watching = Watching::start(&memcached, &["--json"], &[]);
    store(&memcached, "alice", 0);
    watching.tells("alice", true);
    memcached.restart();
    store(&memcached, "bob", 10);
    let told = watching.err.recv_timeout(secs(20)).unwrap();
    assert!(
        told.starts_with(&format!("last-seen: memcached at {} is unavailable: ", memcached.address())),
        "{told}"
    );
    watching.tells("bob", true);
}

#[test]
fn what_is_no_time_is_an_event_with_an_error() {
    let memcached = Memcached::start();
    let watching = Watching::start(&memcached, &["--json"], &[]);
    store(&memcached, "alice", 0);
    watching.tells("alice", true);
    memcached.set("seen_eve", 0, b"soon");
    let event: Value = serde_json::from_str(&watching.next()).unwrap();
    assert_eq!(event["user"], "eve");
    assert!(event["error"]["message"].as_str().unwrap().ends_with(r#"beginning "soon""#), "{event}");
}
