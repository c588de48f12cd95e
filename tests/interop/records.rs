//! One stack and this crate on one memcached, each writing and reading.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use last_seen::{Error, Tracker};

use last_seen_tests::Memcached;

use crate::{
    golden,
    program::Program,
    report::Row,
    stacks::{Stack, Typed},
};

struct Both {
    memcached: Memcached,
    tracker: Tracker,
    program: Program,
}

pub fn check(stack: &mut Stack, row: &mut Row) {
    let memcached = Memcached::start();
    let program = Program::start(&mut stack.command(&memcached.address()));
    let tracker = tracker(&memcached);
    let mut both = Both { memcached, tracker, program };
    row.version = both.program.ask("version");
    row.check("writes", || both.it_writes_and_rust_reads());
    row.check("reads", || both.rust_writes_and_it_reads());
    row.check("reads", || golden::a_stack_reads_them(&both.memcached, &mut both.program));
    row.check("online", || both.agree_on_online());
    row.check("signed out", || both.agree_after_signed_out());
    row.check("forgotten", || both.agree_after_forget());
    row.check("typed values", || both.a_typed_value_is_never_a_wrong_time(stack.typed));
    row.check("names", || both.agree_on_names(stack.any_name));
    row.check("cache gone", || a_lost_memcached_is_not_known(stack));
}

/// On a busy machine an answer may take longer than a site would wait for it.
pub fn tracker(memcached: &Memcached) -> Tracker {
    Tracker::new(memcached.settings().with_server_timeout(Duration::from_secs(5))).unwrap()
}

/// What a record holds: whole seconds.
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap()
}

/// Makes a record of that age and asks both sides; again, where that took so long that the age is another.
pub fn at_age(age: i64, mut ask: impl FnMut(DateTime<Utc>) -> [bool; 2]) -> [bool; 2] {
    for _ in 0..10 {
        let started = now();
        let answers = ask(started - TimeDelta::seconds(age));
        if (now() - started).num_seconds() <= 1 {
            return answers;
        }
    }
    panic!("ten times in a row two answers took more than a second");
}

impl Both {
    fn it_writes_and_rust_reads(&mut self) {
        let before = now();
        self.program.tell("seen alice");
        let seen = self.tracker.last_seen("alice").unwrap().expect("no record");
        assert!(before <= seen && seen <= now(), "{seen}, written after {before}");

        let earlier = now() - TimeDelta::hours(20);
        self.program.tell(&format!("seen alice {}", earlier.timestamp()));
        assert_eq!(self.tracker.last_seen("alice").unwrap(), Some(earlier));
        let record = self.memcached.raw("get seen_alice");
        assert_eq!(record, format!("VALUE seen_alice 0 10\r\n{}\r\nEND\r\n", earlier.timestamp()));
        let left = self.memcached.raw("mg seen_alice t");
        assert!(["HD t604800\r\n", "HD t604799\r\n", "HD t604798\r\n"].contains(&left.as_str()), "{left}");
    }

    fn rust_writes_and_it_reads(&mut self) {
        assert_eq!(self.program.ask("last_seen nobody"), "none");
        let before = now().timestamp();
        self.tracker.seen("bob").unwrap();
        let seen: i64 = self.program.ask("last_seen bob").parse().unwrap();
        assert!(before <= seen && seen <= now().timestamp(), "{seen}, written after {before}");

        let earlier = now() - TimeDelta::hours(30);
        self.tracker.seen_at("bob", earlier).unwrap();
        assert_eq!(self.program.ask("last_seen bob"), earlier.timestamp().to_string());
    }

    fn agree_on_online(&mut self) {
        assert_eq!(self.online("nobody"), [false, false]);
        // A minute ahead is another host's clock.
        for (age, online) in [(-60, true), (0, true), (299, true), (302, false), (86_400, false)] {
            let rust_wrote = at_age(age, |at| {
                self.tracker.seen_at("carol", at).unwrap();
                self.online("carol")
            });
            assert_eq!(rust_wrote, [online, online], "{age} s ago, written by Rust");
            let it_wrote = at_age(age, |at| {
                self.program.tell(&format!("seen carol {}", at.timestamp()));
                self.online("carol")
            });
            assert_eq!(it_wrote, [online, online], "{age} s ago, written by the stack");
        }
    }

    fn agree_after_signed_out(&mut self) {
        for rust in [true, false] {
            self.tracker.seen("dave").unwrap();
            self.sign_out("dave", rust);
            assert_eq!(self.online("dave"), [false, false], "by Rust: {rust}");
            let ago = now() - self.tracker.last_seen("dave").unwrap().expect("last seen was lost");
            assert!((305..310).contains(&ago.num_seconds()), "{ago}, by Rust: {rust}");
            let seen = self.tracker.last_seen("dave").unwrap().unwrap().timestamp().to_string();
            assert_eq!(self.program.ask("last_seen dave"), seen);

            let earlier = now() - TimeDelta::hours(3);
            self.tracker.seen_at("dave", earlier).unwrap();
            self.sign_out("dave", rust);
            assert_eq!(self.tracker.last_seen("dave").unwrap(), Some(earlier), "by Rust: {rust}");

            self.sign_out("nobody", rust);
            assert_eq!(self.tracker.last_seen("nobody").unwrap(), None, "by Rust: {rust}");

            // The next request is online again.
            self.program.tell("seen dave");
            assert_eq!(self.online("dave"), [true, true]);
        }
    }

    fn agree_after_forget(&mut self) {
        self.tracker.seen("erin").unwrap();
        assert_eq!(self.program.ask("forget erin"), "true");
        assert_eq!(self.program.ask("forget erin"), "false");
        assert_eq!(self.tracker.last_seen("erin").unwrap(), None);
        assert!(!self.tracker.forget("erin").unwrap());

        self.program.tell("seen erin");
        assert!(self.tracker.forget("erin").unwrap());
        assert_eq!(self.program.ask("last_seen erin"), "none");
        assert_eq!(self.program.ask("forget erin"), "false");
        assert_eq!(self.online("erin"), [false, false]);
    }

    fn a_typed_value_is_never_a_wrong_time(&mut self, typed: &[(&str, Typed)]) {
        let at = now() - TimeDelta::seconds(100);
        for &(kind, expected) in typed {
            let answer = self.program.ask(&format!("naive frank {} {kind}", at.timestamp()));
            assert_eq!(answer == "ok", expected != Typed::NotWritten, "{kind}: {answer}");
            let read = match self.tracker.last_seen("frank") {
                Ok(Some(time)) if time.timestamp() == at.timestamp() => Typed::Time,
                Err(Error::InvalidRecord { .. }) => Typed::Refused,
                Ok(None) => Typed::NotWritten,
                other => panic!("{kind}: {other:?}, expected {at}"),
            };
            assert_eq!(read, expected, "{kind}");
            self.tracker.forget("frank").unwrap();
        }
    }

    fn agree_on_names(&mut self, any_name: bool) {
        // A name of Django's that is legal there and too long here.
        let items = self.memcached.stat("curr_items");
        let long = "張".repeat(150);
        let answer = self.program.ask(&format!("seen {long}"));
        assert!(answer.starts_with("error"), "{answer}");
        assert!(matches!(self.tracker.seen(&long), Err(Error::InvalidUser(_))));
        // Not under a cut or rewritten key either.
        assert_eq!(self.memcached.stat("curr_items"), items);

        let printable: String = ('!'..='~').collect();
        let longest = "x".repeat(250 - "seen_".len());
        for name in [printable.as_str(), &longest, "Alice", "Jane.Doe+tag@Example.com"] {
            self.agree_on_the_name(name);
        }
        // Other bytes are other users, for the stack and for Rust.
        for name in ["alice", "ALICE", "jane.doe+tag@example.com"] {
            self.tracker.forget(name).unwrap();
            assert_eq!(self.program.ask(&format!("last_seen {name}")), "none", "{name}");
        }
        assert_ne!(self.program.ask("last_seen Alice"), "none");
        for name in ["jos\u{e9}", "jose\u{301}", "張偉", "😀"] {
            if any_name {
                assert_eq!(self.tracker.last_seen(name).unwrap(), None, "{name:?} is somebody else");
                self.agree_on_the_name(name);
            } else {
                let answer = self.program.ask(&format!("seen {name}"));
                assert!(answer.starts_with("error"), "{name}: {answer}");
            }
        }
    }

    #[track_caller]
    fn agree_on_the_name(&mut self, name: &str) {
        let at = now() - TimeDelta::seconds(7);
        self.program.tell(&format!("seen {name} {}", at.timestamp()));
        assert_eq!(self.tracker.last_seen(name).unwrap(), Some(at), "{name}");
        self.tracker.seen_at(name, at - TimeDelta::seconds(1)).unwrap();
        assert_eq!(self.program.ask(&format!("last_seen {name}")), (at.timestamp() - 1).to_string());
    }

    /// The program's answer, and Rust's.
    #[track_caller]
    fn online(&mut self, user: &str) -> [bool; 2] {
        let its = self.program.ask(&format!("online {user}"));
        [its.parse().unwrap_or_else(|_| panic!("online: {its}")), self.tracker.online(user).unwrap()]
    }

    #[track_caller]
    fn sign_out(&mut self, user: &str, rust: bool) {
        if rust {
            self.tracker.sign_out(user).unwrap();
        } else {
            self.program.tell(&format!("signed_out {user}"));
        }
    }
}

/// Three answers: seen then, no record, unknown. A lost memcached is the third.
fn a_lost_memcached_is_not_known(stack: &mut Stack) {
    let mut memcached = Memcached::start();
    memcached.kill();
    let mut program = Program::start(&mut stack.command(&memcached.address()));
    // Twice: a client may answer otherwise once it knows that the server is gone.
    for _ in 0..2 {
        for command in ["last_seen alice", "online alice"] {
            let answer = program.ask(command);
            assert_eq!(answer.starts_with("error"), stack.tells_when_gone, "{command}: {answer}");
        }
    }
}
