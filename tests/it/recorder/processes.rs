//! A sign-out and a `forget` by one process hold against what others have queued: real processes, cut off, suspended, or at
//! an end at once.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use chrono::Utc;
use last_seen::{Settings, Tracker};

use last_seen_tests::{Fault, Memcached, Proxy, Twemproxy, ms, secs, soak};

/// A program with a recorder, ended by its handle.
struct Program {
    child: Child,
    asked: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Program {
    #[track_caller]
    fn start(servers: &str, flush_interval: Duration, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_program"));
        command.env("LAST_SEEN_SERVERS", servers).env("LAST_SEEN_SERVER_TIMEOUT", "2s");
        command.env("LAST_SEEN_FLUSH_INTERVAL", format!("{}ms", flush_interval.as_millis()));
        command.envs(variables.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (asked, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, asked, answers: BufReader::new(answers) }
    }

    #[track_caller]
    fn does(&mut self, what: &str) -> String {
        writeln!(self.asked, "{what}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    /// Ends at once, without closing its recorder.
    fn exit(mut self) {
        writeln!(self.asked, "exit").unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// Waits until nothing is queued.
    #[track_caller]
    fn has_written(&mut self) {
        let began = std::time::Instant::now();
        while self.does("queued") != "0" {
            assert!(began.elapsed() < secs(60), "{}", self.does("queued"));
            thread::sleep(ms(10));
        }
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that lives as long as it takes to do that.
#[track_caller]
fn once(servers: &str, what: &str, variables: &[(&str, &str)]) {
    let mut program = Program::start(servers, secs(1), variables);
    let answer = program.does(what);
    assert!(!answer.starts_with("error"), "{what}: {answer}");
    program.exit();
}

/// Waits for the next second of the clock.
fn next_second() -> i64 {
    let second = Utc::now().timestamp();
    while Utc::now().timestamp() == second {
        thread::sleep(ms(5));
    }
    second + 1
}

/// Whether there is a record, and whether it is online.
#[track_caller]
fn state(tracker: &Tracker, user: &str) -> (bool, bool) {
    let presence = tracker.presence(user).unwrap();
    (presence.last_seen.is_some(), presence.online)
}

/// One program has users queued, whom another that ends at once signs out and forgets; then they sign in again.
#[track_caller]
fn sign_outs_hold(settings: &Settings, variables: &[(&str, &str)]) {
    let (servers, tracker) = (settings.servers().join(","), Tracker::new(settings.clone()).unwrap());
    let mut recording = Program::start(&servers, ms(1_500), variables);
    ["alice", "bob", "dave"].iter().for_each(|user| tracker.seen(user).unwrap());
    ["alice", "bob", "carol", "dave"].iter().for_each(|user| drop(recording.does(&format!("note {user}"))));
    once(&servers, "sign-out alice", variables);
    once(&servers, "forget bob", variables);
    once(&servers, "sign-out carol", variables);
    if cfg!(feature = "tokio") {
        once(&servers, "sign-out-async dave", variables);
    } else {
        once(&servers, "sign-out dave", variables);
    }
    recording.has_written();
    let states = ["alice", "bob", "carol", "dave"].map(|user| state(&tracker, user));
    assert_eq!(states, [(true, false), (false, false), (true, false), (true, false)]);
    ["alice", "bob", "carol", "dave"].iter().for_each(|user| drop(recording.does(&format!("note {user}"))));
    recording.has_written();
    assert!(["alice", "bob", "carol", "dave"].iter().all(|user| tracker.online(user).unwrap()));
}

#[test]
fn a_program_that_ends_at_once_signs_out_who_is_queued_in_another() {
    let memcached = Memcached::start();
    sign_outs_hold(&memcached.settings(), &[]);
}

#[test]
fn who_signs_in_elsewhere_in_the_next_second_stays_whatever_a_third_program_has_queued() {
    let memcached = Memcached::start();
    let (address, tracker) = (memcached.address(), memcached.tracker());
    for what in ["sign-out", "forget"] {
        let mut late = Program::start(&address, secs(3), &[]);
        let mut here = Program::start(&address, ms(50), &[]);
        tracker.seen("alice").unwrap();
        late.does("note alice");
        once(&address, &format!("{what} alice"), &[]);
        next_second();
        here.does("note alice");
        here.has_written();
        let signed_in = tracker.last_seen("alice").unwrap();
        assert!(tracker.online("alice").unwrap());
        late.has_written();
        assert_eq!(
            (tracker.last_seen("alice").unwrap(), state(&tracker, "alice")),
            (signed_in, (true, true))
        );
    }
}

#[test]
fn ten_programs_that_see_the_same_users_write_each_second_of_a_user_once() {
    const USERS: u64 = 200;
    let memcached = Memcached::start();
    let mut programs: Vec<_> =
        (0..10).map(|nth| Program::start(&memcached.address(), ms(500 + 50 * nth), &[])).collect();
    let first = next_second();
    let mut rounds = 0;
    while Utc::now().timestamp() < first + 3 {
        for program in &mut programs {
            program.does(&format!("note-to {USERS}"));
        }
        rounds += 1;
    }
    let seconds = (Utc::now().timestamp() - first + 1).cast_unsigned();
    programs.iter_mut().for_each(Program::has_written);
    let stored = memcached.stat("total_items");
    println!(
        "{stored} records were stored for {USERS} users, {seconds} seconds, 10 programs, {rounds} rounds"
    );
    assert!((USERS..=USERS * seconds).contains(&stored), "{stored}");
}

#[test]
fn also_over_two_servers() {
    let servers = [Memcached::start(), Memcached::start()];
    sign_outs_hold(&servers[0].settings().with_servers(servers.iter().map(Memcached::address)), &[]);
}

#[test]
fn also_through_twemproxy() {
    let backends = [Memcached::start(), Memcached::start()];
    let proxy = Twemproxy::start(&backends.each_ref());
    sign_outs_hold(&backends[0].settings().with_servers([proxy.address()]), &[]);
}

#[test]
fn also_on_a_server_without_cas() {
    sign_outs_hold(&Memcached::start_with(&["-C"]).settings(), &[]);
}

#[cfg(feature = "django")]
#[test]
fn also_in_djangos_format() {
    let memcached = Memcached::start();
    let settings = memcached.settings().with_key_prefix(":1:seen_").with_format(last_seen::Format::Django);
    sign_outs_hold(&settings, &[("LAST_SEEN_FORMAT", "django"), ("LAST_SEEN_KEY_PREFIX", ":1:seen_")]);
}

#[test]
fn also_whatever_the_flush_intervals_of_both_are() {
    let memcached = Memcached::start();
    let intervals = [ms(100), secs(1), secs(5)];
    thread::scope(|scope| {
        for (nth, (here, there)) in
            intervals.iter().flat_map(|here| intervals.iter().map(move |there| (*here, *there))).enumerate()
        {
            let memcached = &memcached;
            scope.spawn(move || {
                let (tracker, user) = (memcached.tracker(), format!("user-{nth}"));
                let mut programs =
                    [here, there].map(|every| Program::start(&memcached.address(), every, &[]));
                for program in &mut programs {
                    program.does(&format!("note {user}"));
                }
                assert!(!programs[0].does(&format!("sign-out {user}")).starts_with("error"));
                programs.iter_mut().for_each(Program::has_written);
                assert_eq!(state(&tracker, &user), (true, false), "{here:?}, {there:?}");
                programs[1].does(&format!("note {user}"));
                programs[1].has_written();
                assert_eq!(state(&tracker, &user), (true, true), "{here:?}, {there:?}");
            });
        }
    });
}

#[test]
fn also_when_the_other_was_cut_off_from_memcached() {
    let memcached = Memcached::start();
    thread::scope(|scope| {
        for cut_off in [ms(1_500), secs(5), secs(12)] {
            let memcached = &memcached;
            scope.spawn(move || {
                let is_cut = Arc::new(AtomicBool::new(false));
                let cut = is_cut.clone();
                let proxy = Proxy::start(&memcached.address(), move |_, _| {
                    if cut.load(Ordering::SeqCst) { Fault::Swallow } else { Fault::Pass }
                });
                let (address, tracker) = (memcached.address(), memcached.tracker());
                let [out, gone] = ["out", "gone"].map(|user| format!("{user}-{}", cut_off.as_millis()));
                let mut recording = Program::start(&proxy.address(), ms(100), &[]);
                [&out, &gone].iter().for_each(|user| drop(recording.does(&format!("note {user}"))));
                recording.has_written();
                is_cut.store(true, Ordering::SeqCst);
                [&out, &gone].iter().for_each(|user| drop(recording.does(&format!("note {user}"))));
                thread::sleep(cut_off);
                once(&address, &format!("sign-out {out}"), &[]);
                once(&address, &format!("forget {gone}"), &[]);
                is_cut.store(false, Ordering::SeqCst);
                recording.has_written();
                assert_eq!([&out, &gone].map(|user| state(&tracker, user)), [(true, false), (false, false)]);
            });
        }
    });
}

#[test]
fn also_when_the_other_was_suspended_in_the_middle_of_a_flush() {
    const USERS: u32 = 2_000;
    let memcached = Memcached::start();
    let tracker = memcached.tracker();
    let mut recording = Program::start(&memcached.address(), ms(50), &[]);
    for round in 0..if soak() { 40 } else { 4 } {
        recording.does(&format!("note-to {USERS}"));
        // At another place of the flush each time.
        thread::sleep(ms(45 + 3 * (round % 10)));
        recording.signal("STOP");
        thread::sleep(if round == 0 { secs(7) } else { ms(20) });
        for user in 0..USERS {
            if user % 2 == 0 {
                tracker.sign_out(user).unwrap();
            } else {
                tracker.forget(user).unwrap();
            }
        }
        recording.signal("CONT");
        recording.has_written();
        for (user, presence) in tracker.presences(0..USERS).into_iter().enumerate() {
            let presence = presence.unwrap();
            let right = !presence.online && (user % 2 == 0 || presence.last_seen.is_none());
            assert!(right, "round {round}, user {user}: {presence:?}");
        }
    }
}
